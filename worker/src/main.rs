//! `amore-worker`: runs tasks on a node.
//!
//! In a Slurm job, it executes a job manifest (`job`). Elsewhere, it reads tasks as JSON lines from standard input and
//! reports on standard output (`amore_wire::task`). Results are written to fragments in the proposal's `extracted_data/`.
//! The worker never opens a database. If the coordinator is lost, no computed results are lost, because fragments are on
//! the file system.

mod child;
mod command;
mod conversation;
mod crash_report;
mod fragments;
mod guard;
mod hosts;
mod in_job;
mod job;
mod job_memory;
mod lines;
mod log_line;
mod not_computed;
mod report;
mod run_task;
mod sandboxed;
mod serve;
mod shared_memory;
mod slurm_environment;
mod stop;
mod submit;
mod task_progress;
mod value_channel;
mod values;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

/// Run Amore tasks on this node. Started by `amore` or by its job scripts; not meant for interactive use.
#[derive(Debug, Parser)]
#[command(name = "amore-worker", version)]
struct Arguments {
    /// Number of children that compute in parallel.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    processes: u32,
    /// Start each task at once: whoever sends tasks sees to their number.
    #[arg(long, conflicts_with = "processes")]
    at_once: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Execute the manifest of a Slurm job, then exit.
    Job {
        /// Job manifest. `--sheet` is its name in templates of earlier versions.
        #[arg(long, alias = "sheet")]
        manifest: PathBuf,
        /// File to which events are appended.
        #[arg(long)]
        events: PathBuf,
    },
    /// Store results that another program has computed.
    Submit(submit::Arguments),
    /// Execute a command that ends together with the worker that started it.
    Exec {
        /// Process id of the worker.
        #[arg(long)]
        parent: i32,
        /// Program and arguments.
        #[arg(last = true, required = true)]
        words: Vec<std::ffi::OsString>,
    },
    /// Execute a sandboxed command, and leave none of its processes behind.
    Guard {
        /// File descriptor that the worker closes to end them.
        #[arg(long)]
        lifeline: i32,
        /// Program and arguments of the sandbox, then of the command.
        #[arg(last = true, required = true)]
        words: Vec<std::ffi::OsString>,
    },
}

fn main() -> ExitCode {
    guard::close_descriptors_on_exec();
    let arguments = Arguments::parse();
    let ended: Result<u8, Box<dyn std::error::Error>> = match arguments.command {
        None => {
            serve::serve((!arguments.at_once).then_some(arguments.processes)).map(|()| 0).map_err(Into::into)
        }
        Some(Command::Job { manifest, events }) => job::work(&manifest, &events).map_err(Into::into),
        Some(Command::Submit(arguments)) => submit::submit(&arguments).map(|()| 0).map_err(Into::into),
        Some(Command::Exec { parent, words }) => return command::execute(parent, &words),
        Some(Command::Guard { lifeline, words }) => return guard::guard(lifeline, &words),
    };
    match ended {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("amore-worker: {error}");
            ExitCode::FAILURE
        }
    }
}
