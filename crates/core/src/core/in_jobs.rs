//! Tasks in Slurm jobs: from the queue into a job, and what Slurm and the worker in it say. When the job is over before
//! the task was, [`crate::job_over`] goes on.

use std::collections::BTreeSet;

use amore_model::{JobId, Urgency};
use amore_slurm::{
    clusters::Clusters,
    job_end::JobEnd,
    refused::{About, Refused},
    seen::Seen,
    submission::{Doubt, JobAsked},
};
use amore_wire::{
    VERSION,
    sheet::JobSheet,
    task::{CutShort, FromWorker},
};

use crate::{
    after_job::MAX_FAULTS,
    core::{
        Core,
        local::{COMMAND_CHECK, Next},
    },
    effect::{Effect, NewJob, Question},
    events::Event,
    history::{HistoryKind, HistoryLine},
    input::JobEvent,
    job_asked::{Wanted, job_asked, log_mark, name_and_log},
    jobs::JobCounts,
    queue::for_bulk,
    submissions::AfterRefusal,
    task::TaskNo,
    task_state::{TaskMove, TaskState},
};

/// What becomes of a job that is submitted again.
fn tried_again(why: &Refused) -> &str {
    match why.about {
        About::Unknown => "it is submitted again some times, in case that passes",
        _ => &why.hint,
    }
}

impl Core {
    /// What the next job of a task asks for.
    pub(super) fn asked_for(&self, number: TaskNo, token: &str) -> Option<JobAsked> {
        let task = self.tasks.get(number)?;
        let wanted = Wanted {
            key: task.key(),
            resources: &task.planned.resources,
            urgency: self.requests.get(task.request)?.urgency(),
            retry: &task.retry,
            token,
        };
        let settings = self.slurm.settings_or_default();
        Some(job_asked(&self.setup.dir, &self.setup.job_environment, &settings, &wanted))
    }

    /// Submits as many jobs as may be in the queue at once.
    pub(super) fn dispatch_jobs(&mut self) {
        for number in self.ready.take_due(self.now.steady) {
            if self.tasks.get(number).is_some_and(|task| task.state().is_ready()) {
                self.line_up(number);
            }
        }
        let limit = self.slurm.concurrent_jobs();
        while self.jobs.len() < limit {
            let is_bulk = |number: &TaskNo| {
                let request = self.tasks.get(*number).and_then(|task| self.requests.get(task.request));
                request.is_some_and(|request| request.urgency() == Urgency::Bulk)
            };
            let bulk = self.jobs.tasks().filter(is_bulk).count();
            let may_begin = |urgency| urgency != Urgency::Bulk || bulk < for_bulk(limit);
            let Some(number) = self.ready.next_for_job(may_begin) else { return };
            let Some(TaskState::Ready { attempt }) = self.tasks.get(number).map(|task| task.state()) else {
                continue;
            };
            let attempt = *attempt;
            if self.command_is_under_way(number) {
                self.ready.delay(self.now.steady + COMMAND_CHECK, number);
                continue;
            }
            match self.next_attempt(number, attempt) {
                Next::Execute(wire) => self.submit(number, *wire),
                // Everything was stored before its job was over.
                Next::NothingLeft => self.nothing_left(number),
                Next::Asked => {}
            }
        }
    }

    fn submit(&mut self, number: TaskNo, mut wire: amore_wire::task::Task) {
        let named = self.ids.token(self.now);
        wire.token = Some(named.clone());
        let token = String::from(named);
        let mark = log_mark(&self.slurm.settings_or_default(), &token).map(str::to_owned);
        let Some(task) = self.tasks.get_mut(number) else { return };
        task.retry.submissions += 1;
        task.retry.results_before = task.results.collected.len();
        task.retry.running = None;
        task.retry.began = None;
        task.retry.log_mark = mark;
        self.advance(number, TaskMove::Submit { token: token.clone() });
        let (Some(asked), Some(task)) = (self.asked_for(number, &token), self.tasks.get(number)) else {
            return;
        };
        let Some(request) = self.requests.get(task.request) else { return };
        let new_job = NewJob {
            urgency: request.urgency(),
            sheet: JobSheet {
                version: VERSION,
                token: token.clone(),
                tasks: vec![wire],
                processes: 1,
                environment: self.setup.python_environment.clone(),
            },
            token: token.clone(),
            asked,
        };
        let write = self.journal.intent(task, &token, &new_job.asked, self.now.unix);
        self.slurm.has_job();
        self.jobs.start(token, number);
        self.submissions.submit_after(write, new_job);
    }

    /// Submits the jobs whose intent stands in the ledger now.
    pub(super) fn release_submissions(&mut self) {
        let journal = &self.journal;
        for new_job in self.submissions.take_written(|write| journal.is_done(write)) {
            self.effects.push(Effect::Submit(Box::new(new_job)));
        }
    }

