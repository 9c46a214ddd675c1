//! What a seed stands for: a context file, runs, the actions of users, and faults. All of it is a value, so that a scenario
//! can be shortened.

use std::{collections::BTreeMap, fmt, time::Duration};

use amore_model::{Argument, Resources, VariableSpec};
use amore_wire::task::Outcome;

use crate::{
    Generator,
    slurm::{AccountingFault, Fault, Hold, NextSubmission, Preempt},
};

/// Faults occur within this time.
const TROUBLED: Duration = Duration::from_secs(420);
/// Memory that every job has.
const SMALL_MIB: u64 = 100;
/// More memory than any node has.
const TOO_LARGE_MIB: u64 = 6000;
/// Nodes of each cluster.
pub(super) const NODES: usize = 3;
/// Names of clusters.
pub(super) const CLUSTERS: [&str; 2] = ["lab", "maxwell"];

/// How the function of a variable ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// With a value.
    Value,
    /// With `None`.
    Nothing,
    /// With an exception.
    Error,
    /// With a skip, which it decides itself.
    Skip,
    /// It needs more memory than any node has.
    TooLarge,
    /// It kills its job, each time.
    EndsJob,
}

/// A variable of the context file.
#[derive(Clone, Debug)]
pub struct Variable {
    /// Its declaration in the context file.
    pub spec: VariableSpec,
    /// Variables that it depends on.
    pub needs: Vec<String>,
    /// How its function ends.
    pub behaviour: Behaviour,
    /// How long its function takes.
    pub takes: Duration,
    /// Memory that it needs, in MiB.
    pub memory_mib: u64,
}

/// An action of a user, or a fault.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "a scenario has a dozen of them")]
pub enum Act {
    /// Somebody runs `amore reprocess` on a host.
    Reprocess {
        /// The host.
        host: usize,
        /// Runs.
        runs: Vec<u32>,
    },
    /// Somebody runs `amore follow`.
    Follow,
    /// Somebody runs `amore cancel` with a run.
    CancelRun(u32),
    /// Somebody runs `amore cancel` with the number of the nth job in Slurm.
    CancelJob(usize),
    /// Ctrl-C to the nth command.
    Interrupt(usize),
    /// `kill -9` of the nth command.
    Kill(usize),
    /// The nth command is stopped for a while.
    Suspend(usize, Duration),
    /// The context file is edited.
    Edit,
    /// The worker of the nth command dies.
    WorkerDies(usize),
    /// The worker of the nth command does nothing for a while.
    WorkerHangs(usize, Duration),
    /// The workers in jobs do nothing for a while.
    JobsHang(Duration),
    /// Describing a context file takes longer by this.
    SlowDescription(Duration),
    /// The context file cannot be described for a while: it was saved with a mistake.
    BrokenContext(Duration),
    /// Files that nodes write become visible later by this, for a while.
    LateFiles(Duration, Duration),
    /// Nothing can be written on the coordinators' host for a while.
    FullDisk(Duration),
    /// The collector takes longer by this, for a while.
    SlowCollector(Duration, Duration),
    /// The ledger does not answer for a while.
    LedgerAway(Duration),
    /// The ledger takes longer by this, for a while.
    LedgerSlow(Duration, Duration),
    /// The next write to the ledger is applied, and its answer is lost.
    LedgerAnswerLost,
    /// The clock of a host is changed by this many seconds.
    ClockJumps(usize, i64),
    /// A reservation starts, and ends after a while.
    Reserve(Duration),
    /// An administrator ends the reservation now.
    EndReservation,
    /// An administrator deletes the reservation; Slurm refuses this while it has waiting or running jobs.
    DeleteReservation,
    /// Amore is upgraded: commands that started earlier have the previous version, whose tasks and workers have no tokens.
    Upgrade,
    /// A fault of a cluster, which is reverted after a while.
    Slurm {
        /// Which cluster.
        cluster: usize,
        /// The fault.
        fault: Fault,
        /// What reverts it, and when.
        undone: Option<(Duration, Fault)>,
    },
    /// A fault of the nth of our jobs that have not ended.
    Job(usize, JobFault),
    /// A fault of accounting, which is reverted after a while.
    Accounting(AccountingFault, Duration),
    /// The user may only have this many jobs in the queue, for a while.
    Limit(u32, Duration),
}

