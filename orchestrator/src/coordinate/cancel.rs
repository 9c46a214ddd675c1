//! `amore cancel`: ending what is under way of a run, or in a job.
//!
//! A job is cancelled when Slurm shows that it is. Until then its task stays under way, and the ledger remembers that its end
//! is wanted: whoever owns the directory next goes on with it.

use std::collections::BTreeSet;

use amore_model::{JobId, Notice, Run};

use super::{
    events::{Event, count},
    memory,
    session::{Listener, Session},
    tracker::TaskState,
};
use crate::failure::{Exit, Failure};

/// A request to cancel, until all that it concerns has ended.
#[derive(Debug)]
pub(super) struct Cancellation {
    /// Its request.
    pub(super) request: Option<usize>,
    /// `run 42`.
    what: String,
    /// Tasks that are cancelled, and jobs that were.
    tasks: usize,
    jobs: Vec<String>,
    /// Tasks that ended by themselves meanwhile.
    too_late: usize,
    /// Tokens of jobs that Slurm still has.
    waits_for: BTreeSet<String>,
    /// Nothing of it had begun.
    left_out: bool,
}

impl Cancellation {
    fn new(what: String, left_out: bool) -> Self {
        Cancellation {
            request: None,
            what,
            tasks: 0,
            jobs: Vec::new(),
            too_late: 0,
            waits_for: BTreeSet::new(),
            left_out,
        }
    }

    fn in_words(&self) -> String {
        if self.left_out {
            return format!("{}: left out of what is being prepared", self.what);
        }
        let mut words = format!("{}: {} cancelled", self.what, count(self.tasks, "task"));
        if !self.jobs.is_empty() {
            words.push_str(&format!(" (jobs {})", self.jobs.join(", ")));
        }
        if self.too_late > 0 {
            words.push_str(&format!("; {} ended before", count(self.too_late, "task")));
        }
        words
    }
}

