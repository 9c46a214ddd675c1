//! What the job of a task asks Slurm for: from the variable's resources, the settings, and what earlier jobs have shown.

use amore_model::{DatabaseDir, Resources, Urgency};
use amore_slurm::{
    amounts::minutes,
    script::JobScript,
    settings::{DEFAULT_TIME_MINUTES, SlurmSettings},
    submission::{JobAsked, log_pattern},
};
use amore_wire::sheet;

use crate::{task::RetryState, tasks::RunKey};

/// What jobs are given of the environment of the process that submits them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobEnvironment {
    /// Path of `amore-worker`.
    pub worker: String,
    /// The rights that new files are not given.
    pub umask: u32,
    /// Environment variables to set, in order.
    pub variables: Vec<(String, String)>,
    /// Environment variables to unset.
    pub without: Vec<String>,
}

/// By how much the priority of bulk requests' jobs is lowered in Slurm, so that what is asked for later goes before those that
/// wait there already: with `priority/basic` before the last thousand of them.
const BULK_NICE: u32 = 1000;

/// What the name of a job's log contains beside its number. Several clusters may give a number twice, and the name is
/// chosen before it is known which of them accepts the job.
pub fn log_mark<'a>(settings: &SlurmSettings, token: &'a str) -> Option<&'a str> {
    settings.on().leave_it_to_slurm().then_some(token)
}

/// The name of a run's jobs, and the pattern of their logs.
pub fn name_and_log(dir: &DatabaseDir, (proposal, run): RunKey, mark: Option<&str>) -> (String, String) {
    let name = format!("r{run}-p{proposal}");
    let log = log_pattern(&dir.slurm_logs(), &name, mark);
    (format!("{name}-damnit"), log)
}

/// What a job is for.
#[derive(Debug)]
pub struct Wanted<'a> {
    /// Its run.
    pub key: RunKey,
    /// What its variables ask for.
    pub resources: &'a Resources,
    /// How urgent its request is.
    pub urgency: Urgency,
    /// What earlier jobs have shown.
    pub retry: &'a RetryState,
    /// The attempt's token.
    pub token: &'a str,
}

/// What the job of a task asks Slurm for. What a variable says goes before what the settings say.
pub fn job_asked(
    dir: &DatabaseDir,
    environment: &JobEnvironment,
    settings: &SlurmSettings,
    job: &Wanted<'_>,
) -> JobAsked {
    let Wanted { key, resources: wanted, urgency, retry, token } = *job;
    let (name, log) = name_and_log(dir, key, log_mark(settings, token));
    let time = wanted.time_minutes.or_else(|| settings.time.as_deref().and_then(minutes));
    let keep = |reservation: &Option<String>| reservation.clone().filter(|_| !retry.leave_reservation);
    let (reservation, partition) = if wanted.reservation.is_some() || wanted.partition.is_some() {
        (keep(&wanted.reservation), wanted.partition.clone().or_else(|| settings.partition.clone()))
    } else {
        (keep(&settings.reservation), settings.partition.clone())
    };
    let partition = partition.filter(|_| reservation.is_none() || !retry.reservation_alone);
    JobAsked {
        name: name.clone(),
        directory: dir.path().to_owned(),
        log,
        reservation,
        partition,
        account: wanted.account.clone().or_else(|| settings.account.clone()),
        qos: wanted.qos.clone().or_else(|| settings.qos.clone()),
        clusters: settings.clusters.clone(),
        time_minutes: time.unwrap_or(DEFAULT_TIME_MINUTES),
        cpus: wanted.cpus.filter(|_| settings.cpus.is_none()),
        mem_mib: retry.mem_mib.or(wanted.mem_mib).filter(|_| settings.mem.is_none()),
        raised_memory: retry.mem_mib.is_some(),
        gpus: wanted.gpus,
        nodes: wanted.nodes,
        ntasks: wanted.ntasks,
        nice: (urgency == Urgency::Bulk).then_some(BULK_NICE),
        constraint: wanted.constraint.clone(),
        exclude: retry.avoid.clone(),
        script: JobScript {
            name,
            worker: environment.worker.clone(),
            sheet: sheet::sheet(dir.path(), token).display().to_string(),
            events: sheet::events(dir.path(), token).display().to_string(),
            umask: environment.umask,
            environment: environment.variables.clone(),
            without: environment.without.clone(),
        },
    }
}
