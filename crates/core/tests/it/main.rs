//! Scenes: the core in a small world of values. Each takes milliseconds.

mod adopt;
mod cancel;
mod commands;
mod ends;
mod harness;
mod jobs;
mod local;
mod queue;
mod refusals;
mod replay;
mod start;
mod stop;
