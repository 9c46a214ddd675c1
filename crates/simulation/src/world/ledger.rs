//! The ledger: its requests, tasks and attempts, who may write to it, and when it does not answer.

use std::collections::BTreeMap;

use amore_core::{
    LeftOpen, OpenRequest, OpenTask, RunKey,
    journal::{AttemptRecord, NewTask, Phase, RequestDetail, TaskFacts, TaskSpec, Write},
};
use amore_model::lease::{Decision, Epochs, Holder, LeaseState, decide};
use amore_slurm::clusters::Clusters;

use super::files::Files;
use crate::Moment;

/// Why a write failed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum LedgerNo {
    /// The ledger does not answer at the moment.
    Silent(&'static str),
    /// Another process owns it.
    Deposed,
    /// A task is not in the phase that the transition starts from: a bug in the coordinator.
    Conflict(String),
}

#[derive(Debug)]
struct Row {
    request: String,
    key: RunKey,
    phase: Phase,
    spec: TaskSpec,
    facts: TaskFacts,
    waits_for: Vec<String>,
    order: u64,
}

#[derive(Debug)]
struct RequestRow {
    id: String,
    detail: RequestDetail,
    open: bool,
}

/// The ledger of the directory.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    lease: LeaseState,
    requests: Vec<RequestRow>,
    tasks: BTreeMap<String, Row>,
    attempts: BTreeMap<String, AttemptRecord>,
    next: u64,
    /// Whether there is a note that it may have unfinished work.
    pub(super) noted: bool,
    /// It does not answer until then.
    pub(super) away_until: Moment,
    /// The next write is applied, but its answer is lost.
    pub(super) lose_answer: bool,
}

impl Ledger {
    /// The epoch of its latest owner.
    pub(super) fn epoch(&self) -> u64 {
        self.lease.epoch
    }

    /// Takes it for a process that owns the directory, and returns the epoch.
    pub(super) fn take(&mut self, me: &Holder, begun: f64, until: f64) -> u64 {
        let dead = self.lease.claim.as_ref().map(|claim| claim.holder.clone());
        let Decision::Take { epoch } = decide(&self.lease, me, begun, dead.as_ref(), Epochs::Counted) else {
            return self.lease.epoch;
        };
        self.noted = true;
        self.lease =
            LeaseState { epoch, claim: Some(amore_model::lease::Claim { holder: me.clone(), until }) };
        epoch
    }

    /// Renews the lease.
    pub(super) fn renew(&mut self, me: &Holder, epoch: u64, until: f64) {
        if self.lease.clone().check(me, epoch).is_ok() {
            self.lease.claim = Some(amore_model::lease::Claim { holder: me.clone(), until });
        }
    }

    /// Releases the lease.
    pub(super) fn release(&mut self, me: &Holder, epoch: u64) {
        if self.lease.clone().check(me, epoch).is_ok() {
            self.lease.claim = None;
            self.noted = self.tasks.values().any(|row| row.phase != Phase::Ended);
        }
    }

    /// Applies one write, completely or not at all.
    pub(super) fn write(
        &mut self,
        me: &Holder,
        epoch: u64,
        write: &Write,
        again: bool,
        now: Moment,
    ) -> Result<(), LedgerNo> {
        if now < self.away_until {
            return Err(LedgerNo::Silent("connection refused"));
        }
        if self.lease.clone().check(me, epoch).is_err() {
            return Err(LedgerNo::Deposed);
        }
        self.apply(write, again)?;
        if std::mem::take(&mut self.lose_answer) {
            return Err(LedgerNo::Silent("connection reset"));
        }
        Ok(())
    }

    fn apply(&mut self, write: &Write, again: bool) -> Result<(), LedgerNo> {
        match write {
            Write::Request(request) => {
                if self.requests.iter().any(|row| row.id == request.id) {
                    return Ok(());
                }
                self.requests.push(RequestRow {
                    id: request.id.clone(),
                    detail: request.detail.clone(),
                    open: true,
                });
                for NewTask { id, key, spec, facts, waits_for, .. } in &request.tasks {
                    self.next += 1;
                    let row = Row {
                        request: request.id.clone(),
                        key: *key,
                        phase: if waits_for.is_empty() { Phase::Ready } else { Phase::Waiting },
                        spec: spec.clone(),
                        facts: facts.clone(),
                        waits_for: waits_for.clone(),
                        order: self.next,
                    };
                    self.tasks.insert(id.clone(), row);
                }
            }
            Write::Changes(changes) => {
                let phase = |id: &str| self.tasks.get(id).map(|row| row.phase);
                let conflict = changes.moves.iter().find(|one| phase(&one.task) != Some(one.from));
                if let Some(one) = conflict {
                    if again && changes.is_applied(phase) {
                        return Ok(());
                    }
                    let found = phase(&one.task);
                    return Err(LedgerNo::Conflict(format!(
                        "task {} is to move from {:?} to {:?}, and is {found:?}",
                        one.task, one.from, one.to
                    )));
                }
                for one in &changes.moves {
                    if let Some(row) = self.tasks.get_mut(&one.task) {
                        row.phase = one.to;
                        row.facts = one.facts.clone();
                    }
                }
                for attempt in &changes.attempts {
                    self.attempts.insert(attempt.token.clone(), attempt.clone());
                }
            }
            Write::Finished(id) => {
                for row in self.requests.iter_mut().filter(|row| row.id == *id) {
                    row.open = false;
                }
            }
        }
        Ok(())
    }

    /// The unfinished work of earlier owners.
    pub(super) fn left_open(&self, files: &Files, now: Moment) -> LeftOpen {
        let mut left = LeftOpen::default();
        for request in self.requests.iter().filter(|request| request.open) {
            let mut rows: Vec<(&String, &Row)> = self
                .tasks
                .iter()
                .filter(|(_, row)| row.request == request.id && row.phase != Phase::Ended)
                .collect();
            rows.sort_by_key(|(_, row)| row.order);
            let tasks = rows.into_iter().map(|(id, row)| {
                let (results, fragments) = files.results_of(row.key, row.spec.stamp, now);
                let attempt = row.facts.token.as_ref().and_then(|token| self.attempts.get(token));
                OpenTask {
                    id: id.clone(),
                    key: row.key,
                    phase: row.phase,
                    spec: row.spec.clone(),
                    facts: row.facts.clone(),
                    waits_for: row.waits_for.clone(),
                    waits_in_vain: None,
                    results,
                    fragments,
                    attempt: attempt
                        .map(|record| (record.clone(), Clusters::of(record.asked.clusters.as_deref()))),
                }
            });
            let tasks = tasks.collect();
            left.requests.push(OpenRequest {
                id: request.id.clone(),
                detail: request.detail.clone(),
                tasks,
                complete: true,
            });
        }
        left
    }

    /// Whether the ledger has the intent to submit a job with this token.
    pub(super) fn has_intent(&self, token: &str) -> bool {
        self.attempts.contains_key(token)
    }

    /// Tasks that have not ended.
    pub(super) fn open_tasks(&self) -> Vec<&str> {
        let open = self.tasks.iter().filter(|(_, row)| row.phase != Phase::Ended);
        open.map(|(id, _)| id.as_str()).collect()
    }
}
