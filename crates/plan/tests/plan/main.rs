//! The way from declared variables to tasks, seen from outside.

mod check;
mod commands;
mod declare;
mod plans;
mod properties;
mod state;
mod words;
