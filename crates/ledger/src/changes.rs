//! The only way to move tasks: compare and set, in one transaction with whatever belongs to the move.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use crate::{
    AttemptRow, Lease, Ledger, LedgerError, Mismatch, NewEvent, Phase, attempt,
    engine::Work,
    event,
    statement::{Rows, Statement},
};

/// A move of a task from one phase to another, or new facts in the same phase.
#[derive(Clone, Debug, PartialEq)]
pub struct PhaseChange {
    /// The task.
    pub id: String,
    /// The phase that the task must be in.
    pub from: Phase,
    /// The phase that it is in afterwards.
    pub to: Phase,
    /// Its new facts; `None` leaves them unchanged.
    pub facts: Option<Value>,
    /// The number of its new attempt; `None` leaves it unchanged.
    pub attempt: Option<u32>,
    /// An entry for the run's history.
    pub event: Option<NewEvent>,
}

/// Changes that are written in one transaction: for example, the intent to submit is a move and the token of an attempt.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes {
    /// Moves, at most one for each task.
    pub moves: Vec<PhaseChange>,
    /// New or known attempts.
    pub attempts: Vec<AttemptRow>,
    /// Entries for the history, after those of the moves.
    pub events: Vec<NewEvent>,
}

// The id is called `which` in `given`, so that RETURNING can mean only the task's.
const MOVE: &str = "\
UPDATE task SET phase = given.to_phase, facts = coalesce(given.facts, task.facts),
    attempt = coalesce(given.attempt_number, task.attempt), changed = $2, epoch = $3
FROM given WHERE task.id = given.which AND task.scope = $1 AND task.phase = given.from_phase
RETURNING id";
const PHASES: &str =
    "SELECT task.id, task.phase FROM given JOIN task ON task.id = given.which AND task.scope = $1";

impl Ledger {
    /// Makes all of the moves or none, at time `now` (seconds since 1970).
    ///
    /// # Errors
    /// [`LedgerError::Conflict`] names the tasks that were not in the phase that their move starts from;
    /// [`LedgerError::IllegalMove`] and [`LedgerError::Misuse`] (a task moves twice) are bugs of the caller;
    /// [`LedgerError::Deposed`].
    pub async fn move_tasks(
        &self,
        lease: &Lease,
        now: f64,
        moves: &[PhaseChange],
    ) -> Result<(), LedgerError> {
        self.apply(lease, now, &Changes { moves: moves.to_vec(), ..Changes::default() }).await
    }

    /// Makes moves, writes attempts and adds events: all of them or nothing.
    ///
    /// # Errors
    /// Those of [`Ledger::move_tasks`], [`Ledger::upsert_attempts`] and [`Ledger::add_events`].
    pub async fn apply(&self, lease: &Lease, now: f64, changes: &Changes) -> Result<(), LedgerError> {
        check(&changes.moves)?;
        let mut work = self.write(lease, "write changes").await?;
        match write(&mut *work, lease, now, changes).await {
            Ok(()) => work.commit().await,
            Err(error) => {
                // The connection may be gone; the error says that already.
                let _ = work.rollback().await;
                Err(error)
            }
        }
    }
}

/// Checks that need no access to the ledger.
fn check(moves: &[PhaseChange]) -> Result<(), LedgerError> {
    let mut seen = HashSet::new();
    for step in moves {
        if !step.from.may_become(step.to) {
            return Err(LedgerError::IllegalMove { task: step.id.clone(), from: step.from, to: step.to });
        }
        if !seen.insert(step.id.as_str()) {
            return Err(LedgerError::Misuse {
                what: format!("task {} moves twice in one transaction", step.id),
            });
        }
    }
    Ok(())
}

async fn write(work: &mut dyn Work, lease: &Lease, now: f64, changes: &Changes) -> Result<(), LedgerError> {
    move_all(work, lease, now, &changes.moves).await?;
    attempt::upsert(work, &lease.scope, &changes.attempts).await?;
    let events: Vec<&NewEvent> =
        changes.moves.iter().filter_map(|step| step.event.as_ref()).chain(&changes.events).collect();
    event::add(work, &lease.scope, &events).await
}

async fn move_all(
    work: &mut dyn Work,
    lease: &Lease,
    now: f64,
    moves: &[PhaseChange],
) -> Result<(), LedgerError> {
    if moves.is_empty() {
        return Ok(());
    }
    let given = Rows::of(moves)
        .text("which", |step| step.id.as_str())
        .text("from_phase", |step| step.from.word())
        .text("to_phase", |step| step.to.word())
        .json("facts", |step| step.facts.as_ref())
        .int("attempt_number", |step| step.attempt.map(i64::from))
        .end();
    let statement = Statement::new(MOVE).text(&lease.scope).real(now).int(lease.epoch as i64).given(given);
    let moved = work.fetch(&statement).await?;
    if moved.len() == moves.len() {
        return Ok(());
    }
    let moved = moved.into_iter().map(|mut row| row.text()).collect::<Result<HashSet<_>, _>>()?;
    let left: Vec<&PhaseChange> = moves.iter().filter(|step| !moved.contains(&step.id)).collect();
    let given = Rows::of(&left).text("which", |step| step.id.as_str()).end();
    let mut found = HashMap::new();
    for mut row in work.fetch(&Statement::new(PHASES).text(&lease.scope).given(given)).await? {
        found.insert(row.text()?, row.word("phase")?);
    }
    let mismatch = |step: &&PhaseChange| Mismatch {
        task: step.id.clone(),
        expected: Some(step.from),
        found: found.get(&step.id).copied(),
    };
    Err(LedgerError::Conflict { tasks: left.iter().map(mismatch).collect() })
}
