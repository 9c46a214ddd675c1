//! The options of a job, and the possible results of submitting and cancelling it.

use std::path::{Path, PathBuf};

use amore_model::JobId;

use crate::{refused::Refused, script::JobScript, token::comment_of};

/// Slurm did not answer, so nothing is known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SlurmUnavailable(pub String);

/// The options of a job.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobOptions {
    /// `r42-p1234-damnit`.
    pub name: String,
    /// Working directory: the database directory.
    pub directory: PathBuf,
    /// Path of the log, with Slurm's `%j` for the job's number.
    pub log: String,
    /// The reservation. Its nodes are in the partition, if one is named too.
    pub reservation: Option<String>,
    /// The partition; `None`: Slurm's default one, or that of the reservation.
    pub partition: Option<String>,
    /// Account.
    pub account: Option<String>,
    /// QOS.
    pub qos: Option<String>,
    /// Clusters, in the form of the setting.
    pub clusters: Option<String>,
    /// Time limit in minutes.
    pub time_minutes: u32,
    /// CPUs of a task; `None`: what the partition gives (a whole node, where nodes are not shared).
    pub cpus: Option<u32>,
    /// Memory on a node in MiB; `None`: what the partition gives.
    pub mem_mib: Option<u64>,
    /// Whether the memory was raised after a failure; it is then limited to what nodes have.
    pub raised_memory: bool,
    /// GPUs.
    pub gpus: Option<u32>,
    /// Nodes.
    pub nodes: Option<u32>,
    /// Tasks; `None`: one on each node.
    pub ntasks: Option<u32>,
    /// By how much its priority is lowered.
    pub nice: Option<u32>,
    /// Required features of nodes.
    pub constraint: Option<String>,
    /// Nodes that it must not run on.
    pub exclude: Vec<String>,
    /// The script.
    pub script: JobScript,
}

/// Result of a submission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Submitted {
    /// Slurm accepted the job.
    Accepted {
        /// ID of the job.
        job: JobId,
    },
    /// Slurm refused the job.
    Refused(Refused),
    /// It is not known whether Slurm has the job, or with which number.
    Unsure {
        /// What Slurm printed instead.
        words: String,
        /// What is unknown.
        doubt: Doubt,
    },
}

/// What is unknown about a submission.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Doubt {
    /// The controller was not reached, so it most likely does not have the job.
    NotReached,
    /// The answer was lost, or nobody was there to receive it.
    #[default]
    Unanswered,
    /// sbatch accepted the job, but its number cannot be read from the output.
    Unnumbered,
}

/// Result of looking up the job of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// This is the job.
    Job(JobId),
    /// Neither the queue nor accounting (if there is one) knows such a job.
    Nothing,
}

/// The arguments of `sbatch` for a job. `--export=ALL` passes on the few variables that `sbatch` gets from Amore: with
/// `--export=NONE` Slurm would first run the user's login shell on the node, which was measured to take a second or more.
/// The token is an argument and not part of the script, because accounting keeps the command line.
pub fn arguments(asked: &JobOptions, token: &str) -> Vec<String> {
    let mut arguments: Vec<String> = ["--parsable", "--export=ALL", "--open-mode=append", "--no-requeue"]
        .into_iter()
        .map(str::to_owned)
        .collect();
    let mut add = |name: &str, value: &dyn std::fmt::Display| arguments.push(format!("--{name}={value}"));
    add("job-name", &asked.name);
    add("comment", &comment_of(token));
    add("chdir", &asked.directory.display());
    add("output", &asked.log);
    for (name, value) in [
        ("reservation", &asked.reservation),
        ("partition", &asked.partition),
        ("account", &asked.account),
        ("qos", &asked.qos),
        ("clusters", &asked.clusters),
        ("constraint", &asked.constraint),
    ] {
        if let Some(value) = value {
            add(name, value);
        }
    }
    add("time", &asked.time_minutes);
    if let Some(cpus) = asked.cpus {
        add("cpus-per-task", &cpus);
    }
    if let Some(mem) = asked.mem_mib {
        add("mem", &format!("{mem}M"));
    }
    if let Some(gpus) = asked.gpus {
        add("gpus", &gpus);
    }
    if let Some(nice) = asked.nice {
        add("nice", &nice);
    }
    if !asked.exclude.is_empty() {
        add("exclude", &asked.exclude.join(","));
    }
    let nodes = asked.nodes.unwrap_or(1);
    add("nodes", &nodes);
    // Slurm reduces the number of nodes of a job that has fewer tasks than nodes.
    add("ntasks", &asked.ntasks.unwrap_or(nodes));
    arguments
}

/// Result of an attempt to cancel a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cancelled {
    /// According to the controller it has ended or is about to.
    Over,
    /// Slurm accepted the request, but the job still runs.
    NotYet {
        /// Its state, as Slurm writes it.
        state: String,
    },
    /// Slurm was not reached, or did not answer.
    Failed {
        /// What it printed instead.
        words: String,
    },
}

/// The pattern of a job's log in `folder`; see `DatabaseDir::slurm_log`.
pub fn log_pattern(folder: &Path, name: &str, mark: Option<&str>) -> String {
    // `%` has a meaning in file names for sbatch.
    let folder = folder.display().to_string().replace('%', "%%");
    let mark = mark.map(|mark| format!(".{mark}")).unwrap_or_default();
    format!("{folder}/{name}-%j{mark}.out")
}

/// The path of a job's log, from its pattern.
pub fn log_of(pattern: &str, job: &JobId) -> PathBuf {
    let number = job.number.to_string();
    PathBuf::from(pattern.replace("%%", "\0").replace("%j", &number).replace('\0', "%"))
}