/// A fault of one job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobFault {
    /// It is killed for its memory.
    OutOfMemory,
    /// It is preempted.
    Preempted(Preempt),
    /// It is held for a while.
    Held(Hold),
    /// An administrator puts it back into the queue.
    Requeued,
    /// Root cancels it.
    CancelledByRoot,
    /// The controller forgets it; whether it continues.
    Forgotten(bool),
}

impl Act {
    /// Whether it may end a job, or the worker on a coordinator's host, before its work is done.
    fn is_fault_of_jobs(&self) -> bool {
        match self {
            Act::Reprocess { .. }
            | Act::Follow
            | Act::Edit
            | Act::Upgrade
            | Act::SlowDescription(_)
            | Act::BrokenContext(_)
            | Act::LateFiles(..)
            | Act::SlowCollector(..)
            | Act::LedgerSlow(..)
            | Act::LedgerAnswerLost
            | Act::Limit(..)
            | Act::Accounting(..) => false,
            Act::CancelRun(_)
            | Act::CancelJob(_)
            | Act::Interrupt(_)
            | Act::Kill(_)
            | Act::Suspend(..)
            | Act::WorkerDies(_)
            | Act::WorkerHangs(..)
            | Act::JobsHang(_)
            | Act::FullDisk(_)
            | Act::LedgerAway(_)
            | Act::ClockJumps(..)
            | Act::Reserve(_)
            | Act::EndReservation
            | Act::DeleteReservation
            | Act::Slurm { .. }
            | Act::Job(..) => true,
        }
    }

    /// How many additional calls of one variable's function it explains.
    fn explains(&self) -> u32 {
        match self {
            // Running work is lost, or its end is not noticed.
            Act::Kill(_)
            | Act::Interrupt(_)
            | Act::Suspend(..)
            | Act::ClockJumps(..)
            | Act::WorkerDies(_)
            | Act::LateFiles(..)
            | Act::Reserve(_)
            | Act::EndReservation => 1,
            // A command that is refused ends what it had resumed.
            Act::BrokenContext(_) => 1,
            Act::Slurm { fault, .. } => match fault {
                Fault::NodeCut(_) | Fault::NodeDies(_) | Fault::NodeDown(_) | Fault::PrologFails(_) => 1,
                Fault::ControllerKilled { .. } => 2,
                _ => 0,
            },
            Act::Job(_, fault) => match fault {
                JobFault::Held(_) | JobFault::CancelledByRoot => 0,
                _ => 1,
            },
            _ => 0,
        }
    }
}

/// A scenario.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Seed for delays.
    pub seed: u64,
    /// Variables of the context file.
    pub variables: Vec<Variable>,
    /// Number of runs of the proposal, which start at 1.
    pub runs: u32,
    /// `concurrent_jobs`.
    pub concurrent_jobs: usize,
    /// Number of children of a worker.
    pub processes: usize,
    /// Whether Slurm may choose between two clusters.
    pub two_clusters: bool,
    /// Whether there is accounting.
    pub accounting: bool,
    /// Whether jobs request the reservation.
    pub reservation: bool,
    /// What happens, and when.
    pub acts: Vec<(Duration, Act)>,
}

/// The shortest time limit of a job, minus the time it takes to start.
const SHORTEST_LIMIT: Duration = Duration::from_secs(55);

/// Name of the reservation.
pub(super) const RESERVATION: &str = "upex_1234";

