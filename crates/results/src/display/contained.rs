//! Opens run files whose content is not trusted: whoever can write to a directory can put links into it and into its files. A
//! program that may read more than its caller must not follow them.
//!
//! Nothing is read but the run file itself and its array files: no symbolic links to files, no links in HDF5 to other objects or
//! files, no datasets stored in other files. The source of a virtual dataset is opened here, so that a missing one is an error.

use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
    path::{Component, Path, PathBuf},
};

use amore_model::{Proposal, Run};
use amore_shared_files::own_folder;
use nix::{
    fcntl::{OFlag, openat},
    sys::stat::{Mode, SFlag, fstat},
};

use super::DisplayError;
use crate::{
    error::{DoingTo, InFile, ResultsError},
    h5::{File, Kind, Node},
    names::{self, ARRAYS},
};

/// An open run file.
#[derive(Debug)]
pub(crate) struct RunFile {
    extracted_data: OwnedFd,
    path: PathBuf,
    /// Array files of this run are below it.
    arrays: PathBuf,
    root: Node,
    _file: File,
    version: String,
}

fn open_in(directory: &OwnedFd, name: &Path, flags: OFlag) -> io::Result<OwnedFd> {
    // A pipe in place of a file would block.
    let flags = flags | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
    openat(directory, name, flags, Mode::empty()).map_err(io::Error::from)
}

/// Opens an HDF5 file below a directory, without following links. The text identifies the file: it never changes once it has its
/// name.
fn file_in(directory: &OwnedFd, path: &Path, shown: &Path) -> Result<(File, String), ResultsError> {
    const DOING: &str = "cannot open";
    let mut names = path.components().collect::<Vec<_>>();
    let Some(last) = names.pop() else {
        return Err(io::Error::from(io::ErrorKind::NotFound)).doing(DOING, shown);
    };
    let mut folder: Option<OwnedFd> = None;
    for name in names {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
        folder =
            Some(open_in(folder.as_ref().unwrap_or(directory), name.as_ref(), flags).doing(DOING, shown)?);
    }
    let descriptor =
        open_in(folder.as_ref().unwrap_or(directory), last.as_ref(), OFlag::O_RDONLY).doing(DOING, shown)?;
    let about = fstat(&descriptor).map_err(io::Error::from).doing(DOING, shown)?;
    if SFlag::from_bits_truncate(about.st_mode) & SFlag::S_IFMT != SFlag::S_IFREG {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file")).doing(DOING, shown);
    }
    // The library opens the same file again, through the descriptor.
    let file = File::open(Path::new(&format!("/proc/self/fd/{}", descriptor.as_raw_fd()))).reading(shown)?;
    let version =
        format!("{:x}-{:x}-{:x}.{:x}", about.st_ino, about.st_size, about.st_mtime, about.st_mtime_nsec);
    Ok((file, version))
}

impl RunFile {
    /// Opens the file of a run.
    pub fn open(extracted_data: &Path, proposal: Proposal, run: Run) -> Result<Self, DisplayError> {
        let path = names::run_file(extracted_data, proposal, run);
        let directory = own_folder::open(extracted_data).map(OwnedFd::from);
        let directory = directory.doing("cannot open", extracted_data)?;
        let (file, version) = file_in(&directory, Path::new(path.file_name().unwrap_or_default()), &path)?;
        let root = file.root().reading(&path)?;
        let arrays = Path::new(ARRAYS).join(names::run_stem(proposal, run));
        Ok(RunFile { extracted_data: directory, path, arrays, root, _file: file, version })
    }

    /// Its path, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Another text for each file that was at this path.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Its root.
    pub fn root(&self) -> &Node {
        &self.root
    }

    /// A member of a group, if it exists.
    pub fn member(&self, group: &Node, name: &str) -> Result<Option<Node>, DisplayError> {
        if name.is_empty() || name.contains('/') || !group.has(name).reading(&self.path)? {
            return Ok(None);
        }
        if !group.is_own(name).reading(&self.path)? {
            return Err(DisplayError::Outside { dataset: name.to_owned(), why: "it is a link" });
        }
        group.open(name).reading(&self.path).map(Some).map_err(DisplayError::from)
    }

    /// The dataset that holds the content of this dataset, and its file if that is another one.
    pub fn content(&self, name: &str, dataset: Node) -> Result<(Node, Option<File>), DisplayError> {
        let outside = |why| DisplayError::Outside { dataset: name.to_owned(), why };
        if dataset.has_foreign_storage().reading(&self.path)? {
            return Err(outside("its content is in a file that is not HDF5"));
        }
        let sources = dataset.virtual_sources().reading(&self.path)?;
        let [source] = sources.as_slice() else {
            return if sources.is_empty() {
                Ok((dataset, None))
            } else {
                Err(outside("it has several sources"))
            };
        };
        let relative = Path::new(&source.file);
        let below = |path: &Path| path.components().all(|part| matches!(part, Component::Normal(_)));
        if !below(relative)
            || relative.parent() != Some(&self.arrays)
            || source.dataset.trim_matches('/').contains('/')
        {
            return Err(outside("its source is not an array file of this run"));
        }
        let shown = self.path.with_file_name(relative);
        let missing = || ResultsError::MissingSource {
            file: self.path.clone(),
            dataset: name.to_owned(),
            source_file: shown.clone(),
        };
        let (file, _) = file_in(&self.extracted_data, relative, &shown).map_err(|_| missing())?;
        let root = file.root().reading(&shown)?;
        let inner = source.dataset.trim_matches('/');
        if !root.has(inner).reading(&shown)? || !root.is_own(inner).reading(&shown)? {
            return Err(missing().into());
        }
        let content = root.open(inner).reading(&shown)?;
        if content.kind() != Kind::Dataset
            || content.has_foreign_storage().reading(&shown)?
            || !content.virtual_sources().reading(&shown)?.is_empty()
        {
            return Err(outside("its source is not an array"));
        }
        let of =
            |node: &Node| -> crate::h5::H5Result<_> { Ok((node.shape()?, node.dataset_type()?.dtype()?)) };
        if of(&content).reading(&shown)? != of(&dataset).reading(&self.path)? {
            let reason = format!("it does not have the shape and type of {name} in the run file");
            return Err(ResultsError::Damaged { path: shown, reason }.into());
        }
        Ok((content, Some(file)))
    }
}
