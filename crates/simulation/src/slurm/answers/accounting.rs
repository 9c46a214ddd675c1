//! `sacct` and `sacctmgr`: queries of accounting.

use crate::{
    Moment,
    slurm::{
        Caller,
        accounting::{Accounting, Record},
        node::node_list,
        options::{CommandLine, Known},
        site::{Association, Site},
        words::{Refusal, long_time},
    },
};

const OPTIONS: &[Known] = &[
    Known { name: "-X", short: "--allocations", valued: false },
    Known { name: "-n", short: "--noheader", valued: false },
    Known { name: "-P", short: "--parsable2", valued: false },
    Known { name: "-j", short: "--jobs", valued: true },
    Known { name: "-u", short: "--user", valued: true },
    Known { name: "-S", short: "--starttime", valued: true },
    Known { name: "-o", short: "--format", valued: true },
];

/// What a command prints if slurmdbd does not answer.
pub(in crate::slurm) fn no_database(program: &str) -> Refusal {
    let mut words = vec![
        "slurm_persist_conn_open_without_init: failed to open persistent connection to host:slurmdbd:6819: ",
        "Sending PersistInit msg: ",
    ];
    if program == "sacct" {
        words.push("Problem talking to the database: ");
    }
    let lines: Vec<String> =
        words.iter().map(|words| format!("{program}: error: {words}Connection timed out")).collect();
    Refusal::new(lines.join("\n"))
}

pub(in crate::slurm) fn sacct(
    accounting: &Accounting,
    cluster: &str,
    caller: &Caller,
    now: Moment,
    argv: &[String],
) -> Result<String, Refusal> {
    let line = CommandLine::read(argv, OPTIONS)?;
    let needed = ["-X", "-n", "-P", "-o"];
    if needed.iter().any(|name| !line.has(name)) || !line.words.is_empty() {
        return Err(Refusal::not_known(format_args!("sacct {}", argv.join(" "))));
    }
    let numbers: Vec<u64> = line.list("-j").iter().filter_map(|number| number.parse().ok()).collect();
    let of_user = |record: &&Record| match line.get("-u") {
        Some(user) => user == record.user || user == record.uid.to_string(),
        // Only root may see jobs of others, with -a, which is not used here.
        None => record.uid == caller.uid,
    };
    let records: Vec<&Record> = if line.has("-j") {
        accounting.numbered(cluster, &numbers)
    } else {
        // Jobs that are not eligible yet are outside of the requested period.
        accounting.of(cluster).filter(|record| record.eligible && record.submitted <= now).collect()
    };
    let fields = line.list("-o");
    let mut shown = String::new();
    for record in records.into_iter().filter(of_user) {
        for (at, field) in fields.iter().enumerate() {
            if at > 0 {
                shown.push('|');
            }
            shown.push_str(&column(record, field)?);
        }
        shown.push('\n');
    }
    Ok(shown)
}

fn column(record: &Record, field: &str) -> Result<String, Refusal> {
    let at = |moment: Option<Moment>| moment.map_or_else(|| "Unknown".to_owned(), |at| at.to_string());
    Ok(match field {
        "JobID" | "JobIDRaw" => record.number.to_string(),
        "JobName" => record.name.clone(),
        "User" => record.user.clone(),
        "State" => record.state_word(),
        "ExitCode" => record.exit_code().to_string(),
        "NodeList" if record.nodes.is_empty() => "None assigned".to_owned(),
        "NodeList" => node_list(record.nodes.iter().map(String::as_str)),
        "Partition" => record.partition.clone(),
        "Reservation" => record.reservation.clone(),
        "Reason" => record.reason_word(),
        "SubmitLine" => record.line.clone(),
        // For a site that does not set AccountingStoreFlags.
        "Comment" => String::new(),
        "Submit" => record.submitted.to_string(),
        "Start" => at(record.started),
        "End" => at(record.ended),
        "Timelimit" => long_time(u64::from(record.minutes)),
        other => return Err(Refusal::not_known(format_args!("the field {other}"))),
    })
}

pub(in crate::slurm) fn sacctmgr(site: &Site, caller: &Caller, argv: &[String]) -> Result<String, Refusal> {
    let words: Vec<&str> = argv.iter().map(String::as_str).collect();
    let cluster = &caller.cluster;
    match words.as_slice() {
        ["-nP", "show", "cluster", "format=cluster"] => {
            Ok(site.clusters.iter().map(|one| format!("{}\n", one.name)).collect())
        }
        ["-nP", "show", "user", user, "format=user,defaultaccount"] => {
            let account = site.person(user).and_then(|person| person.associations.first());
            Ok(account.map_or_else(String::new, |one| format!("{user}|{}\n", one.account)))
        }
        ["-nP", "show", "assoc", "user=", "format=cluster,account,user,parentname"] => {
            let mut shown = String::new();
            for one in &site.clusters {
                shown.push_str(&format!("{}|root||\n", one.name));
                for account in &site.accounts {
                    shown.push_str(&format!("{}|{}||root\n", one.name, account.name));
                }
            }
            Ok(shown)
        }
        ["-nP", "show", "assoc", user, format] => {
            let user = user.strip_prefix("user=").unwrap_or_default();
            let fields = format.strip_prefix("format=").unwrap_or_default();
            let mut shown = String::new();
            for one in &site.clusters {
                for association in site.person(user).into_iter().flat_map(|person| &person.associations) {
                    let columns: Result<Vec<String>, Refusal> = fields
                        .split(',')
                        .map(|field| association_column(&one.name, user, association, field))
                        .collect();
                    shown.push_str(&format!("{}\n", columns?.join("|")));
                }
            }
            Ok(shown)
        }
        _ => Err(Refusal::not_known(format_args!("sacctmgr {} on {cluster}", words.join(" ")))),
    }
}

fn association_column(
    cluster: &str,
    user: &str,
    association: &Association,
    field: &str,
) -> Result<String, Refusal> {
    let number = |limit: Option<u32>| limit.map_or_else(String::new, |limit| limit.to_string());
    Ok(match field {
        "cluster" => cluster.to_owned(),
        "account" => association.account.clone(),
        "user" => user.to_owned(),
        "partition" | "defaultqos" | "grpjobs" => String::new(),
        "qos" => association.qos.join(","),
        "maxjobs" => number(association.max_jobs),
        "maxsubmit" => number(association.max_submitted),
        "maxwall" => {
            association.max_minutes.map_or_else(String::new, |minutes| long_time(u64::from(minutes)))
        }
        other => return Err(Refusal::not_known(format_args!("the field {other}"))),
    })
}
