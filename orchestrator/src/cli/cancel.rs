//! `amore cancel RUN|JOB`.

use std::process::ExitCode;

use amore_core::request::Request;
use amore_model::JobId;

use super::{failure::Failure, foreground::Foreground, progress::Display};
use crate::{
    coordinate::ledger_place,
    database_dir::{locate, must_have_run_table},
    dispatch::slurm::Slurm,
};

/// Cancel a run's unfinished tasks, or one Slurm job. Stored results are kept.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    amore cancel 42          all unfinished tasks of run 42, and their jobs\n  \
    amore cancel 1234567     one job, by its id (if no run has that number)\n  \
    amore cancel 17@maxwell  one job on a cluster, if there are several")]
pub struct Arguments {
    /// Run number, or the id of a Slurm job: its number, or number@cluster.
    #[arg(value_name = "RUN|JOB")]
    named: JobId,
    /// Proposal number or database directory (default: the working directory).
    #[arg(long = "in", value_name = "DIR")]
    directory: Option<String>,
}

/// Cancels as the owner of the directory, or through its owner.
pub async fn run(arguments: &Arguments, slurm: Slurm) -> Result<ExitCode, Failure> {
    let dir = locate(arguments.directory.as_deref())?;
    must_have_run_table(&dir)?;
    let display = Display::start(false, None)?;
    let foreground = Foreground::new(dir.clone(), slurm);
    if !ledger_place::exists(&dir) && !foreground.is_owned().await? {
        return Err(Failure::new("no unfinished tasks"));
    }
    let mut request = Request::Cancel(arguments.named.clone());
    foreground.serve(Some(&mut request), &display).await?;
    Ok(ExitCode::SUCCESS)
}
