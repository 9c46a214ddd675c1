//! Checks whether Slurm answers, and whether it will accept jobs with the current settings.

use std::path::Path;

use super::{Check, Checks};
use crate::dispatch::slurm::{
    Slurm,
    answers::ACCOUNTED,
    asked::{SlurmSettings, TIME_MINUTES, minutes},
    client::{self, SlurmUnavailable},
    clusters::Clusters,
    commands::{self, Commands},
    environment,
    partition::{JobNeeds, Usability, format_minutes},
    reservation::{ReservationState, state_for},
    script,
    site_facts::{self, SiteFacts},
    sourced::Resolved,
};

pub(super) async fn check(
    slurm: &Slurm,
    resolved: &Resolved,
    directory: &Path,
    sandboxed: bool,
) -> Vec<Check> {
    let mut checks = Checks::of("slurm");
    if !client::installed() {
        let words = "Slurm is not available: everything is computed on this machine";
        if std::env::var_os("AMORE_NO_SLURM").is_some() {
            checks.ok("commands", format!("{words} (AMORE_NO_SLURM is set)"));
        } else {
            checks.warn(
                "commands",
                format!("{words} (sbatch is not on PATH)"),
                "module load slurm, if the site provides it",
            );
        }
        return checks.done;
    }
    match script::check(directory, sandboxed) {
        Ok(name) => checks.ok("template", name),
        Err(error) => checks.problem(
            "template",
            error.to_string(),
            "docs/slurm.md lists the requirements for a template",
        ),
    }
    if let Err(SlurmUnavailable(words)) = client::has_configuration() {
        checks.problem("configuration", words, "correct or unset SLURM_CONF; module load slurm may do that");
        return checks.done;
    }
    for problem in environment::wrong_names() {
        checks.problem("environment", problem, format!("correct {}", environment::MORE));
    }
    let Ok(version) = commands(&mut checks, slurm).await else {
        return checks.done;
    };
    let settings = resolved.settings();
    let clusters = settings.on();
    if !clusters_are_known(&mut checks, slurm, &clusters).await {
        return checks.done;
    }
    if clusters.chosen_by_slurm() {
        // Partition, reservation, account and QOS are only known once Slurm has chosen a cluster.
        return checks.done;
    }
    let cluster = clusters.only();
    if !controller(&mut checks, slurm, cluster).await {
        return checks.done;
    }
    let facts = match slurm.facts(cluster).await {
        Ok(facts) => facts,
        Err(SlurmUnavailable(words)) => {
            checks.problem(
                "partitions",
                words,
                "`scontrol show partition` does not answer Amore: if it works in your shell, ask the administrators which environment variable it needs (docs/slurm.md, Environment)",
            );
            return checks.done;
        }
    };
    if let (Some(ours), theirs) = (version, &facts.version)
        && !theirs.is_empty()
        && ours != *theirs
    {
        checks.warn(
            "version",
            format!("the commands are {ours}, the controller is {theirs}"),
            "commands may be up to two releases older than the controller, but not newer",
        );
    }
    accounting(&mut checks, &facts);
    ends_of_jobs(&mut checks, slurm, cluster).await;
    account_and_qos(&mut checks, &facts, &settings);
    limits(&mut checks, &facts, &settings);
    let reserved = reservation(&mut checks, slurm, cluster, &facts, &settings).await;
    partition(&mut checks, &facts, &settings, reserved);
    noncluster(&mut checks, &facts, &settings, reserved);
    checks.done
}

/// `scontrol` cannot be started, so nothing else can be checked.
struct NothingToAsk;

