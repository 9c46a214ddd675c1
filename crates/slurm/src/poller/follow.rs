//! Tracking of submitted jobs: messages of their workers, their status, their end.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use amore_model::{
    JobId, Notice, WorkerReport,
    planted::{Fault, is_on},
};

use super::{Cluster, Poller, Purpose, SOON};
use crate::{
    cancelling::Step,
    clusters::Clusters,
    exchange::{Action, Command, JobEvent, WorkerMessage},
    job_log::end_in_log,
    poll::{ClusterQuery, Progress, Question, Reply, View},
    submission::{Cancelled, SlurmUnavailable, log_of},
    tracked::Over,
};

/// How often Slurm is queried while a job is young.
const YOUNG_POLL: Duration = Duration::from_secs(2);
/// How often it is queried after that.
const OLD_POLL: Duration = Duration::from_secs(5);
/// Pause after a query that failed because Slurm does not answer.
const SILENT_POLL: Duration = Duration::from_secs(5);
/// The pause after a query is at least this many times as long as the query took.
const BUDGET: u32 = 20;
/// But no longer than this: one slow answer must not hide for minutes that a job waits, or has ended.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Workers, and the ends of jobs.
impl<M> Poller<M> {
    pub(super) fn on_workers(&mut self, heard: Vec<(String, Vec<WorkerMessage<M>>)>, now: Instant) {
        let (mut events, mut placed) = (Vec::new(), Vec::new());
        for (token, messages) in heard {
            let Some(of) = self.jobs.get_mut(&token) else { continue };
            for WorkerMessage { report, message } in messages {
                if let Some(job) = of.tracked.on_worker(&report, now) {
                    placed.push(job.clone());
                    events.push(JobEvent::Accepted { token: token.clone(), job });
                }
                if of.tracked.has_reported_end()
                    && let Some(cancelling) = &mut of.cancelling
                {
                    cancelling.on_over(now);
                }
                if report != WorkerReport::Alive {
                    events.push(JobEvent::Worker { token: token.clone(), message });
                }
            }
        }
        for job in placed {
            self.query_soon(job.cluster, now + SOON);
        }
        for event in events {
            self.emit(event);
        }
    }

    /// Reports jobs that ended before their work was done.
    pub(super) fn report_ended(&mut self, now: Instant) {
        if is_on(Fault::SilentEndNotNoticed) {
            return;
        }
        let over: Vec<(String, Over)> = self
            .jobs
            .iter()
            .filter_map(|(token, of)| of.tracked.over(now).map(|over| (token.clone(), over)))
            .collect();
        for (token, over) in over {
            let Some(of) = self.jobs.get_mut(&token) else { continue };
            if let Some(cancelling) = &mut of.cancelling {
                cancelling.on_over(now);
            } else if !over.concluded {
                self.ended(token, over);
            } else if !of.reads_log {
                // Slurm may have written the reason to the log.
                of.reads_log = true;
                let path = log_of(&of.log, &over.job);
                self.act(Action::ReadLog { token, path });
            }
        }
    }

    pub(super) fn on_log(&mut self, token: &str, tail: Option<&str>, now: Instant) {
        let Some(of) = self.jobs.get_mut(token) else { return };
        of.reads_log = false;
        // Meanwhile its worker may have sent a message, or the job may have been cancelled.
        if let Some(over) = of.tracked.over(now).filter(|_| of.cancelling.is_none()) {
            let end = tail.and_then(end_in_log).unwrap_or(over.end);
            self.ended(token.to_owned(), Over { end, ..over });
        }
    }

    fn ended(&mut self, token: String, over: Over) {
        let Over { job, end, lingers, .. } = over;
        if lingers {
            self.ending.insert(job.clone(), Purpose::Lingers);
            self.run(Command::Cancel { job: job.clone(), token: token.clone() });
        }
        self.forget(&token);
        self.emit(JobEvent::Ended { token, end, job: Some(job) });
    }
}

/// Cancellations.
impl<M> Poller<M> {
    /// Asks Slurm to cancel the jobs that are due, and reports the results.
    pub(super) fn cancel_due_jobs(&mut self, now: Instant) {
        let (mut ask, mut over, mut events) = (Vec::new(), Vec::new(), Vec::new());
        for (token, of) in &mut self.jobs {
            let Some(cancelling) = &mut of.cancelling else { continue };
            let job = of.tracked.job().cloned();
            let silent = !of.tracked.is_alive(now) || of.tracked.has_reported_end();
            match (cancelling.step(job.is_some(), silent, now), job) {
                (Step::Cancel, Some(job)) => ask.push((token.clone(), job)),
                (Step::Over, job) => over.push((token.clone(), job)),
                (Step::Notify(words), job) => {
                    events.push(JobEvent::NotCancelled { token: token.clone(), job, words });
                }
                (Step::Cancel | Step::Wait, _) => {}
            }
        }
        for (token, job) in ask {
            self.ending.insert(job.clone(), Purpose::Requested);
            self.run(Command::Cancel { job, token });
        }
        for event in events {
            self.emit(event);
        }
        for (token, job) in over {
            self.forget(&token);
            self.emit(JobEvent::Cancelled { token, job });
        }
    }

