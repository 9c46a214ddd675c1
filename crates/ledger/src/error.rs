//! What can go wrong with a ledger, by what the caller can do about it.

use std::{io, path::PathBuf, time::Duration};

use thiserror::Error;

use crate::{Holder, Phase, SCHEMA_VERSION};

/// A task that was not in the phase from which it was to move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The task.
    pub task: String,
    /// The phase that the caller took it to be in; `None` where it only had to exist.
    pub expected: Option<Phase>,
    /// The phase it is in; `None` if the scope has no such task.
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

/// Why the ledger could not be opened, read or written. Nothing was changed, except as [`LedgerError::Unreachable`]
/// says.
#[derive(Debug, Error)]
pub enum LedgerError {
    /// The writer does not, or no longer, hold the lease. Stop coordinating.
    #[error("this process may no longer write the ledger of {scope}: {}", deposed_words(.by.as_deref(), *.epoch))]
    Deposed {
        /// The scope.
        scope: String,
        /// Who holds the lease now; `None` if it was released.
        by: Option<Box<Holder>>,
        /// The epoch that the lease has now.
        epoch: u64,
    },
    /// Tasks are not as the caller took them to be. Read them again.
    #[error("{}", conflict_words(.tasks))]
    Conflict {
        /// Those that did not match.
        tasks: Vec<Mismatch>,
    },
    /// A request with this id is there already: an earlier try got through.
    #[error("the ledger has a request {id} already")]
    AlreadyThere {
        /// Its id.
        id: String,
    },
    /// A move that no task may make. A fault of the program.
    #[error("task {task} cannot move from {from} to {to}")]
    IllegalMove {
        /// The task.
        task: String,
        /// From.
        from: Phase,
        /// To.
        to: Phase,
    },
    /// What was asked makes no sense. A fault of the program.
    #[error("{what}")]
    Misuse {
        /// What is wrong with it.
        what: String,
    },
    /// The server is away, or the connection broke. Try again later; if this happened at the end of a write, whether
    /// that took effect shows when the ledger is read again.
    #[error("the ledger {place} cannot be reached to {doing}: {source}")]
    Unreachable {
        /// Where it is.
        place: String,
        /// What was tried: "add a request".
        doing: &'static str,
        /// Why not.
        source: sqlx::Error,
    },
    /// Another process held a lock all the time. Try again.
    #[error("could not {doing}: the ledger {place} has been locked by another process for {waited:.0?}")]
    Busy {
        /// Where it is.
        place: String,
        /// What was tried.
        doing: &'static str,
        /// How long we waited.
        waited: Duration,
    },
    /// Another host has this file open.
    #[error("{} is in use on {host}{}", .path.display(), for_another(*.left))]
    OtherHost {
        /// The file.
        path: PathBuf,
        /// The host.
        host: String,
        /// How long its leases run still; `None` if it has taken the file over from this host.
        left: Option<Duration>,
    },
    /// A schema from the future.
    #[error("the ledger {place} has schema {found}; this program knows schemas up to {SCHEMA_VERSION}")]
    NewerSchema {
        /// Where it is.
        place: String,
        /// Its schema.
        found: i64,
    },
    /// A migration was applied with another text than this program has for it.
    #[error("the ledger {place} was made by another program: its migration {number} is not ours")]
    AlteredSchema {
        /// Where it is.
        place: String,
        /// The migration.
        number: i64,
    },
    /// Something stands there that is no ledger.
    #[error("{place} is {what}, not a ledger")]
    Foreign {
        /// Where.
        place: String,
        /// What it is: "a directory", "a SQLite database of something else".
        what: &'static str,
    },
    /// SQLite finds the file damaged.
    #[error("the ledger {} is damaged: {detail}", .path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// SQLite's words.
        detail: String,
    },
    /// A value in the ledger is not what this program writes.
    #[error("the ledger holds {found} where a {wanted} should be")]
    BadRow {
        /// What was expected.
        wanted: &'static str,
        /// What is there.
        found: String,
    },
    /// There is no directory for the file.
    #[error("there is no directory {}", .dir.display())]
    NoDirectory {
        /// The directory.
        dir: PathBuf,
    },
    /// The file or its directory may not be written.
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
    /// Neither a path nor a database address.
    #[error("{given:?} is neither a path nor the address of a database: {why}")]
    BadPlace {
        /// What was given, without secrets.
        given: String,
        /// What is wrong.
        why: String,
    },
    /// The server does not let us in.
    #[error("the server refuses the ledger {place}: {source}")]
    Refused {
        /// Where it is.
        place: String,
        /// Its words.
        source: sqlx::Error,
    },
    /// The file system refused something.
    #[error("could not {doing} {}: {source}", .path.display())]
    Io {
        /// What was tried: "create".
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The database refused something else.
    #[error("could not {doing} in the ledger {place}: {source}")]
    Other {
        /// Where it is.
        place: String,
        /// What was tried.
        doing: &'static str,
        /// Why not.
        source: sqlx::Error,
    },
}

fn deposed_words(by: Option<&Holder>, epoch: u64) -> String {
    match by {
        Some(holder) => format!("{holder} took over (epoch {epoch})"),
        None => format!("the lease was given up (epoch {epoch})"),
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
    /// Is it worth trying the same again after a while?
    pub fn is_temporary(&self) -> bool {
        matches!(self, LedgerError::Unreachable { .. } | LedgerError::Busy { .. })
    }

    /// What a user can do about it, where that is known.
    pub fn hint(&self) -> Option<String> {
        use LedgerError::*;
        let hint = match self {
            Deposed { by: Some(holder), .. } => match &holder.address {
                Some(address) => format!("hand the request to {address}"),
                None => "let that process finish".into(),
            },
            Deposed { by: None, .. } => "acquire the lease again".into(),
            Unreachable { .. } => {
                "see that the server is up and can be reached from this host; the program tries again by itself"
                    .into()
            }
            Busy { .. } => "close whatever else has it open, or try again".into(),
            OtherHost { host, left: Some(_), .. } => format!(
                "a SQLite ledger is used from one host at a time: work on {host}, stop the coordinator there, or wait \
                 until its lease has run out; for several hosts use PostgreSQL"
            ),
            OtherHost { host, left: None, .. } => {
                format!("{host} took it over from here: hand the request to the coordinator there")
            }
            NewerSchema { .. } => "use a newer release of this program".into(),
            AlteredSchema { .. } => {
                "use the release that made it; a ledger can be moved away, the results do not depend on it".into()
            }
            Foreign { .. } => "it was left as it is; move it away, or name another place for the ledger".into(),
            Corrupt { path, .. } => format!(
                "stop what writes it and move {} away: a new ledger starts empty, and the results themselves are in \
                 extracted_data/ and runs.sqlite",
                path.display()
            ),
            NoDirectory { .. } => "check the path, or make the directory first".into(),
            NotWritable { .. } => {
                "SQLite writes both the file and its directory: ask their owner for group write permission \
                 (chmod g+w), and see that the file system is not mounted read-only"
                    .into()
            }
            Full { .. } => "free some space or ask for more quota; nothing was half-written".into(),
            Replaced { .. } => "run the command again: it works with what is there now".into(),
            BadPlace { .. } => "write a path, or postgres://user@host/database".into(),
            Refused { .. } => {
                "check user, password (PGPASSWORD or ~/.pgpass) and database name, and that the user may create in it"
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
