//! A job as the controller knows it: its options and its state.

use std::fmt;

use crate::Moment;

/// Identifies a job by the order of submission. Numbers may be assigned twice, keys are not.
pub type Key = u64;

/// One execution of a job's script. A requeued job has several, and a node that was cut off may still have an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Execution(pub u64);

/// The options of a submission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// `--job-name`.
    pub name: String,
    /// `--comment`.
    pub comment: String,
    /// `--chdir`.
    pub directory: String,
    /// `--output`, with Slurm's `%j`.
    pub output: String,
    /// `--reservation`: one, or several.
    pub reservations: Vec<String>,
    /// `--partition`, or the default one.
    pub partition: String,
    /// `--account`, or the user's default.
    pub account: String,
    /// `--qos`.
    pub qos: String,
    /// `--time`, in minutes.
    pub minutes: u32,
    /// CPUs on each node.
    pub cpus: u32,
    /// Memory on each node, in MiB.
    pub memory_mib: u64,
    /// `--nodes`.
    pub nodes: u32,
    /// `--exclude`.
    pub exclude: Vec<String>,
    /// `--nodelist`.
    pub required: Vec<String>,
    /// `--nice`.
    pub nice: u32,
    /// `--begin`.
    pub begin: Option<Moment>,
    /// Whether Slurm may requeue it.
    pub requeue: bool,
    /// `--hold`.
    pub hold: bool,
    /// The batch script.
    pub script: String,
    /// The command line, for accounting.
    pub line: String,
}

/// Who holds a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Its owner.
    User,
    /// An administrator: its owner cannot release it.
    Admin,
    /// Slurm, because the job could not be started.
    LaunchFailed,
}

/// The reason of a job's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// No reason.
    None,
    /// Other jobs have priority.
    Priority,
    /// No free resources.
    Resources,
    /// All nodes of the partition are out of service.
    NodesOutOfService,
    /// The nodes that the job requires are out of service.
    NodesNotAvailable(String),
    /// The partition is down.
    PartitionDown,
    /// The job is longer than the partition allows.
    PartitionTimeLimit,
    /// The partition has too few nodes.
    PartitionNodeLimit,
    /// The nodes are too small.
    PartitionConfig,
    /// The partition is restricted to other accounts.
    Account {
        /// The partition.
        partition: String,
        /// The allowed accounts.
        allowed: String,
        /// The job's account.
        account: String,
    },
    /// The reservation has not started, or has ended.
    Reservation,
    /// The reservation was removed while the job waited for it.
    ReservationDeleted(String),
    /// Its start time has not come.
    BeginTime,
    /// Held by its owner.
    HeldByUser,
    /// Held by an administrator.
    HeldByAdmin,
    /// It could not be started, and is held for that reason.
    LaunchFailedHeld,
    /// A limit of the association or QOS, as Slurm writes it.
    Limit(&'static str),
    /// It was killed at its time limit.
    TimeLimit,
    /// It was killed for its memory.
    OutOfMemory,
    /// Its script failed.
    NonZeroExitCode,
    /// It was killed by a signal, or never started.
    LaunchFailure,
    /// Its node is down.
    NodeDown,
    /// The requested resources do not exist.
    BadConstraints,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self {
            Reason::None => "None",
            Reason::Priority => "Priority",
            Reason::Resources => "Resources",
            Reason::NodesOutOfService => {
                "Nodes required for job are DOWN, DRAINED or reserved for jobs in higher priority partitions"
            }
            Reason::NodesNotAvailable(nodes) => {
                return write!(f, "ReqNodeNotAvail, UnavailableNodes:{nodes}");
            }
            Reason::PartitionDown => "PartitionDown",
            Reason::PartitionTimeLimit => "PartitionTimeLimit",
            Reason::PartitionNodeLimit => "PartitionNodeLimit",
            Reason::PartitionConfig => "PartitionConfig",
            Reason::Account { partition, allowed, account } => {
                return write!(
                    f,
                    "Job's account not permitted to use this partition ({partition} allows {allowed} not {account})"
                );
            }
            Reason::Reservation => "Reservation",
            Reason::ReservationDeleted(name) => return write!(f, "Reservation {name} was deleted"),
            Reason::BeginTime => "BeginTime",
            Reason::HeldByUser => "JobHeldUser",
            Reason::HeldByAdmin => "JobHeldAdmin",
            Reason::LaunchFailedHeld => "launch failed requeued held",
            Reason::Limit(name) => name,
            Reason::TimeLimit => "TimeLimit",
            Reason::OutOfMemory => "OutOfMemory",
            Reason::NonZeroExitCode => "NonZeroExitCode",
            Reason::LaunchFailure => "JobLaunchFailure",
            Reason::NodeDown => "NodeDown",
            Reason::BadConstraints => "BadConstraints",
        };
        f.write_str(word)
    }
}

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Its script ended with 0.
    Completed,
    /// Its script failed, or never started.
    Failed,
    /// At its time limit, or at the end of its reservation.
    TimedOut,
    /// Somebody cancelled it.
    Cancelled {
        /// UID of the user.
        by: u32,
    },
    /// It exceeded its memory.
    OutOfMemory,
    /// Its node failed.
    NodeFailed,
    /// It was preempted.
    Preempted,
}

