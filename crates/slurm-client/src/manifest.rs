//! The files of an attempt in the database directory: its manifest (`JobManifest`), and what its worker writes.

use std::{fs, io::Write, os::unix::fs::OpenOptionsExt, path::Path};

use amore_wire::manifest;

/// Writes a manifest durably; a job without one has nothing to do. Also creates the folder of logs: Slurm accepts a job
/// whose log folder does not exist, but cannot start it (0:53).
///
/// # Errors
/// The manifest cannot be written.
pub fn write(directory: &Path, token: &str, manifest: &str) -> std::io::Result<()> {
    fs::create_dir_all(directory.join("slurm_logs"))?;
    let path = manifest::path(directory, token);
    let folder = manifest::folder(directory);
    fs::create_dir_all(&folder)?;
    let beside = path.with_extension("writing");
    let mut file =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o660).open(&beside)?;
    file.write_all(manifest.as_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, &path)?;
    fs::File::open(&folder)?.sync_all()
}

/// Whether an attempt still has its manifest. A folder that cannot be read counts as one that has it.
pub fn exists(directory: &Path, token: &str) -> bool {
    manifest::path(directory, token).try_exists().unwrap_or(true)
}

/// Removes a manifest. It is no error if it does not exist.
pub fn remove(directory: &Path, token: &str) {
    let _ = fs::remove_file(manifest::path(directory, token));
}

/// Removes all files of an attempt. It is no error if they do not exist.
pub fn remove_all(directory: &Path, token: &str) {
    let manifest = manifest::path(directory, token);
    for path in [&manifest, &manifest::events(directory, token), &manifest::claim(&manifest)] {
        let _ = fs::remove_file(path);
    }
}
