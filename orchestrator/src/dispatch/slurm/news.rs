//! What the worker in a job says: lines at the end of a file on the shared file system.

use std::path::Path;

use amore_wire::task::FromWorker;

use crate::growing_lines::GrowingLines;

/// Reads a file of events as it grows.
#[derive(Debug)]
pub struct News(GrowingLines);

impl News {
    /// From the beginning.
    pub fn of(path: &Path) -> Self {
        News(GrowingLines::of(path))
    }

    /// Complete lines that are new. A line that is none of ours is left out: the file is only the doorbell.
    pub fn read(&mut self) -> Vec<FromWorker> {
        let lines = self.0.read();
        let message = |line: Vec<u8>| match serde_json::from_slice(&line) {
            Ok(message) => Some(message),
            Err(error) => {
                tracing::warn!(path = %self.0.path().display(), %error, "not a message");
                None
            }
        };
        lines.into_iter().filter_map(message).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::File, io::Write};

    use amore_wire::task::AttemptId;

    use super::*;

    fn started(task: &str) -> FromWorker {
        FromWorker::Started { of: AttemptId { task: task.to_owned(), number: None } }
    }

    #[test]
    fn lines_are_read_when_they_are_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.events");
        let mut news = News::of(&path);
        assert_eq!(news.read(), []);
        let mut file = File::create(&path).unwrap();
        file.write_all(b"{\"ev\":\"started\",\"id\":\"a\"}\n{\"ev\":\"star").unwrap();
        assert_eq!(news.read(), [started("a")]);
        assert_eq!(news.read(), []);
        file.write_all(b"ted\",\"id\":\"b\"}\nrubbish\n").unwrap();
        assert_eq!(news.read(), [started("b")]);
    }
}