impl Ended {
    /// Its state, as Slurm writes it.
    pub const fn word(self) -> &'static str {
        match self {
            Ended::Completed => "COMPLETED",
            Ended::Failed => "FAILED",
            Ended::TimedOut => "TIMEOUT",
            Ended::Cancelled { .. } => "CANCELLED",
            Ended::OutOfMemory => "OUT_OF_MEMORY",
            Ended::NodeFailed => "NODE_FAIL",
            Ended::Preempted => "PREEMPTED",
        }
    }

    /// Whether the exit code in the queue is a signal of Slurm's, for which accounting shows 0:0.
    pub const fn by_signal_of_slurm(self) -> bool {
        matches!(self, Ended::TimedOut | Ended::Cancelled { .. } | Ended::Preempted)
    }
}

/// What follows after the last process of a job has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Afterwards {
    /// The job has ended.
    Ends(Ended),
    /// It goes back to the queue.
    Requeued,
}

/// State of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It waits.
    Pending,
    /// Its script is executed.
    Running {
        /// The execution.
        execution: Execution,
    },
    /// Its script was told to end.
    Completing {
        /// The execution.
        execution: Execution,
        /// What follows.
        afterwards: Afterwards,
    },
    /// It waited for a reservation that was deleted, and will never start.
    ReservationDeleted,
    /// It has ended.
    Over(Ended),
}

impl State {
    /// The state as printed by `squeue -o %T`.
    pub const fn word(&self) -> &'static str {
        match self {
            State::Pending => "PENDING",
            State::Running { .. } => "RUNNING",
            State::Completing { .. } => "COMPLETING",
            State::ReservationDeleted => "RESV_DEL_HOLD",
            State::Over(ended) => ended.word(),
        }
    }

    /// Its current execution, if any.
    pub const fn execution(&self) -> Option<Execution> {
        match self {
            State::Running { execution } | State::Completing { execution, .. } => Some(*execution),
            State::Pending | State::ReservationDeleted | State::Over(_) => None,
        }
    }

    /// Whether it has ended.
    pub const fn is_over(&self) -> bool {
        matches!(self, State::Over(_))
    }
}

/// Exit code and signal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExitCode {
    /// The exit code of the script.
    pub code: u8,
    /// The signal that ended it.
    pub signal: u8,
}

impl ExitCode {
    /// The job never started.
    pub const NOT_STARTED: ExitCode = ExitCode { code: 0, signal: 53 };
    /// SIGTERM.
    pub const TERMINATED: ExitCode = ExitCode { code: 0, signal: 15 };

    /// As printed by squeue 22.05: the status of wait(2); for a launch failure, the value that Slurm keeps instead.
    pub fn status(self) -> u32 {
        if self == ExitCode::NOT_STARTED {
            return 4021;
        }
        u32::from(self.code) << 8 | u32::from(self.signal)
    }
}

impl fmt::Display for ExitCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.code, self.signal)
    }
}

/// A job that the controller knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Identifies the job.
    pub key: Key,
    /// Its number.
    pub number: u64,
    /// Name of its owner.
    pub user: String,
    /// UID of its owner.
    pub uid: u32,
    /// Its options.
    pub asked: Asked,
    /// Time of submission.
    pub submitted: Moment,
    /// Its state.
    pub state: State,
    /// The reason of its state.
    pub reason: Reason,
    /// Who holds it, if anybody.
    pub held: Option<Hold>,
    /// It does not start before this time.
    pub not_before: Option<Moment>,
    /// Its nodes.
    pub nodes: Vec<String>,
    /// Time of its last start.
    pub started: Option<Moment>,
    /// Time of its end.
    pub ended: Option<Moment>,
    /// How its script ended.
    pub exit: ExitCode,
    /// How often it was requeued.
    pub restarts: u32,
    /// Whether Slurm will fail to start it.
    pub launch_fails: bool,
}

impl Job {
    /// When its time limit ends, if it runs.
    pub fn limit(&self) -> Option<Moment> {
        self.started
            .map(|started| started + std::time::Duration::from_secs(60 * u64::from(self.asked.minutes)))
    }

    /// Whether it may start as far as its own options are concerned. Accounting does not list jobs that may not.
    pub fn is_eligible(&self, now: Moment) -> bool {
        self.held.is_none()
            && self.not_before.is_none_or(|at| at <= now)
            && !matches!(self.state, State::ReservationDeleted)
            && !(matches!(self.state, State::Pending) && self.reason == Reason::Reservation)
    }

    /// Path of its log.
    pub fn log(&self) -> String {
        log_path(&self.asked.output, self.number)
    }
}

/// Inserts the job's number into `--output`.
fn log_path(pattern: &str, number: u64) -> String {
    let mut path = String::new();
    let mut signs = pattern.chars();
    while let Some(sign) = signs.next() {
        match sign {
            '%' => match signs.next() {
                Some('j') => path.push_str(&number.to_string()),
                Some(other) => path.push(other),
                None => path.push('%'),
            },
            other => path.push(other),
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_has_the_number_in_its_name() {
        assert_eq!(log_path("/a%%b/r1-%j.out", 17), "/a%b/r1-17.out");
    }

    #[test]
    fn statuses_are_those_that_squeue_printed() {
        for (code, signal, status) in [(0, 0, 0), (42, 0, 10752), (0, 9, 9), (0, 53, 4021), (0, 15, 15)] {
            assert_eq!(ExitCode { code, signal }.status(), status);
        }
    }
}
