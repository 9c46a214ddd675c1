//! Records of the past that the rules depend on.

use std::collections::{BTreeMap, BTreeSet};

use amore_model::{JobId, PlanStamp, Run};

use super::files::Call;
use crate::Moment;

/// One attempt of a task: the task's ID and the number of the attempt.
type Attempt = (String, u32);

/// The history of a simulation.
#[derive(Debug, Default)]
pub(super) struct History {
    /// Tokens of jobs that were submitted for each attempt.
    tokens: BTreeMap<Attempt, Vec<String>>,
    /// The latest known plan of each run.
    plans: BTreeMap<Run, PlanStamp>,
    /// Runs that a process has requested to cancel, with the latest plan at that time.
    being_cancelled: BTreeMap<u32, (Run, PlanStamp)>,
    /// Plans up to this one are cancelled.
    cancelled: BTreeMap<Run, PlanStamp>,
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
    /// Processes that were stopped for a while. Their terms may have expired.
    pub(super) suspended: BTreeSet<u32>,
}

impl History {
    /// Records the submission of a job for an attempt. Returns the tokens of earlier jobs of the same attempt.
    pub(super) fn submitted(&mut self, task: &str, attempt: u32, token: &str) -> Vec<String> {
        let tokens = self.tokens.entry((task.to_owned(), attempt)).or_default();
        let before = tokens.clone();
        tokens.push(token.to_owned());
        before
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

    /// A process was told that its cancellation is done.
    pub(super) fn cancellation_done(&mut self, asker: u32) {
        if let Some((run, stamp)) = self.being_cancelled.remove(&asker) {
            self.cancelled.insert(run, stamp);
        }
    }

    /// Whether a plan of a run is cancelled.
    pub(super) fn is_cancelled(&self, run: Run, stamp: PlanStamp) -> bool {
        self.cancelled.get(&run).is_some_and(|until| stamp <= *until)
    }

    /// Whether anything was cancelled.
    pub(super) fn has_cancellations(&self) -> bool {
        !self.numbers.is_empty()
    }
}
