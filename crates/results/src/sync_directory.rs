//! Makes directory entries durable.

use std::{fs, path::Path};

use crate::error::{DoingTo, ResultsError};

/// Makes new names in a directory durable.
pub(crate) fn sync_directory(directory: &Path) -> Result<(), ResultsError> {
    fs::File::open(directory)
        .and_then(|handle| handle.sync_all())
        .doing("cannot sync the directory", directory)
}
