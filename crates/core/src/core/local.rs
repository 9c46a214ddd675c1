//! Tasks on this machine: given to the worker, followed by its messages, tried again when it dies.

use std::time::Duration;

use amore_wire::{
    ended::Ended,
    task::{CutShort, FromWorker, NOT_STORED, Outcome, Task, ToWorker},
};

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

/// How long a command waits before it is checked again whether another request still executes it.
pub(super) const COMMAND_CHECK: Duration = Duration::from_secs(1);

/// What the next attempt at a task is.
pub(super) enum Next {
    /// This is given to a worker.
    Execute(Box<Task>),
    /// All of its results are stored already, or nothing can be executed.
    NothingLeft,
    /// It is not known yet: the answer to a question decides.
    Asked,
}

impl Core {
    /// Puts a task that can start into its queue.
    pub(super) fn line_up(&mut self, number: TaskNo) {
        let Some(task) = self.tasks.get(number) else { return };
        let Some(request) = self.requests.get(task.request) else { return };
        self.ready.add(task.place(), request.urgency(), (task.request, task.key(), number));
    }

    /// Gives the worker as much as it can use, and a little more so that it never waits for us.
    pub(super) fn dispatch_here(&mut self) {
        let mut messages = self.worker.take_stop_messages();
        let mut room = (self.setup.processes * 2).saturating_sub(self.tasks.running());
        while room > 0 {
            let Some(number) = self.ready.next_here() else { break };
            let Some(TaskState::Ready { attempt }) = self.tasks.get(number).map(|task| task.state()) else {
                continue;
            };
            let attempt = *attempt;
            if self.command_is_under_way(number) {
                self.ready.delay(self.now.steady + COMMAND_CHECK, number);
                continue;
            }
            match self.next_attempt(number, attempt) {
                Next::Execute(mut task) => {
                    let (token, worker) = (self.ids.token(self.now), self.worker.number());
                    task.token = Some(token.clone());
                    self.advance(number, TaskMove::Start { token: token.into(), worker });
                    messages.push(ToWorker::Run(task));
                    room -= 1;
                }
                Next::NothingLeft => self.nothing_left(number),
                Next::Asked => {}
            }
        }
        if !messages.is_empty() {
            self.effects.push(Effect::ToWorker(messages));
        }
    }

    /// What a worker is given for the next attempt at a task.
    pub(super) fn next_attempt(&mut self, number: TaskNo, attempt: u32) -> Next {
        let Some(task) = self.tasks.get(number) else { return Next::NothingLeft };
        let Some(common) = self.requests.get(task.request).and_then(|request| request.common()) else {
            return Next::NothingLeft;
        };
        if task.planned.job.is_some() {
            return self.next_attempt_at_command(number, attempt);
        }
        let Some(mut wire) = task.to_wire(common, attempt) else { return Next::NothingLeft };
        // The run's file says of these only that they have no value.
        for name in &task.planned.given {
            if let Some(how) = self.failure_of(number, name) {
                wire.ended.entry(name.clone()).or_insert(how);
            }
        }
        Next::Execute(Box::new(wire))
    }

    /// How a variable of another task failed, or why it was skipped.
    fn failure_of(&self, number: TaskNo, name: &str) -> Option<Ended> {
        let task = self.tasks.get(number)?;
        let outcome = self
            .tasks
            .of_run(task.key(), |_| true)
            .into_iter()
            .filter_map(|other| self.tasks.get(other))
            .filter(|other| other.request == task.request)
            .find_map(|other| other.results.outcomes.get(name))?;
        outcome.without_value().filter(|how| *how != Ended::Nothing)
    }

    /// A worker on this machine says something. What one says that was replaced counts only where it is about files.
    pub(super) fn on_local_worker(&mut self, worker: WorkerNo, message: FromWorker) {
        let is_file = matches!(message, FromWorker::Fragment { .. });
        if is_file || (worker == self.worker.number() && self.is_of_present_attempt(&message)) {
            self.on_worker(message);
        }
    }

