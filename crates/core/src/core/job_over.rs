//! A Slurm job that is over before its task was: what was stored is collected, then the rules of [`crate::after_job`] are
//! applied.

use amore_model::JobId;
use amore_slurm::job_end::JobEnd;
use amore_wire::ended::Ended;

use crate::{
    after_job::{Verdict, after_job},
    core::Core,
    effect::Effect,
    events::{Event, count},
    history::HistoryKind,
    job_memory::{JobMemory, amount},
    jobs::EndedJob,
    task::TaskNo,
    task_state::TaskMove,
};

impl Core {
    /// A job is over and its task is not. What it has stored is collected before the task is judged.
    pub(super) fn on_ended_early(&mut self, number: TaskNo, end: JobEnd, job: Option<JobId>) {
        let Some(task) = self.tasks.get(number) else { return };
        let key = task.key();
        self.jobs.add_ended(EndedJob { task: number, end, job });
        self.scan(Some(key));
        self.effects.push(Effect::HurryCollector);
        self.tell_job_counts();
    }

    /// Decides about tasks whose jobs are over, if everything of their runs is collected.
    pub(super) fn judge_jobs(&mut self) {
        for over in self.jobs.take_ended() {
            let Some(task) = self.tasks.get(over.task) else { continue };
            let is_settled = self.uncollected.is_settled(task.key());
            if !is_settled {
                self.jobs.add_ended(over);
            } else if task.planned.job.is_some() {
                self.judge_command(over.task, &over.end, over.job.as_ref());
            } else {
                self.judge(over.task, &over.end, over.job.as_ref());
            }
        }
        self.tell_job_counts();
    }

    fn judge(&mut self, number: TaskNo, end: &JobEnd, job: Option<&JobId>) {
        let Some(task) = self.tasks.get(number) else { return };
        let (run, left, lost) = (task.run, task.left(), task.left_to_store());
        if lost.is_empty() {
            self.end_task(number, None);
            return;
        }
        for name in &lost {
            self.uncount(number, name);
        }
        let memory = self.memory_of(number);
        let Some(task) = self.tasks.get_mut(number) else { return };
        let progress = task.stored() > task.retry.results_before;
        let mut verdict = after_job(end, &mut task.retry.tries, progress);
        let words = format!("{} {end}", job_name(job));
        let more = memory.more();
        if matches!(verdict, Verdict::Again { more_memory: true, .. }) && more.is_none() {
            verdict = Verdict::GiveUp { class: "MemoryError", only_running: true };
        }
        let next = match &verdict {
            Verdict::Again { more_memory: true, .. } => "tried again with more memory",
            Verdict::Again { .. } => "tried again",
            Verdict::GiveUp { only_running: true, .. } => "giving up the variable that was being computed",
            Verdict::GiveUp { .. } => "given up",
            Verdict::Stop => "not tried again",
        };
        let running = task.retry.running.clone().filter(|name| left.contains(name));
        let running = running.or_else(|| left.first().cloned());
        self.note_history(number, HistoryKind::JobOver, format!("{words}; {next}"));
        let Some(task) = self.tasks.get_mut(number) else { return };
        match verdict {
            Verdict::Again { more_memory, leave_reservation } => {
                if more_memory {
                    task.retry.raise_memory(running, more);
                }
                task.retry.leave_reservation |= leave_reservation;
                let with = match task.retry.mem_mib {
                    Some(mem) if more_memory => format!(" with {} of memory", amount(mem)),
                    _ if leave_reservation => " in a partition".to_owned(),
                    _ => String::new(),
                };
                let message = format!("run {run}: {words}; {} again{with}", count(left.len(), "variable"));
                self.tell_once(number, Event::note(message));
                self.advance(number, TaskMove::JobOver);
                self.enqueue(number);
            }
            Verdict::GiveUp { class, only_running: true } => {
                let Some(name) = running else { return };
                let message = match end {
                    JobEnd::TimeLimit => format!(
                        "{words} while this variable was being computed, and so did the job before it\ngive it more time: @Variable(cluster=True, time=\"8:00:00\"), or amore-proto db-config slurm_time 8:00:00"
                    ),
                    _ => memory.error(&words),
                };
                task.retry.give_up.insert(name, Ended::Error { class: class.to_owned(), message });
                self.advance(number, TaskMove::JobOver);
                self.enqueue(number);
            }
            Verdict::GiveUp { class, only_running: false } => {
                let tries = task.retry.tries;
                let mark = task.retry.log_mark.as_deref();
                let look = if matches!(end, JobEnd::Failed { launch: true, .. }) {
                    // Such a job has no log: most often the log's folder is what is wrong.
                    format!(
                        "check that {} exists on the nodes and that you can write to it; Slurm's administrators can find the cause in slurmd's log",
                        self.setup.dir.slurm_logs().display()
                    )
                } else {
                    let job_number = job.map_or(0, |job| job.number);
                    let log = self.setup.dir.slurm_log(task.proposal, run, job_number, mark);
                    format!("its log: slurm_logs/{}", log.file_name().unwrap_or_default().display())
                };
                let message = format!("{words}, after {} tries\n{look}", tries.faults.max(tries.misfortunes));
                self.tell_once(number, Event::error(format!("run {run}: {words}; given up")));
                self.advance(number, TaskMove::JobOver);
                self.give_up_rest(number, class, &message);
            }
            Verdict::Stop => self.end_task(number, Some(words)),
        }
    }

    /// What is known of the memory of a task's jobs.
    pub(super) fn memory_of(&self, number: TaskNo) -> JobMemory {
        let may_be_asked_for = self.slurm.settings_or_default().mem.is_none();
        let Some(asked) = self.asked_for(number, "") else {
            return JobMemory { had: None, most: None, may_be_asked_for };
        };
        let most = self.slurm.most_memory(&asked);
        // Raised memory is requested up to what there is.
        let had =
            asked.mem_mib.map(|mem| if asked.raised_memory { mem.min(most.unwrap_or(mem)) } else { mem });
        JobMemory { had, most, may_be_asked_for }
    }

    /// Every step that is left gets this error, stored by the worker here.
    pub(super) fn give_up_rest(&mut self, number: TaskNo, class: &str, message: &str) {
        let Some(task) = self.tasks.get_mut(number) else { return };
        if task.planned.job.is_some() {
            self.give_up_command(number, class, message);
            return;
        }
        for name in task.left() {
            let how = Ended::Error { class: class.to_owned(), message: message.to_owned() };
            task.retry.give_up.entry(name).or_insert(how);
        }
        task.retry.hopeless = true;
        self.enqueue(number);
    }
}

/// The job, for the user. It may be over before its number is known.
pub(super) fn job_name(job: Option<&JobId>) -> String {
    job.map_or_else(|| "its job".to_owned(), |job| format!("job {job}"))
}
