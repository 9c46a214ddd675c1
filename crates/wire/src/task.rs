//! Coordinator ↔ worker.

use std::{collections::BTreeMap, path::PathBuf};

use amore_model::{
    AttemptToken, JobOutcome, PlanStamp, Problem, Proposal, Run, RunData, Sandbox, Urgency, VariableSpec,
    WorkerReport,
};
use serde::{Deserialize, Serialize};

use crate::{VERSION, VERSION_WITH_SANDBOX, ended::Ended, mymdc::MymdcValues};

/// The context file as it was planned. Its text is part of the task, so that an edit between planning and execution cannot
/// mix two versions in one run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContextSource {
    /// Absolute path; becomes `__file__`. A symbolic link is not followed.
    pub path: PathBuf,
    /// Folders whose modules the file may import, in order: its own, and that of the target if it is a link. Empty from an
    /// older version, which followed links: then the folder of `path`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub folders: Vec<PathBuf>,
    /// The working directory for describing the file; `None` from an older version.
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
    /// Its value is passed to dependents but never stored.
    #[serde(default)]
    pub transient: bool,
    /// Fingerprint of the function as planned; stored in the provenance.
    #[serde(default)]
    pub fingerprint: String,
    /// It is executed for the state that it leaves in the module, before a step that reads it. Its value is not stored:
    /// another task does that, or has done it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub again: bool,
    /// The shared state that it changes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<String>,
    /// The shared state that it reads: earlier steps that change it are executed in the same process.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reads: Vec<String>,
    /// Those files in `changes` that it appends to: it is executed again for them only after a step that rewrites them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub adds: Vec<String>,
}

/// Limits of a variable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Wall time in seconds; `None` is no limit.
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
    /// Number of the attempt, from 1.
    pub attempt: u32,
    /// Identifies the attempt; `None` from an older version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<AttemptToken>,
    /// Identifies the plan that requests the results.
    pub stamp: PlanStamp,
    /// The proposal.
    pub proposal: Proposal,
    /// The run.
    pub run: Run,
    /// The database directory (`usr/Shared/amore`); working directory of the child.
    pub directory: PathBuf,
    /// Which data `open_run` opens: raw only, or all.
    pub data: RunData,
    /// `--mock`: use a fake run object.
    #[serde(default)]
    pub mock: bool,
    /// The context file.
    pub context: ContextSource,
    /// The user's Python.
    pub python: PathBuf,
    /// What to compute, dependencies first.
    pub steps: Vec<Step>,
    /// Values of earlier tasks: variable → file that contains it.
    #[serde(default)]
    pub given: BTreeMap<String, PathBuf>,
    /// Dependencies that ended without a value in an earlier attempt: variable → why.
    #[serde(default)]
    pub ended: BTreeMap<String, Ended>,
    /// Steps that are not executed again after attempts that failed: variable → what is stored as its result.
    #[serde(default)]
    pub give_up: BTreeMap<String, Ended>,
    /// If a variable exceeds the memory of the job, it ends with an error in the last attempt; before that the task ends
    /// early, to be tried again with more memory.
    #[serde(default)]
    pub last_attempt: bool,
    /// `param#` values.
    #[serde(default)]
    pub parameters: BTreeMap<String, serde_json::Value>,
    /// Values of `mymdc#` arguments; empty from an older version.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub mymdc: MymdcValues,
    /// The run's log; it is appended to.
    pub log: PathBuf,
    /// Limits of each variable.
    #[serde(default)]
    pub limits: Limits,
    /// How the jobs of variables ended: variable → outcome. A variable with a job is only executed if it is here.
    #[serde(default)]
    pub outcomes: BTreeMap<String, JobOutcome>,
    /// The command of a variable; such a task has no other work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<UserCommand>,
    /// Names that are no longer in the context file: they are removed from the run's file.
    #[serde(default)]
    pub forget: Vec<String>,
    /// What user code is executed in, its Python and its command alike; `None` is no sandbox. The message is then of version
    /// [`VERSION_WITH_SANDBOX`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<Sandbox>,
    /// A host that several directories share starts the most urgent first.
    #[serde(default, skip_serializing_if = "is_default")]
    pub urgency: Urgency,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Task {
    /// The version of a message with this task.
    pub fn version(&self) -> u32 {
        version(self.sandbox.as_ref())
    }

    /// The identifier of this attempt in messages.
    pub fn attempt_id(&self) -> AttemptId {
        AttemptId { task: self.id.clone(), number: Some(self.attempt), token: self.token.clone() }
    }
}

