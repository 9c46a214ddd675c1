//! `amore jobs`.

use std::{
    collections::{BTreeSet, HashMap},
    process::ExitCode,
};

use amore_model::{JobId, Notice};
use comfy_table::{ContentArrangement, Table, presets};
use serde_json::json;

use super::{failure::Failure, output};
use crate::{
    coordinate::remembered::{Remembered, RememberedTask},
    database_dir::{locate, must_have_run_table},
    dispatch::slurm::{Slurm, answers::JobStatus, commands, reasons},
};

/// List unfinished tasks with their Slurm jobs and their state in the queue.
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
}

impl Line {
    fn phase(&self) -> &'static str {
        if self.task.is_being_cancelled() { "cancelling" } else { self.task.phase.word() }
    }
}

pub async fn run(arguments: &Arguments, slurm: &Slurm) -> Result<ExitCode, Failure> {
    let dir = locate(arguments.directory.as_deref())?;
    must_have_run_table(&dir)?;
    let lines = match Remembered::open(&dir).await? {
        Some(remembered) => lines(&remembered, slurm).await?,
        None => Vec::new(),
    };
    if arguments.json {
        let rows: Vec<_> = lines.iter().map(as_json).collect();
        output::say_json(&rows)?;
    } else if lines.is_empty() {
        output::say("no unfinished tasks");
    } else {
        output::say(as_table(&lines));
    }
    Ok(ExitCode::SUCCESS)
}

async fn lines(remembered: &Remembered, slurm: &Slurm) -> Result<Vec<Line>, Failure> {
    let tasks = remembered.open_tasks().await?;
    // Without an answer from Slurm, the ledger's state is shown.
    let clusters: BTreeSet<Option<String>> =
        tasks.iter().filter_map(RememberedTask::job).map(|job| job.cluster.clone()).collect();
    let mut queue: HashMap<JobId, JobStatus> = HashMap::new();
    for cluster in clusters {
        match commands::queue(slurm, cluster.as_deref()).await {
            Ok(found) => queue.extend(found),
            Err(silent) => {
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
            Line { task, seen }
        })
        .collect())
}

fn as_json(line: &Line) -> serde_json::Value {
    json!({
        "proposal": line.task.proposal, "run": line.task.run, "task": line.task.id,
        "urgency": line.task.urgency.word(), "phase": line.phase(), "attempt": line.task.attempt, "variables": line.task.names(),
        "job": line.task.job().map(|job| job.number.to_string()),
        "cluster": line.task.job().and_then(|job| job.cluster.clone()), "state": line.seen.as_ref().map(|seen| seen.state.word()),
        "reason": line.seen.as_ref().map(|seen| &seen.reason),
        "waiting": line.seen.as_ref().filter(|seen| seen.waits()).map(|seen| reasons::meaning(&seen.reason).word()),
        "nodes": line.seen.as_ref().map(|seen| &seen.nodes),
        "partition": line.seen.as_ref().map(|seen| &seen.partition),
        "reservation": line.seen.as_ref().map(|seen| &seen.reservation),
    })
}

fn as_table(lines: &[Line]) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["Run", "Variables", "Task", "Job", "State", "Nodes (reason)"]);
    for line in lines {
        let (state, place) = match &line.seen {
            Some(seen) if seen.waits() => (seen.state.to_string(), seen.reason.clone()),
            Some(seen) => (seen.state.to_string(), seen.nodes.clone()),
            None => (String::new(), String::new()),
        };
        let names = line.task.names();
        let mut variables = names.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
        if names.len() > 3 {
            variables.push_str(", …");
        }
        table.add_row([
            line.task.run.to_string(),
            variables,
            line.phase().to_owned(),
            line.task.job().map(ToString::to_string).unwrap_or_default(),
            state,
            place,
        ]);
    }
    table.to_string()
}
