//! `amore new-id [DIR]`.

use std::process::ExitCode;

use super::{failure::Failure, open, output};
use crate::database_dir::{locate, must_have_run_table};

/// Give this database a new random id (for a copy that must not share the original's).
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Database directory (default: the working directory).
    db_dir: Option<String>,
}

pub async fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let dir = locate(arguments.db_dir.as_deref())?;
    must_have_run_table(&dir)?;
    let table = open::for_writing(&dir).await?;
    let id = hex::encode(open::random_id()?);
    open::set_setting(&table, "db_id", amore_run_table::SettingValue::Text(id.clone())).await?;
    output::say(format!("New database id: {id}"));
    Ok(ExitCode::SUCCESS)
}
