//! Which ledger a directory uses: the one that `AMORE_LEDGER_URL` names, otherwise a file in the directory. Never two at
//! once.
//!
//! Unfinished work is recorded in one ledger. A command that used another one would not see it, and would compute it again.
//! So a ledger outside the directory leaves a note in the directory while it has unfinished work.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use amore_core::events::count;
use amore_ledger::{Ledger, LedgerError, OpenOptions, without_secret};
use amore_model::DatabaseDir;
use serde::{Deserialize, Serialize};

use super::{CoordinateError, ledgers::Ledgers};
use crate::{advice::Advice, clock::now};

/// The note about a ledger outside the directory.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Elsewhere {
    /// Without passwords.
    ledger: String,
    /// The run table that the ledger belongs to. After "starting from scratch", the directory has another one.
    run_table: String,
}

/// The note about the ledger of a service.
#[derive(Debug, Serialize, Deserialize)]
struct ServiceLedger {
    /// Without passwords.
    ledger: String,
}

/// Another ledger than the configured one has unfinished work. It has to be finished there first.
#[derive(Debug, thiserror::Error)]
pub enum OtherLedger {
    /// It is in the directory's own ledger file.
    #[error("{} has {} under way, and another ledger is to be used", file.display(), count(*tasks, "task"))]
    InDirectory { file: PathBuf, tasks: usize },
    /// It is in a ledger outside the directory, which has left a note.
    #[error("the ledger {ledger} has something of this directory under way, and is not the one to be used")]
    Elsewhere { ledger: String, note: PathBuf },
    /// The note is damaged, so the ledger is unknown.
    #[error("{} cannot be understood", note.display())]
    Unknown { note: PathBuf },
}

impl Advice for OtherLedger {
    fn hint(&self) -> Option<String> {
        let (ledger, note) = match self {
            OtherLedger::InDirectory { .. } => {
                return Some(
                    "without AMORE_LEDGER_URL `amore follow` brings them to their end, and `amore cancel RUN` ends them"
                        .to_owned(),
                );
            }
            OtherLedger::Elsewhere { ledger, note } => (ledger.as_str(), note),
            OtherLedger::Unknown { note } => ("its ledger", note),
        };
        Some(format!(
            "with AMORE_LEDGER_URL for {ledger} `amore follow` brings it to its end, and `amore cancel RUN` ends it; \
             if that ledger is gone, remove {}",
            note.display()
        ))
    }
}

/// Path of the directory's own ledger file.
pub fn file(dir: &DatabaseDir) -> PathBuf {
    dir.own_files().join(amore_ledger::FILE_NAME)
}

/// Location of a directory's ledger: `AMORE_LEDGER_URL`, otherwise a file in it.
pub fn place(dir: &DatabaseDir) -> String {
    match std::env::var("AMORE_LEDGER_URL") {
        Ok(url) if !url.is_empty() => url,
        _ => file(dir).display().to_string(),
    }
}

/// Whether the directory may have a ledger.
pub fn exists(dir: &DatabaseDir) -> bool {
    std::env::var_os("AMORE_LEDGER_URL").is_some_and(|url| !url.is_empty())
        || file(dir).exists()
        || note(dir).exists()
}

/// The key of a directory in a ledger.
pub fn scope(dir: &DatabaseDir) -> String {
    dir.path().display().to_string()
}

/// How a service opens ledgers: its directories share that on a server.
///
/// # Errors
/// No thread can be started.
pub fn ledgers_of_service() -> io::Result<Ledgers> {
    match std::env::var("AMORE_LEDGER_URL") {
        Ok(url) if Ledger::is_server(&url) => Ledgers::shared(),
        _ => Ok(Ledgers::default()),
    }
}

/// Opens the ledger of a directory, for the run table with this `db_id`.
///
/// # Errors
/// Another ledger has unfinished work of this directory; see [`LedgerError`] for others.
pub async fn open(dir: &DatabaseDir, run_table: &str, ledgers: &Ledgers) -> Result<Ledger, CoordinateError> {
    nothing_in_the_file(dir).await?;
    let (own, run_table) = (dir.clone(), run_table.to_owned());
    // The file system may hang, and must not hold up the coordinator's loop.
    tokio::task::spawn_blocking(move || {
        create_folder(&own)?;
        nothing_elsewhere(&own, Some(&run_table))
    })
    .await??;
    Ok(ledgers.open(&place(dir), &options()).await?)
}

fn create_folder(dir: &DatabaseDir) -> Result<(), CoordinateError> {
    let Some(folder) = file(dir).parent().map(PathBuf::from) else { return Ok(()) };
    fs::create_dir_all(&folder).map_err(|source| CoordinateError::File {
        doing: "create",
        path: folder,
        source,
    })
}

/// Creates what the ledger of a service in this directory needs.
///
/// # Errors
/// The folder of the ledger cannot be created.
pub async fn prepare_for_service(directory: &Path) -> Result<(), CoordinateError> {
    let dir = DatabaseDir::at(directory.to_owned());
    tokio::task::spawn_blocking(move || create_folder(&dir)).await?
}

/// Opens the ledger for the inbox of a service in this directory.
///
/// # Errors
/// Those of the ledger.
pub async fn open_for_service(directory: &Path, ledgers: &Ledgers) -> Result<Ledger, LedgerError> {
    open_again(&DatabaseDir::at(directory.to_owned()), ledgers).await
}

