//! The content of a directory's ledger, decoded for display. A row of another version may contain something that this
//! version cannot decode: that part is left out, and the rest is shown.

pub use amore_core::history::HistoryKind;
use amore_core::{
    journal::{RequestDetail, TaskFacts, TaskSpec},
    request::{Compute, Request},
};
pub use amore_ledger::Phase;
use amore_ledger::{EventRow, Ledger, NewEvent, RequestRow, TaskRow};
use amore_model::{JobId, Proposal, Run, Urgency};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{CoordinateError, ledger_place};
use crate::database_dir::DatabaseDir;

/// The maximum number of tasks that are read per run, newest first.
const TASKS_OF_RUN: u32 = 200;

/// A task in the ledger.
#[derive(Debug)]
pub struct RememberedTask {
    pub id: String,
    /// ID of its request.
    pub request: String,
    pub proposal: Proposal,
    pub run: Run,
    pub urgency: Urgency,
    /// Its current phase.
    pub phase: Phase,
    /// Number of its current or last attempt.
    pub attempt: u32,
    /// IDs of the tasks that must end before it starts.
    pub waits_for: Vec<String>,
    spec: Option<TaskSpec>,
    facts: Option<TaskFacts>,
}

impl RememberedTask {
    fn of(row: TaskRow) -> Self {
        RememberedTask {
            spec: decode("spec", &row.id, row.spec),
            facts: decode("facts", &row.id, row.facts),
            id: row.id,
            request: row.request,
            proposal: row.proposal,
            run: row.run,
            urgency: Urgency::of_priority(row.priority),
            phase: row.phase,
            attempt: row.attempt,
            waits_for: row.waits_for,
        }
    }

    pub fn has_ended(&self) -> bool {
        self.phase == Phase::Ended
    }

    /// Names of what it computes, for display.
    pub fn names(&self) -> Vec<String> {
        self.spec.as_ref().map(|spec| spec.planned.names()).unwrap_or_default()
    }

    /// Whether it computes this variable or executes its command.
    pub fn is_about(&self, name: &str) -> bool {
        self.spec.as_ref().is_some_and(|spec| spec.planned.is_about(name))
    }

    /// Its Slurm job, if it has one.
    pub fn job(&self) -> Option<&JobId> {
        self.facts.as_ref()?.job.as_ref()
    }

    /// Whether its job is being cancelled and has not ended yet.
    pub fn is_being_cancelled(&self) -> bool {
        self.facts.as_ref().is_some_and(|facts| facts.retry.cancelled)
    }
}

/// An attempt to execute a task in a Slurm job.
#[derive(Debug)]
pub struct RememberedAttempt {
    /// Number of its job, if known.
    pub job: Option<u64>,
    pub token: String,
    /// The cluster that its job was submitted to; empty if none was named.
    pub cluster: String,
}

/// A request in the ledger.
#[derive(Debug)]
pub struct RememberedRequest {
    pub id: String,
    /// When it was made, in seconds since 1970.
    pub created: f64,
    /// The user who made it.
    pub by_user: String,
    /// Titles and names of the requested variables; `None` if they cannot be decoded.
    pub asked: Option<(Vec<String>, Vec<String>)>,
}

/// A line of a run's history.
#[derive(Debug)]
pub struct RememberedEvent {
    /// When, in seconds since 1970.
    pub at: f64,
    pub kind: HistoryKind,
    /// The event as a sentence.
    pub message: String,
    /// ID of the task that it is about.
    pub task: Option<String>,
}

/// The ledger of a directory, opened for reading.
pub struct Remembered {
    ledger: Ledger,
    scope: String,
}

impl Remembered {
    /// Opens it; `None` if there is no ledger yet.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn open(dir: &DatabaseDir) -> Result<Option<Self>, CoordinateError> {
        if !ledger_place::exists(dir) {
            return Ok(None);
        }
        let ledger = ledger_place::open_to_read(dir).await?;
        Ok(Some(Remembered { ledger, scope: ledger_place::scope(dir) }))
    }

    /// The tasks that have not ended.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn open_tasks(&self) -> Result<Vec<RememberedTask>, CoordinateError> {
        let rows = self.ledger.open_tasks(&self.scope).await?;
        Ok(rows.into_iter().map(RememberedTask::of).collect())
    }

    /// The tasks of a run, newest first.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn tasks_of_run(
        &self,
        proposal: Proposal,
        run: Run,
    ) -> Result<Vec<RememberedTask>, CoordinateError> {
        let rows = self.ledger.tasks_of_run(&self.scope, proposal, run, TASKS_OF_RUN).await?;
        Ok(rows.into_iter().map(RememberedTask::of).collect())
    }

    /// The attempts of a run's tasks.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn attempts_of_run(
        &self,
        proposal: Proposal,
        run: Run,
    ) -> Result<Vec<RememberedAttempt>, CoordinateError> {
        let mut found = Vec::new();
        for task in self.ledger.tasks_of_run(&self.scope, proposal, run, TASKS_OF_RUN).await? {
            let attempts = self.ledger.attempts_of_task(&self.scope, &task.id).await?;
            found.extend(attempts.into_iter().map(|attempt| RememberedAttempt {
                job: attempt.job_id,
                token: attempt.token,
                cluster: attempt.cluster,
            }));
        }
        Ok(found)
    }

    /// All requests.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn requests(&self) -> Result<Vec<RememberedRequest>, CoordinateError> {
        let rows = self.ledger.requests(&self.scope, false).await?;
        let request = |row: RequestRow| {
            let request = row.request;
            let detail: Option<RequestDetail> = decode("detail", &request.id, request.detail);
            RememberedRequest {
                id: request.id,
                created: request.created,
                by_user: request.by_user,
                asked: detail.map(|detail| match detail.asked {
                    Request::Compute(Compute { matches, names, .. }) => (matches, names),
                    Request::Cancel(_) => (Vec::new(), Vec::new()),
                }),
            }
        };
        Ok(rows.into_iter().map(request).collect())
    }

    /// The history of a run.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn events_of_run(
        &self,
        proposal: Proposal,
        run: Run,
    ) -> Result<Vec<RememberedEvent>, CoordinateError> {
        let rows = self.ledger.events_of_run(&self.scope, proposal, run).await?;
        let event = |row: EventRow| {
            let NewEvent { at, kind, message, task, .. } = row.event;
            RememberedEvent { at, kind: kind.into(), message, task }
        };
        Ok(rows.into_iter().map(event).collect())
    }
}

fn decode<T: DeserializeOwned>(what: &str, id: &str, value: Value) -> Option<T> {
    match serde_json::from_value(value) {
        Ok(decoded) => Some(decoded),
        Err(error) => {
            tracing::debug!(id, what, %error, "an entry of another version cannot be decoded");
            None
        }
    }
}
