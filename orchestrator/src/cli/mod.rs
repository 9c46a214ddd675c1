//! The command line: one file per subcommand, which parses arguments, calls other modules and prints the answer.

mod cancel;
mod check;
mod combiner;
mod comment;
mod completions;
mod db_config;
mod doctor;
mod elsewhere;
mod explain;
mod export;
mod failure;
mod follow;
mod foreground;
mod inbox;
mod init;
mod jobs;
mod listen;
mod listener;
mod local_time;
mod local_work;
mod log;
mod migrate;
mod new_id;
mod open;
mod output;
mod plan;
mod progress;
mod proposal;
mod read_context;
mod read_value;
mod reprocess;
mod service;
mod setting_words;
mod submit;
mod table;
mod token;
mod trigger;
mod variable;
mod verify;

use std::{convert::Infallible, path::Path, process::ExitCode, time::Duration};

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use failure::Failure;

use crate::dispatch::slurm;

/// Automatic per-run analysis: runs the variables of a context file for each run and maintains the run table.
///
/// Run it in a database directory (usr/Shared/amore of a proposal, where context.py is). amore, amore-proto and damnit
/// are names of the same program.
#[derive(Debug, Parser)]
#[command(
    version,
    max_term_width = 110,
    after_help = "Exit codes: 0 success; 1 failure; 2 usage error; 3 success, but some runs \
    could not be processed; 4 the context file has errors; 130 interrupted."
)]
struct CommandLine {
    /// Log more detail to standard error.
    #[arg(long, global = true)]
    debug: bool,
    #[command(subcommand)]
    command: Command,
}

/// A variable's name in Python's normal form.
fn variable_name(typed: &str) -> Result<String, Infallible> {
    Ok(amore_model::identifier(typed))
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show or set the proposal of this directory; creates an empty database if there is none
    Proposal(proposal::Arguments),
    /// Show or change the settings of this database
    DbConfig(db_config::Arguments),
    /// Compute variables of some runs, or of all runs in the database
    Reprocess(reprocess::Arguments),
    /// Resume work that earlier commands left in Slurm, and collect its results
    Follow(follow::Arguments),
    /// List unfinished tasks and their Slurm jobs
    Jobs(jobs::Arguments),
    /// Cancel a run's unfinished tasks, or one Slurm job
    Cancel(cancel::Arguments),
    /// Explain what happened to a run, or to one of its variables
    Explain(explain::Arguments),
    /// Read the context file and update the table's list of variables
    ReadContext(read_context::Arguments),
    /// Report every problem in a context file
    Check(check::Arguments),
    /// Show what would be computed for some runs, in which task, where and why, without computing it
    Plan(plan::Arguments),
    /// Show the run table
    Table(table::Arguments),
    /// Copy a run's results into one self-contained HDF5 file
    Export(export::Arguments),
    /// Show what a run's variables printed, and their errors
    Log(log::Arguments),
    /// Check that run files are intact
    Verify(verify::Arguments),
    /// Check programs, Python, Slurm and the directory, and suggest fixes
    Doctor(doctor::Arguments),
    /// Give this database a new random id (for a copy that must not share the original's)
    NewId(new_id::Arguments),
    /// Set up a database directory, optionally with a copy of another context file
    Init(init::Arguments),
    /// Upgrade an older database to the current format
    Migrate(migrate::Arguments),
    /// Merge waiting result files (fragments) into the run files and the table
    Combiner(combiner::Arguments),
    /// Open the table in DAMNIT's graphical interface
    Gui(elsewhere::Gui),
    /// Watch for new runs, and process them as they arrive
    Listen(listen::Arguments),
    /// Tell the service that data of a run have arrived
    Trigger(trigger::Arguments),
    /// Show the events about runs that the service has, try them again, or drop them
    Inbox(inbox::Arguments),
    /// Show who serves what
    Service(service::Arguments),
    /// Put results that were computed elsewhere into the table and the run's file
    Submit(submit::Arguments),
    /// Show or change the comment on a run, and comments on points in time
    Comment(comment::Arguments),
    /// Manage variables that users edit, and their values
    Variable(variable::Arguments),
    /// Manage the service that watches for new runs: its settings and its databases
    Listener(listener::Arguments),
    /// Manage the tokens with which programs use the service by HTTP
    Token(token::Arguments),
    /// Answer one question about a value, for the service
    #[command(hide = true)]
    ReadValue,
    /// Print shell completions
    Completions(completions::Arguments),
}

