//! Errors with advice for the user.
//!
//! Each module has its own error type, whose variants tell its caller how to react. They are all displayed in the same way:
//! the command line turns each into a message, a hint and an exit code.

use std::error::Error;

use amore_core::{Refusal, RefusalKind};
use amore_ledger::LedgerError;
use amore_listener_db::ListenerDbError;
use amore_run_table::RunTableError;
use amore_slurm::sourced::InvalidSetting;

/// An error with a hint. Its text says what is wrong and where, but not what to do.
pub trait Advice: Error {
    /// What the user can do about it, if known.
    fn hint(&self) -> Option<String>;

    /// The kind of failure, which decides the exit code of a command.
    fn kind(&self) -> RefusalKind {
        RefusalKind::Failed
    }
}

impl Advice for Refusal {
    fn hint(&self) -> Option<String> {
        self.hint.clone()
    }

    fn kind(&self) -> RefusalKind {
        self.kind
    }
}

impl Advice for RunTableError {
    fn hint(&self) -> Option<String> {
        RunTableError::hint(self)
    }
}

impl Advice for LedgerError {
    fn hint(&self) -> Option<String> {
        LedgerError::hint(self)
    }
}

impl Advice for ListenerDbError {
    fn hint(&self) -> Option<String> {
        ListenerDbError::hint(self)
    }
}

impl Advice for InvalidSetting {
    fn hint(&self) -> Option<String> {
        Some(self.hint.clone())
    }
}

/// Formats an error and its causes in one line. A cause that the text before already contains is not repeated.
pub fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let words = inner.to_string();
        if !message.contains(&words) {
            message.push_str(": ");
            message.push_str(&words);
        }
        cause = inner.source();
    }
    message
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot read a: {source}")]
    struct InWords {
        source: io::Error,
    }

    #[derive(Debug, thiserror::Error)]
    #[error("nothing was stored")]
    struct Around(#[source] InWords);

    #[test]
    fn each_cause_is_said_once() {
        let error = Around(InWords { source: io::Error::other("no such device") });
        assert_eq!(with_causes(&error), "nothing was stored: cannot read a: no such device");
    }
}
