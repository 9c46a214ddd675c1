//! `amore export RUN`.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use amore_model::{Proposal, Run};
use serde::Serialize;

use super::{failure::Failure, open, output};
use crate::database_dir::locate;

/// Copy a run's results into one self-contained HDF5 file.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Run number.
    run: Run,
    /// Proposal number (default: the directory's).
    #[arg(long)]
    proposal: Option<Proposal>,
    /// Output file; must not exist (default: p1234_r42.h5 in the working directory).
    #[arg(long, short)]
    output: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Answer<'a> {
    proposal: Proposal,
    run: Run,
    file: &'a Path,
}

pub async fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let dir = locate(None)?;
    let table = open::for_reading(&dir).await?;
    let proposal = open::proposal(&table, arguments.proposal).await?;
    let from = dir.run_file(proposal, arguments.run);
    if !from.exists() {
        return Err(Failure::new(format!(
            "run {} of proposal {proposal} has no results here",
            arguments.run
        ))
        .hint("`amore table` lists the runs that have results"));
    }
    let to = arguments
        .output
        .clone()
        .unwrap_or_else(|| PathBuf::from(format!("p{proposal}_r{}.h5", arguments.run)));
    if to.exists() {
        return Err(Failure::new(format!("{} exists", to.display())).hint("give another name with --output"));
    }
    amore_results::export(&from, &to).map_err(|error| Failure::from_error(&error))?;
    if arguments.json {
        output::say_json(&Answer { proposal, run: arguments.run, file: &to })?;
    } else {
        output::say(to.display().to_string());
    }
    Ok(ExitCode::SUCCESS)
}
