//! Settings of a proposal: the table `metameta`, where DAMNIT has them too.

use sqlx::sqlite::SqliteConnection;

use crate::{RunTable, RunTableError, SettingValue, sql, value::Stored};

/// A setting used by Amore or DAMNIT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownSetting {
    /// Its name.
    pub key: &'static str,
    /// One line for users.
    pub help: &'static str,
    /// Maintained by the program: users do not change it.
    pub kept: bool,
}

const fn known(key: &'static str, help: &'static str) -> KnownSetting {
    KnownSetting { key, help, kept: false }
}

/// All known settings, in the order of the help text.
pub const KNOWN_SETTINGS: &[KnownSetting] = &[
    known("proposal", "proposal number of this database"),
    known("context_python", "Python that executes the context file (3.9 or later, with extra_data)"),
    known("variable_time", "time limit of a variable, in seconds"),
    known("variable_mem", "memory limit of a variable's process: 512M, 32G"),
    known("concurrent_jobs", "maximum number of Slurm jobs in the queue; 0: no limit"),
    known("slurm_reservation", "Slurm reservation to use; with slurm_partition, if both are set"),
    known("slurm_partition", "Slurm partition to use (default: chosen from those you may use)"),
    known("slurm_time", "time limit of Slurm jobs, in sbatch's format (default 02:00:00)"),
    known("slurm_account", "Slurm account to charge"),
    known("slurm_qos", "Slurm quality of service"),
    known("slurm_clusters", "Slurm clusters to submit to, separated by commas"),
    known(
        "noncluster",
        "where variables without cluster=True run: local (the default), or slurm (in a small job)",
    ),
    known("noncluster_cpus", "CPUs of such a job (default 4)"),
    known("noncluster_mem", "memory of such a job (default 25G; none omits --mem)"),
    known("slurm_cpus", "none: never pass --cpus-per-task, for sites that reject it"),
    known("slurm_mem", "none: never pass --mem, for sites that reject it"),
    known("damnit_python", "Python of DAMNIT's own programs; not used here"),
    known("db_id", "name of this database in update messages (40 hexadecimal digits)"),
    KnownSetting { key: "data_format_version", help: "format version of runs.sqlite", kept: true },
];

/// Settings by their names, in order.
pub type Settings = Vec<(String, SettingValue)>;

/// The settings are not those that a change was based on. They are these.
#[derive(Clone, Debug, PartialEq)]
pub struct NotAsExpected(pub Settings);

/// An unknown key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownSetting {
    /// The key.
    pub key: String,
    /// A similar known key, if any.
    pub nearest: Option<&'static str>,
}

/// The unknown ones of these keys, each with the closest known one.
pub fn unknown_settings<'a>(keys: impl IntoIterator<Item = &'a str>) -> Vec<UnknownSetting> {
    keys.into_iter()
        .filter(|key| KNOWN_SETTINGS.iter().all(|known| known.key != *key))
        .map(|key| UnknownSetting {
            key: key.to_owned(),
            nearest: amore_model::nearest_setting(key, KNOWN_SETTINGS.iter().map(|known| known.key)),
        })
        .collect()
}

impl RunTable {
    /// One setting; `None` if it is not set.
    ///
    /// # Errors
    /// The table cannot be read, or the value is a blob.
    pub async fn setting(&self, key: &str) -> Result<Option<SettingValue>, RunTableError> {
        let mut connection = self.connection.lock().await;
        get(&mut connection, key)
            .await
            .map_err(|e| self.explain("read a setting", e))?
            .map_or(Ok(None), |value| to_setting(key, value).map(Some))
    }

    /// All settings, by name.
    ///
    /// # Errors
    /// The table cannot be read, or a value is a blob.
    pub async fn settings(&self) -> Result<Vec<(String, SettingValue)>, RunTableError> {
        let mut connection = self.connection.lock().await;
        let rows = list(&mut connection).await.map_err(|e| self.explain("read the settings", e))?;
        rows.into_iter().map(|(key, value)| Ok((key.clone(), to_setting(&key, value)?))).collect()
    }

    /// Sets a setting. Users may do this at any time; it requires no ownership.
    ///
    /// # Errors
    /// The setting is maintained by the program, or the table cannot be written.
    pub async fn set_setting(&self, key: &str, value: &SettingValue) -> Result<(), RunTableError> {
        self.may_change(key)?;
        let mut connection = self.connection.lock().await;
        set(&mut connection, key, value).await.map_err(|e| self.explain("change a setting", e))
    }