/// Identifies one attempt of a task: a message about it may arrive when there is already another.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AttemptId {
    /// The task's id.
    #[serde(rename = "id")]
    pub task: String,
    /// Number of the attempt, from 1. `None` from an older version, and where there is only one.
    #[serde(rename = "attempt", default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u32>,
    /// The attempt's token; `None` from an older version, and where there are no attempts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<AttemptToken>,
}

impl AttemptId {
    /// For something that is tried once, or a task of an older version.
    pub fn without_attempts(id: &str) -> Self {
        AttemptId { task: id.to_owned(), number: None, token: None }
    }
}

/// A user's command, ready to be executed without a shell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserCommand {
    /// The variable that it belongs to.
    pub variable: String,
    /// Program and arguments.
    pub words: Vec<String>,
    /// Added to the environment.
    pub environment: BTreeMap<String, String>,
    /// Its working directory.
    pub working_directory: PathBuf,
    /// A directory that is created empty for it.
    pub own_directory: PathBuf,
}

/// Coordinator → worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum ToWorker {
    /// Always the first message. Sent again before the first message of a later version.
    Hello {
        /// The version of the messages that follow.
        version: u32,
    },
    /// Execute a context file as far as needed to describe it.
    Describe {
        /// Repeated in the reply.
        id: String,
        /// The file.
        context: ContextSource,
        /// The user's Python.
        python: PathBuf,
        /// The proposal, which a sandbox needs to know.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        proposal: Option<Proposal>,
        /// What the file is executed in; `None` is no sandbox. The message is then of version [`VERSION_WITH_SANDBOX`].
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sandbox: Option<Sandbox>,
    },
    /// Execute a task.
    Run(Box<Task>),
    /// Stop a task: its child is killed; what is stored is kept.
    Cancel {
        /// The task.
        id: String,
    },
    /// Finish running tasks, then exit.
    Drain,
}

fn version(sandbox: Option<&Sandbox>) -> u32 {
    if sandbox.is_some() { VERSION_WITH_SANDBOX } else { VERSION }
}

impl ToWorker {
    /// The version of this message.
    pub fn version(&self) -> u32 {
        match self {
            ToWorker::Hello { version } => *version,
            ToWorker::Describe { sandbox, .. } => version(sandbox.as_ref()),
            ToWorker::Run(task) => task.version(),
            ToWorker::Cancel { .. } | ToWorker::Drain => VERSION,
        }
    }
}

/// The class of the error if a value was computed but could not be stored. It may follow a message that the variable has a
/// value, because the value becomes durable only a moment later.
pub const NOT_STORED: &str = "StorageError";

/// The entry in a run's log for a command that could compute nothing while earlier values are kept. It is recorded nowhere
/// else, so `amore explain` reads it there.
#[derive(Clone, Debug, PartialEq)]
pub struct NotComputed {
    /// Unix time.
    pub at: f64,
    /// Class and message of the error.
    pub why: String,
    /// The variables that kept a value.
    pub kept: Vec<String>,
}

impl NotComputed {
    const HEAD: &'static str = "nothing was computed (Unix time ";
    const KEPT: &'static str = "; earlier values stay of ";

    /// Formats the entry as one line.
    pub fn to_line(&self) -> String {
        let why = self.why.lines().next().unwrap_or_default();
        format!("{}{:.3}): {why}{}{}", Self::HEAD, self.at, Self::KEPT, self.kept.join(", "))
    }

    /// Parses a line of a log; `None` if it is another kind of line.
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
    /// A value is stored (or passed on, if transient).
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
    /// It skipped itself, or a dependency did.
    Skipped {
        /// The reason.
        message: String,
    },
}

