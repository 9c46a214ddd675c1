//! Why a task ends before its steps are done.

use std::io;

use amore_results::ResultsError;

use crate::hosts::{HostError, NoHost};

/// Why a task ended before its steps were done, in a sentence for the user.
#[derive(Debug, thiserror::Error)]
pub enum Stop {
    /// There is no Python to execute it.
    #[error("{0}")]
    Host(HostError),
    /// It was told to end.
    #[error("cancelled")]
    Cancelled,
    /// The run or the context file could not be opened: nothing was called.
    #[error("{class}: {message}{more}")]
    CannotStart {
        /// The exception's class, or what stands for it.
        class: String,
        /// What is said of it.
        message: String,
        /// What was printed, and the traceback; each on lines of its own.
        more: String,
    },
    /// A fragment could not be written.
    #[error("results cannot be stored: {0}")]
    Storage(#[from] ResultsError),
    /// What variables print has no place.
    #[error("the log {0} cannot be written: {1}")]
    Log(String, #[source] io::Error),
    /// The child said what it should not, or nothing.
    #[error("communication with the child failed: {0}")]
    Io(#[from] io::Error),
    /// The job may have more memory the next time.
    #[error("the job ran out of memory while it computed {variable}")]
    OutOfMemory {
        variable: String,
    },
}

impl From<NoHost> for Stop {
    fn from(no_host: NoHost) -> Self {
        match no_host {
            NoHost::Unusable(error) => Stop::Host(error),
            NoHost::Cancelled => Stop::Cancelled,
        }
    }
}
