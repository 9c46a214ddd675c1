//! Errors of a ledger, by what the caller can do about them.

use std::{io, path::PathBuf, time::Duration};

use thiserror::Error;

use crate::{Holder, Phase, SCHEMA_VERSION};

/// A task that was not in the phase that a move starts from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The task.
    pub task: String,
    /// The phase that the caller expected; `None` if it only had to exist.
    pub expected: Option<Phase>,
    /// Its actual phase; `None` if the scope has no such task.
    pub found: Option<Phase>,
}

impl std::fmt::Display for Mismatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.expected, self.found) {
            (_, None) => write!(f, "there is no task {}", self.task),
            (Some(expected), Some(found)) => write!(f, "task {} is {found}, not {expected}", self.task),
            (None, Some(found)) => write!(f, "task {} is {found}", self.task),
        }
    }
}

/// Why the ledger could not be opened, read or written. Nothing was changed, except as described for
/// [`LedgerError::Unreachable`].
#[derive(Debug, Error)]
pub enum LedgerError {
    /// The writer does not hold the lease, or no longer. Stop coordinating.
    #[error("this process may no longer write the ledger of {scope}: {}", deposed_words(.by.as_deref(), *.epoch))]
    Deposed {
        /// The scope.
        scope: String,
        /// Who holds the lease now; `None` if it was released.
        by: Option<Box<Holder>>,
        /// The epoch that the lease has now.
        epoch: u64,
    },
    /// Tasks are not in the state that the caller expected. Read them again.
    #[error("{}", conflict_words(.tasks))]
    Conflict {
        /// Those that did not match.
        tasks: Vec<Mismatch>,
    },
    /// A request with this id exists: an earlier attempt to add it succeeded.
    #[error("the ledger already has a request {id}")]
    AlreadyThere {
        /// Its id.
        id: String,
    },
    /// A move that the state machine does not allow. A bug.
    #[error("task {task} cannot move from {from} to {to}")]
    IllegalMove {
        /// The task.
        task: String,
        /// Its phase.
        from: Phase,
        /// The phase that it should move to.
        to: Phase,
    },
    /// An invalid call. A bug.
    #[error("{what}")]
    Misuse {
        /// What is wrong with it.
        what: String,
    },
    /// The server is down, or the connection broke. Try again later. If it broke at the end of a write, read the ledger
    /// again to see whether the write took effect.
    #[error("the ledger {place} cannot be reached to {doing}: {source}")]
    Unreachable {
        /// Where it is.
        place: String,
        /// The purpose: "add a request".
        doing: &'static str,
        /// Why not.
        source: sqlx::Error,
    },
    /// Another process held a lock for too long. Try again.
    #[error("could not {doing}: the ledger {place} has been locked by another process for {waited:.0?}")]
    Busy {
        /// Where it is.
        place: String,
        /// The purpose.
        doing: &'static str,
        /// How long it was waited for.
        waited: Duration,
    },
    /// Another host has this file open.
    #[error("{} is in use on {host}{}", .path.display(), for_another(*.left))]
    OtherHost {
        /// The file.
        path: PathBuf,
        /// The host.
        host: String,
        /// How long its leases are still valid; `None` if it took the file over from this host.
        left: Option<Duration>,
    },
    /// The schema is of a newer version.
    #[error("the ledger {place} has schema {found}; this program knows schemas up to {SCHEMA_VERSION}")]
    NewerSchema {
        /// Where it is.
        place: String,
        /// Its schema.
        found: i64,
    },
    /// A migration was applied whose text differs from this program's.
    #[error("the ledger {place} was created by another program: its migration {number} differs")]
    AlteredSchema {
        /// Where it is.
        place: String,
        /// The migration.
        number: i64,
    },
    /// The file or database is not a ledger.
    #[error("{place} is {what}, not a ledger")]
    Foreign {
        /// Where.
        place: String,
        /// What it is: "a directory", "another SQLite database".
        what: &'static str,
    },
    /// SQLite reports that the file is damaged.
    #[error("the ledger {} is damaged: {detail}", .path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// SQLite's message.
        detail: String,
    },
    /// A value in the ledger that this program does not write.
    #[error("the ledger contains {found} instead of a {wanted}")]
    BadRow {
        /// What was expected.
        wanted: &'static str,
        /// What is there.
        found: String,
    },
    /// The directory of the file does not exist.
    #[error("the directory {} does not exist", .dir.display())]
    NoDirectory {
        /// The directory.
        dir: PathBuf,
    },
    /// No permission to write the file or its directory.
    #[error("{} cannot be written", .path.display())]
    NotWritable {
        /// The file or directory.
        path: PathBuf,
    },
    /// The disk or a quota is full.
    #[error("no space left to write the ledger {place}")]
    Full {
        /// Where it is.
        place: String,
    },
    /// The file was deleted or replaced while it was open.
    #[error("{} was deleted or replaced while it was open", .path.display())]
    Replaced {
        /// The file.
        path: PathBuf,
    },
    /// Neither a path nor the address of a database.
    #[error("{given:?} is neither a path nor the address of a database: {why}")]
    BadPlace {
        /// What was given, without secrets.
        given: String,
        /// What is wrong.
        why: String,
    },
    /// The server denies access.
    #[error("the server refuses the ledger {place}: {source}")]
    Refused {
        /// Where it is.
        place: String,
        /// Its message.
        source: sqlx::Error,
    },
    /// An operation on a file failed.
    #[error("could not {doing} {}: {source}", .path.display())]
    Io {
        /// The operation: "create".
        doing: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Any other error of the database.
    #[error("could not {doing} in the ledger {place}: {source}")]
    Other {
        /// Where it is.
        place: String,
        /// The purpose.
        doing: &'static str,
        /// Why not.
        source: sqlx::Error,
    },
}

