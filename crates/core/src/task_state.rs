//! The state machine of a task: one function makes every move.

use std::collections::BTreeSet;

use amore_model::JobId;

use crate::{events::CANCELLED, task::TaskNo};

/// How often a task is tried whose worker dies under it.
pub const MAX_ATTEMPTS: u32 = 3;

/// A worker on this machine. A worker that replaces another one has another number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerNo(pub u32);

/// One try of a task. Messages with another token are not about this attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Which try this is, from 1.
    pub number: u32,
    /// Names the attempt, in messages, files and the job's comment.
    pub token: String,
    /// Where it is made.
    pub place: AttemptPlace,
}

/// Where an attempt is made, and how its end is noticed if nobody reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttemptPlace {
    /// On this machine. The attempt ends with its worker.
    Here {
        /// The worker that has it.
        worker: WorkerNo,
    },
    /// In a Slurm job. The attempt ends when Slurm shows that the job has ended.
    Job {
        /// The job; `None` until Slurm has accepted it.
        job: Option<JobId>,
    },
}

/// The state of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskState {
    /// Results of other tasks must be collected first.
    Waiting {
        /// Those tasks.
        on: BTreeSet<TaskNo>,
    },
    /// It can be started.
    Ready {
        /// The number of the next attempt, from 1.
        attempt: u32,
    },
    /// An attempt is in progress.
    InProgress(Attempt),
    /// It has ended, with or without a problem.
    Ended {
        /// Why it ended before its steps were done.
        problem: Option<String>,
    },
}

/// What moves a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskMove {
    /// The results of a task that this one waits for are collected.
    Collected(TaskNo),
    /// It is given to a worker here.
    Start {
        /// The attempt's.
        token: String,
        /// The worker.
        worker: WorkerNo,
    },
    /// A job is submitted for it.
    Submit {
        /// The attempt's.
        token: String,
    },
    /// Slurm has accepted the job.
    Accepted(JobId),
    /// Slurm does not have the job: this was no attempt.
    NotSubmitted,
    /// The job has ended and the task has not: the next attempt can begin.
    JobOver,
    /// The worker reports the end of the task.
    WorkerEnded {
        /// Why steps were left out.
        problem: Option<String>,
    },
    /// The worker died.
    WorkerLost,
    /// All of its results are stored already.
    NothingLeft {
        /// Why steps were left out.
        problem: Option<String>,
    },
    /// The user cancelled it.
    Cancelled,
    /// A task that it waits for can never end.
    Hopeless {
        /// Why.
        problem: String,
    },
}

/// A move that the state does not have.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("a task in the state {from:?} has no move {wanted:?}")]
pub struct IllegalMove {
    from: TaskState,
    wanted: TaskMove,
}

impl TaskState {
    /// Of a new task.
    pub fn new(waits_for: impl IntoIterator<Item = TaskNo>) -> Self {
        let on: BTreeSet<TaskNo> = waits_for.into_iter().collect();
        if on.is_empty() { TaskState::Ready { attempt: 1 } } else { TaskState::Waiting { on } }
    }

    /// The attempt in progress.
    pub fn attempt(&self) -> Option<&Attempt> {
        match self {
            TaskState::InProgress(attempt) => Some(attempt),
            _ => None,
        }
    }

    /// The token of the attempt in a Slurm job.
    pub fn job_token(&self) -> Option<&str> {
        match self {
            TaskState::InProgress(Attempt { token, place: AttemptPlace::Job { .. }, .. }) => Some(token),
            _ => None,
        }
    }

    /// The Slurm job that it is in, if its number is known.
    pub fn job(&self) -> Option<&JobId> {
        match self {
            TaskState::InProgress(Attempt { place: AttemptPlace::Job { job }, .. }) => job.as_ref(),
            _ => None,
        }
    }

    /// The worker on this machine that has it.
    pub fn worker(&self) -> Option<WorkerNo> {
        match self {
            TaskState::InProgress(Attempt { place: AttemptPlace::Here { worker }, .. }) => Some(*worker),
            _ => None,
        }
    }

    /// Does a worker on this machine have it?
    pub fn is_here(&self) -> bool {
        self.worker().is_some()
    }

    /// Is it over?
    pub fn is_ended(&self) -> bool {
        matches!(self, TaskState::Ended { .. })
    }

    /// Does it wait for other tasks?
    pub fn is_waiting(&self) -> bool {
        matches!(self, TaskState::Waiting { .. })
    }

    /// Can it be started?
    pub fn is_ready(&self) -> bool {
        matches!(self, TaskState::Ready { .. })
    }

