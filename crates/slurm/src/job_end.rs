//! How a Slurm job ended.

use std::fmt;

use amore_model::JobState;

/// How a job ended, in the words that matter here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobEnd {
    /// Exit code 0, and yet not all is done.
    Completed,
    /// The script failed.
    Failed {
        /// Exit code, and the signal that ended it.
        code: (i32, i32),
        /// Slurm could not even start it (`0:53`, `JobLaunchFailure`).
        launch: bool,
    },
    /// Its time limit, or the end of its reservation.
    TimeLimit,
    /// The kernel killed for memory.
    OutOfMemory,
    /// It had to make room for another job.
    Preempted,
    /// The node failed.
    NodeFailed,
    /// Somebody cancelled it.
    Cancelled {
        /// Who, if that is known.
        by: Option<String>,
    },
    /// Slurm itself took it back while it began: its number is one that a node still knows, after the controller was
    /// killed and has forgotten a job.
    TakenBack,
    /// Its reservation is gone and it will not start.
    ReservationGone {
        /// Which.
        reservation: String,
    },
    /// Neither the queue nor the accounting knows it.
    Vanished,
    /// Any other of Slurm's final states.
    Other(JobState),
}

impl fmt::Display for JobEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JobEnd::Completed => f.write_str("ended before its work was done"),
            JobEnd::Failed { launch: true, .. } => {
                f.write_str("could not be started on its node (JobLaunchFailure)")
            }
            JobEnd::Failed { code: (code, 0), .. } => write!(f, "failed with exit code {code} (FAILED)"),
            JobEnd::Failed { code: (_, signal), .. } => write!(f, "was ended by signal {signal} (FAILED)"),
            JobEnd::TimeLimit => f.write_str("reached its time limit (TIMEOUT)"),
            JobEnd::OutOfMemory => f.write_str("ran out of memory (OUT_OF_MEMORY)"),
            JobEnd::Preempted => f.write_str("had to make room for another job (PREEMPTED)"),
            JobEnd::NodeFailed => f.write_str("lost its node (NODE_FAIL)"),
            JobEnd::Cancelled { by: Some(by) } => write!(f, "was cancelled by {by} (CANCELLED)"),
            JobEnd::Cancelled { by: None } => f.write_str("was cancelled (CANCELLED)"),
            JobEnd::TakenBack => f.write_str("was cancelled by Slurm before its first word (CANCELLED)"),
            JobEnd::ReservationGone { reservation } => {
                write!(f, "waited for the reservation {reservation}, which is gone")
            }
            JobEnd::Vanished => f.write_str("is known to Slurm no more"),
            JobEnd::Other(state) => write!(f, "ended as {state}"),
        }
    }
}

impl JobEnd {
    /// In the light of what else is known: did its worker say anything, and had it a node?
    pub fn given(self, began: bool, had_node: bool) -> JobEnd {
        match self {
            // An administrator who cancels a job finds it waiting, or at work. Without accounting nobody tells who it was:
            // then a cancellation is a cancellation, for a user's must not be submitted again.
            JobEnd::Cancelled { by } if had_node && !began && by.as_deref() == Some("root") => {
                JobEnd::TakenBack
            }
            end => end,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_root_s_cancellation_of_a_job_that_was_just_beginning_is_slurm_s_own() {
        let by = |who: &str| JobEnd::Cancelled { by: Some(who.to_owned()) };
        assert_eq!(by("root").given(false, true), JobEnd::TakenBack);
        assert_eq!(by("root").given(true, true), by("root"));
        assert_eq!(by("root").given(false, false), by("root"));
        assert_eq!(by("alice").given(false, true), by("alice"));
        let unknown = JobEnd::Cancelled { by: None };
        assert_eq!(unknown.clone().given(false, true), unknown);
        assert_eq!(unknown.clone().given(true, true), unknown);
        assert_eq!(unknown.clone().given(false, false), unknown);
        assert_eq!(JobEnd::TimeLimit.given(false, true), JobEnd::TimeLimit);
    }
}
