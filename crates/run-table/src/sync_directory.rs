//! Makes directory entries durable.

use std::{fs, path::Path};

use crate::RunTableError;

/// Makes new names in a directory durable.
pub(crate) fn sync_directory(dir: &Path) -> Result<(), RunTableError> {
    fs::File::open(dir).and_then(|dir| dir.sync_all()).map_err(|source| RunTableError::Io {
        doing: "sync",
        path: dir.to_owned(),
        source,
    })
}
