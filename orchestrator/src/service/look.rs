//! What is on disk of a run that has arrived.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use amore_intake::{ArrivedData, FolderLook, Subject};
use amore_model::Run;
use sha2::{Digest, Sha256};

use crate::site::{self, SiteError};

/// Why a run cannot be looked at now.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    #[error(transparent)]
    Site(#[from] SiteError),
    #[error("cannot list {}: {source}", folder.display())]
    NotListed { folder: PathBuf, source: io::Error },
}

/// The folder of a run.
pub fn folder_of(proposal_root: &Path, run: Run, data: ArrivedData) -> PathBuf {
    proposal_root.join(data.word()).join(format!("r{:04}", run.0))
}

/// Looks at the files of a run; `None` if there is no folder. `marker`: the name of a file that marks complete data.
///
/// # Errors
/// The proposal or the folder cannot be read.
pub fn look(subject: Subject, marker: Option<&str>) -> Result<Option<FolderLook>, LookError> {
    let Subject { proposal, run, data } = subject;
    let folder = folder_of(&site::find_proposal(proposal)?, run, data);
    let not_listed = |source| LookError::NotListed { folder: folder.clone(), source };
    let listed = fs::metadata(&folder).and_then(|meta| Ok((unix(&meta), fs::read_dir(&folder)?)));
    let (changed, entries) = match listed {
        Ok(listed) => listed,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(not_listed(error)),
    };
    let mut files = Vec::new();
    let mut has_marker = false;
    for entry in entries {
        let entry = entry.map_err(not_listed)?;
        has_marker |= marker.is_some_and(|marker| entry.file_name() == marker);
        if entry.path().extension().is_none_or(|kind| kind != "h5") {
            continue;
        }
        match fs::metadata(entry.path()) {
            Ok(meta) => files.push((entry.file_name(), meta.size(), meta.mtime(), meta.mtime_nsec())),
            // It was removed or renamed since the folder was listed: the next look finds it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(not_listed(error)),
        }
    }
    files.sort();
    let mut hash = Sha256::new();
    let mut newest = 0.0_f64;
    for (name, size, seconds, nanoseconds) in &files {
        hash.update(name.as_encoded_bytes());
        hash.update([0]);
        for number in [i128::from(*size), i128::from(*seconds), i128::from(*nanoseconds)] {
            hash.update(number.to_le_bytes());
        }
        newest = newest.max(*seconds as f64 + *nanoseconds as f64 * 1e-9);
    }
    let digest = hex::encode(&hash.finalize()[..12]);
    Ok(Some(FolderLook { files: files.len(), newest, digest, changed, has_marker }))
}

/// When a file or folder was changed, in seconds since 1970.
pub fn unix(meta: &fs::Metadata) -> f64 {
    meta.mtime() as f64 + meta.mtime_nsec() as f64 * 1e-9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_have_folders_of_four_digits_or_more() {
        let root = Path::new("/root");
        assert_eq!(folder_of(root, Run(7), ArrivedData::Proc), Path::new("/root/proc/r0007"));
        assert_eq!(folder_of(root, Run(12345), ArrivedData::Raw), Path::new("/root/raw/r12345"));
    }
}
