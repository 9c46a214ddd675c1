//! One cluster: the state of its controller, and its timers.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    accounting::Record,
    event::{Exit, SlurmEvent, Why},
    job::{Execution, Job, Key},
    node::{Node, Reservation},
    site::{ClusterSpec, PartitionSpec, Site, Times},
    submission::Waiting,
    trouble::Trouble,
};
use crate::Moment;

/// State of a controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Controller {
    /// It answers.
    Up,
    /// It accepts connections but does not answer; requests are processed when it continues.
    Hung,
    /// It refuses connections.
    Dead,
}

/// An event at a certain time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Timer {
    /// The scheduler runs.
    Schedule,
    /// A job may have exceeded its time limit.
    Limit(Execution),
    /// A script that was asked to terminate still runs.
    Kill(Execution, Why),
    /// A job that ended long enough ago is purged.
    Purge(Key),
    /// A node has not responded since then.
    Silent(String, Moment),
    /// A node has not responded for so long that it is given up.
    GivenUp(String, Moment),
    /// A node that is back ends executions that it should not have.
    CleanUp(String),
    /// A reservation that ended is removed.
    ReservationOver(String),
}

/// An execution of a script on some nodes.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub key: Key,
    pub nodes: Vec<String>,
    /// Whether its nodes were reached. If not, the controller counts it as running until it gives the node up.
    pub begun: bool,
    /// Whether the controller no longer counts it: it was given up, or its job was forgotten.
    pub orphan: bool,
    /// How it ended, if the controller does not know it yet.
    pub unheard: Option<Exit>,
}

/// A request that the controller finds when it continues.
#[derive(Clone, Debug)]
pub(super) enum Told {
    Submit(Box<Waiting>),
    Cancel { number: u64, by: u32 },
}

pub(super) struct Cluster {
    pub name: String,
    pub version: String,
    pub times: Times,
    pub partitions: Vec<PartitionSpec>,
    pub nodes: Vec<Node>,
    pub reservations: BTreeMap<String, Reservation>,
    pub jobs: BTreeMap<Key, Job>,
    pub numbers: BTreeMap<u64, Key>,
    pub pending: BTreeSet<Key>,
    pub busy: BTreeSet<Key>,
    pub runs: BTreeMap<Execution, Run>,
    pub next_number: u64,
    pub next_key: Key,
    next_execution: u64,
    pub controller: Controller,
    /// Requests made while it hung.
    pub told: Vec<Told>,
    /// Timers that were due meanwhile.
    deferred: Vec<Timer>,
    timers: BTreeMap<(Moment, u64), Timer>,
    next_timer: u64,
    schedule_at: Option<Moment>,
    pub trouble: Trouble,
    pub events: Vec<SlurmEvent>,
    pub records: Vec<Record>,
    pub now: Moment,
}

impl Cluster {
    pub fn new(spec: &ClusterSpec, index: u64, now: Moment) -> Self {
        Cluster {
            name: spec.name.clone(),
            version: spec.version.clone(),
            times: spec.times.clone(),
            partitions: spec.partitions.clone(),
            nodes: spec.nodes.iter().cloned().map(Node::new).collect(),
            reservations: BTreeMap::new(),
            jobs: BTreeMap::new(),
            numbers: BTreeMap::new(),
            pending: BTreeSet::new(),
            busy: BTreeSet::new(),
            runs: BTreeMap::new(),
            next_number: spec.first_number,
            next_key: 1,
            // Executions of all clusters of a site have distinct numbers.
            next_execution: (index << 40) + 1,
            controller: Controller::Up,
            told: Vec::new(),
            deferred: Vec::new(),
            timers: BTreeMap::new(),
            next_timer: 0,
            schedule_at: None,
            trouble: Trouble::default(),
            events: Vec::new(),
            records: Vec::new(),
            now,
        }
    }

    /// The state of the controller as clients see it: if it answers after their timeout, it seems to hang.
    pub fn seems(&self) -> Controller {
        match self.controller {
            Controller::Up if self.trouble.slow >= self.times.message_timeout => Controller::Hung,
            other => other,
        }
    }

    pub fn execution(&mut self) -> Execution {
        self.next_execution += 1;
        Execution(self.next_execution - 1)
    }

    pub fn numbered(&self, number: u64) -> Option<&Job> {
        self.jobs.get(self.numbers.get(&number)?)
    }

