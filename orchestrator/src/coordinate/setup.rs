//! What the driver and the core need to know about the site and the user's settings.

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

/// Configuration of the driver.
#[derive(Debug)]
pub struct Setup {
    pub dir: DatabaseDir,
    pub proposal: Proposal,
    /// The user's Python.
    pub python: PathBuf,
    /// Number of concurrent child processes.
    pub processes: usize,
    /// Limits for each variable.
    pub limits: Limits,
    /// The handle to Slurm.
    pub slurm: Slurm,
    /// Settings of Slurm jobs, if Slurm is available and jobs are wanted.
    pub slurm_settings: Option<SlurmSettings>,
}

impl Setup {
    /// The core's configuration, for a term with this epoch.
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

/// Why Slurm jobs are not available.
fn why_no_slurm() -> &'static str {
    if installed() {
        "no Slurm jobs are wanted"
    } else if switched_off() {
        "Slurm is switched off (AMORE_NO_SLURM)"
    } else {
        "there is no Slurm here (no sbatch on PATH)"
    }
}

/// The only variables of this process's environment that jobs get: where the data and our package are.
const PASSED_ON: [&str; 2] = ["EXTRA_DATA_DATA_ROOT", "AMORE_PYTHONPATH"];

/// The environment of jobs, from that of this process.
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

/// The environment of Python in a job, from that of this process.
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

/// The umask of this process, read from the kernel without changing it. Linux before 4.7 does not report it; then a
/// restrictive one is used.
fn own_umask() -> u32 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let umask = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    umask.and_then(|octal| u32::from_str_radix(octal.trim(), 8).ok()).unwrap_or(0o007)
}
