//! A Slurm job that is over before its task was: what was stored is collected, then the rules of [`after_job`] are applied.

use amore_model::{JobId, Notice};
use amore_wire::ended::Ended;

use super::{
    after_job::{JobEnd, Verdict, after_job, more_memory},
    events::count,
    job_asked::job_asked,
    session::Session,
    tracker::TaskMove,
};
use crate::{
    dispatch::slurm::{refused::Refused, site_facts},
    failure::Failure,
};

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
        let left = task.results.next_attempt(&task.planned.steps).steps;
        let stored =
            |name: &String| task.planned.steps.iter().any(|step| step.name == *name && step.is_stored());
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
        let mut verdict = after_job(end, &mut task.journey.tries, progress);
        let run = task.run;
        let words = format!("{} {end}", named(job));
        let memory = self.memory_of(position);
        let more = more_memory(memory.had, memory.most).filter(|_| memory.may_be_asked_for);
        if matches!(verdict, Verdict::Again { more_memory: true, .. }) && more.is_none() {
            verdict = Verdict::GiveUp { class: "MemoryError", only_running: true };
        }
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
                    let running = task.journey.running.clone().filter(|name| left.contains(name));
                    task.journey.out_of_memory = running.or_else(|| left.first().cloned());
                    task.journey.mem_before = task.journey.mem_mib;
                    task.journey.mem_mib = more;
                }
                task.journey.leave_reservation |= leave_reservation;
                let with = match task.journey.mem_mib {
                    Some(mem) if more_memory => format!(" with {} of memory", in_words(mem)),
                    _ if leave_reservation => " in a partition".to_owned(),
                    _ => String::new(),
                };
                self.tell_once(
                    position,
                    Notice::note(format!(
                        "run {run}: {words}; {} again{with}",
                        count(left.len(), "variable")
                    )),
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
                    _ => memory.error(&words),
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
                self.tell_once(position, Notice::error(format!("run {run}: {words}; given up")));
                self.advance(position, TaskMove::JobOver);
                self.give_up_rest(position, class, &message);
            }
            Verdict::Stop => self.end_task(position, Some(words)),
        }
    }

    /// What is known of the memory of a task's jobs.
    fn memory_of(&self, position: usize) -> Memory {
        let task = &self.tasks[position];
        let settings = self.slurm.clone().unwrap_or_default();
        let run = (task.proposal, task.run);
        let wanted = &task.planned.resources;
        let asked =
            job_asked(&self.setup.dir, &settings, run, wanted, self.urgency(position), &task.journey, "");
        let most = site_facts::most_memory(&asked);
        // What was raised is asked for as far as there is any.
        let had =
            asked.mem_mib.map(|mem| if asked.raised_memory { mem.min(most.unwrap_or(mem)) } else { mem });
        Memory { had, most, may_be_asked_for: settings.mem.is_none() }
    }

    /// Slurm does not give the memory that a job needs after one that ran out of it: the variable that did gets an error,
    /// and the others are computed with what there was. Was it that?
    pub(super) fn refused_more_memory(&mut self, position: usize, why: &Refused) -> bool {
        if !why.is_about_resources() || self.tasks[position].planned.job.is_some() {
            return false;
        }
        let journey = &mut self.tasks[position].journey;
        let Some(name) = journey.out_of_memory.take() else { return false };
        let refused = journey.mem_mib;
        journey.mem_mib = journey.mem_before.take();
        let memory = self.memory_of(position);
        let asked = refused.map(in_words).unwrap_or_default();
        let words = why.words.trim_end_matches('.');
        let message = format!(
            "{}\nSlurm refused a job with {asked}: {words}",
            memory.error(&format!("its job {}", JobEnd::OutOfMemory))
        );
        let run = self.tasks[position].run;
        self.tell_once(
            position,
            Notice::note(format!("run {run}: Slurm has no more memory for {name} ({words}); it is given up, the others are computed")),
        );
        let how = Ended::Error { class: "MemoryError".to_owned(), message };
        self.tasks[position].journey.give_up.insert(name, how);
        self.advance(position, TaskMove::NotSubmitted);
        self.line_up(position);
        true
    }

    /// Every step that is left gets this error, stored from here.
    pub(super) fn give_up_rest(&mut self, position: usize, class: &str, message: &str) {
        if self.tasks[position].planned.job.is_some() {
            self.give_up_command(position, class, message);
            return;
        }
        let task = &mut self.tasks[position];
        let left = task.results.next_attempt(&task.planned.steps).steps;
        for name in left {
            let how = Ended::Error { class: class.to_owned(), message: message.to_owned() };
            task.journey.give_up.entry(name).or_insert(how);
        }
        task.journey.hopeless = true;
        self.line_up(position);
    }
}

/// What is known of the memory of a task's jobs, in MiB.
struct Memory {
    /// What the last one asked for.
    had: Option<u64>,
    /// What the largest node has that it can have.
    most: Option<u64>,
    /// The site takes `--mem`.
    may_be_asked_for: bool,
}

impl Memory {
    /// The error of a variable that needed more.
    fn error(&self, words: &str) -> String {
        let had = match self.had {
            Some(had) => format!("with {} at last", in_words(had)),
            None => "with what its partition gives to a job that asks for nothing".to_owned(),
        };
        let (most, hint) = match self.most {
            _ if !self.may_be_asked_for => (
                String::new(),
                "memory is not asked for here (slurm_mem is none): a partition with larger nodes may help, @Variable(cluster=True, partition=\"NAME\")",
            ),
            Some(most) if self.had.is_some_and(|had| had >= most) => (
                format!("; the largest node that it can have has {}", in_words(most)),
                "make it need less, or find larger nodes (`sinfo -o '%P %m'`): @Variable(cluster=True, partition=\"NAME\", mem=\"…\")",
            ),
            Some(most) => (
                format!("; the largest node that it can have has {}", in_words(most)),
                "give it more memory: @Variable(cluster=True, mem=\"…\")",
            ),
            None => (String::new(), "give it more memory: @Variable(cluster=True, mem=\"128G\")"),
        };
        format!("{words} while this variable was computed, {had}{most}\n{hint}")
    }
}

/// For the user; a job may be over before its number was heard.
pub(super) fn named(job: Option<&JobId>) -> String {
    job.map_or_else(|| "its job".to_owned(), |job| format!("job {job}"))
}

fn in_words(mem_mib: u64) -> String {
    if mem_mib.is_multiple_of(1024) { format!("{} GiB", mem_mib / 1024) } else { format!("{mem_mib} MiB") }
}
