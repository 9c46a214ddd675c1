//! Messages of the worker in a job: new lines in a file on the shared file system.

use std::path::Path;

use amore_wire::task::FromWorker;

use crate::growing_lines::GrowingLines;

/// Reads a file of messages while it grows.
#[derive(Debug)]
pub struct EventTail(GrowingLines);

impl EventTail {
    /// Starts at the beginning of the file.
    pub fn of(path: &Path) -> Self {
        EventTail(GrowingLines::of(path))
    }

    /// New complete messages. Lines that are not valid messages are skipped: results do not depend on them.
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

    fn of(task: &str) -> AttemptId {
        AttemptId::without_attempts(task)
    }

    fn started(task: &str) -> FromWorker {
        FromWorker::Started { of: of(task) }
    }

    #[test]
    fn lines_are_read_when_they_are_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.events");
        let mut tail = EventTail::of(&path);
        assert_eq!(tail.read(), []);
        let mut file = File::create(&path).unwrap();
        file.write_all(b"{\"ev\":\"started\",\"id\":\"a\"}\n{\"ev\":\"star").unwrap();
        assert_eq!(tail.read(), [started("a")]);
        assert_eq!(tail.read(), []);
        file.write_all(b"ted\",\"id\":\"b\"}\nrubbish\n").unwrap();
        assert_eq!(tail.read(), [started("b")]);
    }
}