    /// Removes a setting; returns whether it was set.
    ///
    /// # Errors
    /// The setting is maintained by the program, or the table cannot be written.
    pub async fn delete_setting(&self, key: &str) -> Result<bool, RunTableError> {
        self.may_change(key)?;
        let mut connection = self.connection.lock().await;
        let done = sqlx::query(sql::DELETE_SETTING).bind(key).execute(&mut *connection).await;
        Ok(done.map_err(|e| self.explain("delete a setting", e))?.rows_affected() > 0)
    }

    /// Sets several settings at once; `None` removes one. Either all are changed or none, and only if the present ones are as
    /// `expected`. Gives the settings as they are then.
    ///
    /// # Errors
    /// [`NotAsExpected`] with the present settings; a setting is maintained by the program; the table cannot be written.
    pub async fn change_settings(
        &self,
        changes: &[(String, Option<SettingValue>)],
        expected: impl FnOnce(&[(String, SettingValue)]) -> bool,
    ) -> Result<Result<Settings, NotAsExpected>, RunTableError> {
        const DOING: &str = "change settings";
        for (key, _) in changes {
            self.may_change(key)?;
        }
        let mut connection = self.connection.lock().await;
        let mut transaction = self.begin(&mut connection, DOING).await?;
        let rows = list(&mut transaction).await.map_err(|e| self.explain(DOING, e))?;
        let mut settings: Settings = Vec::with_capacity(rows.len());
        for (key, value) in rows {
            let value = to_setting(&key, value)?;
            settings.push((key, value));
        }
        if !expected(&settings) {
            return Ok(Err(NotAsExpected(settings)));
        }
        let done = async {
            for (key, value) in changes {
                settings.retain(|(present, _)| present != key);
                settings.extend(value.clone().map(|value| (key.clone(), value)));
                match value {
                    Some(value) => set(&mut transaction, key, value).await?,
                    None => {
                        sqlx::query(sql::DELETE_SETTING).bind(key).execute(&mut *transaction).await?;
                    }
                }
            }
            transaction.commit().await
        };
        done.await.map_err(|e| self.explain(DOING, e))?;
        settings.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(Ok(settings))
    }

    fn may_change(&self, key: &str) -> Result<(), RunTableError> {
        self.must_be_writable()?;
        if KNOWN_SETTINGS.iter().any(|known| known.kept && known.key == key) {
            return Err(RunTableError::ProtectedSetting { key: key.to_owned() });
        }
        Ok(())
    }
}

/// All settings, ordered by their names.
async fn list(connection: &mut SqliteConnection) -> Result<Vec<(String, Stored)>, sqlx::Error> {
    let mut settings = Vec::new();
    for row in sqlx::query(sql::LIST_SETTINGS).fetch_all(connection).await? {
        let Some(key) = Stored::get(&row, 0)?.text() else { continue };
        settings.push((key, Stored::get(&row, 1)?));
    }
    Ok(settings)
}

fn to_setting(key: &str, value: Stored) -> Result<SettingValue, RunTableError> {
    Ok(match value {
        Stored::Null => SettingValue::Null,
        Stored::Int(number) => SettingValue::Integer(number),
        Stored::Real(number) => SettingValue::Real(number),
        Stored::Text(text) => SettingValue::Text(text),
        Stored::Blob(_) => return Err(RunTableError::BadSetting { key: key.to_owned() }),
    })
}

/// Reads one setting on a connection.
pub(crate) async fn get(connection: &mut SqliteConnection, key: &str) -> Result<Option<Stored>, sqlx::Error> {
    let row = sqlx::query(sql::GET_SETTING).bind(key).fetch_optional(connection).await?;
    row.map(|row| Stored::get(&row, 0)).transpose()
}

/// Writes one setting on a connection.
pub(crate) async fn set(
    connection: &mut SqliteConnection,
    key: &str,
    value: &SettingValue,
) -> Result<(), sqlx::Error> {
    let query = sqlx::query(sql::SET_SETTING).bind(key);
    let query = match value {
        SettingValue::Null => query.bind(None::<String>),
        SettingValue::Integer(number) => query.bind(*number),
        SettingValue::Real(number) => query.bind(*number),
        SettingValue::Text(text) => query.bind(text.as_str()),
    };
    query.execute(connection).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_key_is_told_with_the_nearest_one() {
        let found = unknown_settings(["slurm_partition", "slurm_reservaton", "Slurm-Time", "colour"]);
        let found: Vec<_> = found.iter().map(|u| (u.key.as_str(), u.nearest)).collect();
        assert_eq!(
            found,
            [
                ("slurm_reservaton", Some("slurm_reservation")),
                ("Slurm-Time", Some("slurm_time")),
                ("colour", None)
            ]
        );
    }
}
