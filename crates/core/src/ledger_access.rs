//! Whether the ledger can be written to now. One that does not answer delays jobs, not what is computed here.

use std::time::Duration;

/// How long a ledger that does not answer is left alone.
const RETRY: Duration = Duration::from_millis(500);

#[derive(Debug, Default)]
pub(crate) struct LedgerAccess {
    is_open: bool,
    /// It does not answer: when it is tried again.
    retry_at: Option<Duration>,
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
        let was_silent = self.is_silent();
        self.retry_at = (!answered).then_some(now + RETRY);
        !answered && !was_silent
    }

    pub(crate) fn is_silent(&self) -> bool {
        self.retry_at.is_some()
    }

    pub(crate) fn may_write(&self, now: Duration) -> bool {
        self.is_open && self.retry_at.is_none_or(|at| at <= now)
    }

    /// When it is tried again.
    pub(crate) fn retry_at(&self) -> Option<Duration> {
        self.retry_at
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
        assert!(!access.may_write(now) && access.is_silent());
        assert!(access.may_write(now + RETRY));
        assert!(!access.answered(now + RETRY, false), "it is known");
        assert_eq!(access.retry_at(), Some(now + RETRY + RETRY));
        assert!(!access.answered(now, true));
        assert!(access.may_write(now) && access.is_open());
        assert!(access.answered(now, false), "it is silent again");
    }
}
