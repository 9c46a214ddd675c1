//! What the driver and the core need to know about the site and the user's settings.

use amore_core::{activity::Activity, job_asked::JobEnvironment};
use amore_model::{
    DatabaseDir, Proposal, Sandbox,
    python_environment::{HANDED_ON, PYTHONPATH, absolute_search_path},
};

use crate::{
    dispatch::{
        local,
        slurm::{
            Slurm,
            asked::SlurmSettings,
            client::{installed, switched_off},
        },
    },
    execution::Execution,
};

/// Configuration of the driver.
#[derive(Debug)]
pub struct Setup {
    pub dir: DatabaseDir,
    pub proposal: Proposal,
    /// How the context file is executed.
    pub execution: Execution,
    /// Number of concurrent child processes.
    pub processes: usize,
    /// The handle to Slurm.
    pub slurm: Slurm,
    /// Settings of Slurm jobs, if Slurm is available and jobs are wanted.
    pub slurm_settings: Option<SlurmSettings>,
    /// What Slurm does not take is computed on this host.
    pub takes_refused: bool,
    /// What user code is executed in; `None` is no sandbox.
    pub sandbox: Option<Sandbox>,
    /// Whoever watches the directory.
    pub watcher: Option<Watcher>,
}

/// Whoever watches a directory: is called with all that happens there. It must not block.
pub struct Watcher(Box<dyn Fn(Activity) + Send + Sync>);

impl Watcher {
    pub fn new(watch: impl Fn(Activity) + Send + Sync + 'static) -> Self {
        Watcher(Box::new(watch))
    }

    /// Tells it what has happened.
    pub fn tell(&self, activity: Activity) {
        (self.0)(activity);
    }
}

impl std::fmt::Debug for Watcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Watcher")
    }
}

impl Setup {
    /// The core's configuration, for a term with this epoch.
    pub fn for_core(&self, epoch: u64) -> amore_core::Setup {
        amore_core::Setup {
            dir: self.dir.clone(),
            proposal: self.proposal,
            python: self.execution.python.clone(),
            processes: self.processes,
            limits: self.execution.limits,
            slurm: self.slurm_settings.clone(),
            takes_refused: self.takes_refused,
            why_no_slurm: why_no_slurm().to_owned(),
            job_environment: job_environment(&self.slurm, self.sandbox.as_ref()),
            python_environment: python_environment(),
            sandbox: self.sandbox.clone(),
            watched: self.watcher.is_some(),
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
pub fn job_environment(slurm: &Slurm, sandbox: Option<&Sandbox>) -> JobEnvironment {
    JobEnvironment {
        worker: local::program().display().to_string(),
        umask: amore_shared_files::umask::own(),
        variables: PASSED_ON
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)))
            .collect(),
        without: slurm.not_for_jobs(),
        sandboxed: sandbox.is_some(),
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
