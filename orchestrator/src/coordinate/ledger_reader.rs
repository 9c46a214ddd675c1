//! Reads the unfinished work of earlier owners from the ledger, and its results from files.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use amore_core::{
    LeftOpen, OpenRequest, OpenTask, RunKey, TaskResults,
    journal::{AttemptRecord, Phase, RequestDetail, TaskFacts, TaskSpec},
};
use amore_ledger::{AttemptRow, Lease, Ledger, TaskRow};
use amore_model::{DatabaseDir, Run};
use amore_results::StoredOutcome;
use amore_wire::task::Outcome;

use super::CoordinateError;
use crate::dispatch::slurm::clusters::Clusters;

/// Reads all unfinished requests and their tasks.
///
/// # Errors
/// Those of the ledger.
pub(super) async fn left_open(
    dir: &DatabaseDir,
    ledger: &Ledger,
    lease: &Lease,
) -> Result<LeftOpen, CoordinateError> {
    let requests = ledger.requests(&lease.scope, true).await?;
    let rows = ledger.open_tasks(&lease.scope).await?;
    let mut by_request: HashMap<String, Vec<TaskRow>> = HashMap::new();
    for row in rows {
        by_request.entry(row.request.clone()).or_default().push(row);
    }
    let mut left = LeftOpen::default();
    for row in requests {
        let id = row.request.id;
        let rows = by_request.remove(&id).unwrap_or_default();
        let detail = match serde_json::from_value::<RequestDetail>(row.request.detail) {
            Ok(detail) => detail,
            Err(error) => {
                tracing::warn!(id, %error, "a request in the ledger cannot be read");
                left.unreadable.extend(rows.iter().map(|task| (task.run, task.id.clone())));
                continue;
            }
        };
        let (mut tasks, unreadable) = readable(rows);
        for task in &mut tasks {
            task.attempt = attempt_of(ledger, task).await?;
        }
        let dir = dir.clone();
        let found = tokio::task::spawn_blocking(move || {
            for task in &mut tasks {
                (task.results, task.fragments) = results_of(&dir, &task.id, task.key, &task.spec);
            }
            tasks
        });
        let tasks = found.await?;
        let complete = unreadable.is_empty();
        left.unreadable.extend(unreadable);
        left.requests.push(OpenRequest { id, detail, tasks, complete });
    }
    Ok(left)
}

/// Separates the tasks of a request that this version can read from those that it cannot. Tasks that wait for an unreadable
/// one wait in vain.
fn readable(rows: Vec<TaskRow>) -> (Vec<OpenTask>, Vec<(Run, String)>) {
    let mut tasks: Vec<OpenTask> = Vec::new();
    let mut unreadable = Vec::new();
    for row in rows {
        let spec = serde_json::from_value::<TaskSpec>(row.spec);
        let facts = serde_json::from_value::<TaskFacts>(row.facts);
        match (spec, facts) {
            (Ok(spec), Ok(facts)) => tasks.push(OpenTask {
                id: row.id,
                key: (row.proposal, row.run),
                phase: phase(row.phase),
                spec,
                facts,
                waits_for: row.waits_for,
                waits_in_vain: None,
                results: TaskResults::default(),
                fragments: BTreeSet::new(),
                attempt: None,
            }),
            (spec, facts) => {
                let why = [spec.err(), facts.err()].into_iter().flatten().next();
                tracing::warn!(task = row.id, ?why, "a task in the ledger cannot be read");
                unreadable.push((row.run, row.id));
            }
        }
    }
    let mut vain: BTreeMap<String, String> =
        unreadable.iter().map(|(_, id)| (id.clone(), id.clone())).collect();
    loop {
        let before = vain.len();
        for task in &mut tasks {
            if task.phase == Phase::Waiting
                && task.waits_in_vain.is_none()
                && let Some(on) = task.waits_for.iter().find_map(|id| vain.get(id)).cloned()
            {
                vain.insert(task.id.clone(), on.clone());
                task.waits_in_vain = Some(on);
            }
        }
        if vain.len() == before {
            return (tasks, unreadable);
        }
    }
}

/// The core's name for a phase.
pub(super) fn phase(phase: amore_ledger::Phase) -> Phase {
    match phase {
        amore_ledger::Phase::Waiting => Phase::Waiting,
        amore_ledger::Phase::Ready => Phase::Ready,
        amore_ledger::Phase::Submitting => Phase::Submitting,
        amore_ledger::Phase::Submitted => Phase::Submitted,
        amore_ledger::Phase::Running => Phase::Running,
        amore_ledger::Phase::Ended => Phase::Ended,
    }
}

/// The attempt that is under way in a Slurm job, and the clusters that its job was submitted to.
async fn attempt_of(
    ledger: &Ledger,
    task: &OpenTask,
) -> Result<Option<(AttemptRecord, Clusters)>, CoordinateError> {
    let Some(token) = &task.facts.token else { return Ok(None) };
    let row = ledger.find_token(token).await?;
    Ok(row.map(|row| {
        let record = attempt_record(row);
        let clusters = Clusters::of(record.asked.clusters.as_deref());
        (record, clusters)
    }))
}

fn attempt_record(row: AttemptRow) -> AttemptRecord {
    AttemptRecord {
        task: row.task,
        number: row.number,
        token: row.token,
        cluster: row.cluster,
        job_id: row.job_id,
        slurm_state: row.slurm_state,
        slurm_reason: row.slurm_reason,
        partition: row.partition,
        reservation: row.reservation,
        nodes: row.nodes,
        asked: serde_json::from_value(row.asked).unwrap_or_default(),
        submitted: row.submitted,
        started: row.started,
        ended: row.ended,
        outcome: row.outcome,
    }
}

/// The results of a task in the run file and in fragments; and those fragments.
fn results_of(
    dir: &DatabaseDir,
    id: &str,
    (proposal, run): RunKey,
    spec: &TaskSpec,
) -> (TaskResults, BTreeSet<std::path::PathBuf>) {
    let mut results = TaskResults::default();
    let mut fragments = BTreeSet::new();
    match amore_results::answered(&dir.extracted_data(), proposal, run, spec.stamp) {
        Ok(answers) => {
            for (name, answer) in answers {
                if answer.is_in_fragment() {
                    fragments.insert(answer.path.clone());
                }
                let (class, message) = answer.error.unwrap_or_default();
                let outcome = match answer.outcome {
                    StoredOutcome::Value => Outcome::Value,
                    StoredOutcome::Nothing | StoredOutcome::Removed => Outcome::Nothing,
                    StoredOutcome::Error => Outcome::Error { class, message },
                    StoredOutcome::Skipped => Outcome::Skipped { message },
                };
                results.outcomes.insert(name.clone(), outcome);
                results.collected.insert(name);
            }
        }
        Err(error) => {
            tracing::warn!(task = id, %error, "its results cannot be read; they are computed again")
        }
    }
    (results, fragments)
}
