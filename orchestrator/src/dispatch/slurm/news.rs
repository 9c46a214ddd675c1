//! What the worker in a job says: lines at the end of a file on the shared file system.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use amore_wire::task::FromWorker;

/// Reads a file of events as it grows.
#[derive(Debug)]
pub struct News {
    path: PathBuf,
    offset: u64,
}

impl News {
    /// From the beginning.
    pub fn of(path: &Path) -> Self {
        News { path: path.to_owned(), offset: 0 }
    }

    /// Complete lines that are new. A line that is none of ours is left out: the file is only the doorbell.
    pub fn read(&mut self) -> Vec<FromWorker> {
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
        text[..end]
            .split(|byte| *byte == b'\n')
            .filter_map(|line| match serde_json::from_slice(line) {
                Ok(message) => Some(message),
                Err(error) => {
                    tracing::warn!(path = %self.path.display(), %error, "not a message");
                    None
                }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn lines_are_read_when_they_are_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.events");
        let mut news = News::of(&path);
        assert_eq!(news.read(), []);
        let mut file = File::create(&path).unwrap();
        file.write_all(b"{\"ev\":\"started\",\"id\":\"a\"}\n{\"ev\":\"star").unwrap();
        assert_eq!(news.read(), [FromWorker::Started { id: "a".to_owned() }]);
        assert_eq!(news.read(), []);
        file.write_all(b"ted\",\"id\":\"b\"}\nrubbish\n").unwrap();
        assert_eq!(news.read(), [FromWorker::Started { id: "b".to_owned() }]);
    }
}
