//! What happens in a directory, for whoever watches it: pages, scripts, DAMNIT's graphical interface.
//!
//! [`crate::events::Event`] is for whoever made a request. An [`Activity`] is for those who made none, and is about all
//! requests and tasks, whoever asked. Each one says how something is now, so that hearing it twice does no harm.

use std::collections::BTreeSet;

use amore_model::{JobId, Proposal, Run, RunData};
use amore_plan::Place;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{events::Summary, task::TaskRecord, task_state::TaskState};

/// One thing that has happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", content = "data", rename_all = "snake_case")]
pub enum Activity {
    /// A request has come, and waits for its turn to be planned.
    RequestQueued {
        /// The arrival of data that it is for, if it is for one.
        trigger: Option<String>,
        /// Its runs; `None`: all that the table knows.
        runs: Option<BTreeSet<Run>>,
    },
    /// It is known what a request has to compute.
    RequestPlanned {
        /// Its number: unique as long as the directory has the same owner.
        request: u64,
        /// The arrival of data that it is for.
        trigger: Option<String>,
        /// How many runs.
        runs: usize,
        /// How many variables in all of them.
        variables: usize,
        /// Runs that were asked for and do not exist.
        missing: Vec<Run>,
    },
    /// A request cannot be served.
    RequestRefused {
        /// The arrival of data that it is for.
        trigger: Option<String>,
        /// Why.
        message: String,
        /// What to do.
        hint: Option<String>,
    },
    /// All of a request is done.
    RequestFinished {
        /// Its number.
        request: u64,
        /// In numbers.
        #[serde(flatten)]
        summary: Summary,
    },
    /// A task waits, from now on for this.
    TaskQueued {
        /// Which.
        #[serde(flatten)]
        task: TaskFacts,
        /// For what.
        waits_for: WaitsFor,
    },
    /// A task is being executed.
    TaskStarted {
        /// Which.
        #[serde(flatten)]
        task: TaskFacts,
        /// Where.
        #[serde(flatten)]
        at: ExecutedAt,
    },
    /// A task is over. Its values may not be in the table yet.
    TaskEnded {
        /// Which.
        #[serde(flatten)]
        task: TaskFacts,
        /// Why it ended before its variables were computed, if so.
        problem: Option<String>,
    },
    /// The table has changed.
    ValuesStored {
        /// The proposal.
        proposal: Proposal,
        /// The run.
        run: Run,
        /// The cells that were written.
        values: Vec<StoredCell>,
    },
    /// The table's list of variables has new ones, or other titles, descriptions or tags.
    VariablesChanged {
        /// Those variables, as they are now.
        variables: Vec<ListedVariable>,
    },
    /// Everything of a run is in the table.
    RunFinished {
        /// The proposal.
        proposal: Proposal,
        /// The run.
        run: Run,
        /// The number of its request.
        request: u64,
        /// Why it could not be processed, if so.
        problem: Option<String>,
    },
}

impl Activity {
    /// Its word, as it is written.
    pub fn name(&self) -> &'static str {
        match self {
            Activity::RequestQueued { .. } => "request_queued",
            Activity::RequestPlanned { .. } => "request_planned",
            Activity::RequestRefused { .. } => "request_refused",
            Activity::RequestFinished { .. } => "request_finished",
            Activity::TaskQueued { .. } => "task_queued",
            Activity::TaskStarted { .. } => "task_started",
            Activity::TaskEnded { .. } => "task_ended",
            Activity::ValuesStored { .. } => "values_stored",
            Activity::VariablesChanged { .. } => "variables_changed",
            Activity::RunFinished { .. } => "run_finished",
        }
    }
}

/// Identifies a task for those who watch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskFacts {
    /// Its id.
    pub task: String,
    /// The number of its request.
    pub request: u64,
    /// Proposal.
    pub proposal: Proposal,
    /// Run.
    pub run: Run,
    /// Raw only, or all.
    pub data: RunData,
    /// What it computes.
    pub variables: Vec<String>,
    /// Whether it is executed in a Slurm job.
    pub in_job: bool,
}

