//! How the settings of a database say its context file is executed: with which Python, and within which limits.

use std::{collections::BTreeMap, env, path::PathBuf};

use amore_run_table::{RunTable, RunTableError, SettingValue};
use amore_wire::task::Limits;

use crate::{advice::Advice, dispatch::slurm::asked::memory_bytes};

/// The longest time limit of a variable in seconds: 30 years.
const LONGEST: f64 = 1e9;
/// The largest limit of memory: 1 EiB.
const MOST_BYTES: f64 = (1_u64 << 60) as f64;

/// The settings of a database, by name.
pub type Settings = BTreeMap<String, SettingValue>;

/// Settings that say how a context file is executed cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ExecutionError {
    /// They cannot be read.
    #[error(transparent)]
    Table(#[from] RunTableError),
    /// One has an invalid value, or is missing.
    #[error("{message}")]
    Setting { message: String, hint: &'static str },
}

impl ExecutionError {
    fn setting(message: impl Into<String>, hint: &'static str) -> Self {
        ExecutionError::Setting { message: message.into(), hint }
    }
}

impl Advice for ExecutionError {
    fn hint(&self) -> Option<String> {
        match self {
            ExecutionError::Table(error) => error.hint(),
            ExecutionError::Setting { hint, .. } => Some((*hint).to_owned()),
        }
    }
}

/// How context files are executed.
#[derive(Clone, Debug, PartialEq)]
pub struct Execution {
    /// The user's Python.
    pub python: PathBuf,
    /// Limits for each variable.
    pub limits: Limits,
}

impl Execution {
    /// Reads the settings of a database.
    ///
    /// # Errors
    /// The table cannot be read, or a setting is invalid.
    pub async fn read(table: &RunTable) -> Result<Self, ExecutionError> {
        let settings = table.settings().await?.into_iter().collect();
        Ok(Execution { python: context_python(&settings)?, limits: limits(&settings)? })
    }
}

pub fn number(settings: &Settings, key: &str) -> Option<f64> {
    match settings.get(key)? {
        SettingValue::Integer(number) => Some(*number as f64),
        SettingValue::Real(number) => Some(*number),
        SettingValue::Text(text) => text.trim().parse().ok(),
        SettingValue::Null => None,
    }
}

/// The Python for context files: the database's, `AMORE_CONTEXT_PYTHON`, or `python3` on PATH.
///
/// # Errors
/// The setting is invalid, or there is no Python.
pub fn context_python(settings: &Settings) -> Result<PathBuf, ExecutionError> {
    match settings.get("context_python") {
        Some(SettingValue::Text(path)) if !path.is_empty() => expanded(path),
        _ => default_python(),
    }
}

/// Expands the path in `context_python`: `~` is the user's home directory, `~name` that of another user.
///
/// # Errors
/// The directory is not known.
pub fn expanded(path: &str) -> Result<PathBuf, ExecutionError> {
    let Some(rest) = path.strip_prefix('~') else { return Ok(PathBuf::from(path)) };
    let (user, below) = rest.split_once('/').unwrap_or((rest, ""));
    let wrong = |why: String| {
        ExecutionError::setting(
            format!("context_python is {path}, but {why}"),
            "amore-proto db-config context_python /path/to/python",
        )
    };
    let home = if user.is_empty() {
        env::home_dir()
            .filter(|home| home.is_absolute())
            .ok_or_else(|| wrong("your home directory is unknown".to_owned()))?
    } else {
        match nix::unistd::User::from_name(user) {
            Ok(Some(found)) => found.dir,
            Ok(None) => return Err(wrong(format!("there is no user {user} on this host"))),
            Err(error) => return Err(wrong(format!("the user {user} cannot be looked up: {error}"))),
        }
    };
    Ok(home.join(below))
}

/// The Python if no database sets one.
///
/// # Errors
/// There is none on PATH.
pub fn default_python() -> Result<PathBuf, ExecutionError> {
    if let Some(given) = env::var_os("AMORE_CONTEXT_PYTHON").filter(|given| !given.is_empty()) {
        return Ok(PathBuf::from(given));
    }
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .map(|folder| folder.join("python3"))
        .find(|candidate| candidate.is_file())
        .ok_or_else(|| {
            ExecutionError::setting(
                "there is no python3 on PATH to execute the context file with",
                "load one (module load exfel), or: amore-proto db-config context_python /path/to/python",
            )
        })
}

fn quoted(value: &SettingValue) -> String {
    match value {
        SettingValue::Text(text) => format!("{text:?}"),
        other => other.to_string(),
    }
}

/// Limits for each variable.
///
/// # Errors
/// One is not an amount of time or memory.
pub fn limits(settings: &Settings) -> Result<Limits, ExecutionError> {
    let variable_seconds = match settings.get("variable_time") {
        None | Some(SettingValue::Null) => None,
        Some(_) => {
            let seconds = number(settings, "variable_time");
            Some(seconds.filter(|seconds| *seconds > 0.0 && *seconds <= LONGEST).ok_or_else(|| {
                ExecutionError::setting(
                    format!(
                        "variable_time must be a number of seconds, greater than 0 and at most {LONGEST}"
                    ),
                    "amore-proto db-config variable_time 600",
                )
            })?)
        }
    };
    let memory_bytes = match settings.get("variable_mem") {
        None | Some(SettingValue::Null) => None,
        Some(value) => {
            let bytes = match value {
                SettingValue::Text(text) => memory_bytes(text),
                _ => number(settings, "variable_mem")
                    .filter(|bytes| *bytes >= 1.0 && *bytes <= MOST_BYTES)
                    .map(|bytes| bytes as u64),
            };
            Some(bytes.ok_or_else(|| {
                ExecutionError::setting(
                    format!("variable_mem must be an amount of memory, not {}", quoted(value)),
                    "amore-proto db-config variable_mem 32G",
                )
            })?)
        }
    };
    Ok(Limits { variable_seconds, memory_bytes })
}

#[cfg(test)]
mod tests {
    use std::{env, path::PathBuf};

    use super::{Advice, expanded};

    #[test]
    fn a_tilde_is_a_home_directory() {
        let home = env::home_dir().unwrap();
        assert_eq!(expanded("~/env/bin/python").unwrap(), home.join("env/bin/python"));
        let root = nix::unistd::User::from_uid(nix::unistd::ROOT).unwrap().unwrap();
        assert_eq!(expanded(&format!("~{}/python", root.name)).unwrap(), root.dir.join("python"));
        assert_eq!(expanded("/a/~/b").unwrap(), PathBuf::from("/a/~/b"));
        assert_eq!(expanded("env/python").unwrap(), PathBuf::from("env/python"));
        let refused = expanded("~no.such.user/python").unwrap_err();
        assert_eq!(
            refused.to_string(),
            "context_python is ~no.such.user/python, but there is no user no.such.user on this host"
        );
        assert!(refused.hint().is_some());
    }
}
