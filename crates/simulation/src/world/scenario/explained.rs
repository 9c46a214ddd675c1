//! What the faults of a scenario explain: calls of functions, and outcomes other than the expected ones.

use std::{collections::BTreeMap, time::Duration};

use amore_wire::task::Outcome;

use super::{
    Scenario,
    act::{Act, JobFault},
    variable::{Behaviour, SMALL_MIB, Variable},
};

/// The shortest time limit of a job, minus the time it takes to start.
const SHORTEST_LIMIT: Duration = Duration::from_secs(55);

/// How often a service tries a directory whose disk is full.
const TURNS: u32 = 8;

impl Scenario {
    /// How often the function of a variable may be called for one plan: once, and once more for each event that explains
    /// it.
    pub(in crate::world) fn explained_calls(&self, name: &str) -> u32 {
        let number =
            |is_one: fn(&Act) -> bool| self.acts.iter().filter(|(_, act)| is_one(act)).count() as u32;
        let commands = number(|act| matches!(act, Act::Reprocess { .. } | Act::Follow));
        // Each command that starts meanwhile computes results that it cannot store.
        let full = number(|act| matches!(act, Act::FullDisk(_)))
            * (commands + 3 + if self.service { TURNS } else { 0 });
        // The next owner does not know about a cancellation that the ledger did not accept; its user was warned.
        let silent = number(|act| matches!(act, Act::LedgerAway(_) | Act::LedgerSlow(..)));
        let cancelled = number(|act| {
            matches!(act, Act::CancelRun(_) | Act::CancelJob(_) | Act::Job(_, JobFault::CancelledByRoot))
        });
        let faults: u32 = self.acts.iter().map(|(_, act)| act.explains()).sum();
        let faults = faults + full + silent.min(cancelled) + if self.service { silent } else { 0 };
        let of_name = |variable: &&Variable| variable.spec.name == name;
        let memory = self.variables.iter().find(of_name).is_some_and(|one| one.memory_mib > SMALL_MIB);
        let short = self.variables.iter().any(|one| one.spec.resources.time_minutes.is_some());
        let ends_job = if self.has_ended_jobs() { 2 } else { 0 };
        1 + faults
            + ends_job
            + if memory { 3 } else { 0 }
            // Cut off after results of the same job, and then twice without one.
            + if short { 2 } else { 0 }
    }

    /// Whether a variable ends its job. The others of its task are given up with it.
    pub(in crate::world) fn has_ended_jobs(&self) -> bool {
        self.variables.iter().any(|variable| variable.behaviour == Behaviour::EndsJob)
    }

    /// Whether there is an upgrade after this time.
    pub(in crate::world) fn is_upgraded_after(&self, at: Duration) -> bool {
        self.acts.iter().any(|(when, act)| matches!(act, Act::Upgrade) && *when > at)
    }

    /// Whether a variable may be given up because of its time limit, although it takes less than a minute: transient
    /// dependencies are computed together with it.
    pub(in crate::world) fn may_time_out(&self, name: &str) -> bool {
        fn takes(of: &[Variable], name: &str) -> Duration {
            let Some(variable) = of.iter().find(|variable| variable.spec.name == name) else {
                return Duration::ZERO;
            };
            let transient =
                |need: &&String| of.iter().any(|one| one.spec.name == **need && one.spec.transient);
            let needs = variable.needs.iter().filter(transient);
            variable.takes + needs.map(|need| takes(of, need)).sum::<Duration>()
        }
        takes(&self.variables, name) > SHORTEST_LIMIT
    }

    /// Whether `outcome` is one that a variable may have where `expected` is what its function gives.
    pub(in crate::world) fn may_end_as(&self, name: &str, outcome: &Outcome, expected: Behaviour) -> bool {
        let (ends_job, may_time_out) = (self.has_ended_jobs(), self.may_time_out(name));
        match (outcome, expected) {
            (Outcome::Error { class, .. }, _) if may_time_out && class == "TimeoutError" => true,
            // Some variable ends its job, so that others of its task are given up.
            (Outcome::Error { class, .. }, _) if ends_job && class == "JobFailed" => true,
            (Outcome::Skipped { .. }, _) if ends_job || self.needs_one_that_may_time_out(name) => true,
            (Outcome::Value, Behaviour::Value) | (Outcome::Nothing, Behaviour::Nothing) => true,
            (Outcome::Skipped { .. }, Behaviour::Skip) => true,
            (Outcome::Error { class, .. }, Behaviour::Error) => class == "ValueError",
            // The time limit may have been reached before the memory was raised.
            (Outcome::Error { class, .. }, Behaviour::TooLarge) => {
                class == "MemoryError" || class == "TimeoutError"
            }
            _ => false,
        }
    }

    fn needs_one_that_may_time_out(&self, name: &str) -> bool {
        self.variables.iter().filter(|variable| variable.spec.name == name).any(|variable| {
            let needs = &mut variable.needs.iter();
            needs.any(|need| self.may_time_out(need) || self.needs_one_that_may_time_out(need))
        })
    }

    /// Whether something happens that may end a job, or the worker on a coordinator's host, before its work is done.
    pub(in crate::world) fn has_faults_of_jobs(&self) -> bool {
        self.acts.iter().any(|(_, act)| act.is_fault_of_jobs())
    }

    /// Whether a job may be unknown to the coordinator that submitted it, or to the next one.
    pub(in crate::world) fn may_lose_sight_of_jobs(&self) -> bool {
        let is_harmless = |act: &Act| {
            let benign = [Act::Follow, Act::Edit, Act::Upgrade, Act::EndReservation, Act::DeleteReservation];
            benign.contains(act)
                || matches!(
                    act,
                    Act::Reprocess { .. }
                        | Act::Reserve(_)
                        | Act::SlowDescription(_)
                        | Act::BrokenContext(_)
                        | Act::SlowCollector(..)
                        | Act::LateFiles(..)
                        | Act::WorkerDies(_)
                        | Act::Limit(..)
                        | Act::Data { .. }
                        | Act::Event { .. }
                        | Act::Trigger(..)
                        | Act::Unlistable(_)
                        | Act::OtherBroken(_)
                        | Act::Job(_, JobFault::OutOfMemory | JobFault::Held(_) | JobFault::Requeued)
                )
        };
        !self.acts.iter().all(|(_, act)| is_harmless(act))
    }

    /// Whether a variable is transient, and so called in each task that needs it.
    pub(in crate::world) fn is_transient(&self, name: &str) -> bool {
        self.variables.iter().any(|variable| variable.spec.name == name && variable.spec.transient)
    }

    /// The expected outcome of each variable: dependents of a variable without a value are skipped.
    pub(in crate::world) fn expected(&self) -> BTreeMap<String, Behaviour> {
        let mut expected: BTreeMap<String, Behaviour> = BTreeMap::new();
        for variable in &self.variables {
            let has_inputs = variable.needs.iter().all(|name| expected.get(name) == Some(&Behaviour::Value));
            let how = if has_inputs { variable.behaviour } else { Behaviour::Skip };
            expected.insert(variable.spec.name.clone(), how);
        }
        expected
    }
}
