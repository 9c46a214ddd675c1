//! The state machine that submits jobs, receives messages from their workers, and queries Slurm about all of them at once.
//!
//! Slurm is queried rarely: the worker reports its results and the end of its work in a file. The queue is queried for what
//! a worker cannot report: that its job waits, and why; that it was killed.
//!
//! The same inputs at the same times give the same actions.

mod follow;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use amore_model::{
    JobId, Notice,
    planted::{Fault, is_on},
};

use crate::{
    adjust::Remark,
    cancelling::Cancelling,
    clusters::Clusters,
    exchange::{Action, Adoption, Answer, Command, Input, JobEvent, Submission},
    poll::ClusterQuery,
    refused::Refused,
    submission::{Doubt, Found, JobOptions, SlurmUnavailable, Submitted},
    tracked::Tracked,
};

/// How often the workers' files are read while there are few.
const FEW_WORKERS_EVERY: Duration = Duration::from_millis(40);
/// How often they are read while there are many: each read has a cost for the file system.
const MANY_WORKERS_EVERY: Duration = Duration::from_millis(120);
/// The largest number of workers that counts as few.
const FEW: usize = 4;
/// How soon Slurm is queried about a job that it has just accepted.
const SOON: Duration = Duration::from_secs(2);
/// Number of concurrent submissions.
const SUBMISSIONS: usize = 3;
/// How much the pause between two look-ups of a lost submission grows each time, and how many times it grows.
const LOOK_UP: (Duration, u32) = (Duration::from_secs(3), 10);

/// A tracked job and its files.
#[derive(Debug)]
struct Job {
    tracked: Tracked,
    directory: PathBuf,
    /// Name of the job, and the pattern of its log's path.
    name: String,
    log: String,
    /// The options to submit it with once its manifest is written.
    to_submit: Option<Box<JobOptions>>,
    /// Set while it is being cancelled.
    cancelling: Option<Cancelling>,
    /// Set while it is being looked up.
    look_up: Option<LookUp>,
    /// Whether its log is being read.
    reads_log: bool,
}

/// The search for the job of a token.
#[derive(Clone, Copy, Debug)]
struct LookUp {
    round: u32,
    /// When Slurm is queried; `None` while a query is under way.
    due: Option<Instant>,
}

/// When a cluster is queried. Each has its own schedule, so that one that does not answer does not hold up others.
#[derive(Debug)]
struct Cluster {
    query: Option<ClusterQuery>,
    next: Instant,
}

/// Why a job is being cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    /// The coordinator requested it.
    Requested,
    /// It was given up, and would otherwise stay in the queue.
    Lingers,
}

/// The state machine. `M` is a message from a worker, which is only passed on.
#[derive(Debug)]
pub struct Poller<M> {
    /// By token.
    jobs: BTreeMap<String, Job>,
    /// Submissions that wait, in this order.
    waiting: VecDeque<Submission>,
    /// Tokens of submissions under way.
    submitting: BTreeSet<String>,
    /// Jobs that Slurm is being asked to cancel.
    ending: BTreeMap<JobId, Purpose>,
    clusters: BTreeMap<Option<String>, Cluster>,
    /// Clusters that do not answer, as the user was told.
    unreachable: BTreeSet<Clusters>,
    /// Remarks that were already made.
    remarked: BTreeSet<String>,
    timer_is_set: bool,
    actions: Vec<Action<M>>,
}

impl<M> Default for Poller<M> {
    fn default() -> Self {
        Poller {
            jobs: BTreeMap::new(),
            waiting: VecDeque::new(),
            submitting: BTreeSet::new(),
            ending: BTreeMap::new(),
            clusters: BTreeMap::new(),
            unreachable: BTreeSet::new(),
            remarked: BTreeSet::new(),
            timer_is_set: false,
            actions: Vec::new(),
        }
    }
}

