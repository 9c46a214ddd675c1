//! Coordinator ↔ worker.

use std::{collections::BTreeMap, path::PathBuf};

use amore_model::{AttemptToken, JobOutcome, PlanStamp, Problem, Proposal, Run, RunData, VariableSpec};
use serde::{Deserialize, Serialize};

use crate::ended::Ended;

/// The context file as the plan saw it. The text travels with the task, so that an edit between plan and
/// execution cannot mix two versions in one run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContextSource {
    /// Absolute path; becomes `__file__`. A symbolic link is not followed.
    pub path: PathBuf,
    /// Folders whose modules the file may import, in order: its own, and that of the target where it is a link. Empty
    /// from a version that followed links: then the folder of `path`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub folders: Vec<PathBuf>,
    /// The working directory in which it is executed to be described; none from an older version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<PathBuf>,
    /// The text (UTF-8).
    pub text: String,
    /// SHA-256 of the text, hex.
    pub sha256: String,
}

/// One variable to compute in a task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The variable.
    pub name: String,
    /// Its direct dependencies among all variables of the file, wildcards resolved.
    #[serde(default)]
    pub needs: Vec<String>,
    /// Handed to dependents, never stored.
    #[serde(default)]
    pub transient: bool,
    /// Fingerprint of the function as planned; stored in the provenance.
    #[serde(default)]
    pub fingerprint: String,
    /// Executed for what it leaves in the module, before a step that reads it. Its value is not stored: that is for
    /// another task to do, or was done before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub again: bool,
    /// State that it changes, of that which variables share.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<String>,
    /// State that it reads: steps before it that change it are executed in the same process.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reads: Vec<String>,
    /// Of `changes`, files to which it adds: it is executed again for them only after a step that writes them afresh.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub adds: Vec<String>,
}

/// Bounds on what a variable may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Seconds a variable may run; `None` is no limit.
    #[serde(default)]
    pub variable_seconds: Option<f64>,
    /// Address space of the child in bytes; `None` is no limit.
    #[serde(default)]
    pub memory_bytes: Option<u64>,
}

/// One sub-graph of the DAG for one run, executed in one place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// Unique among the tasks of a coordinator.
    pub id: String,
    /// Which try this is, from 1.
    pub attempt: u32,
    /// Names the attempt; none from an older version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<AttemptToken>,
    /// The plan that wants the results.
    pub stamp: PlanStamp,
    /// The proposal.
    pub proposal: Proposal,
    /// The run.
    pub run: Run,
    /// The database directory (`usr/Shared/amore`); working directory of the child.
    pub directory: PathBuf,
    /// Which data `open_run` is asked for: raw only, or all.
    pub data: RunData,
    /// `--mock`: a fake run object.
    #[serde(default)]
    pub mock: bool,
    /// The context file.
    pub context: ContextSource,
    /// The user's Python.
    pub python: PathBuf,
    /// What to compute, dependencies first.
    pub steps: Vec<Step>,
    /// Values of earlier tasks: variable → file that holds it.
    #[serde(default)]
    pub given: BTreeMap<String, PathBuf>,
    /// Dependencies that ended without a value in an earlier attempt: variable → how.
    #[serde(default)]
    pub ended: BTreeMap<String, Ended>,
    /// Steps that are not called any more, after attempts that failed: this is stored as their outcome.
    #[serde(default)]
    pub give_up: BTreeMap<String, Ended>,
    /// A variable that exceeds the job's memory ends with an error now; otherwise the task is given back, to be tried
    /// with more.
    #[serde(default)]
    pub last_attempt: bool,
    /// `param#` values.
    #[serde(default)]
    pub parameters: BTreeMap<String, serde_json::Value>,
    /// The run's log, appended to.
    pub log: PathBuf,
    /// Bounds.
    #[serde(default)]
    pub limits: Limits,
    /// How the jobs of variables ended: variable → outcome. Without one such a variable's function is not called.
    #[serde(default)]
    pub outcomes: BTreeMap<String, JobOutcome>,
    /// The command of a variable, which is all there is to do then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Command>,
    /// Names that no longer stand in the context file: whatever the run's file holds of them is dropped.
    #[serde(default)]
    pub forget: Vec<String>,
}

impl Task {
    /// What a worker calls this attempt.
    pub fn attempt_id(&self) -> AttemptId {
        AttemptId { task: self.id.clone(), number: Some(self.attempt), token: self.token.clone() }
    }
}

