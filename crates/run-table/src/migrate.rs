//! Migrates older formats to version 4, after making a copy; each step is a separate transaction.

use std::{
    fs, io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use sqlx::{Connection, Row, sqlite::SqliteConnection};

use crate::{RunTableError, SettingValue, settings, sync_directory::sync_directory, value::Stored};

/// The format version that this program writes: that of DAMNIT 0.4.
pub const SCHEMA_VERSION: i64 = 4;

/// One step of the schema.
pub(crate) struct Step {
    pub(crate) to: i64,
    pub(crate) sql: &'static str,
    /// A query whose count is not 0 if the step was already applied: DAMNIT records a step's version after applying it, and may
    /// have been stopped in between.
    pub(crate) made: &'static str,
}

pub(crate) const STEPS: &[Step] = &[
    Step {
        to: 1,
        sql: include_str!("../../../schema/run-table/sqlite/1_runs_and_values.sql"),
        made: "SELECT count(*) FROM sqlite_master WHERE name = 'run_variables'",
    },
    Step {
        to: 2,
        sql: include_str!("../../../schema/run-table/sqlite/2_attributes.sql"),
        made: "SELECT count(*) FROM pragma_table_info('run_variables') WHERE name = 'attributes'",
    },
    Step {
        to: 3,
        sql: include_str!("../../../schema/run-table/sqlite/3_tags.sql"),
        made: "SELECT count(*) FROM sqlite_master WHERE name = 'variable_tags'",
    },
    Step {
        to: 4,
        sql: include_str!("../../../schema/run-table/sqlite/4_orphan_tags.sql"),
        made: "SELECT count(*) FROM sqlite_master WHERE name = 'delete_orphan_tags_after_variable_tag_delete'",
    },
];

/// Why a migration stopped.
pub(crate) enum MigrationError {
    Sql(&'static str, sqlx::Error),
    Io(&'static str, PathBuf, io::Error),
    Table(RunTableError),
}

impl MigrationError {
    pub(crate) fn into_table_error(
        self,
        path: &Path,
        explain: impl Fn(&'static str, sqlx::Error) -> RunTableError,
    ) -> RunTableError {
        match self {
            MigrationError::Sql(doing, error) => explain(doing, error),
            MigrationError::Io(_, _, source) if source.kind() == io::ErrorKind::StorageFull => {
                RunTableError::Full { path: path.to_owned() }
            }
            MigrationError::Io(doing, path, source) => RunTableError::Io { doing, path, source },
            MigrationError::Table(error) => error,
        }
    }
}

/// Copies the file, then applies each step after version `from`.
///
/// A crash between steps leaves a table with the intermediate version; the next opening continues from there (with a copy of
/// that). Two processes may migrate at the same time: steps already applied by the other are skipped.
pub(crate) async fn migrate(
    connection: &mut SqliteConnection,
    path: &Path,
    from: i64,
    steps: &[Step],
) -> Result<(), MigrationError> {
    backup(connection, path, from).await?;
    for step in steps.iter().filter(|step| step.to > from) {
        take(connection, step).await.map_err(|e| MigrationError::Sql("migrate the run table", e))?;
    }
    Ok(())
}

async fn take(connection: &mut SqliteConnection, step: &Step) -> Result<(), sqlx::Error> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let version = match settings::get(&mut transaction, "data_format_version").await? {
        Some(Stored::Int(version)) => version,
        Some(Stored::Text(text)) => text.trim().parse().unwrap_or(0),
        _ => 0,
    };
    if version >= step.to {
        return transaction.rollback().await;
    }
    let made: i64 = sqlx::query(step.made).fetch_one(&mut *transaction).await?.try_get(0)?;
    if made == 0 {
        sqlx::raw_sql(step.sql).execute(&mut *transaction).await?;
    }
    settings::set(&mut transaction, "data_format_version", &SettingValue::Integer(step.to)).await?;
    transaction.commit().await
}

/// A consistent copy, renamed to its final name when it is complete and synced. Earlier copies are kept.
async fn backup(
    connection: &mut SqliteConnection,
    path: &Path,
    version: i64,
) -> Result<PathBuf, MigrationError> {
    let named = |suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    let io = |doing, path: &Path| {
        let path = path.to_owned();
        move |source| MigrationError::Io(doing, path, source)
    };
    // Other processes may be copying at the same time, on other hosts even with the same process ID.
    let mut drafts =
        (1..).map(|number| named(&format!(".v{version}.backup.{}-{number}.new", std::process::id())));
    let (draft, file) = loop {
        let Some(draft) = drafts.next() else {
            unreachable!("a free number is found before the numbers end")
        };
        match fs::OpenOptions::new().write(true).create_new(true).mode(0o666).open(&draft) {
            Ok(file) => break (draft, file),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(io("create", &draft)(e)),
        }
    };
    let copy = async {
        // open_file has checked that the path is UTF-8.
        let target = draft.to_str().unwrap_or_default();
        let copied = sqlx::query("VACUUM INTO ?1").bind(target).execute(connection).await;
        copied.map_err(|e| MigrationError::Sql("copy the run table before migrating it", e))?;
        file.sync_all().map_err(io("sync", &draft))?;
        for number in 1.. {
            let suffix = if number == 1 { String::new() } else { format!("-{number}") };
            let target = named(&format!(".v{version}.backup{suffix}"));
            match fs::hard_link(&draft, &target) {
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(io("create", &target)(e)),
                Ok(()) => return Ok(target),
            }
        }
        unreachable!("a free number is found before the numbers end")
    };
    let copied = copy.await;
    let removed = fs::remove_file(&draft).map_err(io("remove", &draft));
    let copied = copied?;
    removed?;
    sync_directory(path.parent().unwrap_or(path)).map_err(MigrationError::Table)?;
    Ok(copied)
}

#[cfg(test)]
mod tests {
    use sqlx::{ConnectOptions, sqlite::SqliteConnectOptions};

    use super::*;

    async fn column(connection: &mut SqliteConnection, text: &'static str) -> Vec<String> {
        let rows = sqlx::query(text).fetch_all(connection).await.unwrap();
        rows.iter().map(|row| row.try_get(0).unwrap()).collect()
    }

    #[tokio::test]
    async fn a_migration_that_is_stopped_leaves_a_whole_version_and_goes_on_later() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("runs.sqlite");
        let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
        let mut connection = options.connect().await.unwrap();
        sqlx::raw_sql(STEPS[0].sql).execute(&mut connection).await.unwrap();
        settings::set(&mut connection, "data_format_version", &SettingValue::Integer(1)).await.unwrap();
        let run = "INSERT INTO run_variables (proposal, run, name, version, value) VALUES (1, 2, 'a', 1, 3)";
        sqlx::raw_sql(run).execute(&mut connection).await.unwrap();

        let half = "CREATE TABLE tags (id); INSERT INTO no_such_table VALUES (1)";
        let broken = [
            Step { to: 2, ..STEPS[1] },
            Step { to: 3, sql: half, made: STEPS[2].made },
            Step { to: 4, ..STEPS[3] },
        ];
        assert!(matches!(
            migrate(&mut connection, &path, 1, &broken).await,
            Err(MigrationError::Sql("migrate the run table", _))
        ));
        const VERSION: &str = "SELECT quote(value) FROM metameta WHERE key = 'data_format_version'";
        const TABLES: &str = "SELECT name FROM sqlite_master WHERE name LIKE '%tag%'";
        assert_eq!(column(&mut connection, VERSION).await, ["2"]);
        assert_eq!(column(&mut connection, TABLES).await, Vec::<String>::new());
        let copy = SqliteConnectOptions::new().filename(dir.path().join("runs.sqlite.v1.backup"));
        let mut copy = copy.connect().await.unwrap();
        assert_eq!(column(&mut copy, VERSION).await, ["1"]);
        assert_eq!(column(&mut copy, "SELECT quote(value) FROM run_variables").await, ["3"]);

        assert!(migrate(&mut connection, &path, 2, STEPS).await.is_ok());
        assert_eq!(column(&mut connection, VERSION).await, ["4"]);
        assert_eq!(column(&mut connection, "SELECT quote(value) FROM run_variables").await, ["3"]);
    }
}
