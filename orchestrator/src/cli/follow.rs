//! `amore follow`.

use std::process::ExitCode;

use amore_model::Notice;

use super::{
    failure::Failure,
    foreground::{Foreground, exit_code},
    progress::Display,
};
use crate::{
    coordinate::{events::Event, ledger_place},
    database_dir::{locate, must_have_run_table},
    dispatch::slurm::Slurm,
};

/// Resume work that earlier commands left in Slurm: track the jobs and collect their results.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Proposal number or database directory (default: the working directory).
    #[arg(long = "in", value_name = "DIR")]
    directory: Option<String>,
    /// Print events as JSON lines.
    #[arg(long)]
    json: bool,
}

/// Follows until no task is unfinished.
pub async fn run(arguments: &Arguments, slurm: Slurm) -> Result<ExitCode, Failure> {
    let dir = locate(arguments.directory.as_deref())?;
    must_have_run_table(&dir)?;
    let display = Display::start(arguments.json, None)?;
    if !ledger_place::exists(&dir) {
        display.show(&Event::Notice(Notice::info("no unfinished tasks")));
        return Ok(ExitCode::SUCCESS);
    }
    let summary = Foreground::new(dir, slurm).serve(None, &display).await?;
    display.show(&Event::Finished(summary.clone()));
    Ok(exit_code(&summary))
}