/// One attempt of a task: what a worker says is about this one, and may come when there is another.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AttemptId {
    /// The task's id.
    #[serde(rename = "id")]
    pub task: String,
    /// Which attempt, from 1. None from an older version, and where there is only one.
    #[serde(rename = "attempt", default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u32>,
    /// The attempt's token; none from an older version, and where there are no attempts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<AttemptToken>,
}

impl AttemptId {
    /// Of something that is tried once, and of a task of an older version.
    pub fn without_attempts(id: &str) -> Self {
        AttemptId { task: id.to_owned(), number: None, token: None }
    }
}

/// A command of the user's, ready to be executed: no shell reads it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// The variable that it belongs to.
    pub variable: String,
    /// Program and arguments.
    pub words: Vec<String>,
    /// Added to the environment.
    pub environment: BTreeMap<String, String>,
    /// Its working directory.
    pub working_directory: PathBuf,
    /// Made empty for it.
    pub own_directory: PathBuf,
}

/// Coordinator → worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum ToWorker {
    /// Always first.
    Hello {
        /// [`crate::VERSION`] of whoever says it.
        version: u32,
    },
    /// Execute a context file far enough to say what it declares.
    Describe {
        /// Comes back in the answer.
        id: String,
        /// The file.
        context: ContextSource,
        /// The user's Python.
        python: PathBuf,
    },
    /// Execute a task.
    Run(Box<Task>),
    /// Stop a task: its child is killed, what was stored stays.
    Cancel {
        /// The task.
        id: String,
    },
    /// Finish what runs, then exit.
    Drain,
}

/// Class of the error of a value that was computed and could not be stored. A worker may say so of a variable of which it
/// said before that it has a value: it is durable only some moments later.
pub const NOT_STORED: &str = "StorageError";

/// What the log of a run has of a command that could compute nothing, where values of earlier ones stay: nothing else of
/// it is stored, so that `amore explain` reads it there.
#[derive(Clone, Debug, PartialEq)]
pub struct NotComputed {
    /// Unix time.
    pub at: f64,
    /// Class and message of the error.
    pub why: String,
    /// The variables that keep a value.
    pub kept: Vec<String>,
}

impl NotComputed {
    const HEAD: &'static str = "nothing was computed (Unix time ";
    const KEPT: &'static str = "; earlier values stay of ";

    /// One line.
    pub fn to_line(&self) -> String {
        let why = self.why.lines().next().unwrap_or_default();
        format!("{}{:.3}): {why}{}{}", Self::HEAD, self.at, Self::KEPT, self.kept.join(", "))
    }

    /// From a line of a log, if it is such a one.
    pub fn from_line(line: &str) -> Option<Self> {
        let (at, rest) = line.strip_prefix(Self::HEAD)?.split_once("): ")?;
        let (why, kept) = rest.rsplit_once(Self::KEPT)?;
        let kept = kept.trim_end().split(", ").map(str::to_owned).collect();
        Some(NotComputed { at: at.parse().ok()?, why: why.to_owned(), kept })
    }
}

/// How one variable ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// A value is stored (or handed on, if transient).
    Value,
    /// The function returned `None`.
    Nothing,
    /// It failed: class and message of the exception, or of the child's death.
    Error {
        /// Exception class.
        class: String,
        /// Its message.
        message: String,
    },
    /// It chose not to run, or a dependency did.
    Skipped {
        /// Why.
        message: String,
    },
}

impl Outcome {
    /// What dependents are told of it; nothing if there is a value.
    pub fn without_value(&self) -> Option<Ended> {
        match self {
            Outcome::Value => None,
            Outcome::Nothing => Some(Ended::Nothing),
            Outcome::Error { class, message } => {
                Some(Ended::Error { class: class.clone(), message: message.clone() })
            }
            Outcome::Skipped { message } => Some(Ended::Skipped { message: message.clone() }),
        }
    }
}

/// Why a task in a Slurm job ended early.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum CutShort {
    /// The kernel killed this variable, because the job was out of memory; nothing is stored of it.
    OutOfMemory {
        /// The variable.
        variable: String,
    },
    /// Slurm told the job to end, or its sheet was taken away. Slurm knows why.
    ToldToEnd,
    /// There is no space left for results.
    NoSpace,
}

