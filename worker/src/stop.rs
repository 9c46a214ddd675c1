//! Why a task ended before its steps were finished.

use std::io;

use amore_results::ResultsError;

use crate::hosts::{HostError, NoHost};

/// Why a task ended before its steps were finished, as a message for the user.
#[derive(Debug, thiserror::Error)]
pub enum Stop {
    /// No Python can execute it.
    #[error("{0}")]
    Host(HostError),
    /// It was told to end.
    #[error("cancelled")]
    Cancelled,
    /// The run or the context file could not be opened: no function was called.
    #[error("{class}: {message}{more}")]
    CannotStart {
        /// Class of the exception, or a substitute.
        class: String,
        /// The message.
        message: String,
        /// Output and traceback, on separate lines.
        more: String,
    },
    /// A fragment could not be written.
    #[error("results cannot be stored: {0}")]
    Storage(#[from] ResultsError),
    /// The log of variables cannot be written.
    #[error("the log {0} cannot be written: {1}")]
    Log(String, #[source] io::Error),
    /// The child violated the protocol or did not answer.
    #[error("communication with the child failed: {0}")]
    Io(#[from] io::Error),
    /// The job may get more memory in the next attempt.
    #[error("the job ran out of memory while it computed {variable}")]
    OutOfMemory { variable: String },
}

impl From<NoHost> for Stop {
    fn from(no_host: NoHost) -> Self {
        match no_host {
            NoHost::Unusable(error) => Stop::Host(error),
            NoHost::Cancelled => Stop::Cancelled,
        }
    }
}
