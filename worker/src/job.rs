//! A worker in a Slurm job: runs the tasks of its manifest, then exits.

use std::{
    collections::VecDeque,
    env, fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
    thread,
    time::Duration,
};

use amore_wire::{
    NEWEST_VERSION, is_understood,
    manifest::{self, JobManifest},
    task::{FromWorker, Task},
};
use nix::sys::signal::{SigSet, Signal};
use sha2::{Digest, Sha256};

use crate::{
    hosts::{Hosts, Purpose},
    in_job::{InJob, restarts},
    job_memory::JobMemory,
    report::Report,
    run_task::run_task,
};

/// How often a running job checks whether its manifest still exists.
const SHEET_POLL: Duration = Duration::from_secs(2);

/// How often a job reports that it is alive.
const BEAT: Duration = Duration::from_secs(5);

/// Why a manifest cannot be executed.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// Missing or unreadable.
    #[error("the job manifest {0} cannot be read: {1}")]
    Read(PathBuf, #[source] io::Error),
    /// Not a manifest.
    #[error("the job manifest {0} is invalid: {1}")]
    Manifest(PathBuf, #[source] serde_json::Error),
    /// The coordinator has a version that this worker does not understand.
    #[error(
        "the job's manifest is of version {0}, and this worker knows version {NEWEST_VERSION}: install amore and amore-worker from \
         one build, on the nodes too"
    )]
    Version(u32),
    /// Somebody has changed it.
    #[error(
        "the job manifest {0} is not the one that this job was submitted with, and is not executed: do not edit files in .amore"
    )]
    Changed(PathBuf),
    /// The events file cannot be written.
    #[error("{0} cannot be written: {1}")]
    Events(PathBuf, #[source] io::Error),
}

/// Executes a manifest until its tasks have ended, the job is told to end, or the manifest is removed. Finished results are in
/// fragments in any case. Returns the exit code for the job.
///
/// # Errors
/// The manifest cannot be executed. A missing manifest is not an error: the coordinator no longer needs the job.
pub fn work(path: &Path, events: &Path) -> Result<u8, JobError> {
    // Blocked before any thread starts, so that only the thread below receives it.
    let mut term = SigSet::empty();
    term.add(Signal::SIGTERM);
    let _ = term.thread_block();

    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            eprintln!("the coordinator has removed this job's manifest: nothing to do");
            return Ok(0);
        }
        Err(error) => return Err(JobError::Read(path.to_owned(), error)),
    };
    if env::var(manifest::SHA256).is_ok_and(|expected| hex::encode(Sha256::digest(&text)) != expected) {
        return Err(JobError::Changed(path.to_owned()));
    }
    let manifest: JobManifest =
        serde_json::from_slice(&text).map_err(|error| JobError::Manifest(path.to_owned(), error))?;
    if !is_understood(manifest.version) {
        return Err(JobError::Version(manifest.version));
    }
    if let Some(other) = claimed_by_another(path)? {
        eprintln!("job {other} is already working on this job's manifest: nothing to do");
        return Ok(0);
    }
    let report =
        Arc::new(Report::to_file(events).map_err(|error| JobError::Events(events.to_owned(), error))?);
    report.say(&FromWorker::Hello { version: manifest.version, processes: manifest.processes });
    report.say(&FromWorker::Placed {
        host: nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
        job: env::var("SLURM_JOB_ID").ok(),
        restarts: restarts(),
        cluster: env::var("SLURM_CLUSTER_NAME").ok().filter(|name| !name.is_empty()),
    });
    say_alive(Arc::clone(&report));

    let stop = Arc::new(AtomicBool::new(false));
    stop_when_told(term, Arc::clone(&stop));
    stop_without_manifest(path.to_owned(), Arc::clone(&stop));
    let log = own_output();
    let purpose = if manifest.tasks.len() == 1 { Purpose::OneTask } else { Purpose::ManyTasks };
    let tasks: VecDeque<Task> = manifest
        .tasks
        .into_iter()
        .map(|mut task| {
            if let Some(log) = &log {
                task.log.clone_from(log);
            }
            task
        })
        .collect();
    let hosts = Arc::new(Hosts::in_job(purpose, manifest.environment.clone()));
    let job = Arc::new(InJob {
        memory: JobMemory::of_this_process(),
        exit_code: AtomicU8::new(0),
        environment: manifest.environment,
    });
    let tasks = Arc::new(Mutex::new(tasks));
    let workers: Vec<_> = (0..manifest.processes.max(1))
        .map(|_| {
            let (tasks, hosts, report) = (Arc::clone(&tasks), Arc::clone(&hosts), Arc::clone(&report));
            let (stop, job) = (Arc::clone(&stop), Arc::clone(&job));
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let next = tasks.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                    let Some(task) = next else { break };
                    run_task(&task, &hosts, &report, &stop, Some(&job));
                }
            })
        })
        .collect();
    for worker in workers {
        let _ = worker.join();
    }
    Ok(job.exit_code.load(Ordering::Relaxed))
}

/// Claims the manifest for this job: only one job executes it, even if several jobs have it (an array, a copy of the
/// script submitted by a user). A job that Slurm requeues keeps its number, and so its claim.
fn claimed_by_another(manifest: &Path) -> Result<Option<String>, JobError> {
    let Ok(job) = env::var("SLURM_JOB_ID") else { return Ok(None) };
    let path = manifest::claim(manifest);
    // A dangling symbolic link: created atomically with its content, on every file system.
    match std::os::unix::fs::symlink(&job, &path) {
        Ok(()) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let other = fs::read_link(&path).map_err(|error| JobError::Events(path, error))?;
            Ok((other != Path::new(&job)).then(|| other.display().to_string()))
        }
        Err(error) => Err(JobError::Events(path, error)),
    }
}

/// Slurm sends SIGTERM before it kills a job: at the time limit, on scancel, on preemption.
fn stop_when_told(term: SigSet, stop: Arc<AtomicBool>) {
    thread::spawn(move || {
        if term.wait().is_ok() {
            stop.store(true, Ordering::Relaxed);
        }
    });
}

/// Reports regularly that the job is alive: the coordinator then does not give it up if the queue does not show it.
fn say_alive(report: Arc<Report>) {
    thread::spawn(move || {
        loop {
            thread::sleep(BEAT);
            report.say(&FromWorker::Alive);
        }
    });
}

/// A coordinator that no longer needs this job (it was cancelled, or retried elsewhere) removes the manifest.
fn stop_without_manifest(manifest: PathBuf, stop: Arc<AtomicBool>) {
    thread::spawn(move || {
        loop {
            thread::sleep(SHEET_POLL);
            if fs::metadata(&manifest).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
                eprintln!("the coordinator has removed this job's manifest: the job ends");
                stop.store(true, Ordering::Relaxed);
                return;
            }
        }
    });
}

/// The job's log, if it is a file: the output of variables goes there too.
fn own_output() -> Option<PathBuf> {
    let path = fs::read_link("/proc/self/fd/1").ok()?;
    path.is_file().then_some(path)
}
