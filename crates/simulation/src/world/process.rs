//! Commands of users. Each is a process that coordinates the directory, or waits for the one that does.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use amore_core::{
    Core, RunKey,
    events::{Event, Summary},
    request::Request,
    task_state::WorkerNo,
};
use amore_model::lease::Holder;
use amore_slurm::{poller::Poller, site_facts::SiteFacts};
use amore_wire::task::FromWorker;

use super::{Happening, local_worker::LocalWorker};
use crate::Moment;

/// How long an ownership lasts without a renewal.
pub(super) const TERM: Duration = Duration::from_secs(15);

/// A process of `amore`.
pub(super) struct Process {
    pub(super) number: u32,
    pub(super) host: usize,
    /// Its request; `None`: finish what other processes have left.
    pub(super) request: Option<Request>,
    pub(super) started: Moment,
    pub(super) role: Role,
    /// It is the part of a service that drives the directory: it serves until it is told to stop.
    pub(super) serves: bool,
    /// Whether it has the previous version, whose tasks and workers have no tokens.
    pub(super) is_old: bool,
    /// Set while it is stopped: the events that wait for it.
    pub(super) suspended: Option<Vec<Happening>>,
    /// Whether the user has pressed Ctrl-C.
    pub(super) interrupted: bool,
    /// The events that its user was told, and when.
    pub(super) told: Vec<(Moment, Event)>,
}

/// What the process does.
pub(super) enum Role {
    /// It tries to become the owner of the directory.
    Trying,
    /// It has handed its request over, and reads its events.
    Waiting { request: u64, owner: u32, read: usize, checks: u32 },
    /// It owns the directory.
    Owner(Box<Owner>),
    /// It has ended.
    Ended(End),
}

/// How a process ended.
#[derive(Debug)]
pub(super) enum End {
    /// By itself.
    Served(Summary),
    /// It reports that its request is refused.
    Refused(String),
    /// `kill -9`.
    Killed,
    /// Another process owns the directory now.
    Deposed,
}

/// A process that owns the directory: the state of the core's driver.
pub(super) struct Owner {
    pub(super) core: Core,
    pub(super) poller: Poller<FromWorker>,
    pub(super) epoch: u64,
    /// The epoch of its ledger lease, once the ledger is open.
    pub(super) ledger: Option<u64>,
    /// When the ledger can process the next order, and whether the last write may have been applied without an answer.
    pub(super) ledger_free: Moment,
    pub(super) ledger_unsure: bool,
    pub(super) worker: LocalWorker,
    pub(super) worker_number: WorkerNo,
    /// Fragments that wait for the collector, and the state of the collector.
    pub(super) to_collect: Vec<(RunKey, PathBuf)>,
    pub(super) collector: Collector,
    /// Requests of other processes, by listener number.
    pub(super) listeners: BTreeMap<u64, u64>,
    /// Number of lines read from each attempt's worker.
    pub(super) read: BTreeMap<String, usize>,
    /// Attempts that, according to the core, are in Slurm or being submitted.
    pub(super) under_way: BTreeSet<String>,
    /// The site facts that were last passed to the core.
    pub(super) site: Option<Arc<SiteFacts>>,
    /// The latest time for the next call of the core.
    pub(super) wake: Option<Moment>,
    /// The core has ended; only answers of Slurm are still awaited.
    pub(super) closing: bool,
}

/// State of the collector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Collector {
    Idle,
    /// It waits for more fragments until then.
    Gathers(Moment),
    /// It merges fragments.
    Merges,
}

impl Process {
    pub(super) fn new(number: u32, host: usize, request: Option<Request>, is_old: bool, now: Moment) -> Self {
        Process {
            serves: false,
            is_old,
            number,
            host,
            request,
            started: now,
            role: Role::Trying,
            suspended: None,
            interrupted: false,
            told: Vec::new(),
        }
    }

    /// The part of a service that drives the directory.
    pub(super) fn of_service(number: u32, host: usize, now: Moment) -> Self {
        Process { serves: true, ..Process::new(number, host, None, false, now) }
    }

    pub(super) fn is_alive(&self) -> bool {
        !matches!(self.role, Role::Ended(_))
    }

    pub(super) fn owner(&self) -> Option<&Owner> {
        match &self.role {
            Role::Owner(owner) => Some(owner),
            _ => None,
        }
    }

    pub(super) fn owner_mut(&mut self) -> Option<&mut Owner> {
        match &mut self.role {
            Role::Owner(owner) => Some(owner),
            _ => None,
        }
    }

    /// This process as a holder of leases.
    pub(super) fn holder(&self) -> Holder {
        holder(self.number, self.host)
    }

    /// Its name in the story.
    pub(super) fn name(&self) -> String {
        format!("amore {}", self.number)
    }
}

/// A process as a holder of leases.
pub(super) fn holder(number: u32, host: usize) -> Holder {
    Holder {
        host: format!("exfl-host{host}"),
        pid: number,
        token: format!("boot-{number}"),
        user: super::shell::USER.to_owned(),
        address: None,
    }
}
