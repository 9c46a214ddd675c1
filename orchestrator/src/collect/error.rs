//! Why results cannot be collected. Their fragments are kept in any case.

use std::{io, path::PathBuf};

use amore_results::{MergeError, ResultsError};
use amore_run_table::RunTableError;
use tokio::task::JoinError;

use crate::advice::Advice;

/// The hint for a full disk.
const NO_SPACE: &str = "free some space or ask for more quota, then run the command again: stored results are kept, and those waiting in extracted_data/ are collected";

/// Why results of any run cannot be collected.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// The run table cannot be written: it is locked, or another process has become its owner.
    #[error(transparent)]
    Table(#[from] RunTableError),
    /// The run table was deleted. The next command works with the new one.
    #[error("{} was deleted while this command was using it", path.display())]
    TableGone { path: PathBuf },
    /// The disk is full or the quota is used up.
    #[error(transparent)]
    NoSpace(ResultsError),
    /// A run file cannot be written. The next command collects the results once that is fixed.
    #[error(transparent)]
    RunFile(MergeError),
    /// The fragments cannot be listed.
    #[error("cannot list {}: {source}", folder.display())]
    NotListed { folder: PathBuf, source: io::Error },
    /// A bug.
    #[error("the collector stopped")]
    Stopped(#[source] Option<JoinError>),
}

impl From<MergeError> for CollectError {
    fn from(error: MergeError) -> Self {
        match error {
            MergeError::Results(error @ ResultsError::NoSpace { .. }) => CollectError::NoSpace(error),
            other => CollectError::RunFile(other),
        }
    }
}

impl Advice for CollectError {
    fn hint(&self) -> Option<String> {
        match self {
            CollectError::Table(error) => error.hint(),
            CollectError::TableGone { .. } => {
                Some("run the command again; it will use the new file".to_owned())
            }
            CollectError::NoSpace(_) => Some(NO_SPACE.to_owned()),
            CollectError::RunFile(_) => Some(
                "the results are kept in extracted_data/ and collected by the next command once this is fixed"
                    .to_owned(),
            ),
            CollectError::NotListed { .. } | CollectError::Stopped(_) => None,
        }
    }
}
