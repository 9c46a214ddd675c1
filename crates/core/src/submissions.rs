//! Jobs on their way into Slurm's queue: their intent is written first, and Slurm may refuse them.

use std::{collections::BTreeMap, time::Duration};

use amore_slurm::refused::{RefusalKind, Refused};

use crate::{
    after_refusal::{Refusals, again, told},
    effect::NewJob,
    journal::WriteNo,
    task::TaskNo,
};

#[derive(Debug, Default)]
pub(crate) struct Submissions {
    /// Jobs whose intent is not in the ledger yet.
    unwritten: Vec<(WriteNo, NewJob)>,
    /// Tasks whose jobs Slurm has not accepted: since when, and how often.
    refusals: BTreeMap<TaskNo, (Duration, Refusals)>,
    /// Tasks whose jobs Slurm refuses for good, until it is known whether they have earlier values.
    refused: BTreeMap<TaskNo, Refused>,
}

/// What a refusal leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AfterRefusal {
    /// After which time the job is submitted again; `None`: it is refused for good.
    pub(crate) retry_in: Option<Duration>,
    /// For how long jobs of this task have been refused.
    pub(crate) since: Duration,
    /// How many reports the user should have got by now.
    pub(crate) reports: u32,
}

impl Submissions {
    /// The job is submitted once this write is done.
    pub(crate) fn submit_after(&mut self, write: WriteNo, new_job: NewJob) {
        self.unwritten.push((write, new_job));
    }

    /// Takes back a job that is not submitted yet; `false`: it is.
    pub(crate) fn withdraw(&mut self, token: &str) -> bool {
        let before = self.unwritten.len();
        self.unwritten.retain(|(_, new_job)| new_job.token != token);
        self.unwritten.len() < before
    }

    /// Takes the jobs that can be submitted. `is_done` knows the writes.
    pub(crate) fn take_written(&mut self, is_done: impl Fn(WriteNo) -> bool) -> Vec<NewJob> {
        let (written, unwritten): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.unwritten).into_iter().partition(|(write, _)| is_done(*write));
        self.unwritten = unwritten;
        written.into_iter().map(|(_, new_job)| new_job).collect()
    }

    /// Slurm has not accepted the job of a task.
    pub(crate) fn refused(&mut self, task: TaskNo, about: RefusalKind, now: Duration) -> AfterRefusal {
        let (first, refusals) = self.refusals.entry(task).or_insert((now, Refusals::default()));
        let since = now.saturating_sub(*first);
        let retry_in = again(about, refusals);
        if retry_in.is_none() {
            self.refusals.remove(&task);
        }
        AfterRefusal { retry_in, since, reports: told(since) }
    }

    /// Slurm has accepted the job of a task.
    pub(crate) fn accepted(&mut self, task: TaskNo) {
        self.refusals.remove(&task);
    }

    /// The job of a task is refused for good: what becomes of the task depends on earlier values.
    pub(crate) fn wait_for_earlier_values(&mut self, task: TaskNo, why: Refused) {
        self.refused.insert(task, why);
    }

    /// The earlier values are known: gives why the job was refused.
    pub(crate) fn take_refused(&mut self, task: TaskNo) -> Option<Refused> {
        self.refused.remove(&task)
    }

    /// A task has ended.
    pub(crate) fn forget(&mut self, task: TaskNo) {
        self.refusals.remove(&task);
        self.refused.remove(&task);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TASK: TaskNo = TaskNo(1);

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_limit_is_waited_for_and_reported_less_and_less_often() {
        let mut submissions = Submissions::default();
        let reports: Vec<(u64, u32)> = [0, 180, 359, 360]
            .into_iter()
            .map(|at| {
                let after = submissions.refused(TASK, RefusalKind::Limit, seconds(100 + at));
                assert_eq!(after.retry_in, Some(seconds(10)));
                (after.since.as_secs(), after.reports)
            })
            .collect();
        assert_eq!(reports, [(0, 0), (180, 1), (359, 1), (360, 2)]);
    }

    #[test]
    fn an_accepted_job_ends_the_row_of_refusals() {
        let mut submissions = Submissions::default();
        for _ in 0..3 {
            assert!(submissions.refused(TASK, RefusalKind::Unknown, seconds(1)).retry_in.is_some());
        }
        submissions.accepted(TASK);
        let after = submissions.refused(TASK, RefusalKind::Unknown, seconds(9));
        assert_eq!((after.retry_in, after.since), (Some(seconds(3)), Duration::ZERO));
    }

    #[test]
    fn a_rule_refuses_for_good() {
        let mut submissions = Submissions::default();
        assert_eq!(submissions.refused(TASK, RefusalKind::Rule, seconds(1)).retry_in, None);
        let why = Refused { words: "no".to_owned(), kind: RefusalKind::Rule, hint: String::new() };
        submissions.wait_for_earlier_values(TASK, why.clone());
        assert_eq!(submissions.take_refused(TASK), Some(why.clone()));
        assert_eq!(submissions.take_refused(TASK), None);
        submissions.wait_for_earlier_values(TASK, why);
        submissions.forget(TASK);
        assert_eq!(submissions.take_refused(TASK), None);
    }
}
