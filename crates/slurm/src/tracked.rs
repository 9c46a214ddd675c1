//! The state of a tracked job, from the messages of its worker and from Slurm's answers.
//!
//! A job whose worker sends messages is alive, whatever the queue shows: a site may show it from a cache, through a filter,
//! or with another comment.

use std::time::{Duration, Instant};

use amore_model::{JobId, WorkerReport};

use crate::{clusters::Clusters, job_end::JobEnd, job_status::JobStatus, poll::best, submission::Doubt};

/// How long a job counts as young: Slurm is queried more often about it.
const YOUNG: Duration = Duration::from_secs(30);
/// How long the last messages of a worker may take through the shared file system once its job is over.
const LAST_MESSAGES: Duration = Duration::from_millis(1500);
/// The same of a job that ended with exit code 0: its worker has written that its work is done, and only the file is late.
const LAST_MESSAGES_OF_COMPLETED: Duration = Duration::from_secs(15);
/// How long a job may be missing from the queue before it is queried by its number.
const DOUBTFUL: Duration = Duration::from_secs(8);
/// How long a job may be missing from queue and controller, without an end in accounting, before it counts as gone.
/// Accounting knows ends some seconds late.
const VANISHED: Duration = Duration::from_secs(20);
/// The same, if the controller cannot be asked for a job by its number.
const NOT_SHOWN: Duration = Duration::from_secs(60);
/// The same, for a job whose worker reported that it was told to end.
const TOLD_TO_END: Duration = Duration::from_secs(8);
/// How many queries have to agree: a single late one says nothing about the time before it.
const QUERIES: u32 = 3;
/// How long a worker may be silent and still count as alive. It sends a message every five seconds.
const ALIVE: Duration = Duration::from_secs(30);
/// How long accounting may take to know who cancelled a job.
const WHO_CANCELLED: Duration = Duration::from_secs(8);
/// How long a controller that did not answer may take to process earlier requests once it answers again.
const SETTLED: Duration = Duration::from_secs(5);
/// How long the job of an unanswered submission may not be found before it is given up: a site may show the queue from a cache.
const UNANSWERED: Duration = Duration::from_secs(20);
/// The same, if sbatch reported that the job was accepted.
const UNNUMBERED: Duration = Duration::from_secs(60);

/// A tracked job.
#[derive(Debug)]
pub struct Tracked {
    token: String,
    clusters: Clusters,
    since: Instant,
    phase: Phase,
    seen: Option<JobStatus>,
    /// What is unknown about its submission.
    doubt: Doubt,
    /// Whether its worker has sent a message, or may have.
    started: bool,
    /// When the last message was received.
    heard: Option<Instant>,
    /// Whether its worker reported that it was told to end.
    told_to_end: bool,
}

/// For how long Slurm has not shown a job.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Missing {
    since: Instant,
    queries: u32,
}

/// Phase of a tracked job.
#[derive(Debug, PartialEq)]
enum Phase {
    /// It is being submitted or looked up. `not_found_since`: since when Slurm has been answering, without a gap, that it has no
    /// job with this token.
    Unconfirmed { not_found_since: Option<Instant> },
    /// As far as is known it waits or runs. `missing`: since when Slurm does not show it. `cancelled`: since when it is
    /// known to be cancelled, but not by whom.
    Known { job: JobId, missing: Option<Missing>, cancelled: Option<Instant> },
    /// It is over, but more messages of its worker may arrive. `concluded`: Slurm did not report how it ended.
    Over { job: JobId, end: JobEnd, at: Instant, concluded: bool },
    /// Its worker reported that it is done.
    Done { job: Option<JobId> },
}

/// A job that ended before its work was done.
#[derive(Debug, PartialEq)]
pub struct Over {
    /// ID of the job.
    pub job: JobId,
    /// How it ended.
    pub end: JobEnd,
    /// Whether Slurm keeps it in the queue, although it will never start.
    pub lingers: bool,
    /// Whether the end is a conclusion, not reported by Slurm.
    pub concluded: bool,
}

