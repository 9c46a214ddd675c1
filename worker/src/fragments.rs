//! The fragments of one task: results are written as they arrive and made durable soon after.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use amore_results::{self as results, FragmentWriter, Provenance, StoredOutcome};
use amore_wire::{
    ended::Ended,
    task::{FromWorker, Task},
};

use crate::{in_job::restarts, report::Report};

/// A fragment is finished when no result has arrived for this long: while a variable runs, the previous one is durable.
const QUIET: Duration = Duration::from_millis(5);
/// Results of variables that take milliseconds share one synced file; a killed worker loses at most this much
/// finished work.
const LINGER: Duration = Duration::from_millis(30);

/// Facts about one call of a function.
#[derive(Clone, Debug, Default)]
pub struct Call {
    /// Unix time at which it started.
    pub started_at: f64,
    /// Wall seconds.
    pub seconds: f64,
    /// CPU seconds.
    pub cpu_seconds: f64,
    /// Peak resident memory of its process, KiB.
    pub max_rss_kib: u64,
    /// Why the stored value differs from the returned value.
    pub differs: Option<String>,
    /// The user's traceback.
    pub traceback: Option<String>,
}

/// Writes the results of one task.
#[derive(Debug)]
pub struct Fragments<'a> {
    task: &'a Task,
    report: &'a Report,
    python: String,
    environment: String,
    host: String,
    slurm_job: Option<String>,
    restarts: u32,
    start_time: Option<f64>,
    open: Option<OpenFragment>,
    /// Path of the file with each stored variable.
    places: HashMap<String, PathBuf>,
    /// Names of values that were received but could not be made durable.
    lost: Vec<String>,
}

/// A fragment that is being written.
#[derive(Debug)]
struct OpenFragment {
    writer: FragmentWriter,
    /// When the first and the last result arrived.
    first: Instant,
    last: Instant,
    /// Values in it.
    names: Vec<String>,
}

/// Unix time, now.
pub fn unix_now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// Creates the directory of fragments and run files.
///
/// # Errors
/// Errors of the file system.
pub fn make_folder(folder: &Path) -> Result<(), results::ResultsError> {
    let failed = |source| results::ResultsError::Io { action: "making", path: folder.to_owned(), source };
    fs::create_dir_all(folder).map_err(failed)
}

impl<'a> Fragments<'a> {
    /// Starts without a fragment.
    pub fn new(task: &'a Task, report: &'a Report, python: &str, environment: &str) -> Self {
        Fragments {
            task,
            report,
            python: python.to_owned(),
            environment: environment.to_owned(),
            host: nix::unistd::gethostname()
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default(),
            slurm_job: std::env::var("SLURM_JOB_ID").ok(),
            restarts: restarts(),
            start_time: None,
            open: None,
            places: HashMap::new(),
            lost: Vec::new(),
        }
    }

    /// The directory of the fragments and the run file.
    pub fn extracted_data(&self) -> PathBuf {
        self.task.directory.join("extracted_data")
    }

    /// The run's start time, written into every fragment.
    pub fn set_start_time(&mut self, start_time: f64) {
        self.start_time = Some(start_time);
    }

    fn provenance(&self, name: &str, outcome: StoredOutcome, call: Call) -> Provenance {
        let fingerprint =
            self.task.steps.iter().find(|step| step.name == name).map(|step| step.fingerprint.clone());
        Provenance {
            stamp: self.task.stamp,
            attempt: self.task.attempt,
            token: self.task.token.clone(),
            restarts: self.restarts,
            task: self.task.id.clone(),
            outcome,
            context_sha256: self.task.context.sha256.clone(),
            fingerprint: fingerprint.unwrap_or_default(),
            environment: self.environment.clone(),
            python: self.python.clone(),
            host: self.host.clone(),
            slurm_job: self.slurm_job.clone(),
            started_at: call.started_at,
            seconds: call.seconds,
            cpu_seconds: call.cpu_seconds,
            max_rss_kib: call.max_rss_kib,
            differs: call.differs,
            traceback: call.traceback,
            foreign: false,
        }
    }

