//! Errors, by what the caller can do about them.

use std::{io, path::PathBuf, time::Duration};

use thiserror::Error;

/// Why the database could not be read or written. Nothing was changed.
#[derive(Debug, Error)]
pub enum ListenerDbError {
    /// There is no directory at this path.
    #[error("there is no directory {}", .dir.display())]
    NoDirectory {
        /// The path.
        dir: PathBuf,
    },
    /// A path that SQLite or DAMNIT cannot use.
    #[error("the path {} cannot be used: it is not UTF-8", .path.display())]
    UnusablePath {
        /// The path.
        path: PathBuf,
    },
    /// No permission to read the file or to enter the directory.
    #[error("{} cannot be read: permission denied", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
    },
    /// No permission to write the file or its directory.
    #[error("{} cannot be written", .path.display())]
    NotWritable {
        /// The file or directory.
        path: PathBuf,
    },
    /// Another process held a lock for the whole waiting time. Trying again may help.
    #[error("{} has been locked by another program for {} s", .path.display(), .waited.as_secs())]
    Busy {
        /// The file.
        path: PathBuf,
        /// How long we waited.
        waited: Duration,
    },
    /// Something else than a database of this format.
    #[error("{} is not a listener database: {why}", .path.display())]
    NotAListenerDb {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        why: String,
    },
    /// SQLite finds the file damaged.
    #[error("{} is damaged: {detail}", .path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// SQLite's message.
        detail: String,
    },
    /// The disk or a quota is full.
    #[error("no space left to write {}", .path.display())]
    Full {
        /// The file.
        path: PathBuf,
    },
    /// A setting whose value has the wrong type.
    #[error("{}: the setting {key} is {found}, not {wanted}", .path.display())]
    BadSetting {
        /// The file.
        path: PathBuf,
        /// Its name.
        key: String,
        /// Its value.
        found: String,
        /// What it should be.
        wanted: &'static str,
    },
    /// Another error of the file system.
    #[error("could not {doing} {}: {source}", .path.display())]
    Io {
        /// The attempted operation: "create".
        doing: &'static str,
        /// The path.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Another error of SQLite.
    #[error("could not {doing} in {}: {source}", .path.display())]
    Sql {
        /// The attempted operation: "add a database".
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: sqlx::Error,
    },
}

impl ListenerDbError {
    /// What a user can do about it, if known.
    pub fn hint(&self) -> Option<String> {
        use ListenerDbError::*;
        let hint = match self {
            NoDirectory { .. } => "check the path, or create the directory first".to_owned(),
            UnusablePath { .. } => "rename the directory, or use a path without such characters".to_owned(),
            Unreadable { .. } => "ask its owner for read permission (chmod g+r)".to_owned(),
            NotWritable { .. } => {
                "SQLite writes both the file and its directory: ask their owner for group write permission \
                 (chmod g+w), and see that the file system is not mounted read-only"
                    .to_owned()
            }
            Busy { .. } => {
                "close the program that is in the middle of writing it, perhaps on another host, and try again"
                    .to_owned()
            }
            NotAListenerDb { path, .. } => format!(
                "it was left as it is; move {} away, or use another directory for the service",
                path.display()
            ),
            Corrupt { path, .. } => {
                format!("stop what writes it, keep a copy, then try `sqlite3 {} .recover`", path.display())
            }
            Full { .. } => "free some space or ask for more quota; nothing was partly written".to_owned(),
            BadSetting { key, .. } => format!(
                "in that directory: `amore listener config {key} VALUE`, or `amore listener config {key} --delete` for the default"
            ),
            Io { .. } | Sql { .. } => return None,
        };
        Some(hint)
    }
}