impl Tracked {
    /// An attempt whose job is not known yet, submitted to one of `clusters`.
    pub fn new(token: &str, clusters: Clusters, now: Instant) -> Self {
        Tracked {
            token: token.to_owned(),
            clusters,
            since: now,
            phase: Phase::Unconfirmed { not_found_since: None },
            seen: None,
            doubt: Doubt::default(),
            started: false,
            heard: None,
            told_to_end: false,
        }
    }

    /// Records what is unknown about its submission.
    pub fn on_doubt(&mut self, doubt: Doubt) {
        self.doubt = doubt;
    }

    /// An earlier owner has handled its end, and its worker's messages are gone. Whether there was a worker is not known:
    /// a job that may have worked is not taken for one that Slurm took back at its start.
    pub fn on_earlier_end(&mut self) {
        self.started = true;
    }

    /// What is unknown about its submission.
    pub fn doubt(&self) -> Doubt {
        self.doubt
    }

    /// Whether its worker sent a message recently.
    pub fn is_alive(&self, now: Instant) -> bool {
        self.heard.is_some_and(|at| now.duration_since(at) < ALIVE)
    }

    /// Whether its worker reported that it was told to end, or that it is done.
    pub fn has_reported_end(&self) -> bool {
        self.told_to_end || matches!(self.phase, Phase::Done { .. })
    }

    /// Whether to query it by its number, because the queue does not show it.
    pub fn is_doubtful(&self, now: Instant) -> bool {
        matches!(&self.phase, Phase::Known { missing: Some(missing), .. }
            if now.duration_since(missing.since) > DOUBTFUL)
    }

    /// The clusters that it was submitted to.
    pub fn clusters(&self) -> &Clusters {
        &self.clusters
    }

    /// Its job, once it is known.
    pub fn job(&self) -> Option<&JobId> {
        match &self.phase {
            Phase::Unconfirmed { .. } => None,
            Phase::Known { job, .. } | Phase::Over { job, .. } => Some(job),
            Phase::Done { job } => job.as_ref(),
        }
    }

    /// Its job, as long as Slurm has to be queried about it.
    pub fn open_job(&self) -> Option<&JobId> {
        match &self.phase {
            Phase::Known { job, .. } => Some(job),
            Phase::Unconfirmed { .. } | Phase::Over { .. } | Phase::Done { .. } => None,
        }
    }

    /// Whether its job is still young.
    pub fn is_young(&self, now: Instant) -> bool {
        now.duration_since(self.since) < YOUNG
    }

    /// Slurm accepted the job, or is known to have it.
    pub fn on_job(&mut self, job: JobId, now: Instant) {
        self.since = now;
        match &mut self.phase {
            Phase::Unconfirmed { .. } => {
                self.phase = Phase::Known { job, missing: None, cancelled: None };
            }
            // Its worker was faster than the answer of sbatch.
            Phase::Done { job: known } => *known = Some(job),
            // It is already known.
            Phase::Known { .. } | Phase::Over { .. } => {}
        }
    }

    /// Slurm answers that it has no such job. Returns whether the job is given up.
    pub fn on_not_found(&mut self, now: Instant) -> bool {
        let is_alive = self.is_alive(now);
        let patience = match self.doubt {
            Doubt::NotReached => SETTLED,
            Doubt::Unanswered => UNANSWERED,
            Doubt::Unnumbered => UNNUMBERED,
        };
        match &mut self.phase {
            Phase::Unconfirmed { not_found_since } => {
                now.duration_since(*not_found_since.get_or_insert(now)) > patience && !is_alive
            }
            Phase::Known { .. } | Phase::Over { .. } | Phase::Done { .. } => false,
        }
    }

    /// Slurm does not answer whether it has the job.
    pub fn on_no_answer(&mut self) {
        if let Phase::Unconfirmed { not_found_since } = &mut self.phase {
            *not_found_since = None;
        }
    }

