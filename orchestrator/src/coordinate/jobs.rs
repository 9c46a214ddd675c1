//! Tasks in Slurm jobs: from the line into a job, and what Slurm and the worker in it say. When the job is over before the
//! task was, [`super::job_over`] goes on.

use std::time::Instant;

use amore_model::{JobId, Notice, PlanStamp, Urgency};
use amore_plan::Place;
use amore_results::StoredOutcome;
use amore_wire::{
    VERSION,
    sheet::JobSheet,
    task::{CutShort, FromWorker},
};

use super::{
    after_job::{JobEnd, MAX_FAULTS},
    after_refusal::{Refusals, again, told},
    events::Event,
    job_asked::{job_asked, log_mark, name_and_log, python_environment},
    memory,
    queue::for_bulk,
    session::Session,
    tracker::{TaskMove, TaskState},
};
use crate::{
    dispatch::slurm::{
        answers::Seen,
        asked::CONCURRENT_JOBS,
        client::Doubt,
        clusters::Clusters,
        order::{LaneEvent, Order},
        refused::{About, Refused},
    },
    failure::Failure,
};

/// What becomes of a job that is submitted again.
fn tried_again(why: &Refused) -> &str {
    match why.about {
        About::Unknown => "it is submitted again some times, in case that passes",
        _ => &why.hint,
    }
}