    pub(super) fn on_cancelled(&mut self, token: &str, job: &JobId, answer: Cancelled, now: Instant) {
        match self.ending.remove(job) {
            Some(Purpose::Lingers) => {
                let words = match answer {
                    Cancelled::Over => return,
                    Cancelled::NotYet { state } => {
                        format!("Slurm accepted the request, but still shows the job as {state}")
                    }
                    Cancelled::Failed { words } => words,
                };
                self.notice(Notice::warning(format!("job {job} could not be cancelled: {words}")));
            }
            Some(Purpose::Requested) | None => {
                if let Some(of) = self.jobs.get_mut(token)
                    && let Some(cancelling) = &mut of.cancelling
                {
                    cancelling.on_answer(answer, now);
                    // A job that cannot be cancelled otherwise ends by itself once its manifest is gone.
                    let directory = of.directory.clone();
                    self.act(Action::RemoveManifest { token: token.to_owned(), directory });
                }
            }
        }
    }
}

/// Queries of clusters.
impl<M> Poller<M> {
    /// Queries a cluster no later than at this time.
    pub(super) fn query_soon(&mut self, cluster: Option<String>, at: Instant) {
        let cluster = self.clusters.entry(cluster).or_insert(Cluster { query: None, next: at });
        cluster.next = cluster.next.min(at);
    }

    pub(super) fn query_due_clusters(&mut self, now: Instant) {
        let mut by_cluster: BTreeMap<Option<String>, (Vec<JobId>, Vec<JobId>)> = BTreeMap::new();
        for tracked in self.jobs.values().map(|of| &of.tracked) {
            let Some(job) = tracked.open_job() else { continue };
            let (jobs, doubtful) = by_cluster.entry(job.cluster.clone()).or_default();
            jobs.push(job.clone());
            if tracked.is_doubtful(now) {
                doubtful.push(job.clone());
            }
        }
        for (name, (jobs, doubtful)) in by_cluster {
            let cluster = self.clusters.entry(name.clone()).or_insert(Cluster { query: None, next: now });
            if cluster.query.is_some() || now < cluster.next {
                continue;
            }
            cluster.query = Some(ClusterQuery::new(jobs, doubtful, now));
            self.run(Command::Ask { cluster: name, question: Question::Queue });
        }
    }

    pub(super) fn on_reply(&mut self, name: Option<String>, reply: Reply, now: Instant) {
        let Some(cluster) = self.clusters.get_mut(&name) else { return };
        let Some(mut query) = cluster.query.take() else { return };
        match query.on_reply(reply) {
            Progress::Ask(question) => {
                cluster.query = Some(query);
                self.run(Command::Ask { cluster: name, question });
            }
            Progress::Over(result) => {
                let young = self.jobs.values().map(|of| &of.tracked).any(|tracked| {
                    tracked.is_young(now) && tracked.job().is_some_and(|job| job.cluster == name)
                });
                let pause = if young { YOUNG_POLL } else { OLD_POLL };
                let took = now.duration_since(query.since());
                // A dead controller takes a while to fail, and not asking it would save nothing.
                let pause =
                    if result.is_ok() { pause.max((took * BUDGET).min(LONGEST_PAUSE)) } else { SILENT_POLL };
                self.clusters.insert(name.clone(), Cluster { query: None, next: now + pause });
                let asked = name.clone().map_or(Clusters::Ours, Clusters::One);
                match result {
                    Ok(view) => {
                        self.on_answer_from(&asked);
                        self.on_view(name.as_deref(), &view, now);
                    }
                    Err(SlurmUnavailable(words)) => self.on_no_answer_from(asked, &words),
                }
            }
        }
    }

    fn on_view(&mut self, cluster: Option<&str>, view: &View, now: Instant) {
        let mut events = Vec::new();
        for (token, of) in &mut self.jobs {
            let Some(job) = of.tracked.open_job().filter(|job| job.cluster.as_deref() == cluster).cloned()
            else {
                continue;
            };
            let denied = view.unknown.contains(&job);
            let (queue, accounting) = (view.queue.get(&job), view.accounting.get(&job));
            if let Some(seen) = of.tracked.on_query(queue, accounting, denied, now) {
                events.push(JobEvent::Changed { token: token.clone(), seen: seen.clone() });
            }
        }
        for event in events {
            self.emit(event);
        }
    }
}

/// Whether Slurm answers at all.
impl<M> Poller<M> {
    pub(super) fn on_answer_from(&mut self, from: &Clusters) {
        if self.unreachable.remove(from) {
            self.notice(Notice::info(format!("Slurm{} answers again", place(from))));
        }
    }

    pub(super) fn on_no_answer_from(&mut self, from: Clusters, words: &str) {
        if !self.unreachable.contains(&from) {
            let place = place(&from);
            self.unreachable.insert(from);
            self.notice(Notice::note(format!(
                "Slurm{place} does not answer ({words}); jobs continue, and nothing is lost"
            )));
        }
    }

    pub(super) fn on_no_answer_about(&mut self, token: &str, words: &str) {
        let clusters = self.jobs.get(token).map(|of| of.tracked.clusters().clone()).unwrap_or_default();
        self.on_no_answer_from(clusters, words);
    }
}

/// Which Slurm, for the user; empty where there is only one.
fn place(clusters: &Clusters) -> String {
    match clusters {
        Clusters::Ours => String::new(),
        Clusters::One(name) => format!(" on {name}"),
        Clusters::Several(names) => format!(" on one of {}", names.join(", ")),
        Clusters::All => " on some cluster".to_owned(),
    }
}
