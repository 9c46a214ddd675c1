//! What keeps a service from its brokers, in the log.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// An error that stays is logged again after so long.
const LOG_AGAIN: Duration = Duration::from_secs(600);

/// Logs that brokers or topics are away, once for each reason, and again after a while.
#[derive(Default)]
pub(crate) struct Trouble {
    logged: Mutex<BTreeMap<String, Instant>>,
    is_explained: AtomicBool,
}

impl Trouble {
    /// The reason of the errors around this moment.
    pub(crate) fn explain(&self, why: &str) {
        self.is_explained.store(true, Ordering::Relaxed);
        self.note(why);
    }

    /// An error that is a consequence of the reason, if one was told.
    pub(crate) fn note_unless_explained(&self, why: &str) {
        if !self.is_explained.swap(false, Ordering::Relaxed) {
            self.note(why);
        }
    }

    pub(crate) fn note(&self, why: &str) {
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.get(why).is_none_or(|at| at.elapsed() >= LOG_AGAIN) {
            tracing::warn!(why, "no events from Kafka now; trying again");
            logged.insert(why.to_owned(), Instant::now());
        }
    }

    pub(crate) fn is_over(&self) {
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        if !logged.is_empty() {
            tracing::info!("events from Kafka come again");
            logged.clear();
        }
    }
}

/// A reason of the library without what differs each time: `… (after 5ms in state SSL_HANDSHAKE, 3 identical error(s)
/// suppressed)`.
pub(crate) fn what_failed(reason: &str) -> &str {
    reason.rsplit_once(" (after ").map_or(reason, |(what, _)| what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_the_same_each_time() {
        let refused = "b:9092/bootstrap: Connect to ipv4#10.0.0.1:9092 failed: Connection refused";
        for rest in [
            "",
            " (after 0ms in state CONNECT)",
            " (after 3ms in state CONNECT, 2 identical error(s) suppressed)",
        ] {
            assert_eq!(what_failed(&format!("{refused}{rest}")), refused);
        }
    }
}
