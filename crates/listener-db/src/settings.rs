//! Settings of the service: the table `settings`, where DAMNIT has them too.

use amore_model::{Sandbox, SettingValue};
use sqlx::{
    Connection, Decode, Row, Sqlite, TypeInfo, ValueRef,
    sqlite::{SqliteConnection, SqliteRow, SqliteValueRef},
};

use crate::{ListenerDb, ListenerDbError, sql};

/// The type of a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettingKind {
    /// True or false; stored as 1 or 0, as DAMNIT does.
    Bool,
    /// Text.
    Text,
}

/// A setting used by Amore or DAMNIT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownSetting {
    /// Its name.
    pub key: &'static str,
    /// Its type.
    pub kind: SettingKind,
    /// One line for users.
    pub help: &'static str,
}

/// All known settings, in the order of the help text.
pub const KNOWN_SETTINGS: &[KnownSetting] = &[
    KnownSetting {
        key: "static_mode",
        kind: SettingKind::Bool,
        help: "1 (the default): only databases that were added; 0: also usr/Shared/amore of each proposal with a new run",
    },
    KnownSetting {
        key: "allow_local_processing",
        kind: SettingKind::Bool,
        help: "1: compute on this host what Slurm refuses, at once or for minutes; 0 (the default): do not",
    },
    KnownSetting {
        key: "sandbox_args",
        kind: SettingKind::Text,
        help: "program and arguments that all user code runs in, called as: ARGS PROPOSAL -- COMMAND",
    },
];

/// The settings of the service, with defaults for those that are not set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Only databases that were added are processed; otherwise also the official directory of each proposal with a run.
    pub static_mode: bool,
    /// Runs are processed on this host when Slurm does not accept their jobs.
    pub allow_local_processing: bool,
    /// What user code runs in; `None` if there is none.
    pub sandbox_args: Option<Sandbox>,
}

impl Default for Settings {
    /// DAMNIT's defaults.
    fn default() -> Self {
        Settings { static_mode: true, allow_local_processing: false, sandbox_args: None }
    }
}

/// A value that a setting cannot have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key} is {wanted}, not {value:?}")]
pub struct InvalidSetting {
    /// The setting.
    pub key: &'static str,
    /// The value.
    pub value: String,
    /// What it should be.
    pub wanted: &'static str,
}

const COMMAND: &str =
    "an absolute path of a program, or its name on PATH, and its arguments, with all quotes closed";
const SANDBOX: &str = "sandbox_args";
const TRUE_OR_FALSE: &str = "1 or 0 (or true or false)";

/// Reads a value that a user typed for a setting; text if the setting is unknown.
///
/// # Errors
/// The setting cannot have it.
pub fn parse_setting(key: &str, typed: &str) -> Result<SettingValue, InvalidSetting> {
    match KNOWN_SETTINGS.iter().find(|known| known.key == key) {
        Some(KnownSetting { key, kind: SettingKind::Bool, .. }) => match truth(typed) {
            Some(on) => Ok(on.into()),
            None => Err(InvalidSetting { key, value: typed.to_owned(), wanted: TRUE_OR_FALSE }),
        },
        // Nothing is no sandbox, as in DAMNIT.
        Some(KnownSetting { key: key @ SANDBOX, .. })
            if !typed.trim().is_empty() && Sandbox::parse(typed).is_err() =>
        {
            Err(InvalidSetting { key, value: typed.to_owned(), wanted: COMMAND })
        }
        _ => Ok(typed.into()),
    }
}

fn truth(text: &str) -> Option<bool> {
    match text.trim().to_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Some(true),
        "0" | "false" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// The known setting that a mistyped key is most like, if any.
pub fn nearest_setting(key: &str) -> Option<&'static str> {
    amore_model::nearest_setting(key, KNOWN_SETTINGS.iter().map(|known| known.key))
}

impl ListenerDb {
    /// The settings of the service.
    ///
    /// # Errors
    /// The file cannot be read, or a setting has a value of the wrong type.
    pub async fn settings(&self) -> Result<Settings, ListenerDbError> {
        let mut settings = Settings::default();
        for (key, value) in self.all_settings().await? {
            let bad = |wanted| ListenerDbError::BadSetting {
                path: self.path(),
                key: key.clone(),
                found: format!("{:?}", value.to_string()),
                wanted,
            };
            // DAMNIT's `listener config allow_local_processing 0` stores the text "0".
            let flag = || match &value {
                SettingValue::Integer(number) => Ok(*number != 0),
                SettingValue::Text(text) => truth(text).ok_or_else(|| bad(TRUE_OR_FALSE)),
                SettingValue::Real(_) | SettingValue::Null => Err(bad(TRUE_OR_FALSE)),
            };
            match key.as_str() {
                "static_mode" => settings.static_mode = flag()?,
                "allow_local_processing" => settings.allow_local_processing = flag()?,
                "sandbox_args" => match &value {
                    SettingValue::Text(text) if text.trim().is_empty() => settings.sandbox_args = None,
                    SettingValue::Text(text) => {
                        settings.sandbox_args = Some(Sandbox::parse(text).map_err(|_| bad(COMMAND))?);
                    }
                    SettingValue::Null => settings.sandbox_args = None,
                    SettingValue::Integer(_) | SettingValue::Real(_) => return Err(bad("text")),
                },
                _ => {}
            }
        }
        Ok(settings)
    }

