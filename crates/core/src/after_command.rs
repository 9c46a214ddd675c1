//! What becomes of the command of a variable whose Slurm job is over without its worker's word: a pure rule.
//!
//! A command is the user's and may have done half of its work: it is tried again only where it never began, or where the
//! node was taken from under it, and that a bounded number of times.

use amore_model::JobState;
use amore_slurm::JobEnd;

use crate::after_job::{MAX_FAULTS, Tries};

/// Nodes that may fail, and preemptions that may happen, under one command.
pub const MAX_MISFORTUNES: u32 = 3;

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AfterCommand {
    /// Submit it again.
    Again {
        /// Without its reservation.
        leave_reservation: bool,
    },
    /// That is its outcome.
    Ended {
        /// Slurm's state.
        state: JobState,
        /// What is known beside it.
        reason: String,
        /// Exit code, if it exited by itself.
        exit_code: Option<i32>,
        /// The signal that ended it.
        signal: Option<i32>,
    },
}

/// The rule.
pub fn after_command(end: &JobEnd, tries: &mut Tries) -> AfterCommand {
    let ended = |state: JobState, reason: String| AfterCommand::Ended {
        state,
        reason,
        exit_code: None,
        signal: None,
    };
    let again = AfterCommand::Again { leave_reservation: false };
    match end {
        JobEnd::ReservationGone { reservation } => {
            tries.misfortunes += 1;
            if tries.misfortunes <= MAX_MISFORTUNES {
                return AfterCommand::Again { leave_reservation: true };
            }
            ended(
                JobState::Cancelled,
                format!("its reservation {reservation} is gone, {} times", tries.misfortunes),
            )
        }
        JobEnd::Preempted | JobEnd::NodeFailed => {
            tries.misfortunes += 1;
            if tries.misfortunes <= MAX_MISFORTUNES {
                return again;
            }
            let state = if *end == JobEnd::Preempted { JobState::Preempted } else { JobState::NodeFail };
            ended(state, format!("{} times", tries.misfortunes))
        }
        JobEnd::Failed { launch: true, .. } => {
            tries.faults += 1;
            if tries.faults < MAX_FAULTS {
                return again;
            }
            ended(
                JobState::Failed,
                format!("Slurm could not start it, {} times (JobLaunchFailure)", tries.faults),
            )
        }
        // It had not begun.
        JobEnd::TakenBack => {
            tries.faults += 1;
            if tries.faults < MAX_FAULTS {
                return again;
            }
            ended(JobState::Cancelled, format!("by Slurm before it started, {} times", tries.faults))
        }
        JobEnd::Failed { code: (code, signal), launch: false } => AfterCommand::Ended {
            state: JobState::Failed,
            reason: String::new(),
            exit_code: (*signal == 0).then_some(*code),
            signal: (*signal != 0).then_some(*signal),
        },
        JobEnd::TimeLimit => ended(JobState::TimedOut, String::new()),
        JobEnd::OutOfMemory => ended(JobState::OutOfMemory, String::new()),
        JobEnd::Cancelled { by } => {
            ended(JobState::Cancelled, by.as_ref().map(|by| format!("by {by}")).unwrap_or_default())
        }
        // Whether the command has succeeded is not known: it is not taken for a success.
        JobEnd::Completed => {
            ended(JobState::Failed, "its worker did not say how the command ended".to_owned())
        }
        JobEnd::Vanished => {
            ended(JobState::Unknown("UNKNOWN".to_owned()), "it is no longer known to Slurm".to_owned())
        }
        JobEnd::Other(state) => ended(state.clone(), String::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::after_job::tests::every_end;

    #[test]
    fn what_has_run_into_its_own_end_is_not_run_again() {
        for end in [
            JobEnd::TimeLimit,
            JobEnd::OutOfMemory,
            JobEnd::Cancelled { by: None },
            JobEnd::Failed { code: (1, 0), launch: false },
            JobEnd::Completed,
            JobEnd::Vanished,
            JobEnd::Other(JobState::Deadline),
        ] {
            let verdict = after_command(&end, &mut Tries::default());
            assert!(matches!(verdict, AfterCommand::Ended { exit_code: None | Some(1), .. }), "{end}");
        }
    }

    #[test]
    fn every_end_is_the_last_after_a_bounded_number_of_times() {
        for end in every_end() {
            let mut tries = Tries::default();
            let verdicts: Vec<AfterCommand> = (0..10).map(|_| after_command(&end, &mut tries)).collect();
            assert!(matches!(verdicts[9], AfterCommand::Ended { .. }), "{end}");
        }
    }

    #[test]
    fn what_was_taken_from_it_is_run_again_a_bounded_number_of_times() {
        for (end, times) in [
            (JobEnd::NodeFailed, MAX_MISFORTUNES),
            (JobEnd::Preempted, MAX_MISFORTUNES),
            (JobEnd::Failed { code: (0, 53), launch: true }, MAX_FAULTS - 1),
            (JobEnd::TakenBack, MAX_FAULTS - 1),
        ] {
            let mut tries = Tries::default();
            for _ in 0..times {
                let again = AfterCommand::Again { leave_reservation: false };
                assert_eq!(after_command(&end, &mut tries), again);
            }
            assert!(matches!(after_command(&end, &mut tries), AfterCommand::Ended { .. }), "{end}");
        }
    }
}
