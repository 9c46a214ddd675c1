//! From a plan for a run to tasks for a worker.

use std::{collections::BTreeMap, path::PathBuf};

use amore_model::{JobOutcome, PlanStamp, Proposal, Resources, Run};
use serde::{Deserialize, Serialize};

use amore_plan::{Place, Plan, PlannedTask, TaskReason};
use amore_wire::{
    ended::Ended,
    task::{ContextSource, Limits, Step, Task},
};

use super::{
    after_job::{MAX_RAISES, Tries},
    tracker::{NextAttempt, TaskResults, TaskState},
};
use crate::database_dir::DatabaseDir;

/// What all tasks of a request have in common.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Common {
    /// The directory.
    pub dir: DatabaseDir,
    /// The context file as planned.
    pub context: ContextSource,
    /// The user's Python.
    pub python: PathBuf,
    /// A fake run object.
    pub mock: bool,
    /// Bounds on each variable.
    pub limits: Limits,
}

/// A task and what is known of it.
#[derive(Debug)]
pub struct TaskRecord {
    /// Its id.
    pub id: String,
    /// The request it belongs to.
    pub request: usize,
    /// Proposal.
    pub proposal: Proposal,
    /// Run.
    pub run: Run,
    /// The plan's stamp.
    pub stamp: PlanStamp,
    /// As planned.
    pub planned: PlannedTask,
    /// Raw only, or all.
    pub data: amore_model::RunData,
    /// Names to drop; only the first task of a run has any.
    pub forget: Vec<String>,
    /// Where it stands.
    pub state: TaskState,
    /// What its variables came to.
    pub results: TaskResults,
    /// What its jobs have been through.
    pub journey: Journey,
    /// It stands in the ledger.
    pub recorded: bool,
}

/// What is known of the jobs of a task, beside its state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Journey {
    /// Submissions so far, taken or not.
    pub submissions: u32,
    /// Tries so far.
    pub tries: Tries,
    /// Results that stood when the present job was submitted.
    pub results_before: usize,
    /// The variable that the present job computes.
    pub running: Option<String>,
    /// Memory that the next job asks for, once it had to be raised.
    pub mem_mib: Option<u64>,
    /// The variable whose job ran out of memory, until Slurm has taken one with more.
    pub out_of_memory: Option<String>,
    /// The memory that that job had asked for.
    pub mem_before: Option<u64>,
    /// The partition does not go with the reservation.
    pub reservation_alone: bool,
    /// The reservation is not to be had any more.
    pub leave_reservation: bool,
    /// What stands in the names of its jobs' logs beside the number.
    pub log_mark: Option<String>,
    /// Nodes that could not start a job of this task.
    pub avoid: Vec<String>,
    /// Steps that are not called any more, and why.
    pub give_up: BTreeMap<String, Ended>,
    /// How the jobs of variables ended: what the functions are called with.
    pub outcomes: BTreeMap<String, JobOutcome>,
    /// When the present job began.
    pub began: Option<f64>,
    /// All steps that are left get an error: stored by the worker here, without a job.
    pub hopeless: bool,
    /// The user wants its job to end: so it stays until Slurm shows that it has, whoever owns the directory.
    pub cancelled: bool,
}

impl TaskRecord {
    /// The records of a plan. `first` is the position that the first of them will have among all tasks.
    pub fn of_plan(
        plan: &Plan,
        request: usize,
        (proposal, run): (Proposal, Run),
        stamp: PlanStamp,
        first: usize,
    ) -> Vec<TaskRecord> {
        let mut forget = plan.forget.clone();
        // Nothing is left to compute: somebody still has to take the old values out of the run's file.
        let only_forget = PlannedTask {
            place: Place::Local,
            resources: Resources::default(),
            reason: TaskReason::Local,
            steps: Vec::new(),
            job: None,
            waits_for: Vec::new(),
            given: Vec::new(),
            shares: Vec::new(),
        };
        let tasks = if plan.tasks.is_empty() && !forget.is_empty() {
            std::slice::from_ref(&only_forget)
        } else {
            plan.tasks.as_slice()
        };
        tasks
            .iter()
            .enumerate()
            .map(|(index, planned)| TaskRecord {
                id: format!("p{proposal}-r{run}-{}-{index}", stamp.micros),
                request,
                proposal,
                run,
                stamp,
                planned: planned.clone(),
                data: plan.data,
                forget: std::mem::take(&mut forget),
                state: TaskState::new(planned.waits_for.iter().map(|other| first + other)),
                results: TaskResults::default(),
                journey: Journey::default(),
                recorded: false,
            })
            .collect()
    }

    /// Where the next attempt is made.
    pub fn place(&self) -> Place {
        if self.journey.hopeless { Place::Local } else { self.planned.place }
    }

    /// What a worker is given for the next attempt; `None` when everything is stored already.
    pub fn to_wire(&self, common: &Common, attempt: u32) -> Option<Task> {
        let NextAttempt { steps, again, given, ended } = self.results.next_attempt(&self.planned.steps);
        if steps.is_empty() && (self.forget.is_empty() || attempt > 1) {
            return None;
        }
        let run_file = common.dir.run_file(self.proposal, self.run);
        let given: BTreeMap<String, PathBuf> =
            self.planned.given.iter().chain(&given).map(|name| (name.clone(), run_file.clone())).collect();
        let wanted: std::collections::HashSet<&str> = steps.iter().map(String::as_str).collect();
        let again: std::collections::HashSet<&str> = again.iter().map(String::as_str).collect();
        let steps = self
            .planned
            .steps
            .iter()
            .filter(|step| wanted.contains(step.name.as_str()) || again.contains(step.name.as_str()))
            .map(|step| Step {
                name: step.name.clone(),
                needs: step.needs.clone(),
                transient: step.transient,
                fingerprint: step.fingerprint.clone(),
                again: again.contains(step.name.as_str()),
                changes: step.changes.clone(),
                reads: step.reads.clone(),
                adds: step.adds.clone(),
            })
            .collect();
        Some(Task { steps, given, ended, ..self.wire_of(common, attempt) })
    }

    /// A task of this run without anything to do yet.
    pub fn wire_of(&self, common: &Common, attempt: u32) -> Task {
        Task {
            id: self.id.clone(),
            attempt,
            stamp: self.stamp,
            proposal: self.proposal,
            run: self.run,
            directory: common.dir.path().to_owned(),
            data: self.data,
            mock: common.mock,
            context: common.context.clone(),
            python: common.python.clone(),
            steps: Vec::new(),
            given: BTreeMap::new(),
            ended: BTreeMap::new(),
            give_up: self.journey.give_up.clone(),
            last_attempt: self.journey.tries.raised_memory >= MAX_RAISES,
            parameters: BTreeMap::new(),
            log: common.dir.run_log(self.proposal, self.run),
            limits: common.limits,
            outcomes: self.journey.outcomes.clone(),
            command: None,
            forget: self.forget.clone(),
        }
    }
}
