//! Finding a database directory.

use std::{env, path::Path};

pub use amore_model::DatabaseDir;
use amore_model::Proposal;

use crate::{failure::Failure, site};

/// From `--in`: a directory or a proposal number; the working directory if nothing is given.
///
/// # Errors
/// When it is neither.
pub fn locate(given: Option<&str>) -> Result<DatabaseDir, Failure> {
    let here = || {
        env::current_dir().map_err(|error| Failure::new(format!("the working directory is gone: {error}")))
    };
    let path = match given {
        None => here()?,
        Some(text) if Path::new(text).is_dir() => here()?.join(text),
        Some(text) => match text.parse::<Proposal>() {
            Ok(proposal) => site::find_proposal(proposal)?.join("usr/Shared/amore"),
            Err(_) => {
                return Err(Failure::new(format!("{text:?} is neither a directory nor a proposal number")));
            }
        },
    };
    Ok(DatabaseDir::at(path.canonicalize().unwrap_or(path)))
}

/// Refuses a directory without a run table, and says what such a directory is.
///
/// # Errors
/// When there is no `runs.sqlite`.
pub fn must_have_run_table(dir: &DatabaseDir) -> Result<(), Failure> {
    if dir.run_table().exists() {
        return Ok(());
    }
    Err(Failure::new(format!(
        "{} is not a database directory: there is no runs.sqlite in it",
        dir.path().display()
    ))
    .hint(
        "go to the database directory of your proposal (usr/Shared/amore, where context.py is), or make this one such a \
         directory with: amore-proto proposal <number>",
    ))
}
