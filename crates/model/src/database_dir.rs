//! A database directory (`usr/Shared/amore` of a proposal) and the names of what lies in it.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{Proposal, Run};

/// The directory that holds `context.py`, `runs.sqlite` and `extracted_data/`. Only names: nothing here looks at the disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DatabaseDir(PathBuf);

impl DatabaseDir {
    /// This directory.
    pub fn at(path: PathBuf) -> Self {
        DatabaseDir(path)
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The run table.
    pub fn run_table(&self) -> PathBuf {
        self.0.join("runs.sqlite")
    }

    /// The context file.
    pub fn context_file(&self) -> PathBuf {
        self.0.join("context.py")
    }

    /// Fragments and run files.
    pub fn extracted_data(&self) -> PathBuf {
        self.0.join("extracted_data")
    }

    /// A run's file.
    pub fn run_file(&self, proposal: Proposal, run: Run) -> PathBuf {
        self.extracted_data().join(format!("p{proposal}_r{run}.h5"))
    }

    /// A run's log: what its variables printed.
    pub fn run_log(&self, proposal: Proposal, run: Run) -> PathBuf {
        self.0.join("process_logs").join(format!("r{run}-p{proposal}.out"))
    }

    /// Logs of Slurm jobs.
    pub fn slurm_logs(&self) -> PathBuf {
        self.0.join("slurm_logs")
    }

    /// The log of a Slurm job. `mark` stands in its name where the number alone would not do.
    pub fn slurm_log(&self, proposal: Proposal, run: Run, number: u64, mark: Option<&str>) -> PathBuf {
        let mark = mark.map(|mark| format!(".{mark}")).unwrap_or_default();
        self.slurm_logs().join(format!("r{run}-p{proposal}-{number}{mark}.out"))
    }

    /// The directory of a variable's own Slurm job: emptied before each execution of its command.
    pub fn job_directory(&self, proposal: Proposal, run: Run, variable: &str) -> PathBuf {
        self.0.join("jobs").join(format!("r{run}-p{proposal}")).join(variable)
    }

    /// The output of a variable's command that is executed here.
    pub fn command_log(&self, proposal: Proposal, run: Run, variable: &str) -> PathBuf {
        self.0.join("process_logs").join(format!("r{run}-p{proposal}-{variable}.out"))
    }

    /// What is ours alone: the embedded ledger, requests, manifests of jobs.
    pub fn own_files(&self) -> PathBuf {
        self.0.join(".amore")
    }

    /// Requests of other processes to the owner of this directory.
    pub fn requests(&self) -> PathBuf {
        self.own_files().join("requests")
    }
}
