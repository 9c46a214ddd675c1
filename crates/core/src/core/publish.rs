//! What is published to those who watch the directory, and when.

use crate::{
    activity::{Activity, CellContent, ExecutedAt, StoredCell, TaskFacts, WaitsFor},
    core::Core,
    effect::Effect,
    request::{Compute, RequestNo, Runs},
    task::TaskNo,
    task_state::TaskState,
    tasks::RunKey,
};

impl Core {
    pub(super) fn publish(&mut self, activity: impl FnOnce() -> Activity) {
        if self.setup.watched {
            self.effects.push(Effect::Publish(activity()));
        }
    }

    pub(super) fn publish_request(&mut self, compute: &Compute) {
        self.publish(|| Activity::RequestQueued {
            trigger: compute.trigger.as_ref().map(|trigger| trigger.id.clone()),
            runs: match &compute.runs {
                Runs::All => None,
                Runs::These(runs) => Some(runs.clone()),
            },
        });
    }

    /// A task has another state: what it waits for, or that it is over. The worker says when it starts.
    pub(super) fn publish_state(&mut self, number: TaskNo) {
        if !self.setup.watched {
            return;
        }
        let Some(task) = self.tasks.get(number) else { return };
        let facts = TaskFacts::of(task);
        if let TaskState::Ended { problem } = task.state() {
            let problem = problem.clone();
            return self.publish(|| Activity::TaskEnded { task: facts, problem });
        }
        let id = |other| Some(self.tasks.get(other)?.id.clone());
        if let Some(waits_for) = WaitsFor::of(task.state(), id) {
            self.publish(|| Activity::TaskQueued { task: facts, waits_for });
        }
    }

    /// Slurm lets a job wait, for this reason.
    pub(super) fn publish_wait(&mut self, number: TaskNo, reason: &str) {
        if !self.setup.watched {
            return;
        }
        let Some(task) = self.tasks.get(number) else { return };
        let Some(job) = task.state().job().cloned() else { return };
        let waits_for = WaitsFor::Slurm { job, reason: Some(reason.to_owned()) };
        let task = TaskFacts::of(task);
        self.publish(|| Activity::TaskQueued { task, waits_for });
    }

    /// A worker has begun to execute a task.
    pub(super) fn publish_start(&mut self, number: TaskNo) {
        if !self.setup.watched {
            return;
        }
        let Some(task) = self.tasks.get(number) else { return };
        let host = task.state().job_token().and_then(|token| self.jobs.host(token)).map(str::to_owned);
        let at = ExecutedAt { host, job: task.state().job().cloned(), user: None };
        let task = TaskFacts::of(task);
        self.publish(|| Activity::TaskStarted { task, at });
    }

    /// Everything of a run is in the table, or it could not be processed.
    pub(super) fn publish_run_finished(
        &mut self,
        request: RequestNo,
        (proposal, run): RunKey,
        problem: Option<String>,
    ) {
        self.publish(|| Activity::RunFinished { proposal, run, request: request.0, problem });
    }

    /// Cells of a run's row were written.
    pub(super) fn publish_values(&mut self, (proposal, run): RunKey, values: Vec<StoredCell>) {
        if !values.is_empty() {
            self.publish(|| Activity::ValuesStored { proposal, run, values });
        }
    }
}

impl StoredCell {
    /// A cell that is empty now.
    pub fn empty(name: impl Into<String>) -> Self {
        StoredCell { name: name.into(), content: CellContent::Empty }
    }
}
