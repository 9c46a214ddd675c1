//! What the owner of a directory computes on its host, as a file for `amore jobs` and `amore explain`. It is written when that
//! changes, at most once a second; no work depends on it. A file of an owner that has ended counts for nothing.

use std::{
    fs,
    io::{self, Write},
};

use amore_core::local_work::LocalWork;
use amore_model::DatabaseDir;
use amore_shared_files::own_folder::Folder;
use serde::{Deserialize, Serialize};

use super::{CoordinateError, owner::Owner};

/// A larger file is not one of ours.
const MOST_BYTES: u64 = 16 * 1024 * 1024;

#[derive(Debug, Serialize, Deserialize)]
struct Content {
    /// Of the owner.
    epoch: u64,
    work: LocalWork,
}

const NAME: &str = "local_work.json";
const WRITING: &str = "local_work.writing";

/// Leaves the work of the owner with this epoch in the file. Nothing is left of an owner that has none.
///
/// # Errors
/// The file cannot be written.
pub(super) fn leave(dir: &DatabaseDir, epoch: u64, work: LocalWork) -> io::Result<()> {
    if work.is_empty() {
        return match Folder::open(&dir.own_files()).and_then(|own| own.remove(NAME)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
    }
    fs::create_dir_all(dir.own_files())?;
    let own = Folder::open(&dir.own_files())?;
    let _ = own.remove(WRITING);
    own.append(WRITING, 0o666)?.write_all(&serde_json::to_vec(&Content { epoch, work })?)?;
    own.rename(WRITING, NAME)
}

/// The work of the present owner on its host, and who that is.
///
/// # Errors
/// The run table cannot be read.
pub async fn read(dir: &DatabaseDir) -> Result<Option<(String, LocalWork)>, CoordinateError> {
    let Some(content) = content(dir) else { return Ok(None) };
    let Some((epoch, holder)) = Owner::now(dir).await? else { return Ok(None) };
    Ok((epoch == content.epoch).then_some((holder, content.work)))
}

/// A file that cannot be read says nothing.
fn content(dir: &DatabaseDir) -> Option<Content> {
    let text = Folder::open(&dir.own_files()).ok()?.read(NAME, MOST_BYTES).ok()?;
    serde_json::from_slice(&text).ok()
}

#[cfg(test)]
mod tests {
    use amore_core::local_work::{LocalState, LocalTask};
    use amore_model::{Proposal, Run, Urgency};

    use super::*;

    #[test]
    fn work_is_left_and_removed() {
        let folder = tempfile::tempdir().unwrap();
        let dir = DatabaseDir::at(folder.path().to_owned());
        assert!(content(&dir).is_none());
        leave(&dir, 7, LocalWork::default()).unwrap();
        let task = LocalTask {
            id: "1".to_owned(),
            proposal: Proposal(1234),
            run: Run(3),
            names: vec!["a".to_owned()],
            urgency: Urgency::Live,
            now: LocalState::Running { since: 5.0 },
        };
        let work = LocalWork { tasks: vec![task], ..LocalWork::default() };
        leave(&dir, 7, work.clone()).unwrap();
        let found = content(&dir).unwrap();
        assert_eq!((found.epoch, found.work), (7, work));
        leave(&dir, 7, LocalWork::default()).unwrap();
        assert!(content(&dir).is_none());
        fs::write(dir.own_files().join(NAME), "{").unwrap();
        assert!(content(&dir).is_none(), "a file that is not understood says nothing");
    }
}
