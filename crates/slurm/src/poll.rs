//! One look at the jobs of a cluster: which questions it takes, one after the other, and what they come to.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Instant,
};

use amore_model::JobId;

use crate::{
    job_end::JobEnd,
    seen::Seen,
    states::{Ended, Meaning},
    submission::SlurmSilent,
};

/// What a look at a cluster shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// The user's jobs that the controller knows.
    pub queue: BTreeMap<JobId, Seen>,
    /// Of those that it does not, or not well enough, what accounting says.
    pub accounting: BTreeMap<JobId, Seen>,
    /// Those that the controller says not to know when it is asked for them by number. What `squeue` shows may come from a
    /// site's cache, or through its filter.
    pub unknown: BTreeSet<JobId>,
}

/// A question to the Slurm of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// All jobs of this user that the controller knows.
    Queue,
    /// What accounting knows of these.
    Accounting(Vec<JobId>),
    /// Exit code and signal of each job of this user that the controller still knows.
    ExitCodes,
    /// How the controller says that one job stands.
    Job(JobId),
}

/// What Slurm says to a [`Question`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// By job.
    Queue(Result<BTreeMap<JobId, Seen>, SlurmSilent>),
    /// By job. A site may have no accounting, or it is down for a while.
    Accounting(Result<BTreeMap<JobId, Seen>, SlurmSilent>),
    /// By job.
    ExitCodes(Result<BTreeMap<JobId, (i32, i32)>, SlurmSilent>),
    /// Of this job; `None`: the controller knows no such job.
    Job(JobId, Result<Option<Seen>, SlurmSilent>),
}

/// How a look goes on.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress {
    /// With this question.
    Ask(Question),
    /// It is over. `Err`: the controller does not answer; accounting may be silent.
    Over(Result<View, SlurmSilent>),
}

/// Jobs that are asked for one by one in a look; the others have their turn in the next.
const ONE_BY_ONE: usize = 20;

/// A look that is under way.
#[derive(Debug)]
pub struct Look {
    jobs: Vec<JobId>,
    doubtful: Vec<JobId>,
    since: Instant,
    view: View,
    /// To be asked for by their numbers.
    left: VecDeque<JobId>,
}

impl Look {
    /// Looks at `jobs`; the queue did not show the `doubtful` ones for a while. The first question is [`Question::Queue`].
    pub fn new(jobs: Vec<JobId>, doubtful: Vec<JobId>, now: Instant) -> Self {
        Look { jobs, doubtful, since: now, view: View::default(), left: VecDeque::new() }
    }

    /// When it began.
    pub fn since(&self) -> Instant {
        self.since
    }

    /// Goes on with what Slurm says.
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
                // The queue is enough for most.
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
                    // Not found and could not ask are different answers.
                    Err(SlurmSilent(_)) => {}
                }
                self.ask_for_next()
            }
        }
    }

    /// Is the queue not enough for this job?
    fn wants_more(&self, job: &JobId) -> bool {
        match self.view.queue.get(job) {
            None => true,
            Some(seen) => failed(seen) || matches!(seen.end, Some(JobEnd::Cancelled { .. })),
        }
    }

    fn accounting_tells_end(&self, job: &JobId) -> bool {
        self.view.accounting.get(job).is_some_and(|seen| seen.end.is_some())
    }

    /// The queue's reason for a failed job is the same for a script that was killed and for one that never began.
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

/// Who knows more of a job: accounting, once it knows the end (it tells who cancelled, and the exit code); else the queue.
///
/// A job that the queue does not have does not wait or run, whatever accounting says: a controller that was killed forgets
/// jobs, and accounting then shows them as running for ever (`sacctmgr show runawayjobs`).
pub fn best<'a>(queue: Option<&'a Seen>, accounting: Option<&'a Seen>) -> Option<&'a Seen> {
    let over = accounting.filter(|seen| seen.end.is_some());
    match (queue, over) {
        (Some(queue), Some(over)) if queue.end.is_some() => Some(over),
        (Some(queue), _) => Some(queue),
        (None, over) => over,
    }
}

/// Did its script fail? What the queue says of a job that never began (`LAUNCH_FAILED`) is enough.
fn failed(seen: &Seen) -> bool {
    Meaning::of(&seen.state) == Meaning::Over(Ended::Failed)
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
            lines.map(|(job, seen)| (job.parse().unwrap(), seen)).collect::<BTreeMap<JobId, Seen>>()
        };
        let mut look = Look::new(vec![job(1), job(2), job(3), job(4)], vec![job(3), job(4)], Instant::now());
        let shown = queue(&["1|RUNNING|n1|main|||None", "2|FAILED|n1|main|||JobLaunchFailure"]);
        let missing = Question::Accounting(vec![job(2), job(3), job(4)]);
        assert_eq!(look.on_reply(Reply::Queue(Ok(shown))), Progress::Ask(missing));
        let silent = Err(SlurmSilent("slurmdbd is down".to_owned()));
        assert_eq!(look.on_reply(Reply::Accounting(silent)), Progress::Ask(Question::ExitCodes));
        let codes = BTreeMap::from([(job(1), (0, 0)), (job(2), (0, 9))]);
        assert_eq!(look.on_reply(Reply::ExitCodes(Ok(codes))), Progress::Ask(Question::Job(job(3))));
        assert_eq!(look.on_reply(Reply::Job(job(3), Ok(None))), Progress::Ask(Question::Job(job(4))));
        let unreached = Err(SlurmSilent("connection refused".to_owned()));
        let Progress::Over(Ok(view)) = look.on_reply(Reply::Job(job(4), unreached)) else { panic!("over") };
        assert_eq!(view.queue[&job(2)].end, Some(JobEnd::Failed { code: (0, 9), launch: false }));
        assert_eq!(view.queue[&job(1)].end, None);
        assert_eq!(view.unknown, BTreeSet::from([job(3)]));
    }

    #[test]
    fn a_queue_that_tells_everything_takes_one_question() {
        let job = JobId::on(Some("lab"), 1);
        let (_, seen) = parse_queue("1|RUNNING|n1|main|||None").unwrap();
        let mut look = Look::new(vec![job.clone()], Vec::new(), Instant::now());
        let queue = BTreeMap::from([(job, seen)]);
        let over = look.on_reply(Reply::Queue(Ok(queue.clone())));
        assert_eq!(over, Progress::Over(Ok(View { queue, ..View::default() })));
    }
}
