//! What a job that is followed has come to, from what its worker and Slurm say: pure, time is an argument.

use std::time::{Duration, Instant};

use amore_model::JobId;
use amore_wire::task::{CutShort, FromWorker};

use super::{answers::Seen, clusters::Clusters, look::best};
use crate::coordinate::after_job::JobEnd;

/// How long a job is young: asked about more often.
const YOUNG: Duration = Duration::from_secs(30);
/// How long the last words of a worker may take through the shared file system once its job is over.
const LAST_WORDS: Duration = Duration::from_millis(1500);
/// How long the queue may not have a job, and accounting not tell its end, before it is held to be gone. No job that waits
/// or runs is missing in the queue; accounting tells ends some seconds late.
const VANISHED: Duration = Duration::from_secs(20);
/// How long accounting may take to know who cancelled a job.
const WHO_CANCELLED: Duration = Duration::from_secs(8);
/// How long a controller that did not answer may take to hand out what it was given, once it answers again.
const SETTLED: Duration = Duration::from_secs(5);

/// A job that is followed.
#[derive(Debug)]
pub struct Followed {
    token: String,
    clusters: Clusters,
    since: Instant,
    standing: Standing,
    seen: Option<Seen>,
    /// The worker has said something.
    began: bool,
}

/// Where it stands.
#[derive(Debug, PartialEq)]
enum Standing {
    /// It is being submitted, or looked for. Since when Slurm answers that it has no job with this token, without a
    /// silence since?
    Sought { in_vain: Option<Instant> },
    /// As far as is known it waits or runs. Since when does Slurm not know it, and since when is it known to be
    /// cancelled, and not by whom?
    Known { job: JobId, missing: Option<Instant>, cancelled: Option<Instant> },
    /// It is over; its worker may have said more than has arrived.
    Over { job: JobId, end: JobEnd, at: Instant },
    /// The worker has said that nothing more will come.
    Done { job: Option<JobId> },
}

/// A job that is over before its work was.
#[derive(Debug, PartialEq)]
pub struct Over {
    /// Which.
    pub job: JobId,
    /// How it ended.
    pub end: JobEnd,
    /// Slurm keeps it in the queue, though it will never begin.
    pub lingers: bool,
}

impl Followed {
    /// The attempt of that token, before its job is known; submitted to one of `clusters`.
    pub fn new(token: &str, clusters: Clusters, now: Instant) -> Self {
        Followed {
            token: token.to_owned(),
            clusters,
            since: now,
            standing: Standing::Sought { in_vain: None },
            seen: None,
            began: false,
        }
    }

    /// Where it was submitted to.
    pub fn clusters(&self) -> &Clusters {
        &self.clusters
    }

    /// Its job, once that is known.
    pub fn job(&self) -> Option<&JobId> {
        match &self.standing {
            Standing::Sought { .. } => None,
            Standing::Known { job, .. } | Standing::Over { job, .. } => Some(job),
            Standing::Done { job } => job.as_ref(),
        }
    }

    /// Its job, while it is to be asked for.
    pub fn open_job(&self) -> Option<&JobId> {
        match &self.standing {
            Standing::Known { job, .. } => Some(job),
            Standing::Sought { .. } | Standing::Over { .. } | Standing::Done { .. } => None,
        }
    }

    /// Is its job still young?
    pub fn is_young(&self, now: Instant) -> bool {
        now.duration_since(self.since) < YOUNG
    }

    /// Slurm has taken it, or is known to have it.
    pub fn on_job(&mut self, job: JobId, now: Instant) {
        self.since = now;
        match &mut self.standing {
            Standing::Sought { .. } => {
                self.standing = Standing::Known { job, missing: None, cancelled: None };
            }
            // Its worker was faster than sbatch's answer.
            Standing::Done { job: known } => *known = Some(job),
            // Said twice.
            Standing::Known { .. } | Standing::Over { .. } => {}
        }
    }