    pub(super) fn read_settings_if_due(&mut self) {
        if self.slurm.settings_are_due(self.now.steady) {
            self.effects.push(Effect::ReadSettings);
        }
    }

    /// Follows a job of an earlier owner.
    pub(super) fn adopt_job(
        &mut self,
        number: TaskNo,
        token: String,
        job: Option<JobId>,
        clusters: Clusters,
    ) {
        let Some(task) = self.tasks.get(number) else { return };
        let cancelled = task.retry.cancelled;
        let (name, log) = name_and_log(&self.setup.dir, task.key(), task.retry.log_mark.as_deref());
        self.slurm.has_job();
        self.jobs.start(token.clone(), number);
        self.effects.push(Effect::Adopt { token: token.clone(), job, name, log, clusters });
        if cancelled {
            self.effects.push(Effect::Cancel { token });
        }
    }

    /// Adds a line to the history of a task's run.
    pub(super) fn note_history(&mut self, number: TaskNo, kind: HistoryKind, message: String) {
        let at = self.now.unix;
        if let Some(task) = self.tasks.get(number)
            && task.recorded
        {
            let (key, id) = (task.key(), Some(task.id.clone()));
            self.journal.tell(HistoryLine { key, task: id, at, kind, message });
        }
    }

    /// The task whose present attempt has this token.
    pub(super) fn current(&self, token: &str) -> Option<TaskNo> {
        let number = self.jobs.task(token)?;
        let task = self.tasks.get(number)?;
        (task.state().job_token() == Some(token)).then_some(number)
    }

    /// Nothing more is expected under this token. Gives the task, if this was its present attempt.
    pub(super) fn let_go(&mut self, token: &str) -> Option<TaskNo> {
        let number = self.current(token);
        self.jobs.release(token);
        number
    }

    /// Takes what Slurm or a worker in a job says.
    pub(super) fn on_job_event(&mut self, event: JobEvent) {
        match event {
            JobEvent::Notice(notice) => self.tell_all(&Event::Notice(notice)),
            JobEvent::Accepted { token, job } => self.on_accepted(&token, job),
            JobEvent::Refused { token, .. } | JobEvent::NotThere { token, .. } if self.has_job(&token) => {
                self.effects
                    .push(Effect::Log(format!("attempt {token} has a job: it cannot be refused any more")));
            }
            JobEvent::Refused { token, why } => {
                if self.is_cancelled(&token) {
                    self.job_is_cancelled(&token, None);
                } else if let Some(number) = self.let_go(&token) {
                    self.on_refused(number, why);
                }
            }
            JobEvent::NotThere { token, doubt } => {
                if self.is_cancelled(&token) {
                    self.job_is_cancelled(&token, None);
                } else if let Some(number) = self.let_go(&token) {
                    self.on_not_there(number, doubt);
                }
            }
            JobEvent::Cancelled { token, job } => self.job_is_cancelled(&token, job.as_ref()),
            JobEvent::NotCancelled { token, job, words } => {
                self.job_is_not_cancelled(&token, job.as_ref(), &words);
            }
            JobEvent::Changed { token, seen } => self.on_seen(&token, seen),
            JobEvent::Ended { token, end, job } => self.on_job_ended(&token, end, job),
            JobEvent::Worker { token, message } => self.on_job_worker(&token, message),
        }
    }

    /// Has Slurm accepted the job of this attempt?
    fn has_job(&self, token: &str) -> bool {
        let task = self.current(token).and_then(|number| self.tasks.get(number));
        task.is_some_and(|task| task.state().job().is_some())
    }

    fn on_accepted(&mut self, token: &str, job: JobId) {
        let Some(number) = self.current(token) else { return };
        self.submissions.accepted(number);
        if let Some(task) = self.tasks.get_mut(number) {
            task.retry.out_of_memory = None;
        }
        self.journal.update_attempt(token, |record| {
            record.job_id = Some(job.number);
            record.cluster = job.cluster.clone().unwrap_or_default();
        });
        self.note_history(number, HistoryKind::Submitted, format!("Slurm has taken job {job}"));
        self.advance(number, TaskMove::Accepted(job));
        self.show_jobs();
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
        let Some(number) = self.let_go(token) else { return };
        if matches!(end, JobEnd::Failed { launch: true, .. })
            && !nodes.is_empty()
            && let Some(task) = self.tasks.get_mut(number)
        {
            task.retry.avoid.push(nodes);
        }
        self.on_job_over(number, end, job);
    }

