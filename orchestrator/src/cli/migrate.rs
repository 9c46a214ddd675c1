//! `amore migrate`.

use std::process::ExitCode;

use super::{failure::Failure, open, output};
use crate::database_dir::{locate, must_have_run_table};

/// Upgrade an older database to the current format (every command that writes does this too).
///
/// A backup copy of the database is made first.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Only show what would be done.
    #[arg(long)]
    dry_run: bool,
    /// One of DAMNIT's names for the steps from version 0.
    #[arg(hide = true)]
    step: Option<String>,
}

pub async fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let dir = locate(None)?;
    must_have_run_table(&dir)?;
    if let Some(step) = &arguments.step {
        return Err(Failure::new(format!("{step}: version 0 files are not supported"))
            .hint("upgrade them to version 1 with DAMNIT's own `damnit migrate`, then run this command"));
    }
    let version = open::format_version(&dir).await?;
    if version == amore_run_table::SCHEMA_VERSION {
        output::say(format!("The database already has the current format, version {version}"));
    } else if arguments.dry_run {
        output::say(format!(
            "The database has version {version}; it would be upgraded to version {}",
            amore_run_table::SCHEMA_VERSION
        ));
    } else {
        open::for_writing(&dir).await?;
        output::say(format!(
            "Upgraded the database from version {version} to {}",
            amore_run_table::SCHEMA_VERSION
        ));
    }
    Ok(ExitCode::SUCCESS)
}
