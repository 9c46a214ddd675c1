//! Errors of the run table, by what the caller can do about them.

use std::{io, path::PathBuf, time::Duration};

use thiserror::Error;

use crate::{
    Holder, SCHEMA_VERSION,
    holders::{LockHolder, advice},
};

/// Why the run table could not be opened, read or written. Nothing was changed.
#[derive(Debug, Error)]
pub enum RunTableError {
    /// There is no directory at this path.
    #[error("there is no directory {}", .dir.display())]
    NoDirectory {
        /// The path.
        dir: PathBuf,
    },
    /// The directory has no `runs.sqlite`.
    #[error("{} is not a database directory: it has no runs.sqlite", .dir.display())]
    NotADatabaseDirectory {
        /// The directory.
        dir: PathBuf,
    },
    /// A new run table was requested where one exists.
    #[error("{} exists already", .path.display())]
    AlreadyExists {
        /// The file.
        path: PathBuf,
    },
    /// Something other than a file.
    #[error("{} is {what}, not a file", .path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
        /// What it is: "a directory", "a socket", ….
        what: &'static str,
    },
    /// A path that SQLite cannot use.
    #[error("the path {} cannot be used: it is not UTF-8", .path.display())]
    UnusablePath {
        /// The path.
        path: PathBuf,
    },
    /// A file of zero bytes, or a SQLite file without any table.
    #[error("{} is empty", .path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// Not a SQLite file.
    #[error("{} is not a SQLite database", .path.display())]
    NotSqlite {
        /// The file.
        path: PathBuf,
    },
    /// A SQLite database of something else.
    #[error("{} is a SQLite database, but not a run table: it has no table {missing}", .path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// The first missing table.
        missing: &'static str,
    },
    /// SQLite finds the file damaged.
    #[error("{} is damaged: {detail}", .path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// SQLite's message.
        detail: String,
    },
    /// The legacy format, which cannot be migrated.
    #[error("{} has the legacy format (version 0)", .path.display())]
    TooOld {
        /// The file.
        path: PathBuf,
    },
    /// A newer format.
    #[error("{} has format version {version}; this program knows versions up to {SCHEMA_VERSION}", .path.display())]
    TooNew {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: i64,
    },
    /// `data_format_version` is not a number.
    #[error("{}: the setting data_format_version is {found:?}, not a version number", .path.display())]
    BadVersion {
        /// The file.
        path: PathBuf,
        /// Its value.
        found: String,
    },
    /// No permission to read the file.
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
    /// A writing function was called on a table opened by [`crate::RunTable::open_read_only`].
    #[error("the run table was opened for reading only")]
    OpenedReadOnly,
    /// The disk or a quota is full.
    #[error("no space left to write {}", .path.display())]
    Full {
        /// The file.
        path: PathBuf,
    },
    /// Another process held a lock for the whole waiting time.
    #[error("{} has been locked by {} for {} s", .path.display(), whom(.holders), .waited.as_secs())]
    Busy {
        /// The file.
        path: PathBuf,
        /// How long we waited.
        waited: Duration,
        /// Processes of this host that hold a lock.
        holders: Vec<LockHolder>,
    },
    /// The writer is not the owner, or no longer.
    #[error("this process no longer owns the run table: {}", deposed_words(.by.as_deref(), *.epoch))]
    Deposed {
        /// Who owns it now; `None` if it was released.
        by: Option<Box<Holder>>,
        /// The epoch that the table has now.
        epoch: u64,
    },
    /// A writer died in the middle of a transaction, and rolling it back requires write permission.
    #[error("{} contains an interrupted transaction that cannot be rolled back without write permission", .path.display())]
    Interrupted {
        /// The file.
        path: PathBuf,
    },
    /// The file was deleted or replaced while it was open.
    #[error("{} was deleted or replaced while it was open", .path.display())]
    Replaced {
        /// The file.
        path: PathBuf,
    },
    /// A setting that this program maintains itself.
    #[error("the setting {key} is maintained by the program and cannot be changed")]
    ProtectedSetting {
        /// Its name.
        key: String,
    },
    /// A setting whose value is neither number nor text.
    #[error("the setting {key} has a value that is neither a number nor text")]
    BadSetting {
        /// Its name.
        key: String,
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
    #[error("could not {doing}: {source}")]
    Sql {
        /// The attempted operation: "store results".
        doing: &'static str,
        /// The cause.
        source: sqlx::Error,
    },
}

fn whom(holders: &[LockHolder]) -> &'static str {
    if !holders.is_empty() && holders.iter().all(|holder| holder.ours) {
        "a process of this command"
    } else {
        "another program"
    }
}

fn deposed_words(by: Option<&Holder>, epoch: u64) -> String {
    match by {
        Some(owner) => format!("{owner} took over (epoch {epoch})"),
        None => format!("ownership was released (epoch {epoch})"),
    }
}

impl RunTableError {
    /// What a user can do about it, if known.
    pub fn hint(&self) -> Option<String> {
        use RunTableError::*;
        let hint = match self {
            NoDirectory { .. } => "check the path, or create the directory first".into(),
            NotADatabaseDirectory { .. } => {
                "a database directory holds runs.sqlite and context.py, usually usr/Shared/amore of a proposal; \
                 change into it, or start a new one with `amore proposal NUMBER`"
                    .into()
            }
            AlreadyExists { .. } => {
                "it was left as it is; to start from scratch, delete runs.sqlite and extracted_data/ first".into()
            }
            NotAFile { path, .. } => format!("move {} away", path.display()),
            UnusablePath { .. } => "rename the directory, or use a path without such characters".into(),
            Empty { .. } | NotSqlite { .. } | Foreign { .. } => {
                "it was left as it is; if it is no longer needed, move it away and start a new one with \
                 `amore proposal NUMBER`"
                    .into()
            }
            Corrupt { path, .. } => format!(
                "stop what writes it, keep a copy, then try `sqlite3 {} .recover`; the results themselves are \
                 in extracted_data/",
                path.display()
            ),
            TooOld { .. } => "convert it with DAMNIT's own `damnit migrate v0-to-v1` first".into(),
            TooNew { .. } => "use a newer release of this program".into(),
            BadVersion { .. } => "set it to the version of the program that created the file (DAMNIT 0.4: 4)".into(),
            Unreadable { .. } => "ask its owner for read permission (chmod g+r)".into(),
            NotWritable { .. } => {
                "SQLite writes both the file and its directory: ask their owner for group write permission \
                 (chmod g+w), and see that the file system is not mounted read-only"
                    .into()
            }
            Full { .. } => "free some space or ask for more quota; nothing was partly written".into(),
            Busy { holders, .. } if holders.is_empty() => {
                "another program reads or writes it, perhaps on another host (a GUI, a DAMNIT service, a script \
                 in the middle of a transaction, a program that was stopped); close that and try again"
                    .into()
            }
            Busy { holders, .. } => advice(holders),
            Deposed { by: Some(owner), .. } => match &owner.address {
                Some(address) => format!("hand the request to {address}"),
                None => "wait for that process to finish".into(),
            },
            Deposed { by: None, .. } => {
                "another process took over while this one did not move, and has ended since: nothing is lost; run the \
                 command again, or `amore follow` for what is still open"
                    .into()
            }
            Interrupted { .. } => "somebody with write permission has to open it once (`amore table`)".into(),
            Replaced { .. } => "open it again".into(),
            OpenedReadOnly | ProtectedSetting { .. } | BadSetting { .. } | Io { .. } | Sql { .. } => return None,
        };
        Some(hint)
    }
}