    /// Slurm answers that it has no such job. Is that so for good?
    pub fn on_not_found(&mut self, now: Instant) -> bool {
        match &mut self.standing {
            Standing::Sought { in_vain } => now.duration_since(*in_vain.get_or_insert(now)) > SETTLED,
            Standing::Known { .. } | Standing::Over { .. } | Standing::Done { .. } => false,
        }
    }

    /// Slurm does not say whether it has the job.
    pub fn on_silence(&mut self) {
        if let Standing::Sought { in_vain } = &mut self.standing {
            *in_vain = None;
        }
    }

    /// What its worker says.
    pub fn on_worker(&mut self, message: &FromWorker) {
        self.began = true;
        if let FromWorker::TaskEnded { cut_short, .. } = message
            && *cut_short != Some(CutShort::ToldToEnd)
        {
            self.standing = Standing::Done { job: self.job().cloned() };
        }
    }

    /// What a look at its cluster shows of its job. Gives how the job stands, if that is news.
    pub fn on_look(
        &mut self,
        queue: Option<&Seen>,
        accounting: Option<&Seen>,
        now: Instant,
    ) -> Option<&Seen> {
        let Standing::Known { job, missing, cancelled } = &mut self.standing else { return None };
        let over = |end| Standing::Over { job: job.clone(), end, at: now };
        if queue.is_some_and(|seen| seen.is_of_another(&self.token)) {
            // A controller that was killed has forgotten ours, and given its number away.
            self.standing = over(JobEnd::Vanished);
            return None;
        }
        // Of a number that was given away accounting may still show the job before.
        let accounting = accounting.filter(|seen| !seen.is_of_another(&self.token));
        let Some(seen) = best(queue, accounting) else {
            if now.duration_since(*missing.get_or_insert(now)) > VANISHED {
                self.standing = over(JobEnd::Vanished);
            }
            return None;
        };
        *missing = None;
        if let Some(end) = &seen.end {
            // Accounting knows by whom, some seconds later.
            if *end == (JobEnd::Cancelled { by: None })
                && accounting.is_some()
                && now.duration_since(*cancelled.get_or_insert(now)) < WHO_CANCELLED
            {
                return None;
            }
            self.standing = over(end.clone().given(self.began, !seen.nodes.is_empty()));
        }
        if self.seen.as_ref() == Some(seen) {
            return None;
        }
        Some(self.seen.insert(seen.clone()))
    }

