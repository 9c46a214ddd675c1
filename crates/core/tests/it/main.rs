//! Scenes: the core in a small world of values. Each takes milliseconds.

mod adopt;
mod cancel;
mod commands;
mod harness;
mod jobs;
mod local;
mod replay;
mod stop;
