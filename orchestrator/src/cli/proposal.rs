//! `amore proposal [NUMBER]`.

use std::process::ExitCode;

use amore_model::Proposal;
use serde::Serialize;

use super::{failure::Failure, open, output};
use crate::database_dir::{locate, must_have_run_table};

/// Show or set the proposal of this directory; creates an empty database if there is none.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Number to set, e.g. 1234.
    proposal: Option<Proposal>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// The answer in JSON.
#[derive(Serialize)]
struct Answer {
    /// The current number.
    proposal: Option<Proposal>,
    /// The previous number.
    was: Option<Proposal>,
    /// Whether a database was created.
    made: bool,
}

pub async fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let dir = locate(None)?;
    let (answer, words) = match arguments.proposal {
        None => {
            must_have_run_table(&dir)?;
            let proposal = open::own_proposal(&open::for_reading(&dir).await?).await?;
            let words = match proposal {
                Some(proposal) => format!("Current proposal number: {proposal}"),
                None => "No proposal number is set".to_owned(),
            };
            (Answer { proposal, was: proposal, made: false }, words)
        }
        Some(wanted) if !dir.run_table().exists() => {
            open::create(&dir, wanted).await?;
            let words =
                format!("Created an empty database for proposal {wanted} in {}", dir.path().display());
            (Answer { proposal: Some(wanted), was: None, made: true }, words)
        }
        Some(wanted) => {
            let table = open::for_writing(&dir).await?;
            let was = open::own_proposal(&table).await?;
            let words = if was == Some(wanted) {
                format!("No change - proposal {wanted} already set")
            } else {
                open::set_proposal(&table, wanted).await?;
                let before = was.map_or_else(|| "none".to_owned(), |was| was.to_string());
                format!("Changed proposal to {wanted} (was {before})")
            };
            (Answer { proposal: Some(wanted), was, made: false }, words)
        }
    };
    if arguments.json {
        output::say_json(&answer)?;
    } else {
        output::say(words);
    }
    Ok(ExitCode::SUCCESS)
}