    pub fn partition(&self, name: &str) -> Option<&PartitionSpec> {
        self.partitions.iter().find(|partition| partition.name == name)
    }

    pub fn node_mut(&mut self, name: &str) -> Option<&mut Node> {
        self.nodes.iter_mut().find(|node| node.spec.name == name)
    }

    /// The nodes of a partition, in the cluster's order.
    pub fn nodes_of<'a>(&'a self, partition: &'a PartitionSpec) -> impl Iterator<Item = &'a Node> {
        self.nodes
            .iter()
            .filter(|node| partition.nodes.is_empty() || partition.nodes.contains(&node.spec.name))
    }

    /// Records the state of a job for accounting.
    pub fn account(&mut self, key: Key) {
        if let Some(job) = self.jobs.get(&key) {
            self.records.push(Record::of(&self.name, job, self.now));
        }
    }

    pub fn at(&mut self, moment: Moment, timer: Timer) {
        self.timers.insert((moment, self.next_timer), timer);
        self.next_timer += 1;
    }

    /// Lets the scheduler run at its next step.
    pub fn wake_scheduler(&mut self) {
        self.schedule_by(self.now);
    }

    /// Lets the scheduler run at its first step after this time.
    pub fn schedule_by(&mut self, moment: Moment) {
        let at = (moment + std::time::Duration::from_millis(1)).rounded_up(self.times.schedule_step);
        if self.schedule_at.is_none_or(|other| at < other) {
            self.schedule_at = Some(at);
            self.at(at, Timer::Schedule);
        } else if self.schedule_at.is_some_and(|other| at > other && moment > self.now) {
            self.at(at, Timer::Schedule);
        }
    }

    pub fn next_change(&self) -> Option<Moment> {
        self.timers.keys().next().map(|(at, _)| *at)
    }

    /// Processes everything that is due by now.
    pub fn advance(&mut self, site: &Site, now: Moment) {
        while let Some(entry) = self.timers.first_entry() {
            let (at, _) = *entry.key();
            if at > now {
                break;
            }
            let timer = entry.remove();
            self.now = self.now.max(at);
            if self.controller == Controller::Up {
                self.fire(site, timer);
            } else {
                self.deferred.push(timer);
            }
        }
        self.now = self.now.max(now);
    }

    fn fire(&mut self, site: &Site, timer: Timer) {
        match timer {
            Timer::Schedule => {
                self.schedule_at = None;
                self.schedule(site);
            }
            Timer::Limit(execution) => self.on_limit(execution),
            Timer::Kill(execution, why) => self.kill(execution, why),
            Timer::Purge(key) => self.purge(key),
            Timer::Silent(node, since) => self.on_silent(&node, since),
            Timer::GivenUp(node, since) => self.on_given_up(&node, since),
            Timer::CleanUp(node) => self.on_clean_up(&node),
            Timer::ReservationOver(name) => self.on_reservation_over(&name),
        }
    }

    /// The controller continues: it processes requests, learns what it missed, and does what is due.
    pub fn resume(&mut self, site: &Site) {
        self.controller = Controller::Up;
        for told in std::mem::take(&mut self.told) {
            match told {
                Told::Submit(waiting) => {
                    // The client has given up and does not learn about a refusal.
                    let _ = self.take(site, *waiting);
                }
                Told::Cancel { number, by } => self.cancel(number, by),
            }
        }
        self.hear_of_ends();
        for timer in std::mem::take(&mut self.deferred) {
            self.at(self.now, timer);
        }
        self.wake_scheduler();
    }

    /// Reports the ends of scripts that the controller missed, if their nodes can be reached.
    pub fn hear_of_ends(&mut self) {
        let heard: Vec<(Execution, Exit)> = self
            .runs
            .iter()
            .filter(|(_, run)| self.is_reachable(&run.nodes))
            .filter_map(|(execution, run)| run.unheard.map(|exit| (*execution, exit)))
            .collect();
        for (execution, exit) in heard {
            self.on_script_ended(execution, exit);
        }
    }

    /// The controller stops counting an execution. If it has started, it continues.
    pub fn disown(&mut self, execution: Execution) {
        match self.runs.get_mut(&execution) {
            Some(run) if run.begun => run.orphan = true,
            _ => {
                self.runs.remove(&execution);
            }
        }
    }

    pub fn is_reachable(&self, nodes: &[String]) -> bool {
        self.nodes.iter().filter(|node| nodes.contains(&node.spec.name)).all(Node::is_reachable)
    }
}
