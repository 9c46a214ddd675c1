//! What the owner remembers in the ledger, so that the next owner can go on: requests that have Slurm jobs, their tasks,
//! each attempt before it is made, and the story of each run.
//!
//! Requests without jobs are not written here: they live and end with the command that made them, and what they have
//! computed stands in the run files.

use std::{
    collections::{HashMap, HashSet},
    time::{SystemTime, UNIX_EPOCH},
};

use amore_ledger::{
    Acquired, AttemptRow, Changes, Holder, Lease, Ledger, LedgerError, NewEvent, NewRequest, NewTask, Phase,
    RequestRow, TaskMove, TaskRow,
};
use amore_model::{JobId, PlanStamp, Proposal, Run, RunData, Urgency};
use amore_plan::{Place, PlannedTask};
use serde::{Deserialize, Serialize};

use super::{
    ledger_place::{failed, leave_note, open, remove_note, scope},
    tasks::{Common, Journey, TaskRecord},
    tracker::TaskState,
};
use crate::{
    database_dir::DatabaseDir,
    dispatch::slurm::{client::JobAsked, clusters::Clusters},
    failure::Failure,
    trigger::user_request::UserRequest,
};

/// The table that the remembered things belong to: its `db_id`. After "starting from scratch" it is another one.
const TABLE: &str = "run_table";

/// How long the story of what is over is kept: longer than a beamtime and the questions after it.
const KEPT_SECONDS: f64 = 90.0 * 86_400.0;

/// The present, in seconds since 1970.
pub fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// What a task is, as the ledger keeps it.
#[derive(Debug, Serialize, Deserialize)]
pub struct TaskSpec {
    /// As planned.
    pub planned: PlannedTask,
    /// Raw only, or all.
    pub data: RunData,
    /// Names to drop.
    pub forget: Vec<String>,
    /// The plan's stamp.
    pub stamp: PlanStamp,
}

/// What is known of a task.
#[derive(Debug, Serialize, Deserialize)]
pub struct TaskFacts {
    /// What its jobs have been through.
    pub journey: Journey,
    /// The next or present attempt.
    pub attempt: u32,
    /// The present attempt's token.
    pub token: Option<String>,
    /// Its job.
    pub job: Option<JobId>,
}

/// What was asked, as the ledger keeps it.
#[derive(Debug, Serialize, Deserialize)]
pub struct RequestDetail {
    /// The request.
    pub asked: UserRequest,
    /// How urgent it is.
    #[serde(default)]
    pub urgency: Urgency,
    /// What its tasks have in common.
    pub common: Common,
}

/// What an attempt asked Slurm for, as the ledger keeps it.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct AttemptAsked {
    /// Time limit.
    pub time_minutes: u32,
    /// CPUs of the task.
    pub cpus: Option<u32>,
    /// Memory of the node in MiB.
    pub mem_mib: Option<u64>,
    /// GPUs.
    pub gpus: Option<u32>,
    /// Nodes.
    pub nodes: Option<u32>,
    /// Features of the node.
    pub constraint: Option<String>,
    /// Tasks.
    pub ntasks: Option<u32>,
    /// Account.
    pub account: Option<String>,
    /// QOS.
    pub qos: Option<String>,
    /// Clusters, as the setting names them.
    pub clusters: Option<String>,
}

impl AttemptAsked {
    fn of(asked: &JobAsked) -> Self {
        AttemptAsked {
            time_minutes: asked.time_minutes,
            cpus: asked.cpus,
            mem_mib: asked.mem_mib,
            gpus: asked.gpus,
            nodes: asked.nodes,
            constraint: asked.constraint.clone(),
            ntasks: asked.ntasks,
            account: asked.account.clone(),
            qos: asked.qos.clone(),
            clusters: asked.clusters.clone(),
        }
    }
}

/// The ledger in the hands of the owner.
#[derive(Debug)]
pub struct Memory {
    ledger: Ledger,
    lease: Lease,
    /// Not written yet, in order. A task moves at most once in each.
    batches: Vec<Changes>,
    moved: HashSet<String>,
    /// Attempts under way, by token.
    attempts: HashMap<String, AttemptRow>,
}

