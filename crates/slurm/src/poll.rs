//! One query of the jobs on a cluster: the sequence of questions, and the result.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Instant,
};

use amore_model::JobId;

use crate::{
    job_end::JobEnd,
    job_status::JobStatus,
    states::{Ending, Meaning},
    submission::SlurmUnavailable,
};

/// The result of querying a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// The user's jobs that the controller knows.
    pub queue: BTreeMap<JobId, JobStatus>,
    /// What accounting knows about the jobs for which the queue is not enough.
    pub accounting: BTreeMap<JobId, JobStatus>,
    /// Jobs that the controller does not know when it is asked for them by number. The output of `squeue` may come from a
    /// site's cache or pass through its filter.
    pub unknown: BTreeSet<JobId>,
}

/// A question to the Slurm of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// All jobs of this user that the controller knows.
    Queue,
    /// What accounting knows about these jobs.
    Accounting(Vec<JobId>),
    /// Exit code and signal of each job of this user that the controller still knows.
    ExitCodes,
    /// The status of one job according to the controller.
    Job(JobId),
}

/// The answer to a [`Question`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// By job.
    Queue(Result<BTreeMap<JobId, JobStatus>, SlurmUnavailable>),
    /// By job. A site may have no accounting, or it may be down.
    Accounting(Result<BTreeMap<JobId, JobStatus>, SlurmUnavailable>),
    /// By job.
    ExitCodes(Result<BTreeMap<JobId, (i32, i32)>, SlurmUnavailable>),
    /// The status of this job; `None` if the controller does not know it.
    Job(JobId, Result<Option<JobStatus>, SlurmUnavailable>),
}

/// The next step of a query.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress {
    /// Ask this question.
    Ask(Question),
    /// The query is finished. `Err`: the controller does not answer. Accounting may be unavailable.
    Over(Result<View, SlurmUnavailable>),
}

/// How many jobs are asked for one by one in each query; the others have to wait for the next.
const ONE_BY_ONE: usize = 20;

/// A query that is under way.
#[derive(Debug)]
pub struct ClusterQuery {
    jobs: Vec<JobId>,
    doubtful: Vec<JobId>,
    since: Instant,
    view: View,
    /// Jobs still to be asked for by number.
    left: VecDeque<JobId>,
}

impl ClusterQuery {
    /// Queries `jobs`; the queue has not shown the `doubtful` ones for a while. The first question is [`Question::Queue`].
    pub fn new(jobs: Vec<JobId>, doubtful: Vec<JobId>, now: Instant) -> Self {
        ClusterQuery { jobs, doubtful, since: now, view: View::default(), left: VecDeque::new() }
    }

    /// When the query started.
    pub fn since(&self) -> Instant {
        self.since
    }

    /// Continues with Slurm's reply.
    pub fn on_reply(&mut self, reply: Reply) -> Progress {
        match reply {
            Reply::Queue(Err(silent)) | Reply::ExitCodes(Err(silent)) => Progress::Over(Err(silent)),
            Reply::Queue(Ok(queue)) => {
                self.view.queue = queue;
                let missing: Vec<JobId> =
                    self.jobs.iter().filter(|job| self.wants_more(job)).cloned().collect();
                if missing.is_empty() {
                    self.ask_for_codes()
                } else {
                    Progress::Ask(Question::Accounting(missing))
                }
            }
            Reply::Accounting(answer) => {
                // For most jobs the queue is enough.
                self.view.accounting = answer.unwrap_or_default();
                self.ask_for_codes()
            }
            Reply::ExitCodes(Ok(codes)) => {
                for (job, code) in codes {
                    if let Some(seen) = self.view.queue.get_mut(&job)
                        && failed(seen)
                    {
                        seen.end = Some(JobEnd::Failed { code, launch: code == (0, 53) });
                    }
                }
                self.ask_for_doubtful()
            }
            Reply::Job(job, answer) => {
                match answer {
                    Ok(Some(seen)) => {
                        self.view.queue.insert(job, seen);
                    }
                    Ok(None) => {
                        self.view.unknown.insert(job);
                    }
                    // Being unable to ask does not mean that the job was not found.
                    Err(SlurmUnavailable(_)) => {}
                }
                self.ask_for_next()
            }
        }
    }

    /// Whether the queue does not say enough about this job.
    fn wants_more(&self, job: &JobId) -> bool {
        match self.view.queue.get(job) {
            None => true,
            Some(seen) => failed(seen) || matches!(seen.end, Some(JobEnd::Cancelled { .. })),
        }
    }

    fn accounting_tells_end(&self, job: &JobId) -> bool {
        self.view.accounting.get(job).is_some_and(|seen| seen.end.is_some())
    }

    /// The queue gives the same reason for a failed job whether its script was killed or never started.
    fn ask_for_codes(&mut self) -> Progress {
        let without_code =
            |job: &JobId| self.view.queue.get(job).is_some_and(failed) && !self.accounting_tells_end(job);
        if self.jobs.iter().any(without_code) {
            Progress::Ask(Question::ExitCodes)
        } else {
            self.ask_for_doubtful()
        }
    }

