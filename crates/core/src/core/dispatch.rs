//! Which task starts next, and what a worker is given for it.

use std::time::Duration;

use amore_model::{
    Urgency,
    planted::{Fault, is_on},
};
use amore_wire::{
    ended::Ended,
    task::{Task, ToWorker},
};

use crate::{
    core::Core,
    effect::Effect,
    queue::for_bulk,
    task::TaskNo,
    task_state::{TaskMove, TaskState},
};

/// How long a command waits before it is checked again whether another request still executes it.
pub(super) const COMMAND_CHECK: Duration = Duration::from_secs(1);

/// How long a search for what earlier attempts have stored holds, before the next attempt begins.
const SEARCH_VALID: Duration = Duration::from_secs(2);

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
    pub(super) fn enqueue(&mut self, number: TaskNo) {
        let Some(task) = self.tasks.get(number) else { return };
        let Some(request) = self.requests.get(task.request) else { return };
        self.ready.add(task.place(), request.urgency(), (task.request, task.key(), number));
    }

    /// The attempt that a task of the queue is about to begin. `None`: it is no longer ready, or its command is being
    /// prepared, and it is looked at again later.
    fn attempt_to_begin(&mut self, number: TaskNo) -> Option<u32> {
        let TaskState::Ready { attempt } = self.tasks.get(number)?.state() else { return None };
        let attempt = *attempt;
        if self.command_is_under_way(number) {
            self.ready.delay(self.now.steady + COMMAND_CHECK, number);
            return None;
        }
        Some(attempt)
    }

    /// Gives the worker as much as it can use, and a little more so that it is never idle. What is live does not wait until some
    /// of that has ended.
    pub(super) fn dispatch_here(&mut self) {
        let mut messages = self.worker.take_stop_messages();
        let (most, most_with_live) = (self.setup.processes * 2, self.setup.processes * 3);
        let mut given = self.tasks.running();
        while given < most_with_live {
            let may_begin = |urgency| given < most || urgency == Urgency::Live;
            let Some(number) = self.ready.next_here(may_begin) else { break };
            let Some(attempt) = self.attempt_to_begin(number) else { continue };
            match self.next_attempt(number, attempt) {
                Next::Execute(mut task) => {
                    let (token, worker) = (self.ids.token(self.now), self.worker.number());
                    task.token = Some(token.clone());
                    task.urgency = self.urgency_of(number);
                    self.advance(number, TaskMove::Start { token: token.into(), worker });
                    messages.push(ToWorker::Run(task));
                    given += 1;
                }
                Next::NothingLeft => self.end_without_work(number),
                Next::Asked => {}
            }
        }
        if !messages.is_empty() {
            self.effects.push(Effect::ToWorker(messages));
        }
    }

    /// Submits as many jobs as may be in the queue at once.
    pub(super) fn dispatch_jobs(&mut self) {
        for number in self.ready.take_due(self.now.steady) {
            if self.tasks.get(number).is_some_and(|task| task.state().is_ready()) {
                self.enqueue(number);
            }
        }
        let limit = self.slurm.concurrent_jobs() + usize::from(is_on(Fault::OneJobTooMany));
        while self.jobs.len() < limit {
            let is_bulk = |number: &TaskNo| self.urgency_of(*number) == Urgency::Bulk;
            let bulk = self.jobs.tasks().filter(is_bulk).count();
            let may_begin = |urgency| urgency != Urgency::Bulk || bulk < for_bulk(limit);
            let Some(number) = self.ready.next_for_job(may_begin) else { return };
            let Some(attempt) = self.attempt_to_begin(number) else { continue };
            if attempt > 1 && self.hold_until_searched(number) {
                continue;
            }
            match self.next_attempt(number, attempt) {
                Next::Execute(wire) => self.submit(number, *wire),
                // Everything was stored before its job was over.
                Next::NothingLeft => self.end_without_work(number),
                Next::Asked => {}
            }
        }
    }

    pub(super) fn urgency_of(&self, number: TaskNo) -> Urgency {
        let request = self.tasks.get(number).and_then(|task| self.requests.get(task.request));
        request.map_or(Urgency::default(), |request| request.urgency())
    }

    /// While a task waits for its next attempt, files of an earlier one may come into sight: they are looked for first. Says
    /// whether the task waits for that.
    fn hold_until_searched(&mut self, number: TaskNo) -> bool {
        let Some(key) = self.tasks.get(number).map(|task| task.key()) else { return false };
        let is_searched =
            self.uncollected.is_searched_since(key, self.now.steady.saturating_sub(SEARCH_VALID));
        if is_searched && self.uncollected.is_settled(key) {
            return false;
        }
        self.ready.hold(key, number);
        if !is_searched {
            self.scan(Some(key));
        }
        true
    }

    /// What a worker is given for the next attempt at a task. The sandbox is that of this process, also for a task of an
    /// earlier owner.
    fn next_attempt(&mut self, number: TaskNo, attempt: u32) -> Next {
        let mut next = self.next_attempt_unconfined(number, attempt);
        if let Next::Execute(wire) = &mut next {
            wire.sandbox.clone_from(&self.setup.sandbox);
        }
        next
    }

    fn next_attempt_unconfined(&mut self, number: TaskNo, attempt: u32) -> Next {
        let Some(task) = self.tasks.get(number) else { return Next::NothingLeft };
        let Some(common) = self.requests.get(task.request).and_then(|request| request.common()) else {
            return Next::NothingLeft;
        };
        if task.planned.job.is_some() {
            return self.next_attempt_at_command(number, attempt);
        }
        let Some(mut wire) = task.to_wire(common, attempt) else { return Next::NothingLeft };
        let given = task.planned.given.clone();
        match self.mymdc_values(number) {
            Some(values) => wire.mymdc = values,
            None => return Next::Asked,
        }
        // The run's file says of these only that they have no value.
        for name in given {
            if let Some(how) = self.failure_of(number, &name) {
                wire.ended.entry(name).or_insert(how);
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
}
