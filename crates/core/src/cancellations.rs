//! Requests to cancel, until all that they concern has ended.
//!
//! A job is cancelled when Slurm shows that it is. Until then its task stays in progress, and the ledger remembers that its
//! end is wanted: whoever owns the directory next continues with it.

use std::collections::BTreeSet;

use amore_model::JobId;

use crate::{events::count, request::RequestNo};

#[derive(Debug, Default)]
pub(crate) struct Cancellations {
    open: Vec<Cancellation>,
}

/// A request to cancel.
#[derive(Debug)]
pub(crate) struct Cancellation {
    request: RequestNo,
    /// `run 42`.
    what: String,
    /// Tasks that are cancelled, and jobs that were.
    tasks: usize,
    jobs: Vec<String>,
    /// Tasks that ended by themselves meanwhile.
    too_late: usize,
    /// Tokens of jobs that Slurm still has.
    waits_for: BTreeSet<String>,
    /// Nothing of it had begun.
    left_out: bool,
}

/// A cancellation that waits for nothing any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Concluded {
    pub(crate) request: RequestNo,
    /// What was cancelled, or that nothing was.
    pub(crate) result: Result<String, String>,
}

impl Cancellation {
    /// `tasks` were cancelled at once, the jobs with the tokens `waits_for` have to be ended by Slurm.
    pub(crate) fn new(request: RequestNo, what: String, tasks: usize, waits_for: BTreeSet<String>) -> Self {
        Cancellation { request, what, tasks, jobs: Vec::new(), too_late: 0, waits_for, left_out: false }
    }

    /// Nothing had begun: it was taken out of requests that are not planned yet.
    pub(crate) fn left_out(request: RequestNo, what: String) -> Self {
        Cancellation { left_out: true, ..Cancellation::new(request, what, 0, BTreeSet::new()) }
    }

    fn conclude(self) -> Concluded {
        let Cancellation { request, what, tasks, jobs, too_late, left_out, .. } = self;
        if tasks == 0 && too_late > 0 {
            let result = Err(format!("{what}: everything had ended before it could be cancelled"));
            return Concluded { request, result };
        }
        let mut report = if left_out {
            format!("{what}: removed from a request that is being prepared")
        } else {
            format!("{what}: {} cancelled", count(tasks, "task"))
        };
        if !jobs.is_empty() {
            report.push_str(&format!(" (jobs {})", jobs.join(", ")));
        }
        if too_late > 0 {
            report.push_str(&format!("; {} ended before", count(too_late, "task")));
        }
        Concluded { request, result: Ok(report) }
    }
}

impl Cancellations {
    pub(crate) fn add(&mut self, cancellation: Cancellation) {
        self.open.push(cancellation);
    }

    /// The job with this token has ended, or was never there.
    pub(crate) fn job_cancelled(&mut self, token: &str, job: Option<&JobId>) {
        for cancellation in &mut self.open {
            if cancellation.waits_for.remove(token) {
                cancellation.tasks += 1;
                cancellation.jobs.extend(job.map(ToString::to_string));
            }
        }
    }

    /// The task in the job with this token has ended by itself.
    pub(crate) fn ended_before(&mut self, token: &str) {
        for cancellation in &mut self.open {
            cancellation.too_late += usize::from(cancellation.waits_for.remove(token));
        }
    }

    /// Slurm does not end the job with this token: takes out the cancellations that wait for it, and gives their requests.
    pub(crate) fn take_waiting_for(&mut self, token: &str) -> Vec<RequestNo> {
        let is_waiting = |cancellation: &Cancellation| cancellation.waits_for.contains(token);
        self.take(is_waiting).into_iter().map(|cancellation| cancellation.request).collect()
    }

    /// Takes out the cancellations that wait for nothing.
    pub(crate) fn take_concluded(&mut self) -> Vec<Concluded> {
        let is_over = |cancellation: &Cancellation| cancellation.waits_for.is_empty();
        self.take(is_over).into_iter().map(Cancellation::conclude).collect()
    }

    fn take(&mut self, is_taken: impl Fn(&Cancellation) -> bool) -> Vec<Cancellation> {
        let (taken, open) = std::mem::take(&mut self.open).into_iter().partition(is_taken);
        self.open = open;
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_jobs(tokens: &[&str]) -> Cancellations {
        let waits_for = tokens.iter().map(|token| (*token).to_owned()).collect();
        let mut cancellations = Cancellations::default();
        cancellations.add(Cancellation::new(RequestNo(1), "run 42".to_owned(), 0, waits_for));
        cancellations
    }

    fn results(cancellations: &mut Cancellations) -> Vec<Result<String, String>> {
        cancellations.take_concluded().into_iter().map(|concluded| concluded.result).collect()
    }

    #[test]
    fn it_is_concluded_when_slurm_has_ended_all_jobs() {
        let mut cancellations = of_jobs(&["a", "b"]);
        cancellations.job_cancelled("a", Some(&JobId::on(None, 10)));
        cancellations.job_cancelled("other", Some(&JobId::on(None, 11)));
        assert!(results(&mut cancellations).is_empty());
        cancellations.ended_before("b");
        let report = "run 42: 1 task cancelled (jobs 10); 1 task ended before";
        assert_eq!(results(&mut cancellations), [Ok(report.to_owned())]);
        assert!(results(&mut cancellations).is_empty());
    }

    #[test]
    fn what_had_ended_before_is_no_cancellation() {
        let mut cancellations = of_jobs(&["a"]);
        cancellations.ended_before("a");
        assert!(results(&mut cancellations)[0].is_err());
    }

    #[test]
    fn what_was_not_planned_yet_is_left_out() {
        let mut cancellations = Cancellations::default();
        cancellations.add(Cancellation::left_out(RequestNo(1), "run 42".to_owned()));
        let report = "run 42: removed from a request that is being prepared";
        assert_eq!(results(&mut cancellations), [Ok(report.to_owned())]);
    }

    #[test]
    fn those_that_wait_for_a_job_which_slurm_does_not_end_are_taken_out() {
        let mut cancellations = of_jobs(&["a"]);
        cancellations.add(Cancellation::new(RequestNo(2), "run 43".to_owned(), 0, ["b".to_owned()].into()));
        assert_eq!(cancellations.take_waiting_for("a"), [RequestNo(1)]);
        cancellations.job_cancelled("a", None);
        cancellations.job_cancelled("b", None);
        assert_eq!(cancellations.take_concluded().len(), 1);
    }
}
