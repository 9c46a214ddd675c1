//! `amore explain RUN [VARIABLE]`.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::ExitCode,
};

use amore_core::local_work::{LocalTask, LocalWork};
use amore_model::{JobId, Proposal, Run};
use amore_run_table::{Cell, TableFilter};
use amore_wire::task::NotComputed;
use serde_json::json;

use super::{failure::Failure, local_time, local_work, log::last_not_computed, open, output, variable_name};
use crate::{
    coordinate::{
        local_work_file,
        remembered::{HistoryKind, Phase, Remembered, RememberedTask},
    },
    database_dir::{DatabaseDir, locate},
    dispatch::slurm::{Slurm, client::SlurmUnavailable, commands},
    run_files::Computed,
    service::outside_view::{ArrivalFilter, ArrivalState, InboxReader},
};

/// How many events of the inbox are told at most.
const MOST_EVENTS: u32 = 20;

/// Explain what happened to a run, or to one of its variables: from the request to the value or error, or what it is
/// waiting for, and what to do.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Run number.
    run: Run,
    /// Explain only this variable.
    #[arg(value_parser = variable_name)]
    variable: Option<String>,
    /// Proposal number (default: the directory's).
    #[arg(long)]
    proposal: Option<Proposal>,
    /// Proposal number or database directory (default: the working directory).
    #[arg(long = "in", value_name = "DIR")]
    directory: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// One entry of the explanation.
struct Link {
    at: Option<f64>,
    kind: String,
    words: String,
}

