//! What happened so far, as far as rules depend on it.

use std::collections::{BTreeMap, BTreeSet};

use amore_model::{JobId, PlanStamp, Run};

use super::files::Call;
use crate::Moment;

/// One attempt at a task: the task's id, and the number of the attempt.
type Attempt = (String, u32);

/// The history of a simulation.
#[derive(Debug, Default)]
pub(super) struct History {
    /// Tokens of jobs that were submitted for each attempt.
    tokens: BTreeMap<Attempt, Vec<String>>,
    /// The latest plan of each run of which anything is known.
    plans: BTreeMap<Run, PlanStamp>,
    /// Runs that a process has asked to cancel, and the latest plan then.
    being_cancelled: BTreeMap<u32, (Run, PlanStamp)>,
    /// Plans up to this one are cancelled.
    cancelled: BTreeMap<Run, PlanStamp>,
    /// Runs and jobs that somebody has cancelled.
    numbers: BTreeSet<u64>,
    /// The last call before the last request.
    pub(super) last_request: Option<Call>,
    /// Calls that had been made when the request of a process was planned.
    pub(super) planned: BTreeMap<u32, Call>,
    /// When somebody who waits was last told of jobs that wait, or of something else.
    pub(super) wait_told: Option<Moment>,
    /// Whether jobs wait, as users were last told.
    pub(super) waiting_shown: bool,
    /// Tokens of jobs that root has cancelled.
    pub(super) root_cancelled: BTreeSet<String>,
    /// Processes that were stopped for a while, so that their terms may have run out.
    pub(super) suspended: BTreeSet<u32>,
}

impl History {
    /// A job is submitted for an attempt. Gives the tokens of jobs that were submitted for it before.
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

    /// Something is known of a plan.
    pub(super) fn plan(&mut self, run: Run, stamp: PlanStamp) {
        let latest = self.plans.entry(run).or_insert(stamp);
        *latest = stamp.max(*latest);
    }

    /// Somebody cancels a run or a job.
    pub(super) fn cancel(&mut self, named: &JobId) {
        self.numbers.insert(named.number);
    }

    /// An owner takes the request of a process to cancel a run: it covers the plans that there are.
    pub(super) fn cancellation_taken(&mut self, asker: u32, run: Run) {
        if let Some(stamp) = self.plans.get(&run) {
            self.being_cancelled.insert(asker, (run, *stamp));
        }
    }

    /// A process was told that what it wanted to cancel is cancelled.
    pub(super) fn cancellation_done(&mut self, asker: u32) {
        if let Some((run, stamp)) = self.being_cancelled.remove(&asker) {
            self.cancelled.insert(run, stamp);
        }
    }

    /// Is a plan of a run cancelled?
    pub(super) fn is_cancelled(&self, run: Run, stamp: PlanStamp) -> bool {
        self.cancelled.get(&run).is_some_and(|until| stamp <= *until)
    }

    /// Was anything cancelled?
    pub(super) fn has_cancellations(&self) -> bool {
        !self.numbers.is_empty()
    }
}
