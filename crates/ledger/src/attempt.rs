//! Attempts: each try of a task, and its Slurm job.

use std::collections::HashMap;

use serde_json::Value;

use crate::{
    Changes, Lease, Ledger, LedgerError, Mismatch,
    engine::{Mode, Work},
    statement::{Row, Rows, Statement},
};

/// One try of a task.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AttemptRow {
    /// The task.
    pub task: String,
    /// 1 for the first.
    pub number: u32,
    /// Identifies its job. No other attempt has the same token (it contains time, process and a counter); never changes.
    pub token: String,
    /// Slurm's name of the cluster; job IDs mean nothing without it. Empty if no cluster was named: then it is the default
    /// cluster of Slurm's commands.
    pub cluster: String,
    /// The Slurm job, once it has one.
    pub job_id: Option<u64>,
    /// Index in a job array.
    pub array_task: Option<u32>,
    /// The job's state as last seen, in Slurm's notation.
    pub slurm_state: Option<String>,
    /// Slurm's reason for the state.
    pub slurm_reason: Option<String>,
    /// The partition.
    pub partition: Option<String>,
    /// The reservation.
    pub reservation: Option<String>,
    /// The nodes.
    pub nodes: Option<String>,
    /// The requested resources.
    pub asked: Value,
    /// When it was submitted, in seconds since 1970.
    pub submitted: Option<f64>,
    /// When it started.
    pub started: Option<f64>,
    /// When it ended.
    pub ended: Option<f64>,
    /// The exit code.
    pub exit_code: Option<i32>,
    /// How it ended, as Amore names it.
    pub outcome: Option<String>,
}

macro_rules! columns {
    ($rest:literal) => {
        concat!(
            "SELECT task, number, token, cluster, job_id, array_task, slurm_state, slurm_reason, partition, ",
            "reservation, nodes, CAST(asked AS TEXT), submitted, started, ended, exit_code, outcome FROM attempt ",
            $rest
        )
    };
}

// A job carries the token that it was submitted with: a row with another token is another attempt and is not overwritten.
const UPSERT: &str = "\
INSERT INTO attempt (task, number, scope, token, cluster, job_id, array_task, slurm_state, slurm_reason, partition,
    reservation, nodes, asked, submitted, started, ended, exit_code, outcome)
SELECT given.task, given.number, $1, given.token, given.cluster, given.job_id, given.array_task, given.slurm_state,
    given.slurm_reason, given.partition, given.reservation, given.nodes, given.asked, given.submitted, given.started,
    given.ended, given.exit_code, given.outcome
FROM given JOIN task ON task.id = given.task AND task.scope = $1 WHERE true
ON CONFLICT (task, number) DO UPDATE SET cluster = excluded.cluster, job_id = excluded.job_id,
    array_task = excluded.array_task, slurm_state = excluded.slurm_state, slurm_reason = excluded.slurm_reason,
    partition = excluded.partition, reservation = excluded.reservation, nodes = excluded.nodes,
    asked = excluded.asked, submitted = excluded.submitted, started = excluded.started, ended = excluded.ended,
    exit_code = excluded.exit_code, outcome = excluded.outcome
WHERE attempt.token = excluded.token";
const KNOWN_TASKS: &str = "SELECT task.id FROM given JOIN task ON task.id = given.task AND task.scope = $1";
const OF_TASK: &str = columns!("WHERE scope = $1 AND task = $2 ORDER BY number");
const BY_JOB: &str =
    columns!("WHERE cluster = $1 AND job_id = $2 ORDER BY array_task, submitted, task, number");
const OPEN: &str = columns!("WHERE scope = $1 AND ended IS NULL ORDER BY task, number");
const BY_TOKEN: &str = columns!("WHERE token = $1");

impl Ledger {
    /// Writes new attempts and updates known ones. If an attempt is given twice, the last row counts.
    ///
    /// # Errors
    /// [`LedgerError::Conflict`] if the scope has no such task; [`LedgerError::Misuse`] if the attempt exists with
    /// another token; [`LedgerError::Deposed`].
    pub async fn upsert_attempts(&self, lease: &Lease, attempts: &[AttemptRow]) -> Result<(), LedgerError> {
        self.apply(lease, 0.0, &Changes { attempts: attempts.to_vec(), ..Changes::default() }).await
    }