    /// Is a message about the present attempt of its task? A worker may still speak of an earlier one. One of an older
    /// version does not say.
    fn is_of_present_attempt(&self, message: &FromWorker) -> bool {
        let Some(of) = message.attempt() else { return true };
        let Some(task) = self.tasks.by_id(&of.task).and_then(|number| self.tasks.get(number)) else {
            return true;
        };
        match (task.state().attempt(), &of.token, of.number) {
            (Some(attempt), Some(token), _) => attempt.token == token.as_str(),
            (Some(attempt), None, Some(number)) => attempt.number == number,
            (None, Some(_), _) | (None, None, Some(_)) => task.state().is_ended(),
            (_, None, None) => true,
        }
    }

    /// A worker, here or in a job, says something about a task of its present attempt.
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
                    // The task's end says the message; the hint would be lost.
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
                    self.worker_ended(number, problem);
                }
            }
        }
    }

    fn on_started(&mut self, id: &str) {
        let Some(task) = self.tasks.by_id(id).and_then(|number| self.tasks.get(number)) else { return };
        let (request, key) = (task.request, task.key());
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

    /// Moves a task, and notes that for the ledger.
    pub(super) fn advance(&mut self, number: TaskNo, wanted: TaskMove) {
        match self.tasks.advance(number, wanted) {
            Ok(Some(before)) => self.note_move(number, &before),
            Ok(None) => {}
            Err(illegal) => {
                let id = self.tasks.get(number).map(|task| task.id.clone()).unwrap_or_default();
                self.effects.push(Effect::Log(format!("task {id}: {illegal}")));
            }
        }
    }

    /// Notes for the ledger that a task has moved. What Ctrl-C cuts short is not at its end: the next owner goes on with it.
    pub(super) fn note_move(&mut self, number: TaskNo, before: &TaskState) {
        if let Some(task) = self.tasks.get(number)
            && task.recorded
            && !self.life.is_stopping()
        {
            self.journal.moved(task, before);
        }
    }

    /// The worker of a task has reported its end.
    pub(super) fn worker_ended(&mut self, number: TaskNo, problem: Option<String>) {
        self.advance(number, TaskMove::WorkerEnded { problem });
        self.look_after_earlier_attempts(number);
        self.after_end(number);
    }

    /// Nothing is left to execute of a task that can start.
    pub(super) fn nothing_left(&mut self, number: TaskNo) {
        self.advance(number, TaskMove::NothingLeft { problem: None });
        self.look_after_earlier_attempts(number);
        self.after_end(number);
    }

    /// The present attempt has named its fragments. Nobody has listened to one that was given up.
    pub(super) fn look_after_earlier_attempts(&mut self, number: TaskNo) {
        let again = self.tasks.get(number).filter(|task| task.retry.submissions > 1);
        if let Some(key) = again.map(|task| task.key()) {
            self.scan(Some(key));
        }
        // Its fragments came before this word: nothing more is worth waiting for.
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
                        .hint("look for memory or disk that has run out; what was computed is stored"),
                );
                return;
            }
        }
        self.describe_again();
        // What it finished stands in fragments; only the rest is computed again, once they are collected.
        self.scan(None);
        self.effects.push(Effect::HurryCollector);
    }

    /// Tasks of a run whose worker was lost go on once everything that it stored of the run is collected.
    pub(super) fn try_lost_tasks_again(&mut self, key: RunKey) {
        if !self.worker.has_lost_any() || !self.uncollected.is_settled(key) {
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
                self.line_up(number);
            } else {
                self.after_end(number);
            }
        }
    }

    /// A task that has not ended is over.
    pub(super) fn cancel_task(&mut self, number: TaskNo) {
        if self.tasks.get(number).is_some_and(|task| !task.state().is_ended()) {
            self.advance(number, TaskMove::Cancelled);
            self.after_end(number);
        }
    }
}
