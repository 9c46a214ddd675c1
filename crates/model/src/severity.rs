use std::fmt;

use serde::{Deserialize, Serialize};

/// How grave something is that a user is told. The gravest comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Something was not done. A context file with an error cannot be used.
    Error,
    /// It was done, perhaps not as it was meant.
    Warning,
    /// Something that explains what is done, or why it takes long.
    Note,
    /// What is done.
    Info,
}

impl Severity {
    /// What stands before the words that are shown.
    pub const fn prefix(self) -> &'static str {
        match self {
            Severity::Error => "error: ",
            Severity::Warning => "warning: ",
            Severity::Note => "note: ",
            Severity::Info => "",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
            Severity::Info => "info",
        })
    }
}
