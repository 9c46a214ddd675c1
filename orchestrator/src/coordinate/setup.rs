//! What the driver needs to know of the site and the user's wishes, and what the core is told of it.

use std::path::PathBuf;

use amore_core::job_asked::JobEnvironment;
use amore_model::{
    DatabaseDir, Proposal,
    python_environment::{HANDED_ON, PYTHONPATH, absolute_search_path},
};
use amore_wire::task::Limits;

use crate::dispatch::{
    local,
    slurm::{
        Slurm,
        asked::SlurmSettings,
        client::{installed, switched_off},
    },
};

/// What the driver needs to know.
#[derive(Debug)]
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
    /// The way to Slurm.
    pub slurm: Slurm,
    /// What jobs ask for, if there is Slurm and jobs are wanted.
    pub slurm_settings: Option<SlurmSettings>,
}

impl Setup {
    /// What the core is told, for a term with this epoch.
    pub fn for_core(&self, epoch: u64) -> amore_core::Setup {
        amore_core::Setup {
            dir: self.dir.clone(),
            proposal: self.proposal,
            python: self.python.clone(),
            processes: self.processes,
            limits: self.limits,
            slurm: self.slurm_settings.clone(),
            why_no_slurm: why_no_slurm().to_owned(),
            job_environment: job_environment(&self.slurm),
            python_environment: python_environment(),
            epoch,
            process: std::process::id(),
        }
    }
}

/// Why there are no jobs.
fn why_no_slurm() -> &'static str {
    if installed() {
        "no Slurm jobs are wanted"
    } else if switched_off() {
        "Slurm is switched off (AMORE_NO_SLURM)"
    } else {
        "there is no Slurm here (no sbatch on PATH)"
    }
}

/// All that a job is given of our environment: where the data and our package are.
const PASSED_ON: [&str; 2] = ["EXTRA_DATA_DATA_ROOT", "AMORE_PYTHONPATH"];

/// What jobs are given of this process's environment.
pub fn job_environment(slurm: &Slurm) -> JobEnvironment {
    JobEnvironment {
        worker: local::program().display().to_string(),
        umask: own_umask(),
        variables: PASSED_ON
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)))
            .collect(),
        without: slurm.not_for_jobs(),
    }
}

/// What Python in a job is given of this process's environment.
fn python_environment() -> std::collections::BTreeMap<String, String> {
    let given =
        |name: &&str| Some(((*name).to_owned(), std::env::var(name).ok().filter(|it| !it.is_empty())?));
    let mut environment: std::collections::BTreeMap<String, String> =
        HANDED_ON.iter().filter_map(given).collect();
    if let Some(path) = environment.get_mut(PYTHONPATH)
        && let Ok(here) = std::env::current_dir()
    {
        *path = absolute_search_path(path, &here);
    }
    environment
}

/// The umask of this process. The kernel tells it without it being changed; before Linux 4.7 a careful one is taken.
fn own_umask() -> u32 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let umask = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    umask.and_then(|octal| u32::from_str_radix(octal.trim(), 8).ok()).unwrap_or(0o007)
}
