//! What is wrong with a context file, said so that its author can mend it.

use serde::{Deserialize, Serialize};

use crate::Severity;

/// What sort of problem it is; stable words for editors and tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProblemKind {
    /// The file cannot be read: missing, a directory, not UTF-8.
    Unreadable,
    /// The file is not Python.
    Syntax,
    /// Executing the file raised an exception.
    Import,
    /// Variables that depend on one another in a ring.
    Cycle,
    /// A `var#` dependency that no variable has.
    MissingDependency,
    /// Two variables with one title.
    DuplicateTitle,
    /// Two variables with one name.
    DuplicateName,
    /// `data="raw"` is said, but a dependency needs proc data.
    RawDependsOnProc,
    /// An annotation that is no known dependency.
    BadAnnotation,
    /// A `mymdc#` field that does not exist.
    BadMymdcField,
    /// Tags that are not non-empty strings.
    BadTags,
    /// Units that are not a non-empty string.
    BadUnits,
    /// A name that is no Python identifier or dotted name.
    BadName,
    /// `data=` that is neither "raw" nor "proc".
    BadData,
    /// `cpus=`, `mem=`, `time=` and the like: a value that Slurm would not take, one that has no effect, or several that
    /// cannot be had in one job.
    BadResources,
    /// A variable that ends in no column.
    NoColumn,
    /// Any other argument of `@Variable` with a value that cannot be used.
    BadArgument,
    /// A `Group` used in a way that cannot work.
    BadGroup,
    /// One variable reads what another one leaves in the module, and does not say that it depends on it.
    SharedState,
    /// Found by pyflakes.
    Pyflakes,
}

/// One problem of a context file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// An error refuses the file; the rest is shown and does not.
    pub severity: Severity,
    /// What sort of problem.
    pub kind: ProblemKind,
    /// One sentence, without the place.
    pub message: String,
    /// The file, where it is not the context file itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Line, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// Column, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
    /// What to do about it, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The user's own traceback (frames of ours left out), for `Import`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceback: Option<String>,
    /// The variables concerned.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub variables: Vec<String>,
}

impl Problem {
    /// An error without a place or a hint yet.
    pub fn error(kind: ProblemKind, message: impl Into<String>) -> Self {
        Problem {
            severity: Severity::Error,
            kind,
            message: message.into(),
            file: None,
            line: None,
            column: None,
            hint: None,
            traceback: None,
            variables: Vec::new(),
        }
    }
}
