//! The worker on this machine: which one it is, how often it crashed, and what becomes of tasks that it has or had.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use amore_wire::task::ToWorker;

use crate::{
    task::TaskNo,
    task_state::WorkerNo,
    worker_crashes::{TooManyCrashes, WorkerCrashes},
};

/// The first worker has the number 0.
#[derive(Debug, Default)]
pub(crate) struct LocalWorker {
    number: WorkerNo,
    crashes: WorkerCrashes,
    /// Tasks whose worker crashed, until what it stored of their runs is collected.
    lost: BTreeSet<TaskNo>,
    /// Tasks that `amore cancel` stops: if the worker crashes meanwhile, they are not tried again.
    cancelled: BTreeSet<TaskNo>,
    /// Tasks that the worker has begun to execute, and when (Unix time).
    begun: BTreeMap<TaskNo, f64>,
    /// Ids of tasks that the worker has to stop.
    to_stop: Vec<String>,
}

impl LocalWorker {
    pub(crate) fn number(&self) -> WorkerNo {
        self.number
    }

    /// The worker has crashed with these tasks. Gives the number of the one that replaces it.
    ///
    /// # Errors
    /// It has crashed too often: no other one is started.
    pub(crate) fn crashed(
        &mut self,
        now: Duration,
        tasks: impl IntoIterator<Item = TaskNo>,
    ) -> Result<WorkerNo, TooManyCrashes> {
        self.crashes.note(now)?;
        self.lost.extend(tasks);
        self.begun.clear();
        self.number = WorkerNo(self.number.0 + 1);
        Ok(self.number)
    }

    pub(crate) fn has_lost_any(&self) -> bool {
        !self.lost.is_empty()
    }

    /// Did a worker crash with this task, which was not judged since?
    pub(crate) fn has_lost(&self, task: TaskNo) -> bool {
        self.lost.contains(&task)
    }

    /// The same; the task is judged now.
    pub(crate) fn take_lost(&mut self, task: TaskNo) -> bool {
        self.lost.remove(&task)
    }

    /// The worker has begun to execute a task.
    pub(crate) fn begin(&mut self, task: TaskNo, now: f64) {
        self.begun.insert(task, now);
    }

    /// When the worker has begun to execute a task (Unix time); `None`: the task waits for a process.
    pub(crate) fn begun(&self, task: TaskNo) -> Option<f64> {
        self.begun.get(&task).copied()
    }

    /// `amore cancel` ends this task: it is not tried again.
    pub(crate) fn cancel(&mut self, task: TaskNo) {
        self.cancelled.insert(task);
    }

    pub(crate) fn is_cancelled(&self, task: TaskNo) -> bool {
        self.cancelled.contains(&task)
    }

    /// The worker is to stop the task with this id.
    pub(crate) fn stop(&mut self, id: String) {
        self.to_stop.push(id);
    }

    /// Takes the messages that tell the worker what to stop.
    pub(crate) fn take_stop_messages(&mut self) -> Vec<ToWorker> {
        self.to_stop.drain(..).map(|id| ToWorker::Cancel { id }).collect()
    }

    /// A task has ended.
    pub(crate) fn forget(&mut self, task: TaskNo) {
        self.lost.remove(&task);
        self.cancelled.remove(&task);
        self.begun.remove(&task);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1);

    #[test]
    fn a_crash_gives_the_next_number_and_its_tasks_are_judged_once() {
        let mut worker = LocalWorker::default();
        assert_eq!(worker.number(), WorkerNo(0));
        assert_eq!(worker.crashed(NOW, [TaskNo(3), TaskNo(4)]), Ok(WorkerNo(1)));
        assert_eq!(worker.number(), WorkerNo(1));
        assert!(worker.has_lost(TaskNo(3)) && !worker.has_lost(TaskNo(5)));
        assert!(worker.take_lost(TaskNo(3)) && !worker.take_lost(TaskNo(3)));
        worker.forget(TaskNo(4));
        assert!(!worker.has_lost_any());
    }

    #[test]
    fn no_worker_follows_too_many_crashes() {
        let mut worker = LocalWorker::default();
        let numbers: Vec<_> = (0..9).map(|_| worker.crashed(NOW, []).unwrap().0).collect();
        assert_eq!(numbers, (1..=9).collect::<Vec<_>>());
        assert!(worker.crashed(NOW, [TaskNo(1)]).is_err());
        assert!(!worker.has_lost_any());
    }

    #[test]
    fn a_stop_is_sent_once_and_a_cancellation_lasts_until_the_end() {
        let mut worker = LocalWorker::default();
        worker.cancel(TaskNo(1));
        worker.stop("a".to_owned());
        assert_eq!(worker.take_stop_messages(), [ToWorker::Cancel { id: "a".to_owned() }]);
        assert!(worker.take_stop_messages().is_empty());
        assert!(worker.is_cancelled(TaskNo(1)));
        worker.forget(TaskNo(1));
        assert!(!worker.is_cancelled(TaskNo(1)));
    }
}
