//! What a service does with its directories now, for the other parts of the process: the API, metrics.

use std::{collections::BTreeMap, path::PathBuf};

use amore_model::Proposal;
use tokio::sync::watch;

use super::served::{Giver, State};

/// One directory.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The proposal whose runs it gets, once it is known.
    pub proposal: Option<Proposal>,
    /// What the service does with it.
    pub state: State,
    /// Since when, in seconds since 1970.
    pub since: f64,
    /// Gives it requests.
    pub giver: Giver,
}

/// All directories of a service. Clones share it.
#[derive(Clone, Debug)]
pub struct Overview(watch::Sender<BTreeMap<PathBuf, Seen>>);

impl Overview {
    /// One without directories.
    pub fn new() -> Self {
        Overview(watch::Sender::new(BTreeMap::new()))
    }

    /// A directory is going to be served.
    pub fn add(&self, dir: PathBuf, seen: Seen) {
        self.0.send_modify(|all| {
            all.insert(dir, seen);
        });
    }

    /// A directory is not served any more.
    pub fn remove(&self, dir: &PathBuf) {
        self.0.send_modify(|all| {
            all.remove(dir);
        });
    }

    /// Changes what is known of a directory, if it is still one of them.
    pub fn change(&self, dir: &PathBuf, change: impl FnOnce(&mut Seen)) {
        self.0.send_if_modified(|all| all.get_mut(dir).map(change).is_some());
    }

    /// All directories, by their paths.
    pub fn all(&self) -> BTreeMap<PathBuf, Seen> {
        self.0.borrow().clone()
    }
}
