//! The owner's access to the ledger. The core's records are written in order, in the background.

use amore_core::{
    IncomingNo, Input,
    history::HistoryLine,
    journal::{AttemptRecord, Changes, Moved, NewRequest, Phase, Write},
};
use amore_ledger::{Acquired, AttemptRow, Lease, Ledger, LedgerError, Mismatch, NewEvent, PhaseChange};
use amore_model::DatabaseDir;
use amore_plan::Place;
use amore_run_table::SettingValue;
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::JoinHandle,
};

use super::{
    CoordinateError,
    driver::Answer,
    keeper::LedgerLeases,
    ledger_place::{leave_note, open, remove_note, scope},
    ledger_reader,
    ledgers::Ledgers,
    owner::{Owner, this_process},
};
use crate::clock::now;

/// Key of the fact that holds the `db_id` of the run table that the ledger belongs to. After "starting from scratch", the
/// table is another one.
const TABLE: &str = "run_table";

/// How long the history of ended tasks is kept: longer than a beamtime and the questions after it.
const KEPT_SECONDS: f64 = 90.0 * 86_400.0;

enum Order {
    Open(IncomingNo),
    Load,
    Write(Vec<Write>),
    Release,
}

/// A handle to the task that writes the ledger.
pub(super) struct LedgerWriter {
    orders: UnboundedSender<Order>,
    task: JoinHandle<()>,
}

impl LedgerWriter {
    /// Starts the task. It does not open the ledger yet.
    pub(super) fn start(dir: DatabaseDir, owner: &Owner, answer: UnboundedSender<Answer>) -> Self {
        let (orders, inbox) = unbounded_channel();
        let leases = owner.ledger_leases();
        let ledgers = leases.ledgers().clone();
        let writer = Writer { dir, table: owner.table(), leases, answer, open: None };
        LedgerWriter { orders, task: ledgers.spawn(writer.run(inbox)) }
    }

    /// Opens the ledger for a request.
    pub(super) fn open(&self, incoming: IncomingNo) {
        self.order(Order::Open(incoming));
    }

    /// Reads the unfinished work in it.
    pub(super) fn load(&self) {
        self.order(Order::Load);
    }

    /// Writes to it.
    pub(super) fn write(&self, writes: Vec<Write>) {
        self.order(Order::Write(writes));
    }

    /// Releases it after all earlier orders are done.
    pub(super) async fn release(self) {
        self.order(Order::Release);
        let _ = self.task.await;
    }

    fn order(&self, order: Order) {
        // If the writer has ended, it has already reported the reason.
        let _ = self.orders.send(order);
    }
}

/// The ledger while this process holds its lease.
struct Held {
    ledger: Ledger,
    lease: Lease,
    /// The last write got no answer, so it may have been applied.
    unsure: bool,
}

struct Writer {
    dir: DatabaseDir,
    table: Arc<amore_run_table::RunTable>,
    leases: LedgerLeases,
    answer: UnboundedSender<Answer>,
    open: Option<Held>,
}

impl Writer {
    async fn run(mut self, mut inbox: UnboundedReceiver<Order>) {
        while let Some(order) = inbox.recv().await {
            let answer = match order {
                Order::Open(incoming) => {
                    let opened = self.held().await.map(|_| ()).map_err(CoordinateError::into_refusal);
                    Ok(Input::LedgerOpened { incoming, opened })
                }
                Order::Load => self.load().await,
                Order::Write(writes) => self.write(writes).await,
                Order::Release => break,
            };
            if self.answer.send(answer).is_err() {
                break;
            }
        }
        if let Some(held) = self.open.take() {
            held.release(&self.dir).await;
        }
    }

    /// The ledger. Takes it on first use.
    async fn held(&mut self) -> Result<&mut Held, CoordinateError> {
        let held = match self.open.take() {
            Some(held) => held,
            None => self.take().await?,
        };
        Ok(self.open.insert(held))
    }

    async fn take(&self) -> Result<Held, CoordinateError> {
        let settings = self.table.settings().await?;
        let id = settings.into_iter().find_map(|(key, value)| match value {
            SettingValue::Text(id) if key == "db_id" => Some(id),
            _ => None,
        });
        let (begun, term) = self.leases.term();
        let ledgers = self.leases.ledgers();
        let held = Held::take(&self.dir, begun, term, &id.unwrap_or_default(), ledgers).await?;
        self.leases.keep(held.lease.clone());
        Ok(held)
    }

    async fn load(&mut self) -> Answer {
        let dir = self.dir.clone();
        let held = self.held().await?;
        let left = ledger_reader::left_open(&dir, &held.ledger, &held.lease).await?;
        Ok(Input::LedgerLoaded(Box::new(left)))
    }

    async fn write(&mut self, writes: Vec<Write>) -> Answer {
        let held = self.held().await?;
        for (done, write) in writes.iter().enumerate() {
            match held.write(write).await {
                Ok(()) => {}
                Err(WriteError::Ledger(error)) if error.is_temporary() => {
                    return Ok(Input::LedgerWritten { done, silent: Some(error.to_string()) });
                }
                Err(WriteError::Ledger(error)) => return Err(error.into()),
                Err(WriteError::Json(error)) => return Err(error.into()),
            }
        }
        Ok(Input::LedgerWritten { done: writes.len(), silent: None })
    }
}