impl Memory {
    /// Takes the ledger for a term that began at `begun` (seconds since 1970). The caller owns the directory, so whoever
    /// holds the lease still is dead or deposed.
    ///
    /// # Errors
    /// The ledger's; another process holds it.
    pub async fn take(
        dir: &DatabaseDir,
        holder: Holder,
        begun: f64,
        term: std::time::Duration,
        table: &str,
    ) -> Result<Memory, Failure> {
        let ledger = open(dir, table).await?;
        let scope = scope(dir);
        let mut acquired =
            ledger.acquire(&scope, &holder, begun, term, None).await.map_err(|error| failed(&error))?;
        if let Acquired::HeldBy(claim) = &acquired {
            let before = claim.holder.clone();
            acquired = ledger
                .acquire(&scope, &holder, begun, term, Some(&before))
                .await
                .map_err(|error| failed(&error))?;
        }
        let lease = match acquired {
            Acquired::Mine(lease) => lease,
            Acquired::HeldBy(claim) => {
                return Err(Failure::new(format!("the ledger is held by {:?}", claim.holder))
                    .hint("it is free as soon as that process has ended"));
            }
        };
        let known = ledger.fact(&scope, TABLE).await.map_err(|error| failed(&error))?;
        let ours = serde_json::Value::String(table.to_owned());
        if known.as_ref() != Some(&ours) {
            if known.is_some() {
                // The results that it speaks of are gone.
                ledger.forget_scope(&lease).await.map_err(|error| failed(&error))?;
            }
            ledger.set_fact(&lease, TABLE, &ours).await.map_err(|error| failed(&error))?;
        }
        leave_note(dir, table)?;
        ledger.prune(&lease, now() - KEPT_SECONDS).await.map_err(|error| failed(&error))?;
        Ok(Memory { ledger, lease, batches: Vec::new(), moved: HashSet::new(), attempts: HashMap::new() })
    }

    /// The right to write it, for whoever keeps it from running out.
    pub fn lease(&self) -> Lease {
        self.lease.clone()
    }

