//! `listener.sqlite`: which databases the service processes runs for, and its settings, in the format of DAMNIT 0.4.
//!
//! Guarantees of this crate:
//!
//! * Reading creates and changes nothing. A directory without the file has no databases and the default settings.
//! * When a writing function returns, its data are on disk. Each one is one transaction.
//! * No connection is kept between two calls: a file that was replaced, or was read-only for a while, needs no restart.
//! * Rows and settings of other programs stay as they are; a row that cannot be used is reported, not skipped silently.
//! * Files that are not of this format are never changed.
//!
//! Opening the file takes a fraction of a millisecond. Who needs an answer more often than that keeps it.

mod databases;
mod error;
mod open;
mod settings;
mod sql;

use std::{path::PathBuf, time::Duration};

pub use databases::{Added, Database, Databases, UnusableRow};
pub use error::ListenerDbError;
pub use settings::{
    InvalidSetting, KNOWN_SETTINGS, KnownSetting, SettingKind, Settings, nearest_setting, parse_setting,
};

/// The name of the file in the service's directory.
pub const FILE_NAME: &str = "listener.sqlite";

/// How long a call waits for a lock that another process holds, unless told otherwise.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// The database of a service, by its directory. It is opened by each call.
#[derive(Clone, Debug)]
pub struct ListenerDb {
    dir: PathBuf,
    busy_timeout: Duration,
}

impl ListenerDb {
    /// The database in this directory. Nothing is opened yet.
    pub fn at(dir: impl Into<PathBuf>) -> Self {
        ListenerDb { dir: dir.into(), busy_timeout: BUSY_TIMEOUT }
    }

    /// Limits the time that a call waits for another process's lock (30 s otherwise).
    #[must_use]
    pub fn busy_timeout(mut self, timeout: Duration) -> Self {
        self.busy_timeout = timeout;
        self
    }

    /// The path of the file, whether or not it exists.
    pub fn path(&self) -> PathBuf {
        self.dir.join(FILE_NAME)
    }
}
