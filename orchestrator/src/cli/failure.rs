//! Why a command failed, as a message for the user, and its exit code.

use std::{fmt, process::ExitCode};

use amore_core::RefusalKind;

use crate::advice::{Advice, with_causes};

/// Exit codes; documented in `docs/cli.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Nothing could be done.
    Failed = 1,
    Usage = 2,
    /// Success, but some of the runs could not be processed.
    Partly = 3,
    /// The context file has errors.
    ContextFile = 4,
    /// Stopped by Ctrl-C or a termination signal.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

/// What went wrong and what to do. The message contains the cause once; the hint is separate.
#[derive(Debug)]
pub struct Failure {
    pub exit: Exit,
    pub message: String,
    pub hint: Option<String>,
}

impl Failure {
    /// A failure of the whole command.
    pub fn new(message: impl Into<String>) -> Self {
        Failure { exit: Exit::Failed, message: message.into(), hint: None }
    }

    /// From an error without a hint, with its chain of causes.
    pub fn from_error(error: &(dyn std::error::Error + 'static)) -> Self {
        Failure::new(with_causes(error))
    }

    /// Adds a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Sets the exit code.
    #[must_use]
    pub fn exit(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }
}

/// Converts an error of another module.
impl<E: Advice + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        let exit = match error.kind() {
            RefusalKind::Failed => Exit::Failed,
            RefusalKind::ContextFile => Exit::ContextFile,
            RefusalKind::Interrupted => Exit::Interrupted,
        };
        Failure { exit, message: with_causes(&error), hint: error.hint() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, "\n  hint: {hint}")?;
        }
        Ok(())
    }
}
