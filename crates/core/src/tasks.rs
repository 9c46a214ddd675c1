//! All tasks of the core: found by number, id or run; moved in one place; forgotten when nobody needs them.

use std::collections::{BTreeMap, BTreeSet};

use amore_model::{Proposal, Run};

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
