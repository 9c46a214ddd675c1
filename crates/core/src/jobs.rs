//! The Slurm jobs of the core: which there are, what was last seen of them, and what waits for a moment.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use amore_model::JobId;
use amore_slurm::{job_end::JobEnd, refused::Refused, seen::Seen};

use crate::{after_refusal::Refusals, effect::NewJob, journal::WriteNo, task::TaskNo};

/// How long a command waits before it is looked again whether another request still executes it.
const SOON: Duration = Duration::from_secs(1);
/// How often the settings are read while there are jobs.
const SETTINGS_POLL: Duration = Duration::from_secs(3);

/// A job that is over before its task was, until everything of the run is collected.
#[derive(Debug)]
pub(crate) struct JobOver {
    pub(crate) task: TaskNo,
    pub(crate) end: JobEnd,
    pub(crate) job: Option<JobId>,
}

/// What was last told of the jobs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) submitted: usize,
    pub(crate) waiting: usize,
    pub(crate) reason: Option<String>,
}

/// Jobs that Slurm has, or is to get.
#[derive(Debug, Default)]
pub(crate) struct Jobs {
    /// The task of each attempt that is under way.
    by_token: BTreeMap<String, TaskNo>,
    /// What was last seen of each job.
    seen: BTreeMap<String, Seen>,
    /// Tasks that are lined up again at a time.
    later: BTreeSet<(Duration, TaskNo)>,
    /// Tasks whose jobs Slurm has not accepted: since when, and how often.
    refusals: BTreeMap<TaskNo, (Duration, Refusals)>,
    /// Tasks whose jobs Slurm refuses for good, until it is known whether they have earlier values.
    pub(crate) refused: BTreeMap<TaskNo, Refused>,
    /// Jobs that are over; their tasks are judged when everything of the run is collected.
    pub(crate) over: Vec<JobOver>,
    /// Jobs whose intent is not in the ledger yet.
    submissions: Vec<(WriteNo, NewJob)>,
    shown: Shown,
    /// There was a job at some time: from then on the settings are read.
    any: bool,
    settings_at: Option<Duration>,
}

impl Jobs {
    /// An attempt is under way.
    pub(crate) fn started(&mut self, token: String, task: TaskNo) {
        self.any = true;
        self.by_token.insert(token, task);
    }

    /// Nothing more is expected under this token.
    pub(crate) fn let_go(&mut self, token: &str) {
        self.by_token.remove(token);
        self.seen.remove(token);
    }

    /// The task with this token, of whichever attempt.
    pub(crate) fn task(&self, token: &str) -> Option<TaskNo> {
        self.by_token.get(token).copied()
    }

    /// Tasks whose attempts are under way.
    pub(crate) fn tasks(&self) -> impl Iterator<Item = TaskNo> {
        self.by_token.values().copied()
    }

    /// Jobs that Slurm has, or is about to have.
    pub(crate) fn under_way(&self) -> usize {
        self.by_token.len()
    }

    /// A job is seen in another state.
    pub(crate) fn saw(&mut self, token: &str, seen: Seen) {
        self.seen.insert(token.to_owned(), seen);
    }

    /// What was last seen of a job.
    pub(crate) fn seen(&self, token: &str) -> Option<&Seen> {
        self.seen.get(token)
    }

    /// Lines a task up again in a while.
    pub(crate) fn try_later(&mut self, now: Duration, task: TaskNo) {
        self.later.insert((now + SOON, task));
    }

    /// Lines a task up again after this delay.
    pub(crate) fn try_after(&mut self, now: Duration, delay: Duration, task: TaskNo) {
        self.later.insert((now + delay, task));
    }

    /// Tasks that are to be lined up now.
    pub(crate) fn due(&mut self, now: Duration) -> Vec<TaskNo> {
        let mut due = Vec::new();
        while let Some((at, task)) = self.later.first().copied().filter(|(at, _)| *at <= now) {
            self.later.remove(&(at, task));
            due.push(task);
        }
        due
    }

    /// Slurm has not accepted a job: since when that is so, and how often it was.
    pub(crate) fn refusals(&mut self, task: TaskNo, now: Duration) -> (Duration, &mut Refusals) {
        let (since, refusals) = self.refusals.entry(task).or_insert((now, Refusals::default()));
        (now.saturating_sub(*since), refusals)
    }

    /// Slurm has accepted a job of this task, or never will.
    pub(crate) fn no_refusals(&mut self, task: TaskNo) {
        self.refusals.remove(&task);
    }

    /// A job is submitted once this write is done.
    pub(crate) fn submit_after(&mut self, write: WriteNo, new_job: NewJob) {
        self.submissions.push((write, new_job));
    }

    /// Takes a submission back that was not made yet; `false`: it was.
    pub(crate) fn withdraw(&mut self, token: &str) -> bool {
        let before = self.submissions.len();
        self.submissions.retain(|(_, new_job)| new_job.token != token);
        self.submissions.len() < before
    }

    /// Submissions that can be made: `is_done` tells of their writes.
    pub(crate) fn released(&mut self, is_done: impl Fn(WriteNo) -> bool) -> Vec<NewJob> {
        if self.submissions.is_empty() {
            return Vec::new();
        }
        let (now, later) =
            std::mem::take(&mut self.submissions).into_iter().partition(|(write, _)| is_done(*write));
        self.submissions = later;
        let now: Vec<(WriteNo, NewJob)> = now;
        now.into_iter().map(|(_, new_job)| new_job).collect()
    }

    /// How the jobs stand, if that has changed since it was last asked.
    pub(crate) fn news(&mut self) -> Option<Shown> {
        let waiting = self.seen.values().filter(|seen| seen.waits()).count();
        let reason = self.seen.values().find(|seen| seen.waits()).map(|seen| seen.reason.clone());
        let now = Shown { submitted: self.under_way(), waiting, reason };
        if self.shown == now {
            return None;
        }
        self.shown = now.clone();
        Some(now)
    }

    /// Is it time to read the settings?
    pub(crate) fn settings_are_due(&mut self, now: Duration) -> bool {
        let due = self.any && self.settings_at.is_none_or(|at| at <= now);
        if due {
            self.settings_at = Some(now + SETTINGS_POLL);
        }
        due
    }

    /// When something is due.
    pub(crate) fn next_wakeup(&self) -> Option<Duration> {
        let later = self.later.first().map(|(at, _)| *at);
        [later, self.settings_at.filter(|_| self.any)].into_iter().flatten().min()
    }

    /// A task has ended.
    pub(crate) fn forget_task(&mut self, task: TaskNo) {
        self.refusals.remove(&task);
        self.refused.remove(&task);
        self.over.retain(|over| over.task != task);
    }
}
