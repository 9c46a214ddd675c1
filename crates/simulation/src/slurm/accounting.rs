//! slurmdbd: what it knows about jobs, and when it learns it.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use super::job::{Ended, ExitCode, Job, Key, Reason, State};
use crate::{Generator, Moment};

/// A job in accounting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub cluster: String,
    pub key: Key,
    pub number: u64,
    pub uid: u32,
    pub user: String,
    pub name: String,
    pub line: String,
    pub partition: String,
    pub reservation: String,
    pub state: State,
    pub reason: Reason,
    pub exit: ExitCode,
    pub nodes: Vec<String>,
    pub minutes: u32,
    pub submitted: Moment,
    pub started: Option<Moment>,
    pub ended: Option<Moment>,
    pub eligible: bool,
}

impl Record {
    pub fn of(cluster: &str, job: &Job, now: Moment) -> Self {
        Record {
            cluster: cluster.to_owned(),
            key: job.key,
            number: job.number,
            uid: job.uid,
            user: job.user.clone(),
            name: job.asked.name.clone(),
            line: job.asked.line.clone(),
            partition: job.asked.partition.clone(),
            reservation: job.asked.reservations.join(","),
            state: job.state.clone(),
            reason: job.reason.clone(),
            exit: job.exit,
            nodes: job.nodes.clone(),
            minutes: job.asked.minutes,
            submitted: job.submitted,
            started: job.started,
            ended: job.ended,
            eligible: job.is_eligible(now),
        }
    }

    /// Its state, as Slurm writes it.
    pub fn state_word(&self) -> String {
        match self.state {
            State::Over(Ended::Cancelled { by }) => format!("CANCELLED by {by}"),
            // Accounting does not learn that a job is completing, nor that its reservation was deleted.
            State::Completing { .. } => "RUNNING".to_owned(),
            State::ReservationDeleted => "PENDING".to_owned(),
            State::Pending | State::Running { .. } | State::Over(_) => self.state.word().to_owned(),
        }
    }

    /// Its exit code: that of the script, not the signals that Slurm ended it with.
    pub fn exit_code(&self) -> ExitCode {
        match self.state {
            State::Over(ended) if ended.by_signal_of_slurm() => ExitCode::default(),
            _ => self.exit,
        }
    }

    /// Why it waited, where accounting shows it.
    pub fn reason_word(&self) -> String {
        match self.reason {
            Reason::PartitionDown
            | Reason::PartitionTimeLimit
            | Reason::PartitionNodeLimit
            | Reason::PartitionConfig => self.reason.to_string(),
            _ => "None".to_owned(),
        }
    }
}

/// State of slurmdbd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slurmdbd {
    /// It answers.
    Up,
    /// It does not answer; clusters keep their changes until it is back.
    Dead,
}

/// Accounting of one cluster.
#[derive(Default)]
struct OfCluster {
    records: BTreeMap<Key, Record>,
    /// The latest job with each number.
    latest: BTreeMap<u64, Key>,
}

pub(super) struct Accounting {
    pub state: Slurmdbd,
    /// Additional delay until it learns about changes.
    pub lag: Duration,
    clusters: BTreeMap<String, OfCluster>,
    inbox: VecDeque<(Moment, Record)>,
}

impl Accounting {
    pub fn new() -> Self {
        Accounting {
            state: Slurmdbd::Up,
            lag: Duration::ZERO,
            clusters: BTreeMap::new(),
            inbox: VecDeque::new(),
        }
    }

    /// Sends a change of a cluster. Changes arrive in the order in which they were sent.
    pub fn send(&mut self, now: Moment, record: Record, usual: (Duration, Duration), chance: &mut Generator) {
        let arrives = now + chance.between(usual.0, usual.1) + self.lag;
        let arrives = self.inbox.back().map_or(arrives, |(last, _)| arrives.max(*last));
        self.inbox.push_back((arrives, record));
    }

    /// It is back: changes that were kept for it arrive.
    pub fn returns(&mut self, now: Moment, catch_up: Duration) {
        self.state = Slurmdbd::Up;
        for (at, _) in &mut self.inbox {
            *at = (*at).max(now + catch_up);
        }
    }

    /// The additional delay is over: delayed changes arrive.
    pub fn catches_up(&mut self, now: Moment) {
        self.lag = Duration::ZERO;
        for (at, _) in &mut self.inbox {
            *at = (*at).min(now);
        }
    }

    /// Records the changes that have arrived by now.
    pub fn settle(&mut self, now: Moment) {
        if self.state == Slurmdbd::Dead {
            return;
        }
        while self.inbox.front().is_some_and(|(at, _)| *at <= now) {
            if let Some((_, record)) = self.inbox.pop_front() {
                let of = self.clusters.entry(record.cluster.clone()).or_default();
                let latest = of.latest.entry(record.number).or_insert(record.key);
                *latest = (*latest).max(record.key);
                of.records.insert(record.key, record);
            }
        }
    }

    /// The jobs of a cluster in the order of their submission; only the latest job with each number.
    pub fn of(&self, cluster: &str) -> impl Iterator<Item = &Record> {
        self.clusters.get(cluster).into_iter().flat_map(|of| {
            of.records.values().filter(|record| of.latest.get(&record.number) == Some(&record.key))
        })
    }

    /// The jobs with these numbers.
    pub fn numbered(&self, cluster: &str, numbers: &[u64]) -> Vec<&Record> {
        let Some(of) = self.clusters.get(cluster) else { return Vec::new() };
        let mut keys: Vec<Key> = numbers.iter().filter_map(|number| of.latest.get(number)).copied().collect();
        keys.sort_unstable();
        keys.iter().filter_map(|key| of.records.get(key)).collect()
    }
}
