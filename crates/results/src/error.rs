//! What can go wrong with files of results, by what the caller can do about it.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::{
    dtype::DtypeError,
    h5::{H5Error, H5Result},
    names::NameError,
};

/// Something went wrong with a file of results. No half-written file is left behind.
#[derive(Debug, thiserror::Error)]
pub enum ResultsError {
    /// The disk is full or the quota is used up: free some space, then try again.
    #[error("no space left to write {path}")]
    NoSpace {
        /// The file that was being written.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("{action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The file is not HDF5, is cut short, or is damaged.
    #[error("{path} cannot be read as an HDF5 file: {reason}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What the library says.
        reason: String,
    },
    /// The library failed while writing.
    #[error("{path}: {reason}")]
    Write {
        /// The file that was being written.
        path: PathBuf,
        /// What the library says.
        reason: String,
    },
    /// A name that cannot be stored.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A type that cannot be stored.
    #[error(transparent)]
    Dtype(#[from] DtypeError),
    /// A value that does not fit together.
    #[error("{variable}: {reason}")]
    BadValue {
        /// The variable.
        variable: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An array lies in a file of its own, and that file is not there (or not there yet, on a network file
    /// system): reading the array would give what is no value.
    #[error("{file} needs the array file {source_file} for {dataset}, which is missing or unreadable")]
    MissingSource {
        /// The file that refers to it.
        file: PathBuf,
        /// The dataset in it.
        dataset: String,
        /// The array file.
        source_file: PathBuf,
    },
}

pub(crate) trait InFile<T> {
    /// A failure while reading `path`.
    fn reading(self, path: &Path) -> Result<T, ResultsError>;
    /// A failure while writing `path`.
    fn writing(self, path: &Path) -> Result<T, ResultsError>;
}

impl<T> InFile<T> for H5Result<T> {
    fn reading(self, path: &Path) -> Result<T, ResultsError> {
        self.map_err(|error: H5Error| ResultsError::Damaged {
            path: path.to_owned(),
            reason: error.to_string(),
        })
    }

    fn writing(self, path: &Path) -> Result<T, ResultsError> {
        self.map_err(|error| write_error(error, path))
    }
}

/// What a failure of the library means for the file that was being written.
pub(crate) fn write_error(error: H5Error, path: &Path) -> ResultsError {
    if error.is_no_space() {
        ResultsError::NoSpace { path: path.to_owned() }
    } else {
        ResultsError::Write { path: path.to_owned(), reason: error.to_string() }
    }
}

pub(crate) trait DoingTo<T> {
    /// A failure of the operating system while doing `action` to `path`.
    fn doing(self, action: &'static str, path: &Path) -> Result<T, ResultsError>;
}

impl<T> DoingTo<T> for io::Result<T> {
    fn doing(self, action: &'static str, path: &Path) -> Result<T, ResultsError> {
        self.map_err(|source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                ResultsError::NoSpace { path: path.to_owned() }
            }
            _ => ResultsError::Io { action, path: path.to_owned(), source },
        })
    }
}
