//! What a Slurm job of ours is to do, and what it says of it: two files in the database directory.
//!
//! The coordinator writes the sheet, `.amore/jobs/<token>.json`, before it submits the job; the worker in the job
//! appends [`FromWorker`](crate::task::FromWorker) lines to `.amore/jobs/<token>.events`. These words only make things
//! fast: results stand in fragments, and a job whose sheet is gone has nothing to do any more.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::task::Task;

/// The tasks of one Slurm job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobSheet {
    /// [`crate::VERSION`] of the coordinator.
    pub version: u32,
    /// Names the attempt; stands in the job's comment too.
    pub token: String,
    /// What to compute.
    pub tasks: Vec<Task>,
    /// Children side by side.
    pub processes: u32,
    /// What the Python of context files is given of the environment of whoever submitted
    /// ([`amore_model::python_environment`]); nothing, from an older version.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
}

/// The folder of sheets and events in a database directory.
pub fn folder(directory: &Path) -> PathBuf {
    directory.join(".amore").join("jobs")
}

/// Where the sheet of a token stands.
pub fn sheet(directory: &Path, token: &str) -> PathBuf {
    folder(directory).join(format!("{token}.json"))
}

/// Where the worker of a token writes what happens.
pub fn events(directory: &Path, token: &str) -> PathBuf {
    folder(directory).join(format!("{token}.events"))
}

/// Where the job stands that works on the sheet of a token. A job of another number has nothing to do there.
pub fn claim(sheet: &Path) -> PathBuf {
    sheet.with_extension("claim")
}
