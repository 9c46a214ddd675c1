//! Our own lines in a run's log begin at the start of a line, whatever was printed before them.

use std::{
    fs::File,
    io::{self, Write},
    os::unix::fs::FileExt,
    path::Path,
};

/// Was something printed last that did not end its line?
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

/// Ends a line that was left unfinished.
pub fn end_open_line(mut log: &File, path: &Path) {
    if is_open(path) {
        let _ = log.write_all(b"\n");
    }
}

/// Appends lines to the log. It is for reading only: that it is full or gone costs no more than these lines.
pub fn write(mut log: &File, path: &Path, text: &str) {
    let begin = if is_open(path) { "\n" } else { "" };
    let _ = log.write_all(format!("{begin}{}\n", text.trim_end()).as_bytes());
}
