//! How a Slurm job ended.

use std::fmt;

use amore_model::JobState;

/// How a job ended, as far as Amore distinguishes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobEnd {
    /// Exit code 0, although work is left.
    Completed,
    /// The script failed.
    Failed {
        /// Exit code, and the signal that ended it.
        code: (i32, i32),
        /// Slurm could not even start it (`0:53`, `JobLaunchFailure`).
        launch: bool,
    },
    /// It reached its time limit, or the end of its reservation.
    TimeLimit,
    /// The kernel killed it because it ran out of memory.
    OutOfMemory,
    /// It was preempted by another job.
    Preempted,
    /// The node failed.
    NodeFailed,
    /// Somebody cancelled it.
    Cancelled {
        /// By whom, if that is known.
        by: Option<String>,
    },
    /// Slurm itself cancelled the job while it started: after the controller was killed and forgot a job, it assigned a
    /// number that a node still knows.
    TakenBack,
    /// Its reservation is gone, so it will not start.
    ReservationGone {
        /// Name of the reservation.
        reservation: String,
    },
    /// Neither the queue nor accounting knows it.
    Vanished,
    /// Any other of Slurm's final states.
    Other(JobState),
}

impl fmt::Display for JobEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JobEnd::Completed => f.write_str("ended before all work was done"),
            JobEnd::Failed { launch: true, .. } => {
                f.write_str("could not be started on its node (JobLaunchFailure)")
            }
            JobEnd::Failed { code: (code, 0), .. } => write!(f, "failed with exit code {code} (FAILED)"),
            JobEnd::Failed { code: (_, signal), .. } => write!(f, "was killed by signal {signal} (FAILED)"),
            JobEnd::TimeLimit => f.write_str("reached its time limit (TIMEOUT)"),
            JobEnd::OutOfMemory => f.write_str("ran out of memory (OUT_OF_MEMORY)"),
            JobEnd::Preempted => f.write_str("was preempted by another job (PREEMPTED)"),
            JobEnd::NodeFailed => f.write_str("lost its node (NODE_FAIL)"),
            JobEnd::Cancelled { by: Some(by) } => write!(f, "was cancelled by {by} (CANCELLED)"),
            JobEnd::Cancelled { by: None } => f.write_str("was cancelled (CANCELLED)"),
            JobEnd::TakenBack => f.write_str("was cancelled by Slurm before it started work (CANCELLED)"),
            JobEnd::ReservationGone { reservation } => {
                write!(f, "waited for the reservation {reservation}, which no longer exists")
            }
            JobEnd::Vanished => f.write_str("is no longer known to Slurm"),
            JobEnd::Other(state) => write!(f, "ended as {state}"),
        }
    }
}

impl JobEnd {
    /// Refines the end with what else is known. `started`: its worker has reported. `had_node`: it had a node.
    pub fn refined(self, started: bool, had_node: bool) -> JobEnd {
        match self {
            // An administrator cancels a job while it waits or runs, not at the moment it starts. Without accounting it is not
            // known who cancelled; then treat it as cancelled by a user, because that must not be submitted again.
            JobEnd::Cancelled { by } if had_node && !started && by.as_deref() == Some("root") => {
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
        assert_eq!(by("root").refined(false, true), JobEnd::TakenBack);
        assert_eq!(by("root").refined(true, true), by("root"));
        assert_eq!(by("root").refined(false, false), by("root"));
        assert_eq!(by("alice").refined(false, true), by("alice"));
        let unknown = JobEnd::Cancelled { by: None };
        assert_eq!(unknown.clone().refined(false, true), unknown);
        assert_eq!(unknown.clone().refined(true, true), unknown);
        assert_eq!(unknown.clone().refined(false, false), unknown);
        assert_eq!(JobEnd::TimeLimit.refined(false, true), JobEnd::TimeLimit);
    }
}