    /// Handles a report of its worker. Returns the job, if the report identifies it for the first time.
    pub fn on_worker(&mut self, said: &WorkerReport, now: Instant) -> Option<JobId> {
        self.started = true;
        self.heard = Some(now);
        // That the job was gone had only been concluded from silence.
        if let Phase::Over { job, end: JobEnd::Vanished, concluded: true, .. } = &self.phase {
            self.phase = Phase::Known { job: job.clone(), missing: None, cancelled: None };
        }
        match said {
            WorkerReport::ToldToEnd => self.told_to_end = true,
            WorkerReport::Done => self.phase = Phase::Done { job: self.job().cloned() },
            WorkerReport::InJob { number, cluster } => {
                self.told_to_end = false;
                let cluster = match &self.clusters {
                    Clusters::Ours => None,
                    Clusters::One(name) => Some(name.as_str()),
                    // Without its cluster, the number could belong to another job.
                    Clusters::Several(_) | Clusters::All => Some(cluster.as_deref()?),
                };
                let job = JobId::on(cluster, *number);
                // The worker is more reliable than a number that was read from a wrapper's output.
                if matches!(self.phase, Phase::Unconfirmed { .. } | Phase::Known { .. })
                    && self.job() != Some(&job)
                {
                    self.since = now;
                    self.phase = Phase::Known { job: job.clone(), missing: None, cancelled: None };
                    return Some(job);
                }
            }
            WorkerReport::Alive | WorkerReport::Work => {}
        }
        None
    }

    /// Handles the result of a query of its cluster. `denied`: the controller does not know the job. Returns the job's
    /// status, if it changed.
    pub fn on_query(
        &mut self,
        queue: Option<&JobStatus>,
        accounting: Option<&JobStatus>,
        denied: bool,
        now: Instant,
    ) -> Option<&JobStatus> {
        let is_alive = self.is_alive(now);
        let Phase::Known { job, missing, cancelled } = &mut self.phase else { return None };
        let over = |end, concluded| Phase::Over { job: job.clone(), end, at: now, concluded };
        if queue.is_some_and(|seen| seen.is_of_another(&self.token)) {
            // A controller that was killed has forgotten our job, and assigned its number to another one.
            if !is_alive {
                self.phase = over(JobEnd::Vanished, true);
            }
            return None;
        }
        // If the number was assigned again, accounting may still show the earlier job.
        let accounting = accounting.filter(|seen| !seen.is_of_another(&self.token));
        let Some(seen) = best(queue, accounting) else {
            let missing = missing.get_or_insert(Missing { since: now, queries: 0 });
            missing.queries += 1;
            let away = now.duration_since(missing.since);
            if missing.queries < QUERIES {
                return None;
            }
            if self.told_to_end && away > TOLD_TO_END {
                // Slurm ends jobs this way not only when they are cancelled: its line in the log says why.
                self.phase = over(JobEnd::Cancelled { by: None }, true);
            } else if !is_alive && (away > NOT_SHOWN || denied && away > VANISHED) {
                self.phase = over(JobEnd::Vanished, true);
            }
            return None;
        };
        *missing = None;
        if let Some(end) = &seen.end {
            // Accounting knows who cancelled it some seconds later.
            if *end == (JobEnd::Cancelled { by: None })
                && accounting.is_some()
                && now.duration_since(*cancelled.get_or_insert(now)) < WHO_CANCELLED
            {
                return None;
            }
            self.phase = over(end.clone().refined(self.started, !seen.nodes.is_empty()), false);
        }
        if self.seen.as_ref() == Some(seen) {
            return None;
        }
        Some(self.seen.insert(seen.clone()))
    }