/// Leaves a note for commands, which may not have `AMORE_LEDGER_URL`, where the ledger of the service in this directory is.
/// Without it they have to be told.
pub async fn note_of_service(directory: &Path) {
    let dir = DatabaseDir::at(directory.to_owned());
    let written = tokio::task::spawn_blocking(move || {
        let (path, place) = (service_note(&dir), place(&dir));
        if place == own_file(&dir) {
            return match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            };
        }
        let beside = path.with_extension("json.writing");
        fs::write(&beside, serde_json::to_vec(&ServiceLedger { ledger: without_secret(&place) })?)?;
        fs::rename(&beside, &path)
    });
    if let Ok(Err(error)) = written.await {
        tracing::warn!(%error, "no note was left where the ledger is: `amore service status` needs AMORE_LEDGER_URL");
    }
}

/// Opens the ledger of the service in this directory read-only; possible on any host. `None`: there was no service yet.
/// It is where `AMORE_LEDGER_URL` says, otherwise where the service has noted.
///
/// # Errors
/// Those of the ledger.
pub async fn open_of_service(dir: &DatabaseDir) -> Result<Option<Ledger>, CoordinateError> {
    let noted = match fs::read(service_note(dir)) {
        Ok(text) => serde_json::from_slice::<ServiceLedger>(&text).ok().map(|note| note.ledger),
        Err(_) => None,
    };
    let own = own_file(dir);
    let place = match (place(dir), noted) {
        (place, Some(noted)) if place == own => noted,
        (place, _) => place,
    };
    if place == own && !file(dir).exists() {
        return Ok(None);
    }
    Ok(Some(Ledger::open_to_read(&place, &options()).await?))
}

fn service_note(dir: &DatabaseDir) -> PathBuf {
    file(dir).with_file_name("service-ledger.json")
}

/// Opens another connection to the ledger that this process already uses.
///
/// # Errors
/// Those of the ledger.
pub async fn open_again(dir: &DatabaseDir, ledgers: &Ledgers) -> Result<Ledger, LedgerError> {
    ledgers.open(&place(dir), &options()).await
}

/// Opens the ledger of a directory read-only; possible on any host.
///
/// # Errors
/// Another ledger has unfinished work of this directory; see [`LedgerError`] for others.
pub async fn open_to_read(dir: &DatabaseDir) -> Result<Ledger, CoordinateError> {
    nothing_elsewhere(dir, None)?;
    Ok(Ledger::open_to_read(&place(dir), &options()).await?)
}

/// Leaves a note in the directory that its ledger has unfinished work, if the ledger is outside the directory.
///
/// # Errors
/// The note cannot be written.
pub fn leave_note(dir: &DatabaseDir, run_table: &str) -> Result<(), CoordinateError> {
    let place = place(dir);
    if place == own_file(dir) {
        // A note here would be about an earlier run table.
        return remove_note(dir);
    }
    let words = Elsewhere { ledger: without_secret(&place), run_table: run_table.to_owned() };
    let path = note(dir);
    let beside = path.with_extension("json.writing");
    let written = serde_json::to_vec(&words).map_err(io::Error::other).and_then(|text| {
        fs::write(&beside, text)?;
        fs::rename(&beside, &path)
    });
    written.map_err(|source| CoordinateError::File { doing: "write", path, source })
}

/// Removes the note, because no work is unfinished.
///
/// # Errors
/// It cannot be removed.
pub fn remove_note(dir: &DatabaseDir) -> Result<(), CoordinateError> {
    let path = note(dir);
    match fs::remove_file(&path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(CoordinateError::File { doing: "remove", path, source })
        }
        _ => Ok(()),
    }
}

fn note(dir: &DatabaseDir) -> PathBuf {
    file(dir).with_file_name("ledger-elsewhere.json")
}

fn own_file(dir: &DatabaseDir) -> String {
    file(dir).display().to_string()
}

fn options() -> OpenOptions {
    let host = nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned());
    OpenOptions::new(host.unwrap_or_default(), now())
}

/// If the ledger is outside the directory: fails if the directory's own ledger file has unfinished work.
async fn nothing_in_the_file(dir: &DatabaseDir) -> Result<(), CoordinateError> {
    let own = own_file(dir);
    let path = file(dir);
    if place(dir) == own || !tokio::task::spawn_blocking(move || path.exists()).await? {
        return Ok(());
    }
    let scope = scope(dir);
    let here = tokio::runtime::Handle::current();
    // Opening a file blocks.
    let open = tokio::task::spawn_blocking(move || {
        here.block_on(async {
            let ledger = Ledger::open_to_read(&own, &options()).await?;
            let open = ledger.open_tasks(&scope).await?;
            let _ = ledger.close().await;
            Ok::<_, LedgerError>(open)
        })
    });
    let open = open.await??;
    if open.is_empty() {
        return Ok(());
    }
    Err(OtherLedger::InDirectory { file: file(dir), tasks: open.len() }.into())
}

/// Fails if another ledger than the configured one has left a note. A note about another run table than `run_table` is
/// ignored.
fn nothing_elsewhere(dir: &DatabaseDir, run_table: Option<&str>) -> Result<(), CoordinateError> {
    let path = note(dir);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(CoordinateError::File { doing: "read", path, source }),
    };
    let Ok(Elsewhere { ledger, run_table: of }) = serde_json::from_slice(&text) else {
        return Err(OtherLedger::Unknown { note: path }.into());
    };
    if ledger == without_secret(&place(dir)) || run_table.is_some_and(|run_table| run_table != of) {
        return Ok(());
    }
    Err(OtherLedger::Elsewhere { ledger, note: path }.into())
}
