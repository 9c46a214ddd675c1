//! Slurm's state of a job: squeue(1) and sacct(1), "JOB STATE CODES", and Slurm's page "Job State Codes".

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! states {
    ($($(#[$doc:meta])* $name:ident = $word:literal,)*) => {
        /// Slurm's state of a job. Stored and sent under Slurm's name.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(from = "String", into = "String")]
        pub enum JobState {
            $(
                #[doc = concat!("`", $word, "`.")]
                $(#[$doc])*
                $name,
            )*
            /// A state that is not listed here, under Slurm's name.
            Unknown(String),
        }

        impl JobState {
            fn of_word(word: &str) -> Self {
                match word {
                    $($word => JobState::$name,)*
                    other => JobState::Unknown(other.to_owned()),
                }
            }

            /// Slurm's name of the state.
            pub fn word(&self) -> &str {
                match self {
                    $(JobState::$name => $word,)*
                    JobState::Unknown(word) => word,
                }
            }
        }
    };
}

states! {
    BootFail = "BOOT_FAIL",
    Cancelled = "CANCELLED",
    Completed = "COMPLETED",
    Completing = "COMPLETING",
    Configuring = "CONFIGURING",
    Deadline = "DEADLINE",
    /// A requeue with priority (25.11).
    Expediting = "EXPEDITING",
    Failed = "FAILED",
    LaunchFailed = "LAUNCH_FAILED",
    NodeFail = "NODE_FAIL",
    OutOfMemory = "OUT_OF_MEMORY",
    Pending = "PENDING",
    /// Its nodes are being powered up.
    PowerUpNode = "POWER_UP_NODE",
    Preempted = "PREEMPTED",
    ReconfigFail = "RECONFIG_FAIL",
    Requeued = "REQUEUED",
    RequeueFed = "REQUEUE_FED",
    RequeueHold = "REQUEUE_HOLD",
    Resizing = "RESIZING",
    ResvDelHold = "RESV_DEL_HOLD",
    /// Another cluster of the federation runs the job.
    Revoked = "REVOKED",
    Running = "RUNNING",
    Signaling = "SIGNALING",
    /// Requeued after a special exit code, and held until somebody has checked it.
    SpecialExit = "SPECIAL_EXIT",
    StageOut = "STAGE_OUT",
    Stopped = "STOPPED",
    Suspended = "SUSPENDED",
    TimedOut = "TIMEOUT",
    UpdateDb = "UPDATE_DB",
}

impl JobState {
    /// Parses the output of a Slurm command: sacct writes `CANCELLED by 1000`.
    pub fn of(text: &str) -> Self {
        JobState::of_word(text.split([' ', '+']).next().unwrap_or_default())
    }
}

impl From<String> for JobState {
    fn from(word: String) -> Self {
        JobState::of_word(&word)
    }
}

impl From<JobState> for String {
    fn from(state: JobState) -> Self {
        state.word().to_owned()
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
