//! Why a directory cannot be coordinated.

use std::{error::Error, io, path::PathBuf};

use amore_core::{Refusal, RefusalKind};
use amore_ledger::LedgerError;
use amore_model::lease::Holder;
use amore_run_table::RunTableError;
use tokio::task::JoinError;

use super::ledger_place::OtherLedger;
use crate::{
    advice::{Advice, with_causes},
    collect::CollectError,
    dispatch::local::WorkerError,
    execution::ExecutionError,
    site::SiteError,
};

/// Why a directory cannot be coordinated, by what the caller can do about it.
#[derive(Debug, thiserror::Error)]
pub enum CoordinateError {
    /// Another process has become the owner of the directory: this one must not write any more.
    #[error(transparent)]
    Deposed(Cause),
    /// The run table is gone, and the ownership with it. The next command uses the new table.
    #[error("{} was deleted or replaced while this command was using it", path.display())]
    TableReplaced { path: PathBuf },
    /// The disk is full or the quota is used up. The next command continues once there is space.
    #[error(transparent)]
    NoSpace(Cause),
    /// A store is locked, damaged, unreachable or of another version. Stored results are kept.
    #[error(transparent)]
    Store(Cause),
    /// Another process still holds the ledger; it is released when that process ends.
    #[error("the ledger is held by {by}")]
    LedgerHeld { by: Holder },
    /// Another ledger than the configured one has unfinished work of this directory.
    #[error(transparent)]
    OtherLedger(#[from] OtherLedger),
    /// A file of the directory cannot be read or written.
    #[error("cannot {doing} {}: {source}", path.display())]
    File { doing: &'static str, path: PathBuf, source: io::Error },
    /// The process that does the work has a later version. It continues.
    #[error(
        "the process that owns this directory is of a later version (its events have version {version}, this program \
         knows {known}); it continues with the request"
    )]
    LaterOwner { version: u32, known: u32 },
    /// The program that executes tasks cannot be used. It has to be installed again.
    #[error(transparent)]
    Worker(#[from] WorkerError),
    /// The user's Python cannot execute the context file.
    #[error("{message}")]
    Python { message: String, hint: Option<String> },
    /// The settings of the database do not say how its context file is executed.
    #[error(transparent)]
    Execution(ExecutionError),
    /// The data of the proposal cannot be found.
    #[error(transparent)]
    Site(#[from] SiteError),
    /// The core refuses the request: its context file has errors, or the user has stopped it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A bug.
    #[error(transparent)]
    Fault(Box<dyn Error + Send + Sync>),
}

/// An error of a store, as another module reports it.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    #[error(transparent)]
    Table(#[from] RunTableError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error(transparent)]
    Results(#[from] CollectError),
}

impl CoordinateError {
    /// Whether the directory belongs to another process now. Nothing that this process does counts any more.
    pub fn is_loss(&self) -> bool {
        matches!(self, CoordinateError::Deposed(_) | CoordinateError::TableReplaced { .. })
    }

    /// Converts this error to the refusal of a request.
    pub(super) fn into_refusal(self) -> Refusal {
        refusal(&self)
    }
}

/// The refusal of a request because of an error.
pub(super) fn refusal(error: &(impl Advice + 'static)) -> Refusal {
    Refusal { kind: error.kind(), message: with_causes(error), hint: error.hint() }
}

impl From<RunTableError> for CoordinateError {
    fn from(error: RunTableError) -> Self {
        match error {
            RunTableError::Deposed { .. } => CoordinateError::Deposed(error.into()),
            RunTableError::Replaced { path } => CoordinateError::TableReplaced { path },
            RunTableError::Full { .. } => CoordinateError::NoSpace(error.into()),
            _ => CoordinateError::Store(error.into()),
        }
    }
}

impl From<ExecutionError> for CoordinateError {
    fn from(error: ExecutionError) -> Self {
        match error {
            ExecutionError::Table(error) => error.into(),
            other => CoordinateError::Execution(other),
        }
    }
}

impl From<LedgerError> for CoordinateError {
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::Deposed { .. } => CoordinateError::Deposed(error.into()),
            LedgerError::Full { .. } => CoordinateError::NoSpace(error.into()),
            _ => CoordinateError::Store(error.into()),
        }
    }
}

impl From<CollectError> for CoordinateError {
    fn from(error: CollectError) -> Self {
        match error {
            CollectError::Table(error) => error.into(),
            CollectError::TableGone { path } => CoordinateError::TableReplaced { path },
            CollectError::NoSpace(_) => CoordinateError::NoSpace(error.into()),
            CollectError::RunFile(_) | CollectError::NotListed { .. } => CoordinateError::Store(error.into()),
            CollectError::Stopped(_) => CoordinateError::Fault(error.into()),
        }
    }
}

impl From<JoinError> for CoordinateError {
    fn from(error: JoinError) -> Self {
        CoordinateError::Fault(error.into())
    }
}

impl From<serde_json::Error> for CoordinateError {
    fn from(error: serde_json::Error) -> Self {
        CoordinateError::Fault(error.into())
    }
}

impl Advice for CoordinateError {
    fn hint(&self) -> Option<String> {
        match self {
            CoordinateError::Deposed(cause)
            | CoordinateError::NoSpace(cause)
            | CoordinateError::Store(cause) => cause.hint(),
            CoordinateError::TableReplaced { .. } => {
                Some("run the command again; it will use the new file".to_owned())
            }
            CoordinateError::LedgerHeld { .. } => {
                Some("it is free as soon as that process has ended".to_owned())
            }
            CoordinateError::OtherLedger(error) => error.hint(),
            CoordinateError::LaterOwner { .. } => Some(
                "`amore table` shows what it has computed; use the same version for both commands".to_owned(),
            ),
            CoordinateError::Worker(error) => error.hint(),
            CoordinateError::Python { hint, .. } => hint.clone(),
            CoordinateError::Execution(error) => error.hint(),
            CoordinateError::Site(error) => error.hint(),
            CoordinateError::Refused(refusal) => Advice::hint(refusal),
            CoordinateError::File { .. } | CoordinateError::Fault(_) => None,
        }
    }

    fn kind(&self) -> RefusalKind {
        match self {
            CoordinateError::Refused(refusal) => refusal.kind,
            _ => RefusalKind::Failed,
        }
    }
}

impl Advice for Cause {
    fn hint(&self) -> Option<String> {
        match self {
            Cause::Table(error) => error.hint(),
            Cause::Ledger(error) => error.hint(),
            Cause::Results(error) => error.hint(),
        }
    }
}

#[cfg(test)]
mod tests {
    use amore_results::{MergeError, ResultsError};

    use super::*;

    fn path() -> PathBuf {
        PathBuf::from("/d/runs.sqlite")
    }

    #[test]
    fn a_lost_directory_is_told_from_a_store_that_fails() {
        let deposed = RunTableError::Deposed { by: None, epoch: 2 };
        assert!(CoordinateError::from(deposed).is_loss());
        let deposed = CollectError::Table(RunTableError::Deposed { by: None, epoch: 2 });
        assert!(CoordinateError::from(deposed).is_loss());
        let deposed = LedgerError::Deposed { scope: "s".to_owned(), by: None, epoch: 2 };
        assert!(CoordinateError::from(deposed).is_loss());
        assert!(CoordinateError::from(RunTableError::Replaced { path: path() }).is_loss());
        assert!(CoordinateError::from(CollectError::TableGone { path: path() }).is_loss());
        assert!(!CoordinateError::from(RunTableError::Full { path: path() }).is_loss());
        assert!(
            !CoordinateError::from(RunTableError::Corrupt { path: path(), detail: "x".to_owned() }).is_loss()
        );
    }

    #[test]
    fn a_full_disk_is_one_case_whatever_was_written() {
        let full = [
            CoordinateError::from(RunTableError::Full { path: path() }),
            CoordinateError::from(LedgerError::Full { place: "ledger".to_owned() }),
            CoordinateError::from(CollectError::from(MergeError::Results(ResultsError::NoSpace {
                path: path(),
            }))),
        ];
        for error in full {
            assert!(matches!(error, CoordinateError::NoSpace(_)), "{error:?}");
            assert!(refusal(&error).message.contains("no space left"));
            assert!(error.hint().is_some_and(|hint| hint.contains("space")), "{error:?}");
        }
    }
}
