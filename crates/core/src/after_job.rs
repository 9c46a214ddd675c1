//! What becomes of a task whose Slurm job is over before the task was: pure rules.
//!
//! A job that ends takes nothing with it that was finished. So the question is only whether the rest is tried again, with
//! what, and when to stop: every rule below is bounded.

use amore_model::planted::{Fault, is_on};
use amore_slurm::JobEnd;

/// What is known of the tries of a task so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Tries {
    /// Jobs that ended by a fault that may be the task's own.
    pub faults: u32,
    /// Jobs that ended by no fault of the task's (node, preemption).
    pub misfortunes: u32,
    /// Time limits in a row without a new result.
    pub limits_without_progress: u32,
    /// Times that the memory was raised.
    pub raised_memory: u32,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Try the rest again.
    Again {
        /// With twice the memory.
        more_memory: bool,
        /// Without its reservation.
        leave_reservation: bool,
    },
    /// The steps that are left get this error; the class and the words.
    GiveUp {
        /// Exception class of the stored error.
        class: &'static str,
        /// Only the variable that was running; the others are tried again.
        only_running: bool,
    },
    /// No errors are stored: the user wanted it so.
    Stop,
}

/// Faults after which a task is given up.
pub const MAX_FAULTS: u32 = 3;
/// Nodes that may fail, and preemptions that may happen, under one task.
pub const MAX_MISFORTUNES: u32 = 20;
/// How often the memory is doubled.
pub const MAX_RAISES: u32 = 3;

/// The rule. `progress`: has the job brought a new result?
pub fn after_job(end: &JobEnd, tries: &mut Tries, progress: bool) -> Verdict {
    let again = Verdict::Again { more_memory: false, leave_reservation: false };
    match end {
        JobEnd::Cancelled { .. } if is_on(Fault::CancelledTriedAgain) => again,
        JobEnd::Cancelled { .. } => Verdict::Stop,
        JobEnd::ReservationGone { .. } => {
            tries.misfortunes += 1;
            if tries.misfortunes > MAX_MISFORTUNES {
                Verdict::GiveUp { class: "JobFailed", only_running: false }
            } else {
                // The next job asks for none; unless somebody gives it one, or a site does.
                Verdict::Again { more_memory: false, leave_reservation: true }
            }
        }
        JobEnd::Preempted | JobEnd::NodeFailed => {
            tries.misfortunes += 1;
            if tries.misfortunes > MAX_MISFORTUNES {
                Verdict::GiveUp { class: "JobFailed", only_running: false }
            } else {
                again
            }
        }
        JobEnd::TimeLimit => {
            tries.limits_without_progress = if progress { 0 } else { tries.limits_without_progress + 1 };
            // The next job would end at the same place.
            if tries.limits_without_progress >= 2 {
                tries.limits_without_progress = 0;
                Verdict::GiveUp { class: "TimeoutError", only_running: true }
            } else {
                again
            }
        }
        JobEnd::OutOfMemory => {
            if tries.raised_memory < MAX_RAISES {
                tries.raised_memory += 1;
                Verdict::Again { more_memory: true, leave_reservation: false }
            } else {
                Verdict::GiveUp { class: "MemoryError", only_running: true }
            }
        }
        JobEnd::Completed
        | JobEnd::Failed { .. }
        | JobEnd::TakenBack
        | JobEnd::Vanished
        | JobEnd::Other(_) => {
            tries.faults += u32::from(!is_on(Fault::FailuresNotCounted));
            if tries.faults >= MAX_FAULTS {
                Verdict::GiveUp { class: "JobFailed", only_running: false }
            } else {
                again
            }
        }
    }
}

/// Memory in MiB that is assumed of a job that asked for none, when it has to be raised.
const ASSUMED_MEM_MIB: u64 = 4096;

