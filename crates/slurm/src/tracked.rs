//! The state of a tracked job, from the messages of its worker and from Slurm's answers.
//!
//! A job that speaks is alive, whatever the queue shows: a site may show it from a cache, through a filter, or with another
//! comment.

use std::time::{Duration, Instant};

use amore_model::JobId;

use crate::{
    clusters::Clusters, job_end::JobEnd, poll::best, seen::Seen, submission::Doubt, worker::WorkerSaid,
};

/// How long a job is young: asked about more often.
const YOUNG: Duration = Duration::from_secs(30);
/// How long the last words of a worker may take through the shared file system once its job is over.
const LAST_WORDS: Duration = Duration::from_millis(1500);
/// How long the queue may not have a job before it is asked for by its number.
const DOUBTFUL: Duration = Duration::from_secs(8);
/// How long neither queue nor controller may have a job, and accounting not tell its end, before it is held to be gone.
/// Accounting tells ends some seconds late.
const VANISHED: Duration = Duration::from_secs(20);
/// The same, where the controller cannot be asked for a job by its number.
const NOT_SHOWN: Duration = Duration::from_secs(60);
/// The same of a job whose worker has said that it was told to end.
const TOLD_TO_END: Duration = Duration::from_secs(8);
/// As many looks have to agree: one that came late shows nothing of the time between.
const LOOKS: u32 = 3;
/// How long a worker may be silent and still be held to be at work. It says every five seconds that it is there.
const SPEAKS: Duration = Duration::from_secs(30);
/// How long accounting may take to know who cancelled a job.
const WHO_CANCELLED: Duration = Duration::from_secs(8);
/// How long a controller that did not answer may take to hand out what it was given, once it answers again.
const SETTLED: Duration = Duration::from_secs(5);
/// How long a job may not be found whose submission was not answered: a site may show the queue from a cache.
const UNANSWERED: Duration = Duration::from_secs(20);
/// The same of one that sbatch says was taken.
const UNNUMBERED: Duration = Duration::from_secs(60);

/// A job that is tracked.
#[derive(Debug)]
pub struct Tracked {
    token: String,
    clusters: Clusters,
    since: Instant,
    standing: Standing,
    seen: Option<Seen>,
    /// What is not known of its submission.
    doubt: Doubt,
    /// The worker has said something.
    began: bool,
    /// When it was heard last.
    heard: Option<Instant>,
    /// The worker has said that it was told to end.
    told: bool,
}

/// How long Slurm does not show a job.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Missing {
    since: Instant,
    looks: u32,
}

/// Where it stands.
#[derive(Debug, PartialEq)]
enum Standing {
    /// It is being submitted, or looked for. Since when Slurm answers that it has no job with this token, without a
    /// silence since?
    Sought { in_vain: Option<Instant> },
    /// As far as is known it waits or runs. Since when does Slurm not know it, and since when is it known to be
    /// cancelled, and not by whom?
    Known { job: JobId, missing: Option<Missing>, cancelled: Option<Instant> },
    /// It is over; its worker may have said more than has arrived. Has Slurm said how it ended, or is that concluded?
    Over { job: JobId, end: JobEnd, at: Instant, concluded: bool },
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
    /// Slurm has not said how it ended.
    pub concluded: bool,
}

impl Tracked {
    /// The attempt of that token, before its job is known; submitted to one of `clusters`.
    pub fn new(token: &str, clusters: Clusters, now: Instant) -> Self {
        Tracked {
            token: token.to_owned(),
            clusters,
            since: now,
            standing: Standing::Sought { in_vain: None },
            seen: None,
            doubt: Doubt::default(),
            began: false,
            heard: None,
            told: false,
        }
    }

    /// What is not known of its submission.
    pub fn on_doubt(&mut self, doubt: Doubt) {
        self.doubt = doubt;
    }

    /// What was not known of it, at the last.
    pub fn doubt(&self) -> Doubt {
        self.doubt
    }

    /// Has its worker been heard a moment ago?
    pub fn speaks(&self, now: Instant) -> bool {
        self.heard.is_some_and(|at| now.duration_since(at) < SPEAKS)
    }

    /// Has its worker said that it was told to end, or that nothing more will come?
    pub fn has_said_its_end(&self) -> bool {
        self.told || matches!(self.standing, Standing::Done { .. })
    }