    /// The next state.
    ///
    /// # Errors
    /// There is no such move.
    pub fn next(&self, wanted: TaskMove) -> Result<TaskState, IllegalMove> {
        use AttemptPlace::{Here, Job};
        use TaskState::{Ended, InProgress, Ready, Waiting};
        let illegal = |wanted| Err(IllegalMove { from: self.clone(), wanted });
        match (self, wanted) {
            (Waiting { on }, TaskMove::Collected(task)) => {
                Ok(TaskState::new(on.iter().copied().filter(|other| *other != task)))
            }
            (Waiting { .. }, TaskMove::Hopeless { problem }) => Ok(Ended { problem: Some(problem) }),
            (Ready { attempt }, TaskMove::Start { token, worker }) => {
                Ok(InProgress(Attempt { number: *attempt, token, place: Here { worker } }))
            }
            (Ready { attempt }, TaskMove::Submit { token }) => {
                Ok(InProgress(Attempt { number: *attempt, token, place: Job { job: None } }))
            }
            (Ready { .. }, TaskMove::NothingLeft { problem }) => Ok(Ended { problem }),
            (InProgress(Attempt { number, token, place: Job { .. } }), TaskMove::Accepted(job)) => {
                Ok(InProgress(Attempt {
                    number: *number,
                    token: token.clone(),
                    place: Job { job: Some(job) },
                }))
            }
            (InProgress(Attempt { number, place: Job { job: None }, .. }), TaskMove::NotSubmitted) => {
                Ok(Ready { attempt: *number })
            }
            (InProgress(Attempt { number, place: Job { .. }, .. }), TaskMove::JobOver) => {
                Ok(Ready { attempt: number + 1 })
            }
            (InProgress(_), TaskMove::WorkerEnded { problem }) => Ok(Ended { problem }),
            (InProgress(Attempt { number, place: Here { .. }, .. }), TaskMove::WorkerLost) => {
                if *number < MAX_ATTEMPTS {
                    Ok(Ready { attempt: number + 1 })
                } else {
                    let problem = format!("the worker that ran it ended unexpectedly, {number} times");
                    Ok(Ended { problem: Some(problem) })
                }
            }
            (Waiting { .. } | Ready { .. } | InProgress(_), TaskMove::Cancelled) => {
                Ok(Ended { problem: Some(CANCELLED.to_owned()) })
            }
            (_, wanted) => illegal(wanted),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start() -> TaskMove {
        TaskMove::Start { token: "t".to_owned(), worker: WorkerNo(0) }
    }

    #[test]
    fn a_lost_worker_is_replaced_a_bounded_number_of_times() {
        let mut state = TaskState::new([]);
        for attempt in 1..=MAX_ATTEMPTS {
            assert_eq!(state, TaskState::Ready { attempt });
            state = state.next(start()).unwrap().next(TaskMove::WorkerLost).unwrap();
        }
        assert!(matches!(state, TaskState::Ended { problem: Some(_) }));
    }

    #[test]
    fn a_job_that_was_not_accepted_costs_no_attempt_and_one_that_is_over_does() {
        let ready = TaskState::new([]);
        let asked = ready.next(TaskMove::Submit { token: "t1".to_owned() }).unwrap();
        assert_eq!(asked.next(TaskMove::NotSubmitted).unwrap(), ready);
        let there = asked.next(TaskMove::Accepted(JobId::on(None, 7))).unwrap();
        assert!(there.next(TaskMove::NotSubmitted).is_err());
        assert!(there.next(TaskMove::WorkerLost).is_err());
        assert_eq!(there.next(TaskMove::JobOver).unwrap(), TaskState::Ready { attempt: 2 });
        assert!(there.next(start()).is_err());
    }

    #[test]
    fn a_task_waits_until_all_it_needs_is_collected() {
        let state = TaskState::new([TaskNo(0), TaskNo(2)]).next(TaskMove::Collected(TaskNo(0))).unwrap();
        assert_eq!(state, TaskState::Waiting { on: [TaskNo(2)].into() });
        assert!(state.next(start()).is_err());
        assert!(state.next(TaskMove::NothingLeft { problem: None }).is_err());
        assert_eq!(state.next(TaskMove::Collected(TaskNo(2))).unwrap(), TaskState::Ready { attempt: 1 });
    }

    #[test]
    fn nothing_moves_what_has_ended() {
        let ended = TaskState::Ended { problem: None };
        for wanted in [
            start(),
            TaskMove::Cancelled,
            TaskMove::WorkerLost,
            TaskMove::JobOver,
            TaskMove::NothingLeft { problem: None },
            TaskMove::WorkerEnded { problem: None },
        ] {
            assert!(ended.next(wanted).is_err());
        }
    }
}