    fn writer(&mut self) -> Result<&mut FragmentWriter, results::ResultsError> {
        if self.open.is_none() {
            let folder = self.extracted_data();
            make_folder(&folder)?;
            let context = self.task.context.path.file_name().map(|name| name.to_string_lossy().into_owned());
            let context = context.unwrap_or_else(|| "context.py".to_owned());
            let mut writer = FragmentWriter::create(&folder, self.task.proposal, self.task.run, &context)?;
            if let Some(start_time) = self.start_time {
                writer.start_time(start_time, self.task.mock)?;
            }
            let now = Instant::now();
            self.open = Some(OpenFragment { writer, first: now, last: now, names: Vec::new() });
        }
        match &mut self.open {
            Some(open) => {
                open.last = Instant::now();
                Ok(&mut open.writer)
            }
            None => unreachable!("opened above"),
        }
    }

    fn noted(&mut self, name: &str) {
        if let Some(open) = &mut self.open {
            open.names.push(name.to_owned());
            open.last = Instant::now();
        }
    }

    /// Stores a value.
    ///
    /// # Errors
    /// The fragment cannot be written.
    pub fn value(
        &mut self,
        name: &str,
        value: &results::Value<'_>,
        call: Call,
    ) -> Result<(), results::ResultsError> {
        let provenance = self.provenance(name, StoredOutcome::Value, call);
        self.writer()?.value(name, value, &provenance)?;
        self.noted(name);
        Ok(())
    }

    /// Stores the outcome of a variable without a value.
    ///
    /// # Errors
    /// The fragment cannot be written.
    pub fn without_value(
        &mut self,
        name: &str,
        how: &Ended,
        call: Call,
    ) -> Result<(), results::ResultsError> {
        match how {
            Ended::Nothing => {
                let provenance = self.provenance(name, StoredOutcome::Nothing, call);
                self.writer()?.nothing(name, &provenance)
            }
            Ended::Error { class, message } => self.error(name, class, message, call),
            Ended::Skipped { message } => {
                let provenance = self.provenance(name, StoredOutcome::Skipped, call);
                self.writer()?.skipped(name, message, &provenance)
            }
        }
    }

    /// Stores an error.
    ///
    /// # Errors
    /// The fragment cannot be written.
    pub fn error(
        &mut self,
        name: &str,
        class: &str,
        message: &str,
        call: Call,
    ) -> Result<(), results::ResultsError> {
        let provenance = self.provenance(name, StoredOutcome::Error, call);
        self.writer()?.error(name, class, message, &provenance)
    }

    /// Records the names that are no longer variables.
    ///
    /// # Errors
    /// The fragment cannot be written.
    pub fn forget(&mut self) -> Result<(), results::ResultsError> {
        for name in &self.task.forget {
            let provenance = self.provenance(name, StoredOutcome::Removed, Call::default());
            self.writer()?.forget(name, &provenance)?;
        }
        Ok(())
    }

    /// When the open fragment has to be finished.
    pub fn due(&self) -> Option<Instant> {
        self.open.as_ref().map(|open| (open.last + QUIET).min(open.first + LINGER))
    }

    /// Makes the written results durable and reports them.
    ///
    /// # Errors
    /// The fragment cannot be written, and its results are lost.
    pub fn flush(&mut self) -> Result<(), results::ResultsError> {
        let Some(OpenFragment { writer, names, .. }) = self.open.take() else { return Ok(()) };
        let path = match writer.finish() {
            Ok(path) => path,
            Err(error) => {
                self.lost.extend(names);
                return Err(error);
            }
        };
        for name in names {
            self.places.insert(name, path.clone());
        }
        self.report.say(&FromWorker::Fragment {
            of: self.task.attempt_id(),
            proposal: self.task.proposal,
            run: self.task.run,
            path,
        });
        Ok(())
    }

    /// Records that a value could not be stored because of lack of space.
    pub fn lose(&mut self, name: &str) {
        self.lost.push(name.to_owned());
    }

    /// The values that could not be stored, and those that are not durable yet; for use when nothing more can be written.
    pub fn lost(&mut self) -> Vec<String> {
        let open = self.open.take().map(|open| open.names).unwrap_or_default();
        self.lost.drain(..).chain(open).collect()
    }

    /// Records where an earlier worker stored a value of this task.
    pub fn stands_in(&mut self, name: &str, path: PathBuf) {
        self.places.insert(name.to_owned(), path);
    }

    /// The file with a stored value of this task. It may have been collected since; then the run file has the value.
    pub fn place(&self, name: &str) -> Option<&PathBuf> {
        self.places.get(name)
    }
}
