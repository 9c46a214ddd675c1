//! How the command of this core ends.

use crate::{events::Summary, refusal::Refusal};

/// What is known of it so far. What is known first counts.
#[derive(Debug, Default)]
pub(crate) struct Ending {
    fatal: Option<Refusal>,
    abandoned: bool,
    summary: Option<Summary>,
    failure: Option<Refusal>,
}

impl Ending {
    /// The core cannot continue.
    pub(crate) fn fail(&mut self, refusal: Refusal) {
        self.fatal.get_or_insert(refusal);
    }

    /// The user does not want to wait for the stop.
    pub(crate) fn abandon(&mut self) {
        self.abandoned = true;
    }

    /// The request of this command was served.
    pub(crate) fn served(&mut self, summary: Summary) {
        self.summary.get_or_insert(summary);
    }

    /// The request of this command could not be served to its end. Requests of others may continue.
    pub(crate) fn not_served(&mut self, refusal: Refusal) {
        self.failure = Some(refusal);
    }

    /// Can the core not continue?
    pub(crate) fn has_failed(&self) -> bool {
        self.fatal.is_some()
    }

    pub(crate) fn is_abandoned(&self) -> bool {
        self.abandoned
    }

    /// Does nothing have to be waited for?
    pub(crate) fn is_now(&self) -> bool {
        self.has_failed() || self.abandoned
    }

    /// How the request of this command ended; `None`: it has not.
    ///
    /// # Errors
    /// It was not served, or not to its end.
    pub(crate) fn result(&self) -> Result<Option<Summary>, Refusal> {
        match self.fatal.as_ref().or(self.failure.as_ref()) {
            Some(refusal) => Err(refusal.clone()),
            None => Ok(self.summary.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_fatal_error_counts_and_ends_everything() {
        let mut ending = Ending::default();
        ending.served(Summary { runs: 1, ..Summary::default() });
        assert!(!ending.is_now());
        ending.fail(Refusal::new("the disk is full"));
        ending.fail(Refusal::new("the worker is gone"));
        assert!(ending.is_now() && ending.has_failed());
        assert_eq!(ending.result().unwrap_err().message, "the disk is full");
    }

    #[test]
    fn a_request_that_was_not_served_does_not_end_those_of_others() {
        let mut ending = Ending::default();
        assert_eq!(ending.result(), Ok(None));
        ending.not_served(Refusal::new("it had ended before"));
        assert!(!ending.is_now() && ending.result().is_err());
    }

    #[test]
    fn who_does_not_want_to_wait_still_gets_the_summary() {
        let mut ending = Ending::default();
        let summary = Summary { runs: 1, ..Summary::default() };
        ending.served(summary.clone());
        ending.served(Summary::default());
        ending.abandon();
        assert!(ending.is_now() && !ending.has_failed());
        assert_eq!(ending.result(), Ok(Some(summary)));
    }
}
