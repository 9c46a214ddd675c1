//! Faults that can be switched on to show that the simulation finds them: `make simulate-faults`.
//!
//! They exist only in builds with the feature `planted-faults`. In all others, [`is_on`] is `false` at compile time, and
//! the code that it guards is not compiled.

/// A fault in the coordinator's rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A job is submitted before the intent to do so is in the ledger.
    SubmittedWithoutIntent,
    /// An sbatch without an answer counts as refused.
    LostAnswerIsRefusal,
    /// The fragment that arrives last wins, from whatever plan and attempt.
    LastFragmentWins,
    /// Tasks that wait for others are not released.
    WaitNeverReleased,
    /// Tasks are released before the results that they need have been collected.
    ReleasedBeforeCollected,
    /// A write does not check whether its process is still the owner.
    DeposedNotChecked,
    /// The term of an owner is not renewed.
    LeaseNotRenewed,
    /// A lease is taken while it is held.
    LeaseTakenWhileHeld,
    /// Failures of a job are not counted.
    FailuresNotCounted,
    /// Tasks of a worker that died are not retried.
    LostTaskNotTried,
    /// The loss of a worker also ends all attempts in Slurm jobs.
    LostWorkerCostsAll,
    /// One job more than `concurrent_jobs` is submitted.
    OneJobTooMany,
    /// A job of an earlier owner is not adopted but submitted again.
    AdoptedAsNew,
    /// Tasks that have ended are not forgotten.
    FinishedNotForgotten,
    /// The files of an attempt that is over are not removed.
    FilesNotRemoved,
    /// The stamp of a plan follows the clock, even backwards.
    StampFollowsClock,
    /// A write whose answer was lost is extended before it is sent again.
    UnansweredWriteChanged,
    /// Reported results that are not visible yet are not waited for.
    UnseenResultsIgnored,
    /// A command ends without the ledger's answer to its last writes.
    LedgerNotWaitedFor,
    /// The end of a job with a silent worker is not noticed.
    SilentEndNotNoticed,
    /// A job whose submission got no answer is only looked up once.
    LookedForOnce,
    /// A task whose job was cancelled is retried.
    CancelledTriedAgain,
    /// Changes of a job's state in the queue are not reported.
    WaitNotTold,
    /// A job is taken for another one that has its number.
    TokenNotCompared,
    /// Messages of a worker of the previous version, which sends no tokens, are ignored.
    OlderWorkerIgnored,
    /// Results of other tasks of a run count as progress of a job that reached its time limit.
    OthersAreProgress,
    /// A task that needs values of the metadata catalogue does not wait for them.
    MymdcNotWaitedFor,
    /// Tasks that have waited for the metadata catalogue do not start when it answers.
    MymdcAnswerIgnored,
    /// Data that change while they are processed are not processed again.
    ChangeWhileProcessedIgnored,
    /// A request for other data of the same arrival has the name of the earlier one.
    OtherDataSameRequest,
    /// Data that were processed are processed again with each event.
    ProcessedDataNotKnown,
    /// Data that are being processed are given again with the next event.
    SameDataGivenTwice,
    /// A request that was lost with its directory is not given again.
    LostRequestNotGivenAgain,
    /// An arrival ends when the first of several directories has processed it.
    EndsWithFirstDirectory,
    /// An event that fails is tried for ever.
    NeverGivenUp,
    /// Who asks for the same work later gets its events, and who asked before gets none.
    EarlierListenerNotTold,
    /// Data count as processed although a directory has not processed them.
    HalfProcessedIsProcessed,
    /// Arrivals that an earlier life of the service has left open are forgotten.
    OpenArrivalsForgotten,
}

impl Fault {
    /// All faults.
    pub const ALL: [Fault; 38] = [
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
        Fault::OthersAreProgress,
        Fault::MymdcNotWaitedFor,
        Fault::MymdcAnswerIgnored,
        Fault::ChangeWhileProcessedIgnored,
        Fault::OtherDataSameRequest,
        Fault::ProcessedDataNotKnown,
        Fault::SameDataGivenTwice,
        Fault::LostRequestNotGivenAgain,
        Fault::EndsWithFirstDirectory,
        Fault::NeverGivenUp,
        Fault::EarlierListenerNotTold,
        Fault::HalfProcessedIsProcessed,
        Fault::OpenArrivalsForgotten,
    ];
}

#[cfg(feature = "planted-faults")]
mod switch {
    use std::cell::Cell;

    use super::Fault;

    thread_local! {
        static ON: Cell<Option<Fault>> = const { Cell::new(None) };
    }

    /// Switches a fault on for this thread, or all of them off.
    pub fn switch(fault: Option<Fault>) {
        ON.set(fault);
    }

    /// Whether this fault is switched on.
    pub fn is_on(fault: Fault) -> bool {
        ON.get() == Some(fault)
    }
}

#[cfg(feature = "planted-faults")]
pub use switch::{is_on, switch};

/// Whether this fault is switched on.
#[cfg(not(feature = "planted-faults"))]
pub const fn is_on(_: Fault) -> bool {
    false
}
