//! Whether the ledger can be written to now. One that does not answer delays jobs, not what is computed here.

use std::time::Duration;

/// How long a ledger that does not answer is left alone.
const RETRY: Duration = Duration::from_millis(500);
/// How long a command whose work is done waits for it, to tell it how that ended.
const END_PATIENCE: Duration = Duration::from_secs(15);

#[derive(Debug, Default)]
pub(crate) struct LedgerAccess {
    is_open: bool,
    /// It does not answer: since when, and when it is tried again.
    silent: Option<Silent>,
}

#[derive(Clone, Copy, Debug)]
struct Silent {
    since: Duration,
    retry_at: Duration,
}

impl LedgerAccess {
    pub(crate) fn opened(&mut self) {
        self.is_open = true;
    }

    pub(crate) fn is_open(&self) -> bool {
        self.is_open
    }

    /// It was written to, and has answered or not. Is it silent for the first time since it last answered?
    pub(crate) fn answered(&mut self, now: Duration, answered: bool) -> bool {
        let before = self.silent;
        let since = before.map_or(now, |silent| silent.since);
        self.silent = (!answered).then_some(Silent { since, retry_at: now + RETRY });
        !answered && before.is_none()
    }

    /// Has it been silent for so long that a command does not wait for it at its end?
    pub(crate) fn is_given_up(&self, now: Duration) -> bool {
        self.silent.is_some_and(|silent| now.saturating_sub(silent.since) > END_PATIENCE)
    }

    pub(crate) fn may_write(&self, now: Duration) -> bool {
        self.is_open && self.silent.is_none_or(|silent| silent.retry_at <= now)
    }

    /// When it is tried again.
    pub(crate) fn retry_at(&self) -> Option<Duration> {
        self.silent.map(|silent| silent.retry_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_ledger_is_reported_once_and_tried_again_after_a_while() {
        let now = Duration::from_secs(10);
        let mut access = LedgerAccess::default();
        assert!(!access.may_write(now));
        access.opened();
        assert!(access.may_write(now));
        assert!(access.answered(now, false), "it is news");
        assert!(!access.may_write(now) && !access.is_given_up(now + END_PATIENCE));
        assert!(access.is_given_up(now + END_PATIENCE + RETRY));
        assert!(access.may_write(now + RETRY));
        assert!(!access.answered(now + RETRY, false), "it is known");
        assert_eq!(access.retry_at(), Some(now + RETRY + RETRY));
        assert!(!access.answered(now, true));
        assert!(access.may_write(now) && access.is_open());
        assert!(access.answered(now, false), "it is silent again");
    }
}