    /// Is it to be asked for by its number, because the queue does not show it?
    pub fn is_doubtful(&self, now: Instant) -> bool {
        matches!(&self.standing, Standing::Known { missing: Some(missing), .. }
            if now.duration_since(missing.since) > DOUBTFUL)
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
        let speaks = self.speaks(now);
        let patience = match self.doubt {
            Doubt::NotReached => SETTLED,
            Doubt::Unanswered => UNANSWERED,
            Doubt::Unnumbered => UNNUMBERED,
        };
        match &mut self.standing {
            Standing::Sought { in_vain } => {
                now.duration_since(*in_vain.get_or_insert(now)) > patience && !speaks
            }
            Standing::Known { .. } | Standing::Over { .. } | Standing::Done { .. } => false,
        }
    }

    /// Slurm does not say whether it has the job.
    pub fn on_silence(&mut self) {
        if let Standing::Sought { in_vain } = &mut self.standing {
            *in_vain = None;
        }
    }

    /// What its worker says. Gives the job, if that says which it is, and nobody else has.
    pub fn on_worker(&mut self, said: &WorkerSaid, now: Instant) -> Option<JobId> {
        self.began = true;
        self.heard = Some(now);
        // That it was gone had been concluded from silence.
        if let Standing::Over { job, end: JobEnd::Vanished, concluded: true, .. } = &self.standing {
            self.standing = Standing::Known { job: job.clone(), missing: None, cancelled: None };
        }
        match said {
            WorkerSaid::ToldToEnd => self.told = true,
            WorkerSaid::Done => self.standing = Standing::Done { job: self.job().cloned() },
            WorkerSaid::InJob { number, cluster } => {
                self.told = false;
                let cluster = match &self.clusters {
                    Clusters::Ours => None,
                    Clusters::One(name) => Some(name.as_str()),
                    // Without its cluster the number could be another's.
                    Clusters::Several(_) | Clusters::All => Some(cluster.as_deref()?),
                };
                let job = JobId::on(cluster, *number);
                // It knows better than an answer that was read among a wrapper's words.
                if matches!(self.standing, Standing::Sought { .. } | Standing::Known { .. })
                    && self.job() != Some(&job)
                {
                    self.since = now;
                    self.standing = Standing::Known { job: job.clone(), missing: None, cancelled: None };
                    return Some(job);
                }
            }
            WorkerSaid::Alive | WorkerSaid::OfItsWork => {}
        }
        None
    }

