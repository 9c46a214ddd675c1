//! Tasks that can start: those that wait for a process here, those that wait for a place in Slurm's queue, and those that
//! have to wait for a while, or for what earlier attempts have stored.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use amore_model::Urgency;
use amore_plan::Place;

use crate::{
    queue::{Position, Queue},
    task::TaskNo,
    tasks::RunKey,
};

#[derive(Debug, Default)]
pub(crate) struct ReadyTasks {
    here: Queue,
    in_jobs: Queue,
    /// Tasks that are put into their queue again at a time.
    delayed: BTreeSet<(Duration, TaskNo)>,
    /// Tasks that wait for a search of what earlier attempts have stored of their run.
    held: BTreeMap<RunKey, BTreeSet<TaskNo>>,
}

impl ReadyTasks {
    /// Puts a task into the queue of its place. One that is there already stays where it is.
    pub(crate) fn add(&mut self, place: Place, urgency: Urgency, position: Position) {
        match place {
            Place::Local => self.here.push(urgency, position),
            Place::Cluster => self.in_jobs.push(urgency, position),
        }
    }

    /// Takes the next task for the worker here, of those urgencies only that may begin now.
    pub(crate) fn next_here(&mut self, may_begin: impl Fn(Urgency) -> bool) -> Option<TaskNo> {
        self.here.pop(may_begin)
    }

    /// Takes the next task for a job, of those urgencies only that may begin now.
    pub(crate) fn next_for_job(&mut self, may_begin: impl Fn(Urgency) -> bool) -> Option<TaskNo> {
        self.in_jobs.pop(may_begin)
    }

    /// A task waits until then.
    pub(crate) fn delay(&mut self, until: Duration, task: TaskNo) {
        self.delayed.insert((until, task));
    }

    /// A task waits until everything of its run is collected.
    pub(crate) fn hold(&mut self, key: RunKey, task: TaskNo) {
        self.held.entry(key).or_default().insert(task);
    }

    /// Takes the tasks that have waited for that.
    pub(crate) fn take_held(&mut self, key: RunKey) -> BTreeSet<TaskNo> {
        self.held.remove(&key).unwrap_or_default()
    }

    /// Takes the tasks that have waited long enough.
    pub(crate) fn take_due(&mut self, now: Duration) -> Vec<TaskNo> {
        let mut due = Vec::new();
        while let Some((at, task)) = self.delayed.first().copied().filter(|(at, _)| *at <= now) {
            self.delayed.remove(&(at, task));
            due.push(task);
        }
        due
    }

    /// When the next task has waited long enough.
    pub(crate) fn next_due(&self) -> Option<Duration> {
        self.delayed.first().map(|(at, _)| *at)
    }

    /// Nothing is started any more.
    pub(crate) fn clear(&mut self) {
        *self = ReadyTasks::default();
    }
}

#[cfg(test)]
mod tests {
    use amore_model::{Proposal, Run};

    use super::*;
    use crate::request::RequestNo;

    fn position(task: u64) -> Position {
        (RequestNo(0), (Proposal(1), Run(1)), TaskNo(task))
    }

    #[test]
    fn a_task_that_is_held_waits_for_its_run() {
        let mut ready = ReadyTasks::default();
        let key = |run| (Proposal(1), Run(run));
        ready.hold(key(1), TaskNo(7));
        assert!(ready.take_held(key(2)).is_empty() && ready.next_for_job(|_| true).is_none());
        assert_eq!(ready.take_held(key(1)), [TaskNo(7)].into());
        assert!(ready.take_held(key(1)).is_empty());
    }

    #[test]
    fn a_task_waits_in_the_queue_of_its_place() {
        let mut ready = ReadyTasks::default();
        ready.add(Place::Local, Urgency::Asked, position(1));
        ready.add(Place::Cluster, Urgency::Bulk, position(2));
        assert_eq!(ready.next_for_job(|urgency| urgency != Urgency::Bulk), None);
        assert_eq!(ready.next_for_job(|_| true), Some(TaskNo(2)));
        assert_eq!(ready.next_here(|urgency| urgency == Urgency::Live), None);
        assert_eq!(ready.next_here(|_| true), Some(TaskNo(1)));
        assert_eq!(ready.next_here(|_| true), None);
    }

    #[test]
    fn a_delayed_task_is_due_once_at_its_time() {
        let seconds = Duration::from_secs;
        let mut ready = ReadyTasks::default();
        ready.delay(seconds(5), TaskNo(1));
        ready.delay(seconds(3), TaskNo(2));
        assert_eq!(ready.next_due(), Some(seconds(3)));
        assert!(ready.take_due(seconds(2)).is_empty());
        assert_eq!(ready.take_due(seconds(5)), [TaskNo(2), TaskNo(1)]);
        assert!(ready.take_due(seconds(9)).is_empty() && ready.next_due().is_none());
    }

    #[test]
    fn after_a_stop_nothing_is_started() {
        let mut ready = ReadyTasks::default();
        ready.add(Place::Local, Urgency::Asked, position(1));
        ready.add(Place::Cluster, Urgency::Asked, position(2));
        ready.delay(Duration::ZERO, TaskNo(3));
        ready.clear();
        assert!(ready.next_here(|_| true).is_none() && ready.next_for_job(|_| true).is_none());
        assert!(ready.take_due(Duration::MAX).is_empty());
    }
}
