//! The actions of users, and the faults.

use std::time::Duration;

use amore_intake::{ArrivedData, Subject};
use amore_model::Proposal;

use super::{super::service::subject, NODES};
use crate::{
    Generator,
    slurm::{AccountingFault, Fault, Hold, NextSubmission, Preempt},
};

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
    /// Data of a run appear, or grow, in pieces.
    Data {
        /// The run.
        run: u32,
        /// Which data.
        data: ArrivedData,
        /// How many pieces.
        pieces: u32,
        /// The time between them.
        every: Duration,
    },
    /// Somebody sends an event. One with the same number is the same event again.
    Event {
        /// Identifies it.
        id: u32,
        /// What it is about.
        about: About,
        /// It says that no more files follow.
        complete: bool,
    },
    /// Somebody runs `amore trigger`.
    Trigger(u32, ArrivedData),
    /// `kill -9` of the service on a host.
    KillService(usize),
    /// The service on a host is restarted.
    RestartService(usize),
    /// The service on a host is stopped for a while, by SIGSTOP.
    SuspendService(usize, Duration),
    /// Folders of runs cannot be listed for a while.
    Unlistable(Duration),
    /// The other directory refuses requests for a while.
    OtherBroken(Duration),
}

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// Data of a run of the proposal.
    Run(u32, ArrivedData),
    /// A run of a proposal that has no database.
    OtherProposal,
    /// Nobody understands it.
    Nonsense,
}

impl About {
    /// The run, if it is understood.
    pub(in crate::world) fn subject(self) -> Option<Subject> {
        match self {
            About::Run(run, data) => Some(subject((run, data))),
            About::OtherProposal => {
                Some(Subject { proposal: Proposal(4321), ..subject((1, ArrivedData::Raw)) })
            }
            About::Nonsense => None,
        }
    }
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
    pub(super) fn is_fault_of_jobs(&self) -> bool {
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
            | Act::Accounting(..)
            | Act::Data { .. }
            | Act::Event { .. }
            | Act::Trigger(..)
            | Act::Unlistable(_)
            | Act::OtherBroken(_) => false,
            Act::KillService(_) | Act::RestartService(_) | Act::SuspendService(..) => true,
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
    pub(super) fn explains(&self) -> u32 {
        match self {
            // Running work is lost, or its end is not noticed.
            Act::Kill(_)
            | Act::Interrupt(_)
            | Act::Suspend(..)
            | Act::ClockJumps(..)
            | Act::WorkerDies(_)
            | Act::LateFiles(..)
            | Act::Reserve(_)
            | Act::EndReservation
            | Act::KillService(_)
            | Act::RestartService(_)
            | Act::SuspendService(..) => 1,
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

pub(super) fn act(chance: &mut Generator, runs: u32) -> Act {
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
