//! The Slurm jobs of the core: which attempt each belongs to, what was last seen of it, and which are over.

use std::collections::BTreeMap;

use amore_model::JobId;
use amore_slurm::{job_end::JobEnd, job_status::JobStatus};

use crate::task::TaskNo;

/// A job that is over before its task was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EndedJob {
    pub(crate) task: TaskNo,
    pub(crate) end: JobEnd,
    pub(crate) job: Option<JobId>,
}

/// How many jobs there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct JobCounts {
    /// Jobs that Slurm has, or is about to have.
    pub(crate) submitted: usize,
    /// Those of them that wait.
    pub(crate) waiting: usize,
    /// Why one of them waits.
    pub(crate) reason: Option<String>,
}

/// Jobs that Slurm has, or is to get, by the token of their attempt.
#[derive(Debug, Default)]
pub(crate) struct Jobs {
    tasks: BTreeMap<String, TaskNo>,
    seen: BTreeMap<String, JobStatus>,
    /// The hosts of their workers.
    hosts: BTreeMap<String, String>,
    /// Their tasks are judged when everything of the run is collected.
    ended: Vec<EndedJob>,
    /// What was last shown.
    shown: JobCounts,
}

impl Jobs {
    /// An attempt begins.
    pub(crate) fn start(&mut self, token: String, task: TaskNo) {
        self.tasks.insert(token, task);
    }

    /// Nothing more is expected under this token.
    pub(crate) fn release(&mut self, token: &str) {
        self.tasks.remove(token);
        self.seen.remove(token);
        self.hosts.remove(token);
    }

    /// The task with this token, whichever attempt it is.
    pub(crate) fn task(&self, token: &str) -> Option<TaskNo> {
        self.tasks.get(token).copied()
    }

    /// Tasks that have a job.
    pub(crate) fn tasks(&self) -> impl Iterator<Item = TaskNo> {
        self.tasks.values().copied()
    }

    /// How many jobs Slurm has, or is about to have.
    pub(crate) fn len(&self) -> usize {
        self.tasks.len()
    }

    /// A job is seen in another state.
    pub(crate) fn set_seen(&mut self, token: &str, seen: JobStatus) {
        self.seen.insert(token.to_owned(), seen);
    }

    /// What was last seen of a job.
    pub(crate) fn seen(&self, token: &str) -> Option<&JobStatus> {
        self.seen.get(token)
    }

    /// The worker of a job says where it is.
    pub(crate) fn set_host(&mut self, token: &str, host: String) {
        self.hosts.insert(token.to_owned(), host);
    }

    /// The host of a job's worker, once that has begun.
    pub(crate) fn host(&self, token: &str) -> Option<&str> {
        self.hosts.get(token).map(String::as_str)
    }

    /// A job is over: its task is to be judged.
    pub(crate) fn add_ended(&mut self, ended: EndedJob) {
        self.ended.push(ended);
    }

    /// Takes the jobs whose tasks are to be judged.
    pub(crate) fn take_ended(&mut self) -> Vec<EndedJob> {
        std::mem::take(&mut self.ended)
    }

    /// The counts, if they have changed since this was last called.
    pub(crate) fn changed_counts(&mut self) -> Option<JobCounts> {
        let waiting = self.seen.values().filter(|seen| seen.waits()).count();
        let reason = self.seen.values().find(|seen| seen.waits()).map(|seen| seen.reason.clone());
        let counts = JobCounts { submitted: self.len(), waiting, reason };
        if self.shown == counts {
            return None;
        }
        self.shown = counts.clone();
        Some(counts)
    }

    /// A task has ended.
    pub(crate) fn forget(&mut self, task: TaskNo) {
        self.ended.retain(|ended| ended.task != task);
    }
}

#[cfg(test)]
mod tests {
    use amore_model::JobState;

    use super::*;

    fn seen(state: JobState, reason: &str) -> JobStatus {
        JobStatus {
            state,
            reason: reason.to_owned(),
            nodes: String::new(),
            partition: "main".to_owned(),
            reservation: String::new(),
            tokens: Vec::new(),
            end: None,
        }
    }

    #[test]
    fn counts_are_given_when_they_change() {
        let mut jobs = Jobs::default();
        assert_eq!(jobs.changed_counts(), None);
        jobs.start("a".to_owned(), TaskNo(1));
        jobs.start("b".to_owned(), TaskNo(2));
        jobs.set_seen("a", seen(JobState::Pending, "Priority"));
        let counts = JobCounts { submitted: 2, waiting: 1, reason: Some("Priority".to_owned()) };
        assert_eq!(jobs.changed_counts(), Some(counts));
        assert_eq!(jobs.changed_counts(), None);
        jobs.set_seen("a", seen(JobState::Running, "None"));
        assert_eq!(jobs.changed_counts(), Some(JobCounts { submitted: 2, ..JobCounts::default() }));
    }

    #[test]
    fn a_token_that_was_released_is_not_known() {
        let mut jobs = Jobs::default();
        jobs.start("a".to_owned(), TaskNo(1));
        jobs.set_seen("a", seen(JobState::Running, "None"));
        assert_eq!((jobs.task("a"), jobs.len()), (Some(TaskNo(1)), 1));
        jobs.release("a");
        assert_eq!((jobs.task("a"), jobs.len()), (None, 0));
        assert!(jobs.seen("a").is_none() && jobs.tasks().next().is_none());
    }

    #[test]
    fn a_job_that_is_over_is_judged_once_and_not_after_the_end_of_its_task() {
        let mut jobs = Jobs::default();
        let ended = |task| EndedJob { task: TaskNo(task), end: JobEnd::Vanished, job: None };
        jobs.add_ended(ended(1));
        jobs.add_ended(ended(2));
        jobs.forget(TaskNo(1));
        assert_eq!(jobs.take_ended(), [ended(2)]);
        assert!(jobs.take_ended().is_empty());
    }
}
