//! All tasks of the core: found by number, id or run; moved in one place; forgotten when nobody needs them.

use std::collections::{BTreeMap, BTreeSet};

use amore_model::{
    Proposal, Run,
    planted::{Fault, is_on},
};

use crate::{
    task::{TaskNo, TaskRecord},
    task_state::{IllegalMove, TaskMove, TaskState},
};

/// A run of a proposal.
pub type RunKey = (Proposal, Run);

/// The tasks that are known, by number.
#[derive(Debug, Default)]
pub struct Tasks {
    records: BTreeMap<TaskNo, TaskRecord>,
    by_id: BTreeMap<String, TaskNo>,
    by_run: BTreeMap<RunKey, BTreeSet<TaskNo>>,
    /// Those that the worker here has.
    running: BTreeSet<TaskNo>,
    next: u64,
}

impl Tasks {
    /// The number that the next task gets.
    pub fn next_number(&self) -> TaskNo {
        TaskNo(self.next)
    }

    /// Adds a task, which gets the next number.
    pub fn add(&mut self, task: TaskRecord) -> TaskNo {
        let number = TaskNo(self.next);
        self.next += 1;
        self.by_id.insert(task.id.clone(), number);
        self.by_run.entry(task.key()).or_default().insert(number);
        self.records.insert(number, task);
        number
    }

    /// A task, unless it is forgotten.
    pub fn get(&self, number: TaskNo) -> Option<&TaskRecord> {
        self.records.get(&number)
    }

    /// A task, to change what is known of it. Its state changes by [`Tasks::advance`] alone.
    pub fn get_mut(&mut self, number: TaskNo) -> Option<&mut TaskRecord> {
        self.records.get_mut(&number)
    }

    /// The task with this id.
    pub fn by_id(&self, id: &str) -> Option<TaskNo> {
        self.by_id.get(id).copied()
    }

    /// All tasks, in the order in which they came.
    pub fn iter(&self) -> impl Iterator<Item = (TaskNo, &TaskRecord)> {
        self.records.iter().map(|(number, task)| (*number, task))
    }

    /// How many tasks are known.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// How many the worker here has.
    pub fn running(&self) -> usize {
        self.running.len()
    }

    /// Those that the worker here has.
    pub fn running_here(&self) -> Vec<TaskNo> {
        self.running.iter().copied().collect()
    }

    /// Tasks of a run in states that `is` accepts.
    pub fn of_run(&self, key: RunKey, is: impl Fn(&TaskState) -> bool) -> Vec<TaskNo> {
        let numbers = self.by_run.get(&key).into_iter().flatten();
        numbers
            .copied()
            .filter(|number| self.records.get(number).is_some_and(|task| is(task.state())))
            .collect()
    }

    /// The one place where tasks move. Gives the state that the task had.
    ///
    /// # Errors
    /// The state has no such move; nothing is changed.
    pub fn advance(&mut self, number: TaskNo, wanted: TaskMove) -> Result<Option<TaskState>, IllegalMove> {
        let Some(task) = self.records.get_mut(&number) else { return Ok(None) };
        let before = task.advance(wanted)?;
        if task.state().is_here() {
            self.running.insert(number);
        } else {
            self.running.remove(&number);
        }
        Ok(Some(before))
    }

    /// Forgets tasks that have ended.
    pub fn forget(&mut self, numbers: impl IntoIterator<Item = TaskNo>) {
        if is_on(Fault::FinishedNotForgotten) {
            return;
        }
        for number in numbers {
            let Some(task) = self.records.remove(&number) else { continue };
            self.by_id.remove(&task.id);
            self.running.remove(&number);
            if let Some(of_run) = self.by_run.get_mut(&task.key()) {
                of_run.remove(&number);
                if of_run.is_empty() {
                    self.by_run.remove(&task.key());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{request::RequestNo, task::tests::task, task_state::WorkerNo};

    fn start() -> TaskMove {
        TaskMove::Start { token: "t".to_owned(), worker: WorkerNo(0) }
    }

    #[test]
    fn a_task_is_found_by_its_number_its_id_and_its_run_until_it_is_forgotten() {
        let mut tasks = Tasks::default();
        let first = tasks.add(task("a", RequestNo(0), 1, []));
        let second = tasks.add(task("b", RequestNo(0), 1, [first]));
        let key = (Proposal(1234), Run(1));
        assert_eq!(tasks.by_id("b"), Some(second));
        assert_eq!(tasks.of_run(key, TaskState::is_waiting), [second]);
        assert_eq!(tasks.of_run(key, |_| true), [first, second]);
        tasks.forget([first]);
        assert!(tasks.get(first).is_none() && tasks.by_id("a").is_none());
        assert_eq!((tasks.of_run(key, |_| true), tasks.len()), (vec![second], 1));
        assert!(tasks.next_number() > second, "numbers are not given twice");
    }

    #[test]
    fn the_tasks_of_the_worker_here_are_known() {
        let mut tasks = Tasks::default();
        let number = tasks.add(task("a", RequestNo(0), 1, []));
        assert_eq!(tasks.running(), 0);
        let before = tasks.advance(number, start()).unwrap();
        assert_eq!(before, Some(TaskState::Ready { attempt: 1 }));
        assert_eq!(tasks.running_here(), [number]);
        assert!(tasks.advance(number, start()).is_err());
        assert_eq!(tasks.running(), 1, "an illegal move changes nothing");
        tasks.advance(number, TaskMove::WorkerEnded { problem: None }).unwrap();
        assert_eq!(tasks.running(), 0);
        assert_eq!(tasks.advance(TaskNo(99), start()), Ok(None), "it is forgotten, or never was");
    }
}