#[derive(Debug, thiserror::Error)]
enum WriteError {
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

impl Held {
    /// Takes the ledger for a term that began at `begun` (seconds since 1970). The caller owns the directory, so a process
    /// that still holds the lease is dead or deposed.
    async fn take(
        dir: &DatabaseDir,
        begun: f64,
        term: Duration,
        table: &str,
        ledgers: &Ledgers,
    ) -> Result<Held, CoordinateError> {
        let holder = this_process();
        let ledger = open(dir, table, ledgers).await?;
        let scope = scope(dir);
        let mut acquired = ledger.acquire(&scope, &holder, begun, term, None).await?;
        if let Acquired::HeldBy(claim) = &acquired {
            let before = claim.holder.clone();
            acquired = ledger.acquire(&scope, &holder, begun, term, Some(&before)).await?;
        }
        let lease = match acquired {
            Acquired::Mine(lease) => lease,
            Acquired::HeldBy(claim) => {
                return Err(CoordinateError::LedgerHeld { by: claim.holder });
            }
        };
        let known = ledger.fact(&scope, TABLE).await?;
        let ours = serde_json::Value::String(table.to_owned());
        if known.as_ref() != Some(&ours) {
            if known.is_some() {
                // The results that it refers to are gone.
                ledger.forget_scope(&lease).await?;
            }
            ledger.set_fact(&lease, TABLE, &ours).await?;
        }
        let (of, table) = (dir.clone(), table.to_owned());
        tokio::task::spawn_blocking(move || leave_note(&of, &table)).await??;
        ledger.prune(&lease, now() - KEPT_SECONDS).await?;
        Ok(Held { ledger, lease, unsure: false })
    }

    async fn release(self, dir: &DatabaseDir) {
        match self.ledger.open_tasks(&self.lease.scope).await {
            Ok(open) if open.is_empty() => {
                let of = dir.clone();
                let removed = tokio::task::spawn_blocking(move || remove_note(&of)).await;
                if let Ok(Err(error)) = removed {
                    tracing::warn!(%error, "the note about the ledger cannot be removed");
                }
            }
            Ok(_) => {}
            Err(error) => {
                tracing::debug!(%error, "unfinished tasks cannot be read; the note about the ledger is kept")
            }
        }
        if let Err(error) = self.ledger.release(self.lease).await {
            tracing::debug!(%error, "the ledger was not released");
        }
        let _ = self.ledger.close().await;
    }

    async fn write(&mut self, write: &Write) -> Result<(), WriteError> {
        let written = self.try_write(write).await;
        self.unsure = matches!(&written, Err(WriteError::Ledger(error)) if error.is_temporary());
        written
    }

    async fn try_write(&self, write: &Write) -> Result<(), WriteError> {
        match write {
            Write::Request(request) => self.add_request(request).await,
            Write::Changes(changes) => {
                match self.ledger.apply(&self.lease, now(), &changes_row(changes)?).await {
                    // An earlier try was applied, but its answer was lost.
                    Err(LedgerError::Conflict { tasks }) if self.unsure && is_applied(changes, &tasks) => {
                        Ok(())
                    }
                    applied => Ok(applied?),
                }
            }
            Write::Finished(id) => {
                Ok(self.ledger.finish_request(&self.lease, id, now()).await.map(|_| ())?)
            }
        }
    }