    /// Slurm was asked for a job, and has none of which anybody knows.
    fn on_not_there(&mut self, number: TaskNo, doubt: Doubt) {
        self.advance(number, TaskMove::NotSubmitted);
        // A controller that was not reached has accepted nothing, however often.
        if doubt != Doubt::NotReached {
            let Some(task) = self.tasks.get_mut(number) else { return };
            task.retry.tries.faults += 1;
            let (run, faults) = (task.run, task.retry.tries.faults);
            let words = match doubt {
                Doubt::Unnumbered => {
                    "sbatch says that Slurm has taken its job, without a number that could be read; neither queue nor accounting shows it, and no worker has begun"
                }
                Doubt::NotReached | Doubt::Unanswered => {
                    "sbatch had no answer for its job; neither queue nor accounting shows it, and no worker has begun"
                }
            };
            self.note_history(number, HistoryKind::NotFound, words.to_owned());
            if faults >= MAX_FAULTS {
                self.tell_once(number, Event::error(format!("run {run}: {words}; given up")));
                let message =
                    format!("{words}, {MAX_FAULTS} times\n`amore doctor` asks Slurm's commands one by one");
                self.give_up_rest(number, "JobFailed", &message);
                return;
            }
            self.tell_once(number, Event::note(format!("run {run}: {words}; submitted again")));
        }
        self.line_up(number);
    }

    fn on_job_worker(&mut self, token: &str, message: FromWorker) {
        let Some(number) = self.current(token) else {
            // An attempt that was given up goes on somewhere: its results are welcome, its word is not.
            if matches!(message, FromWorker::Fragment { .. }) {
                self.on_worker(message);
            }
            return;
        };
        let now = self.now.unix;
        match message {
            FromWorker::VariableStarted { name, .. } => self.set_running(number, Some(name)),
            FromWorker::TaskEnded { cut_short: Some(CutShort::ToldToEnd), .. } => {}
            FromWorker::TaskEnded { cut_short: Some(CutShort::OutOfMemory { variable }), .. } => {
                let Some(task) = self.tasks.get(number).filter(|task| !task.retry.cancelled) else { return };
                let job = task.state().job().cloned();
                self.set_running(number, Some(variable));
                self.let_go(token);
                self.effects.push(Effect::Forget { token: token.to_owned() });
                self.on_job_over(number, JobEnd::OutOfMemory, job);
            }
            FromWorker::TaskEnded { problem, .. } => {
                self.journal.update_attempt(token, |record| {
                    record.ended = Some(now);
                    record.outcome = Some(problem.clone().unwrap_or_else(|| "done".to_owned()));
                });
                self.let_go(token);
                self.effects.push(Effect::Forget { token: token.to_owned() });
                self.worker_ended(number, problem);
                self.ended_before_it_was_cancelled(token);
                self.show_jobs();
            }
            FromWorker::Placed { host, job, restarts, .. } => {
                let own = self.tasks.get(number).and_then(|task| task.state().job());
                let job = own.map(ToString::to_string).or(job).unwrap_or_default();
                if let Some(task) = self.tasks.get_mut(number) {
                    task.retry.began = Some(now);
                }
                let again = if restarts > 0 { format!(", requeued {restarts} times") } else { String::new() };
                // An owner that adopts the job hears its words from the first.
                if restarts > 0 || !self.journal.has_started(token) {
                    self.note_history(
                        number,
                        HistoryKind::Began,
                        format!("job {job} began on {host}{again}"),
                    );
                }
                self.journal.update_attempt(token, |record| {
                    record.started = Some(now);
                    record.nodes = Some(host);
                });
            }
            other => {
                if let FromWorker::VariableEnded { .. } = &other {
                    self.set_running(number, None);
                }
                self.on_worker(other);
            }
        }
    }

    fn set_running(&mut self, number: TaskNo, name: Option<String>) {
        if let Some(task) = self.tasks.get_mut(number) {
            task.retry.running = name;
        }
    }

