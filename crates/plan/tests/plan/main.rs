//! From declared variables to tasks, tested from outside.

mod check;
mod commands;
mod declare;
mod plans;
mod properties;
mod state;
mod words;
