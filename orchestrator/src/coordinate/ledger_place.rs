//! Which ledger a directory has: the one that `AMORE_LEDGER_URL` names, else a file in it; and never two at once.
//!
//! What is under way stands in one ledger. A command that looked into another would not see it, and would compute it
//! again. So a ledger that is not in the directory leaves a note there while it has something open.

use std::{
    fs, io,
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

use amore_core::events::count;
use amore_ledger::{Ledger, LedgerError, OpenOptions, without_secret};
use amore_model::DatabaseDir;
use serde::{Deserialize, Serialize};

use super::CoordinateError;
use crate::advice::Advice;

/// What a directory says of a ledger that is not in it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Elsewhere {
    /// Without passwords.
    ledger: String,
    /// The run table that it speaks of: after "starting from scratch" it is another one.
    run_table: String,
}

/// What is under way is in another ledger than the one to be used: bring it to its end there first.
#[derive(Debug, thiserror::Error)]
pub enum OtherLedger {
    /// In the file of the directory.
    #[error("{} has {} under way, and another ledger is to be used", file.display(), count(*tasks, "task"))]
    InDirectory { file: PathBuf, tasks: usize },
    /// In one that has left a note.
    #[error("the ledger {ledger} has something of this directory under way, and is not the one to be used")]
    Elsewhere { ledger: String, note: PathBuf },
    /// Somewhere: the note is damaged.
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

/// The present, in seconds since 1970.
pub(super) fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// The file of a directory's own ledger.
pub fn file(dir: &DatabaseDir) -> PathBuf {
    dir.own_files().join(amore_ledger::FILE_NAME)
}

/// Where the ledger of a directory is: `AMORE_LEDGER_URL`, else a file in it.
pub fn place(dir: &DatabaseDir) -> String {
    match std::env::var("AMORE_LEDGER_URL") {
        Ok(url) if !url.is_empty() => url,
        _ => file(dir).display().to_string(),
    }
}

/// Is there anything to remember?
pub fn exists(dir: &DatabaseDir) -> bool {
    std::env::var_os("AMORE_LEDGER_URL").is_some_and(|url| !url.is_empty())
        || file(dir).exists()
        || note(dir).exists()
}

/// The name of a directory in a ledger.
pub fn scope(dir: &DatabaseDir) -> String {
    dir.path().display().to_string()
}

/// Opens the ledger of a directory, for the run table with this `db_id`.
///
/// # Errors
/// Another ledger has something of this directory under way; see [`LedgerError`] for others.
pub async fn open(dir: &DatabaseDir, run_table: &str) -> Result<Ledger, CoordinateError> {
    if let Some(folder) = file(dir).parent() {
        fs::create_dir_all(folder).map_err(|source| CoordinateError::File {
            doing: "create",
            path: folder.to_owned(),
            source,
        })?;
    }
    nothing_in_the_file(dir).await?;
    nothing_elsewhere(dir, Some(run_table))?;
    Ok(Ledger::open(&place(dir), &options()).await?)
}

/// Opens the ledger that this process uses already once more.
///
/// # Errors
/// The ledger's.
pub async fn open_again(dir: &DatabaseDir) -> Result<Ledger, LedgerError> {
    Ledger::open(&place(dir), &options()).await
}

/// Opens the ledger of a directory to look at it: on whichever host, and without the right to write.
///
/// # Errors
/// Another ledger has something of this directory under way; see [`LedgerError`] for others.
pub async fn open_to_read(dir: &DatabaseDir) -> Result<Ledger, CoordinateError> {
    nothing_elsewhere(dir, None)?;
    Ok(Ledger::open_to_read(&place(dir), &options()).await?)
}

/// Notes in the directory that its ledger has something under way, if it is not there itself.
///
/// # Errors
/// The note cannot be written.
pub fn leave_note(dir: &DatabaseDir, run_table: &str) -> Result<(), CoordinateError> {
    let place = place(dir);
    if place == own_file(dir) {
        // Of a run table that is gone.
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

/// Takes the note away: nothing is under way.
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

/// With a ledger that is not in the directory, is anything open in the one that is?
async fn nothing_in_the_file(dir: &DatabaseDir) -> Result<(), CoordinateError> {
    let own = own_file(dir);
    if place(dir) == own || !file(dir).exists() {
        return Ok(());
    }
    let ledger = Ledger::open_to_read(&own, &options()).await?;
    let open = ledger.open_tasks(&scope(dir)).await?;
    let _ = ledger.close().await;
    if open.is_empty() {
        return Ok(());
    }
    Err(OtherLedger::InDirectory { file: file(dir), tasks: open.len() }.into())
}

/// Has a ledger that is not the one to be used left a note? One about another run table than this counts for nothing.
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
