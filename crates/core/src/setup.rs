//! What the core is given at its start.

use std::{collections::BTreeMap, path::PathBuf};

use amore_model::{DatabaseDir, Proposal, Sandbox};
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
    /// What Slurm does not take is computed here.
    pub takes_refused: bool,
    /// Why there are no jobs, for the user: `no Slurm jobs are wanted`.
    pub why_no_slurm: String,
    /// What jobs are given of this process's environment.
    pub job_environment: JobEnvironment,
    /// What Python in a job is given of this process's environment.
    pub python_environment: BTreeMap<String, String>,
    /// What user code is executed in, here and in jobs; `None` is no sandbox. The administrator decides, not the database.
    pub sandbox: Option<Sandbox>,
    /// Somebody may watch what happens in the directory: it is published.
    pub watched: bool,
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
            takes_refused: false,
            why_no_slurm: String::new(),
            job_environment: JobEnvironment::default(),
            python_environment: BTreeMap::new(),
            sandbox: None,
            watched: false,
            epoch: 1,
            process: 1,
        }
    }
}
