//! What the job of a task asks Slurm for: from the variable's resources, the settings, and what became of earlier jobs.

use std::collections::BTreeMap;

use amore_model::{
    Proposal, Resources, Run, Urgency,
    python_environment::{HANDED_ON, PYTHONPATH, absolute_search_path},
};
use amore_wire::sheet;

use super::tasks::Journey;
use crate::{
    database_dir::DatabaseDir,
    dispatch::{
        local,
        slurm::{
            asked::{SlurmSettings, TIME_MINUTES, minutes},
            client::{JobAsked, log_pattern},
            environment,
            script::JobScript,
        },
    },
};

/// All that a job is given of our environment: where the data and our package are.
const PASSED_ON: [&str; 2] = ["EXTRA_DATA_DATA_ROOT", "AMORE_PYTHONPATH"];

/// What the Python in a job is given of our environment.
pub fn python_environment() -> BTreeMap<String, String> {
    let given =
        |name: &&str| Some(((*name).to_owned(), std::env::var(name).ok().filter(|it| !it.is_empty())?));
    let mut environment: BTreeMap<String, String> = HANDED_ON.iter().filter_map(given).collect();
    if let Some(path) = environment.get_mut(PYTHONPATH)
        && let Ok(here) = std::env::current_dir()
    {
        *path = absolute_search_path(path, &here);
    }
    environment
}

/// By how much the priority of bulk requests' jobs is lowered in Slurm, so that what is asked for later goes before those that
/// wait there already: with `priority/basic` before the last thousand of them.
const BULK_NICE: u32 = 1000;

/// What stands in the name of a job's log beside its number. Several clusters may give a number twice, and the name is
/// chosen before it is known which of them takes the job.
pub fn log_mark<'a>(settings: &SlurmSettings, token: &'a str) -> Option<&'a str> {
    settings.on().leave_it_to_slurm().then_some(token)
}

/// The name of a run's jobs, and the pattern of their logs.
pub fn name_and_log(
    dir: &DatabaseDir,
    (proposal, run): (Proposal, Run),
    mark: Option<&str>,
) -> (String, String) {
    let name = format!("r{run}-p{proposal}");
    let log = log_pattern(&dir.slurm_logs(), &name, mark);
    (format!("{name}-damnit"), log)
}

/// What the job of a task asks Slurm for. What a variable says goes before what the settings say.
pub fn job_asked(
    dir: &DatabaseDir,
    settings: &SlurmSettings,
    (proposal, run): (Proposal, Run),
    wanted: &Resources,
    urgency: Urgency,
    journey: &Journey,
    token: &str,
) -> JobAsked {
    let (name, log) = name_and_log(dir, (proposal, run), log_mark(settings, token));
    let time = wanted.time_minutes.or_else(|| settings.time.as_deref().and_then(minutes));
    let keep = |reservation: &Option<String>| reservation.clone().filter(|_| !journey.leave_reservation);
    let (reservation, partition) = if wanted.reservation.is_some() || wanted.partition.is_some() {
        (keep(&wanted.reservation), wanted.partition.clone().or_else(|| settings.partition.clone()))
    } else {
        (keep(&settings.reservation), settings.partition.clone())
    };
    let partition = partition.filter(|_| reservation.is_none() || !journey.reservation_alone);
    JobAsked {
        name: name.clone(),
        directory: dir.path().to_owned(),
        log,
        reservation,
        partition,
        account: wanted.account.clone().or_else(|| settings.account.clone()),
        qos: wanted.qos.clone().or_else(|| settings.qos.clone()),
        clusters: settings.clusters.clone(),
        time_minutes: time.unwrap_or(TIME_MINUTES),
        cpus: wanted.cpus.filter(|_| settings.cpus.is_none()),
        mem_mib: journey.mem_mib.or(wanted.mem_mib).filter(|_| settings.mem.is_none()),
        raised_memory: journey.mem_mib.is_some(),
        gpus: wanted.gpus,
        nodes: wanted.nodes,
        ntasks: wanted.ntasks,
        nice: (urgency == Urgency::Bulk).then_some(BULK_NICE),
        constraint: wanted.constraint.clone(),
        exclude: journey.avoid.clone(),
        script: JobScript {
            name,
            worker: local::program().display().to_string(),
            sheet: sheet::sheet(dir.path(), token).display().to_string(),
            events: sheet::events(dir.path(), token).display().to_string(),
            umask: own_umask(),
            environment: PASSED_ON
                .iter()
                .filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)))
                .collect(),
            without: environment::not_for_jobs(),
        },
    }
}

/// The umask of this process. The kernel tells it without it being changed; before Linux 4.7 a careful one is taken.
fn own_umask() -> u32 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let umask = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    umask.and_then(|octal| u32::from_str_radix(octal.trim(), 8).ok()).unwrap_or(0o007)
}
