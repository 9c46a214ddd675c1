//! A database directory (`usr/Shared/amore` of a proposal) and the paths of its files.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{Proposal, Run};

/// The directory that contains `context.py`, `runs.sqlite` and `extracted_data/`. This type only constructs paths, and
/// never accesses the disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DatabaseDir(PathBuf);

impl DatabaseDir {
    /// The directory at this path.
    pub fn at(path: PathBuf) -> Self {
        DatabaseDir(path)
    }

    /// Path of the directory itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Path of the run table.
    pub fn run_table(&self) -> PathBuf {
        self.0.join("runs.sqlite")
    }

    /// Path of the context file.
    pub fn context_file(&self) -> PathBuf {
        self.0.join("context.py")
    }

    /// Directory of fragments and run files.
    pub fn extracted_data(&self) -> PathBuf {
        self.0.join("extracted_data")
    }

    /// Path of a run file.
    pub fn run_file(&self, proposal: Proposal, run: Run) -> PathBuf {
        self.extracted_data().join(format!("p{proposal}_r{run}.h5"))
    }

    /// Path of a run's log, with the output of its variables.
    pub fn run_log(&self, proposal: Proposal, run: Run) -> PathBuf {
        self.0.join("process_logs").join(format!("r{run}-p{proposal}.out"))
    }

    /// Directory of the logs of Slurm jobs.
    pub fn slurm_logs(&self) -> PathBuf {
        self.0.join("slurm_logs")
    }

    /// Path of a Slurm job's log. `mark` is included in its name if the number alone is not unique.
    pub fn slurm_log(&self, proposal: Proposal, run: Run, number: u64, mark: Option<&str>) -> PathBuf {
        let mark = mark.map(|mark| format!(".{mark}")).unwrap_or_default();
        self.slurm_logs().join(format!("r{run}-p{proposal}-{number}{mark}.out"))
    }

    /// Directory of a variable's own Slurm job. It is emptied before each execution of its command.
    pub fn job_directory(&self, proposal: Proposal, run: Run, variable: &str) -> PathBuf {
        self.0.join("jobs").join(format!("r{run}-p{proposal}")).join(variable)
    }

    /// Path of the output of a variable's command that is executed without Slurm.
    pub fn command_log(&self, proposal: Proposal, run: Run, variable: &str) -> PathBuf {
        self.0.join("process_logs").join(format!("r{run}-p{proposal}-{variable}.out"))
    }

    /// Directory of Amore's private files: the embedded ledger, requests, job manifests.
    pub fn own_files(&self) -> PathBuf {
        self.0.join(".amore")
    }

    /// Directory of other processes' requests to the owner.
    pub fn requests(&self) -> PathBuf {
        self.own_files().join("requests")
    }
}
