//! Effects of a cluster on the world around it.

use super::job::{Ended, Execution, Key};
use crate::Moment;

/// A node starts to execute a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// The cluster.
    pub cluster: String,
    /// This execution.
    pub execution: Execution,
    /// The job's number: `SLURM_JOB_ID`.
    pub job: u64,
    /// Identifies the job; numbers may be assigned twice.
    pub key: Key,
    /// Its owner.
    pub user: String,
    /// The partition: `SLURM_JOB_PARTITION`.
    pub partition: String,
    /// The nodes; the script runs on the first one.
    pub nodes: Vec<String>,
    /// The working directory.
    pub directory: String,
    /// Path of the log. If it cannot be written, the world reports [`Exit::NotStarted`].
    pub log: String,
    /// The script.
    pub script: String,
    /// `SLURM_RESTART_COUNT`.
    pub restarts: u32,
    /// Memory on each node, in MiB.
    pub memory_mib: u64,
    /// End of the time limit.
    pub until: Moment,
}

/// A signal to all processes of an execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM: the script may end by itself, which the world reports with [`super::SimulatedSlurm::script_ended`].
    Terminate,
    /// SIGKILL, or the end of the node: it ends at once, without a report.
    Kill,
}

/// Why Slurm ends a script, according to its log (`CANCELLED AT … DUE TO TIME LIMIT`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// No reason is given.
    Cancelled,
    /// `DUE TO TIME LIMIT`.
    TimeLimit,
    /// `DUE TO PREEMPTION`.
    Preemption,
    /// `DUE TO NODE FAILURE`.
    NodeFailure,
    /// `DUE TO JOB REQUEUE`.
    Requeue,
    /// Nothing is logged: killed by the kernel, or the node died.
    Silent,
}

impl Why {
    /// The line that slurmstepd writes to the job's log, if it can.
    pub fn line(self, job: u64, node: &str, at: Moment) -> Option<String> {
        let due = match self {
            Why::Cancelled => "",
            Why::TimeLimit => " DUE TO TIME LIMIT",
            Why::Preemption => " DUE TO PREEMPTION",
            Why::NodeFailure => " DUE TO NODE FAILURE, SEE SLURMCTLD LOG FOR DETAILS",
            Why::Requeue => " DUE TO JOB REQUEUE",
            Why::Silent => return None,
        };
        Some(format!("slurmstepd: error: *** JOB {job} ON {node} CANCELLED AT {at}{due} ***"))
    }
}

/// How a script ended, as the world reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// With `exit CODE`.
    Code(u8),
    /// By a signal that Slurm did not send.
    Signal(u8),
    /// It exceeded its memory.
    OutOfMemory,
    /// It could not start: its directory, or that of its log, does not exist.
    NotStarted,
}

/// An event of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SlurmEvent {
    /// A script starts.
    Started(Box<Start>),
    /// The processes of an execution get a signal.
    Signalled {
        /// Which execution.
        execution: Execution,
        /// The signal.
        signal: Signal,
        /// Why.
        why: Why,
    },
    /// A job has ended, as the controller sees it.
    Ended {
        /// The cluster.
        cluster: String,
        /// The job's number.
        job: u64,
        /// Identifies the job.
        key: Key,
        /// How it ended.
        how: Ended,
    },
}