/// The command line parser, under the name by which the program was called.
fn command() -> clap::Command {
    let called = std::env::args_os().next();
    let name = called.as_deref().map(Path::new).and_then(Path::file_name).and_then(|name| name.to_str());
    let name = match name {
        Some("amore-proto") => "amore-proto",
        Some("damnit") => "damnit",
        _ => "amore",
    };
    CommandLine::command().name(name).bin_name(name)
}

/// How long background tasks may take to end after a command has ended.
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(2);

/// Parses the command line, runs the command and reports its failure.
pub fn main() -> ExitCode {
    let matches = command().get_matches();
    let line = match CommandLine::from_arg_matches(&matches) {
        Ok(line) => line,
        Err(error) => error.exit(),
    };
    let default = if line.debug { "debug,sqlx=info" } else { "warn" };
    let filter = EnvFilter::try_from_env("AMORE_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    if !matches!(&line.command, Command::Listen(listen) if listen.is_service()) {
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    }

    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let ended = runtime.block_on(run(line.command, line.debug));
    // A hanging system call must not keep the command from ending.
    runtime.shutdown_timeout(SHUTDOWN_PATIENCE);
    match ended {
        Ok(code) => code,
        Err(failure) => {
            output::warn(format!("error: {failure}"));
            failure.exit.into()
        }
    }
}

async fn run(command: Command, debug: bool) -> Result<ExitCode, Failure> {
    match command {
        Command::Proposal(arguments) => proposal::run(&arguments).await,
        Command::DbConfig(arguments) => db_config::run(&arguments).await,
        Command::Reprocess(arguments) => reprocess::run(&arguments, slurm::connect()).await,
        Command::Follow(arguments) => follow::run(&arguments, slurm::connect()).await,
        Command::Jobs(arguments) => jobs::run(&arguments, &slurm::connect()).await,
        Command::Cancel(arguments) => cancel::run(&arguments, slurm::connect()).await,
        Command::Explain(arguments) => explain::run(&arguments, &slurm::connect()).await,
        Command::ReadContext(arguments) => read_context::run(&arguments).await,
        Command::Check(arguments) => check::run(&arguments).await,
        Command::Plan(arguments) => plan::run(&arguments, &slurm::connect()).await,
        Command::Table(arguments) => table::run(&arguments).await,
        Command::Export(arguments) => export::run(&arguments).await,
        Command::Log(arguments) => log::run(&arguments).await,
        Command::Verify(arguments) => verify::run(&arguments).await,
        Command::Doctor(arguments) => doctor::run(&arguments, &slurm::connect()).await,
        Command::NewId(arguments) => new_id::run(&arguments).await,
        Command::Init(arguments) => init::run(&arguments).await,
        Command::Migrate(arguments) => migrate::run(&arguments).await,
        Command::Combiner(arguments) => combiner::run(&arguments).await,
        Command::Gui(arguments) => elsewhere::gui(&arguments),
        Command::Listen(arguments) => listen::run(&arguments, debug).await,
        Command::Trigger(arguments) => trigger::run(&arguments).await,
        Command::Inbox(arguments) => inbox::run(&arguments).await,
        Command::Service(arguments) => service::run(&arguments).await,
        Command::Submit(arguments) => submit::run(&arguments).await,
        Command::Comment(arguments) => comment::run(&arguments).await,
        Command::Variable(arguments) => variable::run(&arguments).await,
        Command::Listener(arguments) => listener::run(&arguments).await,
        Command::Token(arguments) => token::run(&arguments).await,
        Command::ReadValue => read_value::run(),
        Command::Completions(arguments) => {
            completions::run(&arguments, command_for_completions());
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn command_for_completions() -> clap::Command {
    command()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_well_formed() {
        super::command().debug_assert();
    }
}
