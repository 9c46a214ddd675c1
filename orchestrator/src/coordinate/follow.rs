//! Following tasks to their end: what workers and the collector say, and what becomes of it.

use std::{collections::BTreeSet, time::Instant};

use amore_model::{Notice, Proposal, Run};
use amore_wire::task::{CutShort, FromWorker, NOT_STORED, Outcome};

use super::{
    describe,
    events::Event,
    session::{Listener, Session},
    tracker::{TaskMove, TaskState},
};
use crate::{
    collect::{Collected, FragmentNote, NO_SPACE},
    dispatch::local::LocalWorker,
    failure::Failure,
};

impl Session<'_> {
    pub(super) fn on_worker(&mut self, message: FromWorker) -> Result<(), Failure> {
        // What stands in a fragment is welcome, whoever made it.
        if !matches!(message, FromWorker::Fragment { .. })
            && let Some(of) = message.attempt()
            && let Some(&position) = self.by_id.get(&of.task)
            && !self.tasks[position].state.hears(of.number)
        {
            tracing::debug!(?message, "words of an attempt that is not the present one");
            return Ok(());
        }
        match message {
            FromWorker::Hello { .. }
            | FromWorker::Alive
            | FromWorker::Placed { .. }
            | FromWorker::VariableStarted { .. } => {}
            FromWorker::Described { id, variables, problems } => {
                self.on_described(&id, Ok(describe::complete(variables, problems)));
            }
            FromWorker::HostFailed { of, hint, message } => {
                let id = of.task;
                if self.is_described_as(&id) {
                    let mut failure = Failure::new(message);
                    failure.hint = hint;
                    self.on_described(&id, Err(failure));
                    return Ok(());
                }
                // The task's end says the message; the hint would be lost.
                if let Some(hint) = hint {
                    let event = Event::Notice(Notice::info(format!("{message}\n  hint: {hint}")));
                    self.requests.iter_mut().for_each(|request| request.listener.tell(&event));
                }
            }
            FromWorker::Notice { of, message } => {
                if let Some(&position) = self.by_id.get(&of.task) {
                    let index = self.tasks[position].request;
                    let request = &mut self.requests[index];
                    if request.told.insert(message.clone()) {
                        request.listener.tell(&Event::Notice(Notice::info(message)));
                    }
                }
            }
            FromWorker::Started { of } => self.on_started(&of.task),
            FromWorker::VariableEnded { of, name, outcome, seconds } => {
                self.on_variable(&of.task, name, outcome, seconds)
            }
            FromWorker::CommandEnded { of, outcome } => self.on_command_ended(&of.task, *outcome),
            FromWorker::Fragment { proposal, run, path, .. } => {
                self.collect(FragmentNote { proposal, run, path })
            }
            FromWorker::TaskEnded { problem, cut_short: Some(CutShort::NoSpace), .. } => {
                return Err(Failure::new(problem.unwrap_or_else(|| "no space left for results".to_owned()))
                    .hint(NO_SPACE));
            }
            FromWorker::TaskEnded { of, problem, cut_short: _ } => {
                if let Some(&position) = self.by_id.get(&of.task) {
                    self.end_task(position, problem);
                }
            }
        }
        Ok(())
    }

    pub(super) fn on_started(&mut self, id: &str) {
        let Some(task) = self.by_id.get(id).map(|&position| &self.tasks[position]) else { return };
        let request = &mut self.requests[task.request];
        if let Some(open) = request.open.get_mut(&(task.proposal, task.run))
            && !open.started
        {
            open.started = true;
            request.listener.tell(&Event::RunStarted { proposal: task.proposal, run: task.run });
        }
    }

    pub(super) fn on_variable(&mut self, id: &str, name: String, outcome: Outcome, seconds: f64) {
        let Some(&position) = self.by_id.get(id) else { return };
        let task = &mut self.tasks[position];
        let before = task.results.outcomes.insert(name.clone(), outcome.clone());
        let request = &mut self.requests[task.request];
        let lost = matches!(&outcome, Outcome::Error { class, .. } if class == NOT_STORED);
        if let Some(before) = before.as_ref().filter(|_| lost) {
            request.summary.take_back(before);
        }
        // A transient variable may be computed again in a second child; it counts once.
        if before.is_none() || lost {
            request.summary.count(&outcome);
            let (proposal, run) = (task.proposal, task.run);
            request.listener.tell(&Event::VariableEnded { proposal, run, name, outcome, seconds });
        }
    }

    pub(super) fn end_task(&mut self, position: usize, problem: Option<String>) {
        self.advance(position, TaskMove::WorkerSaysEnded(problem));
        // The present attempt has named its fragments. Of one that was given up nobody has heard since.
        if self.tasks[position].journey.submissions > 1
            && let Err(failure) =
                self.collect_ready((self.tasks[position].proposal, self.tasks[position].run))
        {
            tracing::warn!(%failure, "fragments of earlier attempts wait for the next command");
        }
        // Its fragments came before this word: nothing more is worth waiting for.
        self.collector.hurry();
        self.note_end(position);
    }

    /// Collects every fragment of a run, whoever made it.
    pub(super) fn collect_ready(&mut self, key: (Proposal, Run)) -> Result<(), Failure> {
        for note in FragmentNote::scan(&self.setup.dir)? {
            if (note.proposal, note.run) == key {
                self.collect(note);
            }
        }
        Ok(())
    }

    /// Takes back what was counted of a variable and is not stored: its attempt is over, so it never will be.
    pub(super) fn uncount(&mut self, position: usize, name: &str) {
        let task = &mut self.tasks[position];
        if task.results.collected.contains(name) {
            return;
        }
        if let Some(outcome) = task.results.outcomes.remove(name) {
            self.requests[task.request].summary.take_back(&outcome);
        }
    }

    /// Does what follows from a task's end.
    pub(super) fn note_end(&mut self, position: usize) {
        let task = &self.tasks[position];
        let TaskState::Ended { problem } = &task.state else { return };
        let (index, key, problem) = (task.request, (task.proposal, task.run), problem.clone());
        if let Some(open) = self.requests[index].open.get_mut(&key) {
            open.tasks = open.tasks.saturating_sub(1);
            open.problem = open.problem.take().or(problem);
        }
        self.release_dependents(key);
        self.close_run_if_done(index, key);
    }

    /// Tasks of a run that wait for others may go once those have ended and everything of the run is collected.
    pub(super) fn release_dependents(&mut self, key: (Proposal, Run)) {
        if self.uncollected.contains_key(&key) {
            return;
        }
        let ended: Vec<usize> = self.positions(key, |state| matches!(state, TaskState::Ended { .. }));
        for position in self.positions(key, |state| matches!(state, TaskState::Waiting { .. })) {
            for &other in &ended {
                if matches!(self.tasks[position].state, TaskState::Waiting { .. }) {
                    self.advance(position, TaskMove::Collected(other));
                }
            }
            if matches!(self.tasks[position].state, TaskState::Ready { .. }) {
                self.line_up(position);
            }
        }
    }

    pub(super) fn positions(&self, key: (Proposal, Run), is: impl Fn(&TaskState) -> bool) -> Vec<usize> {
        let of_run = self.by_run.get(&key).map(Vec::as_slice).unwrap_or_default();
        of_run.iter().copied().filter(|&position| is(&self.tasks[position].state)).collect()
    }

    pub(super) fn close_run_if_done(&mut self, index: usize, key: (Proposal, Run)) {
        if self.uncollected.contains_key(&key) {
            return;
        }
        let request = &mut self.requests[index];
        if request.open.get(&key).is_none_or(|open| open.tasks > 0) {
            return;
        }
        let Some(open) = request.open.remove(&key) else { return };
        // After Ctrl-C the runs that were cut short are no failures; the summary says that it was stopped.
        if self.interrupted && open.problem.is_some() {
            request.cut_short = true;
            self.finish_if_done(index);
            return;
        }
        request.summary.runs += 1;
        if open.problem.is_some() {
            request.summary.runs_failed += 1;
        }
        request.listener.tell(&Event::RunEnded { proposal: key.0, run: key.1, problem: open.problem });
        self.finish_if_done(index);
    }

    pub(super) fn finish_if_done(&mut self, index: usize) {
        let request = &mut self.requests[index];
        if request.open.is_empty() && !request.finished {
            request.finished = true;
            request.summary.seconds = request.since.elapsed().as_secs_f64();
            if let Listener::Elsewhere(taken) = &mut request.listener
                && !request.cut_short
            {
                taken.tell(&Event::Finished(request.summary.clone()));
            }
        }
    }

    pub(super) fn on_collected(&mut self, collected: Collected) -> Result<(), Failure> {
        let key = (collected.proposal, collected.run);
        if let Some(left) = self.uncollected.get_mut(&key) {
            *left = left.saturating_sub(collected.fragments);
            if *left == 0 {
                self.uncollected.remove(&key);
            }
        }
        if let Some(problem) = collected.problem {
            let mut shown = false;
            for request in &mut self.requests {
                if let Some(open) = request.open.get_mut(&key) {
                    open.problem = open.problem.take().or_else(|| Some(problem.clone()));
                    shown = true;
                }
            }
            if !shown {
                // Left by an earlier command.
                let words = format!("run {}: {problem}", collected.run);
                self.left_behind.push(Notice::warning(words));
            }
        }
        for notice in collected.notices {
            let of_view = notice.about_view;
            if !(of_view && self.warned_of_view) {
                let event = Event::Notice(notice.notice);
                self.requests.iter_mut().for_each(|request| request.listener.tell(&event));
            }
            self.warned_of_view |= of_view;
        }
        for position in self.positions(key, |state| !matches!(state, TaskState::Ended { .. })) {
            let task = &mut self.tasks[position];
            for (name, stamp) in &collected.stored {
                if *stamp >= task.stamp {
                    task.results.collected.insert(name.clone());
                }
            }
        }
        self.try_lost_tasks_again(key);
        self.judge();
        self.release_dependents(key);
        for index in 0..self.requests.len() {
            self.close_run_if_done(index, key);
        }
        Ok(())
    }

    pub(super) async fn on_worker_lost(&mut self) -> Result<(), Failure> {
        if self.interrupted {
            for position in 0..self.tasks.len() {
                self.cancel_task(position);
            }
            return Ok(());
        }
        self.worker_crashes.note(Instant::now()).map_err(|too_many| {
            Failure::from_error(&too_many)
                .hint("look for memory or disk that has run out; what was computed is stored")
        })?;
        tracing::warn!("the worker ended unexpectedly; starting another");
        self.worker = LocalWorker::start(self.setup.processes)?;
        self.worker.greet().await;
        self.describe_again().await;
        // What it finished stands in fragments; only the rest is computed again, once they are collected.
        for note in FragmentNote::scan(&self.setup.dir)? {
            self.collect(note);
        }
        self.collector.hurry();
        self.lost_with_worker.extend(&self.running);
        let keys: BTreeSet<(Proposal, Run)> = self
            .lost_with_worker
            .iter()
            .map(|&position| (self.tasks[position].proposal, self.tasks[position].run))
            .collect();
        for key in keys {
            self.try_lost_tasks_again(key);
        }
        Ok(())
    }

    /// Tasks of a run whose worker was lost go on once everything that it stored of the run is collected.
    fn try_lost_tasks_again(&mut self, key: (Proposal, Run)) {
        if self.uncollected.contains_key(&key) {
            return;
        }
        let of_run = |position: &usize| (self.tasks[*position].proposal, self.tasks[*position].run) == key;
        let lost: Vec<usize> = self.lost_with_worker.iter().copied().filter(of_run).collect();
        for position in lost {
            self.lost_with_worker.remove(&position);
            if !matches!(self.tasks[position].state, TaskState::Running { .. }) {
                continue;
            }
            if self.interrupted || self.told_to_end.contains(&position) {
                self.cancel_task(position);
                continue;
            }
            self.advance(position, TaskMove::WorkerLost);
            match self.tasks[position].state {
                TaskState::Ready { .. } => self.line_up(position),
                _ => self.note_end(position),
            }
        }
    }

    pub(super) fn cancel_task(&mut self, position: usize) {
        if !matches!(self.tasks[position].state, TaskState::Ended { .. }) {
            self.advance(position, TaskMove::Cancelled);
            self.note_end(position);
        }
    }
}
