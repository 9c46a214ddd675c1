//! Scenes: the core in a small world of values. Each takes milliseconds.

mod adopt;
mod cancel;
mod commands;
mod ends;
mod harness;
mod jobs;
mod local;
mod mymdc;
mod published;
mod queue;
mod refusals;
mod replay;
mod service;
mod start;
mod stop;
