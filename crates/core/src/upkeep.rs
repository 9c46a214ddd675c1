//! What a service does from time to time, and a command once at its end or its start.

use std::time::Duration;

/// How often the folder of results is searched for fragments that other programs have left, such as DAMNIT's `submit()`.
const SCAN_EVERY: Duration = Duration::from_secs(10);

/// When it was done, and whether there is something to tidy up.
#[derive(Debug, Default)]
pub(crate) struct Upkeep {
    next_scan: Duration,
    untidy: bool,
}

impl Upkeep {
    /// When the next search is due, on the steady clock.
    pub(crate) fn next_scan(&self) -> Duration {
        self.next_scan
    }

    /// Is a search due? The next one is counted from now.
    pub(crate) fn scan_is_due(&mut self, now: Duration) -> bool {
        let due = now >= self.next_scan;
        if due {
            self.next_scan = now + SCAN_EVERY;
        }
        due
    }

    /// A request has ended.
    pub(crate) fn request_ended(&mut self) {
        self.untidy = true;
    }

    /// Is there something to tidy up? Not again before the next request has ended.
    pub(crate) fn take_untidy(&mut self) -> bool {
        std::mem::take(&mut self.untidy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_is_due_once_in_a_while_and_the_tidying_once_after_a_request() {
        let mut upkeep = Upkeep::default();
        let begin = Duration::from_secs(100);
        assert!(upkeep.scan_is_due(begin) && !upkeep.scan_is_due(begin));
        assert_eq!(upkeep.next_scan(), begin + SCAN_EVERY);
        assert!(upkeep.scan_is_due(begin + SCAN_EVERY));
        assert!(!upkeep.take_untidy());
        upkeep.request_ended();
        assert!(upkeep.take_untidy() && !upkeep.take_untidy());
    }
}
