//! What a cluster does to the world around it.

use super::job::{Ended, Execution, Key};
use crate::Moment;

/// A script that a node begins to execute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// The cluster.
    pub cluster: String,
    /// This execution.
    pub execution: Execution,
    /// The job's number: `SLURM_JOB_ID`.
    pub job: u64,
    /// Which of the cluster's jobs it is; numbers may be given out twice.
    pub key: Key,
    /// Its owner.
    pub user: String,
    /// The partition: `SLURM_JOB_PARTITION`.
    pub partition: String,
    /// The nodes; the script is executed on the first.
    pub nodes: Vec<String>,
    /// The working directory.
    pub directory: String,
    /// The log. If it cannot be written, the world says so with [`Exit::NotStarted`].
    pub log: String,
    /// The script.
    pub script: String,
    /// `SLURM_RESTART_COUNT`.
    pub restarts: u32,
    /// Memory on each node, in MiB.
    pub memory_mib: u64,
    /// The time limit.
    pub until: Moment,
}

/// A signal to all processes of an execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM: the script may end by itself, which [`super::SimulatedSlurm::script_ended`] says.
    Terminate,
    /// SIGKILL, or the end of the node: it is over now, and Slurm wants no answer.
    Kill,
}

/// Why Slurm ends a script, as its log says it (`CANCELLED AT … DUE TO TIME LIMIT`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Nothing is said.
    Cancelled,
    /// `DUE TO TIME LIMIT`.
    TimeLimit,
    /// `DUE TO PREEMPTION`.
    Preemption,
    /// `DUE TO NODE FAILURE`.
    NodeFailure,
    /// `DUE TO JOB REQUEUE`.
    Requeue,
    /// Nothing is said of these: the kernel, or the end of the node.
    Silent,
}

impl Why {
    /// What slurmstepd writes into the job's log, if it can.
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

/// How a script ended, as the world says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// With `exit CODE`.
    Code(u8),
    /// By a signal that was not Slurm's.
    Signal(u8),
    /// For its memory.
    OutOfMemory,
    /// It could not begin: its directory, or that of its log, is not there.
    NotStarted,
}

/// Something that a cluster does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SlurmEvent {
    /// A script begins.
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
    /// For the controller a job has ended.
    Ended {
        /// The cluster.
        cluster: String,
        /// Its number.
        job: u64,
        /// Which of the cluster's jobs it was.
        key: Key,
        /// How.
        how: Ended,
    },
}
