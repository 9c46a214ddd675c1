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
    Over(Ending),
    /// A state that Amore does not know.
    Unknown,
}

/// How a job is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
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
            JobState::BootFail | JobState::NodeFail => Meaning::Over(Ending::NodeFailed),
            JobState::Cancelled => Meaning::Over(Ending::Cancelled),
            JobState::Completed => Meaning::Over(Ending::Completed),
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
            JobState::Deadline | JobState::Revoked | JobState::SpecialExit => {
                Meaning::Over(Ending::Otherwise)
            }
            JobState::Failed => Meaning::Over(Ending::Failed),
            JobState::LaunchFailed | JobState::ReconfigFail => Meaning::Over(Ending::NotStarted),
            JobState::OutOfMemory => Meaning::Over(Ending::OutOfMemory),
            JobState::Preempted => Meaning::Over(Ending::Preempted),
            JobState::RequeueHold => Meaning::Held,
            JobState::ResvDelHold => Meaning::Over(Ending::ReservationGone),
            JobState::Stopped | JobState::Suspended => Meaning::Suspended,
            JobState::TimedOut => Meaning::Over(Ending::TimeLimit),
            JobState::Unknown(_) => Meaning::Unknown,
        }
    }
}

/// Whether a job in this state is over for Slurm too. One that is over for Amore may still be in the queue.
pub fn is_final(state: &JobState) -> bool {
    match Meaning::of(state) {
        Meaning::Over(
            Ending::Completed
            | Ending::Failed
            | Ending::TimeLimit
            | Ending::OutOfMemory
            | Ending::Preempted
            | Ending::NodeFailed
            | Ending::Cancelled,
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
            ("POWER_UP_NODE", Meaning::Waits),
            ("EXPEDITING", Meaning::Waits),
            ("REQUEUE_HOLD", Meaning::Held),
            ("RUNNING", Meaning::Runs),
            ("COMPLETING", Meaning::Runs),
            ("SUSPENDED", Meaning::Suspended),
            ("LAUNCH_FAILED", Meaning::Over(Ending::NotStarted)),
            ("CANCELLED by 1000", Meaning::Over(Ending::Cancelled)),
            ("NODE_FAIL", Meaning::Over(Ending::NodeFailed)),
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
