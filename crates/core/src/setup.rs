//! What the core is given at its start.

use std::{collections::BTreeMap, path::PathBuf};

use amore_model::{DatabaseDir, Proposal};
use amore_slurm::settings::SlurmSettings;
use amore_wire::task::Limits;

use crate::job_asked::JobEnvironment;

/// The directory, the host, and what the user wants.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The directory.
    pub dir: DatabaseDir,
    /// The proposal of the directory.
    pub proposal: Proposal,
    /// The user's Python.
    pub python: PathBuf,
    /// Child processes side by side.
    pub processes: usize,
    /// Bounds on each variable.
    pub limits: Limits,
    /// Settings of Slurm, if there is Slurm and jobs are wanted.
    pub slurm: Option<SlurmSettings>,
    /// Why there are no jobs, for the user: `no Slurm jobs are wanted`.
    pub why_no_slurm: String,
    /// What jobs are given of this process's environment.
    pub job_environment: JobEnvironment,
    /// What Python in a job is given of this process's environment.
    pub python_environment: BTreeMap<String, String>,
    /// The epoch of the ownership: greater than that of every earlier owner.
    pub epoch: u64,
    /// The number of this process: distinguishes its tokens from those of others that start in the same microsecond.
    pub process: u32,
}

impl Setup {
    /// The first owner of a directory, without Slurm, with one child process and no bounds.
    pub fn new(dir: DatabaseDir, proposal: Proposal, python: PathBuf) -> Self {
        Setup {
            dir,
            proposal,
            python,
            processes: 1,
            limits: Limits::default(),
            slurm: None,
            why_no_slurm: String::new(),
            job_environment: JobEnvironment::default(),
            python_environment: BTreeMap::new(),
            epoch: 1,
            process: 1,
        }
    }
}