impl TaskFacts {
    /// Those of a task.
    pub(crate) fn of(task: &TaskRecord) -> Self {
        TaskFacts {
            task: task.id.clone(),
            request: task.request.0,
            proposal: task.proposal,
            run: task.run,
            data: task.data,
            variables: task.planned.names(),
            in_job: task.place() == Place::Cluster,
        }
    }
}

/// What a task waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum WaitsFor {
    /// Results of other tasks.
    OtherTasks {
        /// Their ids.
        tasks: Vec<String>,
    },
    /// Others come first: for a free process here, or for a job to end where only so many may be submitted at once.
    Turn,
    /// The answer of Slurm, which is asked for a job.
    Submission,
    /// Slurm, which has the job.
    Slurm {
        /// The job.
        job: JobId,
        /// Why Slurm lets it wait, in its own word; `None` until the queue was read.
        reason: Option<String>,
    },
}

impl WaitsFor {
    /// What a task in this state waits for; `None`: it does not wait. `id` gives the id of a task.
    pub(crate) fn of(state: &TaskState, id: impl Fn(crate::task::TaskNo) -> Option<String>) -> Option<Self> {
        use crate::task_state::{Attempt, AttemptPlace};
        match state {
            TaskState::Waiting { on } => {
                Some(WaitsFor::OtherTasks { tasks: on.iter().filter_map(|other| id(*other)).collect() })
            }
            TaskState::Ready { .. } => Some(WaitsFor::Turn),
            TaskState::InProgress(Attempt { place: AttemptPlace::Job { job: None }, .. }) => {
                Some(WaitsFor::Submission)
            }
            TaskState::InProgress(Attempt { place: AttemptPlace::Job { job: Some(job) }, .. }) => {
                Some(WaitsFor::Slurm { job: job.clone(), reason: None })
            }
            // It has a place with the worker here, which says when it starts.
            TaskState::InProgress(Attempt { place: AttemptPlace::Here { .. }, .. })
            | TaskState::Ended { .. } => None,
        }
    }
}

/// Where a task is executed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecutedAt {
    /// The host; `None` is the host of the coordinator.
    pub host: Option<String>,
    /// The Slurm job, if it is in one.
    pub job: Option<JobId>,
    /// The account that executes it, for whoever knows.
    pub user: Option<String>,
}

/// A cell of the table that was written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredCell {
    /// The variable.
    pub name: String,
    /// What the cell has now.
    #[serde(flatten)]
    pub content: CellContent,
}

/// What a cell has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "content", rename_all = "snake_case")]
pub enum CellContent {
    /// A value.
    Value {
        /// What kind of value: `integer`, `number`, `text`, `complex`, `timestamp`, `image`, `trendline`, `array`, `bytes`.
        kind: String,
        /// The value as `amore table --json` shows it. What is too large to be shown is an object that says what it is.
        value: Value,
        /// The function that reduced the data, if one did.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        summary_method: Option<String>,
        /// Largest difference within the data.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        max_diff: Option<f64>,
        /// The unit.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        units: Option<String>,
        /// What has computed it: the context file, or the name that another program gave.
        provenance: String,
    },
    /// An error in place of a value.
    Error {
        /// Exception class.
        class: String,
        /// Message.
        message: String,
        /// What has computed it.
        provenance: String,
    },
    /// Nothing: the cell is empty now.
    Empty,
}

/// A variable in the table's list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedVariable {
    /// Its name.
    pub name: String,
    /// Its title.
    pub title: String,
    /// Its description.
    pub description: Option<String>,
    /// Its tags.
    pub tags: Vec<String>,
    /// `boolean`, `integer`, `number` or `string` if users edit it; `None`: it is computed.
    pub edited_as: Option<String>,
}