    /// How it ended, once the last words of its worker had the time to arrive.
    pub fn over(&self, now: Instant) -> Option<Over> {
        let Standing::Over { job, end, at } = &self.standing else { return None };
        (now.duration_since(*at) > LAST_WORDS).then(|| Over {
            job: job.clone(),
            end: end.clone(),
            lingers: self.seen.as_ref().is_some_and(Seen::lingers),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::slurm::answers::{parse_accounting, parse_queue};

    const TOKEN: &str = "a-1";

    fn known(now: Instant) -> Followed {
        let mut job = Followed::new(TOKEN, Clusters::Ours, now);
        job.on_job(JobId::on(None, 7), now);
        job
    }

    fn queue(state: &str, node: &str, token: &str) -> Seen {
        parse_queue(&format!("7|{state}|{node}|main|(null)|amore:{token}|None")).unwrap().1
    }

    fn accounting(state: &str) -> Seen {
        parse_accounting(&format!("7|{state}|0:0|n1|main||None|sbatch")).unwrap().1
    }

    fn task_ended(cut_short: Option<CutShort>) -> FromWorker {
        FromWorker::TaskEnded { id: "t".to_owned(), problem: None, cut_short }
    }

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_job_that_nobody_knows_is_gone_after_a_while_and_not_before() {
        let t = Instant::now();
        let mut job = known(t);
        assert_eq!(job.on_look(None, None, t), None);
        assert_eq!(job.on_look(None, None, t + s(15)), None);
        // Seen again: the wait begins anew.
        assert!(job.on_look(Some(&queue("RUNNING", "n1", TOKEN)), None, t + s(16)).is_some());
        job.on_look(None, None, t + s(17));
        job.on_look(None, None, t + s(37));
        assert!(job.open_job().is_some());
        job.on_look(None, None, t + s(38));
        assert_eq!(job.over(t + s(39)), None, "its worker's last words may be on their way");
        assert_eq!(job.over(t + s(40)).unwrap().end, JobEnd::Vanished);
    }

    #[test]
    fn a_number_that_was_given_away_is_not_ours() {
        let t = Instant::now();
        let mut job = known(t);
        assert_eq!(
            job.on_look(Some(&queue("RUNNING", "n1", "other")), Some(&accounting("COMPLETED")), t),
            None
        );
        assert_eq!(job.over(t + s(2)).unwrap().end, JobEnd::Vanished);
    }

    #[test]
    fn who_cancelled_is_waited_for_while_accounting_may_tell() {
        let t = Instant::now();
        let cancelled = queue("CANCELLED", "n1", TOKEN);
        let mut job = known(t);
        job.on_worker(&FromWorker::Started { id: "t".to_owned() });
        let running = accounting("RUNNING");
        assert_eq!(job.on_look(Some(&cancelled), Some(&running), t), None);
        assert!(job.on_look(Some(&cancelled), Some(&accounting("CANCELLED by 0")), t + s(3)).is_some());
        assert_eq!(job.over(t + s(5)).unwrap().end, JobEnd::Cancelled { by: Some("root".to_owned()) });
        // Where accounting is silent there is nothing to wait for; where it lags, only so long.
        let mut job = known(t);
        job.on_worker(&FromWorker::Started { id: "t".to_owned() });
        assert!(job.on_look(Some(&cancelled), None, t).is_some());
        assert_eq!(job.over(t + s(2)).unwrap().end, JobEnd::Cancelled { by: None });
        let mut job = known(t);
        job.on_worker(&FromWorker::Started { id: "t".to_owned() });
        assert_eq!(job.on_look(Some(&cancelled), Some(&running), t), None);
        assert!(job.on_look(Some(&cancelled), Some(&running), t + s(9)).is_some());
    }

    #[test]
    fn the_workers_word_goes_before_slurms() {
        let t = Instant::now();
        let mut job = known(t);
        job.on_look(Some(&queue("TIMEOUT", "n1", TOKEN)), None, t);
        job.on_worker(&task_ended(None));
        assert_eq!(job.over(t + s(60)), None);
        // But that it was told to end is not the end of its work.
        let mut job = known(t);
        job.on_worker(&task_ended(Some(CutShort::ToldToEnd)));
        assert!(job.on_look(Some(&queue("TIMEOUT", "n1", TOKEN)), None, t).is_some());
        assert_eq!(job.over(t + s(2)).unwrap().end, JobEnd::TimeLimit);
    }

    #[test]
    fn a_worker_may_be_done_before_its_job_is_known() {
        let t = Instant::now();
        let mut job = Followed::new(TOKEN, Clusters::Ours, t);
        job.on_worker(&task_ended(None));
        job.on_job(JobId::on(None, 7), t);
        assert_eq!((job.job(), job.open_job()), (Some(&JobId::on(None, 7)), None));
    }

    #[test]
    fn a_lost_submission_is_given_up_only_when_slurm_has_answered_for_a_while() {
        let t = Instant::now();
        let mut job = Followed::new(TOKEN, Clusters::Ours, t);
        assert!(!job.on_not_found(t));
        job.on_silence();
        assert!(!job.on_not_found(t + s(6)), "it was silent since");
        assert!(!job.on_not_found(t + s(10)));
        assert!(job.on_not_found(t + s(12)));
    }

    #[test]
    fn what_is_no_news_is_not_told() {
        let t = Instant::now();
        let mut job = known(t);
        let waits = queue("PENDING", "", TOKEN);
        assert!(job.on_look(Some(&waits), None, t).is_some());
        assert!(job.on_look(Some(&waits), None, t + s(5)).is_none());
        assert!(job.on_look(Some(&queue("RUNNING", "n1", TOKEN)), None, t + s(9)).is_some());
    }
}
