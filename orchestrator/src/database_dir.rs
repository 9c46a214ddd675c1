//! Finding a database directory.

use std::{env, io, path::Path};

pub use amore_model::DatabaseDir;
use amore_model::Proposal;

use crate::{
    advice::Advice,
    site::{self, SiteError},
};

/// Why no database directory was found.
#[derive(Debug, thiserror::Error)]
pub enum NoDatabaseDir {
    /// The working directory was deleted. The user has to change to another one.
    #[error("the working directory is gone: {0}")]
    WorkingDirectoryGone(#[source] io::Error),
    /// The directory that `--in` names does not exist.
    #[error("{given:?} is neither a directory nor a proposal number")]
    NoSuchPlace { given: String },
    /// The proposal that `--in` names cannot be found.
    #[error(transparent)]
    Site(#[from] SiteError),
    /// The directory has no `runs.sqlite`. The user has to change to another one, or turn it into a database directory.
    #[error("{} is not a database directory: there is no runs.sqlite in it", dir.path().display())]
    NoRunTable { dir: DatabaseDir },
}

impl Advice for NoDatabaseDir {
    fn hint(&self) -> Option<String> {
        match self {
            NoDatabaseDir::WorkingDirectoryGone(_) | NoDatabaseDir::NoSuchPlace { .. } => None,
            NoDatabaseDir::Site(error) => error.hint(),
            NoDatabaseDir::NoRunTable { .. } => Some(
                "go to the database directory of your proposal (usr/Shared/amore, where context.py is), or make this \
                 one such a directory with: amore-proto proposal <number>"
                    .to_owned(),
            ),
        }
    }
}

/// Finds the directory from `--in`: a directory or a proposal number; the working directory if it is not given.
///
/// # Errors
/// It is neither.
pub fn locate(given: Option<&str>) -> Result<DatabaseDir, NoDatabaseDir> {
    let here = || env::current_dir().map_err(NoDatabaseDir::WorkingDirectoryGone);
    let path = match given {
        None => here()?,
        Some(text) if Path::new(text).is_dir() => here()?.join(text),
        Some(text) => match text.parse::<Proposal>() {
            Ok(proposal) => site::find_proposal(proposal)?.join("usr/Shared/amore"),
            Err(_) => return Err(NoDatabaseDir::NoSuchPlace { given: text.to_owned() }),
        },
    };
    Ok(DatabaseDir::at(path.canonicalize().unwrap_or(path)))
}

/// Rejects a directory without a run table. The error explains what a database directory is.
///
/// # Errors
/// There is no `runs.sqlite`.
pub fn must_have_run_table(dir: &DatabaseDir) -> Result<(), NoDatabaseDir> {
    if dir.run_table().exists() { Ok(()) } else { Err(NoDatabaseDir::NoRunTable { dir: dir.clone() }) }
}
