//! Faults that can be switched on, to show that the simulation finds them: `make simulate-faults`.
//!
//! Only builds with the feature `planted-faults` have them. In all others [`is_on`] is `false` at compile time, and what it
//! guards is not compiled in.

/// A fault in the coordinator's rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A job is submitted before the intent to do so is in the ledger.
    SubmittedWithoutIntent,
    /// An sbatch that has no answer counts as refused.
    LostAnswerIsRefusal,
    /// The fragment that comes last wins, of whichever plan and attempt.
    LastFragmentWins,
    /// Tasks that wait for others are not released.
    WaitNeverReleased,
    /// Tasks are released before the results that they need are collected.
    ReleasedBeforeCollected,
    /// A write does not check whether its process is still the owner.
    DeposedNotChecked,
    /// The term of an owner is not renewed.
    LeaseNotRenewed,
    /// A lease is taken while it is held.
    LeaseTakenWhileHeld,
    /// That a job has failed is not counted.
    FailuresNotCounted,
    /// Tasks of a worker that died are not tried again.
    LostTaskNotTried,
    /// The loss of a worker costs all tasks that are in progress.
    LostWorkerCostsAll,
    /// One job more than `concurrent_jobs` is submitted.
    OneJobTooMany,
    /// A job of an earlier owner is not adopted but submitted again.
    AdoptedAsNew,
    /// Tasks that have ended are not forgotten.
    FinishedNotForgotten,
    /// The files of an attempt that is over are not removed.
    FilesNotRemoved,
    /// The stamp of a plan follows the clock, also backwards.
    StampFollowsClock,
    /// More is added to a write whose answer was lost.
    UnansweredWriteChanged,
    /// Results that were reported and are not seen yet are not waited for.
    UnseenResultsIgnored,
    /// A command ends without the ledger's answer to its last writes.
    LedgerNotWaitedFor,
    /// The end of a job whose worker says nothing is not noticed.
    SilentEndNotNoticed,
    /// A job whose submission had no answer is looked for once.
    LookedForOnce,
    /// A task whose job was cancelled is tried again.
    CancelledTriedAgain,
    /// How a job stands in the queue is not told.
    WaitNotTold,
    /// A job whose number was given to another one is taken for it.
    TokenNotCompared,
    /// Messages of a worker of the version before, which knows no tokens, are ignored.
    OlderWorkerIgnored,
}

impl Fault {
    /// All of them.
    pub const ALL: [Fault; 25] = [
        Fault::SubmittedWithoutIntent,
        Fault::LostAnswerIsRefusal,
        Fault::LastFragmentWins,
        Fault::WaitNeverReleased,
        Fault::ReleasedBeforeCollected,
        Fault::DeposedNotChecked,
        Fault::LeaseNotRenewed,
        Fault::LeaseTakenWhileHeld,
        Fault::FailuresNotCounted,
        Fault::LostTaskNotTried,
        Fault::LostWorkerCostsAll,
        Fault::OneJobTooMany,
        Fault::AdoptedAsNew,
        Fault::FinishedNotForgotten,
        Fault::FilesNotRemoved,
        Fault::StampFollowsClock,
        Fault::UnansweredWriteChanged,
        Fault::UnseenResultsIgnored,
        Fault::LedgerNotWaitedFor,
        Fault::SilentEndNotNoticed,
        Fault::LookedForOnce,
        Fault::CancelledTriedAgain,
        Fault::WaitNotTold,
        Fault::TokenNotCompared,
        Fault::OlderWorkerIgnored,
    ];
}

#[cfg(feature = "planted-faults")]
mod switch {
    use std::cell::Cell;

    use super::Fault;

    thread_local! {
        static ON: Cell<Option<Fault>> = const { Cell::new(None) };
    }

    /// Switches a fault on for this thread, or all off.
    pub fn switch(fault: Option<Fault>) {
        ON.set(fault);
    }

    /// Is this fault switched on?
    pub fn is_on(fault: Fault) -> bool {
        ON.get() == Some(fault)
    }
}

#[cfg(feature = "planted-faults")]
pub use switch::{is_on, switch};

/// Is this fault switched on?
#[cfg(not(feature = "planted-faults"))]
pub const fn is_on(_: Fault) -> bool {
    false
}
