//! Which notices go to the log of a service: each once, until it is old. Pure.

use std::{collections::BTreeMap, time::Duration};

/// After this time, the same notice is logged again.
const AGAIN: Duration = Duration::from_secs(3600);
/// So many different ones are remembered.
const MOST: usize = 200;

/// The notices that were logged, and when.
#[derive(Debug, Default)]
pub(super) struct Logged(BTreeMap<String, Duration>);

impl Logged {
    /// Is this to be logged? Many requests get the same notice.
    pub(super) fn is_news(&mut self, notice: &str, now: Duration) -> bool {
        self.0.retain(|_, at| now.saturating_sub(*at) < AGAIN);
        if self.0.contains_key(notice) {
            return false;
        }
        if self.0.len() >= MOST
            && let Some(oldest) = self.0.iter().min_by_key(|(_, at)| **at).map(|(words, _)| words.clone())
        {
            self.0.remove(&oldest);
        }
        self.0.insert(notice.to_owned(), now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_is_logged_once_an_hour_and_not_all_are_remembered() {
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        let mut logged = Logged::default();
        assert!(logged.is_news("a", minutes(0)) && logged.is_news("b", minutes(1)));
        assert!(!logged.is_news("a", minutes(59)));
        assert!(logged.is_news("a", minutes(60)));
        for at in 0..10_000 {
            assert!(logged.is_news(&at.to_string(), minutes(61)));
        }
        assert_eq!(logged.0.len(), MOST);
    }
}
