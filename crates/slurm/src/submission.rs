//! What is asked of Slurm for a job, and what becomes of the asking.

use std::path::{Path, PathBuf};

use amore_model::JobId;

use crate::{refused::Refused, script::JobScript, token::comment_of};

/// Slurm did not answer; nothing is known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SlurmSilent(pub String);

/// What a job asks Slurm for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobAsked {
    /// `r42-p1234-damnit`.
    pub name: String,
    /// Working directory: the database directory.
    pub directory: PathBuf,
    /// The log, with Slurm's `%j` for the job's id.
    pub log: String,
    /// The reservation; its nodes are in the partition, where one is named too.
    pub reservation: Option<String>,
    /// The partition; Slurm's default one, or the reservation's own, if there is none.
    pub partition: Option<String>,
    /// Account.
    pub account: Option<String>,
    /// QOS.
    pub qos: Option<String>,
    /// Clusters, as the setting names them.
    pub clusters: Option<String>,
    /// Time limit.
    pub time_minutes: u32,
    /// CPUs of the task; `None`: what the partition gives (a whole node, where nodes are not shared).
    pub cpus: Option<u32>,
    /// Memory of the node in MiB; `None`: what the partition gives.
    pub mem_mib: Option<u64>,
    /// That is more than was asked for at first: no more than there is.
    pub raised_memory: bool,
    /// GPUs.
    pub gpus: Option<u32>,
    /// Nodes.
    pub nodes: Option<u32>,
    /// Tasks; one on each node, if nothing is said.
    pub ntasks: Option<u32>,
    /// By how much its priority is lowered.
    pub nice: Option<u32>,
    /// Features of the node.
    pub constraint: Option<String>,
    /// Nodes that it is not to run on.
    pub exclude: Vec<String>,
    /// The script.
    pub script: JobScript,
}

/// What became of a submission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Submitted {
    /// Slurm has it.
    Accepted {
        /// Its id.
        job: JobId,
    },
    /// Slurm does not want it.
    Refused(Refused),
    /// Whether it has it, or under which number, is not known.
    Unsure {
        /// What was said instead.
        words: String,
        /// What may have happened.
        doubt: Doubt,
    },
}

/// What is not known of a submission.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Doubt {
    /// The controller was not reached: it cannot have the job, as far as is known.
    NotReached,
    /// The answer was lost, or nobody was there to hear it.
    #[default]
    Unanswered,
    /// sbatch says that the job was taken, and not in a way that tells its number.
    Unnumbered,
}

/// Is there a job with a token?
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// This one.
    Job(JobId),
    /// None that the queue, or the accounting where there is one, knows.
    Nothing,
}

/// Arguments of `sbatch` for a job. `--export=ALL` means the few variables that `sbatch` itself is given here: with
/// `--export=NONE` Slurm executes the user's login shell on the node first, which was measured to take a second and more.
/// The token stands here, and not in the script: accounting keeps the command line.
pub fn arguments(asked: &JobAsked, token: &str) -> Vec<String> {
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
    // Of a job with fewer tasks than nodes Slurm takes nodes away.
    add("ntasks", &asked.ntasks.unwrap_or(nodes));
    arguments
}

/// What came of telling Slurm to end a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cancelled {
    /// It has ended, or ends: the controller says so.
    Over,
    /// Slurm was told, and still shows it as if it went on.
    NotYet {
        /// Slurm's word.
        state: String,
    },
    /// Slurm was not told, or does not say.
    Failed {
        /// What is said instead.
        words: String,
    },
}

/// The pattern of a job's log in `folder`; see `DatabaseDir::slurm_log`.
pub fn log_pattern(folder: &Path, name: &str, mark: Option<&str>) -> String {
    // `%` is sbatch's own sign in a file name.
    let folder = folder.display().to_string().replace('%', "%%");
    let mark = mark.map(|mark| format!(".{mark}")).unwrap_or_default();
    format!("{folder}/{name}-%j{mark}.out")
}

/// The log of a job, from its pattern.
pub fn log_of(pattern: &str, job: &JobId) -> PathBuf {
    let number = job.number.to_string();
    PathBuf::from(pattern.replace("%%", "\0").replace("%j", &number).replace('\0', "%"))
}
