//! What workers report, here and in jobs, and what becomes of the tasks of one that crashed.

use amore_model::planted::{Fault, is_on};
use amore_wire::task::{CutShort, FromWorker, NOT_STORED, Outcome};

use crate::{
    core::Core,
    describe,
    effect::{Effect, Fragment},
    events::Event,
    refusal::{NO_SPACE, Refusal},
    task::TaskNo,
    task_state::{TaskMove, TaskState, WorkerNo},
    tasks::RunKey,
};

impl Core {
    /// Handles a message of a worker on this machine. Of one that was replaced, only messages about files count.
    pub(super) fn on_local_worker(&mut self, worker: WorkerNo, message: FromWorker) {
        let is_file = matches!(message, FromWorker::Fragment { .. });
        if is_file || (worker == self.worker.number() && self.is_of_present_attempt(&message)) {
            self.on_worker(message);
        }
    }

    /// Is a message about the current attempt at its task? A worker may still report about an earlier one. A worker of an
    /// older version does not say which.
    fn is_of_present_attempt(&self, message: &FromWorker) -> bool {
        let Some(of) = message.attempt() else { return true };
        let Some(task) = self.tasks.by_id(&of.task).and_then(|number| self.tasks.get(number)) else {
            return true;
        };
        match (task.state().attempt(), &of.token, of.number) {
            (Some(attempt), Some(token), _) => attempt.token == token.as_str(),
            (Some(attempt), None, Some(number)) => {
                attempt.number == number && !is_on(Fault::OlderWorkerIgnored)
            }
            (None, Some(_), _) | (None, None, Some(_)) => false,
            (_, None, None) => true,
        }
    }

    /// Handles a message of a worker, here or in a job, about the current attempt at a task.
    pub(super) fn on_worker(&mut self, message: FromWorker) {
        match message {
            FromWorker::Hello { .. }
            | FromWorker::Alive
            | FromWorker::Placed { .. }
            | FromWorker::VariableStarted { .. } => {}
            FromWorker::Described { id, variables, problems } => {
                self.on_described(&id, describe::complete(variables, problems));
            }
            FromWorker::HostFailed { of, hint, message } => {
                if self.incoming.is_described_as(&of.task) {
                    let refusal = Refusal { hint, ..Refusal::new(message) };
                    self.on_not_described(&of.task, refusal);
                } else if let Some(hint) = hint {
                    // The end of the task reports the message, but not the hint.
                    self.tell_all(&Event::info(format!("{message}\n  hint: {hint}")));
                }
            }
            FromWorker::Notice { of, message } => {
                if let Some(number) = self.tasks.by_id(&of.task) {
                    self.tell_once(number, Event::info(message));
                }
            }
            FromWorker::Started { of } => self.on_started(&of.task),
            FromWorker::VariableEnded { of, name, outcome, seconds } => {
                self.on_variable(&of.task, name, outcome, seconds);
            }
            FromWorker::CommandEnded { of, outcome } => self.on_command_ended(&of.task, *outcome),
            FromWorker::Fragment { proposal, run, path, .. } => {
                self.collect(Fragment { key: (proposal, run), path });
            }
            FromWorker::TaskEnded { problem, cut_short: Some(CutShort::NoSpace), .. } => {
                let words = problem.unwrap_or_else(|| "no space left for results".to_owned());
                self.ending.fail(Refusal::new(words).hint(NO_SPACE));
            }
            FromWorker::TaskEnded { of, problem, cut_short: _ } => {
                let Some(number) = self.tasks.by_id(&of.task) else { return };
                if self.tasks.get(number).is_some_and(|task| task.state().is_here()) {
                    self.end_task(number, problem);
                }
            }
        }
    }

    fn on_started(&mut self, id: &str) {
        let Some(number) = self.tasks.by_id(id) else { return };
        let Some(task) = self.tasks.get(number) else { return };
        let (request, key) = (task.request, task.key());
        if task.state().is_here() {
            self.worker.begin(number, self.now.unix);
        }
        self.publish_start(number);
        if self.requests.get_mut(request).is_some_and(|record| record.start_run(key)) {
            self.tell(request, Event::RunStarted { proposal: key.0, run: key.1 });
        }
    }

    fn on_variable(&mut self, id: &str, name: String, outcome: Outcome, seconds: f64) {
        let Some(number) = self.tasks.by_id(id) else { return };
        let Some(task) = self.tasks.get_mut(number) else { return };
        let before = task.results.outcomes.insert(name.clone(), outcome.clone());
        let (request, (proposal, run)) = (task.request, task.key());
        let Some(record) = self.requests.get_mut(request) else { return };
        let lost = matches!(&outcome, Outcome::Error { class, .. } if class == NOT_STORED);
        if let Some(before) = before.as_ref().filter(|_| lost) {
            record.take_back(before);
        }
        // A transient variable may be computed again in a second child; it counts once.
        if before.is_none() || lost {
            record.count(&outcome);
            self.tell(request, Event::VariableEnded { proposal, run, name, outcome, seconds });
        }
    }

    pub(super) fn on_worker_lost(&mut self, worker: WorkerNo) {
        if worker != self.worker.number() {
            return;
        }
        if self.life.is_stopping() {
            for number in self.tasks.running_here() {
                self.cancel_task(number);
            }
            return;
        }
        match self.worker.crashed(self.now.steady, self.tasks.running_here()) {
            Ok(next) => self.effects.push(Effect::ReplaceWorker(next)),
            Err(too_many) => {
                self.ending.fail(
                    Refusal::new(too_many.to_string())
                        .hint("check whether memory or disk space ran out; computed results are stored"),
                );
                return;
            }
        }
        if is_on(Fault::LostWorkerCostsAll) {
            for number in self.jobs.tasks().collect::<Vec<TaskNo>>() {
                self.advance(number, TaskMove::JobOver);
                self.enqueue(number);
            }
        }
        self.describe_again();
        // What it finished is in fragments; only the rest is computed again, once they are collected.
        self.scan(None);
        self.effects.push(Effect::HurryCollector);
    }

    /// Tasks of a run whose worker was lost are tried again once everything that it stored of the run is collected.
    pub(super) fn try_lost_tasks_again(&mut self, key: RunKey) {
        if is_on(Fault::LostTaskNotTried) || !self.worker.has_lost_any() || !self.uncollected.is_settled(key)
        {
            return;
        }
        for number in self.tasks.of_run(key, TaskState::is_here) {
            if !self.worker.take_lost(number) {
                continue;
            }
            if self.life.is_stopping() || self.worker.is_cancelled(number) {
                self.cancel_task(number);
                continue;
            }
            self.advance(number, TaskMove::WorkerLost);
            if self.tasks.get(number).is_some_and(|task| task.state().is_ready()) {
                self.enqueue(number);
            } else {
                self.after_end(number);
            }
        }
    }
}
