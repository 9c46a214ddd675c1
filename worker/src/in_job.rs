//! What is special about working in a Slurm job.

use std::{
    collections::BTreeMap,
    env,
    sync::atomic::{AtomicBool, AtomicU8, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::job_memory::JobMemory;

/// How long the word to end may take from one process of the job to the next.
const TERM_SPREAD: Duration = Duration::from_millis(700);

/// The Slurm job that this process works in.
#[derive(Debug)]
pub struct InJob {
    pub memory: JobMemory,
    /// With what the job is to end, so that Slurm's accounting has a command's failure as one.
    pub exit_code: AtomicU8,
    /// What users' programs are given of the environment of whoever submitted.
    pub environment: BTreeMap<String, String>,
}

impl InJob {
    /// Where we are, in words.
    pub fn place(&self) -> String {
        let node = nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned());
        let job = env::var("SLURM_JOB_ID").unwrap_or_else(|_| "?".to_owned());
        format!("job {job} on {}", node.unwrap_or_default())
    }

    /// Waits a moment for the word that the job is to end.
    pub fn wait_whether_told_to_end(&self, told: &AtomicBool) {
        let patience = Instant::now() + TERM_SPREAD;
        while !told.load(Ordering::Relaxed) && Instant::now() < patience {
            thread::sleep(Duration::from_millis(20));
        }
    }
}