fn deposed_words(by: Option<&Holder>, epoch: u64) -> String {
    match by {
        Some(holder) => format!("{holder} took over (epoch {epoch})"),
        None => format!("the lease was released (epoch {epoch})"),
    }
}

fn conflict_words(tasks: &[Mismatch]) -> String {
    const SHOWN: usize = 5;
    let mut words: Vec<String> = tasks.iter().take(SHOWN).map(Mismatch::to_string).collect();
    if tasks.len() > SHOWN {
        words.push(format!("{} more", tasks.len() - SHOWN));
    }
    words.join("; ")
}

impl LedgerError {
    /// Whether it is worth trying again later.
    pub fn is_temporary(&self) -> bool {
        matches!(self, LedgerError::Unreachable { .. } | LedgerError::Busy { .. })
    }

    /// What a user can do about it, if known.
    pub fn hint(&self) -> Option<String> {
        use LedgerError::*;
        let hint = match self {
            Deposed { by: Some(holder), .. } => match &holder.address {
                Some(address) => format!("send the request to {address}"),
                None => "let that process finish".into(),
            },
            Deposed { by: None, .. } => "acquire the lease again".into(),
            Unreachable { .. } => {
                "check that the server is running and can be reached from this host; Amore tries again by itself"
                    .into()
            }
            Busy { .. } => "close other programs that use it, or try again".into(),
            OtherHost { host, left: Some(_), .. } => format!(
                "a SQLite ledger is used from one host at a time: work on {host}, stop the coordinator there, or wait \
                 until its lease has run out; for several hosts use PostgreSQL"
            ),
            OtherHost { host, left: None, .. } => {
                format!("{host} took it over: send the request to the coordinator there")
            }
            NewerSchema { .. } => "upgrade Amore".into(),
            AlteredSchema { .. } => {
                "use the version that created it, or move the ledger away: results do not depend on it".into()
            }
            Foreign { .. } => "it was not changed; move it away, or choose another path for the ledger".into(),
            Corrupt { path, .. } => format!(
                "stop what writes it and move {} away: a new ledger starts empty, and the results themselves are in \
                 extracted_data/ and runs.sqlite",
                path.display()
            ),
            NoDirectory { .. } => "check the path, or create the directory".into(),
            NotWritable { .. } => {
                "SQLite writes both the file and its directory: ask their owner for group write permission \
                 (chmod g+w), and check that the file system is not mounted read-only"
                    .into()
            }
            Full { .. } => "free some space or ask for more quota; nothing was half-written".into(),
            Replaced { .. } => "run the command again: it uses the new file".into(),
            BadPlace { .. } => "use a path, or postgres://user@host/database".into(),
            Refused { .. } => {
                "check user, password (PGPASSWORD or ~/.pgpass) and database name, and that the user may create tables in it"
                    .into()
            }
            Conflict { .. }
            | AlreadyThere { .. }
            | IllegalMove { .. }
            | Misuse { .. }
            | BadRow { .. }
            | Io { .. }
            | Other { .. } => return None,
        };
        Some(hint)
    }
}

/// `, for another 3 s`.
fn for_another(left: Option<Duration>) -> String {
    left.map_or_else(String::new, |left| format!(", for another {:.0} s", left.as_secs_f64().ceil()))
}
