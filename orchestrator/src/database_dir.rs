//! Finding a database directory.

use std::{env, fs, io, os::unix::fs::MetadataExt, path::Path};

pub use amore_model::DatabaseDir;
use amore_model::Proposal;
use amore_shared_files::umask;
use nix::{sys::stat::Mode, unistd::getegid};

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
    let dir = DatabaseDir::at(path.canonicalize().unwrap_or(path));
    share_with_group(dir.path());
    Ok(dir)
}

/// From now on, what this process makes is also for the group of the directory, if that can write there: the next command, or the
/// service, may be started by another member.
pub fn share_with_group(directory: &Path) {
    let Ok(found) = fs::metadata(directory) else { return };
    let files_are_the_groups = found.mode() & 0o2000 != 0 || found.gid() == getegid().as_raw();
    let mask = umask::for_directory(umask::own(), found.mode(), files_are_the_groups);
    nix::sys::stat::umask(Mode::from_bits_truncate(mask));
}

/// Rejects a directory without a run table. The error explains what a database directory is.
///
/// # Errors
/// There is no `runs.sqlite`.
pub fn must_have_run_table(dir: &DatabaseDir) -> Result<(), NoDatabaseDir> {
    if dir.run_table().exists() { Ok(()) } else { Err(NoDatabaseDir::NoRunTable { dir: dir.clone() }) }
}
