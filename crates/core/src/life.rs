//! How far the core is: from its start over the results of earlier commands to work, and to the stop.

use std::time::Duration;

use crate::input::Input;

/// How long running variables may take to be stopped after Ctrl-C.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// [`Input::Started`] has not come.
    #[default]
    New,
    /// Results of earlier commands are being collected.
    CollectingLeftovers { ledger_exists: bool },
    /// What earlier owners have left open is being read.
    LoadingLedger,
    /// Requests are served.
    Working,
    /// The user wants it to stop: running variables are waited for until then, on the steady clock.
    Stopping { until: Duration },
}

/// The stage of the core, and the inputs that came too early for it.
#[derive(Debug, Default)]
pub(crate) struct Life {
    stage: Stage,
    early: Vec<Input>,
    /// It continues without a request, until it is told to stop.
    serves: bool,
}

/// What follows when the results of earlier commands are collected.
#[derive(Debug)]
pub(crate) enum AfterLeftovers {
    /// The ledger says what is still open.
    LoadLedger,
    /// Work begins, with these inputs.
    Work(Vec<Input>),
}

/// What a stop interrupts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interrupted {
    /// Work had not begun.
    Start,
    /// Requests were being served.
    Work,
    /// It was stopping already.
    Stop,
}

impl Life {
    /// It serves requests until it is told to stop, and does not end with the last one.
    pub(crate) fn serve(&mut self) {
        self.serves = true;
    }

    pub(crate) fn serves(&self) -> bool {
        self.serves
    }

    /// The driver is ready.
    pub(crate) fn started(&mut self, ledger_exists: bool) {
        self.stage = Stage::CollectingLeftovers { ledger_exists };
    }

    /// Requests are taken when work has begun: keeps one that came before, and drops one that came after the stop.
    pub(crate) fn keep_for_later(&mut self, input: Input) {
        if !self.is_stopping() {
            self.early.push(input);
        }
    }

    /// Nothing of earlier commands is left to collect. `None`: that was known before.
    pub(crate) fn leftovers_are_collected(&mut self) -> Option<AfterLeftovers> {
        let Stage::CollectingLeftovers { ledger_exists } = self.stage else { return None };
        if ledger_exists {
            self.stage = Stage::LoadingLedger;
            return Some(AfterLeftovers::LoadLedger);
        }
        Some(AfterLeftovers::Work(self.begin_work()))
    }

    /// Gives the inputs that have waited for this.
    pub(crate) fn begin_work(&mut self) -> Vec<Input> {
        self.stage = Stage::Working;
        std::mem::take(&mut self.early)
    }

    /// The user wants it to stop.
    pub(crate) fn stop(&mut self, now: Duration) -> Interrupted {
        match self.stage {
            Stage::New | Stage::CollectingLeftovers { .. } | Stage::LoadingLedger => Interrupted::Start,
            Stage::Working => {
                self.stage = Stage::Stopping { until: now + STOP_PATIENCE };
                Interrupted::Work
            }
            Stage::Stopping { .. } => Interrupted::Stop,
        }
    }

    pub(crate) fn is_loading_ledger(&self) -> bool {
        self.stage == Stage::LoadingLedger
    }

    pub(crate) fn is_working(&self) -> bool {
        self.stage == Stage::Working
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stop_deadline().is_some()
    }

    /// Until when a stop waits for running variables.
    pub(crate) fn stop_deadline(&self) -> Option<Duration> {
        match self.stage {
            Stage::Stopping { until } => Some(until),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(100);

    #[test]
    fn what_comes_early_waits_until_work_begins() {
        let mut life = Life::default();
        life.keep_for_later(Input::Follow);
        life.started(true);
        life.keep_for_later(Input::Follow);
        assert!(matches!(life.leftovers_are_collected(), Some(AfterLeftovers::LoadLedger)));
        assert!(life.leftovers_are_collected().is_none(), "the ledger is read once");
        assert!(life.is_loading_ledger() && !life.is_working());
        assert_eq!(life.begin_work().len(), 2);
        assert!(life.is_working());
        assert!(life.begin_work().is_empty());
    }

    #[test]
    fn without_a_ledger_work_begins_at_once() {
        let mut life = Life::default();
        assert!(life.leftovers_are_collected().is_none(), "it has not started");
        life.started(false);
        assert!(matches!(life.leftovers_are_collected(), Some(AfterLeftovers::Work(_))));
        assert!(life.is_working());
    }

    #[test]
    fn a_stop_is_bounded_and_a_second_one_is_told_apart() {
        let mut life = Life::default();
        assert_eq!(life.stop(NOW), Interrupted::Start);
        assert!(!life.is_stopping());
        life.begin_work();
        assert_eq!(life.stop(NOW), Interrupted::Work);
        assert_eq!(life.stop_deadline(), Some(NOW + STOP_PATIENCE));
        assert_eq!(life.stop(NOW + STOP_PATIENCE), Interrupted::Stop);
        assert_eq!(life.stop_deadline(), Some(NOW + STOP_PATIENCE), "it is not put off");
        life.keep_for_later(Input::Follow);
        assert!(life.begin_work().is_empty(), "nothing is taken after the stop");
    }
}
