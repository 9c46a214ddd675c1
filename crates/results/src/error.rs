//! Errors with files of results, by what the caller can do about them.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::{
    dtype::DtypeError,
    h5::{H5Error, H5Result},
    names::NameError,
};

/// An error with a file of results. No partly written file remains.
#[derive(Debug, thiserror::Error)]
pub enum ResultsError {
    /// The disk is full or the quota is used up: free some space, then try again.
    #[error("no space left to write {path}")]
    NoSpace {
        /// The file that was being written.
        path: PathBuf,
    },
    /// An error of the operating system.
    #[error("{action} {path}: {source}")]
    Io {
        /// The attempted operation.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The file is not HDF5, is cut short, or is damaged.
    #[error("{path} cannot be read as an HDF5 file: {reason}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The library's message.
        reason: String,
    },
    /// The library failed while writing.
    #[error("{path}: {reason}")]
    Write {
        /// The file that was being written.
        path: PathBuf,
        /// The library's message.
        reason: String,
    },
    /// A name that cannot be stored.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A type that cannot be stored.
    #[error(transparent)]
    Dtype(#[from] DtypeError),
    /// An inconsistent value.
    #[error("{variable}: {reason}")]
    BadValue {
        /// The variable.
        variable: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The separate file of an array does not exist (or is not visible yet, on a network file system): reading the array
    /// would return fill values.
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

/// Converts a failure of the library while writing a file.
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