    /// How it ended, once the last messages of its worker had time to arrive.
    pub fn over(&self, now: Instant) -> Option<Over> {
        let Phase::Over { job, end, at, concluded } = &self.phase else { return None };
        let patience = if *end == JobEnd::Completed { LAST_MESSAGES_OF_COMPLETED } else { LAST_MESSAGES };
        (now.duration_since(*at) > patience).then(|| Over {
            job: job.clone(),
            end: end.clone(),
            lingers: self.seen.as_ref().is_some_and(JobStatus::lingers),
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

    fn queue(state: &str, node: &str, token: &str) -> JobStatus {
        parse_queue(&format!("7|{state}|{node}|main|(null)|amore:{token}|None")).unwrap().1
    }

    fn accounting(state: &str) -> JobStatus {
        parse_accounting(&format!("7|{state}|0:0|n1|main||None|sbatch"), &ACCOUNTED, &|uid| {
            (uid == 0).then(|| "root".to_owned())
        })
        .unwrap()
        .1
    }

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn placed(number: u64, cluster: Option<&str>) -> WorkerReport {
        WorkerReport::InJob { number, cluster: cluster.map(str::to_owned) }
    }

    #[test]
    fn a_job_that_nobody_knows_is_gone_after_a_while_and_not_before() {
        let t = Instant::now();
        let mut job = known(t);
        assert_eq!(job.on_query(None, None, true, t), None);
        assert_eq!(job.on_query(None, None, true, t + s(15)), None);
        // JobStatus again: the wait starts anew.
        assert!(job.on_query(Some(&queue("RUNNING", "n1", TOKEN)), None, false, t + s(16)).is_some());
        assert!(!job.is_doubtful(t + s(30)));
        for at in [17, 25, 37] {
            job.on_query(None, None, true, t + s(at));
        }
        assert!(job.open_job().is_some() && job.is_doubtful(t + s(37)));
        job.on_query(None, None, true, t + s(38));
        assert_eq!(job.over(t + s(39)), None, "its worker's last words may be on their way");
        let over = job.over(t + s(40)).unwrap();
        assert_eq!((over.end, over.concluded), (JobEnd::Vanished, true));
    }

    #[test]
    fn two_looks_are_no_evidence_however_far_apart() {
        let t = Instant::now();
        let mut job = known(t);
        job.on_query(None, None, true, t);
        job.on_query(None, None, true, t + s(600));
        assert!(job.open_job().is_some());
        job.on_query(None, None, true, t + s(601));
        assert!(job.open_job().is_none());
    }

    #[test]
    fn a_controller_that_cannot_be_asked_for_a_job_has_not_denied_it() {
        let t = Instant::now();
        let mut job = known(t);
        for at in 0..60 {
            job.on_query(None, None, false, t + s(at));
        }
        assert!(job.open_job().is_some());
        job.on_query(None, None, false, t + s(61));
        assert_eq!(job.over(t + s(63)).unwrap().end, JobEnd::Vanished);
    }

    #[test]
    fn a_job_that_speaks_is_alive_whatever_the_queue_shows() {
        let t = Instant::now();
        let mut job = known(t);
        for at in (0..600).step_by(5) {
            job.on_worker(&WorkerReport::Alive, t + s(at));
            job.on_query(None, None, true, t + s(at));
            job.on_query(Some(&queue("RUNNING", "n1", "b-1")), None, false, t + s(at + 1));
        }
        assert!(job.open_job().is_some());
        // Until it is silent.
        for at in [610, 620, 627, 628] {
            job.on_query(None, None, true, t + s(at));
        }
        assert_eq!(job.over(t + s(630)).unwrap().end, JobEnd::Vanished);
    }

    #[test]
    fn a_job_that_was_told_to_end_and_is_gone_was_cancelled() {
        let t = Instant::now();
        let mut job = known(t);
        job.on_worker(&WorkerReport::ToldToEnd, t);
        for at in [1, 5, 10] {
            job.on_query(None, None, true, t + s(at));
        }
        let over = job.over(t + s(12)).unwrap();
        assert_eq!((over.end, over.concluded), (JobEnd::Cancelled { by: None }, true));
        // A job that Slurm requeued starts anew.
        let mut job = known(t);
        job.on_worker(&WorkerReport::ToldToEnd, t);
        job.on_worker(&placed(7, None), t + s(1));
        for at in [1, 5, 10] {
            job.on_query(None, None, true, t + s(at));
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
        // It is not given up while its worker sends messages, even if its number is not known.
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
            job.on_query(Some(&queue("RUNNING", "n1", "b-1")), Some(&accounting("COMPLETED")), false, t),
            None
        );
        assert_eq!(job.over(t + s(2)).unwrap().end, JobEnd::Vanished);
    }

    #[test]
    fn who_cancelled_is_waited_for_while_accounting_may_tell() {
        let t = Instant::now();
        let cancelled = queue("CANCELLED", "n1", TOKEN);
        let mut job = known(t);
        job.on_worker(&WorkerReport::Work, t);
        let running = accounting("RUNNING");
        assert_eq!(job.on_query(Some(&cancelled), Some(&running), false, t), None);
        assert!(
            job.on_query(Some(&cancelled), Some(&accounting("CANCELLED by 0")), false, t + s(3)).is_some()
        );
        assert_eq!(job.over(t + s(5)).unwrap().end, JobEnd::Cancelled { by: Some("root".to_owned()) });
        // If accounting does not answer there is nothing to wait for; if it lags, the wait is limited.
        let mut job = known(t);
        job.on_worker(&WorkerReport::Work, t);
        assert!(job.on_query(Some(&cancelled), None, false, t).is_some());
        assert_eq!(job.over(t + s(2)).unwrap().end, JobEnd::Cancelled { by: None });
        let mut job = known(t);
        job.on_worker(&WorkerReport::Work, t);
        assert_eq!(job.on_query(Some(&cancelled), Some(&running), false, t), None);
        assert!(job.on_query(Some(&cancelled), Some(&running), false, t + s(9)).is_some());
    }

    /// Its worker's messages were removed when the earlier owner handled its end; the ledger did not take that end.
    #[test]
    fn a_job_whose_end_was_handled_before_is_not_taken_back_by_slurm() {
        let t = Instant::now();
        let end = |mut job: Tracked| {
            job.on_query(None, Some(&accounting("CANCELLED by 0")), false, t);
            job.over(t + s(2)).unwrap().end
        };
        assert_eq!(end(known(t)), JobEnd::TakenBack);
        let mut adopted = known(t);
        adopted.on_earlier_end();
        assert_eq!(end(adopted), JobEnd::Cancelled { by: Some("root".to_owned()) });
    }

    #[test]
    fn the_workers_word_goes_before_slurms() {
        let t = Instant::now();
        let mut job = known(t);
        job.on_query(Some(&queue("TIMEOUT", "n1", TOKEN)), None, false, t);
        job.on_worker(&WorkerReport::Done, t);
        assert_eq!(job.over(t + s(60)), None);
        // That it was told to end is not the end of its work.
        let mut job = known(t);
        job.on_worker(&WorkerReport::ToldToEnd, t);
        assert!(job.on_query(Some(&queue("TIMEOUT", "n1", TOKEN)), None, false, t).is_some());
        assert_eq!(job.over(t + s(2)).unwrap().end, JobEnd::TimeLimit);
    }

    #[test]
    fn a_worker_may_be_done_before_its_job_is_known() {
        let t = Instant::now();
        let mut job = Tracked::new(TOKEN, Clusters::Ours, t);
        job.on_worker(&WorkerReport::Done, t);
        job.on_job(JobId::on(None, 7), t);
        assert_eq!((job.job(), job.open_job()), (Some(&JobId::on(None, 7)), None));
    }

    #[test]
    fn a_lost_submission_is_given_up_only_when_slurm_has_answered_for_a_while() {
        let t = Instant::now();
        let mut job = Tracked::new(TOKEN, Clusters::Ours, t);
        assert!(!job.on_not_found(t));
        job.on_no_answer();
        assert!(!job.on_not_found(t + s(21)), "it was silent since");
        assert!(!job.on_not_found(t + s(40)));
        assert!(job.on_not_found(t + s(42)));
        // Sooner if the controller was not reached, later if sbatch reported that the job was accepted.
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
        assert!(job.on_query(Some(&waits), None, false, t).is_some());
        assert!(job.on_query(Some(&waits), None, false, t + s(5)).is_none());
        assert!(job.on_query(Some(&queue("RUNNING", "n1", TOKEN)), None, false, t + s(9)).is_some());
    }
}
