//! A task: one sub-graph of a run's variables, executed in one place, over all its attempts.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use amore_model::{
    DatabaseDir, JobOutcome, MymdcField, PlanStamp, Proposal, Resources, Run, RunData, Urgency,
    planted::{Fault, is_on},
};
use amore_plan::{Place, Plan, PlannedJob, PlannedTask, TaskReason};
use amore_wire::{
    ended::Ended,
    task::{ContextSource, Limits, NOT_STORED, Outcome, Step, Task},
};
use serde::{Deserialize, Serialize};

use crate::{
    after_job::{MAX_RAISES, Tries},
    request::RequestNo,
    results::{NextAttempt, TaskResults},
    task_state::{IllegalMove, TaskMove, TaskState},
    tasks::RunKey,
};

/// A task of this core. Numbers are not given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskNo(pub u64);

/// What all tasks of a request have in common.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Common {
    /// The directory.
    pub dir: DatabaseDir,
    /// The context file as planned.
    pub context: ContextSource,
    /// The user's Python.
    pub python: PathBuf,
    /// A mock run object.
    pub mock: bool,
    /// Bounds on each variable.
    pub limits: Limits,
}

/// A task and what is known of it.
#[derive(Debug)]
pub struct TaskRecord {
    /// Its id, in messages and in the ledger.
    pub id: String,
    /// The request that it belongs to.
    pub request: RequestNo,
    /// Proposal.
    pub proposal: Proposal,
    /// Run.
    pub run: Run,
    /// The plan's stamp.
    pub stamp: PlanStamp,
    /// As planned.
    pub planned: PlannedTask,
    /// Raw only, or all.
    pub data: RunData,
    /// Names to drop; only the first task of a run has any.
    pub forget: Vec<String>,
    /// Outcomes of its variables.
    pub results: TaskResults,
    /// What earlier attempts have shown, for the next one.
    pub retry: RetryState,
    /// It is in the ledger.
    pub recorded: bool,
    state: TaskState,
}

/// What attempts of a task in Slurm jobs have shown, and what the next one does differently. Kept in the ledger.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RetryState {
    /// Submissions so far, accepted or not.
    pub submissions: u32,
    /// Tries so far.
    pub tries: Tries,
    /// How many of the task's own results were stored when the current job was submitted.
    pub results_before: usize,
    /// The variable that the current job computes.
    pub running: Option<String>,
    /// Memory that the next job asks for, once it had to be raised.
    pub mem_mib: Option<u64>,
    /// The variable whose job ran out of memory, until Slurm has accepted one with more.
    pub out_of_memory: Option<String>,
    /// The memory that that job had asked for.
    pub mem_before: Option<u64>,
    /// The partition does not go with the reservation.
    pub reservation_alone: bool,
    /// The reservation cannot be used any more.
    pub leave_reservation: bool,
    /// What the names of its jobs' logs contain beside the job's number.
    pub log_mark: Option<String>,
    /// Nodes that could not start a job of this task.
    pub avoid: Vec<String>,
    /// Steps that are not called any more, and why.
    pub give_up: BTreeMap<String, Ended>,
    /// How the jobs of variables ended: what the functions are called with.
    pub outcomes: BTreeMap<String, JobOutcome>,
    /// When the current job began (Unix time).
    pub began: Option<f64>,
    /// All steps that are left get an error: stored by the worker here, without a job.
    pub hopeless: bool,
    /// Slurm does not take its job: it is computed here.
    pub here: bool,
    /// The user has cancelled it: it stays in progress until Slurm shows that its job has ended, whoever owns the
    /// directory then.
    pub cancelled: bool,
}

impl RetryState {
    /// A job is submitted. `stored`: results that there are before it begins.
    pub(crate) fn begin_submission(&mut self, stored: usize, log_mark: Option<String>) {
        self.submissions += 1;
        self.results_before = stored;
        self.running = None;
        self.began = None;
        self.log_mark = log_mark;
    }

