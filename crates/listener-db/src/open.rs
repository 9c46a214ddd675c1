//! Opening and creating the file.

use std::{
    fs, io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use nix::{
    fcntl::{AT_FDCWD, AtFlags},
    unistd::{AccessFlags, faccessat},
};
use sqlx::{
    ConnectOptions, Connection, Row,
    sqlite::{SqliteConnectOptions, SqliteConnection, SqliteSynchronous},
};

use crate::{ListenerDb, ListenerDbError, settings, sql};

/// SQLite's header, and nothing that SQLite would take for an empty database.
const HEADER: &[u8] = b"SQLite format 3\0";

impl ListenerDb {
    /// A connection for reading; `None` if there is no file.
    pub(crate) async fn read(&self) -> Result<Option<SqliteConnection>, ListenerDbError> {
        let path = self.existing_directory()?.join(crate::FILE_NAME);
        match fs::metadata(&path) {
            Ok(found) => must_be_a_file(&path, &found)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(of_file(path, "look at", error)),
        }
        if !accessible(&path, AccessFlags::R_OK) {
            return Err(ListenerDbError::Unreadable { path });
        }
        // Another program is just creating it: as good as absent.
        if is_empty(&path)? {
            return Ok(None);
        }
        let mut connection = self.connect(&path, true).await?;
        // Nor does DAMNIT create the file and its tables at once.
        let complete = self.check(&mut connection, &path).await?;
        Ok(complete.then_some(connection))
    }

    /// A connection for writing; creates the file, missing tables, and the settings that DAMNIT always sets.
    pub(crate) async fn write(&self) -> Result<SqliteConnection, ListenerDbError> {
        let dir = self.existing_directory()?;
        let path = dir.join(crate::FILE_NAME);
        // Created by us, not by SQLite, which would omit the group's write permission. SQLite gives its journal the same
        // permissions. Never writable for others, whatever the umask.
        match fs::OpenOptions::new().write(true).create_new(true).mode(0o664).open(&path) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let found = fs::metadata(&path).map_err(|error| of_file(path.clone(), "look at", error))?;
                must_be_a_file(&path, &found)?;
            }
            Err(error) if is_refusal(&error) => return Err(ListenerDbError::NotWritable { path: dir }),
            Err(error) => return Err(of_file(path, "create", error)),
        }
        if !accessible(&path, AccessFlags::R_OK) {
            return Err(ListenerDbError::Unreadable { path });
        }
        for (place, rights) in [(&path, AccessFlags::W_OK), (&dir, AccessFlags::W_OK | AccessFlags::X_OK)] {
            if !accessible(place, rights) {
                return Err(ListenerDbError::NotWritable { path: place.clone() });
            }
        }
        let fresh = is_empty(&path)?;
        let mut connection = self.connect(&path, false).await?;
        if fresh || !self.check(&mut connection, &path).await? {
            self.create(&mut connection, &path).await?;
        }
        Ok(connection)
    }

    async fn create(&self, connection: &mut SqliteConnection, path: &Path) -> Result<(), ListenerDbError> {
        let failed = |error| self.explain(path, "create the tables", error);
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
        sqlx::raw_sql(sql::SCHEMA).execute(&mut *transaction).await.map_err(failed)?;
        settings::add_defaults(&mut transaction).await.map_err(failed)?;
        transaction.commit().await.map_err(failed)
    }

    async fn connect(&self, path: &Path, read_only: bool) -> Result<SqliteConnection, ListenerDbError> {
        if path.to_str().is_none() {
            return Err(ListenerDbError::UnusablePath { path: path.to_owned() });
        }
        let mut header = Vec::with_capacity(HEADER.len());
        let read = fs::File::open(path)
            .and_then(|file| io::Read::read_to_end(&mut io::Read::take(file, 16), &mut header));
        read.map_err(|error| of_file(path.to_owned(), "read", error))?;
        if !header.is_empty() && header != HEADER {
            return Err(foreign(path, "it is not a SQLite database".to_owned()));
        }
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(false)
            .read_only(read_only)
            .busy_timeout(self.busy_timeout)
            .disable_statement_logging();
        // Extra: the directory is also synced after the journal is deleted, see the run table.
        let options = if read_only { options } else { options.synchronous(SqliteSynchronous::Extra) };
        options.connect().await.map_err(|error| self.explain(path, "open the database", error))
    }

    /// Whether all tables are there. Without any of them it must be an empty database.
    async fn check(&self, connection: &mut SqliteConnection, path: &Path) -> Result<bool, ListenerDbError> {
        let failed = |error| self.explain(path, "read the tables", error);
        let rows = sqlx::query(sql::TABLES).fetch_all(connection).await.map_err(failed)?;
        let names: Result<Vec<String>, _> = rows.iter().map(|row| row.try_get(0)).collect();
        let names = names.map_err(failed)?;
        let count = ["proposal_databases", "settings"]
            .iter()
            .filter(|own| names.iter().any(|name| name == *own))
            .count();
        match names.first() {
            Some(other) if count == 0 => {
                Err(foreign(path, format!("it has a table {other}, but no proposal_databases")))
            }
            _ => Ok(count == 2),
        }
    }

    fn existing_directory(&self) -> Result<PathBuf, ListenerDbError> {
        // Absolute, so that no name is interpreted as a `file:` URI.
        let dir = std::path::absolute(&self.dir).map_err(|error| of_file(self.dir.clone(), "find", error))?;
        match fs::metadata(&dir) {
            Ok(found) if found.is_dir() => Ok(dir),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Err(ListenerDbError::Unreadable { path: dir })
            }
            _ => Err(ListenerDbError::NoDirectory { dir }),
        }
    }

    /// Converts SQLite's error, by what the caller can do.
    pub(crate) fn explain(&self, path: &Path, doing: &'static str, error: sqlx::Error) -> ListenerDbError {
        let path = path.to_owned();
        let sqlx::Error::Database(database) = &error else {
            return ListenerDbError::Sql { doing, path, source: error };
        };
        let code: i32 = database.code().and_then(|code| code.parse().ok()).unwrap_or(0);
        // SQLite's result codes: the low byte is the kind, the rest the detail.
        match code & 0xff {
            5 | 6 => ListenerDbError::Busy { path, waited: self.busy_timeout },
            8 | 14 => ListenerDbError::NotWritable { path },
            11 => ListenerDbError::Corrupt { path, detail: database.message().to_owned() },
            13 => ListenerDbError::Full { path },
            26 => foreign(&path, "it is not a SQLite database".to_owned()),
            _ => ListenerDbError::Sql { doing, path, source: error },
        }
    }
}

fn foreign(path: &Path, why: String) -> ListenerDbError {
    ListenerDbError::NotAListenerDb { path: path.to_owned(), why }
}

fn must_be_a_file(path: &Path, found: &fs::Metadata) -> Result<(), ListenerDbError> {
    let what = if found.is_dir() { "a directory" } else { "a special file" };
    if found.is_file() { Ok(()) } else { Err(foreign(path, format!("it is {what}"))) }
}

fn is_empty(path: &Path) -> Result<bool, ListenerDbError> {
    let found = fs::metadata(path).map_err(|error| of_file(path.to_owned(), "look at", error))?;
    Ok(found.len() == 0)
}

fn is_refusal(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
}

fn of_file(path: PathBuf, doing: &'static str, source: io::Error) -> ListenerDbError {
    if source.kind() == io::ErrorKind::PermissionDenied {
        return ListenerDbError::Unreadable { path };
    }
    ListenerDbError::Io { doing, path, source }
}

/// Checked with the effective permissions; SQLite itself would silently fall back to reading.
fn accessible(path: &Path, rights: AccessFlags) -> bool {
    faccessat(AT_FDCWD, path, rights, AtFlags::AT_EACCESS).is_ok()
}
