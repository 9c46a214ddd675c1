//! Commands of variables, between two answers: their arguments until they are executed, and their outcomes until the end of
//! the log is known.

use std::collections::BTreeMap;

use amore_model::JobOutcome;

use crate::{input::Prepared, task::TaskNo};

#[derive(Debug, Default)]
pub(crate) struct Commands {
    prepared: BTreeMap<TaskNo, Prepared>,
    outcomes: BTreeMap<TaskNo, (JobOutcome, NextStep)>,
}

/// What follows when the outcome of a command is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NextStep {
    /// Its task has ended.
    End,
    /// Its task is cancelled.
    Cancel,
    /// The worker here has to stop it, and reports the end.
    StopHere,
}

impl Commands {
    /// The arguments of a command are known, or why it is not executed.
    pub(crate) fn set_prepared(&mut self, task: TaskNo, prepared: Prepared) {
        self.prepared.insert(task, prepared);
    }

    /// Takes the arguments of a command; `None`: they have to be asked for.
    pub(crate) fn take_prepared(&mut self, task: TaskNo) -> Option<Prepared> {
        self.prepared.remove(&task)
    }

    /// The outcome of a command is known, but for the end of its log.
    pub(crate) fn wait_for_log(&mut self, task: TaskNo, outcome: JobOutcome, next: NextStep) {
        self.outcomes.insert(task, (outcome, next));
    }

    pub(crate) fn waits_for_log(&self, task: TaskNo) -> bool {
        self.outcomes.contains_key(&task)
    }

    /// Takes the outcome of a command, with the end of its log; `None`: there is no log.
    pub(crate) fn log_read(&mut self, task: TaskNo, tail: Option<String>) -> Option<(JobOutcome, NextStep)> {
        let (mut outcome, next) = self.outcomes.remove(&task)?;
        match tail {
            Some(tail) => outcome.tail = tail,
            None => outcome.log = None,
        }
        Some((outcome, next))
    }

    /// A task has ended.
    pub(crate) fn forget(&mut self, task: TaskNo) {
        self.prepared.remove(&task);
        self.outcomes.remove(&task);
    }
}

#[cfg(test)]
mod tests {
    use amore_model::JobState;

    use super::*;

    const TASK: TaskNo = TaskNo(1);

    fn outcome() -> JobOutcome {
        JobOutcome {
            id: None,
            cluster: None,
            state: JobState::TimedOut,
            reason: String::new(),
            exit_code: None,
            signal: None,
            directory: "/db/jobs/r1-p1/a".into(),
            tail: String::new(),
            log: Some("/db/slurm_logs/1.out".into()),
            elapsed: 0.0,
        }
    }

    #[test]
    fn an_outcome_gets_the_end_of_its_log() {
        let mut commands = Commands::default();
        assert!(commands.log_read(TASK, None).is_none());
        commands.wait_for_log(TASK, outcome(), NextStep::Cancel);
        assert!(commands.waits_for_log(TASK));
        let (found, next) = commands.log_read(TASK, Some("last words".to_owned())).unwrap();
        assert_eq!((found.tail.as_str(), next), ("last words", NextStep::Cancel));
        assert!(!commands.waits_for_log(TASK));
    }

    #[test]
    fn an_outcome_names_no_log_that_is_not_there() {
        let mut commands = Commands::default();
        commands.wait_for_log(TASK, outcome(), NextStep::End);
        let (found, _) = commands.log_read(TASK, None).unwrap();
        assert_eq!((found.log, found.tail), (None, String::new()));
    }

    #[test]
    fn words_are_used_once_and_not_after_the_end_of_the_task() {
        let mut commands = Commands::default();
        commands.set_prepared(TASK, Prepared::NotNow);
        assert!(commands.take_prepared(TASK).is_some() && commands.take_prepared(TASK).is_none());
        commands.set_prepared(TASK, Prepared::NotNow);
        commands.wait_for_log(TASK, outcome(), NextStep::End);
        commands.forget(TASK);
        assert!(commands.take_prepared(TASK).is_none() && !commands.waits_for_log(TASK));
    }
}
