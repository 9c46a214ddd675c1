//! Removes rows about results that no longer exist, and rows that ended long ago.

use crate::{
    Lease, Ledger, LedgerError,
    statement::{Rows, Statement},
};

/// How many rows were removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Requests.
    pub requests: u64,
    /// Their tasks.
    pub tasks: u64,
    /// Events of the history.
    pub events: u64,
}

const REQUESTS_PER_TRANSACTION: i64 = 200;

// Tasks, attempts and waits are deleted with their requests.
const FORGET: [&str; 3] = [
    "DELETE FROM event WHERE scope = $1",
    "DELETE FROM fact WHERE scope = $1",
    "DELETE FROM request WHERE scope = $1",
];
const OLD: &str = "\
SELECT id FROM request WHERE scope = $1 AND created < $2 AND finished < $2
AND NOT EXISTS (SELECT 1 FROM task WHERE task.request = request.id AND (phase <> 'ended' OR changed >= $2))
AND NOT EXISTS (SELECT 1 FROM task JOIN task_wait ON task_wait.on_task = task.id
    JOIN task AS waiting ON waiting.id = task_wait.task
    WHERE task.request = request.id AND waiting.phase <> 'ended')
ORDER BY created LIMIT $3";
const DROP_TASKS: &str = "DELETE FROM task WHERE scope = $1 AND request IN (SELECT id FROM given)";
const DROP_REQUESTS: &str = "DELETE FROM request WHERE scope = $1 AND id IN (SELECT id FROM given)";
const DROP_EVENTS: &str = "DELETE FROM event WHERE scope = $1 AND at < $2 \
                           AND NOT EXISTS (SELECT 1 FROM task WHERE task.id = event.task)";

impl Ledger {
    /// Removes everything about the scope except its lease, after the user started from scratch.
    ///
    /// # Errors
    /// [`LedgerError::Deposed`], or the ledger cannot be written.
    pub async fn forget_scope(&self, lease: &Lease) -> Result<(), LedgerError> {
        let mut work = self.write(lease, "forget a proposal").await?;
        for text in FORGET {
            work.execute(&Statement::new(text).text(&lease.scope)).await?;
        }
        work.commit().await
    }

    /// Removes requests that were finished before `older_than` (seconds since 1970) and whose tasks all ended before it, with
    /// their attempts; then events before it, except those of tasks that are kept.
    ///
    /// Tasks that an open task waits for are kept. Uses several short transactions, so that other writers get their turn.
    ///
    /// # Errors
    /// [`LedgerError::Deposed`], or the ledger cannot be written; what was removed before stays removed.
    pub async fn prune(&self, lease: &Lease, older_than: f64) -> Result<Pruned, LedgerError> {
        let mut pruned = Pruned::default();
        loop {
            let mut work = self.write(lease, "forget what ended long ago").await?;
            let select =
                Statement::new(OLD).text(&lease.scope).real(older_than).int(REQUESTS_PER_TRANSACTION);
            let rows = work.fetch(&select).await?;
            let ids = rows.into_iter().map(|mut row| row.text()).collect::<Result<Vec<_>, _>>()?;
            let last = ids.len() < REQUESTS_PER_TRANSACTION as usize;
            let given = Rows::of(&ids).text("id", |id| id.as_str()).end();
            let delete = |text| Statement::new(text).text(&lease.scope).given(given.clone());
            pruned.tasks += work.execute(&delete(DROP_TASKS)).await?;
            pruned.requests += work.execute(&delete(DROP_REQUESTS)).await?;
            if last {
                let events = Statement::new(DROP_EVENTS).text(&lease.scope).real(older_than);
                pruned.events = work.execute(&events).await?;
            }
            work.commit().await?;
            if last {
                return Ok(pruned);
            }
        }
    }
}
