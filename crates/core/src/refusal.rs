//! Why a request is not served.

use std::fmt;

/// What to do about a disk that is full.
pub const NO_SPACE: &str = "free some space or ask for more quota, then run the command again: stored results are kept, and those waiting in extracted_data/ are collected";

/// What kind of refusal it is: decides the exit code of the command that asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalKind {
    /// It cannot be done.
    Failed,
    /// The context file has errors.
    ContextFile,
    /// The user stopped it.
    Interrupted,
}

/// Why a request is not served, and what the user can do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Refusal {
    /// Decides the exit code.
    pub kind: RefusalKind,
    /// What is wrong, and where.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Refusal {
    /// Without a hint.
    pub fn new(message: impl Into<String>) -> Self {
        Refusal { kind: RefusalKind::Failed, message: message.into(), hint: None }
    }

    /// Adds what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Changes the kind.
    #[must_use]
    pub fn kind(mut self, kind: RefusalKind) -> Self {
        self.kind = kind;
        self
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
