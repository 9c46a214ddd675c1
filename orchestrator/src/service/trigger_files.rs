//! Triggers of users: `amore trigger` leaves a file in the database directory, which its service takes. So nobody needs more
//! than the right to write there, and a trigger waits for a service that does not run.

use std::{ffi::OsString, io, path::PathBuf, sync::Arc};

use amore_intake::ArrivedData;
use amore_model::{DatabaseDir, Proposal, Run};
use amore_shared_files::own_folder::{Folder, has_extension};
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

/// The folder, in that of our own files.
const FOLDER: &str = "triggers";
/// A larger file is no trigger.
const MOST_BYTES: u64 = 100_000;

fn folder(dir: &DatabaseDir) -> PathBuf {
    dir.own_files().join(FOLDER)
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
    pub file: LeftFile,
    /// The text of the file.
    pub text: String,
    /// What it says; `Err`: why it is not understood.
    pub trigger: Result<TriggerFile, String>,
}

/// The file of a trigger.
#[derive(Debug)]
pub struct LeftFile {
    folder: Arc<Folder>,
    name: OsString,
    pub path: PathBuf,
}

impl LeftFile {
    /// Removes it, when the trigger is stored.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn remove(&self) -> io::Result<()> {
        self.folder.remove(&self.name)
    }
}

/// The triggers that wait, oldest first.
pub fn waiting(dir: &DatabaseDir) -> Vec<Waiting> {
    let opened = Folder::open(&dir.own_files()).and_then(|own| own.folder(FOLDER));
    let Ok(found) = opened.and_then(|folder| Ok((folder.names()?, Arc::new(folder)))) else {
        return Vec::new();
    };
    let (names, opened) = found;
    let names = names.into_iter().filter(|name| has_extension(name, "json"));
    names.filter_map(|name| read(dir, &opened, name)).collect()
}

/// `None`: it is gone.
fn read(dir: &DatabaseDir, opened: &Arc<Folder>, name: OsString) -> Option<Waiting> {
    let (text, trigger) = match opened.read(&name, MOST_BYTES) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => (String::new(), Err(format!("it cannot be read: {error}"))),
        Ok(text) => {
            let trigger = match serde_json::from_slice::<TriggerFile>(&text) {
                Ok(trigger) if trigger.version == 1 => Ok(trigger),
                Ok(other) => {
                    Err(format!("it has version {}, and this service knows version 1", other.version))
                }
                Err(error) => Err(error.to_string()),
            };
            (String::from_utf8_lossy(&text).into_owned(), trigger)
        }
    };
    let path = folder(dir).join(&name);
    Some(Waiting { file: LeftFile { folder: Arc::clone(opened), name, path }, text, trigger })
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
        std::fs::write(dir.own_files().join("triggers/2.json"), "{").unwrap();
        let secret = folder.path().join("secret");
        std::fs::write(&secret, "secret").unwrap();
        std::os::unix::fs::symlink(&secret, dir.own_files().join("triggers/3.json")).unwrap();
        let found = waiting(&dir);
        assert_eq!(found.len(), 3);
        assert_eq!(found[0].trigger, Ok(trigger));
        assert!(found[1].trigger.is_err());
        // A link is not read, and it alone is removed.
        assert!(found[2].trigger.is_err() && found[2].text.is_empty());
        assert!(found.iter().all(|one| one.file.remove().is_ok()));
        assert!(waiting(&dir).is_empty() && secret.exists());
    }
}
