//! slurmdbd: what it keeps of jobs, and when it hears of them.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use super::job::{Ended, ExitCode, Job, Key, Reason, State};
use crate::{Generator, Moment};

/// What accounting keeps of a job.
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

    /// Slurm's word for its state.
    pub fn state_word(&self) -> String {
        match self.state {
            State::Over(Ended::Cancelled { by }) => format!("CANCELLED by {by}"),
            // It is not told of an end before it is over, nor of the end of a reservation.
            State::Completing { .. } => "RUNNING".to_owned(),
            State::ReservationDeleted => "PENDING".to_owned(),
            State::Pending | State::Running { .. } | State::Over(_) => self.state.word().to_owned(),
        }
    }

    /// Its exit code: that of the script, not of the signals with which Slurm ended it.
    pub fn exit_code(&self) -> ExitCode {
        match self.state {
            State::Over(ended) if ended.by_signal_of_slurm() => ExitCode::default(),
            _ => self.exit,
        }
    }

    /// Why it waited, where accounting says that.
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

/// How slurmdbd does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slurmdbd {
    /// It answers.
    Up,
    /// It does not; clusters keep for it what happens.
    Dead,
}

/// What accounting keeps of one cluster.
#[derive(Default)]
struct OfCluster {
    records: BTreeMap<Key, Record>,
    /// The last job of each number.
    latest: BTreeMap<u64, Key>,
}

pub(super) struct Accounting {
    pub state: Slurmdbd,
    /// How much later than usual it learns of things.
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

    /// A cluster sends a change. Changes arrive in the order in which they were sent.
    pub fn send(&mut self, now: Moment, record: Record, usual: (Duration, Duration), chance: &mut Generator) {
        let arrives = now + chance.between(usual.0, usual.1) + self.lag;
        let arrives = self.inbox.back().map_or(arrives, |(last, _)| arrives.max(*last));
        self.inbox.push_back((arrives, record));
    }

    /// It is back: what was kept for it arrives.
    pub fn returns(&mut self, now: Moment, catch_up: Duration) {
        self.state = Slurmdbd::Up;
        for (at, _) in &mut self.inbox {
            *at = (*at).max(now + catch_up);
        }
    }

    /// It is told in time again: what has lagged behind arrives.
    pub fn catches_up(&mut self, now: Moment) {
        self.lag = Duration::ZERO;
        for (at, _) in &mut self.inbox {
            *at = (*at).min(now);
        }
    }

    /// It knows what has arrived by now.
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

    /// The jobs of a cluster, in the order in which they were taken. Of a number that was given out twice the last.
    pub fn of(&self, cluster: &str) -> impl Iterator<Item = &Record> {
        self.clusters.get(cluster).into_iter().flat_map(|of| {
            of.records.values().filter(|record| of.latest.get(&record.number) == Some(&record.key))
        })
    }

    /// The same, of these numbers.
    pub fn numbered(&self, cluster: &str, numbers: &[u64]) -> Vec<&Record> {
        let Some(of) = self.clusters.get(cluster) else { return Vec::new() };
        let mut keys: Vec<Key> = numbers.iter().filter_map(|number| of.latest.get(number)).copied().collect();
        keys.sort_unstable();
        keys.iter().filter_map(|key| of.records.get(key)).collect()
    }
}
