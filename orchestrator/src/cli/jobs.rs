//! `amore jobs`.

use std::{
    collections::{BTreeSet, HashMap},
    process::ExitCode,
};

use amore_ledger::TaskRow;
use amore_model::{JobId, Notice, Urgency};
use comfy_table::{ContentArrangement, Table, presets};
use serde_json::json;

use super::output;
use crate::{
    coordinate::{
        ledger_place,
        memory::{TaskFacts, TaskSpec},
    },
    database_dir::DatabaseDir,
    dispatch::slurm::{answers::Seen, client, reasons},
    failure::Failure,
};

/// Show the tasks that are under way, with their Slurm jobs as the queue has them.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Proposal number or database directory, instead of the working directory.
    #[arg(long = "in", value_name = "DIR")]
    directory: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

struct Line {
    task: TaskRow,
    variables: Vec<String>,
    job: Option<JobId>,
    seen: Option<Seen>,
    /// Its end is wanted.
    cancelling: bool,
}

impl Line {
    fn phase(&self) -> &'static str {
        if self.cancelling { "cancelling" } else { self.task.phase.word() }
    }
}

/// Prints them.
pub async fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let dir = DatabaseDir::locate(arguments.directory.as_deref())?;
    dir.must_have_run_table()?;
    let lines = if ledger_place::exists(&dir) { lines(&dir).await? } else { Vec::new() };
    if arguments.json {
        let rows: Vec<_> = lines.iter().map(as_json).collect();
        output::say_json(&rows)?;
    } else if lines.is_empty() {
        output::say("nothing is under way");
    } else {
        output::say(as_table(&lines));
    }
    Ok(ExitCode::SUCCESS)
}

async fn lines(dir: &DatabaseDir) -> Result<Vec<Line>, Failure> {
    let ledger = ledger_place::open_to_read(dir).await?;
    let tasks =
        ledger.open_tasks(&ledger_place::scope(dir)).await.map_err(|error| ledger_place::failed(&error))?;
    // Without Slurm's word the ledger's is shown.
    let facts = |task: &TaskRow| serde_json::from_value::<TaskFacts>(task.facts.clone()).ok();
    let job = |task: &TaskRow| facts(task)?.job;
    let clusters: BTreeSet<Option<String>> = tasks.iter().filter_map(job).map(|job| job.cluster).collect();
    let mut queue = HashMap::new();
    for cluster in clusters {
        match client::queue(cluster.as_deref()).await {
            Ok(found) => queue.extend(found),
            Err(silent) => {
                let which = cluster.map(|name| format!(" of {name}")).unwrap_or_default();
                output::tell(&Notice::note(format!(
                    "Slurm{which} does not answer ({silent}): how its jobs stand is not known now"
                )));
            }
        }
    }
    Ok(tasks
        .into_iter()
        .map(|task| {
            let job = job(&task);
            let variables = serde_json::from_value::<TaskSpec>(task.spec.clone())
                .map(|spec| spec.planned.names())
                .unwrap_or_default();
            let seen = job.as_ref().and_then(|job| queue.get(job)).cloned();
            let cancelling = facts(&task).is_some_and(|facts| facts.journey.cancelled);
            Line { task, variables, job, seen, cancelling }
        })
        .collect())
}

fn as_json(line: &Line) -> serde_json::Value {
    json!({
        "proposal": line.task.proposal, "run": line.task.run, "task": line.task.id,
        "urgency": Urgency::of_priority(line.task.priority).word(), "phase": line.phase(), "attempt": line.task.attempt, "variables": line.variables,
        "job": line.job.as_ref().map(|job| job.number.to_string()),
        "cluster": line.job.as_ref().and_then(|job| job.cluster.clone()), "state": line.seen.as_ref().map(|seen| &seen.state),
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
    table.set_header(["Run", "Variables", "Task", "Job", "State", "Where, or why not"]);
    for line in lines {
        let (state, place) = match &line.seen {
            Some(seen) if seen.waits() => (seen.state.clone(), seen.reason.clone()),
            Some(seen) => (seen.state.clone(), seen.nodes.clone()),
            None => (String::new(), String::new()),
        };
        let mut variables = line.variables.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
        if line.variables.len() > 3 {
            variables.push_str(", …");
        }
        table.add_row([
            line.task.run.to_string(),
            variables,
            line.phase().to_owned(),
            line.job.as_ref().map(ToString::to_string).unwrap_or_default(),
            state,
            place,
        ]);
    }
    table.to_string()
}