impl<M> Poller<M> {
    /// Handles an input, and returns what to do about it, in this order.
    pub fn on(&mut self, now: Instant, input: Input<M>) -> Vec<Action<M>> {
        match input {
            Input::Submit(submission) => {
                let at = self.waiting.partition_point(|other| other.urgency <= submission.urgency);
                self.waiting.insert(at, *submission);
            }
            Input::Adopt(adoption) => self.on_adopt(adoption, now),
            Input::Forget { token } => self.forget(&token),
            Input::Cancel { token } => self.on_cancel(token, now),
            Input::ManifestWritten { token, result } => self.on_manifest(token, result),
            Input::WorkersHeard(heard) => {
                self.on_workers(heard, now);
                self.report_ended(now);
                self.cancel_due_jobs(now);
                self.look_up_due_jobs(now);
                self.query_due_clusters(now);
            }
            Input::LogRead { token, tail } => self.on_log(&token, tail.as_deref(), now),
            Input::Answered(Answer::Submitted { token, result, remarks }) => {
                self.on_submitted(token, result, remarks, now);
            }
            Input::Answered(Answer::LookedUp { token, result }) => self.on_looked_up(token, result, now),
            Input::Answered(Answer::Replied { cluster, reply }) => self.on_reply(cluster, reply, now),
            Input::Answered(Answer::Cancelled { token, job, answer }) => {
                self.on_cancelled(&token, &job, answer, now);
            }
            Input::Timer => {
                self.timer_is_set = false;
                if !self.jobs.is_empty() {
                    let attempt = |(token, job): (&String, &Job)| (token.clone(), job.directory.clone());
                    let attempts = self.jobs.iter().map(attempt).collect();
                    self.act(Action::ReadWorkers { attempts });
                }
            }
        }
        self.submit_waiting(now);
        if !self.timer_is_set && !self.jobs.is_empty() {
            self.timer_is_set = true;
            let pause = if self.jobs.len() > FEW { MANY_WORKERS_EVERY } else { FEW_WORKERS_EVERY };
            self.act(Action::WakeAt(now + pause));
        }
        std::mem::take(&mut self.actions)
    }

    /// Whether submissions or cancellations are under way whose results are worth waiting for before the program ends.
    pub fn is_busy(&self) -> bool {
        !self.submitting.is_empty() || !self.ending.is_empty() || !self.waiting.is_empty()
    }

    fn act(&mut self, action: Action<M>) {
        self.actions.push(action);
    }

    fn run(&mut self, command: Command) {
        self.act(Action::Run(command));
    }

    fn emit(&mut self, event: JobEvent<M>) {
        self.act(Action::Emit(event));
    }

    fn notice(&mut self, notice: Notice) {
        self.emit(JobEvent::Notice(notice));
    }

    fn track(
        &mut self,
        token: &str,
        directory: &Path,
        (name, log): (String, String),
        clusters: Clusters,
        now: Instant,
    ) {
        let job = Job {
            tracked: Tracked::new(token, clusters, now),
            directory: directory.to_owned(),
            name,
            log,
            to_submit: None,
            cancelling: None,
            look_up: None,
            reads_log: false,
        };
        self.jobs.insert(token.to_owned(), job);
    }

    fn forget(&mut self, token: &str) {
        self.waiting.retain(|submission| submission.token != token);
        if let Some(job) = self.jobs.remove(token)
            && !is_on(Fault::FilesNotRemoved)
        {
            self.act(Action::RemoveFiles { token: token.to_owned(), directory: job.directory });
        }
    }

    fn on_adopt(&mut self, adoption: Adoption, now: Instant) {
        let Adoption { token, directory, job, name, log, clusters, has_manifest } = adoption;
        self.track(&token, &directory, (name, log), clusters, now);
        if !has_manifest && let Some(of) = self.jobs.get_mut(&token) {
            of.tracked.on_earlier_end();
        }
        match job {
            Some(job) => {
                self.query_soon(job.cluster.clone(), now);
                if let Some(of) = self.jobs.get_mut(&token) {
                    of.tracked.on_job(job, now);
                }
            }
            None => self.look_up(&token, 0, now),
        }
    }

    fn on_cancel(&mut self, token: String, now: Instant) {
        match self.jobs.get_mut(&token) {
            Some(job) => {
                job.cancelling.get_or_insert_with(|| Cancelling::new(now));
                // A job that starts before its ID is known finds nothing to do.
                if job.tracked.job().is_none() {
                    let directory = job.directory.clone();
                    self.act(Action::RemoveManifest { token, directory });
                }
                self.cancel_due_jobs(now);
            }
            // It is not submitted yet, or is over.
            None => {
                self.forget(&token);
                self.emit(JobEvent::Cancelled { token, job: None });
            }
        }
    }
}

/// Submissions, and the look-up of those whose answer was lost.
impl<M> Poller<M> {
    fn submit_waiting(&mut self, now: Instant) {
        while self.submitting.len() < SUBMISSIONS {
            let Some(submission) = self.waiting.pop_front() else { return };
            let Submission { token, directory, manifest, asked, .. } = submission;
            let named = (asked.name.clone(), asked.log.clone());
            self.track(&token, &directory, named, Clusters::of(asked.clusters.as_deref()), now);
            self.submitting.insert(token.clone());
            if let Some(job) = self.jobs.get_mut(&token) {
                job.to_submit = Some(Box::new(asked));
            }
            self.act(Action::WriteManifest { token, directory, manifest });
        }
    }