/// Checks whether all commands are available and have the same version.
async fn commands(checks: &mut Checks, slurm: &Slurm) -> Result<Option<String>, NothingToAsk> {
    let needed = ["sbatch", "squeue", "scancel", "sacct", "scontrol", "sinfo", "sacctmgr"];
    let mut versions: Vec<(String, Vec<&str>)> = Vec::new();
    let mut missing = Vec::new();
    for program in needed {
        match slurm.ask(program, &["--version"]).await {
            Ok(answer) => {
                let version = answer.split_whitespace().last().unwrap_or_default().to_owned();
                match versions.iter_mut().find(|(other, _)| *other == version) {
                    Some((_, programs)) => programs.push(program),
                    None => versions.push((version, vec![program])),
                }
            }
            Err(SlurmUnavailable(words)) => missing.push((program, words)),
        }
    }
    if let Some((first, _)) = missing.first() {
        let needs = slurm.what_it_needs(first).await.join(",");
        let hint = if needs.is_empty() {
            "all Slurm commands must be on PATH and start: module load slurm".to_owned()
        } else {
            format!(
                "they start only if {needs} is set, which Amore does not pass on: export {}={needs}, or set environment = [{}] in the site's file",
                environment::MORE,
                needs.split(',').map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ")
            )
        };
        let each: Vec<String> = missing
            .iter()
            .map(
                |(program, words)| {
                    if words.starts_with(program) { words.clone() } else { format!("{program}: {words}") }
                },
            )
            .collect();
        checks.problem("commands", each.join("\n"), hint);
    } else if let [(version, programs)] = versions.as_slice() {
        checks.ok("commands", format!("Slurm {version} ({})", programs.join(", ")));
    } else {
        let each: Vec<_> = versions
            .iter()
            .map(|(version, programs)| format!("{version}: {}", programs.join(", ")))
            .collect();
        checks.warn("commands", each.join("\n"), "they come from several installations: check PATH");
    }
    if missing.iter().any(|(program, _)| *program == "scontrol") {
        return Err(NothingToAsk);
    }
    Ok(versions.into_iter().next().map(|(version, _)| version))
}

/// Checks whether accounting knows the configured clusters. Only accounting has their addresses.
async fn clusters_are_known(checks: &mut Checks, slurm: &Slurm, clusters: &Clusters) -> bool {
    if *clusters == Clusters::Ours {
        return true;
    }
    let asked = tokio::join!(commands::names(slurm, clusters), commands::known_clusters(slurm));
    let (names, known) = match asked {
        (Ok(names), Ok(known)) => (names.into_iter().flatten().collect::<Vec<String>>(), known),
        (Err(SlurmUnavailable(words)), _) | (_, Err(SlurmUnavailable(words))) => {
            checks.problem(
                "clusters",
                format!("accounting does not know their addresses: {words}"),
                "jobs wait until it answers; this machine's own cluster need not be named: amore-proto db-config slurm_clusters --delete",
            );
            return false;
        }
    };
    let unknown: Vec<&str> = names.iter().filter(|name| !known.contains(name)).map(String::as_str).collect();
    if !unknown.is_empty() {
        checks.problem(
            "clusters",
            format!(
                "the cluster {} does not exist: accounting knows {}",
                unknown.join(", "),
                known.join(", ")
            ),
            "`sacctmgr show cluster` lists them; amore-proto db-config slurm_clusters NAME, or --delete",
        );
        return false;
    }
    let mut found = names.join(", ");
    if clusters.chosen_by_slurm() {
        found.push_str(
            ": Slurm chooses for each job; partition, reservation, account and QOS are not checked",
        );
    }
    checks.ok("clusters", found);
    true
}

async fn controller(checks: &mut Checks, slurm: &Slurm, cluster: Option<&str>) -> bool {
    let ping = cluster.map_or_else(|| vec!["ping"], |name| vec!["-M", name, "ping"]);
    match slurm.ask("scontrol", &ping).await {
        Ok(answer) if answer.contains(" is UP") => {
            let down = answer.lines().any(|line| line.contains(" is DOWN"));
            if down {
                checks.warn("controller", answer, "one of them answers, which is enough");
            } else {
                checks.ok("controller", answer);
            }
            true
        }
        Ok(words) | Err(SlurmUnavailable(words)) => {
            checks.problem(
                "controller",
                words,
                "jobs cannot be submitted until it answers; running jobs continue. With --direct, runs are computed on this machine",
            );
            false
        }
    }
}

fn accounting(checks: &mut Checks, facts: &SiteFacts) {
    let user = &facts.user;
    match &user.associations {
        None => {
            let why = facts.accounting_silent.clone().unwrap_or_default();
            let hint =
                "jobs run without it; the outcome of a job that left the queue unobserved is then unknown";
            checks.warn("accounting", format!("sacctmgr does not answer: {why}"), hint);
        }
        Some(associations) if associations.accounts.is_empty() => checks.warn(
            "accounting",
            format!("{} has no account on cluster {}", user.name, facts.cluster),
            "if accounts are enforced, Slurm refuses your jobs: ask the administrators for an account",
        ),
        Some(associations) => {
            let each: Vec<String> = associations
                .accounts
                .iter()
                .map(|(account, qos)| {
                    let default =
                        if user.default_account.as_ref() == Some(account) { ", the default" } else { "" };
                    let qos: Vec<&str> = qos.iter().map(String::as_str).collect();
                    format!("account {account}{default} (QOS {})", qos.join(", "))
                })
                .collect();
            checks
                .ok("accounting", format!("{} on cluster {}: {}", user.name, facts.cluster, each.join("; ")));
        }
    }
}