impl Outcome {
    /// What dependents get to know; `None` if there is a value.
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
    /// The kernel killed this variable because the job was out of memory; its value is not stored.
    OutOfMemory {
        /// The variable.
        variable: String,
    },
    /// Slurm told the job to end, or its manifest was removed. Slurm knows why.
    ToldToEnd,
    /// There is no space left for results.
    NoSpace,
}

/// Worker → coordinator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "ev", rename_all = "snake_case")]
pub enum FromWorker {
    /// Always the first message.
    Hello {
        /// The version that the sender uses: in a job, that of its manifest.
        version: u32,
        /// Number of concurrent children.
        processes: u32,
    },
    /// Reply to `Describe`.
    Described {
        /// The id of the request.
        id: String,
        /// What the file declares, as far as it could be read.
        variables: Vec<VariableSpec>,
        /// The problems that Python found; the planner adds its own.
        problems: Vec<Problem>,
    },
    /// The Python cannot be used at all.
    HostFailed {
        /// The attempt, or the `Describe`, which has no attempts.
        #[serde(flatten)]
        of: AttemptId,
        /// What happened, for users.
        message: String,
        /// What to do.
        hint: Option<String>,
    },
    /// Something the user should know; the task continues.
    Notice {
        /// The attempt.
        #[serde(flatten)]
        of: AttemptId,
        /// The message.
        message: String,
    },
    /// A worker in a Slurm job has started, or started again.
    Placed {
        /// The node.
        host: String,
        /// The job's number.
        job: Option<String>,
        /// How often Slurm has requeued it.
        restarts: u32,
        /// The cluster of this number.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cluster: Option<String>,
    },
    /// A worker in a Slurm job is alive; sent every few seconds, whatever its variables do.
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
    /// A fragment is in `extracted_data/`, synced.
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
    /// The last message of this task.
    TaskEnded {
        /// The attempt.
        #[serde(flatten)]
        of: AttemptId,
        /// Why steps were left out (for example, the run could not be opened, or the task was cancelled); `None` if none were.
        problem: Option<String>,
        /// Set if the task ended early because of its Slurm job: the rest may be tried again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cut_short: Option<CutShort>,
    },
}

impl FromWorker {
    /// The attempt that the message is about, if any.
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

    /// What the message of a worker in a Slurm job says about the job.
    pub fn about_job(&self) -> WorkerReport {
        match self {
            FromWorker::Alive => WorkerReport::Alive,
            FromWorker::TaskEnded { cut_short: Some(CutShort::ToldToEnd), .. } => WorkerReport::ToldToEnd,
            FromWorker::TaskEnded { .. } => WorkerReport::Done,
            FromWorker::Placed { job: Some(number), cluster, .. } => match number.parse() {
                Ok(number) => WorkerReport::InJob { number, cluster: cluster.clone() },
                Err(_) => WorkerReport::Work,
            },
            _ => WorkerReport::Work,
        }
    }
}

#[cfg(test)]
mod tests {
    use amore_model::WorkerReport;

    use super::{AttemptId, CutShort, FromWorker, NotComputed};

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

    #[test]
    fn what_a_message_says_of_the_job_is_found_in_it() {
        let ended = |cut_short| FromWorker::TaskEnded {
            of: AttemptId::without_attempts("t"),
            problem: None,
            cut_short,
        };
        let placed = |job: Option<&str>| FromWorker::Placed {
            host: "n1".to_owned(),
            job: job.map(str::to_owned),
            restarts: 0,
            cluster: Some("lab".to_owned()),
        };
        let in_job = WorkerReport::InJob { number: 17, cluster: Some("lab".to_owned()) };
        for (message, said) in [
            (FromWorker::Alive, WorkerReport::Alive),
            (ended(None), WorkerReport::Done),
            (ended(Some(CutShort::ToldToEnd)), WorkerReport::ToldToEnd),
            (placed(Some("17")), in_job),
            (placed(Some("17_3")), WorkerReport::Work),
            (placed(None), WorkerReport::Work),
            (FromWorker::Started { of: AttemptId::without_attempts("t") }, WorkerReport::Work),
        ] {
            assert_eq!(message.about_job(), said, "{message:?}");
        }
    }
}
