//! Makes our own messages in a run's log start on a new line, whatever was printed before them.

use std::{
    fs::File,
    io::{self, Write},
    os::unix::fs::FileExt,
    path::Path,
};

/// Whether the log ends with an incomplete line.
fn is_open(path: &Path) -> bool {
    let last = || -> io::Result<u8> {
        let log = File::open(path)?;
        let mut byte = [b'\n'];
        if let Some(end) = log.metadata()?.len().checked_sub(1) {
            log.read_exact_at(&mut byte, end)?;
        }
        Ok(byte[0])
    };
    last().is_ok_and(|byte| byte != b'\n')
}

/// Completes an unfinished line.
pub fn end_open_line(mut log: &File, path: &Path) {
    if is_open(path) {
        let _ = log.write_all(b"\n");
    }
}

/// Appends lines to the log. If the log is gone or its disk is full, only these lines are lost.
pub fn write(mut log: &File, path: &Path, text: &str) {
    let begin = if is_open(path) { "\n" } else { "" };
    let _ = log.write_all(format!("{begin}{}\n", text.trim_end()).as_bytes());
}
