//! Has a Python of the user's submit results that were computed elsewhere: `damnit_ctx.submission_command`.

use std::{
    env, io,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
};

use amore_model::python_environment::{LEFT_OUT, PYTHONPATH, package_candidates};
use serde_json::Value;

use super::local;
use crate::advice::Advice;

/// Why results were not stored.
#[derive(Debug, thiserror::Error)]
pub enum SubmissionError {
    /// The program does not know where it is.
    #[error("cannot find this program: {0}")]
    NoProgram(io::Error),
    /// The installation is not complete.
    #[error("the Python package damnit_ctx is not next to {}", program.display())]
    NoPackage { program: PathBuf },
    /// The search path cannot be passed on.
    #[error("PYTHONPATH cannot be extended: {0}")]
    SearchPath(env::JoinPathsError),
    /// The Python cannot be started.
    #[error("the Python {} cannot be used: {source}", python.display())]
    Python { python: PathBuf, source: io::Error },
    /// The Python lacks NumPy.
    #[error("the Python {} has no NumPy", python.display())]
    NoNumpy { python: PathBuf },
    /// The results are refused.
    #[error("{0}")]
    Refused(String),
    /// It has ended without a word.
    #[error("Python ended: {0}")]
    Ended(ExitStatus),
}

impl Advice for SubmissionError {
    fn hint(&self) -> Option<String> {
        let hint = match self {
            SubmissionError::NoPackage { .. } => {
                "reinstall Amore (make install), or set AMORE_PYTHONPATH to the directory of damnit_ctx"
            }
            SubmissionError::Python { .. } | SubmissionError::NoNumpy { .. } => {
                "give another one with --python or AMORE_CONTEXT_PYTHON, or load one (module load exfel)"
            }
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

/// Submits results. Gives what is to be said to the user, if anything is.
///
/// # Errors
/// Nothing was stored.
pub fn submit(python: &Path, asked: &Value) -> Result<Option<String>, SubmissionError> {
    let mut search_path = vec![package()?];
    if let Some(others) = env::var_os(PYTHONPATH) {
        search_path.extend(env::split_paths(&others));
    }
    let search_path = env::join_paths(search_path).map_err(SubmissionError::SearchPath)?;
    let unusable = |source| SubmissionError::Python { python: python.to_owned(), source };
    let mut command = Command::new(python);
    command
        .args(["-m", "damnit_ctx.submission_command"])
        .env(PYTHONPATH, search_path)
        .env("AMORE_WORKER", local::program())
        // The working directory is first on Python's search path.
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    for name in LEFT_OUT {
        command.env_remove(name);
    }
    let mut process = command.spawn().map_err(unusable)?;
    if let Some(mut input) = process.stdin.take() {
        // If it has ended, it says why.
        let _ = input.write_all(asked.to_string().as_bytes());
    }
    let ended = process.wait_with_output().map_err(unusable)?;
    let words = String::from_utf8_lossy(&ended.stderr).trim().to_owned();
    match (ended.status.success(), words.is_empty()) {
        (true, is_empty) => Ok((!is_empty).then_some(words)),
        (false, true) => Err(SubmissionError::Ended(ended.status)),
        (false, false) if words.contains("No module named 'numpy'") => {
            Err(SubmissionError::NoNumpy { python: python.to_owned() })
        }
        (false, false) => Err(SubmissionError::Refused(words)),
    }
}

/// The directory of `damnit_ctx`.
fn package() -> Result<PathBuf, SubmissionError> {
    if let Some(given) = env::var_os("AMORE_PYTHONPATH") {
        return Ok(PathBuf::from(given));
    }
    let program = env::current_exe().and_then(|path| path.canonicalize());
    let program = program.map_err(SubmissionError::NoProgram)?;
    let found = package_candidates(&program).into_iter().find(|folder| folder.join("damnit_ctx").is_dir());
    found.ok_or(SubmissionError::NoPackage { program })
}
