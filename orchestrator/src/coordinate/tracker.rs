//! The state machine of a task in the coordinator: pure, one function for every move.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use amore_model::JobId;
use amore_plan::PlannedStep;
use amore_wire::{ended::Ended, task::Outcome};

/// Attempts at a task whose worker goes away under it.
pub const MAX_ATTEMPTS: u32 = 3;

/// Where a task stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskState {
    /// Other tasks must be collected first.
    Waiting {
        /// Their positions.
        on: BTreeSet<usize>,
    },
    /// Can be given to a worker.
    Ready {
        /// The attempt that comes next, from 1.
        attempt: u32,
    },
    /// A worker has it.
    Running {
        /// Which attempt.
        attempt: u32,
    },
    /// It is in a Slurm job, or about to be.
    InJob {
        /// Which attempt.
        attempt: u32,
        /// Names the attempt; what is said of another one is not about this.
        token: String,
        /// The job; `None` until Slurm has said that it has it.
        job: Option<JobId>,
    },
    /// Nothing more will come of it.
    Ended {
        /// Why it ended before its steps were done.
        problem: Option<String>,
    },
}

/// What moves a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskMove {
    /// A task that this one waits for is collected.
    Collected(usize),
    /// Given to a worker.
    Dispatched,
    /// A job with this token is being submitted.
    Submitting(String),
    /// Slurm has the job.
    Accepted(JobId),
    /// Slurm does not have it: as if it had not been tried.
    NotSubmitted,
    /// The job is over and the task is not: another try.
    JobOver,
    /// The worker says it is over.
    WorkerSaysEnded(Option<String>),
    /// The worker is gone.
    WorkerLost,
    /// The user stops it.
    Cancelled,
    /// What it waits for will never come.
    Hopeless(String),
}

/// A move that this state does not have.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a task that is {from:?} cannot take the move {wanted:?}")]
pub struct IllegalMove {
    from: TaskState,
    wanted: TaskMove,
}

impl TaskState {
    /// Of a new task.
    pub fn new(waits_for: impl IntoIterator<Item = usize>) -> Self {
        let on: BTreeSet<usize> = waits_for.into_iter().collect();
        if on.is_empty() { TaskState::Ready { attempt: 1 } } else { TaskState::Waiting { on } }
    }

    /// The Slurm job that it is in, if that is known.
    pub fn job(&self) -> Option<&JobId> {
        match self {
            TaskState::InJob { job, .. } => job.as_ref(),
            _ => None,
        }
    }

    /// Does what a worker says of this attempt count? A worker that was given up may still speak of an earlier one. Words
    /// without a number are of an older version, and those from a Slurm job are known by its token.
    pub fn hears(&self, attempt: Option<u32>) -> bool {
        match (self, attempt) {
            (_, None) | (TaskState::InJob { .. } | TaskState::Ended { .. }, _) => true,
            (TaskState::Running { attempt: present }, Some(attempt)) => *present == attempt,
            (TaskState::Waiting { .. } | TaskState::Ready { .. }, Some(_)) => false,
        }
    }

    /// The next state.
    ///
    /// # Errors
    /// When there is no such move.
    pub fn next(&self, wanted: TaskMove) -> Result<TaskState, IllegalMove> {
        match (self, wanted) {
            (TaskState::Waiting { on }, TaskMove::Collected(task)) => {
                Ok(TaskState::new(on.iter().copied().filter(|other| *other != task)))
            }
            (TaskState::Ready { attempt }, TaskMove::Dispatched) => {
                Ok(TaskState::Running { attempt: *attempt })
            }
            (TaskState::Ready { attempt }, TaskMove::Submitting(token)) => {
                Ok(TaskState::InJob { attempt: *attempt, token, job: None })
            }
            (TaskState::InJob { attempt, token, .. }, TaskMove::Accepted(job)) => {
                Ok(TaskState::InJob { attempt: *attempt, token: token.clone(), job: Some(job) })
            }
            (TaskState::InJob { attempt, job: None, .. }, TaskMove::NotSubmitted) => {
                Ok(TaskState::Ready { attempt: *attempt })
            }
            (TaskState::InJob { attempt, .. }, TaskMove::JobOver) => {
                Ok(TaskState::Ready { attempt: attempt + 1 })
            }
            (TaskState::Running { .. } | TaskState::InJob { .. }, TaskMove::WorkerSaysEnded(problem)) => {
                Ok(TaskState::Ended { problem })
            }
            (TaskState::Running { attempt }, TaskMove::WorkerLost) if *attempt < MAX_ATTEMPTS => {
                Ok(TaskState::Ready { attempt: attempt + 1 })
            }
            (TaskState::Running { attempt }, TaskMove::WorkerLost) => Ok(TaskState::Ended {
                problem: Some(format!("the worker that ran it ended unexpectedly, {attempt} times")),
            }),
            (
                TaskState::Waiting { .. }
                | TaskState::Ready { .. }
                | TaskState::Running { .. }
                | TaskState::InJob { .. },
                TaskMove::Cancelled,
            ) => Ok(TaskState::Ended { problem: Some("cancelled".to_owned()) }),
            (TaskState::Waiting { .. }, TaskMove::Hopeless(problem)) => {
                Ok(TaskState::Ended { problem: Some(problem) })
            }
            // Late words about something that is over change nothing.
            (TaskState::Ended { problem }, TaskMove::Cancelled | TaskMove::WorkerLost) => {
                Ok(TaskState::Ended { problem: problem.clone() })
            }
            (from, wanted) => Err(IllegalMove { from: from.clone(), wanted }),
        }
    }
}