    fn ask_for_doubtful(&mut self) -> Progress {
        let open = |job: &&JobId| !self.view.queue.contains_key(*job) && !self.accounting_tells_end(job);
        self.left = self.doubtful.iter().filter(open).take(ONE_BY_ONE).cloned().collect();
        self.ask_for_next()
    }

    fn ask_for_next(&mut self) -> Progress {
        match self.left.pop_front() {
            Some(job) => Progress::Ask(Question::Job(job)),
            None => Progress::Over(Ok(std::mem::take(&mut self.view))),
        }
    }
}

/// The better source about a job: accounting, once it knows the end (it has the exit code and who cancelled); else the queue.
///
/// A job that the queue does not have neither waits nor runs, whatever accounting says: a controller that is killed forgets
/// jobs, and accounting then shows them as running for ever (`sacctmgr show runawayjobs`).
pub fn best<'a>(queue: Option<&'a JobStatus>, accounting: Option<&'a JobStatus>) -> Option<&'a JobStatus> {
    let over = accounting.filter(|seen| seen.end.is_some());
    match (queue, over) {
        (Some(queue), Some(over)) if queue.end.is_some() => Some(over),
        (Some(queue), _) => Some(queue),
        (None, over) => over,
    }
}

/// Whether its script failed. For a job that never started (`LAUNCH_FAILED`) the queue says enough.
fn failed(seen: &JobStatus) -> bool {
    Meaning::of(&seen.state) == Meaning::Over(Ending::Failed)
        && matches!(seen.end, Some(JobEnd::Failed { .. }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        sacct::{ACCOUNTED, parse_accounting},
        squeue::parse_queue,
    };

    #[test]
    fn a_job_that_only_accounting_holds_to_be_running_is_missing() {
        let queue = |state: &str| parse_queue(&format!("44|{state}|n1|main|||None")).map(|(_, seen)| seen);
        let accounting = |state: &str| {
            parse_accounting(&format!("44|{state}|0:0|n1|main||None|sbatch"), &ACCOUNTED, &|_| None)
                .map(|(_, seen)| seen)
        };
        assert_eq!(best(None, accounting("RUNNING").as_ref()), None);
        assert_eq!(best(None, accounting("PENDING").as_ref()), None);
        assert_eq!(best(None, accounting("TIMEOUT").as_ref()), accounting("TIMEOUT").as_ref());
        // Accounting lags behind the queue.
        assert_eq!(
            best(queue("RUNNING").as_ref(), accounting("TIMEOUT").as_ref()),
            queue("RUNNING").as_ref()
        );
        let cancelled = accounting("CANCELLED by 0");
        assert_eq!(best(queue("CANCELLED").as_ref(), cancelled.as_ref()), cancelled.as_ref());
        assert_eq!(
            best(queue("CANCELLED").as_ref(), accounting("RUNNING").as_ref()),
            queue("CANCELLED").as_ref()
        );
    }

    #[test]
    fn what_the_queue_does_not_tell_is_asked_for_step_by_step() {
        let job = |number| JobId::on(None, number);
        let queue = |lines: &[&str]| {
            let lines = lines.iter().filter_map(|line| parse_queue(line));
            lines.map(|(job, seen)| (job.parse().unwrap(), seen)).collect::<BTreeMap<JobId, JobStatus>>()
        };
        let mut look =
            ClusterQuery::new(vec![job(1), job(2), job(3), job(4)], vec![job(3), job(4)], Instant::now());
        let shown = queue(&["1|RUNNING|n1|main|||None", "2|FAILED|n1|main|||JobLaunchFailure"]);
        let missing = Question::Accounting(vec![job(2), job(3), job(4)]);
        assert_eq!(look.on_reply(Reply::Queue(Ok(shown))), Progress::Ask(missing));
        let silent = Err(SlurmUnavailable("slurmdbd is down".to_owned()));
        assert_eq!(look.on_reply(Reply::Accounting(silent)), Progress::Ask(Question::ExitCodes));
        let codes = BTreeMap::from([(job(1), (0, 0)), (job(2), (0, 9))]);
        assert_eq!(look.on_reply(Reply::ExitCodes(Ok(codes))), Progress::Ask(Question::Job(job(3))));
        assert_eq!(look.on_reply(Reply::Job(job(3), Ok(None))), Progress::Ask(Question::Job(job(4))));
        let unreached = Err(SlurmUnavailable("connection refused".to_owned()));
        let Progress::Over(Ok(view)) = look.on_reply(Reply::Job(job(4), unreached)) else { panic!("over") };
        assert_eq!(view.queue[&job(2)].end, Some(JobEnd::Failed { code: (0, 9), launch: false }));
        assert_eq!(view.queue[&job(1)].end, None);
        assert_eq!(view.unknown, BTreeSet::from([job(3)]));
    }

    #[test]
    fn a_queue_that_tells_everything_takes_one_question() {
        let job = JobId::on(Some("lab"), 1);
        let (_, seen) = parse_queue("1|RUNNING|n1|main|||None").unwrap();
        let mut look = ClusterQuery::new(vec![job.clone()], Vec::new(), Instant::now());
        let queue = BTreeMap::from([(job, seen)]);
        let over = look.on_reply(Reply::Queue(Ok(queue.clone())));
        assert_eq!(over, Progress::Over(Ok(View { queue, ..View::default() })));
    }
}
