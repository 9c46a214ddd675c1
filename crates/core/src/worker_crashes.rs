//! When a worker that ends unexpectedly is replaced, and when that is given up.

use std::{collections::VecDeque, time::Duration};

/// Crashes within [`WINDOW`] after which no other worker is started.
const MAX_CRASHES: usize = 10;
/// How long a crash counts. A process that lives for months sees crashes now and then; ten in a row have one cause.
const WINDOW: Duration = Duration::from_secs(600);

/// The recent crashes.
#[derive(Debug, Default)]
pub struct WorkerCrashes {
    recent: VecDeque<Duration>,
}

/// The worker has crashed too often to start another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the worker ended unexpectedly {crashes} times within {minutes} minutes")]
pub struct TooManyCrashes {
    crashes: usize,
    minutes: u64,
}

impl WorkerCrashes {
    /// Counts a crash.
    ///
    /// # Errors
    /// Too many within a short time.
    pub fn note(&mut self, now: Duration) -> Result<(), TooManyCrashes> {
        self.recent.retain(|at| now.saturating_sub(*at) < WINDOW);
        self.recent.push_back(now);
        if self.recent.len() < MAX_CRASHES {
            return Ok(());
        }
        Err(TooManyCrashes { crashes: self.recent.len(), minutes: WINDOW.as_secs() / 60 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_crashes_in_a_row_are_too_many() {
        let begin = Duration::ZERO;
        let mut crashes = WorkerCrashes::default();
        for second in 0..9 {
            assert_eq!(crashes.note(begin + Duration::from_secs(second * 60)), Ok(()), "{second}");
        }
        let error = crashes.note(begin + Duration::from_secs(9 * 60 + 59)).unwrap_err();
        assert_eq!(error.to_string(), "the worker ended unexpectedly 10 times within 10 minutes");
    }

    #[test]
    fn crashes_that_lie_apart_never_add_up() {
        let begin = Duration::ZERO;
        let mut crashes = WorkerCrashes::default();
        for minute in 0..10_000 {
            // Nine in ten minutes, again and again.
            assert_eq!(crashes.note(begin + Duration::from_secs(minute * 67)), Ok(()), "{minute}");
        }
    }
}
