//! What each of Slurm's job states means: squeue(1) and sacct(1), "JOB STATE CODES", and Slurm's page "Job State Codes".

/// What a state means for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// The job waits for its start; its reason says why.
    Waits,
    /// It waits until a person releases it.
    Held,
    /// It runs, or is about to end.
    Runs,
    /// It has its nodes and stands still until it is resumed.
    Suspended,
    /// It is over.
    Over(Ended),
    /// None of the states that are known here.
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
    /// Its time limit.
    TimeLimit,
    /// Memory.
    OutOfMemory,
    /// It made room for another.
    Preempted,
    /// Its node.
    NodeFailed,
    /// Somebody cancelled it.
    Cancelled,
    /// Its reservation was deleted while it waited.
    ReservationGone,
    /// In a way that has no rule of its own here.
    Otherwise,
}

const STATES: [(&str, Meaning); 29] = [
    ("BOOT_FAIL", Meaning::Over(Ended::NodeFailed)),
    ("CANCELLED", Meaning::Over(Ended::Cancelled)),
    ("COMPLETED", Meaning::Over(Ended::Completed)),
    ("COMPLETING", Meaning::Runs),
    ("CONFIGURING", Meaning::Waits),
    ("DEADLINE", Meaning::Over(Ended::Otherwise)),
    // A requeue with priority (25.11).
    ("EXPEDITING", Meaning::Waits),
    ("FAILED", Meaning::Over(Ended::Failed)),
    ("LAUNCH_FAILED", Meaning::Over(Ended::NotStarted)),
    ("NODE_FAIL", Meaning::Over(Ended::NodeFailed)),
    ("OUT_OF_MEMORY", Meaning::Over(Ended::OutOfMemory)),
    ("PENDING", Meaning::Waits),
    // Its nodes are being switched on.
    ("POWER_UP_NODE", Meaning::Waits),
    ("PREEMPTED", Meaning::Over(Ended::Preempted)),
    ("RECONFIG_FAIL", Meaning::Over(Ended::NotStarted)),
    ("REQUEUED", Meaning::Waits),
    ("REQUEUE_FED", Meaning::Waits),
    ("REQUEUE_HOLD", Meaning::Held),
    ("RESIZING", Meaning::Runs),
    ("RESV_DEL_HOLD", Meaning::Over(Ended::ReservationGone)),
    // Another cluster of the federation runs it.
    ("REVOKED", Meaning::Over(Ended::Otherwise)),
    ("RUNNING", Meaning::Runs),
    ("SIGNALING", Meaning::Runs),
    // A requeue after a special exit code: held until somebody has looked at it.
    ("SPECIAL_EXIT", Meaning::Over(Ended::Otherwise)),
    ("STAGE_OUT", Meaning::Runs),
    ("STOPPED", Meaning::Suspended),
    ("SUSPENDED", Meaning::Suspended),
    ("TIMEOUT", Meaning::Over(Ended::TimeLimit)),
    ("UPDATE_DB", Meaning::Runs),
];

/// What a state means; sacct writes `CANCELLED by 1000`.
pub fn meaning(state: &str) -> Meaning {
    let word = state.split([' ', '+']).next().unwrap_or_default();
    STATES.iter().find(|(name, _)| *name == word).map_or(Meaning::Unknown, |(_, meaning)| *meaning)
}

/// Is a job in this state over for Slurm too? One that is over for us may still stand in the queue.
pub fn is_final(state: &str) -> bool {
    matches!(
        meaning(state),
        Meaning::Over(
            Ended::Completed
                | Ended::Failed
                | Ended::TimeLimit
                | Ended::OutOfMemory
                | Ended::Preempted
                | Ended::NodeFailed
                | Ended::Cancelled
        )
    ) || matches!(state, "DEADLINE" | "REVOKED")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::slurm::answers::tests::manual;

    #[test]
    fn every_state_of_the_manuals_has_a_meaning() {
        for version in ["22.05", "24.11", "26.05", "all"] {
            let names = manual(&format!("states-{version}.txt"));
            assert!(names.len() > 20, "{version}");
            for name in names {
                assert_ne!(meaning(&name), Meaning::Unknown, "{version}: {name}");
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
            assert_eq!(meaning(state), expected, "{state}");
        }
        assert!(is_final("TIMEOUT") && is_final("DEADLINE"));
        assert!(!is_final("LAUNCH_FAILED") && !is_final("RESV_DEL_HOLD") && !is_final("SPECIAL_EXIT"));
    }
}