impl Session<'_> {
    /// Ends all tasks of a run, or the one in a job; gives what is to be waited for.
    ///
    /// # Errors
    /// There is nothing to end, or it is not clear what is meant; nothing was done.
    pub(super) fn cancel_run_or_job(&mut self, named: &JobId) -> Result<Cancellation, Failure> {
        let open = |session: &Self, of: &dyn Fn(&super::tasks::TaskRecord) -> bool| -> Vec<usize> {
            let tasks = session.tasks.iter().enumerate();
            tasks
                .filter(|(_, task)| !matches!(task.state, TaskState::Ended { .. }) && of(task))
                .map(|(at, _)| at)
                .collect()
        };
        let mut found = match named.cluster {
            None => open(self, &|task| u64::from(task.run.0) == named.number),
            Some(_) => Vec::new(),
        };
        let mut what = format!("run {named}");
        if found.is_empty() {
            found = open(self, &|task| task.state.job().is_some_and(|job| job.is_meant_by(named)));
            what = format!("job {named}");
            let which: BTreeSet<&JobId> = found.iter().filter_map(|at| self.tasks[*at].state.job()).collect();
            if which.len() > 1 {
                let each: Vec<String> = which.iter().map(|job| format!("amore cancel {job}")).collect();
                let words =
                    format!("{} have a job {named}: nothing is cancelled", count(which.len(), "cluster"));
                return Err(Failure::new(words).hint(each.join(", or ")));
            }
        }
        let left_out = if found.is_empty() { self.leave_out(named) } else { false };
        if left_out {
            return Ok(Cancellation::new(format!("run {named}"), true));
        }
        if found.is_empty() {
            let run = if named.cluster.is_none() { "run or " } else { "" };
            return Err(Failure::new(format!("nothing of a {run}job {named} is under way"))
                .hint("`amore jobs` shows what is"));
        }
        let mut cancellation = Cancellation::new(what, false);
        // The task that calls a function is told of its command's end.
        let telling: Vec<usize> =
            found.iter().copied().filter(|at| self.tells_of_a_command(*at, &found)).collect();
        cancellation.tasks += telling.len();
        for position in found.iter().filter(|at| !telling.contains(at)) {
            self.story(*position, "cancelled", "cancelled by amore cancel".to_owned());
            match self.tasks[*position].state.clone() {
                TaskState::InJob { token, .. } => {
                    // An order that was not given yet never is.
                    let before = self.orders.len();
                    self.orders.retain(|order| order.token != token);
                    if self.orders.len() < before {
                        self.end_cancelled(*position, &token, None)?;
                        cancellation.tasks += 1;
                        continue;
                    }
                    self.tasks[*position].journey.cancelled = true;
                    let task = &self.tasks[*position];
                    if let Some(memory) = self.memory.as_mut().filter(|_| task.recorded) {
                        memory.moved(task, &task.state);
                    }
                    cancellation.waits_for.insert(token.clone());
                    self.jobs.lane().cancel(token);
                }
                // Its worker is gone.
                TaskState::Running { .. } if self.lost_with_worker.remove(position) => {
                    cancellation.tasks += 1;
                    self.cancel_task(*position);
                }
                // It says itself that it is over.
                TaskState::Running { .. } => {
                    cancellation.tasks += 1;
                    self.command_is_cancelled(*position, None);
                    self.told_to_end.insert(*position);
                    self.to_cancel.push(self.tasks[*position].id.clone());
                }
                _ => {
                    cancellation.tasks += 1;
                    self.cancel_task(*position);
                }
            }
        }
        if named.cluster.is_none() {
            self.leave_out(named);
        }
        Ok(cancellation)
    }

    /// Goes on with a cancellation of this request once its jobs have ended.
    pub(super) fn await_cancellation(&mut self, request: usize, cancellation: Cancellation) {
        self.cancellations.push(Cancellation { request: Some(request), ..cancellation });
        self.conclude_cancellations();
    }

    /// Is the end of this attempt's job wanted?
    pub(super) fn is_cancelled(&self, token: &str) -> bool {
        self.current(token).is_some_and(|position| self.tasks[position].journey.cancelled)
    }

    /// The job of a task whose end is wanted has ended, or was never there.
    pub(super) fn job_is_cancelled(&mut self, token: &str, job: Option<&JobId>) -> Result<(), Failure> {
        if let Some(position) = self.current(token) {
            let job = job.cloned().or_else(|| self.tasks[position].state.job().cloned());
            self.end_cancelled(position, token, job.as_ref())?;
            for cancellation in &mut self.cancellations {
                if cancellation.waits_for.remove(token) {
                    cancellation.tasks += 1;
                    cancellation.jobs.extend(job.iter().map(ToString::to_string));
                }
            }
        }
        self.conclude_cancellations();
        self.show_jobs();
        Ok(())
    }

    fn end_cancelled(&mut self, position: usize, token: &str, job: Option<&JobId>) -> Result<(), Failure> {
        if let Some(memory) = &mut self.memory {
            memory.attempt_is(token, |row| {
                row.ended = Some(memory::now());
                row.outcome = Some("cancelled by amore cancel".to_owned());
            });
        }
        self.command_is_cancelled(position, job);
        self.let_go(token);
        // What it has finished stays.
        self.collect_ready((self.tasks[position].proposal, self.tasks[position].run))?;
        self.collector.hurry();
        self.cancel_task(position);
        Ok(())
    }

    /// A task that was to be cancelled has ended by itself.
    pub(super) fn ended_before_it_was_cancelled(&mut self, token: &str) {
        for cancellation in &mut self.cancellations {
            cancellation.too_late += usize::from(cancellation.waits_for.remove(token));
        }
        self.conclude_cancellations();
    }

    /// Slurm still has a job that is to end. Whoever asked for that need not wait longer; it is tried again.
    pub(super) fn job_is_not_cancelled(&mut self, token: &str, job: Option<&JobId>, words: &str) {
        let Some(position) = self.current(token) else { return };
        let run = self.tasks[position].run;
        let which = job.map_or_else(|| "its job".to_owned(), |job| format!("job {job}"));
        let message = format!("run {run}: {which} could not be cancelled in Slurm yet: {words}");
        self.story(position, "not cancelled", message.clone());
        self.tell_once(position, Notice::warning(format!("{message}; it is tried again")));
        let (waiting, others): (Vec<_>, Vec<_>) = std::mem::take(&mut self.cancellations)
            .into_iter()
            .partition(|cancellation| cancellation.waits_for.contains(token));
        self.cancellations = others;
        for cancellation in waiting {
            let failure = Failure::new(message.clone())
                .hint("it is tried again while a command works here: `amore follow` waits for its end");
            self.fail_request(cancellation.request, failure);
        }
    }

    fn conclude_cancellations(&mut self) {
        let (over, waiting): (Vec<_>, Vec<_>) = std::mem::take(&mut self.cancellations)
            .into_iter()
            .partition(|cancellation| cancellation.waits_for.is_empty());
        self.cancellations = waiting;
        for cancellation in over {
            let Some(request) = cancellation.request else { continue };
            if cancellation.tasks == 0 && cancellation.too_late > 0 {
                let words =
                    format!("{}: all of it had ended before it could be cancelled", cancellation.what);
                self.fail_request(Some(request), Failure::new(words));
                continue;
            }
            let done = Notice::info(cancellation.in_words());
            self.requests[request].listener.tell(&Event::Notice(done));
            self.finish_if_done(request);
        }
    }

    /// A request that could not be served to its end.
    fn fail_request(&mut self, request: Option<usize>, failure: Failure) {
        let Some(request) = request.map(|index| &mut self.requests[index]) else { return };
        request.finished = true;
        match &mut request.listener {
            Listener::Elsewhere(taken) => taken.tell(&Event::Refused {
                message: failure.message,
                hint: failure.hint,
                exit: Exit::Failed as u8,
            }),
            Listener::Here(_) => self.request_failed = Some(failure),
            Listener::Nobody => {}
        }
    }

    /// Takes a run out of the requests that are not planned yet; says whether any wanted it.
    fn leave_out(&mut self, named: &JobId) -> bool {
        let Some(run) = u32::try_from(named.number).ok().map(Run).filter(|_| named.cluster.is_none()) else {
            return false;
        };
        let mut any = false;
        for incoming in self.incoming.iter_mut().filter(|incoming| incoming.request.names_run(run)) {
            incoming.left_out.insert(run);
            any = true;
        }
        any
    }
}