impl Scenario {
    /// The scenario of a seed.
    pub fn of_seed(seed: u64) -> Self {
        let mut chance = Generator::seeded(seed);
        let two_clusters = chance.chance(1, 8);
        let variables = variables(&mut chance, two_clusters);
        let runs = 1 + chance.below(3) as u32;
        let mut acts = vec![(Duration::ZERO, Act::Reprocess { host: 0, runs: (1..=runs).collect() })];
        // One in ten scenarios has no faults.
        let troubles = if chance.chance(1, 10) { 0 } else { 1 + chance.below(9) };
        for _ in 0..troubles {
            // Most bugs are found by faults while something is starting.
            let within = if chance.chance(1, 2) { Duration::from_secs(40) } else { TROUBLED };
            let at = chance.between(Duration::from_millis(50), within);
            let act = act(&mut chance, runs);
            if matches!(act, Act::ClockJumps(..)) {
                // The changed clock determines the order of the next plan.
                let request = Act::Reprocess { host: 0, runs: (1..=runs).collect() };
                acts.push((at + Duration::from_secs(2), request));
            }
            if let Act::Slurm { fault: Fault::ControllerKilled { .. }, undone: Some((after, _)), .. } = &act {
                // New jobs get the numbers of forgotten ones.
                let request = Act::Reprocess { host: 0, runs: (1..=runs).collect() };
                acts.push((at + *after + Duration::from_secs(1), request));
            }
            acts.push((at, act));
        }
        // Where jobs request a reservation there mostly is one, and it does not last.
        let reservation = chance.chance(1, 5);
        if reservation && chance.chance(4, 5) {
            let s = Duration::from_secs;
            acts.push((Duration::ZERO, Act::Reserve(chance.between(s(10), s(200)))));
            if chance.chance(1, 3) {
                // Its jobs wait, perhaps until it is over.
                let fault = Fault::NodeDrained("n1".to_owned());
                let undone = Some((chance.between(s(30), s(200)), Fault::NodeResumed("n1".to_owned())));
                acts.push((chance.between(s(0), s(20)), Act::Slurm { cluster: 0, fault, undone }));
            }
            if chance.chance(1, 2) {
                let end = if chance.chance(1, 2) { Act::EndReservation } else { Act::DeleteReservation };
                acts.push((chance.between(s(1), s(60)), end));
            }
        }
        acts.sort_by_key(|(at, _)| *at);
        Scenario {
            seed,
            variables,
            runs,
            concurrent_jobs: 1 + chance.below(4) as usize,
            processes: 1 + chance.below(3) as usize,
            two_clusters,
            accounting: !chance.chance(1, 8),
            reservation,
            acts,
        }
    }

