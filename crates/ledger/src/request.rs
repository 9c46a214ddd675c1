//! Requests: the reason why tasks exist.

use std::collections::HashSet;

use serde_json::Value;

use crate::{
    Lease, Ledger, LedgerError, NewTask, Phase,
    engine::Mode,
    statement::{Rows, Statement},
};

/// A new request.
#[derive(Clone, Debug, PartialEq)]
pub struct NewRequest {
    /// Unique among all ledgers; stays the same when the call is repeated.
    pub id: String,
    /// When it was made, in seconds since 1970.
    pub created: f64,
    /// Who made it.
    pub by_user: String,
    /// Why: "user", or the arrival of "raw" or "proc" data.
    pub origin: String,
    /// Further details.
    pub detail: Value,
}

/// A request as the ledger has it.
#[derive(Clone, Debug, PartialEq)]
pub struct RequestRow {
    /// The request.
    pub request: NewRequest,
    /// When it was finished, in seconds since 1970.
    pub finished: Option<f64>,
}

const ADD: &str = "INSERT INTO request (id, scope, created, by_user, origin, detail) \
                   SELECT id, $1, created, by_user, origin, detail FROM given WHERE true \
                   ON CONFLICT (id) DO NOTHING";
const ADD_TASKS: &str = "\
INSERT INTO task (id, scope, request, proposal, run, priority, place, phase, facts, attempt, created, changed, epoch,
    spec)
SELECT id, $1, $2, proposal, run, priority, place, phase, facts, 0, $3, $3, $4, spec FROM given WHERE true
ON CONFLICT (id) DO NOTHING";
// A join, so that a wait for a task of another scope counts as missing.
const ADD_WAITS: &str = "INSERT INTO task_wait (task, on_task) SELECT given.task, task.id FROM given \
                         JOIN task ON task.id = given.on_task AND task.scope = $1";
const FINISH: &str = "UPDATE request SET finished = $3 WHERE id = $2 AND scope = $1 AND finished IS NULL";
const ALL: &str = "SELECT id, created, by_user, origin, CAST(detail AS TEXT), finished FROM request \
                   WHERE scope = $1 ORDER BY created, id";
const OPEN: &str = "SELECT id, created, by_user, origin, CAST(detail AS TEXT), finished FROM request \
                    WHERE scope = $1 AND finished IS NULL ORDER BY created, id";

impl Ledger {
    /// Adds a request with its tasks: all or nothing.
    ///
    /// # Errors
    /// [`LedgerError::AlreadyThere`] if the ledger already has a request with this id, so that calls can be repeated;
    /// [`LedgerError::Misuse`] for tasks that already exist or wait for unknown ones; [`LedgerError::Deposed`].
    pub async fn add_request(
        &self,
        lease: &Lease,
        request: &NewRequest,
        tasks: &[NewTask],
    ) -> Result<(), LedgerError> {
        let waits = waits(tasks)?;
        let mut work = self.write(lease, "add a request").await?;
        let given = Rows::of(std::slice::from_ref(request))
            .text("id", |request| request.id.as_str())
            .real("created", |request| request.created)
            .text("by_user", |request| request.by_user.as_str())
            .text("origin", |request| request.origin.as_str())
            .json("detail", |request| &request.detail)
            .end();
        if work.execute(&Statement::new(ADD).text(&lease.scope).given(given)).await? == 0 {
            work.rollback().await?;
            return Err(LedgerError::AlreadyThere { id: request.id.clone() });
        }
        let given = Rows::of(tasks)
            .text("id", |task| task.id.as_str())
            .int("proposal", |task| i64::from(task.proposal.0))
            .int("run", |task| i64::from(task.run.0))
            .int("priority", |task| i64::from(task.priority))
            .text("place", |task| task.place.word())
            .text("phase", |task| first_phase(task).word())
            .json("facts", |task| &task.facts)
            .json("spec", |task| &task.spec)
            .end();
        let statement = Statement::new(ADD_TASKS).text(&lease.scope).text(&request.id);
        let statement = statement.real(request.created).int(lease.epoch as i64).given(given);
        if work.execute(&statement).await? != tasks.len() as u64 {
            work.rollback().await?;
            let what = format!("request {} has a task that the ledger already has", request.id);
            return Err(LedgerError::Misuse { what });
        }
        let given = Rows::of(&waits).text("task", |wait| wait.0).text("on_task", |wait| wait.1).end();
        if work.execute(&Statement::new(ADD_WAITS).text(&lease.scope).given(given)).await?
            != waits.len() as u64
        {
            work.rollback().await?;
            let what = format!("request {} has a task that waits for one that does not exist", request.id);
            return Err(LedgerError::Misuse { what });
        }
        work.commit().await
    }

    /// Marks a request as finished. Returns `false` if it already was, or does not exist.
    ///
    /// # Errors
    /// [`LedgerError::Deposed`], or the ledger cannot be written.
    pub async fn finish_request(&self, lease: &Lease, id: &str, now: f64) -> Result<bool, LedgerError> {
        let mut work = self.write(lease, "finish a request").await?;
        let changed = work.execute(&Statement::new(FINISH).text(&lease.scope).text(id).real(now)).await?;
        work.commit().await?;
        Ok(changed > 0)
    }

    /// The requests of a scope, the oldest first.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub async fn requests(&self, scope: &str, open_only: bool) -> Result<Vec<RequestRow>, LedgerError> {
        let mut work = self.engine.begin(Mode::Read, "read the requests").await?;
        let rows = work.fetch(&Statement::new(if open_only { OPEN } else { ALL }).text(scope)).await?;
        work.commit().await?;
        rows.into_iter()
            .map(|mut row| {
                Ok(RequestRow {
                    request: NewRequest {
                        id: row.text()?,
                        created: row.real()?,
                        by_user: row.text()?,
                        origin: row.text()?,
                        detail: row.json()?,
                    },
                    finished: row.maybe_real()?,
                })
            })
            .collect()
    }
}

fn first_phase(task: &NewTask) -> Phase {
    if task.waits_for.is_empty() { Phase::Ready } else { Phase::Waiting }
}

/// Pairs of waiting task and the task it waits for, without duplicates.
fn waits(tasks: &[NewTask]) -> Result<Vec<(&str, &str)>, LedgerError> {
    let mut ids = HashSet::new();
    let mut pairs = Vec::new();
    for task in tasks {
        if !ids.insert(task.id.as_str()) {
            return Err(LedgerError::Misuse { what: format!("task {} is given twice", task.id) });
        }
        let mut seen = HashSet::new();
        for on in &task.waits_for {
            if *on == task.id {
                return Err(LedgerError::Misuse { what: format!("task {} waits for itself", task.id) });
            }
            if seen.insert(on.as_str()) {
                pairs.push((task.id.as_str(), on.as_str()));
            }
        }
    }
    Ok(pairs)
}
