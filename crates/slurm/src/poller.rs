//! The state machine that submits jobs, hears what their workers say, and asks Slurm in bulk how they are.
//!
//! Slurm is asked seldom: what a job computes, and that it is done, its worker says in a file. The queue is looked at for
//! what a worker cannot say: that its job waits, and why; that it was killed.
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

use amore_model::{JobId, Notice};

use crate::{
    cancelling::Cancelling,
    clusters::Clusters,
    exchange::{Action, Adoption, Answer, Command, Input, JobEvent, Submission},
    poll::Look,
    refused::Refused,
    settle::Remark,
    submission::{Doubt, Found, JobAsked, SlurmSilent, Submitted},
    tracked::Tracked,
};

/// How often the files of the workers are read, while there are few.
const FEW_WORKERS_EVERY: Duration = Duration::from_millis(40);
/// How often while there are more: reading each costs the file system something.
const MANY_WORKERS_EVERY: Duration = Duration::from_millis(120);
/// With more than this many there are many.
const FEW: usize = 4;
/// How soon Slurm is asked about a job that it has just taken.
const SOON: Duration = Duration::from_secs(2);
/// Submissions side by side.
const SUBMISSIONS: usize = 3;
/// How much longer the wait becomes from one look for a lost submission to the next, and how often it does.
const LOOK_UP: (Duration, u32) = (Duration::from_secs(3), 10);

/// A job that is tracked, and its files.
#[derive(Debug)]
struct Job {
    tracked: Tracked,
    directory: PathBuf,
    /// Its name, and the pattern of its log.
    name: String,
    log: String,
    /// What Slurm is asked for once its manifest is written.
    to_submit: Option<Box<JobAsked>>,
    /// Its end is wanted.
    cancelling: Option<Cancelling>,
    /// It is looked for.
    look_up: Option<LookUp>,
    /// Its log is being read.
    reads_log: bool,
}

/// The search for the job of a token.
#[derive(Clone, Copy, Debug)]
struct LookUp {
    round: u32,
    /// When Slurm is asked; `None`: it is being asked.
    due: Option<Instant>,
}

/// When a cluster is asked. Each has its own time: one that does not answer holds up no other.
#[derive(Debug)]
struct Cluster {
    look: Option<Look>,
    next: Instant,
}

/// Why a job is being ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    /// Its end is wanted.
    Wanted,
    /// It was given up, and would stay in the queue.
    Lingers,
}

/// The state machine. `M` is a message of a worker's, which is only handed on.
#[derive(Debug)]
pub struct Poller<M> {
    /// By token.
    jobs: BTreeMap<String, Job>,
    /// To be submitted, in this order.
    waiting: VecDeque<Submission>,
    /// Tokens of submissions under way.
    submitting: BTreeSet<String>,
    /// Jobs that Slurm is being told to end.
    ending: BTreeMap<JobId, Purpose>,
    clusters: BTreeMap<Option<String>, Cluster>,
    /// Slurm does not answer there, and the user was told.
    silent: BTreeSet<Clusters>,
    /// What was said of partitions and reservations.
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
            silent: BTreeSet::new(),
            remarked: BTreeSet::new(),
            timer_is_set: false,
            actions: Vec::new(),
        }
    }
}