impl Session<'_> {
    /// Puts a task that can run into its line.
    pub(super) fn line_up(&mut self, position: usize) {
        let task = &self.tasks[position];
        let place = (task.request, (task.proposal, task.run), position);
        let urgency = self.urgency(position);
        match task.place() {
            Place::Local => self.ready.push(urgency, place),
            Place::Cluster => self.ready_for_jobs.push(urgency, place),
        }
    }

    /// How urgent a task is.
    pub(super) fn urgency(&self, position: usize) -> Urgency {
        self.requests[self.tasks[position].request].urgency
    }

    /// Submits as many jobs as may be in the queue at once.
    pub(super) fn dispatch_jobs(&mut self) {
        let now = Instant::now();
        let (due, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.jobs.later).into_iter().partition(|(at, _)| *at <= now);
        self.jobs.later = later;
        for (_, position) in due {
            self.line_up(position);
        }
        let limit = self.slurm.as_ref().and_then(|slurm| slurm.concurrent_jobs).unwrap_or(CONCURRENT_JOBS);
        while self.jobs.under_way() < limit {
            let bulk = self.jobs.by_token.values().filter(|at| self.urgency(**at) == Urgency::Bulk).count();
            let may_begin = |urgency| urgency != Urgency::Bulk || bulk < for_bulk(limit);
            let Some(position) = self.ready_for_jobs.pop(may_begin) else { return };
            let TaskState::Ready { attempt } = self.tasks[position].state else { continue };
            if self.command_is_under_way(position) {
                self.jobs.try_later(position);
                continue;
            }
            let wire = self.wire(position, attempt);
            let token = self.jobs.token();
            self.tasks[position].journey.submissions += 1;
            self.advance(position, TaskMove::Submitting(token.clone()));
            let Some(wire) = wire else {
                // Everything was stored before its job was over.
                self.end_task(position, None);
                continue;
            };
            let settings = self.slurm.clone().unwrap_or_default();
            let task = &mut self.tasks[position];
            task.journey.results_before = task.results.collected.len();
            task.journey.running = None;
            task.journey.began = None;
            task.journey.log_mark = log_mark(&settings, &token).map(str::to_owned);
            let task = &self.tasks[position];
            let run = (task.proposal, task.run);
            let urgency = self.urgency(position);
            let wanted = &task.planned.resources;
            let asked = job_asked(&self.setup.dir, &settings, run, wanted, urgency, &task.journey, &token);
            if let Some(memory) = &mut self.memory {
                memory.attempt(&self.tasks[position], &token, &asked);
            }
            self.jobs.by_token.insert(token.clone(), position);
            // Submitted once the intent stands in the ledger.
            self.orders.push(Order {
                urgency,
                asked,
                directory: self.setup.dir.path().to_owned(),
                sheet: JobSheet {
                    version: VERSION,
                    token: token.clone(),
                    tasks: vec![wire],
                    processes: 1,
                    environment: python_environment(),
                },
                token,
            });
        }
    }

    /// Gives an order to Slurm.
    pub(super) fn submit(&mut self, order: Order) {
        self.jobs.lane().submit(order);
    }

    /// Follows a job of an earlier owner.
    pub(super) fn follow_job(
        &mut self,
        position: usize,
        token: String,
        job: Option<JobId>,
        clusters: Clusters,
    ) {
        self.jobs.by_token.insert(token.clone(), position);
        let directory = self.setup.dir.path().to_owned();
        let task = &self.tasks[position];
        let named =
            name_and_log(&self.setup.dir, (task.proposal, task.run), task.journey.log_mark.as_deref());
        let cancelled = task.journey.cancelled;
        self.jobs.lane().adopt(token.clone(), directory, job, named, clusters);
        if cancelled {
            self.jobs.lane().cancel(token);
        }
    }

    /// Adds a line to the run's story.
    pub(super) fn story(&mut self, position: usize, kind: &str, message: String) {
        let task = &self.tasks[position];
        if task.recorded
            && let Some(memory) = &mut self.memory
        {
            memory.tell((task.proposal, task.run), Some(&task.id), kind, message);
        }
    }

    /// Takes what Slurm or a worker in a job says.
    pub(super) fn on_lane(&mut self, event: LaneEvent) -> Result<(), Failure> {
        match event {
            LaneEvent::Notice(notice) => {
                let event = Event::Notice(notice);
                self.requests.iter_mut().for_each(|request| request.listener.tell(&event));
            }
            LaneEvent::Accepted { token, job } => {
                if let Some(position) = self.current(&token) {
                    self.jobs.refusals.remove(&position);
                    self.tasks[position].journey.out_of_memory = None;
                    if let Some(memory) = &mut self.memory {
                        memory.attempt_is(&token, |row| {
                            row.job_id = Some(job.number);
                            row.cluster = job.cluster.clone().unwrap_or_default();
                        });
                    }
                    self.story(position, "submitted", format!("Slurm has taken job {job}"));
                    self.advance(position, TaskMove::Accepted(job));
                    self.show_jobs();
                }
            }
            LaneEvent::Refused { token, why } => {
                if self.is_cancelled(&token) {
                    self.job_is_cancelled(&token, None)?;
                } else if let Some(position) = self.let_go(&token) {
                    self.on_refused(position, why);
                }
            }
            LaneEvent::NotThere { token, doubt } => {
                if self.is_cancelled(&token) {
                    self.job_is_cancelled(&token, None)?;
                } else if let Some(position) = self.let_go(&token) {
                    self.on_not_there(position, doubt);
                }
            }
            LaneEvent::Cancelled { token, job } => self.job_is_cancelled(&token, job.as_ref())?,
            LaneEvent::NotCancelled { token, job, words } => {
                self.job_is_not_cancelled(&token, job.as_ref(), &words);
            }
            LaneEvent::Changed { token, seen } => {
                if self.current(&token).is_some() {
                    self.on_seen(&token, seen);
                }
            }
            LaneEvent::Ended { token, end, job } => {
                if let Some(memory) = &mut self.memory {
                    memory.attempt_is(&token, |row| {
                        row.ended = Some(memory::now());
                        row.outcome = Some(end.to_string());
                    });
                }
                if self.is_cancelled(&token) {
                    return self.job_is_cancelled(&token, job.as_ref());
                }
                let nodes = self.jobs.seen.get(&token).map(|seen| seen.nodes.clone()).unwrap_or_default();
                if let Some(position) = self.let_go(&token) {
                    if matches!(end, JobEnd::Failed { launch: true, .. }) && !nodes.is_empty() {
                        self.tasks[position].journey.avoid.push(nodes);
                    }
                    self.on_job_over(position, end, job)?;
                }
            }
            LaneEvent::Worker { token, message } => self.on_job_worker(&token, message)?,
        }
        Ok(())
    }

    /// Slurm was asked for a job, and has none of which anybody knows.
    fn on_not_there(&mut self, position: usize, doubt: Doubt) {
        self.advance(position, TaskMove::NotSubmitted);
        // A controller that was not reached has taken nothing, however often.
        if doubt != Doubt::NotReached {
            let run = self.tasks[position].run;
            self.tasks[position].journey.tries.faults += 1;
            let words = match doubt {
                Doubt::Unnumbered => {
                    "sbatch says that Slurm has taken its job, without a number that could be read; neither queue nor accounting shows it, and no worker has begun"
                }
                Doubt::NotReached | Doubt::Unanswered => {
                    "sbatch had no answer for its job; neither queue nor accounting shows it, and no worker has begun"
                }
            };
            self.story(position, "not found", words.to_owned());
            if self.tasks[position].journey.tries.faults >= MAX_FAULTS {
                self.tell_once(position, Notice::error(format!("run {run}: {words}; given up")));
                let message =
                    format!("{words}, {MAX_FAULTS} times\n`amore doctor` asks Slurm's commands one by one");
                self.give_up_rest(position, "JobFailed", &message);
                return;
            }
            self.tell_once(position, Notice::note(format!("run {run}: {words}; submitted again")));
        }
        self.line_up(position);
    }

    /// The task whose present attempt has this token.
    pub(super) fn current(&self, token: &str) -> Option<usize> {
        let position = *self.jobs.by_token.get(token)?;
        matches!(&self.tasks[position].state, TaskState::InJob { token: now, .. } if now == token)
            .then_some(position)
    }

    /// Nothing more is expected under this token.
    pub(super) fn let_go(&mut self, token: &str) -> Option<usize> {
        let position = self.current(token);
        self.jobs.by_token.remove(token);
        self.jobs.seen.remove(token);
        position
    }

    fn on_job_worker(&mut self, token: &str, message: FromWorker) -> Result<(), Failure> {
        let Some(position) = self.current(token) else {
            // An attempt that was given up goes on somewhere: its results are welcome, its word is not.
            if matches!(message, FromWorker::Fragment { .. }) {
                self.on_worker(message)?;
            }
            return Ok(());
        };
        match message {
            FromWorker::VariableStarted { name, .. } => self.tasks[position].journey.running = Some(name),
            FromWorker::TaskEnded { cut_short: Some(CutShort::ToldToEnd), .. } => {}
            FromWorker::TaskEnded { cut_short: Some(CutShort::OutOfMemory { .. }), .. }
                if self.tasks[position].journey.cancelled => {}
            FromWorker::TaskEnded { cut_short: Some(CutShort::OutOfMemory { variable }), .. } => {
                self.tasks[position].journey.running = Some(variable);
                let job = self.tasks[position].state.job().cloned();
                self.let_go(token);
                self.jobs.lane().forget(token.to_owned());
                self.on_job_over(position, JobEnd::OutOfMemory, job)?;
            }
            FromWorker::TaskEnded { problem, .. } => {
                if let Some(memory) = &mut self.memory {
                    memory.attempt_is(token, |row| {
                        row.ended = Some(memory::now());
                        row.outcome = Some(problem.clone().unwrap_or_else(|| "done".to_owned()));
                    });
                }
                self.let_go(token);
                self.jobs.lane().forget(token.to_owned());
                // All of its fragments have been named by now: there is nothing to wait for.
                self.collector.hurry();
                self.end_task(position, problem);
                self.ended_before_it_was_cancelled(token);
                self.show_jobs();
            }
            FromWorker::Placed { host, job, restarts, .. } => {
                self.tasks[position].journey.began = Some(memory::now());
                let own = self.tasks[position].state.job();
                let job = own.map(ToString::to_string).or(job).unwrap_or_default();
                let again = if restarts > 0 { format!(", requeued {restarts} times") } else { String::new() };
                // An owner that takes up the job hears its words from the first.
                if restarts > 0 || self.memory.as_ref().is_none_or(|memory| !memory.has_started(token)) {
                    self.story(position, "began", format!("job {job} began on {host}{again}"));
                }
                if let Some(memory) = &mut self.memory {
                    memory.attempt_is(token, |row| {
                        row.started = Some(memory::now());
                        row.nodes = Some(host);
                    });
                }
            }
            other => {
                if let FromWorker::VariableEnded { .. } = &other {
                    self.tasks[position].journey.running = None;
                }
                self.on_worker(other)?;
            }
        }
        Ok(())
    }

    fn on_refused(&mut self, position: usize, why: Refused) {
        let run = self.tasks[position].run;
        let words = why.words.trim_end_matches('.').to_owned();
        let said = match why.about {
            About::NotExecuted => words.clone(),
            _ => format!("Slurm refused the job: {words}"),
        };
        self.story(position, "refused", said.clone());
        if !matches!(why.about, About::NotExecuted | About::Passes | About::Limit)
            && self.refused_more_memory(position, &why)
        {
            return;
        }
        if why.about == About::Reservation && why.is_about_resources() && self.asks_for_both(position) {
            self.advance(position, TaskMove::NotSubmitted);
            self.tasks[position].journey.reservation_alone = true;
            self.tell_once(
                position,
                Notice::note(format!(
                    "Slurm does not take jobs in the reservation and in the partition together ({words}); they go into the reservation alone"
                )),
            );
            self.line_up(position);
            return;
        }
        if why.about == About::Reservation && !self.tasks[position].journey.leave_reservation {
            self.advance(position, TaskMove::NotSubmitted);
            self.tasks[position].journey.leave_reservation = true;
            self.tell_once(
                position,
                Notice::warning(format!(
                    "Slurm does not take jobs in the reservation ({words}); they go to a partition\n  hint: {}",
                    why.hint
                )),
            );
            self.line_up(position);
            return;
        }
        let standing = self.jobs.refusals.entry(position).or_insert((Instant::now(), Refusals::default()));
        let (since, refusals) = (standing.0.elapsed(), &mut standing.1);
        if let Some(delay) = again(why.about, refusals) {
            self.advance(position, TaskMove::NotSubmitted);
            let told = told(since);
            let long = match since.as_secs() / 60 {
                minutes if told > 0 => format!(", for {minutes} minutes now"),
                _ => String::new(),
            };
            let what = match why.about {
                About::Unknown => "does not take the job",
                _ => "takes no more jobs now",
            };
            self.tell_first(
                position,
                format!("{} {words} {told}", why.about == About::Unknown),
                Notice::note(format!("Slurm {what} ({words}){long}; {}", tried_again(&why))),
            );
            self.jobs.later.push((Instant::now() + delay, position));
            return;
        }
        self.jobs.refusals.remove(&position);
        let refused = match why.about {
            About::NotExecuted => {
                format!("run {run} was not submitted: {words}\n  hint: {}", why.hint)
            }
            _ => format!("Slurm refuses the job of run {run}: {words}\n  hint: {}", why.hint),
        };
        self.tell_once(position, Notice::error(refused));
        if self.has_earlier_values(position) {
            let problem = match why.about {
                About::NotExecuted => format!("{words}; the earlier values stay"),
                _ => "Slurm refused its job; the earlier values stay".to_owned(),
            };
            self.end_task(position, Some(problem));
            return;
        }
        self.advance(position, TaskMove::NotSubmitted);
        let class = match why.about {
            About::NotExecuted => "JobNotSubmitted",
            _ => "JobRefused",
        };
        self.give_up_rest(position, class, &format!("{said}\n{}", why.hint));
    }

    /// Did the job ask for a reservation and a partition?
    fn asks_for_both(&self, position: usize) -> bool {
        let task = &self.tasks[position];
        let settings = self.slurm.clone().unwrap_or_default();
        let run = (task.proposal, task.run);
        let wanted = &task.planned.resources;
        let asked =
            job_asked(&self.setup.dir, &settings, run, wanted, self.urgency(position), &task.journey, "");
        asked.reservation.is_some() && asked.partition.is_some()
    }

    /// Does the run's file have a value of each variable of the task? A job that never was says nothing against them, and
    /// they may have taken hours.
    fn has_earlier_values(&self, position: usize) -> bool {
        let task = &self.tasks[position];
        let any = PlanStamp { epoch: 0, micros: 0 };
        let stored = amore_results::answered(&self.setup.dir.extracted_data(), task.proposal, task.run, any)
            .unwrap_or_default();
        let has_value = |name: &String| {
            stored.get(name).is_some_and(|answer| matches!(answer.outcome, StoredOutcome::Value))
        };
        task.planned.job.is_none() && task.planned.names().iter().all(has_value)
    }

    /// The queue shows a job in another state.
    fn on_seen(&mut self, token: &str, seen: Seen) {
        let Some(position) = self.current(token) else { return };
        let Some(job) = self.tasks[position].state.job().cloned() else { return };
        if let Some(advice) = seen.advice(&job) {
            let run = self.tasks[position].run;
            // Of many jobs that wait for the same one is enough; `amore jobs` shows all.
            self.tell_first(
                position,
                format!("{} {} in {} {}", seen.state, seen.reason, seen.partition, seen.reservation),
                Notice::note(format!("job {job} (run {run}) {}\n  hint: {}", advice.what, advice.hint)),
            );
        }
        if let Some(memory) = &mut self.memory {
            memory.attempt_is(token, |row| {
                row.slurm_state = Some(seen.state.to_string());
                row.slurm_reason = Some(seen.reason.clone());
                row.partition = Some(seen.partition.clone());
                row.reservation = Some(seen.reservation.clone()).filter(|name| !name.is_empty());
                row.nodes = Some(seen.nodes.clone()).filter(|nodes| !nodes.is_empty());
            });
        }
        let place = if seen.nodes.is_empty() { String::new() } else { format!(" on {}", seen.nodes) };
        let reason = if seen.waits() { format!(" ({})", seen.reason) } else { String::new() };
        self.story(position, "state", format!("job {job} is {}{reason}{place}", seen.state));
        self.jobs.seen.insert(token.to_owned(), seen);
        self.show_jobs();
    }

    /// Tells how many jobs wait and run.
    pub(super) fn show_jobs(&mut self) {
        let waiting = self.jobs.seen.values().filter(|seen| seen.waits()).count();
        let reason = self.jobs.seen.values().find(|seen| seen.waits()).map(|seen| seen.reason.clone());
        let now = (self.jobs.under_way(), waiting, reason);
        if self.jobs.shown == now {
            return;
        }
        self.jobs.shown.clone_from(&now);
        let (submitted, waiting, reason) = now;
        let event = Event::Jobs { submitted, waiting, reason };
        self.requests
            .iter_mut()
            .filter(|request| !request.finished)
            .for_each(|request| request.listener.tell(&event));
    }

    /// Tells the user of a task's request, unless it was told before.
    pub(super) fn tell_once(&mut self, position: usize, notice: Notice) {
        self.tell_first(position, notice.message.clone(), notice);
    }

    /// The same, unless something about this was told before.
    fn tell_first(&mut self, position: usize, about: String, notice: Notice) {
        let request = &mut self.requests[self.tasks[position].request];
        if request.told.insert(about) {
            request.listener.tell(&Event::Notice(notice));
        }
    }
}