    /// The next job asks for this much memory, because the current one ran out of it with this variable.
    pub(crate) fn raise_memory(&mut self, variable: Option<String>, mem_mib: Option<u64>) {
        self.out_of_memory = variable;
        self.mem_before = self.mem_mib;
        self.mem_mib = mem_mib;
    }

    /// Slurm refuses a job after one that ran out of memory: the next one asks for what that had. Gives the variable that
    /// needed more, and the memory that was refused.
    pub(crate) fn take_back_memory(&mut self) -> Option<(String, Option<u64>)> {
        let variable = self.out_of_memory.take()?;
        let refused = std::mem::replace(&mut self.mem_mib, self.mem_before.take());
        Some((variable, refused))
    }
}

/// What a task is, without what became of it.
#[derive(Debug)]
pub struct TaskDefinition {
    /// Its id.
    pub id: String,
    /// Its request.
    pub request: RequestNo,
    /// Its run.
    pub key: RunKey,
    /// The plan's stamp.
    pub stamp: PlanStamp,
    /// As planned.
    pub planned: PlannedTask,
    /// Raw only, or all.
    pub data: RunData,
    /// Names to drop.
    pub forget: Vec<String>,
}

impl TaskRecord {
    /// A task in this state.
    pub fn new(task: TaskDefinition, state: TaskState) -> Self {
        let TaskDefinition { id, request, key: (proposal, run), stamp, planned, data, forget } = task;
        TaskRecord {
            id,
            request,
            proposal,
            run,
            stamp,
            planned,
            data,
            forget,
            results: TaskResults::default(),
            retry: RetryState::default(),
            recorded: false,
            state,
        }
    }

    /// The tasks of a plan. `first` is the number that the first of them will get.
    pub fn of_plan(
        plan: &Plan,
        request: RequestNo,
        key: RunKey,
        stamp: PlanStamp,
        first: TaskNo,
    ) -> Vec<TaskRecord> {
        let (proposal, run) = key;
        let mut forget = plan.forget.clone();
        // With nothing left to compute, a task still has to take the old values out of the run's file.
        let only_forget = PlannedTask::new(Place::Local, Resources::default(), TaskReason::Local);
        let tasks = if plan.tasks.is_empty() && !forget.is_empty() {
            std::slice::from_ref(&only_forget)
        } else {
            plan.tasks.as_slice()
        };
        tasks
            .iter()
            .enumerate()
            .map(|(index, planned)| {
                let waits_for: BTreeSet<TaskNo> =
                    planned.waits_for.iter().map(|other| TaskNo(first.0 + *other as u64)).collect();
                let task = TaskDefinition {
                    id: format!("p{proposal}-r{run}-{}-{index}", stamp.micros),
                    request,
                    key,
                    stamp,
                    planned: planned.clone(),
                    data: plan.data,
                    forget: std::mem::take(&mut forget),
                };
                TaskRecord::new(task, TaskState::new(waits_for))
            })
            .collect()
    }

    /// Its run.
    pub fn key(&self) -> RunKey {
        (self.proposal, self.run)
    }

    /// Its state.
    pub fn state(&self) -> &TaskState {
        &self.state
    }

    /// Moves it, and gives the state that it had.
    pub(crate) fn advance(&mut self, wanted: TaskMove) -> Result<TaskState, IllegalMove> {
        let next = self.state.next(wanted)?;
        Ok(std::mem::replace(&mut self.state, next))
    }

    /// Where the next attempt is made.
    pub fn place(&self) -> Place {
        if self.retry.hopeless || self.retry.here { Place::Local } else { self.planned.place }
    }

    /// How many of its own results are stored. Results of the run's other tasks are no progress of this one.
    pub fn stored(&self) -> usize {
        if is_on(Fault::OthersAreProgress) {
            return self.results.collected.len();
        }
        self.planned.own_steps().filter(|step| self.results.collected.contains(&step.name)).count()
    }

