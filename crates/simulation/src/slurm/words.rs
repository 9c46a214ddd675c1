//! Slurm's messages, as recorded (`slurm-tests/recorded/22.05-compose`).

use std::time::Duration;

/// The prefix of the reason for a refused submission.
pub(super) const FAILED: &str = "sbatch: error: Batch job submission failed: ";
pub(super) const POLICY: &str =
    "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)";
pub(super) const NODES: &str = "Requested node configuration is not available";
pub(super) const DEAD: &str = "Unable to contact slurm controller (connect failure)";
pub(super) const HUNG: &str = "Socket timed out on send/recv operation";
pub(super) const UNKNOWN_JOB: &str = "Invalid job id specified";

/// The result of a command, and how long it takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// Exit code.
    pub code: i32,
    /// The time until the command ends.
    pub delay: Duration,
}

/// A command fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub stdout: String,
    pub words: String,
    pub code: i32,
    /// Whether the simulation does not support the command: an answer would be made up.
    pub not_known: bool,
}

impl Refusal {
    pub fn new(words: impl Into<String>) -> Self {
        Refusal { stdout: String::new(), words: words.into(), code: 1, not_known: false }
    }

    pub fn code(self, code: i32) -> Self {
        Refusal { code, ..self }
    }

    /// The failure of a submission.
    pub fn of_submission(words: &str) -> Self {
        Refusal::new(format!("{FAILED}{words}"))
    }

    pub fn not_known(what: impl std::fmt::Display) -> Self {
        Refusal {
            not_known: true,
            ..Refusal::new(format!("error: the simulated Slurm does not know {what}"))
        }
    }
}

/// Formats a time as scontrol and sacct do: `1-00:00:00`, `00:01:00`.
pub(super) fn long_time(minutes: u64) -> String {
    let (days, rest) = (minutes / 1440, minutes % 1440);
    let clock = format!("{:02}:{:02}:00", rest / 60, rest % 60);
    if days > 0 { format!("{days}-{clock}") } else { clock }
}

/// Formats a time as squeue and sinfo do: `1-00:00:00`, `2:00:00`, `1:00`.
pub(super) fn short_time(minutes: u64) -> String {
    let (days, hours, rest) = (minutes / 1440, minutes / 60 % 24, minutes % 60);
    match (days, hours) {
        (0, 0) => format!("{rest}:00"),
        (0, _) => format!("{hours}:{rest:02}:00"),
        _ => format!("{days}-{hours:02}:{rest:02}:00"),
    }
}