    fn on_manifest(&mut self, token: String, result: Result<(), String>) {
        let asked = self.jobs.get_mut(&token).and_then(|job| job.to_submit.take());
        match (result, asked) {
            (Ok(()), Some(asked)) => self.run(Command::Submit { token, asked }),
            // It is no longer tracked.
            (_, None) => {
                self.submitting.remove(&token);
            }
            (Err(error), Some(_)) => {
                self.submitting.remove(&token);
                self.forget(&token);
                let why = Refused::temporary(format!("cannot write the job's manifest: {error}"));
                self.emit(JobEvent::Refused { token, why });
            }
        }
    }

    fn on_submitted(&mut self, token: String, result: Submitted, remarks: Vec<Remark>, now: Instant) {
        self.submitting.remove(&token);
        for Remark { about, notice } in remarks {
            if self.remarked.insert(about) {
                self.notice(notice);
            }
        }
        match result {
            Submitted::Accepted { job } => self.accepted(token, job, now),
            Submitted::Refused(why) => {
                self.forget(&token);
                self.emit(JobEvent::Refused { token, why });
            }
            Submitted::Unsure { words, doubt } => {
                if let Some(of) = self.jobs.get_mut(&token) {
                    of.tracked.on_doubt(doubt);
                    if of.tracked.job().is_some() {
                        // Its worker reported the ID in the meantime.
                        return;
                    }
                }
                if doubt == Doubt::Unnumbered {
                    self.look_up(&token, 0, now);
                } else {
                    self.on_no_answer_about(&token, &words);
                    self.look_up(&token, 1, now);
                }
            }
        }
    }

    fn look_up(&mut self, token: &str, round: u32, now: Instant) {
        let Some(job) = self.jobs.get_mut(token) else { return };
        let (longer, often) = LOOK_UP;
        if round > 1 && is_on(Fault::LookedForOnce) {
            return;
        }
        job.look_up = Some(LookUp { round, due: Some(now + longer * round.min(often)) });
        self.look_up_due_jobs(now);
    }

    fn look_up_due_jobs(&mut self, now: Instant) {
        let mut commands = Vec::new();
        for (token, job) in &mut self.jobs {
            if let Some(look_up) = &mut job.look_up
                && look_up.due.take_if(|due| *due <= now).is_some()
            {
                let (name, clusters) = (job.name.clone(), job.tracked.clusters().clone());
                commands.push(Command::LookUp { token: token.clone(), name, clusters });
            }
        }
        for command in commands {
            self.run(command);
        }
    }

    fn on_looked_up(&mut self, token: String, result: Result<Found, SlurmUnavailable>, now: Instant) {
        let Some(of) = self.jobs.get_mut(&token) else { return };
        let Some(LookUp { round, .. }) = of.look_up.take() else { return };
        if of.tracked.job().is_some() {
            // Its worker reported the ID in the meantime.
            return;
        }
        match result {
            Ok(Found::Job(job)) => self.accepted(token, job, now),
            Ok(Found::Nothing) if of.tracked.on_not_found(now) => {
                let doubt = of.tracked.doubt();
                self.forget(&token);
                self.emit(JobEvent::NotFound { token, doubt });
            }
            Ok(Found::Nothing) => self.look_up(&token, round + 1, now),
            Err(SlurmUnavailable(words)) => {
                of.tracked.on_no_answer();
                self.on_no_answer_about(&token, &words);
                self.look_up(&token, round + 1, now);
            }
        }
    }

    fn accepted(&mut self, token: String, job: JobId, now: Instant) {
        if let Some(Job { tracked, .. }) = self.jobs.get_mut(&token) {
            if tracked.job().is_some() {
                // Its worker was faster, and is more reliable than output that a site's wrapper may have changed.
                return;
            }
            tracked.on_job(job.clone(), now);
            let clusters = tracked.clusters().clone();
            // With one cluster, the next query of its queue shows the same.
            if clusters.chosen_by_slurm() {
                self.on_answer_from(&clusters);
            }
        }
        // If the job waits, the reason is wanted soon.
        self.query_soon(job.cluster.clone(), now + SOON);
        self.emit(JobEvent::Accepted { token, job });
    }
}
