//! `amore trigger`: tells the service that data of a run have arrived.

use std::{process::ExitCode, time::SystemTime};

use amore_intake::ArrivedData;
use amore_model::{Proposal, Run};

use super::{
    failure::{Exit, Failure},
    open, output,
};
use crate::{
    coordinate::{hand_over::new_id, owner::Owner},
    database_dir::{locate, must_have_run_table},
    service::trigger_files::{TriggerFile, leave},
};

/// Tell the service that data of a run have arrived: it processes them as if a message had come.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Run number.
    run: u32,
    /// Calibrated data have arrived, not raw data.
    #[arg(long)]
    proc: bool,
    /// Proposal of the run [default: that of the database].
    #[arg(long)]
    proposal: Option<u32>,
    /// Proposal number or database directory [default: the working directory].
    #[arg(long = "in", value_name = "DIR")]
    directory: Option<String>,
}

pub async fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let run = Run(arguments.run).possible();
    let run = run.map_err(|error| Failure::from_error(&error).exit(Exit::Usage))?;
    let dir = locate(arguments.directory.as_deref())?;
    must_have_run_table(&dir)?;
    let table = open::for_reading(&dir).await?;
    let proposal = open::proposal(&table, arguments.proposal.map(Proposal)).await?;
    let data = if arguments.proc { ArrivedData::Proc } else { ArrivedData::Raw };
    leave(&dir, &new_id(SystemTime::now()), &TriggerFile::new(proposal, run, data)).map_err(|error| {
        Failure::new(format!("cannot leave a trigger in {}: {error}", dir.own_files().display()))
    })?;
    let what = format!("{} data of run {run}", data.word());
    output::say(if Owner::is_held(&dir).await? {
        format!("The service was told: {what}")
    } else {
        format!(
            "No service runs here; when one starts, or finds this directory (within a minute in dynamic mode), it processes \
             the {what}"
        )
    });
    Ok(ExitCode::SUCCESS)
}