    async fn add_request(&self, request: &NewRequest) -> Result<(), WriteError> {
        let row = amore_ledger::NewRequest {
            id: request.id.clone(),
            created: request.created,
            by_user: user_name(),
            origin: "user".to_owned(),
            detail: serde_json::to_value(&request.detail)?,
        };
        let mut tasks = Vec::with_capacity(request.tasks.len());
        for task in &request.tasks {
            tasks.push(amore_ledger::NewTask {
                id: task.id.clone(),
                proposal: task.key.0,
                run: task.key.1,
                priority: request.detail.urgency.priority(),
                place: match task.place {
                    Place::Local => amore_ledger::Place::Local,
                    Place::Cluster => amore_ledger::Place::Cluster,
                },
                facts: serde_json::to_value(&task.facts)?,
                spec: serde_json::to_value(&task.spec)?,
                waits_for: task.waits_for.clone(),
            });
        }
        match self.ledger.add_request(&self.lease, &row, &tasks).await {
            // An earlier try was applied.
            Ok(()) | Err(LedgerError::AlreadyThere { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Whether these tasks are in the phases that the changes move them to.
fn is_applied(changes: &Changes, conflicts: &[Mismatch]) -> bool {
    changes.is_applied(|task| {
        let found = conflicts.iter().find(|conflict| conflict.task == task)?.found?;
        Some(ledger_reader::phase(found))
    })
}

pub fn user_name() -> String {
    let uid = nix::unistd::getuid();
    let user = nix::unistd::User::from_uid(uid).ok().flatten();
    user.map_or_else(|| format!("user {uid}"), |user| user.name)
}

fn changes_row(changes: &Changes) -> Result<amore_ledger::Changes, serde_json::Error> {
    let mut moves = Vec::with_capacity(changes.moves.len());
    for Moved { task, from, to, facts, attempt } in &changes.moves {
        moves.push(PhaseChange {
            id: task.clone(),
            from: phase_row(*from),
            to: phase_row(*to),
            facts: Some(serde_json::to_value(facts)?),
            attempt: *attempt,
            event: None,
        });
    }
    let event_row = |line: &HistoryLine| NewEvent {
        proposal: line.key.0,
        run: line.key.1,
        task: line.task.clone(),
        at: line.at,
        kind: line.kind.word().to_owned(),
        message: line.message.clone(),
        detail: serde_json::Value::Null,
    };
    Ok(amore_ledger::Changes {
        moves,
        attempts: changes.attempts.iter().map(attempt_row).collect::<Result<_, _>>()?,
        events: changes.history.iter().map(event_row).collect(),
    })
}

/// The ledger's name for a phase.
pub(super) fn phase_row(phase: Phase) -> amore_ledger::Phase {
    match phase {
        Phase::Waiting => amore_ledger::Phase::Waiting,
        Phase::Ready => amore_ledger::Phase::Ready,
        Phase::Submitting => amore_ledger::Phase::Submitting,
        Phase::Submitted => amore_ledger::Phase::Submitted,
        Phase::Running => amore_ledger::Phase::Running,
        Phase::Ended => amore_ledger::Phase::Ended,
    }
}

fn attempt_row(record: &AttemptRecord) -> Result<AttemptRow, serde_json::Error> {
    let record = record.clone();
    Ok(AttemptRow {
        task: record.task,
        number: record.number,
        token: record.token,
        cluster: record.cluster,
        job_id: record.job_id,
        slurm_state: record.slurm_state,
        slurm_reason: record.slurm_reason,
        partition: record.partition,
        reservation: record.reservation,
        nodes: record.nodes,
        asked: serde_json::to_value(record.asked)?,
        submitted: record.submitted,
        started: record.started,
        ended: record.ended,
        outcome: record.outcome,
        ..AttemptRow::default()
    })
}

#[cfg(test)]
mod tests {
    use amore_core::{
        journal::TaskFacts,
        task::RetryState,
        task_state::{TaskMove, TaskState, WorkerNo},
    };
    use amore_model::JobId;

    use super::*;

    #[test]
    fn a_write_whose_answer_was_lost_is_known_again_by_where_its_tasks_stand() {
        let moved = |task: &str, from, to| Moved {
            task: task.to_owned(),
            from,
            to,
            facts: TaskFacts { retry: RetryState::default(), attempt: 1, token: None, job: None },
            attempt: None,
        };
        let changes = Changes {
            moves: vec![
                moved("a", Phase::Ready, Phase::Submitting),
                moved("b", Phase::Submitted, Phase::Ended),
                moved("c", Phase::Submitted, Phase::Submitted),
            ],
            ..Changes::default()
        };
        let found =
            |task: &str, found| Mismatch { task: task.to_owned(), expected: None, found: Some(found) };
        let a = || found("a", amore_ledger::Phase::Submitting);
        assert!(is_applied(&changes, &[a(), found("b", amore_ledger::Phase::Ended)]));
        assert!(!is_applied(&changes, &[a(), found("b", amore_ledger::Phase::Ready)]));
        assert!(!is_applied(&changes, &[a()]), "the other one could still be moved");
        assert!(!is_applied(&Changes::default(), &[]));
    }

    /// The core's and the ledger's transitions agree: the ledger accepts every transition that a task can make.
    #[test]
    fn every_move_of_the_core_is_one_of_the_ledger() {
        let token = || "t".to_owned();
        let moves = || {
            vec![
                TaskMove::Collected(amore_core::task::TaskNo(0)),
                TaskMove::Start { token: token(), worker: WorkerNo(0) },
                TaskMove::Submit { token: token() },
                TaskMove::Accepted(JobId::on(None, 7)),
                TaskMove::NotSubmitted,
                TaskMove::JobOver,
                TaskMove::WorkerEnded { problem: None },
                TaskMove::WorkerLost,
                TaskMove::NothingLeft { problem: None },
                TaskMove::Cancelled,
                TaskMove::Hopeless { problem: token() },
            ]
        };
        let first = TaskState::new([amore_core::task::TaskNo(0)]);
        let mut seen = vec![first];
        let mut steps = 0;
        let mut at = 0;
        while at < seen.len() && at < 100 {
            for wanted in moves() {
                let Ok(next) = seen[at].next(wanted.clone()) else { continue };
                steps += 1;
                let (from, to) = (phase_row(Phase::of(&seen[at])), phase_row(Phase::of(&next)));
                assert!(from.may_become(to), "{wanted:?}: {from} to {to}");
                if !seen.contains(&next) {
                    seen.push(next);
                }
            }
            at += 1;
        }
        let phases: std::collections::BTreeSet<Phase> = seen.iter().map(Phase::of).collect();
        assert_eq!(phases.len(), 6, "all phases were reached");
        assert!(steps > 20);
    }
}
