//! What each of Slurm's job states means.

use amore_model::JobState;

/// What a state means for Amore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// The job waits for its start; its reason says why.
    Waits,
    /// It waits until a person releases it.
    Held,
    /// It runs, or is about to end.
    Runs,
    /// It has its nodes, but is stopped until it is resumed.
    Suspended,
    /// It is over.
    Over(Ended),
    /// A state that Amore does not know.
    Unknown,
}

/// How a job is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Exit code 0.
    Completed,
    /// Exit code and signal say how.
    Failed,
    /// It could not be started on its node.
    NotStarted,
    /// It reached its time limit.
    TimeLimit,
    /// It ran out of memory.
    OutOfMemory,
    /// It was preempted by another job.
    Preempted,
    /// Its node failed.
    NodeFailed,
    /// Somebody cancelled it.
    Cancelled,
    /// Its reservation was deleted while it waited.
    ReservationGone,
    /// In another way.
    Otherwise,
}

impl Meaning {
    /// The meaning of a state.
    pub fn of(state: &JobState) -> Self {
        match state {
            JobState::BootFail | JobState::NodeFail => Meaning::Over(Ended::NodeFailed),
            JobState::Cancelled => Meaning::Over(Ended::Cancelled),
            JobState::Completed => Meaning::Over(Ended::Completed),
            JobState::Completing
            | JobState::Resizing
            | JobState::Running
            | JobState::Signaling
            | JobState::StageOut
            | JobState::UpdateDb => Meaning::Runs,
            JobState::Configuring
            | JobState::Expediting
            | JobState::Pending
            | JobState::PowerUpNode
            | JobState::Requeued
            | JobState::RequeueFed => Meaning::Waits,
            JobState::Deadline | JobState::Revoked | JobState::SpecialExit => Meaning::Over(Ended::Otherwise),
            JobState::Failed => Meaning::Over(Ended::Failed),
            JobState::LaunchFailed | JobState::ReconfigFail => Meaning::Over(Ended::NotStarted),
            JobState::OutOfMemory => Meaning::Over(Ended::OutOfMemory),
            JobState::Preempted => Meaning::Over(Ended::Preempted),
            JobState::RequeueHold => Meaning::Held,
            JobState::ResvDelHold => Meaning::Over(Ended::ReservationGone),
            JobState::Stopped | JobState::Suspended => Meaning::Suspended,
            JobState::TimedOut => Meaning::Over(Ended::TimeLimit),
            JobState::Unknown(_) => Meaning::Unknown,
        }
    }
}

/// Whether a job in this state is over for Slurm too. One that is over for Amore may still be in the queue.
pub fn is_final(state: &JobState) -> bool {
    match Meaning::of(state) {
        Meaning::Over(
            Ended::Completed
            | Ended::Failed
            | Ended::TimeLimit
            | Ended::OutOfMemory
            | Ended::Preempted
            | Ended::NodeFailed
            | Ended::Cancelled,
        ) => true,
        Meaning::Over(_) => matches!(state, JobState::Deadline | JobState::Revoked),
        Meaning::Waits | Meaning::Held | Meaning::Runs | Meaning::Suspended | Meaning::Unknown => false,
    }
}

/// Whether a job in this state is over for Slurm, or about to be.
pub fn is_ending(state: &JobState) -> bool {
    is_final(state) || *state == JobState::Completing
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recorded::manual;

    #[test]
    fn every_state_of_the_manuals_has_a_meaning() {
        for version in ["22.05", "24.11", "26.05", "all"] {
            let names = manual(&format!("states-{version}.txt"));
            assert!(names.len() > 20, "{version}");
            for name in names {
                let state = JobState::of(&name);
                assert_ne!(Meaning::of(&state), Meaning::Unknown, "{version}: {name}");
                assert_eq!(state.word(), name, "{version}");
            }
        }
    }

    #[test]
    fn over_is_over_and_what_runs_runs() {
        for (state, expected) in [
            ("PENDING", Meaning::Waits),
            ("CONFIGURING", Meaning::Waits),
            ("REQUEUE_HOLD", Meaning::Held),
            ("RUNNING", Meaning::Runs),
            ("COMPLETING", Meaning::Runs),
            ("SUSPENDED", Meaning::Suspended),
            ("LAUNCH_FAILED", Meaning::Over(Ended::NotStarted)),
            ("CANCELLED by 1000", Meaning::Over(Ended::Cancelled)),
            ("NODE_FAIL", Meaning::Over(Ended::NodeFailed)),
            ("HIBERNATING", Meaning::Unknown),
            ("", Meaning::Unknown),
        ] {
            assert_eq!(Meaning::of(&JobState::of(state)), expected, "{state}");
        }
        assert!(is_final(&JobState::TimedOut) && is_final(&JobState::Deadline));
        for lingers in [JobState::LaunchFailed, JobState::ResvDelHold, JobState::SpecialExit] {
            assert!(!is_final(&lingers), "{lingers}");
        }
        assert!(is_ending(&JobState::Completing) && !is_ending(&JobState::Running));
    }
}
