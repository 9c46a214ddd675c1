//! Records of the past that the rules depend on.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use amore_model::{JobId, PlanStamp, Run};

use super::files::Call;
use crate::Moment;

/// One attempt of a task: the task's ID and the number of the attempt.
type Attempt = (String, u32);

/// How long what a process decided before it was stopped may still show after it has continued.
const DISTURBED: Duration = Duration::from_secs(100);

/// The history of a simulation.
#[derive(Debug, Default)]
pub(super) struct History {
    /// Tokens of jobs that were submitted for each attempt.
    tokens: BTreeMap<Attempt, Vec<String>>,
    /// The latest known plan of each run.
    plans: BTreeMap<Run, PlanStamp>,
    /// Runs that a process has requested to cancel, with the latest plan at that time.
    being_cancelled: BTreeMap<u32, (Run, PlanStamp)>,
    /// Cancellations that users were told of.
    cancelled: Vec<Cancelled>,
    /// Numbers of runs and jobs that somebody has cancelled.
    numbers: BTreeSet<u64>,
    /// The last call before the last request.
    pub(super) last_request: Option<Call>,
    /// The last call before the request of each process was planned.
    pub(super) planned: BTreeMap<u32, Call>,
    /// When a waiting user was last told about waiting jobs, or about anything else.
    pub(super) wait_told: Option<Moment>,
    /// Whether the latest message to users reported waiting jobs.
    pub(super) waiting_shown: bool,
    /// Tokens of jobs that root has cancelled.
    pub(super) root_cancelled: BTreeSet<String>,
    /// Processes that were stopped, and when they continued. Their terms may have expired.
    suspended: BTreeMap<u32, Option<Moment>>,
    /// Tokens of the jobs that Slurm accepted for each task.
    accepted: BTreeMap<String, BTreeSet<String>>,
}

/// A cancellation that a user was told of.
#[derive(Debug)]
struct Cancelled {
    /// The process that did it.
    owner: u32,
    run: Run,
    /// Plans up to this one are cancelled.
    until: PlanStamp,
    /// How often the ledger has accepted what that process gave it since.
    writes: u32,
}

/// After so many writes the ledger knows: the first may have been under way before.
const WRITES: u32 = 2;

impl History {
    /// Records the submission of a job for an attempt. Returns the tokens of earlier jobs of the same attempt.
    pub(super) fn submitted(&mut self, task: &str, attempt: u32, token: &str) -> Vec<String> {
        let tokens = self.tokens.entry((task.to_owned(), attempt)).or_default();
        let before = tokens.clone();
        tokens.push(token.to_owned());
        before
    }

    /// Records that Slurm accepted the job of an attempt. Returns how many jobs its task has had by now.
    pub(super) fn accepted(&mut self, token: &str) -> usize {
        let task = self.tokens.iter().find(|(_, tokens)| tokens.iter().any(|of| of == token));
        let Some(((task, _), _)) = task else { return 0 };
        let jobs = self.accepted.entry(task.clone()).or_default();
        jobs.insert(token.to_owned());
        jobs.len()
    }

    /// Records that a process is stopped.
    pub(super) fn suspend(&mut self, process: u32) {
        self.suspended.insert(process, None);
    }

    /// Records that a stopped process continues.
    pub(super) fn resume(&mut self, process: u32, now: Moment) {
        self.suspended.insert(process, Some(now));
    }

    /// Whether this process was ever stopped.
    pub(super) fn was_suspended(&self, process: u32) -> bool {
        self.suspended.contains_key(&process)
    }

    /// Whether some process is stopped, or was shortly before `now`: what it decided before may still happen.
    pub(super) fn is_disturbed(&self, now: Moment) -> bool {
        let is_recent = |at: &Option<Moment>| at.is_none_or(|at| now - at < DISTURBED);
        self.suspended.values().any(is_recent)
    }

    /// Tokens of all jobs of a task.
    pub(super) fn tokens_of(&self, task: &str) -> Vec<&str> {
        let of_task = self.tokens.iter().filter(|((of, _), _)| of == task);
        of_task.flat_map(|(_, tokens)| tokens.iter().map(String::as_str)).collect()
    }

    /// Records a plan of a run.
    pub(super) fn plan(&mut self, run: Run, stamp: PlanStamp) {
        let latest = self.plans.entry(run).or_insert(stamp);
        *latest = stamp.max(*latest);
    }

    /// Records that somebody cancels a run or a job.
    pub(super) fn cancel(&mut self, named: &JobId) {
        self.numbers.insert(named.number);
    }

    /// An owner takes the request of a process to cancel a run. It covers the plans that exist now.
    pub(super) fn cancellation_taken(&mut self, asker: u32, run: Run) {
        if let Some(stamp) = self.plans.get(&run) {
            self.being_cancelled.insert(asker, (run, *stamp));
        }
    }

    /// The owner told a process that its cancellation is done.
    pub(super) fn cancellation_done(&mut self, asker: u32, owner: u32) {
        if let Some((run, until)) = self.being_cancelled.remove(&asker) {
            self.cancelled.push(Cancelled { owner, run, until, writes: 0 });
        }
    }

    /// The ledger accepted everything that an owner gave it.
    pub(super) fn ledger_written(&mut self, owner: u32) {
        self.cancelled.iter_mut().filter(|one| one.owner == owner).for_each(|one| one.writes += 1);
    }

    /// Whether a plan of a run is cancelled, as far as this owner can know.
    pub(super) fn is_cancelled(&self, run: Run, stamp: PlanStamp, owner: u32) -> bool {
        self.cancelled
            .iter()
            .any(|one| one.run == run && stamp <= one.until && (one.owner == owner || one.writes >= WRITES))
    }

    /// Whether anything was cancelled.
    pub(super) fn has_cancellations(&self) -> bool {
        !self.numbers.is_empty()
    }
}