    fn on_refused(&mut self, number: TaskNo, why: Refused) {
        let Some(task) = self.tasks.get(number) else { return };
        let (run, left_reservation) = (task.run, task.retry.leave_reservation);
        let words = why.words.trim_end_matches('.').to_owned();
        self.note_history(number, HistoryKind::Refused, said(&why));
        if !matches!(why.about, About::NotExecuted | About::Passes | About::Limit)
            && self.refused_more_memory(number, &why)
        {
            return;
        }
        if why.about == About::Reservation && why.is_about_resources() && self.asks_for_both(number) {
            self.submit_again(number, |retry| retry.reservation_alone = true);
            self.tell_once(
                number,
                Event::note(format!(
                    "Slurm does not take jobs in the reservation and in the partition together ({words}); they go into the reservation alone"
                )),
            );
            return;
        }
        if why.about == About::Reservation && !left_reservation {
            self.submit_again(number, |retry| retry.leave_reservation = true);
            self.tell_once(
                number,
                Event::warning(format!(
                    "Slurm does not take jobs in the reservation ({words}); they go to a partition\n  hint: {}",
                    why.hint
                )),
            );
            return;
        }
        let now = self.now.steady;
        let AfterRefusal { retry_in, since, reports } = self.submissions.refused(number, why.about, now);
        if let Some(delay) = retry_in {
            self.advance(number, TaskMove::NotSubmitted);
            let long = match since.as_secs() / 60 {
                minutes if reports > 0 => format!(", for {minutes} minutes now"),
                _ => String::new(),
            };
            let what = match why.about {
                About::Unknown => "does not take the job",
                _ => "takes no more jobs now",
            };
            self.tell_first(
                number,
                format!("{} {words} {reports}", why.about == About::Unknown),
                Event::note(format!("Slurm {what} ({words}){long}; {}", tried_again(&why))),
            );
            self.ready.delay(now + delay, number);
            return;
        }
        let refused = match why.about {
            About::NotExecuted => format!("run {run} was not submitted: {words}\n  hint: {}", why.hint),
            _ => format!("Slurm refuses the job of run {run}: {words}\n  hint: {}", why.hint),
        };
        self.tell_once(number, Event::error(refused));
        // A job that never was says nothing against earlier values, and they may have taken hours.
        let Some(task) = self.tasks.get(number) else { return };
        if task.planned.job.is_some() {
            self.give_up_refused(number, &why);
        } else {
            let question = Question::EarlierValues { key: task.key() };
            self.submissions.wait_for_earlier_values(number, why);
            self.effects.push(Effect::Ask { task: number, question });
        }
    }

    /// Which variables of a task have earlier values, whose job Slurm refuses for good.
    pub(super) fn on_earlier_values(&mut self, number: TaskNo, values: &BTreeSet<String>) {
        let Some(why) = self.submissions.take_refused(number) else { return };
        let Some(task) = self.tasks.get(number) else { return };
        if !task.planned.names().iter().all(|name| values.contains(name.as_str())) {
            self.give_up_refused(number, &why);
            return;
        }
        let problem = match why.about {
            About::NotExecuted => {
                format!("{}; the earlier values stay", why.words.trim_end_matches('.'))
            }
            _ => "Slurm refused its job; the earlier values stay".to_owned(),
        };
        self.worker_ended(number, Some(problem));
    }

    fn give_up_refused(&mut self, number: TaskNo, why: &Refused) {
        self.advance(number, TaskMove::NotSubmitted);
        let class = match why.about {
            About::NotExecuted => "JobNotSubmitted",
            _ => "JobRefused",
        };
        self.give_up_rest(number, class, &format!("{}\n{}", said(why), why.hint));
    }

    /// The job was not accepted: another one is submitted, with this change.
    fn submit_again(&mut self, number: TaskNo, change: impl FnOnce(&mut crate::task::RetryState)) {
        if let Some(task) = self.tasks.get_mut(number) {
            change(&mut task.retry);
        }
        self.advance(number, TaskMove::NotSubmitted);
        self.line_up(number);
    }

    /// Did the job ask for a reservation and a partition?
    fn asks_for_both(&self, number: TaskNo) -> bool {
        self.asked_for(number, "")
            .is_some_and(|asked| asked.reservation.is_some() && asked.partition.is_some())
    }

    /// The queue shows a job in another state.
    fn on_seen(&mut self, token: &str, seen: Seen) {
        let Some(number) = self.current(token) else { return };
        let Some(task) = self.tasks.get(number) else { return };
        let run = task.run;
        let Some(job) = task.state().job().cloned() else { return };
        if let Some(advice) = seen.advice(&job) {
            // Of many jobs that wait for the same one is enough; `amore jobs` shows all.
            self.tell_first(
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
        self.jobs.set_seen(token, seen);
        self.show_jobs();
    }

    /// Tells how many jobs wait and run.
    pub(super) fn show_jobs(&mut self) {
        if let Some(JobCounts { submitted, waiting, reason }) = self.jobs.changed_counts() {
            self.tell_all(&Event::Jobs { submitted, waiting, reason });
        }
    }

    /// Tells the user of a task's request, unless it was told before.
    pub(super) fn tell_once(&mut self, number: TaskNo, event: Event) {
        let about = format!("{event:?}");
        self.tell_first(number, about, event);
    }

    /// The same, unless something about this was told before.
    pub(super) fn tell_first(&mut self, number: TaskNo, about: String, event: Event) {
        let Some(request) = self.tasks.get(number).map(|task| task.request) else { return };
        if self.requests.get_mut(request).is_some_and(|record| record.report(about)) {
            self.tell(request, event);
        }
    }
}

/// What Slurm, or the system, says of a job that was not accepted.
fn said(why: &Refused) -> String {
    let words = why.words.trim_end_matches('.');
    match why.about {
        About::NotExecuted => words.to_owned(),
        _ => format!("Slurm refused the job: {words}"),
    }
}
