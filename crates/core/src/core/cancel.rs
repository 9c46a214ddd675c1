//! `amore cancel`: ending the unfinished tasks of a run, or of a job.

use std::collections::BTreeSet;

use amore_model::{JobId, Run, Urgency};

use crate::{
    cancellations::{Cancellation, Concluded},
    commands::NextStep,
    core::Core,
    core::job_over::job_name,
    effect::Effect,
    events::{Event, count},
    history::HistoryKind,
    refusal::Refusal,
    request::{Listener, RequestNo, refused},
    requests::RequestRecord,
    task::{TaskNo, TaskRecord},
};

/// The tasks that `amore cancel` selects.
struct Named {
    what: String,
    tasks: Vec<TaskNo>,
}

impl Core {
    /// Ends all tasks of a run, or the one in a job.
    pub(super) fn on_cancel(&mut self, listener: Listener, named: &JobId) {
        let run = u32::try_from(named.number).ok().map(Run).filter(|_| named.cluster.is_none());
        let found = match self.find_tasks(named) {
            Ok(found) => found,
            Err(refusal) => return self.refuse(listener, refusal),
        };
        let left_out = run.is_some_and(|run| self.incoming.leave_out(run));
        if found.tasks.is_empty() && !left_out {
            let run = if named.cluster.is_none() { "run or " } else { "" };
            let words = format!("nothing of a {run}job {named} is under way");
            return self.refuse(listener, Refusal::new(words).hint("`amore jobs` shows what is"));
        }
        let record = RequestRecord::new(listener, Urgency::Asked, None, self.now.steady);
        let request = self.requests.add(record);
        let cancellation = if found.tasks.is_empty() {
            Cancellation::left_out(request, format!("run {named}"))
        } else {
            let (ended, waits_for) = self.cancel_tasks(&found.tasks);
            Cancellation::new(request, found.what, ended, waits_for)
        };
        self.cancellations.add(cancellation);
        self.conclude_cancellations();
    }

    /// The tasks to cancel: those of the run with this number, otherwise the one in the job with this number.
    fn find_tasks(&self, named: &JobId) -> Result<Named, Refusal> {
        let open = |of: &dyn Fn(&TaskRecord) -> bool| -> Vec<TaskNo> {
            let tasks = self.tasks.iter();
            tasks.filter(|(_, task)| !task.state().is_ended() && of(task)).map(|(at, _)| at).collect()
        };
        if named.cluster.is_none() {
            let tasks = open(&|task| u64::from(task.run.0) == named.number);
            if !tasks.is_empty() {
                return Ok(Named { what: format!("run {named}"), tasks });
            }
        }
        let tasks = open(&|task| task.state().job().is_some_and(|job| job.is_meant_by(named)));
        let which: BTreeSet<&JobId> =
            tasks.iter().filter_map(|at| self.tasks.get(*at)?.state().job()).collect();
        if which.len() > 1 {
            let each: Vec<String> = which.iter().map(|job| format!("amore cancel {job}")).collect();
            let words = format!("{} have a job {named}: nothing is cancelled", count(which.len(), "cluster"));
            return Err(Refusal::new(words).hint(each.join(", or ")));
        }
        Ok(Named { what: format!("job {named}"), tasks })
    }

    /// Returns how many tasks are cancelled at once, and the tokens of the jobs that Slurm has to end.
    fn cancel_tasks(&mut self, found: &[TaskNo]) -> (usize, BTreeSet<String>) {
        // The task that calls the function gets the outcome of its command.
        let telling: Vec<TaskNo> =
            found.iter().copied().filter(|number| self.reports_a_command(*number, found)).collect();
        let mut ended = telling.len();
        let mut waits_for = BTreeSet::new();
        for number in found.iter().copied().filter(|number| !telling.contains(number)) {
            self.note_history(number, HistoryKind::Cancelled, "cancelled by amore cancel".to_owned());
            let Some(state) = self.tasks.get(number).map(|task| task.state().clone()) else { continue };
            match state.job_token() {
                Some(token) if self.jobs.task(token).is_some() && !self.submissions.withdraw(token) => {
                    if let Some(task) = self.tasks.get_mut(number) {
                        task.retry.cancelled = true;
                    }
                    self.note_move(number, &state);
                    waits_for.insert(token.to_owned());
                    self.effects.push(Effect::Cancel { token: token.to_owned() });
                    continue;
                }
                // Not submitted yet, or over and not judged yet: there is no job to end.
                Some(token) => self.end_cancelled(number, token, None),
                // Its worker is dead.
                None if self.worker.take_lost(number) => self.cancel_task(number),
                // The worker reports its end.
                None if state.is_here() => {
                    self.worker.cancel(number);
                    if self.is_command(number) {
                        self.cancel_command(number, None, NextStep::StopHere);
                    } else if let Some(task) = self.tasks.get(number) {
                        self.worker.stop(task.id.clone());
                    }
                }
                None => self.cancel_task(number),
            }
            ended += 1;
        }
        (ended, waits_for)
    }