/// Checks whether accounting reports how jobs ended, and which jobs are ours.
async fn ends_of_jobs(checks: &mut Checks, slurm: &Slurm, cluster: Option<&str>) {
    match commands::kept_tokens(slurm, cluster).await {
        Err(SlurmUnavailable(words)) => checks.warn(
            "accounting",
            format!("sacct does not answer: {words}"),
            "jobs run without it; the outcome of a job that left the queue unobserved, and who cancelled a job, are then unknown",
        ),
        Ok(_) => {
            let known_not = slurm.unknown_fields();
            let unknown: Vec<&str> =
                ACCOUNTED.into_iter().filter(|field| known_not.iter().any(|no| no == field)).collect();
            if !unknown.is_empty() {
                checks.warn(
                    "accounting",
                    format!("this version of sacct has no field {}: it is queried without", unknown.join(", ")),
                    "Slurm 21.08 and later keep command lines. Without them, a job whose number was lost can only be found by its comment, and an ended job with the same number as one of yours cannot be distinguished from it",
                );
            }
        }
    }
}

fn account_and_qos(checks: &mut Checks, facts: &SiteFacts, settings: &SlurmSettings) {
    let Some(associations) = facts.user.associations.as_ref().filter(|all| !all.accounts.is_empty()) else {
        return;
    };
    let names: Vec<&str> = associations.accounts.keys().map(String::as_str).collect();
    if let Some(account) = &settings.account {
        // Accounting stores names in lower case.
        if associations.accounts.contains_key(&account.to_lowercase()) {
            checks.ok("account", account.clone());
        } else {
            let found = format!("you may not use {account}: Slurm would refuse jobs");
            checks.problem("account", found, format!("slurm_account: one of {}", names.join(", ")));
        }
    }
    if let Some(qos) = &settings.qos {
        let account = settings.account.as_ref().or(facts.user.default_account.as_ref());
        let permitted = account.and_then(|account| associations.accounts.get(account));
        match permitted {
            Some(permitted) if permitted.contains(&qos.to_lowercase()) => checks.ok("qos", qos.clone()),
            Some(permitted) => {
                let permitted: Vec<&str> = permitted.iter().map(String::as_str).collect();
                let found = format!("your account does not allow {qos}: Slurm would refuse jobs");
                checks.problem("qos", found, format!("slurm_qos: one of {}", permitted.join(", ")));
            }
            None => {}
        }
    }
}

/// The limits of the user's account. Jobs that exceed them never start, or are refused.
fn limits(checks: &mut Checks, facts: &SiteFacts, settings: &SlurmSettings) {
    let account = settings.account.as_ref().or(facts.user.default_account.as_ref());
    let limits = facts.user.associations.as_ref().zip(account);
    let Some(limits) = limits.and_then(|(all, account)| all.limits.get(account)) else { return };
    let wanted = settings.time.as_deref().and_then(minutes).unwrap_or(TIME_MINUTES);
    let mut words = Vec::new();
    words.extend(limits.jobs.map(|jobs| format!("{jobs} running jobs")));
    words.extend(limits.submitted.map(|jobs| format!("{jobs} jobs in the queue")));
    words.extend(limits.minutes.map(|minutes| format!("{} per job", format_minutes(minutes))));
    if words.is_empty() {
        return;
    }
    let found = format!("at most {}", words.join(", "));
    match limits.minutes {
        Some(longest) if wanted > longest => checks.problem(
            "limits",
            format!("{found}: jobs of {} would never start", format_minutes(wanted)),
            format!("amore-proto db-config slurm_time {}", format_minutes(longest)),
        ),
        _ => checks.ok("limits", found),
    }
}

/// Whether jobs will use a reservation.
async fn reservation(
    checks: &mut Checks,
    slurm: &Slurm,
    cluster: Option<&str>,
    facts: &SiteFacts,
    settings: &SlurmSettings,
) -> bool {
    let Some(names) = &settings.reservation else { return false };
    let all = match slurm.reservations(cluster).await {
        Ok(all) => all,
        Err(SlurmUnavailable(words)) => {
            checks.problem("reservation", words, "try again");
            return true;
        }
    };
    let now = site_facts::now();
    let mut usable = false;
    for name in names.split(',') {
        let found = state_for(&all, name, &facts.user, settings.account.as_deref(), now);
        let words = format!("{name} {}", found.words(now));
        usable |= found.is_usable();
        match (&found, found.hint()) {
            (ReservationState::Active { .. }, _) => checks.ok("reservation", words),
            (ReservationState::NotStarted { .. }, hint) => {
                checks.warn("reservation", words, hint.unwrap_or_default())
            }
            (_, hint) => checks.problem(
                "reservation",
                format!("{words}: jobs go to a partition instead"),
                hint.unwrap_or_default(),
            ),
        }
    }
    usable
}

