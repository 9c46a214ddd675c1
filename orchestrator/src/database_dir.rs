//! A database directory (`usr/Shared/amore` of a proposal) and the paths of its files.

use std::{
    env,
    path::{Path, PathBuf},
};

use amore_model::{Proposal, Run};
use serde::{Deserialize, Serialize};

use crate::{failure::Failure, site};

/// The directory that holds `context.py`, `runs.sqlite` and `extracted_data/`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DatabaseDir(PathBuf);

impl DatabaseDir {
    /// From `--in`: a directory or a proposal number; the working directory if nothing is given.
    pub fn locate(given: Option<&str>) -> Result<Self, Failure> {
        let here = || {
            env::current_dir()
                .map_err(|error| Failure::new(format!("the working directory is gone: {error}")))
        };
        let path = match given {
            None => here()?,
            Some(text) if Path::new(text).is_dir() => here()?.join(text),
            Some(text) => match text.parse::<Proposal>() {
                Ok(proposal) => site::find_proposal(proposal)?.join("usr/Shared/amore"),
                Err(_) => {
                    return Err(Failure::new(format!(
                        "{text:?} is neither a directory nor a proposal number"
                    )));
                }
            },
        };
        Ok(DatabaseDir(path.canonicalize().unwrap_or(path)))
    }

    pub fn at(path: PathBuf) -> Self {
        DatabaseDir(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn run_table(&self) -> PathBuf {
        self.0.join("runs.sqlite")
    }

    pub fn context_file(&self) -> PathBuf {
        self.0.join("context.py")
    }

    /// Fragments and run files.
    pub fn extracted_data(&self) -> PathBuf {
        self.0.join("extracted_data")
    }

    pub fn run_file(&self, proposal: Proposal, run: Run) -> PathBuf {
        self.extracted_data().join(format!("p{proposal}_r{run}.h5"))
    }

    /// A run's log: the output of its variables.
    pub fn run_log(&self, proposal: Proposal, run: Run) -> PathBuf {
        self.0.join("process_logs").join(format!("r{run}-p{proposal}.out"))
    }

    pub fn ledger(&self) -> PathBuf {
        self.0.join(".amore").join(amore_ledger::FILE_NAME)
    }

    /// Logs of Slurm jobs.
    pub fn slurm_logs(&self) -> PathBuf {
        self.0.join("slurm_logs")
    }

    /// The log of a Slurm job. `mark` is part of its name if the number alone is ambiguous.
    pub fn slurm_log(&self, proposal: Proposal, run: Run, number: u64, mark: Option<&str>) -> PathBuf {
        let mark = mark.map(|mark| format!(".{mark}")).unwrap_or_default();
        self.slurm_logs().join(format!("r{run}-p{proposal}-{number}{mark}.out"))
    }

    /// The directory of a variable's own Slurm job: emptied for each execution of its command.
    pub fn job_directory(&self, proposal: Proposal, run: Run, variable: &str) -> PathBuf {
        self.0.join("jobs").join(format!("r{run}-p{proposal}")).join(variable)
    }

    /// The output of a variable's command that is executed on this machine.
    pub fn command_log(&self, proposal: Proposal, run: Run, variable: &str) -> PathBuf {
        self.0.join("process_logs").join(format!("r{run}-p{proposal}-{variable}.out"))
    }

    /// Requests of other processes to the owner of this directory.
    pub fn requests(&self) -> PathBuf {
        self.0.join(".amore").join("requests")
    }

    /// Fails if the directory has no run table, and explains what is expected.
    pub fn must_have_run_table(&self) -> Result<(), Failure> {
        if self.run_table().exists() {
            return Ok(());
        }
        Err(Failure::new(format!("{} is not a database directory: there is no runs.sqlite in it", self.0.display())).hint(
            "go to the database directory of your proposal (usr/Shared/amore, where context.py is), or make this one such a \
             directory with: amore-proto proposal <number>",
        ))
    }
}
