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

use crate::failure::Failure;

/// What a directory says of a ledger that is not in it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Elsewhere {
    /// Without passwords.
    ledger: String,
    /// The run table that it speaks of: after "starting from scratch" it is another one.
    run_table: String,
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

/// What the ledger says went wrong, for the user.
pub fn failed(error: &LedgerError) -> Failure {
    let failure = Failure::from_error(error);
    match error.hint() {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// Opens the ledger of a directory, for the run table with this `db_id`.
///
/// # Errors
/// Another ledger has something of this directory under way; see [`LedgerError`] for others.
pub async fn open(dir: &DatabaseDir, run_table: &str) -> Result<Ledger, Failure> {
    if let Some(folder) = file(dir).parent() {
        fs::create_dir_all(folder)
            .map_err(|error| Failure::new(format!("cannot make {}: {error}", folder.display())))?;
    }
    nothing_in_the_file(dir).await?;
    nothing_elsewhere(dir, Some(run_table))?;
    Ledger::open(&place(dir), &options()).await.map_err(|error| failed(&error))
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
pub async fn open_to_read(dir: &DatabaseDir) -> Result<Ledger, Failure> {
    nothing_elsewhere(dir, None)?;
    Ledger::open_to_read(&place(dir), &options()).await.map_err(|error| failed(&error))
}

/// Notes in the directory that its ledger has something under way, if it is not there itself.
///
/// # Errors
/// The note cannot be written.
pub fn leave_note(dir: &DatabaseDir, run_table: &str) -> Result<(), Failure> {
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
    written.map_err(|error| Failure::new(format!("cannot write {}: {error}", path.display())))
}

/// Takes the note away: nothing is under way.
///
/// # Errors
/// It cannot be removed.
pub fn remove_note(dir: &DatabaseDir) -> Result<(), Failure> {
    let path = note(dir);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Failure::new(format!("cannot remove {}: {error}", path.display())))
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
async fn nothing_in_the_file(dir: &DatabaseDir) -> Result<(), Failure> {
    let own = own_file(dir);
    if place(dir) == own || !file(dir).exists() {
        return Ok(());
    }
    let ledger = Ledger::open_to_read(&own, &options()).await.map_err(|error| failed(&error))?;
    let open = ledger.open_tasks(&scope(dir)).await.map_err(|error| failed(&error))?;
    let _ = ledger.close().await;
    if open.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!(
        "{own} has {} under way, and another ledger is to be used",
        count(open.len(), "task")
    ))
    .hint(
        "without AMORE_LEDGER_URL `amore follow` brings them to their end, and `amore cancel RUN` ends them",
    ))
}

/// Has a ledger that is not the one to be used left a note? One about another run table than this counts for nothing.
fn nothing_elsewhere(dir: &DatabaseDir, run_table: Option<&str>) -> Result<(), Failure> {
    let path = note(dir);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Failure::new(format!("cannot read {}: {error}", path.display()))),
    };
    let hint = |ledger: &str| {
        format!(
            "with AMORE_LEDGER_URL for {ledger} `amore follow` brings it to its end, and `amore cancel RUN` ends it; \
             if that ledger is gone, remove {}",
            path.display()
        )
    };
    let Ok(Elsewhere { ledger, run_table: of }) = serde_json::from_slice(&text) else {
        return Err(Failure::new(format!("{} cannot be understood", path.display())).hint(hint("its ledger")));
    };
    if ledger == without_secret(&place(dir)) || run_table.is_some_and(|run_table| run_table != of) {
        return Ok(());
    }
    Err(Failure::new(format!(
        "the ledger {ledger} has something of this directory under way, and is not the one to be used"
    ))
    .hint(hint(&ledger)))
}