    /// All attempts of a task, in order.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub async fn attempts_of_task(&self, scope: &str, task: &str) -> Result<Vec<AttemptRow>, LedgerError> {
        self.attempts(Statement::new(OF_TASK).text(scope).text(task)).await
    }

    /// All attempts of a Slurm job, of any scope.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub async fn attempts_by_job(&self, cluster: &str, job_id: u64) -> Result<Vec<AttemptRow>, LedgerError> {
        self.attempts(Statement::new(BY_JOB).text(cluster).int(job_id as i64)).await
    }

    /// The attempts of a scope that have not ended.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub async fn open_attempts(&self, scope: &str) -> Result<Vec<AttemptRow>, LedgerError> {
        self.attempts(Statement::new(OPEN).text(scope)).await
    }

    /// The attempt with this token, of any scope.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub async fn find_token(&self, token: &str) -> Result<Option<AttemptRow>, LedgerError> {
        Ok(self.attempts(Statement::new(BY_TOKEN).text(token)).await?.pop())
    }

    async fn attempts(&self, select: Statement) -> Result<Vec<AttemptRow>, LedgerError> {
        let mut work = self.engine.begin(Mode::Read, "read attempts").await?;
        let rows = work.fetch(&select).await?;
        work.commit().await?;
        rows.into_iter().map(attempt).collect()
    }
}

pub(crate) async fn upsert(
    work: &mut dyn Work,
    scope: &str,
    attempts: &[AttemptRow],
) -> Result<(), LedgerError> {
    if attempts.is_empty() {
        return Ok(());
    }
    let last: HashMap<_, _> = attempts.iter().map(|row| ((row.task.as_str(), row.number), row)).collect();
    let mut rows: Vec<&AttemptRow> = last.into_values().collect();
    rows.sort_by(|a, b| (&a.task, a.number).cmp(&(&b.task, b.number)));
    let given = Rows::of(&rows)
        .text("task", |row| row.task.as_str())
        .int("number", |row| i64::from(row.number))
        .text("token", |row| row.token.as_str())
        .text("cluster", |row| row.cluster.as_str())
        .int("job_id", |row| row.job_id.map(|id| id as i64))
        .int("array_task", |row| row.array_task.map(i64::from))
        .text("slurm_state", |row| row.slurm_state.as_deref())
        .text("slurm_reason", |row| row.slurm_reason.as_deref())
        .text("partition", |row| row.partition.as_deref())
        .text("reservation", |row| row.reservation.as_deref())
        .text("nodes", |row| row.nodes.as_deref())
        .json("asked", |row| &row.asked)
        .real("submitted", |row| row.submitted)
        .real("started", |row| row.started)
        .real("ended", |row| row.ended)
        .int("exit_code", |row| row.exit_code.map(i64::from))
        .text("outcome", |row| row.outcome.as_deref())
        .end();
    if work.execute(&Statement::new(UPSERT).text(scope).given(given)).await? == rows.len() as u64 {
        return Ok(());
    }
    let given = Rows::of(&rows).text("task", |row| row.task.as_str()).end();
    let mut known = std::collections::HashSet::new();
    for mut row in work.fetch(&Statement::new(KNOWN_TASKS).text(scope).given(given)).await? {
        known.insert(row.text()?);
    }
    let unknown = rows.iter().filter(|row| !known.contains(&row.task));
    let tasks: Vec<Mismatch> =
        unknown.map(|row| Mismatch { task: row.task.clone(), expected: None, found: None }).collect();
    if tasks.is_empty() {
        Err(LedgerError::Misuse { what: "an attempt is in the ledger under another token".into() })
    } else {
        Err(LedgerError::Conflict { tasks })
    }
}

fn attempt(mut row: Row) -> Result<AttemptRow, LedgerError> {
    Ok(AttemptRow {
        task: row.text()?,
        number: row.number()?,
        token: row.text()?,
        cluster: row.text()?,
        job_id: row.maybe_number()?,
        array_task: row.maybe_number()?,
        slurm_state: row.maybe_text()?,
        slurm_reason: row.maybe_text()?,
        partition: row.maybe_text()?,
        reservation: row.maybe_text()?,
        nodes: row.maybe_text()?,
        asked: row.json()?,
        submitted: row.maybe_real()?,
        started: row.maybe_real()?,
        ended: row.maybe_real()?,
        exit_code: row.maybe_number()?,
        outcome: row.maybe_text()?,
    })
}
