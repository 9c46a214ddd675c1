//! `amore jobs`.

use std::{
    collections::{BTreeSet, HashMap},
    process::ExitCode,
};

use amore_core::local_work::{LocalState, LocalTask, LocalWork};
use amore_model::{JobId, Notice};
use comfy_table::{ContentArrangement, Table, presets};
use serde_json::json;

use super::{failure::Failure, local_time, local_work, output};
use crate::{
    coordinate::{
        local_work_file,
        remembered::{Phase, Remembered, RememberedTask},
    },
    database_dir::{locate, must_have_run_table},
    dispatch::slurm::{Slurm, answers::JobStatus, commands, reasons},
};

/// List unfinished tasks: those in Slurm jobs with their state in the queue, and those that are computed on the host of the
/// directory's owner.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Proposal number or database directory (default: the working directory).
    #[arg(long = "in", value_name = "DIR")]
    directory: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

struct Line {
    task: RememberedTask,
    seen: Option<JobStatus>,
    /// Why Slurm has not said whether it has the job.
    silent: Option<String>,
    /// What it does on the owner's host.
    here: Option<LocalState>,
}

impl Line {
    fn phase(&self) -> &'static str {
        if self.task.is_being_cancelled() { "cancelling" } else { self.task.phase.word() }
    }
}

pub async fn run(arguments: &Arguments, slurm: &Slurm) -> Result<ExitCode, Failure> {
    let dir = locate(arguments.directory.as_deref())?;
    must_have_run_table(&dir)?;
    let (host, mut work) = local_work_file::read(&dir).await?.unwrap_or_default();
    let mut lines = match Remembered::open(&dir).await? {
        Some(remembered) => lines(&remembered, slurm).await?,
        None => Vec::new(),
    };
    for line in &mut lines {
        line.here = take(&mut work, &line.task.id).map(|task| task.now);
    }
    if let Some(words) = local_work::unplanned(&work, &local_time::zone()) {
        output::tell(&Notice::note(words));
    }
    if work.more > 0 {
        output::tell(&Notice::note(format!("{} more tasks on the host are not shown", work.more)));
    }
    if arguments.json {
        let local = work.tasks.iter().map(|task| local_as_json(task, &host));
        let rows: Vec<_> = lines.iter().map(as_json).chain(local).collect();
        output::say_json(&rows)?;
    } else if lines.is_empty() && work.tasks.is_empty() {
        if work.unplanned == 0 {
            output::say("no unfinished tasks");
        }
    } else {
        output::say(as_table(&lines, &work.tasks));
    }
    Ok(ExitCode::SUCCESS)
}

/// Takes a task that the ledger has, too.
fn take(work: &mut LocalWork, id: &str) -> Option<LocalTask> {
    let at = work.tasks.iter().position(|task| task.id == id)?;
    Some(work.tasks.remove(at))
}

async fn lines(remembered: &Remembered, slurm: &Slurm) -> Result<Vec<Line>, Failure> {
    let tasks = remembered.open_tasks().await?;
    // Without an answer from Slurm, the ledger's state is shown.
    let mut clusters: BTreeSet<Option<String>> =
        tasks.iter().filter_map(RememberedTask::job).map(|job| job.cluster.clone()).collect();
    let is_submitting = |task: &RememberedTask| task.phase == Phase::Submitting && task.job().is_none();
    if tasks.iter().any(is_submitting) {
        clusters.insert(None);
    }
    let mut queue: HashMap<JobId, JobStatus> = HashMap::new();
    let mut silent_here = None;
    for cluster in clusters {
        match commands::queue(slurm, cluster.as_deref()).await {
            Ok(found) => queue.extend(found),
            Err(silent) => {
                if cluster.is_none() {
                    silent_here = Some(silent.to_string());
                }
                let which = cluster.map(|name| format!(" of {name}")).unwrap_or_default();
                output::tell(&Notice::note(format!(
                    "Slurm{which} does not answer ({silent}): the state of its jobs is unknown"
                )));
            }
        }
    }
    Ok(tasks
        .into_iter()
        .map(|task| {
            let seen = task.job().and_then(|job| queue.get(job)).cloned();
            let silent = silent_here.clone().filter(|_| is_submitting(&task));
            Line { task, seen, silent, here: None }
        })
        .collect())
}

fn as_json(line: &Line) -> serde_json::Value {
    json!({
        "proposal": line.task.proposal, "run": line.task.run, "task": line.task.id,
        "urgency": line.task.urgency.word(), "phase": line.phase(), "attempt": line.task.attempt, "variables": line.task.names(),
        "job": line.task.job().map(|job| job.number.to_string()),
        "cluster": line.task.job().and_then(|job| job.cluster.clone()), "state": line.seen.as_ref().map(|seen| seen.state.word()),
        "reason": line.seen.as_ref().map(|seen| &seen.reason).or(line.silent.as_ref()),
        "waiting": line.seen.as_ref().filter(|seen| seen.waits()).map(|seen| reasons::meaning(&seen.reason).word()),
        "nodes": line.seen.as_ref().map(|seen| &seen.nodes),
        "partition": line.seen.as_ref().map(|seen| &seen.partition),
        "reservation": line.seen.as_ref().map(|seen| &seen.reservation),
        "here": line.here,
    })
}

fn local_as_json(task: &LocalTask, host: &str) -> serde_json::Value {
    json!({
        "proposal": task.proposal, "run": task.run, "task": task.id, "urgency": task.urgency.word(),
        "phase": local_work::phase(&task.now), "variables": task.names, "here": task.now, "owner": host,
    })
}

/// The first names.
fn shortened(names: &[String]) -> String {
    let mut shown = names.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > 3 {
        shown.push_str(", …");
    }
    shown
}

fn as_table(lines: &[Line], local: &[LocalTask]) -> String {
    let zone = local_time::zone();
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["Run", "Variables", "Task", "Job", "State", "Nodes (reason)"]);
    for line in lines {
        let (state, place) = match &line.seen {
            Some(seen) if seen.waits() => (seen.state.to_string(), seen.reason.clone()),
            Some(seen) => (seen.state.to_string(), seen.nodes.clone()),
            None => match (&line.silent, &line.here) {
                (Some(silent), _) => ("no answer of Slurm".to_owned(), silent.clone()),
                (None, Some(now)) => ("here".to_owned(), local_work::words(now, &zone)),
                (None, None) => (String::new(), String::new()),
            },
        };
        let variables = shortened(&line.task.names());
        table.add_row([
            line.task.run.to_string(),
            variables,
            line.phase().to_owned(),
            line.task.job().map(ToString::to_string).unwrap_or_default(),
            state,
            place,
        ]);
    }
    for task in local {
        table.add_row([
            task.run.to_string(),
            shortened(&task.names),
            local_work::phase(&task.now).to_owned(),
            String::new(),
            "here".to_owned(),
            local_work::words(&task.now, &zone),
        ]);
    }
    table.to_string()
}
