//! What the job of a task asks Slurm for: from the variable's resources, the settings, and what earlier jobs have shown.

use amore_model::{DatabaseDir, Resources, Urgency};
use amore_slurm::{
    amounts::minutes,
    script::JobScript,
    settings::{DEFAULT_TIME_MINUTES, SlurmSettings},
    submission::{JobOptions, log_pattern},
};
use amore_wire::manifest;

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
    /// Whether user code is executed in a sandbox.
    pub sandboxed: bool,
}

/// By how much the priority of bulk requests' jobs is lowered in Slurm, so that what is asked for later goes before those that
/// wait there already: with `priority/basic` before the last thousand of them.
const BULK_NICE: u32 = 1000;

/// What the name of a job's log contains beside its number. Several clusters may give a number twice, and the name is
/// chosen before it is known which of them accepts the job.
pub fn log_mark<'a>(settings: &SlurmSettings, token: &'a str) -> Option<&'a str> {
    settings.on().chosen_by_slurm().then_some(token)
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
) -> JobOptions {
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
    JobOptions {
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
            manifest: manifest::path(dir.path(), token).display().to_string(),
            events: manifest::events(dir.path(), token).display().to_string(),
            umask: environment.umask,
            environment: environment.variables.clone(),
            without: environment.without.clone(),
            sandboxed: environment.sandboxed,
        },
    }
}

#[cfg(test)]
mod tests {
    use amore_model::{Proposal, Run};
    use amore_slurm::settings::LeftOut;

    use super::*;

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    fn asked(resources: &Resources, settings: &SlurmSettings, retry: &RetryState) -> JobOptions {
        let dir = DatabaseDir::at("/db".into());
        let key = (Proposal(1234), Run(42));
        let job = Wanted { key, resources, urgency: Urgency::Asked, retry, token: "t-1" };
        job_asked(&dir, &JobEnvironment::default(), settings, &job)
    }

    #[test]
    fn what_a_variable_asks_for_goes_before_the_settings() {
        let settings = SlurmSettings {
            partition: some("upex"),
            account: some("spb"),
            qos: some("normal"),
            time: some("4:00:00"),
            ..SlurmSettings::default()
        };
        let own = Resources {
            partition: some("short"),
            account: some("chemistry"),
            qos: some("fast"),
            time_minutes: Some(7),
            ..Resources::default()
        };
        for (resources, expected) in [
            (own, (some("short"), some("chemistry"), some("fast"), 7)),
            (Resources::default(), (some("upex"), some("spb"), some("normal"), 240)),
        ] {
            let asked = asked(&resources, &settings, &RetryState::default());
            assert_eq!((asked.partition, asked.account, asked.qos, asked.time_minutes), expected);
        }
    }

    #[test]
    fn a_partition_that_a_variable_asks_for_is_not_in_the_reservation_of_the_settings() {
        let settings = SlurmSettings {
            reservation: some("shift7"),
            partition: some("upex"),
            ..SlurmSettings::default()
        };
        let of = |resources: Resources| {
            let asked = asked(&resources, &settings, &RetryState::default());
            (asked.reservation, asked.partition)
        };
        assert_eq!(of(Resources::default()), (some("shift7"), some("upex")));
        let partition = Resources { partition: some("short"), ..Resources::default() };
        assert_eq!(of(partition), (None, some("short")));
        let reservation = Resources { reservation: some("beam"), ..Resources::default() };
        assert_eq!(of(reservation), (some("beam"), some("upex")));
    }

    #[test]
    fn earlier_jobs_change_what_is_asked_for() {
        let settings = SlurmSettings {
            reservation: some("shift7"),
            partition: some("upex"),
            ..SlurmSettings::default()
        };
        let resources = Resources { mem_mib: Some(1000), ..Resources::default() };
        let of = |retry: RetryState| {
            let asked = asked(&resources, &settings, &retry);
            (asked.reservation, asked.partition, asked.mem_mib, asked.raised_memory, asked.exclude)
        };
        let first = (some("shift7"), some("upex"), Some(1000), false, vec![]);
        assert_eq!(of(RetryState::default()), first);
        let alone = RetryState { reservation_alone: true, ..RetryState::default() };
        assert_eq!(of(alone.clone()), (some("shift7"), None, Some(1000), false, vec![]));
        let left = RetryState {
            leave_reservation: true,
            mem_mib: Some(2000),
            avoid: vec!["n1".to_owned()],
            ..alone
        };
        assert_eq!(of(left), (None, some("upex"), Some(2000), true, vec!["n1".to_owned()]));
    }

    #[test]
    fn options_that_a_site_does_not_take_are_left_out_even_after_a_job_without_enough_memory() {
        let settings = SlurmSettings { cpus: Some(LeftOut), mem: Some(LeftOut), ..SlurmSettings::default() };
        let resources = Resources { cpus: Some(4), mem_mib: Some(1000), ..Resources::default() };
        let retry = RetryState { mem_mib: Some(2000), ..RetryState::default() };
        let asked = asked(&resources, &settings, &retry);
        assert_eq!((asked.cpus, asked.mem_mib), (None, None));
    }

    #[test]
    fn logs_of_jobs_on_several_clusters_are_told_apart_by_the_token() {
        for (clusters, has_token) in
            [(None, false), (some("maxwell"), false), (some("maxwell,solaris"), true)]
        {
            let settings = SlurmSettings { clusters, ..SlurmSettings::default() };
            let asked = asked(&Resources::default(), &settings, &RetryState::default());
            assert_eq!(asked.name, "r42-p1234-damnit");
            assert!(asked.log.contains("/db/slurm_logs/r42-p1234-"), "{}", asked.log);
            assert_eq!(asked.log.contains("t-1"), has_token, "{}", asked.log);
        }
    }
}
