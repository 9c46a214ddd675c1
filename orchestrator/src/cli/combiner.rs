//! `amore combiner now`.

use std::process::ExitCode;

use super::{failure::Failure, open, output};
use crate::{
    collect::{Collector, FragmentNote},
    coordinate::{
        events::count,
        owner::{Owner, TakenOwner},
    },
    database_dir::{locate, must_have_run_table},
};

/// Merge waiting result files (fragments) into the run files and the table.
///
/// Commands that compute do this themselves; use this one for results of another program (DAMNIT's `submit`).
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Collect the waiting results of a database directory once
    Now {
        /// Database directory.
        db_dir: String,
    },
    /// Do nothing: no service is needed to collect results
    Run,
}

pub async fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let What::Now { db_dir } = &arguments.what else {
        output::say(
            "Nothing to start: commands that compute also collect. `amore combiner now DIR` collects results of other programs.",
        );
        return Ok(ExitCode::SUCCESS);
    };
    let dir = locate(Some(db_dir))?;
    must_have_run_table(&dir)?;
    let table = open::for_writing(&dir).await?;
    let owner = match Owner::take(&dir, table).await? {
        TakenOwner::Ours(owner) => owner,
        TakenOwner::Held { by } => {
            output::say(format!("{by} already coordinates this directory and collects waiting results"));
            return Ok(ExitCode::SUCCESS);
        }
    };
    let waiting = FragmentNote::scan(&dir)?;
    let total = waiting.len();
    let mut collector = Collector::start(dir, owner.table(), owner.ownership());
    waiting.into_iter().for_each(|note| collector.give(note));
    let mut done = 0;
    let mut result = Ok(());
    while done < total {
        match collector.next().await {
            Ok(collected) => {
                done += collected.fragments;
                collected.notices.iter().for_each(|notice| output::tell(&notice.notice));
            }
            Err(failure) => {
                result = Err(failure);
                break;
            }
        }
    }
    collector.stop().await;
    let released = owner.release().await;
    result?;
    released?;
    output::say(format!("{} collected", count(done, "result file")));
    Ok(ExitCode::SUCCESS)
}
