//! Facts about the Slurm job that the worker runs in.

use std::{
    collections::BTreeMap,
    env,
    sync::atomic::{AtomicBool, AtomicU8, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::job_memory::JobMemory;

/// How much later than another process of the job this one may receive the signal to end.
const TERM_SPREAD: Duration = Duration::from_millis(700);

/// How often Slurm has requeued this process's job.
pub fn restarts() -> u32 {
    env::var("SLURM_RESTART_COUNT").ok().and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// The Slurm job that this process works in.
#[derive(Debug)]
pub struct InJob {
    pub memory: JobMemory,
    /// The job's exit code, so that Slurm's accounting records the failure of a command.
    pub exit_code: AtomicU8,
    /// Variables of the submitter's environment that are passed to users' programs.
    pub environment: BTreeMap<String, String>,
}

impl InJob {
    /// Job and node, for messages.
    pub fn place(&self) -> String {
        let node = nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned());
        let job = env::var("SLURM_JOB_ID").unwrap_or_else(|_| "?".to_owned());
        format!("job {job} on {}", node.unwrap_or_default())
    }

    /// Waits a moment for the signal that tells the job to end.
    pub fn wait_whether_told_to_end(&self, told: &AtomicBool) {
        let patience = Instant::now() + TERM_SPREAD;
        while !told.load(Ordering::Relaxed) && Instant::now() < patience {
            thread::sleep(Duration::from_millis(20));
        }
    }
}
