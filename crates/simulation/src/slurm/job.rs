//! A job as the controller knows it: what was asked for, and how it stands.

use std::fmt;

use crate::Moment;

/// The order in which a cluster took its jobs. Numbers may be given out twice; this is not.
pub type Key = u64;

/// One execution of a job's script. A job that is requeued has several, and a node that is cut off may still have an
/// earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Execution(pub u64);

/// What a submission asked for.
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
    /// `--account`, or the person's default.
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
    /// May Slurm put it back into the queue?
    pub requeue: bool,
    /// `--hold`.
    pub hold: bool,
    /// The batch script.
    pub script: String,
    /// The command line, as accounting keeps it.
    pub line: String,
}

/// Who holds a job back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Its owner.
    User,
    /// An administrator: its owner cannot release it.
    Admin,
    /// Slurm, for it could not be started.
    LaunchFailed,
}

/// Why a job waits, or why it stands as it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Nothing to say.
    None,
    /// Others come first.
    Priority,
    /// No place.
    Resources,
    /// All nodes of the partition are out of service.
    NodesOutOfService,
    /// The nodes that the job wants are out of service.
    NodesNotAvailable(String),
    /// The partition is down.
    PartitionDown,
    /// The job is longer than the partition allows.
    PartitionTimeLimit,
    /// The partition has too few nodes.
    PartitionNodeLimit,
    /// The nodes are too small.
    PartitionConfig,
    /// The partition is for other accounts: its name, those it allows, the job's.
    Account {
        /// The partition.
        partition: String,
        /// Those that may.
        allowed: String,
        /// The job's.
        account: String,
    },
    /// The reservation has not begun, or has ended.
    Reservation,
    /// The reservation was removed while the job waited for it.
    ReservationDeleted(String),
    /// It may not begin yet.
    BeginTime,
    /// Held by its owner.
    HeldByUser,
    /// Held by an administrator.
    HeldByAdmin,
    /// It could not be started, and is held for that.
    LaunchFailedHeld,
    /// A limit of the association or QOS, in Slurm's word.
    Limit(&'static str),
    /// It was killed at its time limit.
    TimeLimit,
    /// It was killed for its memory.
    OutOfMemory,
    /// Its script said so.
    NonZeroExitCode,
    /// It was killed by a signal, or never began.
    LaunchFailure,
    /// Its node is down.
    NodeDown,
    /// What it asks for is not there.
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
    /// Its script ended otherwise, or never began.
    Failed,
    /// At its time limit, or at the end of its reservation.
    TimedOut,
    /// Somebody cancelled it.
    Cancelled {
        /// Whose command it was.
        by: u32,
    },
    /// For its memory.
    OutOfMemory,
    /// With its node.
    NodeFailed,
    /// For the sake of others.
    Preempted,
}

impl Ended {
    /// Slurm's word.
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

    /// Is the end its exit code shows in the queue a signal of Slurm's, of which accounting says 0:0?
    pub const fn by_signal_of_slurm(self) -> bool {
        matches!(self, Ended::TimedOut | Ended::Cancelled { .. } | Ended::Preempted)
    }
}

/// What comes after the last of a job's processes has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Afterwards {
    /// The job has ended.
    Ends(Ended),
    /// It goes back to the queue.
    Requeued,
}

/// How a job stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It waits.
    Pending,
    /// Its script is executed.
    Running {
        /// Where.
        execution: Execution,
    },
    /// Its script has been told to end.
    Completing {
        /// Where.
        execution: Execution,
        /// What then.
        afterwards: Afterwards,
    },
    /// It waited for a reservation that was removed, and never begins.
    ReservationDeleted,
    /// It has ended.
    Over(Ended),
}

impl State {
    /// Slurm's word, as `squeue -o %T` prints it.
    pub const fn word(&self) -> &'static str {
        match self {
            State::Pending => "PENDING",
            State::Running { .. } => "RUNNING",
            State::Completing { .. } => "COMPLETING",
            State::ReservationDeleted => "RESV_DEL_HOLD",
            State::Over(ended) => ended.word(),
        }
    }

    /// Where its script is executed, if it is.
    pub const fn execution(&self) -> Option<Execution> {
        match self {
            State::Running { execution } | State::Completing { execution, .. } => Some(*execution),
            State::Pending | State::ReservationDeleted | State::Over(_) => None,
        }
    }

    /// Has it ended?
    pub const fn is_over(&self) -> bool {
        matches!(self, State::Over(_))
    }
}

/// Exit code and signal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExitCode {
    /// What the script gave to `exit`.
    pub code: u8,
    /// The signal that ended it.
    pub signal: u8,
}

impl ExitCode {
    /// The job never began.
    pub const NOT_STARTED: ExitCode = ExitCode { code: 0, signal: 53 };
    /// SIGTERM.
    pub const TERMINATED: ExitCode = ExitCode { code: 0, signal: 15 };

    /// As squeue 22.05 prints it: the status that wait(2) gives; of a launch failure what Slurm keeps instead.
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
    /// Which of the cluster's jobs it is.
    pub key: Key,
    /// Its number.
    pub number: u64,
    /// Name of its owner.
    pub user: String,
    /// Number of its owner.
    pub uid: u32,
    /// What was asked for.
    pub asked: Asked,
    /// When it was taken.
    pub submitted: Moment,
    /// How it stands.
    pub state: State,
    /// Why.
    pub reason: Reason,
    /// Who holds it back.
    pub held: Option<Hold>,
    /// It does not begin before.
    pub not_before: Option<Moment>,
    /// Its nodes.
    pub nodes: Vec<String>,
    /// When it began last.
    pub started: Option<Moment>,
    /// When it ended.
    pub ended: Option<Moment>,
    /// How its script ended.
    pub exit: ExitCode,
    /// How often it was put back into the queue.
    pub restarts: u32,
    /// It will not be started: Slurm fails at it.
    pub launch_fails: bool,
}

impl Job {
    /// When it is to end at the latest, if it runs.
    pub fn limit(&self) -> Option<Moment> {
        self.started
            .map(|started| started + std::time::Duration::from_secs(60 * u64::from(self.asked.minutes)))
    }

    /// May it begin, as far as it itself is concerned? Accounting does not list those that may not.
    pub fn is_eligible(&self, now: Moment) -> bool {
        self.held.is_none()
            && self.not_before.is_none_or(|at| at <= now)
            && !matches!(self.state, State::ReservationDeleted)
            && !(matches!(self.state, State::Pending) && self.reason == Reason::Reservation)
    }

    /// Its log.
    pub fn log(&self) -> String {
        log_path(&self.asked.output, self.number)
    }
}

/// `--output` with the job's number in it.
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
