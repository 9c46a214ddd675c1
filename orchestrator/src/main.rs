//! `amore`: the command line, and the coordinator behind it. Also answers to `amore-proto` and `damnit`.
//!
//! The stages of a run: [`trigger`] → plan (`amore_plan`) → [`dispatch`] → execute (`amore-worker`) → [`collect`] →
//! progress display. [`coordinate`] takes it from one stage to the next.

mod advice;
mod api;
mod cli;
mod clock;
mod collect;
mod context_file;
mod coordinate;
mod database_dir;
mod database_settings;
mod dispatch;
mod execution;
mod growing_lines;
mod run_files;
mod service;
mod signals;
mod site;
mod supervisor;
mod trigger;
mod values;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