/// Worker → coordinator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "ev", rename_all = "snake_case")]
pub enum FromWorker {
    /// Always first.
    Hello {
        /// [`crate::VERSION`] of whoever says it.
        version: u32,
        /// How many children run side by side.
        processes: u32,
    },
    /// Answer to `Describe`.
    Described {
        /// The request's.
        id: String,
        /// What the file declares (as much of it as could be read).
        variables: Vec<VariableSpec>,
        /// What Python found wrong; the planner adds what it finds.
        problems: Vec<Problem>,
    },
    /// The Python could not be used at all.
    HostFailed {
        /// The attempt concerned, or the `Describe`, which has no attempts.
        #[serde(flatten)]
        of: AttemptId,
        /// What happened, for the user.
        message: String,
        /// What to do.
        hint: Option<String>,
    },
    /// Something the user should know; the task goes on.
    Notice {
        /// The attempt.
        #[serde(flatten)]
        of: AttemptId,
        /// In a sentence.
        message: String,
    },
    /// A worker in a Slurm job has begun, or begun again.
    Placed {
        /// The node.
        host: String,
        /// The job's id.
        job: Option<String>,
        /// How often Slurm has requeued it.
        restarts: u32,
        /// The cluster that counts so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cluster: Option<String>,
    },
    /// A worker in a Slurm job is still there; said every few seconds, whatever its variables do.
    Alive,
    /// A child started on the task.
    Started {
        /// The attempt.
        #[serde(flatten)]
        of: AttemptId,
    },
    /// A variable's function was called.
    VariableStarted {
        /// The attempt.
        #[serde(flatten)]
        of: AttemptId,
        /// The variable.
        name: String,
    },
    /// A variable ended (its value may not be durable yet).
    VariableEnded {
        /// The attempt.
        #[serde(flatten)]
        of: AttemptId,
        /// The variable.
        name: String,
        /// How.
        #[serde(flatten)]
        outcome: Outcome,
        /// Wall seconds.
        seconds: f64,
    },
    /// The command of a task ended by itself.
    CommandEnded {
        /// The attempt.
        #[serde(flatten)]
        of: AttemptId,
        /// How.
        outcome: Box<JobOutcome>,
    },
    /// A fragment stands in `extracted_data/`, synced.
    Fragment {
        /// The attempt.
        #[serde(flatten)]
        of: AttemptId,
        /// The proposal.
        proposal: Proposal,
        /// The run.
        run: Run,
        /// Absolute path.
        path: PathBuf,
    },
    /// Nothing more will come of this task.
    TaskEnded {
        /// The attempt.
        #[serde(flatten)]
        of: AttemptId,
        /// `None`, or why steps were left out (for example the run could not be opened, or it was cancelled).
        problem: Option<String>,
        /// It was cut short by what happened to its Slurm job: the rest may be tried again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cut_short: Option<CutShort>,
    },
}

impl FromWorker {
    /// The attempt that it is about, if it is about one.
    pub fn attempt(&self) -> Option<&AttemptId> {
        match self {
            FromWorker::Hello { .. }
            | FromWorker::Described { .. }
            | FromWorker::Placed { .. }
            | FromWorker::Alive => None,
            FromWorker::HostFailed { of, .. }
            | FromWorker::Notice { of, .. }
            | FromWorker::Started { of }
            | FromWorker::VariableStarted { of, .. }
            | FromWorker::VariableEnded { of, .. }
            | FromWorker::CommandEnded { of, .. }
            | FromWorker::Fragment { of, .. }
            | FromWorker::TaskEnded { of, .. } => Some(of),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::NotComputed;

    #[test]
    fn a_line_of_the_log_says_what_was_not_computed() {
        let note =
            NotComputed { at: 12.5, why: "E: a; b\nmore".to_owned(), kept: vec!["a".into(), "µ.b".into()] };
        let line = note.to_line();
        assert_eq!(line, "nothing was computed (Unix time 12.500): E: a; b; earlier values stay of a, µ.b");
        let read = NotComputed::from_line(&line).unwrap();
        assert_eq!(read, NotComputed { why: "E: a; b".to_owned(), ..note });
        assert_eq!(NotComputed::from_line("nothing was computed (Unix time soon): E"), None);
        assert_eq!(NotComputed::from_line("12:00:00 a computed"), None);
    }
}
