//! Triggers of users: `amore trigger` leaves a file in the database directory, which its service takes. So nobody needs more
//! than the right to write there, and a trigger waits for a service that does not run.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use amore_intake::ArrivedData;
use amore_model::{DatabaseDir, Proposal, Run};
use serde::{Deserialize, Serialize};

use super::durable_file;

/// What a user wants to be processed as if it had arrived.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TriggerFile {
    /// The format of the file.
    version: u32,
    pub proposal: Proposal,
    pub run: Run,
    pub data: ArrivedData,
}

impl TriggerFile {
    /// These data of a run.
    pub fn new(proposal: Proposal, run: Run, data: ArrivedData) -> Self {
        TriggerFile { version: 1, proposal, run, data }
    }
}

fn folder(dir: &DatabaseDir) -> PathBuf {
    dir.own_files().join("triggers")
}

/// Leaves a trigger. When this returns, it is on disk.
///
/// # Errors
/// The directory cannot be written.
pub fn leave(dir: &DatabaseDir, id: &str, trigger: &TriggerFile) -> io::Result<()> {
    durable_file::leave(&folder(dir), &format!("{id}.json"), &serde_json::to_vec(trigger)?)
}

/// A trigger that waits.
#[derive(Debug)]
pub struct Waiting {
    /// Its file, to be removed when the trigger is stored.
    pub path: PathBuf,
    /// The text of the file.
    pub text: String,
    /// What it says; `Err`: why it is not understood.
    pub trigger: Result<TriggerFile, String>,
}

/// The triggers that wait, oldest first.
pub fn waiting(dir: &DatabaseDir) -> Vec<Waiting> {
    let Ok(entries) = fs::read_dir(folder(dir)) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "json"))
        .collect();
    paths.sort();
    paths.into_iter().filter_map(|path| read(&path)).collect()
}

fn read(path: &Path) -> Option<Waiting> {
    let text = fs::read_to_string(path).ok()?;
    let trigger = match serde_json::from_str::<TriggerFile>(&text) {
        Ok(trigger) if trigger.version == 1 => Ok(trigger),
        Ok(other) => Err(format!("it has version {}, and this service knows version 1", other.version)),
        Err(error) => Err(error.to_string()),
    };
    Some(Waiting { path: path.to_owned(), text, trigger })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trigger_waits_until_it_is_taken_and_what_is_none_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let dir = DatabaseDir::at(folder.path().to_owned());
        assert!(waiting(&dir).is_empty());
        let trigger = TriggerFile::new(Proposal(1234), Run(7), ArrivedData::Proc);
        leave(&dir, "1", &trigger).unwrap();
        fs::write(dir.own_files().join("triggers/2.json"), "{").unwrap();
        let found = waiting(&dir);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].trigger, Ok(trigger));
        assert!(found[1].trigger.is_err());
    }
}
