//! What Slurm and the workers in jobs report. [`super::job_over`] decides on a job that is over before its task.

use amore_model::{
    JobId,
    planted::{Fault, is_on},
};
use amore_slurm::{job_end::JobEnd, job_status::JobStatus};
use amore_wire::task::{CutShort, FromWorker};

use crate::{
    core::Core, effect::Effect, events::Event, history::HistoryKind, input::JobEvent, task::TaskNo,
    task_state::TaskMove,
};

impl Core {
    /// Handles an event of Slurm or of a worker in a job.
    pub(super) fn on_job_event(&mut self, event: JobEvent) {
        match event {
            JobEvent::Notice(notice) => self.tell_all(&Event::Notice(notice)),
            JobEvent::Accepted { token, job } => self.on_accepted(&token, job),
            JobEvent::Refused { token, .. } | JobEvent::NotFound { token, .. } if self.has_job(&token) => {
                self.effects
                    .push(Effect::Log(format!("attempt {token} has a job: it cannot be refused any more")));
            }
            JobEvent::Refused { token, why } => {
                if self.is_cancelled(&token) {
                    self.job_is_cancelled(&token, None);
                } else if let Some(number) = self.release_job(&token) {
                    self.on_refused(number, why);
                }
            }
            JobEvent::NotFound { token, doubt } => {
                if self.is_cancelled(&token) {
                    self.job_is_cancelled(&token, None);
                } else if let Some(number) = self.release_job(&token) {
                    self.on_not_found(number, doubt);
                }
            }
            JobEvent::Cancelled { token, job } => self.job_is_cancelled(&token, job.as_ref()),
            JobEvent::NotCancelled { token, job, words } => {
                self.job_is_not_cancelled(&token, job.as_ref(), &words);
            }
            JobEvent::Changed { .. } if is_on(Fault::WaitNotTold) => {}
            JobEvent::Changed { token, seen } => self.on_seen(&token, seen),
            JobEvent::Ended { token, end, job } => self.on_job_ended(&token, end, job),
            JobEvent::Worker { token, message } => self.on_job_worker(&token, message),
        }
    }

    /// The task whose current attempt has this token.
    pub(super) fn task_of_attempt(&self, token: &str) -> Option<TaskNo> {
        let number = self.jobs.task(token)?;
        let task = self.tasks.get(number)?;
        (task.state().job_token() == Some(token)).then_some(number)
    }

    /// Stops tracking the job with this token. Returns the task, if this was its current attempt.
    pub(super) fn release_job(&mut self, token: &str) -> Option<TaskNo> {
        let number = self.task_of_attempt(token);
        self.jobs.release(token);
        number
    }

    /// Has Slurm accepted the job of this attempt?
    fn has_job(&self, token: &str) -> bool {
        let task = self.task_of_attempt(token).and_then(|number| self.tasks.get(number));
        task.is_some_and(|task| task.state().job().is_some())
    }

    fn on_accepted(&mut self, token: &str, job: JobId) {
        let Some(number) = self.task_of_attempt(token) else { return };
        self.submissions.accepted(number);
        if let Some(task) = self.tasks.get_mut(number) {
            task.retry.out_of_memory = None;
        }
        self.journal.update_attempt(token, |record| {
            record.job_id = Some(job.number);
            record.cluster = job.cluster.clone().unwrap_or_default();
        });
        self.note_history(number, HistoryKind::Submitted, format!("Slurm accepted job {job}"));
        self.advance(number, TaskMove::Accepted(job));
        self.tell_job_counts();
    }