    /// All settings as stored, by name, also those of other programs; DAMNIT's defaults for those that it always sets.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn all_settings(&self) -> Result<Vec<(String, SettingValue)>, ListenerDbError> {
        let mut found = Vec::new();
        if let Some(mut connection) = self.read().await? {
            let failed = |error| self.explain(&self.path(), "read the settings", error);
            let rows = sqlx::query(sql::LIST_SETTINGS).fetch_all(&mut connection).await.map_err(failed)?;
            for row in &rows {
                let (key, value) = (stored(row, 0).map_err(failed)?, stored(row, 1).map_err(failed)?);
                found.push((key.to_string(), value));
            }
            connection.close().await.map_err(failed)?;
        }
        for (key, value) in defaults() {
            if found.iter().all(|(other, _)| other != key) {
                found.push((key.to_owned(), value));
            }
        }
        found.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(found)
    }

    /// Changes a setting.
    ///
    /// # Errors
    /// The file cannot be written.
    pub async fn set_setting(&self, key: &str, value: &SettingValue) -> Result<(), ListenerDbError> {
        let mut connection = self.write().await?;
        let failed = |error| self.explain(&self.path(), "change a setting", error);
        set(&mut connection, sql::SET_SETTING, key, value).await.map_err(failed)?;
        connection.close().await.map_err(failed)
    }

    /// Removes a setting, which then has its default; returns whether it was set.
    ///
    /// # Errors
    /// The file cannot be written.
    pub async fn delete_setting(&self, key: &str) -> Result<bool, ListenerDbError> {
        // Without a file there is nothing to remove, and none is created.
        if self.read().await?.is_none() {
            return Ok(false);
        }
        let mut connection = self.write().await?;
        let failed = |error| self.explain(&self.path(), "delete a setting", error);
        let done =
            sqlx::query(sql::DELETE_SETTING).bind(key).execute(&mut connection).await.map_err(failed)?;
        connection.close().await.map_err(failed)?;
        Ok(done.rows_affected() > 0)
    }
}

/// The settings that DAMNIT always sets.
fn defaults() -> [(&'static str, SettingValue); 2] {
    let Settings { static_mode, allow_local_processing, .. } = Settings::default();
    [("static_mode", static_mode.into()), ("allow_local_processing", allow_local_processing.into())]
}

/// Adds them on a connection.
pub(crate) async fn add_defaults(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    for (key, value) in defaults() {
        set(connection, sql::ADD_DEFAULT, key, &value).await?;
    }
    Ok(())
}

async fn set(
    connection: &mut SqliteConnection,
    statement: &'static str,
    key: &str,
    value: &SettingValue,
) -> Result<(), sqlx::Error> {
    let query = sqlx::query(statement).bind(key);
    let query = match value {
        SettingValue::Null => query.bind(None::<String>),
        SettingValue::Integer(number) => query.bind(*number),
        SettingValue::Real(number) => query.bind(*number),
        SettingValue::Text(text) => query.bind(text.as_str()),
    };
    query.execute(connection).await.map(drop)
}

/// A value with its actual type (columns have no declared one). Bytes and text that is not UTF-8 are shown with replacement
/// characters.
pub(crate) fn stored(row: &SqliteRow, index: usize) -> Result<SettingValue, sqlx::Error> {
    let value: SqliteValueRef<'_> = row.try_get_raw(index)?;
    if value.is_null() {
        return Ok(SettingValue::Null);
    }
    let decode = |source| sqlx::Error::ColumnDecode { index: index.to_string(), source };
    let type_info = value.type_info().into_owned();
    Ok(match type_info.name() {
        "INTEGER" => SettingValue::Integer(<i64 as Decode<Sqlite>>::decode(value).map_err(decode)?),
        "REAL" => SettingValue::Real(<f64 as Decode<Sqlite>>::decode(value).map_err(decode)?),
        _ => {
            let bytes = <Vec<u8> as Decode<Sqlite>>::decode(value).map_err(decode)?;
            SettingValue::Text(String::from_utf8_lossy(&bytes).into_owned())
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_key_is_told_with_the_nearest_one() {
        assert_eq!(nearest_setting("static-mod"), Some("static_mode"));
        assert_eq!(nearest_setting("allow_local_procesing"), Some("allow_local_processing"));
        assert_eq!(nearest_setting("colour"), None);
    }

    #[test]
    fn values_are_stored_with_damnits_types() {
        assert_eq!(parse_setting("static_mode", "0"), Ok(SettingValue::Integer(0)));
        assert_eq!(parse_setting("allow_local_processing", "True"), Ok(SettingValue::Integer(1)));
        assert_eq!(parse_setting("sandbox_args", "0"), Ok("0".into()));
        for (text, valid) in [("", true), ("bwrap 'a b'", true), ("bwrap 'a", false), ("./mine", false)] {
            assert_eq!(parse_setting("sandbox_args", text).is_ok(), valid, "{text:?}");
        }
        let words = parse_setting("static_mode", "maybe").unwrap_err().to_string();
        assert_eq!(words, "static_mode is 1 or 0 (or true or false), not \"maybe\"");
    }
}