    /// Gives it back.
    pub async fn release(self, dir: &DatabaseDir) {
        match self.ledger.open_tasks(&self.lease.scope).await {
            Ok(open) if open.is_empty() => {
                if let Err(failure) = remove_note(dir) {
                    tracing::warn!(%failure, "the note of the ledger stays");
                }
            }
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "the note of the ledger stays"),
        }
        if let Err(error) = self.ledger.release(self.lease).await {
            tracing::debug!(%error, "the ledger was not released");
        }
        let _ = self.ledger.close().await;
    }

    /// What earlier owners have left open.
    ///
    /// # Errors
    /// The ledger's.
    pub async fn left_open(&self) -> Result<(Vec<RequestRow>, Vec<TaskRow>), Failure> {
        let requests = self.ledger.requests(&self.lease.scope, true).await.map_err(|error| failed(&error))?;
        let tasks = self.ledger.open_tasks(&self.lease.scope).await.map_err(|error| failed(&error))?;
        Ok((requests, tasks))
    }

    /// Writes a request and its tasks, all or nothing.
    ///
    /// # Errors
    /// The ledger's.
    pub async fn add_request(
        &self,
        id: &str,
        detail: &RequestDetail,
        tasks: &[&TaskRecord],
        ids: &[String],
    ) -> Result<(), Failure> {
        let json = |error: serde_json::Error| Failure::from_error(&error);
        let request = NewRequest {
            id: id.to_owned(),
            created: now(),
            by_user: user_name(),
            origin: "user".to_owned(),
            detail: serde_json::to_value(detail).map_err(json)?,
        };
        let mut rows = Vec::with_capacity(tasks.len());
        for task in tasks {
            let spec = TaskSpec {
                planned: task.planned.clone(),
                data: task.data,
                forget: task.forget.clone(),
                stamp: task.stamp,
            };
            let waits_for = match &task.state {
                TaskState::Waiting { on } => on.iter().map(|position| ids[*position].clone()).collect(),
                _ => Vec::new(),
            };
            rows.push(NewTask {
                id: task.id.clone(),
                proposal: task.proposal,
                run: task.run,
                priority: detail.urgency.priority(),
                place: match task.planned.place {
                    Place::Local => amore_ledger::Place::Local,
                    Place::Cluster => amore_ledger::Place::Cluster,
                },
                facts: serde_json::to_value(facts(task)).map_err(json)?,
                spec: serde_json::to_value(spec).map_err(json)?,
                waits_for,
            });
        }
        match self.ledger.add_request(&self.lease, &request, &rows).await {
            // An earlier try got through.
            Ok(()) | Err(LedgerError::AlreadyThere { .. }) => Ok(()),
            Err(error) => Err(failed(&error)),
        }
    }

    /// The request is done with.
    ///
    /// # Errors
    /// The ledger's.
    pub async fn finish_request(&self, id: &str) -> Result<(), LedgerError> {
        self.ledger.finish_request(&self.lease, id, now()).await.map(|_| ())
    }

    /// Notes that a task has moved; written by [`Memory::write`].
    pub fn moved(&mut self, task: &TaskRecord, from: &TaskState) {
        let facts = serde_json::to_value(facts(task)).ok();
        let attempt = match &task.state {
            TaskState::InJob { .. } => Some(task.journey.submissions),
            _ => None,
        };
        let change = TaskMove {
            id: task.id.clone(),
            from: phase(from),
            to: phase(&task.state),
            facts,
            attempt,
            event: None,
        };
        // A second move of the same task goes into a transaction of its own.
        if self.batches.is_empty() || !self.moved.insert(task.id.clone()) {
            self.batches.push(Changes::default());
            self.moved = [task.id.clone()].into();
        }
        if let Some(batch) = self.batches.last_mut() {
            batch.moves.push(change);
        }
    }

    fn batch(&mut self) -> &mut Changes {
        if self.batches.is_empty() {
            self.batches.push(Changes::default());
            self.moved.clear();
        }
        let last = self.batches.len() - 1;
        &mut self.batches[last]
    }

    /// Notes the intent to submit a job.
    pub fn attempt(&mut self, task: &TaskRecord, token: &str, asked: &JobAsked) {
        let row = AttemptRow {
            task: task.id.clone(),
            number: task.journey.submissions,
            token: token.to_owned(),
            partition: asked.partition.clone(),
            reservation: asked.reservation.clone(),
            asked: serde_json::to_value(AttemptAsked::of(asked)).unwrap_or_default(),
            submitted: Some(now()),
            ..AttemptRow::default()
        };
        self.attempts.insert(token.to_owned(), row.clone());
        self.batch().attempts.push(row);
    }

    /// Notes what is known of an attempt by now.
    pub fn attempt_is(&mut self, token: &str, change: impl FnOnce(&mut AttemptRow)) {
        let Some(row) = self.attempts.get_mut(token) else { return };
        change(row);
        let row = row.clone();
        // The last word counts.
        let batch = self.batch();
        batch.attempts.retain(|other| other.token != row.token);
        batch.attempts.push(row);
    }

    /// Is it known that the job of this attempt has begun?
    pub fn has_started(&self, token: &str) -> bool {
        self.attempts.get(token).is_some_and(|row| row.started.is_some())
    }

    /// Takes up an attempt of an earlier owner; says where its job was submitted to.
    ///
    /// # Errors
    /// The ledger's.
    pub async fn take_up(&mut self, token: &str) -> Result<Clusters, Failure> {
        let Some(row) = self.ledger.find_token(token).await.map_err(|error| failed(&error))? else {
            return Ok(Clusters::Ours);
        };
        let asked = serde_json::from_value::<AttemptAsked>(row.asked.clone()).unwrap_or_default();
        let clusters = Clusters::of(asked.clusters.as_deref());
        self.attempts.insert(token.to_owned(), row);
        Ok(clusters)
    }

    /// Adds a line to a run's story.
    pub fn tell(&mut self, key: (Proposal, Run), task: Option<&str>, kind: &str, message: String) {
        let event = NewEvent {
            proposal: key.0,
            run: key.1,
            task: task.map(str::to_owned),
            at: now(),
            kind: kind.to_owned(),
            message,
            detail: serde_json::Value::Null,
        };
        self.batch().events.push(event);
    }

    /// Writes what was noted. What could not be written stays noted.
    ///
    /// # Errors
    /// The ledger's; [`LedgerError::is_temporary`] tells whether to try again.
    pub async fn write(&mut self) -> Result<(), LedgerError> {
        while let Some(batch) = self.batches.first() {
            self.ledger.apply(&self.lease, now(), batch).await?;
            self.batches.remove(0);
        }
        self.moved.clear();
        Ok(())
    }

    /// Is everything written?
    pub fn is_written(&self) -> bool {
        self.batches.is_empty()
    }
}

fn user_name() -> String {
    let uid = nix::unistd::getuid();
    let user = nix::unistd::User::from_uid(uid).ok().flatten();
    user.map_or_else(|| format!("user {uid}"), |user| user.name)
}

fn facts(task: &TaskRecord) -> TaskFacts {
    let (attempt, token, job) = match &task.state {
        TaskState::Ready { attempt } | TaskState::Running { attempt } => (*attempt, None, None),
        TaskState::InJob { attempt, token, job } => (*attempt, Some(token.clone()), job.clone()),
        TaskState::Waiting { .. } | TaskState::Ended { .. } => (1, None, None),
    };
    TaskFacts { journey: task.journey.clone(), attempt, token, job }
}

/// The ledger's word for a state.
pub fn phase(state: &TaskState) -> Phase {
    match state {
        TaskState::Waiting { .. } => Phase::Waiting,
        TaskState::Ready { .. } => Phase::Ready,
        TaskState::Running { .. } => Phase::Running,
        TaskState::InJob { job: None, .. } => Phase::Submitting,
        TaskState::InJob { job: Some(_), .. } => Phase::Submitted,
        TaskState::Ended { .. } => Phase::Ended,
    }
}