/// What a job asks for after one with `had` ran out of memory: twice as much, or as much as there is. `None`: it had that.
pub fn more_memory(had: Option<u64>, most: Option<u64>) -> Option<u64> {
    let twice = had.unwrap_or(ASSUMED_MEM_MIB).saturating_mul(2);
    match most {
        Some(most) if had.is_some_and(|had| had >= most) => None,
        Some(most) => Some(twice.min(most)),
        None => Some(twice),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use amore_model::JobState;
    use proptest::prelude::*;

    /// One of each. A new end does not compile until it is added here.
    pub fn every_end() -> Vec<JobEnd> {
        let ends = vec![
            JobEnd::Completed,
            JobEnd::Failed { code: (1, 0), launch: false },
            JobEnd::Failed { code: (0, 53), launch: true },
            JobEnd::TimeLimit,
            JobEnd::OutOfMemory,
            JobEnd::Preempted,
            JobEnd::NodeFailed,
            JobEnd::Cancelled { by: None },
            JobEnd::TakenBack,
            JobEnd::ReservationGone { reservation: "upex_1".to_owned() },
            JobEnd::Vanished,
            JobEnd::Other(JobState::Revoked),
        ];
        for end in &ends {
            match end {
                JobEnd::Completed
                | JobEnd::Failed { .. }
                | JobEnd::TimeLimit
                | JobEnd::OutOfMemory
                | JobEnd::Preempted
                | JobEnd::NodeFailed
                | JobEnd::Cancelled { .. }
                | JobEnd::TakenBack
                | JobEnd::ReservationGone { .. }
                | JobEnd::Vanished
                | JobEnd::Other(_) => {}
            }
        }
        ends
    }

    /// A cancellation ends a task at once, and would make every sequence with one bounded.
    fn any_end() -> impl Strategy<Value = JobEnd> {
        let ends = every_end().into_iter().filter(|end| !matches!(end, JobEnd::Cancelled { .. }));
        proptest::sample::select(ends.collect::<Vec<_>>())
    }

    #[test]
    fn each_end_alone_is_bounded_too() {
        for end in every_end() {
            let mut tries = Tries::default();
            let verdicts: Vec<Verdict> = (0..60).map(|_| after_job(&end, &mut tries, false)).collect();
            assert!(verdicts.iter().any(|verdict| !matches!(verdict, Verdict::Again { .. })), "{end}");
        }
    }

    proptest! {
        /// Whatever happens, a task whose jobs bring nothing ends after a bounded number of them.
        #[test]
        fn retries_are_bounded(ends in proptest::collection::vec(any_end(), 60)) {
            let mut tries = Tries::default();
            let given_up = ends.iter().any(|end| {
                matches!(after_job(end, &mut tries, false), Verdict::GiveUp { .. })
            });
            prop_assert!(given_up);
        }
    }

    #[test]
    fn a_time_limit_goes_on_while_there_is_progress() {
        let mut tries = Tries::default();
        for _ in 0..50 {
            assert!(matches!(after_job(&JobEnd::TimeLimit, &mut tries, true), Verdict::Again { .. }));
        }
        assert!(matches!(after_job(&JobEnd::TimeLimit, &mut tries, false), Verdict::Again { .. }));
        assert_eq!(
            after_job(&JobEnd::TimeLimit, &mut tries, false),
            Verdict::GiveUp { class: "TimeoutError", only_running: true }
        );
    }

    #[test]
    fn memory_is_raised_to_what_there_is_and_no_further() {
        for (had, most, expected) in [
            (Some(2500), Some(4000), Some(4000)),
            (Some(1000), Some(4000), Some(2000)),
            (Some(4000), Some(4000), None),
            (Some(8000), Some(4000), None),
            (None, Some(4000), Some(4000)),
            (None, Some(64_000), Some(8192)),
            (None, None, Some(8192)),
            (Some(2500), None, Some(5000)),
        ] {
            assert_eq!(more_memory(had, most), expected, "{had:?} of {most:?}");
        }
    }

    #[test]
    fn only_a_lack_of_memory_asks_for_more_of_it() {
        let mut tries = Tries::default();
        let raised = Verdict::Again { more_memory: true, leave_reservation: false };
        assert_eq!(after_job(&JobEnd::OutOfMemory, &mut tries, false), raised);
        for end in [JobEnd::Preempted, JobEnd::NodeFailed] {
            assert_ne!(after_job(&end, &mut tries, false), raised);
        }
        assert_eq!(after_job(&JobEnd::OutOfMemory, &mut tries, false), raised);
        assert_eq!(after_job(&JobEnd::OutOfMemory, &mut tries, false), raised);
        assert_eq!(
            after_job(&JobEnd::OutOfMemory, &mut tries, false),
            Verdict::GiveUp { class: "MemoryError", only_running: true }
        );
    }

    #[test]
    fn what_the_user_cancelled_is_not_tried_again() {
        let mut tries = Tries::default();
        let by = Some("alice".to_owned());
        assert_eq!(after_job(&JobEnd::Cancelled { by }, &mut tries, true), Verdict::Stop);
    }
}
