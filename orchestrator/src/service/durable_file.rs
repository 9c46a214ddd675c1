//! A small file that another process will read: it is there completely or not at all, also after a crash.

use std::{
    fs,
    io::{self, Write},
    path::Path,
};

/// Writes a file into a folder, which is created if need be. When this returns, it is on disk.
///
/// # Errors
/// The folder cannot be written.
pub fn leave(folder: &Path, name: &str, content: &[u8]) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let writing = folder.join(format!("{name}.writing"));
    // What an earlier try has left, or a link that somebody else has put there.
    let _ = fs::remove_file(&writing);
    let mut file = fs::File::create_new(&writing)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&writing, folder.join(name))?;
    fs::File::open(folder)?.sync_all()
}
