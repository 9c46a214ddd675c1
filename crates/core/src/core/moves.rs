//! Moves of a task, and its end.

use amore_model::planted::{Fault, is_on};

use crate::{
    core::Core,
    effect::Effect,
    task::TaskNo,
    task_state::{TaskMove, TaskState},
};

impl Core {
    /// Moves a task, notes that for the ledger, and publishes it.
    pub(super) fn advance(&mut self, number: TaskNo, wanted: TaskMove) {
        match self.tasks.advance(number, wanted) {
            Ok(Some(before)) => {
                self.note_move(number, &before);
                self.publish_state(number);
            }
            Ok(None) => {}
            Err(illegal) => {
                let id = self.tasks.get(number).map(|task| task.id.clone()).unwrap_or_default();
                self.effects.push(Effect::Log(format!("task {id}: {illegal}")));
            }
        }
    }

    /// The worker of a task has reported its end.
    pub(super) fn end_task(&mut self, number: TaskNo, problem: Option<String>) {
        if problem.is_none()
            && !self.life.is_stopping()
            && !is_on(Fault::UnseenResultsIgnored)
            && let Some(task) = self.tasks.get(number)
        {
            self.uncollected.announced(task.key(), task.reported_and_not_collected(), task.stamp);
        }
        self.advance(number, TaskMove::WorkerEnded { problem });
        self.scan_for_earlier_attempts(number);
        self.after_end(number);
    }

    /// Nothing is left to execute of a task that can start.
    pub(super) fn end_without_work(&mut self, number: TaskNo) {
        self.advance(number, TaskMove::NothingLeft { problem: None });
        self.scan_for_earlier_attempts(number);
        self.after_end(number);
    }

    /// A task that has not ended is over.
    pub(super) fn cancel_task(&mut self, number: TaskNo) {
        if self.tasks.get(number).is_some_and(|task| !task.state().is_ended()) {
            self.advance(number, TaskMove::Cancelled);
            self.after_end(number);
        }
    }

    /// The current attempt has named its fragments. Those of attempts that were given up are found by a search.
    fn scan_for_earlier_attempts(&mut self, number: TaskNo) {
        let again = self.tasks.get(number).filter(|task| task.retry.submissions > 1);
        if let Some(key) = again.map(|task| task.key()) {
            self.scan(Some(key));
        }
        // Its fragments came before this message: there is nothing to wait for.
        self.effects.push(Effect::HurryCollector);
    }

    /// Takes back what was counted of a variable and is not stored: its attempt is over, so it never will be.
    pub(super) fn uncount(&mut self, number: TaskNo, name: &str) {
        let Some(task) = self.tasks.get_mut(number) else { return };
        if task.results.collected.contains(name) {
            return;
        }
        if let Some(outcome) = task.results.outcomes.remove(name)
            && let Some(request) = self.requests.get_mut(task.request)
        {
            request.take_back(&outcome);
        }
    }

    /// Does what follows from a task's end.
    pub(super) fn after_end(&mut self, number: TaskNo) {
        let Some(task) = self.tasks.get(number) else { return };
        let TaskState::Ended { problem } = task.state() else { return };
        let (request, key, problem) = (task.request, task.key(), problem.clone());
        self.worker.forget(number);
        self.commands.forget(number);
        self.submissions.forget(number);
        self.jobs.forget(number);
        if let Some(record) = self.requests.get_mut(request) {
            record.task_ended(key, problem);
        }
        self.release_dependents(key);
        self.close_run_if_done(request, key);
    }
}
