//! A Slurm job that is over before its task was: what was stored is collected, then the rules of [`after_job`] are applied.

use amore_model::JobId;
use amore_wire::ended::Ended;

use super::{
    after_job::{JobEnd, Verdict, after_job},
    events::count,
    session::Session,
    tracker::TaskMove,
};
use crate::failure::Failure;

/// Memory in MiB that is assumed of a job that asked for none, when it has to be raised.
const ASSUMED_MEM_MIB: u64 = 4096;

impl Session<'_> {
    /// A job is over and its task is not. What it has stored is collected before the task is judged.
    pub(super) fn on_job_over(
        &mut self,
        position: usize,
        end: JobEnd,
        job: Option<JobId>,
    ) -> Result<(), Failure> {
        let (proposal, run) = (self.tasks[position].proposal, self.tasks[position].run);
        self.collect_ready((proposal, run))?;
        self.collector.hurry();
        self.jobs.over.push((position, end, job));
        self.judge();
        Ok(())
    }

    /// Decides on the tasks whose jobs are over, where everything of the run is collected.
    pub(super) fn judge(&mut self) {
        let over = std::mem::take(&mut self.jobs.over);
        for (position, end, job) in over {
            let key = (self.tasks[position].proposal, self.tasks[position].run);
            if self.uncollected.contains_key(&key) {
                self.jobs.over.push((position, end, job));
            } else {
                self.judge_one(position, &end, job.as_ref());
            }
        }
        self.show_jobs();
    }

    fn judge_one(&mut self, position: usize, end: &JobEnd, job: Option<&JobId>) {
        if self.tasks[position].planned.job.is_some() {
            self.judge_command(position, end, job);
            return;
        }
        let task = &mut self.tasks[position];
        let left = task.results.next_attempt(task.planned.steps.iter().map(|step| step.name.as_str())).steps;
        let stored =
            |name: &String| task.planned.steps.iter().any(|step| step.name == *name && !step.transient);
        if !left.iter().any(stored) {
            self.end_task(position, None);
            return;
        }
        let lost: Vec<String> = left.iter().filter(|name| stored(name)).cloned().collect();
        for name in lost {
            self.uncount(position, &name);
        }
        let task = &mut self.tasks[position];
        let progress = task.results.collected.len() > task.journey.results_before;
        let verdict = after_job(end, &mut task.journey.tries, progress);
        let run = task.run;
        let words = format!("{} {end}", named(job));
        let next = match &verdict {
            Verdict::Again { more_memory: true, .. } => "tried again with more memory",
            Verdict::Again { .. } => "tried again",
            Verdict::GiveUp { only_running: true, .. } => "the variable that was computed is given up",
            Verdict::GiveUp { .. } => "given up",
            Verdict::Stop => "not tried again",
        };
        self.story(position, "job over", format!("{words}; {next}"));
        let task = &mut self.tasks[position];
        match verdict {
            Verdict::Again { more_memory, leave_reservation } => {
                if more_memory {
                    let before = task.journey.mem_mib.or(task.planned.resources.mem_mib);
                    task.journey.mem_mib = Some(before.unwrap_or(ASSUMED_MEM_MIB) * 2);
                }
                task.journey.leave_reservation |= leave_reservation;
                let with = match task.journey.mem_mib {
                    Some(mem) if more_memory => format!(" with {} of memory", in_words(mem)),
                    _ if leave_reservation => " in a partition".to_owned(),
                    _ => String::new(),
                };
                self.tell_once(
                    position,
                    format!("note: run {run}: {words}; {} again{with}", count(left.len(), "variable")),
                );
                self.advance(position, TaskMove::JobOver);
                self.line_up(position);
            }
            Verdict::GiveUp { class, only_running: true } => {
                let running = task.journey.running.clone().filter(|name| left.contains(name));
                let Some(name) = running.or_else(|| left.first().cloned()) else { return };
                let message = match end {
                    JobEnd::TimeLimit => format!(
                        "{words} while this variable was computed, and so did the one before\ngive it more time: @Variable(cluster=True, time=\"8:00:00\"), or amore-proto db-config slurm_time 8:00:00"
                    ),
                    _ => format!(
                        "{words} while this variable was computed, with {} at last\ngive it more memory: @Variable(cluster=True, mem=\"128G\")",
                        in_words(task.journey.mem_mib.unwrap_or(ASSUMED_MEM_MIB))
                    ),
                };
                task.journey.give_up.insert(name, Ended::Error { class: class.to_owned(), message });
                self.advance(position, TaskMove::JobOver);
                self.line_up(position);
            }
            Verdict::GiveUp { class, only_running: false } => {
                let tries = task.journey.tries;
                let look = if matches!(end, JobEnd::Failed { launch: true, .. }) {
                    // Such a job has no log: most often the log's folder is what is wrong.
                    format!(
                        "is {} there on the nodes, and can you write to it? Slurm's administrators find the cause in slurmd's log",
                        self.setup.dir.slurm_logs().display()
                    )
                } else {
                    let number = job.map_or(0, |job| job.number);
                    let mark = task.journey.log_mark.as_deref();
                    let log = self.setup.dir.slurm_log(task.proposal, run, number, mark);
                    format!("its log: slurm_logs/{}", log.file_name().unwrap_or_default().display())
                };
                let message = format!("{words}, after {} tries\n{look}", tries.faults.max(tries.misfortunes));
                self.tell_once(position, format!("error: run {run}: {words}; given up"));
                self.advance(position, TaskMove::JobOver);
                self.give_up_rest(position, class, &message);
            }
            Verdict::Stop => self.end_task(position, Some(words)),
        }
    }

    /// Every step that is left gets this error, stored from here.
    pub(super) fn give_up_rest(&mut self, position: usize, class: &str, message: &str) {
        if self.tasks[position].planned.job.is_some() {
            self.give_up_command(position, class, message);
            return;
        }
        let task = &mut self.tasks[position];
        let left = task.results.next_attempt(task.planned.steps.iter().map(|step| step.name.as_str())).steps;
        for name in left {
            let how = Ended::Error { class: class.to_owned(), message: message.to_owned() };
            task.journey.give_up.entry(name).or_insert(how);
        }
        task.journey.hopeless = true;
        self.line_up(position);
    }
}

/// For the user; a job may be over before its number was heard.
pub(super) fn named(job: Option<&JobId>) -> String {
    job.map_or_else(|| "its job".to_owned(), |job| format!("job {job}"))
}

fn in_words(mem_mib: u64) -> String {
    if mem_mib.is_multiple_of(1024) { format!("{} GiB", mem_mib / 1024) } else { format!("{mem_mib} MiB") }
}