fn partition(checks: &mut Checks, facts: &SiteFacts, settings: &SlurmSettings, reserved: bool) {
    let minutes = settings.time.as_deref().and_then(minutes).unwrap_or(TIME_MINUTES);
    let wanted = JobNeeds {
        minutes,
        account: settings.account.clone(),
        qos: settings.qos.clone(),
        ..JobNeeds::default()
    };
    if let Some(names) = &settings.partition {
        for name in names.split(',') {
            match facts.judge(name, &JobNeeds { reserved, ..wanted.clone() }) {
                Some(verdict @ Usability::Usable { .. }) => {
                    checks.ok("partition", format!("{name} is {verdict}"))
                }
                Some(verdict) => checks.problem(
                    "partition",
                    format!("{name} cannot be used: {verdict}"),
                    "amore-proto db-config slurm_partition NAME, or --delete to have one chosen",
                ),
                None => checks.problem(
                    "partition",
                    format!("the partition {name} does not exist"),
                    "`sinfo -s` lists them; amore-proto db-config slurm_partition NAME, or --delete",
                ),
            }
        }
    }
    let choice = facts.choose(&wanted);
    let each: String =
        choice.considered.iter().map(|(name, verdict)| format!("\n  {name}: {verdict}")).collect();
    let check = if settings.partition.is_some() { "fallback" } else { "partition" };
    let time = format_minutes(minutes);
    match &choice.chosen {
        Some(chosen) => {
            checks.ok(check, format!("for {time}: {}, because {}{each}", chosen.name, chosen.because));
        }
        None if settings.partition.is_some() => {}
        None => checks.problem(
            check,
            format!("no partition allows {time}{each}"),
            "a shorter time may help: amore-proto db-config slurm_time 1:00:00; or ask for access to a partition",
        ),
    }
}

/// For jobs of variables without `cluster=True`: which nodes are large enough.
fn noncluster(checks: &mut Checks, facts: &SiteFacts, settings: &SlurmSettings, reserved: bool) {
    let Some(job) = settings.noncluster_job() else { return };
    let wanted = JobNeeds {
        minutes: settings.time.as_deref().and_then(minutes).unwrap_or(TIME_MINUTES),
        cpus: job.cpus.filter(|_| settings.cpus.is_none()),
        mem_mib: job.mem_mib.filter(|_| settings.mem.is_none()),
        account: settings.account.clone(),
        qos: settings.qos.clone(),
        reserved,
        ..JobNeeds::default()
    };
    let asks = match (wanted.cpus, wanted.mem_mib) {
        (None, None) => "neither CPUs nor memory".to_owned(),
        (Some(cpus), None) => format!("{cpus} CPUs"),
        (None, Some(mem)) => format!("{mem} MiB"),
        (Some(cpus), Some(mem)) => format!("{cpus} CPUs and {mem} MiB"),
    };
    let judged: Vec<(String, Option<Usability>)> = match &settings.partition {
        Some(names) => names.split(',').map(|name| (name.to_owned(), facts.judge(name, &wanted))).collect(),
        None => facts
            .choose(&wanted)
            .considered
            .into_iter()
            .map(|(name, verdict)| (name, Some(verdict)))
            .collect(),
    };
    let usable = judged.iter().find(|(_, verdict)| matches!(verdict, Some(Usability::Usable { .. })));
    // A reservation has its own nodes, which are not known here.
    if let Some((name, _)) = usable {
        checks.ok("noncluster", format!("its jobs request {asks}: {name} has that"));
    } else if reserved && settings.partition.is_none() {
        checks.ok("noncluster", format!("its jobs request {asks}, in the reservation"));
    } else {
        let each: String = judged
            .iter()
            .filter_map(|(name, verdict)| Some(format!("\n  {name}: {}", verdict.as_ref()?)))
            .collect();
        checks.problem(
            "noncluster",
            format!("its jobs request {asks}: Slurm would refuse them, or never start them{each}"),
            "amore-proto db-config noncluster_mem 2G, noncluster_cpus 1 --num; none omits the option",
        );
    }
}
