//! Which values the settings of a database may have.

use std::collections::BTreeMap;

use amore_model::Notice;
use amore_run_table::{SettingValue, unknown_settings};
use amore_slurm::{settings::Setting, sourced::InvalidSetting};

use crate::{
    advice::Advice,
    dispatch::slurm::asked,
    execution::{self, ExecutionError, number},
};

/// The longest name of a setting.
const LONGEST_KEY: usize = 200;

/// A setting that cannot be changed, or a value that it cannot have.
#[derive(Debug, thiserror::Error)]
pub enum RefusedSetting {
    /// The setting is maintained by the program.
    #[error("data_format_version cannot be changed manually")]
    Version,
    /// It is no number of a proposal.
    #[error("a proposal is a number")]
    Proposal,
    /// It identifies the database.
    #[error("db_id must be 40 hexadecimal digits")]
    Id,
    /// The setting is needed.
    #[error("{key} cannot be deleted: every database needs it")]
    Needed { key: String },
    /// It is a path.
    #[error("{key} must be the path of a Python interpreter, not {value}")]
    NotAPath { key: &'static str, value: SettingValue },
    /// It is no name.
    #[error("the name of a setting is one line of at most {LONGEST_KEY} characters, and not empty")]
    Key,
    /// How context files are executed.
    #[error(transparent)]
    Execution(#[from] ExecutionError),
    /// Of Slurm jobs.
    #[error(transparent)]
    Slurm(#[from] InvalidSetting),
}

impl Advice for RefusedSetting {
    fn hint(&self) -> Option<String> {
        match self {
            RefusedSetting::Version => Some("`amore migrate` upgrades a database".to_owned()),
            RefusedSetting::Proposal => Some("amore proposal 1234".to_owned()),
            RefusedSetting::Id => Some("`amore new-id` gives the database a new one".to_owned()),
            RefusedSetting::Needed { .. } => {
                Some("`amore proposal NUMBER` and `amore new-id` change it".to_owned())
            }
            RefusedSetting::NotAPath { key, .. } => {
                Some(format!("amore-proto db-config {key} /path/to/python"))
            }
            RefusedSetting::Key => Some("`amore db-config --known` lists all settings".to_owned()),
            RefusedSetting::Execution(error) => error.hint(),
            RefusedSetting::Slurm(error) => Advice::hint(error),
        }
    }
}

/// Refuses to delete a setting that every database needs.
///
/// # Errors
/// It is one.
pub fn check_deletion(key: &str) -> Result<(), RefusedSetting> {
    if matches!(key, "data_format_version" | "db_id" | "proposal") {
        return Err(RefusedSetting::Needed { key: key.to_owned() });
    }
    Ok(())
}

/// What the user should know about a setting that is set and means nothing here.
pub fn unknown(key: &str) -> Option<Notice> {
    let unknown = unknown_settings([key]).into_iter().next()?;
    let near = unknown.nearest.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
    Some(Notice::warning(format!("{key} is set, but there is no such setting{near}")))
}

/// Refuses invalid values of a setting. Returns what the user should know about a valid one.
///
/// # Errors
/// The setting cannot have this value.
pub fn check(key: &str, value: &SettingValue) -> Result<Option<Notice>, RefusedSetting> {
    let one: BTreeMap<String, SettingValue> = [(key.to_owned(), value.clone())].into();
    match key {
        _ if key.is_empty() || key.chars().count() > LONGEST_KEY || key.chars().any(char::is_control) => {
            Err(RefusedSetting::Key)
        }
        "data_format_version" => Err(RefusedSetting::Version),
        "db_id" => match value {
            SettingValue::Text(id) if id.len() == 40 && id.bytes().all(|b| b.is_ascii_hexdigit()) => Ok(None),
            _ => Err(RefusedSetting::Id),
        },
        "proposal" => match number(&one, key) {
            Some(number) if number > 0.0 && number.fract() == 0.0 => Ok(None),
            _ => Err(RefusedSetting::Proposal),
        },
        "variable_time" | "variable_mem" => Ok(execution::limits(&one).map(|_| None)?),
        "context_python" => match value {
            SettingValue::Text(path) if !execution::expanded(path)?.is_file() => {
                Ok(Some(Notice::warning(format!(
                    "{path} does not exist here; context_python must be the path of a Python interpreter"
                ))))
            }
            SettingValue::Text(_) | SettingValue::Null => Ok(None),
            SettingValue::Integer(_) | SettingValue::Real(_) => {
                Err(RefusedSetting::NotAPath { key: "context_python", value: value.clone() })
            }
        },
        "damnit_python" => match value {
            SettingValue::Text(_) | SettingValue::Null => Ok(None),
            SettingValue::Integer(_) | SettingValue::Real(_) => {
                Err(RefusedSetting::NotAPath { key: "damnit_python", value: value.clone() })
            }
        },
        _ => match Setting::of_key(key) {
            Some(setting) => Ok(asked::check(setting, value).map(|()| None)?),
            None => Ok(None),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_cannot_be_meant_are_refused_with_the_key() {
        for (key, value) in [
            ("db_id", SettingValue::from("x")),
            ("db_id", SettingValue::Integer(1)),
            ("context_python", SettingValue::Integer(3)),
            ("damnit_python", SettingValue::Real(3.5)),
            ("concurrent_jobs", SettingValue::Real(1e30)),
            ("concurrent_jobs", SettingValue::Real(2.5)),
            ("concurrent_jobs", SettingValue::from("many")),
            ("noncluster_cpus", SettingValue::Real(0.5)),
            ("variable_time", SettingValue::Real(1e30)),
            ("variable_time", SettingValue::Integer(0)),
            ("variable_mem", SettingValue::Integer(-1)),
            ("variable_mem", SettingValue::Real(1e30)),
        ] {
            let refused = check(key, &value).expect_err(key);
            assert!(refused.to_string().starts_with(key), "{refused}");
            assert!(refused.hint().is_some(), "{key}");
        }
        for (key, value) in [
            ("db_id", SettingValue::Text("0a".repeat(20))),
            // No limit, as in DAMNIT.
            ("concurrent_jobs", SettingValue::Integer(0)),
            ("concurrent_jobs", SettingValue::Real(30.0)),
            ("variable_time", SettingValue::Real(0.5)),
            ("variable_mem", SettingValue::Integer(1 << 30)),
            ("damnit_python", SettingValue::from("/usr/bin/python3")),
            ("of_another_program", SettingValue::Real(1e30)),
        ] {
            assert!(check(key, &value).is_ok(), "{key}");
        }
        assert!(
            check("", &SettingValue::from("x")).is_err() && check("a\nb", &SettingValue::from("x")).is_err()
        );
    }

    #[test]
    fn what_every_database_needs_is_not_deleted_and_an_unknown_setting_is_told() {
        assert!(check_deletion("db_id").is_err() && check_deletion("slurm_time").is_ok());
        let told = unknown("slurm_tim").unwrap().message;
        assert_eq!(told, "slurm_tim is set, but there is no such setting; did you mean slurm_time?");
        assert!(unknown("slurm_time").is_none());
    }
}
