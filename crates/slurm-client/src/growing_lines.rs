//! Reads a file of lines while another process appends to it.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

/// The lines of a growing file, each read once, when it is complete.
#[derive(Debug)]
pub struct GrowingLines {
    path: PathBuf,
    offset: u64,
}

impl GrowingLines {
    /// Starts at the beginning. The file need not exist yet.
    pub fn of(path: &Path) -> Self {
        GrowingLines { path: path.to_owned(), offset: 0 }
    }

    /// Path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// New complete lines, without line ends. Their content is not interpreted, so an invalid line does not affect later ones.
    pub fn read(&mut self) -> Vec<Vec<u8>> {
        let Ok(length) = std::fs::metadata(&self.path).map(|data| data.len()) else { return Vec::new() };
        if length <= self.offset {
            return Vec::new();
        }
        let mut text = Vec::new();
        let read = File::open(&self.path).and_then(|mut file| {
            file.seek(SeekFrom::Start(self.offset))?;
            file.read_to_end(&mut text)
        });
        if read.is_err() {
            return Vec::new();
        }
        let Some(end) = text.iter().rposition(|byte| *byte == b'\n') else { return Vec::new() };
        self.offset += end as u64 + 1;
        text[..end].split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_line_is_read_once_and_when_it_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines");
        let mut lines = GrowingLines::of(&path);
        assert!(lines.read().is_empty());
        let mut file = File::create(&path).unwrap();
        file.write_all(b"one\ntw").unwrap();
        assert_eq!(lines.read(), [b"one".to_vec()]);
        assert!(lines.read().is_empty());
        file.write_all(b"o\n\nthree\n").unwrap();
        assert_eq!(lines.read(), [b"two".to_vec(), b"".to_vec(), b"three".to_vec()]);
        assert!(lines.read().is_empty());
    }
}
