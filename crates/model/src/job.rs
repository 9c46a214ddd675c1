//! A variable's own Slurm job: the user's command, and how it ended.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{JobState, Resources};

/// The command of a variable with `job=SlurmJob(…)`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobSpec {
    /// Its words as written: the first is the program; placeholders are in braces.
    pub command: Vec<String>,
    /// The resources that it requests.
    #[serde(default)]
    pub resources: Resources,
    /// Whether the function is called only after success.
    #[serde(default = "yes")]
    pub check: bool,
    /// Default texts for arguments whose dependency has no value: argument → text.
    #[serde(default)]
    pub defaults: BTreeMap<String, String>,
}

fn yes() -> bool {
    true
}

/// Placeholders that every command may use, in addition to the arguments of its variable.
pub const PLACEHOLDERS: [&str; 7] =
    ["run", "proposal", "proposal_dir", "raw_dir", "proc_dir", "run_file", "directory"];

/// A piece of a word of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Literal text.
    Text(&'a str),
    /// `{name}`.
    Placeholder(&'a str),
}

/// A word with an unpaired brace.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{brace:?} in {word:?} is unpaired")]
pub struct LoneBrace {
    /// The word.
    pub word: String,
    /// `{` or `}`.
    pub brace: char,
}

/// Splits a word into literal text and placeholders. `{{` and `}}` are literal braces, as in Python.
///
/// # Errors
/// An unpaired brace.
pub fn pieces(word: &str) -> Result<Vec<Piece<'_>>, LoneBrace> {
    let lone = |brace| LoneBrace { word: word.to_owned(), brace };
    let mut found = Vec::new();
    let mut rest = word;
    while let Some(at) = rest.find(['{', '}']) {
        let (before, from) = rest.split_at(at);
        if !before.is_empty() {
            found.push(Piece::Text(before));
        }
        if from.starts_with("{{") || from.starts_with("}}") {
            found.push(Piece::Text(&from[..1]));
            rest = &from[2..];
        } else if let Some(inner) = from.strip_prefix('{') {
            let end = inner.find(['{', '}']).ok_or_else(|| lone('{'))?;
            let Some(after) = inner[end..].strip_prefix('}') else { return Err(lone('{')) };
            found.push(Piece::Placeholder(&inner[..end]));
            rest = after;
        } else {
            return Err(lone('}'));
        }
    }
    if !rest.is_empty() {
        found.push(Piece::Text(rest));
    }
    Ok(found)
}

/// How the job of a variable ended; passed to its function for `job#outcome`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobOutcome {
    /// The job's id; `None` for a command that was executed without Slurm.
    pub id: Option<String>,
    /// The cluster of this id; `None` if none was named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// Slurm's job state: `COMPLETED`, `FAILED`, `TIMEOUT`, `OUT_OF_MEMORY`, `CANCELLED`, `NODE_FAIL`, …
    pub state: JobState,
    /// Further details in a few words; may be empty.
    #[serde(default)]
    pub reason: String,
    /// The command's exit code; `None` if it did not exit by itself.
    pub exit_code: Option<i32>,
    /// The signal that ended it, if any.
    pub signal: Option<i32>,
    /// Its directory.
    pub directory: PathBuf,
    /// The file with its output, if known.
    pub log: Option<PathBuf>,
    /// Run time in seconds, as far as known.
    pub elapsed: f64,
    /// The last lines of its output.
    #[serde(default)]
    pub tail: String,
}

impl JobOutcome {
    /// Whether the command completed with exit code 0.
    pub fn is_success(&self) -> bool {
        self.state == JobState::Completed && self.exit_code == Some(0)
    }

    /// The exception class of the variable's error.
    pub fn error_class(&self) -> &'static str {
        match self.state {
            JobState::TimedOut | JobState::Deadline => "JobTimeout",
            JobState::OutOfMemory => "JobOutOfMemory",
            JobState::Cancelled => "JobCancelled",
            _ => "JobFailed",
        }
    }

    /// The message of the variable's error: what happened, where, and the last lines of output.
    pub fn error_message(&self) -> String {
        let mut words = self.to_string();
        if let Some(log) = &self.log {
            words.push_str(&format!("\nits log: {}", log.display()));
        }
        let tail = self.tail.trim_end();
        if tail.is_empty() {
            words.push_str("\nit printed no readable output");
        } else {
            words.push_str(&format!("\nits last lines:\n{tail}"));
        }
        words
    }
}

/// One line: `job 17 failed with exit code 3 (FAILED)`.
impl fmt::Display for JobOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.id {
            Some(id) => {
                let on = self.cluster.as_ref().map(|cluster| format!("@{cluster}")).unwrap_or_default();
                write!(f, "job {id}{on} ")?;
            }
            None => f.write_str("the command ")?,
        }
        match (&self.state, self.exit_code, self.signal) {
            (JobState::Completed, Some(0), _) => f.write_str("completed (COMPLETED)")?,
            (JobState::TimedOut, ..) => f.write_str("reached its time limit (TIMEOUT)")?,
            (JobState::OutOfMemory, ..) => f.write_str("ran out of memory (OUT_OF_MEMORY)")?,
            (JobState::Cancelled, ..) => f.write_str("was cancelled (CANCELLED)")?,
            (state, _, Some(signal)) => write!(f, "was killed by signal {signal} ({state})")?,
            (state, Some(code), _) => write!(f, "failed with exit code {code} ({state})")?,
            (state, ..) => write!(f, "ended as {state}")?,
        }
        if !self.reason.is_empty() {
            write!(f, ": {}", self.reason)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_and_braces() {
        assert_eq!(
            pieces("--out={directory}/r{run}.h5").unwrap(),
            [
                Piece::Text("--out="),
                Piece::Placeholder("directory"),
                Piece::Text("/r"),
                Piece::Placeholder("run"),
                Piece::Text(".h5")
            ]
        );
        assert_eq!(
            pieces("{{print $1}}").unwrap(),
            [Piece::Text("{"), Piece::Text("print $1"), Piece::Text("}")]
        );
        assert_eq!(pieces("").unwrap(), []);
        for word in ["{", "}", "a{b", "a}b", "{a{b}}", "{a"] {
            assert!(pieces(word).is_err(), "{word}");
        }
    }

    #[test]
    fn an_outcome_is_told_with_the_last_lines() {
        let failed = JobOutcome {
            id: Some("17".to_owned()),
            cluster: None,
            state: JobState::Failed,
            reason: String::new(),
            exit_code: Some(3),
            signal: None,
            directory: PathBuf::from("/db/jobs/r42-p1234/hits"),
            log: Some(PathBuf::from("/db/slurm_logs/r42-p1234-17.out")),
            elapsed: 1.5,
            tail: "no such peak\n".to_owned(),
        };
        assert!(!failed.is_success());
        assert_eq!(failed.error_class(), "JobFailed");
        assert_eq!(
            failed.error_message(),
            "job 17 failed with exit code 3 (FAILED)\nits log: /db/slurm_logs/r42-p1234-17.out\nits last lines:\nno such peak"
        );
        let stopped = JobOutcome { state: JobState::TimedOut, exit_code: None, ..failed };
        assert_eq!(stopped.error_class(), "JobTimeout");
        assert_eq!(stopped.to_string(), "job 17 reached its time limit (TIMEOUT)");
        let elsewhere = JobOutcome { cluster: Some("maxwell".to_owned()), ..stopped };
        assert_eq!(elsewhere.to_string(), "job 17@maxwell reached its time limit (TIMEOUT)");
    }
}
