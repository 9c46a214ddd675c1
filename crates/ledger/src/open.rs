//! Opens a ledger; the only file that chooses a database engine.

use std::{path::Path, sync::Arc, time::Duration};

use crate::{
    LedgerError,
    engine::{Engine, Mode},
    postgres, sqlite,
    statement::Statement,
};

/// The file name of a ledger if only a directory is given.
pub const FILE_NAME: &str = "ledger.sqlite";

/// Options for opening a ledger.
#[derive(Clone, Debug, PartialEq)]
pub struct OpenOptions {
    /// The name of this host: a SQLite ledger is used from one host at a time.
    pub host: String,
    /// The time, in seconds since 1970.
    pub now: f64,
    /// How long to wait for a lock of another process, or for a server that does not answer.
    pub patience: Duration,
    /// The most connections to a server.
    pub connections: u32,
}

impl OpenOptions {
    /// Opens from `host` at `now` (seconds since 1970), waits up to 30 seconds for locks, and uses up to four connections.
    pub fn new(host: impl Into<String>, now: f64) -> Self {
        OpenOptions { host: host.into(), now, patience: Duration::from_secs(30), connections: 4 }
    }
}

/// An open ledger. Clones share it.
///
/// No transaction outlives the call that began it: dropping the future of a call rolls it back.
#[derive(Clone, Debug)]
pub struct Ledger {
    pub(crate) engine: Arc<dyn Engine>,
    stays_open: bool,
}

impl Ledger {
    /// Opens a ledger and brings its schema up to date; creates one if there is none.
    ///
    /// `place` is an address (`postgres://user@host/database`, `sqlite:/path/to/file`), a file, or a directory, which
    /// stands for [`FILE_NAME`] in it.
    ///
    /// # Errors
    /// See [`LedgerError`]; an existing file is not changed then.
    pub async fn open(place: &str, options: &OpenOptions) -> Result<Ledger, LedgerError> {
        let engine: Arc<dyn Engine> = match place.split_once(':') {
            Some(("postgres" | "postgresql", _)) => Arc::new(postgres::open(place, options).await?),
            Some(("sqlite", path)) => {
                Arc::new(open_file(path.strip_prefix("//").unwrap_or(path), options).await?)
            }
            Some((scheme, rest)) if rest.starts_with("//") => {
                let why = format!("{scheme} is not a supported database engine");
                return Err(LedgerError::BadPlace { given: format!("{scheme}://…"), why });
            }
            _ => Arc::new(open_file(place, options).await?),
        };
        Ok(Ledger { engine, stays_open: false })
    }

    /// Whether this place is a server, which many hosts and directories share.
    pub fn is_server(place: &str) -> bool {
        matches!(place.split_once(':'), Some(("postgres" | "postgresql", _)))
    }

    /// Opens an existing ledger for reading. A file is neither written nor taken over from another host, and read permission
    /// is enough. Only if it has to be repaired first (an older schema, an interrupted write), this needs the same as
    /// [`Ledger::open`].
    ///
    /// # Errors
    /// See [`LedgerError`]. Writing to it is an error too.
    pub async fn open_to_read(place: &str, options: &OpenOptions) -> Result<Ledger, LedgerError> {
        let path = match place.split_once(':') {
            Some(("sqlite", path)) => path.strip_prefix("//").unwrap_or(path),
            Some(("postgres" | "postgresql", _)) => return Ledger::open(place, options).await,
            Some((_, rest)) if rest.starts_with("//") => return Ledger::open(place, options).await,
            _ => place,
        };
        let path = Path::new(path);
        let file = if path.is_dir() { path.join(FILE_NAME) } else { path.to_owned() };
        match sqlite::open_to_read(&file, options).await? {
            Some(engine) => Ok(Ledger { engine: Arc::new(engine), stays_open: false }),
            None => Ledger::open(place, options).await,
        }
    }

    /// Its address without passwords, for messages.
    pub fn place(&self) -> String {
        self.engine.place()
    }

    /// The present time, in seconds since 1970, as all hosts that use this ledger know it: that of the server. A file has none,
    /// and is used on one host: its time is `here`.
    ///
    /// # Errors
    /// The server does not answer.
    pub async fn time(&self, here: f64) -> Result<f64, LedgerError> {
        let Some(text) = self.engine.time() else { return Ok(here) };
        let mut work = self.engine.begin(Mode::Read, "read the time").await?;
        let row = work.fetch(&Statement::new(text)).await?.pop();
        work.commit().await?;
        row.map_or(Ok(here), |mut row| row.real())
    }

    /// Another handle to it, which does not close it: whoever has the first one does.
    pub fn for_one_of_many(&self) -> Ledger {
        Ledger { engine: Arc::clone(&self.engine), stays_open: true }
    }

    /// Closes it, for all clones. Otherwise it is closed in the background when the last clone is dropped.
    ///
    /// # Errors
    /// It could not be closed.
    pub async fn close(&self) -> Result<(), LedgerError> {
        if self.stays_open { Ok(()) } else { self.engine.close().await }
    }
}

async fn open_file(path: &str, options: &OpenOptions) -> Result<sqlite::SqliteEngine, LedgerError> {
    if path.is_empty() {
        return Err(LedgerError::BadPlace { given: path.to_owned(), why: "it is empty".into() });
    }
    let path = Path::new(path);
    if path.is_dir() {
        sqlite::open(&path.join(FILE_NAME), options).await
    } else {
        sqlite::open(path, options).await
    }
}
