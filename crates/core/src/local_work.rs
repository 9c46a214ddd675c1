//! What is computed on this host, or waits for that: for `amore jobs` and `amore explain`, as the owner leaves it in a file.
//! The ledger has tasks of requests with Slurm jobs only.

use amore_model::{Proposal, Run, Urgency};
use serde::{Deserialize, Serialize};

/// The most tasks that are shown.
pub const MOST: usize = 1000;

/// The unfinished work of an owner on its host.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LocalWork {
    /// Since when the context file is being executed, to learn which variables there are (Unix time).
    #[serde(default)]
    pub reading_context_since: Option<f64>,
    /// Requests whose plan is not made yet.
    #[serde(default)]
    pub unplanned: usize,
    /// The tasks, in the order in which they were planned.
    #[serde(default)]
    pub tasks: Vec<LocalTask>,
    /// How many there are in addition.
    #[serde(default)]
    pub more: usize,
}

impl LocalWork {
    /// There is none.
    pub fn is_empty(&self) -> bool {
        self.unplanned == 0 && self.tasks.is_empty()
    }
}

/// A task that is computed on this host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LocalTask {
    /// Its id.
    pub id: String,
    /// Its proposal.
    pub proposal: Proposal,
    /// Its run.
    pub run: Run,
    /// The names of what it computes.
    pub names: Vec<String>,
    /// How urgent its request is.
    pub urgency: Urgency,
    /// What it does now.
    pub now: LocalState,
}

/// What a task does now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum LocalState {
    /// It is executed.
    Running {
        /// Since when (Unix time).
        since: f64,
    },
    /// All processes that its directory may have are busy.
    WaitsForProcess,
    /// It needs values of other tasks.
    WaitsForOthers {
        /// What those compute.
        names: Vec<String>,
    },
}
