//! `amore`: the command line, and the coordinator behind it. Also answers to `amore-proto` and `damnit`.
//!
//! The stages of a run: [`trigger`] → plan (`amore_plan`) → [`dispatch`] → execute (`amore-worker`) → [`collect`] →
//! progress display. [`coordinate`] takes it from one stage to the next.

mod advice;
mod cli;
mod collect;
mod context_file;
mod coordinate;
mod database_dir;
mod dispatch;
mod growing_lines;
mod run_files;
mod signals;
mod site;
mod trigger;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