    /// Is the task of this attempt being cancelled?
    pub(super) fn is_cancelled(&self, token: &str) -> bool {
        self.task_of_attempt(token)
            .and_then(|number| self.tasks.get(number))
            .is_some_and(|task| task.retry.cancelled)
    }

    /// The job of a task that is being cancelled has ended, or never existed.
    pub(super) fn job_is_cancelled(&mut self, token: &str, job: Option<&JobId>) {
        if let Some(number) = self.task_of_attempt(token) {
            let known = self.tasks.get(number).and_then(|task| task.state().job().cloned());
            let job = job.cloned().or(known);
            self.end_cancelled(number, token, job.as_ref());
            self.cancellations.job_cancelled(token, job.as_ref());
        }
        self.conclude_cancellations();
        self.tell_job_counts();
    }

    fn end_cancelled(&mut self, number: TaskNo, token: &str, job: Option<&JobId>) {
        let now = self.now.unix;
        self.journal.update_attempt(token, |record| {
            record.ended = Some(now);
            record.outcome = Some("cancelled by amore cancel".to_owned());
        });
        self.release_job(token);
        // Its finished results are kept.
        if let Some(key) = self.tasks.get(number).map(TaskRecord::key) {
            self.scan(Some(key));
            self.effects.push(Effect::HurryCollector);
        }
        if self.is_command(number) {
            self.cancel_command(number, job, NextStep::Cancel);
        } else {
            self.cancel_task(number);
        }
    }

    /// A task that was being cancelled has ended by itself.
    pub(super) fn on_ended_before_cancellation(&mut self, token: &str) {
        self.cancellations.ended_before(token);
        self.conclude_cancellations();
    }

    /// Slurm has not cancelled a job yet. The request fails, and the cancellation is tried again.
    pub(super) fn job_is_not_cancelled(&mut self, token: &str, job: Option<&JobId>, words: &str) {
        let Some(number) = self.task_of_attempt(token) else { return };
        let Some(run) = self.tasks.get(number).map(|task| task.run) else { return };
        let message = format!("run {run}: {} could not be cancelled in Slurm yet: {words}", job_name(job));
        self.note_history(number, HistoryKind::NotCancelled, message.clone());
        self.tell_once(number, Event::warning(format!("{message}; Amore tries again")));
        for request in self.cancellations.take_waiting_for(token) {
            let refusal = Refusal::new(message.clone())
                .hint("Amore tries again while a command runs here: `amore follow` waits for its end");
            self.fail_request(request, refusal);
        }
    }

    fn conclude_cancellations(&mut self) {
        for Concluded { request, result } in self.cancellations.take_concluded() {
            match result {
                Ok(report) => {
                    self.tell(request, Event::info(report));
                    self.finish_if_done(request);
                }
                Err(reason) => self.fail_request(request, Refusal::new(reason)),
            }
        }
    }

    /// Ends a request that could not be served to its end.
    fn fail_request(&mut self, number: RequestNo, refusal: Refusal) {
        let Some(request) = self.requests.get(number) else { return };
        match request.listener() {
            Listener::Elsewhere(_) => self.tell(number, refused(refusal)),
            Listener::Here => self.ending.not_served(refusal),
            Listener::Nobody => {}
        }
        self.forget_request(number);
    }
}
