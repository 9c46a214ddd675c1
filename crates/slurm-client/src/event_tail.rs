//! Messages of the worker in a job: new lines in a file on the shared file system.

use std::path::Path;

use amore_slurm::worker::WorkerReport;
use amore_wire::task::{CutShort, FromWorker};

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

/// What a message says about the job.
pub fn about_job(message: &FromWorker) -> WorkerReport {
    match message {
        FromWorker::Alive => WorkerReport::Alive,
        FromWorker::TaskEnded { cut_short: Some(CutShort::ToldToEnd), .. } => WorkerReport::ToldToEnd,
        FromWorker::TaskEnded { .. } => WorkerReport::Done,
        FromWorker::Placed { job: Some(number), cluster, .. } => match number.parse() {
            Ok(number) => WorkerReport::InJob { number, cluster: cluster.clone() },
            Err(_) => WorkerReport::Work,
        },
        _ => WorkerReport::Work,
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

    #[test]
    fn what_a_message_says_of_the_job_is_found_in_it() {
        let ended = |cut_short| FromWorker::TaskEnded { of: of("t"), problem: None, cut_short };
        let placed = |job: Option<&str>| FromWorker::Placed {
            host: "n1".to_owned(),
            job: job.map(str::to_owned),
            restarts: 0,
            cluster: Some("lab".to_owned()),
        };
        let in_job = WorkerReport::InJob { number: 17, cluster: Some("lab".to_owned()) };
        for (message, said) in [
            (FromWorker::Alive, WorkerReport::Alive),
            (ended(None), WorkerReport::Done),
            (ended(Some(CutShort::ToldToEnd)), WorkerReport::ToldToEnd),
            (placed(Some("17")), in_job),
            (placed(Some("17_3")), WorkerReport::Work),
            (placed(None), WorkerReport::Work),
            (started("a"), WorkerReport::Work),
        ] {
            assert_eq!(about_job(&message), said, "{message:?}");
        }
    }
}
