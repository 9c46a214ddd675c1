//! Why a command failed, as a message for the user, and its exit code.

use std::{fmt, process::ExitCode};

use amore_core::{Refusal, RefusalKind};

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

/// What went wrong and what to do. The message includes the cause once; the hint is separate.
#[derive(Debug)]
pub struct Failure {
    pub exit: Exit,
    /// What went wrong, and with what.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Failure {
    /// A failure of the whole command.
    pub fn new(message: impl Into<String>) -> Self {
        Failure { exit: Exit::Failed, message: message.into(), hint: None }
    }

    /// From an error, with its chain of causes.
    pub fn from_error(error: &(dyn std::error::Error + 'static)) -> Self {
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
        Failure::new(message)
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

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let exit = match refusal.kind {
            RefusalKind::Failed => Exit::Failed,
            RefusalKind::ContextFile => Exit::ContextFile,
            RefusalKind::Interrupted => Exit::Interrupted,
        };
        Failure { exit, message: refusal.message, hint: refusal.hint }
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        let kind = match failure.exit {
            Exit::ContextFile => RefusalKind::ContextFile,
            Exit::Interrupted => RefusalKind::Interrupted,
            Exit::Failed | Exit::Usage | Exit::Partly => RefusalKind::Failed,
        };
        Refusal { kind, message: failure.message, hint: failure.hint }
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
