//! The files of an attempt in the database directory: its manifest (`JobSheet`), and what its worker writes.

use std::{fs, io::Write, os::unix::fs::OpenOptionsExt, path::Path};

use amore_wire::sheet;

/// Writes a manifest durably: a job that finds none has nothing to do. Makes the folder of logs too: Slurm accepts a job
/// whose log's folder is not there, and cannot start it (0:53).
///
/// # Errors
/// It cannot be written.
pub fn write(directory: &Path, token: &str, manifest: &str) -> std::io::Result<()> {
    fs::create_dir_all(directory.join("slurm_logs"))?;
    let path = sheet::sheet(directory, token);
    let folder = sheet::folder(directory);
    fs::create_dir_all(&folder)?;
    let beside = path.with_extension("writing");
    let mut file =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o660).open(&beside)?;
    file.write_all(manifest.as_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, &path)?;
    fs::File::open(&folder)?.sync_all()
}

/// Removes a manifest. Gone already is as good.
pub fn remove(directory: &Path, token: &str) {
    let _ = fs::remove_file(sheet::sheet(directory, token));
}

/// Removes all files of an attempt. Gone already is as good.
pub fn remove_all(directory: &Path, token: &str) {
    let manifest = sheet::sheet(directory, token);
    for path in [&manifest, &sheet::events(directory, token), &sheet::claim(&manifest)] {
        let _ = fs::remove_file(path);
    }
}