/// What is known of the variables of a task, over all its attempts.
#[derive(Clone, Debug, Default)]
pub struct TaskResults {
    /// As reported by the worker.
    pub outcomes: HashMap<String, Outcome>,
    /// Those whose outcome stands in the run's file, from this plan.
    pub collected: BTreeSet<String>,
}

/// What the next attempt has to do.
#[derive(Debug, PartialEq, Eq)]
pub struct NextAttempt {
    /// Names of the steps to execute (transient ones again).
    pub steps: Vec<String>,
    /// Names of steps whose outcome is stored and that change state of the module: the worker executes them again if one of
    /// `steps` reads that.
    pub again: Vec<String>,
    /// Values to read from the run's file.
    pub given: Vec<String>,
    /// Outcomes without a value that dependents must be told.
    pub ended: BTreeMap<String, Ended>,
}

impl TaskResults {
    /// Splits the steps of a task into what is stored and what is left. Those that only leave something for others are neither.
    pub fn next_attempt<'a>(&self, steps: impl IntoIterator<Item = &'a PlannedStep>) -> NextAttempt {
        let mut next =
            NextAttempt { steps: Vec::new(), again: Vec::new(), given: Vec::new(), ended: BTreeMap::new() };
        for step in steps {
            let name = step.name.as_str();
            if step.again {
                next.again.push(name.to_owned());
                continue;
            }
            if !self.collected.contains(name) {
                next.steps.push(name.to_owned());
                continue;
            }
            if !step.changes.is_empty() {
                next.again.push(name.to_owned());
            }
            match self.outcomes.get(name).and_then(Outcome::without_value) {
                None => next.given.push(name.to_owned()),
                Some(how) => {
                    next.ended.insert(name.to_owned(), how);
                }
            }
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_worker_is_replaced_a_bounded_number_of_times() {
        let mut state = TaskState::new([]);
        for attempt in 1..=MAX_ATTEMPTS {
            assert_eq!(state, TaskState::Ready { attempt });
            state = state.next(TaskMove::Dispatched).unwrap().next(TaskMove::WorkerLost).unwrap();
        }
        assert!(matches!(state, TaskState::Ended { problem: Some(_) }));
    }

    #[test]
    fn a_job_that_was_not_taken_costs_no_attempt_and_one_that_is_over_does() {
        let ready = TaskState::new([]);
        let asked = ready.next(TaskMove::Submitting("t1".to_owned())).unwrap();
        assert_eq!(asked.next(TaskMove::NotSubmitted).unwrap(), ready);
        let there = asked.next(TaskMove::Accepted(JobId::on(None, 7))).unwrap();
        assert!(there.next(TaskMove::NotSubmitted).is_err());
        assert_eq!(there.next(TaskMove::JobOver).unwrap(), TaskState::Ready { attempt: 2 });
        assert!(there.next(TaskMove::Dispatched).is_err());
    }

    #[test]
    fn a_task_waits_until_all_it_needs_is_collected() {
        let state = TaskState::new([0, 2]).next(TaskMove::Collected(0)).unwrap();
        assert_eq!(state, TaskState::Waiting { on: [2].into() });
        assert!(state.next(TaskMove::Dispatched).is_err());
        assert_eq!(state.next(TaskMove::Collected(2)).unwrap(), TaskState::Ready { attempt: 1 });
    }

    #[test]
    fn words_of_an_earlier_attempt_change_nothing() {
        let first = TaskState::new([]).next(TaskMove::Dispatched).unwrap();
        assert!(first.hears(Some(1)) && !first.hears(Some(2)));
        let lost = first.next(TaskMove::WorkerLost).unwrap();
        assert!(!lost.hears(Some(1)));
        let second = lost.next(TaskMove::Dispatched).unwrap();
        assert!(second.hears(Some(2)) && !second.hears(Some(1)));
        // A worker of the version before does not number its words.
        assert!(second.hears(None));
        // A job's are told apart by its token before.
        assert!(lost.next(TaskMove::Submitting("t".to_owned())).unwrap().hears(Some(1)));
    }

    #[test]
    fn what_is_stored_is_not_computed_again() {
        let mut results = TaskResults::default();
        results.outcomes.insert("a".to_owned(), Outcome::Value);
        results.outcomes.insert("b".to_owned(), Outcome::Skipped { message: "no beam".to_owned() });
        results.outcomes.insert("c".to_owned(), Outcome::Value);
        results.collected = ["a".to_owned(), "b".to_owned()].into();
        let step = |name: &str| PlannedStep { name: name.to_owned(), ..PlannedStep::default() };
        let changes = |name: &str| PlannedStep { changes: vec!["TABLE".to_owned()], ..step(name) };
        let again = PlannedStep { again: true, ..changes("e") };
        let next = results.next_attempt(&[step("a"), changes("b"), step("c"), changes("d"), again]);
        assert_eq!(next.steps, ["c", "d"]);
        assert_eq!(next.again, ["b", "e"]);
        assert_eq!(next.given, ["a"]);
        assert_eq!(next.ended["b"], Ended::Skipped { message: "no beam".to_owned() });
    }
}
