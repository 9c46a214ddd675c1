use std::fmt;

use serde::{Deserialize, Serialize};

/// How serious a message to the user is, most serious first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Something was not done. A context file with an error cannot be used.
    Error,
    /// It was done, but perhaps not as intended.
    Warning,
    /// Explains what happens, or why it takes long.
    Note,
    /// Progress.
    Info,
}

impl Severity {
    /// The prefix of the displayed message.
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
