//! The log of a run: how it is opened, and how our own messages start on a new line, whatever was printed before them.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::{fd::AsRawFd, unix::fs::FileExt},
    path::Path,
};

use amore_shared_files::own_folder::Folder;

/// Opens a log to append to it. Links are not followed: users may write to the folder, and a service may write more than they.
pub fn open(path: &Path) -> io::Result<File> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidFilename.into());
    };
    fs::create_dir_all(folder)?;
    Folder::open(folder)?.append(name, 0o666)
}

/// Whether the log ends with an incomplete line.
fn is_open(log: &File) -> bool {
    let last = || -> io::Result<u8> {
        let log = File::open(format!("/proc/self/fd/{}", log.as_raw_fd()))?;
        let mut byte = [b'\n'];
        if let Some(end) = log.metadata()?.len().checked_sub(1) {
            log.read_exact_at(&mut byte, end)?;
        }
        Ok(byte[0])
    };
    last().is_ok_and(|byte| byte != b'\n')
}

/// Completes an unfinished line.
pub fn end_open_line(mut log: &File) {
    if is_open(log) {
        let _ = log.write_all(b"\n");
    }
}

/// Appends lines to the log. If the log is gone or its disk is full, only these lines are lost.
pub fn write(mut log: &File, text: &str) {
    let begin = if is_open(log) { "\n" } else { "" };
    let _ = log.write_all(format!("{begin}{}\n", text.trim_end()).as_bytes());
}