pub async fn run(arguments: &Arguments, slurm: &Slurm) -> Result<ExitCode, Failure> {
    let dir = locate(arguments.directory.as_deref())?;
    let table = open::for_reading(&dir).await?;
    let proposal = open::proposal(&table, arguments.proposal).await?;
    let mut links = Vec::new();
    let mut under_way = BTreeSet::new();
    if let Some(remembered) = Remembered::open(&dir).await? {
        let (told, open) = story(&remembered, slurm, proposal, arguments).await?;
        links.extend(told);
        under_way = open;
    }
    if let Some((owner, work)) = local_work_file::read(&dir).await? {
        let (told, open) = here(&work, &owner, proposal, arguments);
        links.extend(told);
        under_way.extend(open);
    }
    links.extend(unfinished_events(&dir, proposal, arguments.run).await);
    let filter = TableFilter {
        proposal: Some(proposal),
        runs: Some(BTreeSet::from([arguments.run])),
        variables: arguments.variable.clone().map(|name| vec![name]),
    };
    let data = table.table(&filter).await?;
    let row = data.rows.first();
    let computed = Computed::read(&dir.run_file(proposal, arguments.run));
    // Used for values in the table while they are being computed again.
    let before = |name: &String| {
        if under_way.contains(name) { " (from an earlier request; it is being computed again)" } else { "" }
    };
    for (at, column) in data.columns.iter().enumerate() {
        match row.and_then(|row| row.cells.get(at)).and_then(Option::as_ref) {
            Some(Cell::Error { class, message }) => links.push(Link {
                at: None,
                kind: "error".to_owned(),
                words: format!("{}: {class}: {message}{}", column.name, before(&column.name)),
            }),
            Some(_) if arguments.variable.is_some() => {
                links.push(Link {
                    at: None,
                    kind: "value".to_owned(),
                    words: format!(
                        "{} has a value; `amore table` shows it{}",
                        column.name,
                        before(&column.name)
                    ),
                });
                links.extend(computed_again(&computed, &column.name));
            }
            _ => {}
        }
    }
    if let Some(note) = last_not_computed(&dir, proposal, arguments.run) {
        links.extend(why_not_computed(note, &computed, arguments.variable.as_ref()));
    }
    let log = dir.run_log(proposal, arguments.run);
    if links.is_empty() {
        let known = table.computed_variables().await?;
        let words = if let Some(name) = &arguments.variable
            && !known.iter().any(|row| row.name == *name)
        {
            format!("there is no variable {name}: `amore table --columns` lists names and titles")
        } else if let (Some(_), Some(name)) = (row, &arguments.variable) {
            format!(
                "{name} has neither a value nor an error: it returned None, was not requested, or could not be stored (see its log)"
            )
        } else if row.is_some() {
            "its variables have no errors, and the ledger has no Slurm job for it".to_owned()
        } else {
            "it was not requested here: amore reprocess computes it".to_owned()
        };
        links.push(Link { at: None, kind: "nothing".to_owned(), words });
    }
    if log.exists() {
        links.push(Link {
            at: None,
            kind: "log".to_owned(),
            words: format!("output of its variables: amore log {}", arguments.run),
        });
    }
    if arguments.json {
        let rows: Vec<_> = links
            .iter()
            .map(|link| json!({"at": link.at, "kind": link.kind, "message": link.words}))
            .collect();
        output::say_json(&rows)?;
    } else {
        let zone = local_time::zone();
        let times: Vec<String> = links
            .iter()
            .map(|link| link.at.map(|at| local_time::in_zone(at, &zone)).unwrap_or_default())
            .collect();
        let width = times.iter().map(String::len).max().unwrap_or(0);
        for (link, at) in links.iter().zip(times) {
            let head = format!("{at:width$}  {:10} ", link.kind);
            let words = link.words.replace('\n', &format!("\n{}", " ".repeat(head.len())));
            output::say(format!("{head}{words}"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The events about the run with which the service of this directory has not finished. What cannot be read is not told.
async fn unfinished_events(dir: &DatabaseDir, proposal: Proposal, run: Run) -> Vec<Link> {
    let filter = ArrivalFilter {
        states: [ArrivalState::Open, ArrivalState::Failed].into(),
        proposal: Some(proposal),
        run: Some(run),
        source: None,
        before: None,
    };
    let Ok(Some(reader)) = InboxReader::open(dir.path()).await else { return Vec::new() };
    let rows = reader.list(&filter, MOST_EVENTS).await.unwrap_or_default();
    let told = rows.into_iter().rev().map(|row| {
        let data = row.arrival.data.as_deref().unwrap_or("its");
        let why = row.arrival.detail["why"].as_str().map(|why| format!(": {why}")).unwrap_or_default();
        let words = match row.arrival.state {
            ArrivalState::Failed => "has failed (amore inbox retry)",
            _ => "is open",
        };
        let words = format!("event {} of the service's inbox ({data} data) {words}{why}", row.id);
        Link { at: Some(row.arrival.received), kind: "event".to_owned(), words }
    });
    told.collect()
}

/// What the owner of the directory computes of the run on its host, and the unfinished variables.
fn here(
    work: &LocalWork,
    owner: &str,
    proposal: Proposal,
    arguments: &Arguments,
) -> (Vec<Link>, BTreeSet<String>) {
    let zone = local_time::zone();
    let of_run = |task: &&LocalTask| (task.proposal, task.run) == (proposal, arguments.run);
    let tasks: Vec<&LocalTask> = work.tasks.iter().filter(of_run).collect();
    let is_meant = |task: &&&LocalTask| {
        arguments.variable.as_ref().is_none_or(|name| task.names.iter().any(|other| other == name))
    };
    let now = |words: String| Link { at: None, kind: "now".to_owned(), words };
    let told = tasks.iter().filter(is_meant).map(|task| {
        let does = local_work::words(&task.now, &zone);
        now(format!("{} is {does}, on the host of {owner}", task.names.join(", ")))
    });
    // It is not known yet which runs are meant.
    let unplanned = local_work::unplanned(work, &zone).map(|words| now(format!("{words}; for any run")));
    let open = tasks.iter().flat_map(|task| task.names.iter().cloned()).collect();
    (told.chain(unplanned).collect(), open)
}

/// Explains why values are from an earlier command than the last one, if they are.
fn why_not_computed(note: NotComputed, computed: &Computed, variable: Option<&String>) -> Option<Link> {
    let meant = |name: &String| variable.is_none_or(|wanted| wanted == name);
    let kept: Vec<String> =
        note.kept.iter().filter(|name| meant(name) && computed.is_older(name, note.at)).cloned().collect();
    if kept.is_empty() {
        return None;
    }
    let words = format!("nothing was computed: {}\nearlier values are kept: {}", note.why, kept.join(", "));
    Some(Link { at: Some(note.at), kind: "error".to_owned(), words })
}

/// Explains why dependents in other processes do not read the value from the file, if so.
fn computed_again(computed: &Computed, name: &str) -> Option<Link> {
    let differs = computed.differs(name)?;
    let words = format!("it is computed again if another process or job needs it: {differs}");
    Some(Link { at: None, kind: "value".to_owned(), words })
}

/// The variables of a task.
fn names(task: &RememberedTask) -> String {
    task.names().join(", ")
}

/// What a task that cannot start is waiting for.
fn waits(
    task: &RememberedTask,
    all: &[RememberedTask],
    last: Option<&(HistoryKind, String)>,
) -> Option<Link> {
    let words = match task.phase {
        Phase::Waiting => {
            let open = |id: &&String| all.iter().find(|other| other.id == **id && !other.has_ended());
            let before: Vec<String> = task.waits_for.iter().filter_map(|id| open(&id)).map(names).collect();
            format!("{} waits for {}", names(task), before.join("; "))
        }
        Phase::Ready if last.is_some_and(|(kind, _)| *kind == HistoryKind::Refused) => {
            let said = last.map(|(_, said)| said.as_str()).unwrap_or_default();
            format!("{} will be submitted again ({said})", names(task))
        }
        Phase::Ready => format!("{} waits for its turn (`amore db-config concurrent_jobs`)", names(task)),
        Phase::Submitting | Phase::Submitted | Phase::Running | Phase::Ended => return None,
    };
    Some(Link { at: None, kind: "now".to_owned(), words })
}

/// What a job that is being submitted waits for.
fn submission(names: &str, silent: Option<SlurmUnavailable>) -> String {
    match silent {
        None => format!("{names}: the job is being submitted"),
        Some(silent) => format!(
            "{names}: the job is being submitted; {silent}. Slurm may have the job already: until it answers, the job is neither submitted again nor computed elsewhere"
        ),
    }
}

/// The entries from the ledger, and the unfinished variables.
async fn story(
    remembered: &Remembered,
    slurm: &Slurm,
    proposal: Proposal,
    arguments: &Arguments,
) -> Result<(Vec<Link>, BTreeSet<String>), Failure> {
    let tasks = remembered.tasks_of_run(proposal, arguments.run).await?;
    let wanted: Vec<&RememberedTask> = tasks
        .iter()
        .filter(|task| arguments.variable.as_ref().is_none_or(|name| task.is_about(name)))
        .collect();
    let mut links = Vec::new();
    for request in remembered.requests().await? {
        if wanted.iter().any(|task| task.request == request.id) {
            let asked = request
                .asked
                .map(|(matches, names)| match (matches.as_slice(), names.as_slice()) {
                    ([], []) => String::new(),
                    (matches, []) => format!(" for titles with {}", matches.join(", ")),
                    (_, names) => format!(" for {}", names.join(", ")),
                })
                .unwrap_or_default();
            links.push(Link {
                at: Some(request.created),
                kind: "request".to_owned(),
                words: format!("requested by {}{asked}", request.by_user),
            });
        }
    }
    let mut last_words: BTreeMap<&str, (HistoryKind, String)> = BTreeMap::new();
    for event in remembered.events_of_run(proposal, arguments.run).await? {
        let task = event.task.as_ref().and_then(|id| wanted.iter().find(|task| task.id == *id));
        if task.is_some() || event.task.is_none() {
            if let Some(task) = task {
                last_words.insert(task.id.as_str(), (event.kind.clone(), event.message.clone()));
            }
            // Later entries name the job, not its variables.
            let whose = task.filter(|_| event.kind == HistoryKind::Submitted).map(|task| names(task));
            let whose = whose.map(|names| format!(" for {names}")).unwrap_or_default();
            links.push(Link {
                at: Some(event.at),
                kind: event.kind.word().to_owned(),
                words: event.message + &whose,
            });
        }
    }
    links.sort_by(|a, b| a.at.unwrap_or(0.0).total_cmp(&b.at.unwrap_or(0.0)));
    links.extend(wanted.iter().filter_map(|task| waits(task, &tasks, last_words.get(task.id.as_str()))));
    let under_way = tasks.iter().filter(|task| !task.has_ended()).flat_map(RememberedTask::names).collect();
    let open: Vec<JobId> =
        wanted.iter().filter(|task| !task.has_ended()).filter_map(|task| task.job().cloned()).collect();
    let mut by_cluster: BTreeMap<Option<String>, Vec<JobId>> = BTreeMap::new();
    for job in open {
        by_cluster.entry(job.cluster.clone()).or_default().push(job);
    }
    let submitting: Vec<_> = wanted
        .iter()
        .filter(|task| task.phase == Phase::Submitting && task.job().is_none())
        .map(|task| names(task))
        .collect();
    if !submitting.is_empty() {
        let words = submission(&submitting.join("; "), commands::queue(slurm, None).await.err());
        links.push(Link { at: None, kind: "now".to_owned(), words });
    }
    for (cluster, jobs) in by_cluster {
        match commands::queue(slurm, cluster.as_deref()).await {
            Ok(queue) => {
                for job in jobs {
                    let words = match queue.get(&job) {
                        Some(seen) => match seen.advice(&job) {
                            Some(advice) => format!("job {job} {}\n{}", advice.what, advice.hint),
                            None if seen.waits() => format!("job {job} waits: {}", seen.reason),
                            None => format!("job {job} is {} on {}", seen.state, seen.nodes),
                        },
                        None => {
                            format!("job {job} is not in the queue; `amore follow` finds out how it ended")
                        }
                    };
                    links.push(Link { at: None, kind: "now".to_owned(), words });
                }
            }
            Err(silent) => links.push(Link { at: None, kind: "now".to_owned(), words: silent.to_string() }),
        }
    }
    Ok((links, under_way))
}
