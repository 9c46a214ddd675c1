//! What each of Slurm's job states means: squeue(1) and sacct(1), "JOB STATE CODES", and Slurm's page "Job State Codes".

use std::fmt;

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

macro_rules! states {
    ($($(#[$doc:meta])* $name:ident = $word:literal => $meaning:expr,)*) => {
        /// Slurm's state of a job.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum JobState {
            $(
                #[doc = concat!("`", $word, "`.")]
                $(#[$doc])*
                $name,
            )*
            /// None of the states that are known here, in Slurm's word.
            Unknown(String),
        }

        impl JobState {
            fn of_word(word: &str) -> Self {
                match word {
                    $($word => JobState::$name,)*
                    other => JobState::Unknown(other.to_owned()),
                }
            }

            /// Slurm's word.
            pub fn word(&self) -> &str {
                match self {
                    $(JobState::$name => $word,)*
                    JobState::Unknown(word) => word,
                }
            }

            /// What it means for us.
            pub fn meaning(&self) -> Meaning {
                match self {
                    $(JobState::$name => $meaning,)*
                    JobState::Unknown(_) => Meaning::Unknown,
                }
            }
        }
    };
}

states! {
    BootFail = "BOOT_FAIL" => Meaning::Over(Ended::NodeFailed),
    Cancelled = "CANCELLED" => Meaning::Over(Ended::Cancelled),
    Completed = "COMPLETED" => Meaning::Over(Ended::Completed),
    Completing = "COMPLETING" => Meaning::Runs,
    Configuring = "CONFIGURING" => Meaning::Waits,
    Deadline = "DEADLINE" => Meaning::Over(Ended::Otherwise),
    /// A requeue with priority (25.11).
    Expediting = "EXPEDITING" => Meaning::Waits,
    Failed = "FAILED" => Meaning::Over(Ended::Failed),
    LaunchFailed = "LAUNCH_FAILED" => Meaning::Over(Ended::NotStarted),
    NodeFail = "NODE_FAIL" => Meaning::Over(Ended::NodeFailed),
    OutOfMemory = "OUT_OF_MEMORY" => Meaning::Over(Ended::OutOfMemory),
    Pending = "PENDING" => Meaning::Waits,
    /// Its nodes are being switched on.
    PowerUpNode = "POWER_UP_NODE" => Meaning::Waits,
    Preempted = "PREEMPTED" => Meaning::Over(Ended::Preempted),
    ReconfigFail = "RECONFIG_FAIL" => Meaning::Over(Ended::NotStarted),
    Requeued = "REQUEUED" => Meaning::Waits,
    RequeueFed = "REQUEUE_FED" => Meaning::Waits,
    RequeueHold = "REQUEUE_HOLD" => Meaning::Held,
    Resizing = "RESIZING" => Meaning::Runs,
    ResvDelHold = "RESV_DEL_HOLD" => Meaning::Over(Ended::ReservationGone),
    /// Another cluster of the federation runs it.
    Revoked = "REVOKED" => Meaning::Over(Ended::Otherwise),
    Running = "RUNNING" => Meaning::Runs,
    Signaling = "SIGNALING" => Meaning::Runs,
    /// A requeue after a special exit code: held until somebody has looked at it.
    SpecialExit = "SPECIAL_EXIT" => Meaning::Over(Ended::Otherwise),
    StageOut = "STAGE_OUT" => Meaning::Runs,
    Stopped = "STOPPED" => Meaning::Suspended,
    Suspended = "SUSPENDED" => Meaning::Suspended,
    TimedOut = "TIMEOUT" => Meaning::Over(Ended::TimeLimit),
    UpdateDb = "UPDATE_DB" => Meaning::Runs,
}

impl JobState {
    /// From what a command prints: sacct writes `CANCELLED by 1000`.
    pub fn of(text: &str) -> Self {
        JobState::of_word(text.split([' ', '+']).next().unwrap_or_default())
    }

    /// Is a job in this state over for Slurm too? One that is over for us may still stand in the queue.
    pub fn is_final(&self) -> bool {
        match self.meaning() {
            Meaning::Over(
                Ended::Completed
                | Ended::Failed
                | Ended::TimeLimit
                | Ended::OutOfMemory
                | Ended::Preempted
                | Ended::NodeFailed
                | Ended::Cancelled,
            ) => true,
            Meaning::Over(_) => matches!(self, JobState::Deadline | JobState::Revoked),
            Meaning::Waits | Meaning::Held | Meaning::Runs | Meaning::Suspended | Meaning::Unknown => false,
        }
    }

    /// Is it over for Slurm, or does it end?
    pub fn is_ending(&self) -> bool {
        self.is_final() || *self == JobState::Completing
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
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
                assert_ne!(state.meaning(), Meaning::Unknown, "{version}: {name}");
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
            assert_eq!(JobState::of(state).meaning(), expected, "{state}");
        }
        assert!(JobState::TimedOut.is_final() && JobState::Deadline.is_final());
        for lingers in [JobState::LaunchFailed, JobState::ResvDelHold, JobState::SpecialExit] {
            assert!(!lingers.is_final(), "{lingers}");
        }
        assert!(JobState::Completing.is_ending() && !JobState::Running.is_ending());
    }
}