impl<M> Poller<M> {
    /// What is to be done about what happens, in this order.
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
                self.cancel_what_is_due(now);
                self.look_up_what_is_due(now);
                self.look_at_clusters_that_are_due(now);
            }
            Input::LogRead { token, tail } => self.on_log(&token, tail.as_deref(), now),
            Input::Answered(Answer::Submitted { token, result, remarks }) => {
                self.on_submitted(token, result, remarks, now);
            }
            Input::Answered(Answer::LookedUp { token, result }) => self.on_looked_up(token, result, now),
            Input::Answered(Answer::Said { cluster, reply }) => self.on_reply(cluster, reply, now),
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
        self.submit_what_fits(now);
        if !self.timer_is_set && !self.jobs.is_empty() {
            self.timer_is_set = true;
            let pause = if self.jobs.len() > FEW { MANY_WORKERS_EVERY } else { FEW_WORKERS_EVERY };
            self.act(Action::WakeAt(now + pause));
        }
        std::mem::take(&mut self.actions)
    }

    /// Is a submission or a cancellation under way, whose answer is worth waiting for before the program ends?
    pub fn is_busy(&self) -> bool {
        !self.submitting.is_empty() || !self.ending.is_empty() || !self.waiting.is_empty()
    }

    fn act(&mut self, action: Action<M>) {
        self.actions.push(action);
    }

    fn run(&mut self, command: Command) {
        self.act(Action::Run(command));
    }

    fn tell(&mut self, event: JobEvent<M>) {
        self.act(Action::Tell(event));
    }

    fn notice(&mut self, notice: Notice) {
        self.tell(JobEvent::Notice(notice));
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
        if let Some(job) = self.jobs.remove(token) {
            self.act(Action::RemoveFiles { token: token.to_owned(), directory: job.directory });
        }
    }

    fn on_adopt(&mut self, adoption: Adoption, now: Instant) {
        let Adoption { token, directory, job, name, log, clusters } = adoption;
        self.track(&token, &directory, (name, log), clusters, now);
        match job {
            Some(job) => {
                self.look_soon(job.cluster.clone(), now);
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
                // A job that begins before its number is known finds nothing to do.
                if job.tracked.job().is_none() {
                    let directory = job.directory.clone();
                    self.act(Action::RemoveManifest { token, directory });
                }
                self.cancel_what_is_due(now);
            }
            // It was not submitted yet, or is over.
            None => {
                self.forget(&token);
                self.tell(JobEvent::Cancelled { token, job: None });
            }
        }
    }
}

/// Submissions, and the search for those whose answer was lost.
impl<M> Poller<M> {
    fn submit_what_fits(&mut self, now: Instant) {
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
            // Nothing more is wanted of it.
            (_, None) => {
                self.submitting.remove(&token);
            }
            (Err(error), Some(_)) => {
                self.submitting.remove(&token);
                self.forget(&token);
                let why = Refused::for_now(format!("the job's sheet cannot be written: {error}"));
                self.tell(JobEvent::Refused { token, why });
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
                self.tell(JobEvent::Refused { token, why });
            }
            Submitted::Unsure { words, doubt } => {
                if let Some(of) = self.jobs.get_mut(&token) {
                    of.tracked.on_doubt(doubt);
                    if of.tracked.job().is_some() {
                        // Its worker has said it meanwhile.
                        return;
                    }
                }
                if doubt == Doubt::Unnumbered {
                    self.look_up(&token, 0, now);
                } else {
                    self.on_silence_about(&token, &words);
                    self.look_up(&token, 1, now);
                }
            }
        }
    }

    fn look_up(&mut self, token: &str, round: u32, now: Instant) {
        let Some(job) = self.jobs.get_mut(token) else { return };
        let (longer, often) = LOOK_UP;
        job.look_up = Some(LookUp { round, due: Some(now + longer * round.min(often)) });
        self.look_up_what_is_due(now);
    }

    fn look_up_what_is_due(&mut self, now: Instant) {
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

    fn on_looked_up(&mut self, token: String, result: Result<Found, SlurmSilent>, now: Instant) {
        let Some(of) = self.jobs.get_mut(&token) else { return };
        let Some(LookUp { round, .. }) = of.look_up.take() else { return };
        if of.tracked.job().is_some() {
            // Its worker has said it meanwhile.
            return;
        }
        match result {
            Ok(Found::Job(job)) => self.accepted(token, job, now),
            Ok(Found::Nothing) if of.tracked.on_not_found(now) => {
                let doubt = of.tracked.doubt();
                self.forget(&token);
                self.tell(JobEvent::NotThere { token, doubt });
            }
            Ok(Found::Nothing) => self.look_up(&token, round + 1, now),
            Err(SlurmSilent(words)) => {
                of.tracked.on_silence();
                self.on_silence_about(&token, &words);
                self.look_up(&token, round + 1, now);
            }
        }
    }

    fn accepted(&mut self, token: String, job: JobId, now: Instant) {
        if let Some(Job { tracked, .. }) = self.jobs.get_mut(&token) {
            if tracked.job().is_some() {
                // Its worker was faster, and knows better than words that a site's wrapper may have written.
                return;
            }
            tracked.on_job(job.clone(), now);
            let clusters = tracked.clusters().clone();
            // Of one cluster the next look at its queue says it as well.
            if clusters.leave_it_to_slurm() {
                self.on_speech(&clusters);
            }
        }
        // Why it waits, if it does, is wanted soon.
        self.look_soon(job.cluster.clone(), now + SOON);
        self.tell(JobEvent::Accepted { token, job });
    }
}
