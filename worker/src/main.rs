//! `amore-worker`: runs tasks on a node.
//!
//! In a Slurm job it works on a sheet (`job`). Elsewhere it takes tasks as JSON lines on standard input and reports on standard output (`amore_wire::task`); results go
//! into fragments in the proposal's `extracted_data/`. It never opens a database, and a lost coordinator costs
//! nothing that was computed: fragments stand on the file system.

mod child;
mod command;
mod conversation;
mod crash_report;
mod fragments;
mod hosts;
mod in_job;
mod job;
mod job_memory;
mod lines;
mod log_line;
mod not_computed;
mod report;
mod run_task;
mod serve;
mod shared_memory;
mod slurm_environment;
mod stop;
mod task_progress;
mod values;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

/// Runs Amore tasks on this node. Started by `amore` or by its job scripts; not meant to be typed.
#[derive(Debug, Parser)]
#[command(name = "amore-worker", version)]
struct Arguments {
    /// How many children compute side by side.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    processes: u32,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Works on the sheet of a Slurm job, then ends.
    Job {
        /// What to do.
        #[arg(long)]
        sheet: PathBuf,
        /// Where to say what happens.
        #[arg(long)]
        events: PathBuf,
    },
    /// Executes a command that ends when the worker that started it does.
    Exec {
        /// The worker.
        #[arg(long)]
        parent: i32,
        /// Program and arguments.
        #[arg(last = true, required = true)]
        words: Vec<std::ffi::OsString>,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let ended: Result<u8, Box<dyn std::error::Error>> = match arguments.command {
        None => serve::serve(arguments.processes).map(|()| 0).map_err(Into::into),
        Some(Command::Job { sheet, events }) => job::work(&sheet, &events).map_err(Into::into),
        Some(Command::Exec { parent, words }) => return command::execute(parent, &words),
    };
    match ended {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("amore-worker: {error}");
            ExitCode::FAILURE
        }
    }
}