    /// Steps that are left to execute.
    pub fn left(&self) -> Vec<String> {
        self.results.next_attempt(&self.planned.steps).steps
    }

    /// Variables whose outcome a worker has reported as stored, and which are not collected.
    pub fn reported_and_not_collected(&self) -> BTreeSet<String> {
        let reported = |name: &String| match self.results.outcomes.get(name) {
            Some(Outcome::Error { class, .. }) => class != NOT_STORED,
            outcome => outcome.is_some(),
        };
        self.left_to_store().into_iter().filter(reported).collect()
    }

    /// Of the steps that are left, those whose value is stored.
    pub fn left_to_store(&self) -> Vec<String> {
        let stored =
            |name: &String| self.planned.steps.iter().any(|step| step.name == *name && step.is_stored());
        self.left().into_iter().filter(stored).collect()
    }

    /// What the next attempt needs from the metadata catalogue. Steps that are executed again need it, too.
    pub fn needs_of_mymdc(&self) -> BTreeSet<MymdcField> {
        if self.retry.hopeless {
            return BTreeSet::new();
        }
        let NextAttempt { steps, again, .. } = self.results.next_attempt(&self.planned.steps);
        let executed: BTreeSet<String> = steps.into_iter().chain(again).collect();
        let steps = self.planned.steps.iter().filter(|step| executed.contains(&step.name));
        let of_command = self.planned.job.iter().flat_map(PlannedJob::mymdc);
        steps.flat_map(|step| step.mymdc.iter().copied()).chain(of_command).collect()
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
        let wanted: BTreeSet<&str> = steps.iter().map(String::as_str).collect();
        let again: BTreeSet<&str> = again.iter().map(String::as_str).collect();
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
            token: None,
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
            give_up: self.retry.give_up.clone(),
            last_attempt: self.retry.tries.raised_memory >= MAX_RAISES,
            parameters: BTreeMap::new(),
            mymdc: BTreeMap::new(),
            log: common.dir.run_log(self.proposal, self.run),
            limits: common.limits,
            outcomes: self.retry.outcomes.clone(),
            command: None,
            urgency: Urgency::default(),
            forget: self.forget.clone(),
            sandbox: None,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A task without steps that waits for these.
    pub(crate) fn task(
        id: &str,
        request: RequestNo,
        run: u32,
        waits_for: impl IntoIterator<Item = TaskNo>,
    ) -> TaskRecord {
        let planned = PlannedTask::new(Place::Local, Resources::default(), TaskReason::Local);
        let definition = TaskDefinition {
            id: id.to_owned(),
            request,
            key: (Proposal(1234), Run(run)),
            stamp: PlanStamp { epoch: 1, micros: 1 },
            planned,
            data: RunData::All,
            forget: Vec::new(),
        };
        TaskRecord::new(definition, TaskState::new(waits_for))
    }

    #[test]
    fn memory_that_is_refused_is_not_asked_for_again() {
        let mut retry = RetryState { mem_mib: Some(1000), ..RetryState::default() };
        assert_eq!(retry.take_back_memory(), None, "it was not raised");
        retry.raise_memory(Some("large".to_owned()), Some(2000));
        assert_eq!(retry.mem_mib, Some(2000));
        assert_eq!(retry.take_back_memory(), Some(("large".to_owned(), Some(2000))));
        assert_eq!(retry.mem_mib, Some(1000));
        assert_eq!(retry.take_back_memory(), None, "the next refusal has another reason");
    }

    #[test]
    fn a_new_job_has_not_begun_anything_yet() {
        let mut retry =
            RetryState { running: Some("a".to_owned()), began: Some(1.0), ..RetryState::default() };
        retry.begin_submission(3, Some("mark".to_owned()));
        let expected = RetryState {
            submissions: 1,
            results_before: 3,
            log_mark: Some("mark".to_owned()),
            ..RetryState::default()
        };
        assert_eq!(retry, expected);
    }
}
