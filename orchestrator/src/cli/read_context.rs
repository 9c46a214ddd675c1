//! `amore read-context`.

use std::process::ExitCode;

use super::{
    check::{sandbox, usable_context},
    failure::Failure,
    open, output,
};
use crate::{
    collect::about_table,
    coordinate::{
        events::count,
        owner::{Owner, TakenOwner},
    },
    database_dir::{locate, must_have_run_table},
};

/// Read the context file and update the table's list of variables.
#[derive(Debug, clap::Args)]
pub struct Arguments {}

pub async fn run(_arguments: &Arguments) -> Result<ExitCode, Failure> {
    let dir = locate(None)?;
    must_have_run_table(&dir)?;
    let table = open::for_writing(&dir).await?;
    let (context, dag) = usable_context(&dir, &table, sandbox(None).await?).await?;
    match Owner::take(&dir, table).await? {
        TakenOwner::Ours(owner) => {
            let written = owner.update_variables(dag.variables()).await;
            let released = owner.release().await;
            let changes = written?;
            released?;
            for notice in about_table(&changes.refused, changes.truncated.as_ref()) {
                output::tell(&notice.notice);
            }
        }
        TakenOwner::Held { by } => {
            return Err(Failure::new(format!("{by} already coordinates this directory")).hint(
                "it reads the context file again for its next request; or try again when it has finished",
            ));
        }
    }
    output::say(format!(
        "{}: {} in the table",
        context.path.display(),
        count(dag.variables().len(), "variable")
    ));
    Ok(ExitCode::SUCCESS)
}