    /// How often the function of a variable may be called for one plan: once, and once more for each event that explains
    /// it.
    pub(super) fn explained_calls(&self, name: &str) -> u32 {
        let number =
            |is_one: fn(&Act) -> bool| self.acts.iter().filter(|(_, act)| is_one(act)).count() as u32;
        let commands = number(|act| matches!(act, Act::Reprocess { .. } | Act::Follow));
        // Each command that starts meanwhile computes results that it cannot store.
        let full = number(|act| matches!(act, Act::FullDisk(_))) * (commands + 3);
        // The next owner does not know about a cancellation that the ledger did not accept; its user was warned.
        let silent = number(|act| matches!(act, Act::LedgerAway(_) | Act::LedgerSlow(..)));
        let cancelled = number(|act| {
            matches!(act, Act::CancelRun(_) | Act::CancelJob(_) | Act::Job(_, JobFault::CancelledByRoot))
        });
        let faults: u32 = self.acts.iter().map(|(_, act)| act.explains()).sum();
        let faults = faults + full + silent.min(cancelled);
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
    pub(super) fn has_ended_jobs(&self) -> bool {
        self.variables.iter().any(|variable| variable.behaviour == Behaviour::EndsJob)
    }

    /// Whether there is an upgrade after this time.
    pub(super) fn is_upgraded_after(&self, at: Duration) -> bool {
        self.acts.iter().any(|(when, act)| matches!(act, Act::Upgrade) && *when > at)
    }

    /// Whether a variable may be given up because of its time limit, although it takes less than a minute: transient
    /// dependencies are computed together with it.
    pub(super) fn may_time_out(&self, name: &str) -> bool {
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
    pub(super) fn may_end_as(&self, name: &str, outcome: &Outcome, expected: Behaviour) -> bool {
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
    pub(super) fn has_faults_of_jobs(&self) -> bool {
        self.acts.iter().any(|(_, act)| act.is_fault_of_jobs())
    }

    /// Whether a job may be unknown to the coordinator that submitted it, or to the next one.
    pub(super) fn may_lose_sight_of_jobs(&self) -> bool {
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
                        | Act::Job(_, JobFault::OutOfMemory | JobFault::Held(_) | JobFault::Requeued)
                )
        };
        !self.acts.iter().all(|(_, act)| is_harmless(act))
    }

    /// Whether a variable is transient, and so called in each task that needs it.
    pub(super) fn is_transient(&self, name: &str) -> bool {
        self.variables.iter().any(|variable| variable.spec.name == name && variable.spec.transient)
    }

    /// The expected outcome of each variable: dependents of a variable without a value are skipped.
    pub(super) fn expected(&self) -> BTreeMap<String, Behaviour> {
        let mut expected: BTreeMap<String, Behaviour> = BTreeMap::new();
        for variable in &self.variables {
            let has_inputs = variable.needs.iter().all(|name| expected.get(name) == Some(&Behaviour::Value));
            let how = if has_inputs { variable.behaviour } else { Behaviour::Skip };
            expected.insert(variable.spec.name.clone(), how);
        }
        expected
    }
}

fn variables(chance: &mut Generator, two_clusters: bool) -> Vec<Variable> {
    let number = 2 + chance.below(5);
    let mut variables: Vec<Variable> = Vec::new();
    for at in 0..number {
        let name = format!("v{at}");
        let in_job = chance.chance(1, 2);
        let needs: Vec<String> =
            (0..at).filter(|_| chance.chance(1, 3)).map(|other| format!("v{other}")).collect();
        let behaviour = match chance.below(10) {
            0 => Behaviour::Nothing,
            1 => Behaviour::Error,
            2 => Behaviour::Skip,
            _ => Behaviour::Value,
        };
        let resources = Resources {
            mem_mib: (in_job && chance.chance(1, 4)).then_some(1000),
            cpus: (in_job && chance.chance(1, 3)).then_some(2),
            time_minutes: (in_job && chance.chance(1, 6)).then_some(1),
            ..Resources::default()
        };
        let takes = match chance.below(4) {
            0 => chance.between(Duration::from_millis(5), Duration::from_millis(200)),
            1 | 2 => chance.between(Duration::from_millis(200), Duration::from_secs(5)),
            _ => chance.between(Duration::from_secs(5), Duration::from_secs(50)),
        };
        // Some ask for less time than they need.
        let takes = if resources.time_minutes.is_some() && chance.chance(1, 4) {
            chance.between(Duration::from_secs(70), Duration::from_secs(200))
        } else {
            takes
        };
        let spec = VariableSpec {
            name: name.clone(),
            title: name,
            description: None,
            summary: None,
            data: None,
            cluster: in_job,
            resources,
            job: None,
            tags: Vec::new(),
            transient: !in_job && chance.chance(1, 10),
            units: None,
            arguments: needs
                .iter()
                .map(|on| Argument { name: on.clone(), annotation: format!("var#{on}"), has_default: false })
                .collect(),
            line: Some(1),
            file: None,
            fingerprint: String::new(),
            state: Vec::new(),
        };
        // If Slurm chooses the cluster, it is not known how much memory there is.
        let large = in_job && !two_clusters;
        let (memory_mib, behaviour) = match chance.below(40) {
            0 if large => (TOO_LARGE_MIB, Behaviour::TooLarge),
            1..=4 if large => (1500, behaviour),
            5 if in_job => (SMALL_MIB, Behaviour::EndsJob),
            _ => (SMALL_MIB, behaviour),
        };
        variables.push(Variable { spec, needs, behaviour, takes, memory_mib });
    }
    variables
}

fn act(chance: &mut Generator, runs: u32) -> Act {
    let s = Duration::from_secs;
    let a_while = |chance: &mut Generator| match chance.below(3) {
        0 => chance.between(s(1), s(5)),
        1 => chance.between(s(5), s(30)),
        _ => chance.between(s(30), s(120)),
    };
    let nth = chance.below(4) as usize;
    match chance.below(57) {
        0..=5 => {
            let some = (1..=runs).filter(|_| chance.chance(2, 3)).collect();
            Act::Reprocess { host: chance.below(2) as usize, runs: some }
        }
        6 => Act::Follow,
        7..=8 => Act::CancelRun(1 + chance.below(u64::from(runs)) as u32),
        9 => Act::CancelJob(nth),
        10..=11 => Act::Interrupt(nth),
        12..=15 => Act::Kill(nth),
        16..=17 => Act::Suspend(nth, chance.between(s(1), s(60))),
        18 => Act::Edit,
        19..=20 => Act::WorkerDies(nth),
        21 => Act::WorkerHangs(nth, a_while(chance)),
        22 => Act::JobsHang(a_while(chance)),
        23 => Act::SlowDescription(chance.between(s(5), s(60))),
        24..=25 => Act::LateFiles(chance.between(s(1), s(12)), a_while(chance)),
        26 => Act::FullDisk(a_while(chance)),
        27 => Act::SlowCollector(chance.between(s(1), s(20)), a_while(chance)),
        28 => Act::LedgerAway(a_while(chance)),
        29 => Act::LedgerSlow(chance.between(s(1), s(20)), a_while(chance)),
        30 => Act::LedgerAnswerLost,
        31 => Act::ClockJumps(chance.below(2) as usize, chance.below(240) as i64 - 120),
        32 => Act::Reserve(chance.between(s(20), s(200))),
        52 => Act::EndReservation,
        53 => Act::DeleteReservation,
        54 | 55 => Act::Upgrade,
        56 => Act::BrokenContext(a_while(chance)),
        33 => Act::Accounting(AccountingFault::Dies, a_while(chance)),
        34 => Act::Accounting(AccountingFault::Lags(chance.between(s(5), s(60))), a_while(chance)),
        35 => Act::Limit(1 + chance.below(2) as u32, a_while(chance)),
        36..=42 => cluster_fault(chance),
        43 | 44 => Act::SlowCollector(chance.between(s(1), s(6)), a_while(chance)),
        45 => Act::LateFiles(chance.between(s(1), s(8)), a_while(chance)),
        _ => {
            let fault = match chance.below(7) {
                0 => JobFault::OutOfMemory,
                1 => JobFault::Preempted(Preempt::Requeue),
                2 => JobFault::Preempted(Preempt::Cancel),
                3 => JobFault::Held(Hold::Admin),
                4 => JobFault::Requeued,
                5 => JobFault::CancelledByRoot,
                _ => JobFault::Forgotten(chance.chance(1, 2)),
            };
            Act::Job(nth, fault)
        }
    }
}

fn cluster_fault(chance: &mut Generator) -> Act {
    let s = Duration::from_secs;
    let node = format!("n{}", 1 + chance.below(NODES as u64));
    let later = chance.between(s(2), s(90));
    let next = |next| Fault::NextSubmission(next);
    let (fault, undone) = match chance.below(16) {
        0 | 1 => (Fault::ControllerHangs, Some(Fault::ControllerGoesOn)),
        2 => (Fault::ControllerStops, Some(Fault::ControllerGoesOn)),
        3 | 15 => {
            let forgets = chance.between(s(0), s(20));
            (Fault::ControllerKilled { forgets }, Some(Fault::ControllerGoesOn))
        }
        4 => (Fault::SlowAnswers(chance.between(s(1), s(12))), Some(Fault::SlowAnswers(Duration::ZERO))),
        5 | 6 => (Fault::NodeCut(node.clone()), Some(Fault::NodeReturns(node))),
        7 => (Fault::NodeDies(node.clone()), Some(Fault::NodeReturns(node))),
        8 => (Fault::NodeDrained(node.clone()), Some(Fault::NodeResumed(node))),
        9 => (Fault::NodeDown(node.clone()), Some(Fault::NodeResumed(node))),
        10 => (Fault::PrologFails(node.clone()), Some(Fault::NodeResumed(node))),
        11 => {
            let main = || "main".to_owned();
            (Fault::PartitionUp(main(), false), Some(Fault::PartitionUp(main(), true)))
        }
        12 => (next(NextSubmission { answer_lost: true, ..NextSubmission::default() }), None),
        13 => (next(NextSubmission { launch_fails: true, ..NextSubmission::default() }), None),
        _ => (Fault::Purge, None),
    };
    Act::Slurm { cluster: 0, fault, undone: undone.map(|fault| (later, fault)) }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} runs, concurrent_jobs {}, {} processes{}{}{}",
            self.runs,
            self.concurrent_jobs,
            self.processes,
            if self.two_clusters { ", two clusters" } else { "" },
            if self.accounting { "" } else { ", no accounting" },
            if self.reservation { ", with a reservation" } else { "" },
        )?;
        for Variable { spec, needs, behaviour, takes, memory_mib } in &self.variables {
            writeln!(
                f,
                "  {} {}{} needs {needs:?}, {behaviour:?} after {takes:?}, {memory_mib} MiB",
                spec.name,
                if spec.cluster { "in a job" } else { "here" },
                if spec.transient { ", transient" } else { "" },
            )?;
        }
        for (at, act) in &self.acts {
            writeln!(f, "  at {:>7.2} s {act:?}", at.as_secs_f64())?;
        }
        Ok(())
    }
}
