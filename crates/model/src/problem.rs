//! Problems of a context file, described so that its author can fix them.

use serde::{Deserialize, Serialize};

use crate::Severity;

/// Kind of problem, with stable names for editors and tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProblemKind {
    /// The file cannot be read: missing, a directory, not UTF-8.
    Unreadable,
    /// The file is not valid Python.
    Syntax,
    /// Executing the file raised an exception.
    Import,
    /// Variables that depend on each other in a cycle.
    Cycle,
    /// A `var#` dependency that does not exist.
    MissingDependency,
    /// Two variables with the same title.
    DuplicateTitle,
    /// Two variables with the same name.
    DuplicateName,
    /// A variable with `data="raw"` depends on one that needs proc data.
    RawDependsOnProc,
    /// An annotation that is not a known dependency.
    BadAnnotation,
    /// A `mymdc#` field that does not exist.
    BadMymdcField,
    /// Tags that are not non-empty strings.
    BadTags,
    /// Units that are not a non-empty string.
    BadUnits,
    /// A name that is neither a Python identifier nor a dotted name.
    BadName,
    /// `data=` that is neither "raw" nor "proc".
    BadData,
    /// `cpus=`, `mem=`, `time=` and the like: a value that Slurm would reject, one without effect, or values that cannot be
    /// combined in one job.
    BadResources,
    /// A variable that does not get a column.
    NoColumn,
    /// Any other argument of `@Variable` with an invalid value.
    BadArgument,
    /// Incorrect use of a `Group`.
    BadGroup,
    /// A variable reads module state that another one changes, without depending on it.
    SharedState,
    /// Found by pyflakes.
    Pyflakes,
}

/// One problem of a context file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Errors make the file unusable; other problems are only shown.
    pub severity: Severity,
    /// Kind of problem.
    pub kind: ProblemKind,
    /// The message, without the location.
    pub message: String,
    /// The file, if it is not the context file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Line, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// Column, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
    /// What to do about it, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The user's traceback (without Amore's frames), for `Import`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceback: Option<String>,
    /// The variables concerned.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub variables: Vec<String>,
}

impl Problem {
    /// An error without location and hint.
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
