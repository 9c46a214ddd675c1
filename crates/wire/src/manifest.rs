//! The manifest of a Slurm job and the messages of its worker: two files in the database directory.
//!
//! The coordinator writes the manifest, `.amore/jobs/<token>.json`, before it submits the job; the worker in the job
//! appends [`FromWorker`](crate::task::FromWorker) lines to `.amore/jobs/<token>.events`. These messages only speed things
//! up: results are in fragments, and a job whose manifest was removed has nothing to do.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::task::Task;

/// The tasks of one Slurm job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobManifest {
    /// The version of its tasks ([`Task::version`]).
    pub version: u32,
    /// Identifies the attempt; also in the job's comment.
    pub token: String,
    /// What to compute.
    pub tasks: Vec<Task>,
    /// Number of concurrent children.
    pub processes: u32,
    /// The variables that the Python of context files gets from the environment of whoever submitted the job
    /// ([`amore_model::python_environment`]); empty from an older version.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
}

/// The variable of a sandboxed job's environment with the SHA-256 of its manifest, in hexadecimal. The job's script sets it,
/// which users cannot change: a manifest that was changed is not executed.
pub const SHA256: &str = "AMORE_MANIFEST_SHA256";

/// The folder of manifests and events in a database directory.
pub fn folder(directory: &Path) -> PathBuf {
    directory.join(".amore").join("jobs")
}

/// Path of the manifest of a token.
pub fn path(directory: &Path, token: &str) -> PathBuf {
    folder(directory).join(format!("{token}.json"))
}

/// Path of the file that the worker of a token writes its messages to.
pub fn events(directory: &Path, token: &str) -> PathBuf {
    folder(directory).join(format!("{token}.events"))
}

/// Path of the file that names the job that has claimed the manifest. A job with another number must not execute it.
pub fn claim(manifest: &Path) -> PathBuf {
    manifest.with_extension("claim")
}
