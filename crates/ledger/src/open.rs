//! From a place to a ledger: the one file that chooses a database engine.

use std::{path::Path, sync::Arc, time::Duration};

use crate::{LedgerError, engine::Engine, postgres, sqlite};

/// The name of a ledger's file where only a directory is given.
pub const FILE_NAME: &str = "ledger.sqlite";

/// Who opens a ledger, and how patiently.
#[derive(Clone, Debug, PartialEq)]
pub struct OpenOptions {
    /// The name of this host: a SQLite ledger is used from one host at a time.
    pub host: String,
    /// The time, in seconds since 1970.
    pub now: f64,
    /// How long to wait for a lock that another process holds, or for a server that does not answer.
    pub patience: Duration,
}

impl OpenOptions {
    /// Opens from `host` at `now` (seconds since 1970), waiting up to 30 seconds for others.
    pub fn new(host: impl Into<String>, now: f64) -> Self {
        OpenOptions { host: host.into(), now, patience: Duration::from_secs(30) }
    }
}

/// An open ledger. Clones share it.
///
/// No transaction outlives the call that began it: dropping a call's future undoes what it wrote.
#[derive(Clone, Debug)]
pub struct Ledger {
    pub(crate) engine: Arc<dyn Engine>,
}

impl Ledger {
    /// Opens a ledger, brings its schema up to date, and makes a new one where there is none.
    ///
    /// `place` is an address (`postgres://user@host/database`, `sqlite:/path/to/file`), a file, or a directory,
    /// which means [`FILE_NAME`] in it.
    ///
    /// # Errors
    /// See [`LedgerError`]; what stands there is left as it is.
    pub async fn open(place: &str, options: &OpenOptions) -> Result<Ledger, LedgerError> {
        let engine: Arc<dyn Engine> = match place.split_once(':') {
            Some(("postgres" | "postgresql", _)) => Arc::new(postgres::open(place, options).await?),
            Some(("sqlite", path)) => {
                Arc::new(open_file(path.strip_prefix("//").unwrap_or(path), options).await?)
            }
            Some((scheme, rest)) if rest.starts_with("//") => {
                let why = format!("{scheme} is not an engine that this program knows");
                return Err(LedgerError::BadPlace { given: format!("{scheme}://…"), why });
            }
            _ => Arc::new(open_file(place, options).await?),
        };
        Ok(Ledger { engine })
    }

    /// Opens a ledger that is there, to look at it. A file is neither written nor taken from another host, and the
    /// right to read it is enough; only what has to be mended first (an older schema, a write that was cut short) takes
    /// what [`Ledger::open`] does.
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
            Some(engine) => Ok(Ledger { engine: Arc::new(engine) }),
            None => Ledger::open(place, options).await,
        }
    }

    /// Where it is, for messages: without passwords.
    pub fn place(&self) -> String {
        self.engine.place()
    }

    /// Closes it, for all clones; without it, that happens in the background when the last one is dropped.
    ///
    /// # Errors
    /// It could not be closed.
    pub async fn close(&self) -> Result<(), LedgerError> {
        self.engine.close().await
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