    /// What a look at its cluster shows of its job; `denied`: the controller says not to know it. Gives how the job stands,
    /// if that is news.
    pub fn on_look(
        &mut self,
        queue: Option<&Seen>,
        accounting: Option<&Seen>,
        denied: bool,
        now: Instant,
    ) -> Option<&Seen> {
        let speaks = self.speaks(now);
        let Standing::Known { job, missing, cancelled } = &mut self.standing else { return None };
        let over = |end, concluded| Standing::Over { job: job.clone(), end, at: now, concluded };
        if queue.is_some_and(|seen| seen.is_of_another(&self.token)) {
            // A controller that was killed has forgotten ours, and given its number away.
            if !speaks {
                self.standing = over(JobEnd::Vanished, true);
            }
            return None;
        }
        // Of a number that was given away accounting may still show the job before.
        let accounting = accounting.filter(|seen| !seen.is_of_another(&self.token));
        let Some(seen) = best(queue, accounting) else {
            let missing = missing.get_or_insert(Missing { since: now, looks: 0 });
            missing.looks += 1;
            let away = now.duration_since(missing.since);
            if missing.looks < LOOKS {
                return None;
            }
            if self.told && away > TOLD_TO_END {
                // Slurm ends jobs so that are cancelled, and others: its words in the log say which.
                self.standing = over(JobEnd::Cancelled { by: None }, true);
            } else if !speaks && (away > NOT_SHOWN || denied && away > VANISHED) {
                self.standing = over(JobEnd::Vanished, true);
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
            self.standing = over(end.clone().given(self.began, !seen.nodes.is_empty()), false);
        }
        if self.seen.as_ref() == Some(seen) {
            return None;
        }
        Some(self.seen.insert(seen.clone()))
    }

    /// How it ended, once the last words of its worker had the time to arrive.
    pub fn over(&self, now: Instant) -> Option<Over> {
        let Standing::Over { job, end, at, concluded } = &self.standing else { return None };
        (now.duration_since(*at) > LAST_WORDS).then(|| Over {
            job: job.clone(),
            end: end.clone(),
            lingers: self.seen.as_ref().is_some_and(Seen::lingers),
            concluded: *concluded,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        sacct::{ACCOUNTED, parse_accounting},
        squeue::parse_queue,
    };

    const TOKEN: &str = "a-1";

    fn known(now: Instant) -> Tracked {
        let mut job = Tracked::new(TOKEN, Clusters::Ours, now);
        job.on_job(JobId::on(None, 7), now);
        job
    }

    fn queue(state: &str, node: &str, token: &str) -> Seen {
        parse_queue(&format!("7|{state}|{node}|main|(null)|amore:{token}|None")).unwrap().1
    }

    fn accounting(state: &str) -> Seen {
        parse_accounting(&format!("7|{state}|0:0|n1|main||None|sbatch"), &ACCOUNTED, &|uid| {
            (uid == 0).then(|| "root".to_owned())
        })
        .unwrap()
        .1
    }

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn placed(number: u64, cluster: Option<&str>) -> WorkerSaid {
        WorkerSaid::InJob { number, cluster: cluster.map(str::to_owned) }
    }

    #[test]
    fn a_job_that_nobody_knows_is_gone_after_a_while_and_not_before() {
        let t = Instant::now();
        let mut job = known(t);
        assert_eq!(job.on_look(None, None, true, t), None);
        assert_eq!(job.on_look(None, None, true, t + s(15)), None);
        // Seen again: the wait begins anew.
        assert!(job.on_look(Some(&queue("RUNNING", "n1", TOKEN)), None, false, t + s(16)).is_some());
        assert!(!job.is_doubtful(t + s(30)));
        for at in [17, 25, 37] {
            job.on_look(None, None, true, t + s(at));
        }
        assert!(job.open_job().is_some() && job.is_doubtful(t + s(37)));
        job.on_look(None, None, true, t + s(38));
        assert_eq!(job.over(t + s(39)), None, "its worker's last words may be on their way");
        let over = job.over(t + s(40)).unwrap();
        assert_eq!((over.end, over.concluded), (JobEnd::Vanished, true));
    }

    #[test]
    fn two_looks_are_no_evidence_however_far_apart() {
        let t = Instant::now();
        let mut job = known(t);
        job.on_look(None, None, true, t);
        job.on_look(None, None, true, t + s(600));
        assert!(job.open_job().is_some());
        job.on_look(None, None, true, t + s(601));
        assert!(job.open_job().is_none());
    }

    #[test]
    fn a_controller_that_cannot_be_asked_for_a_job_has_not_denied_it() {
        let t = Instant::now();
        let mut job = known(t);
        for at in 0..60 {
            job.on_look(None, None, false, t + s(at));
        }
        assert!(job.open_job().is_some());
        job.on_look(None, None, false, t + s(61));
        assert_eq!(job.over(t + s(63)).unwrap().end, JobEnd::Vanished);
    }

    #[test]
    fn a_job_that_speaks_is_alive_whatever_the_queue_shows() {
        let t = Instant::now();
        let mut job = known(t);
        for at in (0..600).step_by(5) {
            job.on_worker(&WorkerSaid::Alive, t + s(at));
            job.on_look(None, None, true, t + s(at));
            job.on_look(Some(&queue("RUNNING", "n1", "b-1")), None, false, t + s(at + 1));
        }
        assert!(job.open_job().is_some());
        // Until it is silent.
        for at in [610, 620, 627, 628] {
            job.on_look(None, None, true, t + s(at));
        }
        assert_eq!(job.over(t + s(630)).unwrap().end, JobEnd::Vanished);
    }

    #[test]
    fn a_job_that_was_told_to_end_and_is_gone_was_cancelled() {
        let t = Instant::now();
        let mut job = known(t);
        job.on_worker(&WorkerSaid::ToldToEnd, t);
        for at in [1, 5, 10] {
            job.on_look(None, None, true, t + s(at));
        }
        let over = job.over(t + s(12)).unwrap();
        assert_eq!((over.end, over.concluded), (JobEnd::Cancelled { by: None }, true));
        // One that Slurm has requeued begins anew.
        let mut job = known(t);
        job.on_worker(&WorkerSaid::ToldToEnd, t);
        job.on_worker(&placed(7, None), t + s(1));
        for at in [1, 5, 10] {
            job.on_look(None, None, true, t + s(at));
        }
        assert!(job.open_job().is_some());
    }

    #[test]
    fn a_worker_says_which_job_it_is_in() {
        let t = Instant::now();
        let mut job = Tracked::new(TOKEN, Clusters::Ours, t);
        assert_eq!(job.on_worker(&placed(17, Some("lab")), t), Some(JobId::on(None, 17)));
        assert_eq!(job.on_worker(&placed(17, Some("lab")), t), None);
        assert_eq!(job.open_job(), Some(&JobId::on(None, 17)));
        assert_eq!(known(t).on_worker(&placed(17, None), t), Some(JobId::on(None, 17)), "not 7, as was read");
        let mut job = Tracked::new(TOKEN, Clusters::All, t);
        assert_eq!(job.on_worker(&placed(17, None), t), None, "of which cluster?");
        assert_eq!(job.on_worker(&placed(17, Some("lab")), t), Some(JobId::on(Some("lab"), 17)));
        // And it is not given up while it speaks, even if its number cannot be told.
        let mut job = Tracked::new(TOKEN, Clusters::All, t);
        job.on_not_found(t);
        job.on_worker(&placed(17, None), t + s(20));
        assert!(!job.on_not_found(t + s(25)));
        assert!(job.on_not_found(t + s(51)));
    }

    #[test]
    fn a_number_that_was_given_away_is_not_ours() {
        let t = Instant::now();
        let mut job = known(t);
        assert_eq!(
            job.on_look(Some(&queue("RUNNING", "n1", "b-1")), Some(&accounting("COMPLETED")), false, t),
            None
        );
        assert_eq!(job.over(t + s(2)).unwrap().end, JobEnd::Vanished);
    }

    #[test]
    fn who_cancelled_is_waited_for_while_accounting_may_tell() {
        let t = Instant::now();
        let cancelled = queue("CANCELLED", "n1", TOKEN);
        let mut job = known(t);
        job.on_worker(&WorkerSaid::OfItsWork, t);
        let running = accounting("RUNNING");
        assert_eq!(job.on_look(Some(&cancelled), Some(&running), false, t), None);
        assert!(
            job.on_look(Some(&cancelled), Some(&accounting("CANCELLED by 0")), false, t + s(3)).is_some()
        );
        assert_eq!(job.over(t + s(5)).unwrap().end, JobEnd::Cancelled { by: Some("root".to_owned()) });
        // Where accounting is silent there is nothing to wait for; where it lags, only so long.
        let mut job = known(t);
        job.on_worker(&WorkerSaid::OfItsWork, t);
        assert!(job.on_look(Some(&cancelled), None, false, t).is_some());
        assert_eq!(job.over(t + s(2)).unwrap().end, JobEnd::Cancelled { by: None });
        let mut job = known(t);
        job.on_worker(&WorkerSaid::OfItsWork, t);
        assert_eq!(job.on_look(Some(&cancelled), Some(&running), false, t), None);
        assert!(job.on_look(Some(&cancelled), Some(&running), false, t + s(9)).is_some());
    }

    #[test]
    fn the_workers_word_goes_before_slurms() {
        let t = Instant::now();
        let mut job = known(t);
        job.on_look(Some(&queue("TIMEOUT", "n1", TOKEN)), None, false, t);
        job.on_worker(&WorkerSaid::Done, t);
        assert_eq!(job.over(t + s(60)), None);
        // But that it was told to end is not the end of its work.
        let mut job = known(t);
        job.on_worker(&WorkerSaid::ToldToEnd, t);
        assert!(job.on_look(Some(&queue("TIMEOUT", "n1", TOKEN)), None, false, t).is_some());
        assert_eq!(job.over(t + s(2)).unwrap().end, JobEnd::TimeLimit);
    }

    #[test]
    fn a_worker_may_be_done_before_its_job_is_known() {
        let t = Instant::now();
        let mut job = Tracked::new(TOKEN, Clusters::Ours, t);
        job.on_worker(&WorkerSaid::Done, t);
        job.on_job(JobId::on(None, 7), t);
        assert_eq!((job.job(), job.open_job()), (Some(&JobId::on(None, 7)), None));
    }

    #[test]
    fn a_lost_submission_is_given_up_only_when_slurm_has_answered_for_a_while() {
        let t = Instant::now();
        let mut job = Tracked::new(TOKEN, Clusters::Ours, t);
        assert!(!job.on_not_found(t));
        job.on_silence();
        assert!(!job.on_not_found(t + s(21)), "it was silent since");
        assert!(!job.on_not_found(t + s(40)));
        assert!(job.on_not_found(t + s(42)));
        // Sooner where the controller was not reached, later where sbatch says that it was taken.
        for (doubt, not_yet, gone) in [(Doubt::NotReached, 5, 6), (Doubt::Unnumbered, 60, 61)] {
            let mut job = Tracked::new(TOKEN, Clusters::Ours, t);
            job.on_doubt(doubt);
            assert!(!job.on_not_found(t));
            assert!(!job.on_not_found(t + s(not_yet)));
            assert!(job.on_not_found(t + s(gone)));
        }
    }

    #[test]
    fn what_is_no_news_is_not_told() {
        let t = Instant::now();
        let mut job = known(t);
        let waits = queue("PENDING", "", TOKEN);
        assert!(job.on_look(Some(&waits), None, false, t).is_some());
        assert!(job.on_look(Some(&waits), None, false, t + s(5)).is_none());
        assert!(job.on_look(Some(&queue("RUNNING", "n1", TOKEN)), None, false, t + s(9)).is_some());
    }
}
