//! Directory layout of a facility's data: `ROOT/INSTRUMENT/CYCLE/p001234/{raw,proc,usr/Shared/amore}`.

use std::{
    collections::BTreeMap,
    env, fs, io,
    path::{Path, PathBuf},
};

use amore_model::{Proposal, Run};

use crate::advice::Advice;

/// The root at European XFEL.
const DEFAULT_DATA_ROOT: &str = "/gpfs/exfel/exp";

/// Why the data of a proposal cannot be found.
#[derive(Debug, thiserror::Error)]
pub enum SiteError {
    /// There is no such proposal, or the data root is wrong.
    #[error(
        "proposal {proposal} is not below {} (looked for */*/{})",
        root.display(),
        proposal.directory_name()
    )]
    NoSuchProposal { proposal: Proposal, root: PathBuf },
    /// A directory that exists cannot be listed: the permissions or the file system have to be fixed.
    #[error("cannot list {}: {source}", folder.display())]
    NotListed { folder: PathBuf, source: io::Error },
}

impl Advice for SiteError {
    fn hint(&self) -> Option<String> {
        match self {
            SiteError::NoSuchProposal { .. } => {
                Some("set EXTRA_DATA_DATA_ROOT if the data are elsewhere".to_owned())
            }
            SiteError::NotListed { .. } => None,
        }
    }
}

/// The data root: `EXTRA_DATA_DATA_ROOT` (which `open_run` uses too), otherwise `XFEL_DATA_ROOT`, otherwise the facility's.
pub fn data_root() -> PathBuf {
    ["EXTRA_DATA_DATA_ROOT", "XFEL_DATA_ROOT"]
        .iter()
        .find_map(|name| env::var_os(name).filter(|value| !value.is_empty()))
        .map_or_else(|| PathBuf::from(DEFAULT_DATA_ROOT), PathBuf::from)
}

/// The root directory of a proposal.
///
/// # Errors
/// It does not exist under the data root.
pub fn find_proposal(proposal: Proposal) -> Result<PathBuf, SiteError> {
    let root = data_root();
    let name = proposal.directory_name();
    for instrument in folders(&root) {
        for cycle in folders(&instrument) {
            let candidate = cycle.join(&name);
            if candidate.is_dir() {
                return Ok(candidate);
            }
        }
    }
    Err(SiteError::NoSuchProposal { proposal, root })
}

fn folders(path: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(path) else { return Vec::new() };
    let mut found: Vec<PathBuf> =
        entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    found.sort();
    found
}

/// Which data of a run is on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RunOnDisk {
    /// There is a raw directory.
    pub raw: bool,
    /// There are calibrated files.
    pub proc: bool,
}

/// The runs of a proposal on disk.
///
/// The proposal's directory cannot be listed.
/// When the proposal's directory cannot be listed.
pub fn runs_on_disk(proposal_root: &Path) -> Result<BTreeMap<Run, RunOnDisk>, SiteError> {
    let mut runs: BTreeMap<Run, RunOnDisk> = BTreeMap::new();
    for (class, calibrated) in [("raw", false), ("proc", true)] {
        let folder = proposal_root.join(class);
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(source) => return Err(SiteError::NotListed { folder, source }),
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let Some(number) =
                name.to_str().and_then(|name| name.strip_prefix('r')).and_then(|n| n.parse().ok())
            else {
                continue;
            };
            if calibrated {
                // The directory appears before its files do.
                if has_hdf5(&entry.path()) {
                    runs.entry(Run(number)).or_default().proc = true;
                }
            } else {
                runs.entry(Run(number)).or_default().raw = true;
            }
        }
    }
    Ok(runs)
}

fn has_hdf5(folder: &Path) -> bool {
    fs::read_dir(folder).is_ok_and(|entries| {
        entries.flatten().any(|entry| entry.path().extension().is_some_and(|kind| kind == "h5"))
    })
}
