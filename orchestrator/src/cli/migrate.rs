//! `amore migrate`.

use std::process::ExitCode;

use super::{open, output};
use crate::{database_dir::DatabaseDir, failure::Failure};

/// Bring an older database to the present format (every command that writes does this too).
///
/// A copy of the database is kept beside it first.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Only say what would be done.
    #[arg(long)]
    dry_run: bool,
    /// One of DAMNIT's names for the steps from version 0.
    #[arg(hide = true)]
    step: Option<String>,
}

/// Migrates.
pub async fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let dir = DatabaseDir::locate(None)?;
    dir.must_have_run_table()?;
    if let Some(step) = &arguments.step {
        return Err(Failure::new(format!("{step}: files of version 0 are not read here")).hint(
            "DAMNIT's own `damnit migrate` brings them to version 1; then this command goes on from there",
        ));
    }
    let version = open::format_version(&dir).await?;
    if version == amore_run_table::SCHEMA_VERSION {
        output::say(format!("The database has the present format, version {version}"));
    } else if arguments.dry_run {
        output::say(format!(
            "The database has version {version}; it would be brought to version {}",
            amore_run_table::SCHEMA_VERSION
        ));
    } else {
        open::for_writing(&dir).await?;
        output::say(format!(
            "Brought the database from version {version} to {}",
            amore_run_table::SCHEMA_VERSION
        ));
    }
    Ok(ExitCode::SUCCESS)
}
