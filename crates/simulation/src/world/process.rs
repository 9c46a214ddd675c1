//! Commands of users: each is a process that coordinates the directory, or waits for the one that does.

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

/// How long an ownership holds without being renewed.
pub(super) const TERM: Duration = Duration::from_secs(15);

/// A process of `amore`.
pub(super) struct Process {
    pub(super) number: u32,
    pub(super) host: usize,
    /// What it was asked; `None`: the end of what others left.
    pub(super) request: Option<Request>,
    pub(super) started: Moment,
    pub(super) role: Role,
    /// It is of the version before, whose tasks and workers know no tokens.
    pub(super) is_old: bool,
    /// It is stopped, and this waits for it.
    pub(super) suspended: Option<Vec<Happening>>,
    /// The user has pressed Ctrl-C.
    pub(super) interrupted: bool,
    /// What its user was told, and when.
    pub(super) told: Vec<(Moment, Event)>,
}

/// What it does.
pub(super) enum Role {
    /// It wants to own the directory.
    Trying,
    /// It has handed its request over, and reads what becomes of it.
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
    /// It says that its request is not served.
    Refused(String),
    /// `kill -9`.
    Killed,
    /// Another process owns the directory now.
    Deposed,
}

/// A process that owns the directory: what the driver of the core has in hands.
pub(super) struct Owner {
    pub(super) core: Core,
    pub(super) poller: Poller<FromWorker>,
    pub(super) epoch: u64,
    /// The epoch of its lease of the ledger, once that is open.
    pub(super) ledger: Option<u64>,
    /// When the ledger is free for the next order, and whether the last write may have been made.
    pub(super) ledger_free: Moment,
    pub(super) ledger_unsure: bool,
    pub(super) worker: LocalWorker,
    pub(super) worker_number: WorkerNo,
    /// Fragments that wait for the collector, and whether it is at work.
    pub(super) to_collect: Vec<(RunKey, PathBuf)>,
    pub(super) collector: Collector,
    /// Requests of other processes, by the number of their listener.
    pub(super) listeners: BTreeMap<u64, u64>,
    /// Lines read of each attempt's worker.
    pub(super) read: BTreeMap<String, usize>,
    /// Attempts that Slurm has, or is about to have, for the core.
    pub(super) under_way: BTreeSet<String>,
    /// What the core knows of the site.
    pub(super) site: Option<Arc<SiteFacts>>,
    /// When the core is called again, at the latest.
    pub(super) wake: Option<Moment>,
    /// The core has ended; answers of Slurm are waited for.
    pub(super) closing: bool,
}

/// What the collector does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Collector {
    Idle,
    /// It waits for more, until then.
    Gathers(Moment),
    /// It merges.
    Merges,
}

impl Process {
    pub(super) fn new(number: u32, host: usize, request: Option<Request>, is_old: bool, now: Moment) -> Self {
        Process {
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

    /// As it holds leases.
    pub(super) fn holder(&self) -> Holder {
        holder(self.number, self.host)
    }

    /// For the story.
    pub(super) fn name(&self) -> String {
        format!("amore {}", self.number)
    }
}

/// A process as it holds leases.
pub(super) fn holder(number: u32, host: usize) -> Holder {
    Holder {
        host: format!("exfl-host{host}"),
        pid: number,
        token: format!("boot-{number}"),
        user: super::shell::USER.to_owned(),
        address: None,
    }
}