    /// The queue shows a job in another state.
    fn on_seen(&mut self, token: &str, seen: JobStatus) {
        let Some(number) = self.task_of_attempt(token) else { return };
        let Some(task) = self.tasks.get(number) else { return };
        let run = task.run;
        let Some(job) = task.state().job().cloned() else { return };
        if let Some(advice) = seen.advice(&job) {
            // One note is enough for many jobs that wait for the same reason; `amore jobs` shows all.
            self.tell_about(
                number,
                format!("{} {} in {} {}", seen.state, seen.reason, seen.partition, seen.reservation),
                Event::note(format!("job {job} (run {run}) {}\n  hint: {}", advice.what, advice.hint)),
            );
        }
        self.journal.update_attempt(token, |record| {
            record.slurm_state = Some(seen.state.to_string());
            record.slurm_reason = Some(seen.reason.clone());
            record.partition = Some(seen.partition.clone());
            record.reservation = Some(seen.reservation.clone()).filter(|name| !name.is_empty());
            record.nodes = Some(seen.nodes.clone()).filter(|nodes| !nodes.is_empty());
        });
        let place = if seen.nodes.is_empty() { String::new() } else { format!(" on {}", seen.nodes) };
        let reason = if seen.waits() { format!(" ({})", seen.reason) } else { String::new() };
        self.note_history(number, HistoryKind::State, format!("job {job} is {}{reason}{place}", seen.state));
        if seen.waits() {
            self.publish_wait(number, &seen.reason);
        }
        self.jobs.set_seen(token, seen);
        self.tell_job_counts();
    }

    fn on_job_ended(&mut self, token: &str, end: JobEnd, job: Option<JobId>) {
        let now = self.now.unix;
        self.journal.update_attempt(token, |record| {
            record.ended = Some(now);
            record.outcome = Some(end.to_string());
        });
        if self.is_cancelled(token) {
            return self.job_is_cancelled(token, job.as_ref());
        }
        let nodes = self.jobs.seen(token).map(|seen| seen.nodes.clone()).unwrap_or_default();
        let Some(number) = self.release_job(token) else { return };
        if matches!(end, JobEnd::Failed { launch: true, .. })
            && !nodes.is_empty()
            && let Some(task) = self.tasks.get_mut(number)
        {
            task.retry.avoid.push(nodes);
        }
        self.on_ended_early(number, end, job);
    }

    fn on_job_worker(&mut self, token: &str, message: FromWorker) {
        let Some(number) = self.task_of_attempt(token) else {
            // An attempt that was given up still runs somewhere: only its results count.
            if matches!(message, FromWorker::Fragment { .. }) {
                self.on_worker(message);
            }
            return;
        };
        let now = self.now.unix;
        match message {
            FromWorker::VariableStarted { name, .. } => self.set_running_variable(number, Some(name)),
            FromWorker::TaskEnded { cut_short: Some(CutShort::ToldToEnd), .. } => {}
            FromWorker::TaskEnded { cut_short: Some(CutShort::OutOfMemory { variable }), .. } => {
                let Some(task) = self.tasks.get(number).filter(|task| !task.retry.cancelled) else { return };
                let job = task.state().job().cloned();
                self.set_running_variable(number, Some(variable));
                self.release_job(token);
                self.effects.push(Effect::Forget { token: token.to_owned() });
                self.on_ended_early(number, JobEnd::OutOfMemory, job);
            }
            FromWorker::TaskEnded { problem, .. } => {
                self.journal.update_attempt(token, |record| {
                    record.ended = Some(now);
                    record.outcome = Some(problem.clone().unwrap_or_else(|| "done".to_owned()));
                });
                self.release_job(token);
                self.effects.push(Effect::Forget { token: token.to_owned() });
                self.end_task(number, problem);
                self.on_ended_before_cancellation(token);
                self.tell_job_counts();
            }
            FromWorker::Placed { host, job, restarts, .. } => {
                let own = self.tasks.get(number).and_then(|task| task.state().job());
                let job = own.map(ToString::to_string).or(job).unwrap_or_default();
                if let Some(task) = self.tasks.get_mut(number) {
                    task.retry.began = Some(now);
                }
                let again = if restarts > 0 { format!(", requeued {restarts} times") } else { String::new() };
                // An owner that adopts the job reads its messages from the first one.
                if restarts > 0 || !self.journal.has_started(token) {
                    self.note_history(
                        number,
                        HistoryKind::Began,
                        format!("job {job} began on {host}{again}"),
                    );
                }
                self.jobs.set_host(token, host.clone());
                self.journal.update_attempt(token, |record| {
                    record.started = Some(now);
                    record.nodes = Some(host);
                });
            }
            other => {
                if let FromWorker::VariableEnded { .. } = &other {
                    self.set_running_variable(number, None);
                }
                self.on_worker(other);
            }
        }
    }

    fn set_running_variable(&mut self, number: TaskNo, name: Option<String>) {
        if let Some(task) = self.tasks.get_mut(number) {
            task.retry.running = name;
        }
    }
}
