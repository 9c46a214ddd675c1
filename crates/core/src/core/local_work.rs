//! What is computed here now, for display.

use amore_plan::Place;

use crate::{
    core::Core,
    local_work::{LocalState, LocalTask, LocalWork, MOST},
    task::{TaskNo, TaskRecord},
    task_state::TaskState,
};

impl Core {
    /// The unfinished work on this host.
    pub fn local_work(&self) -> LocalWork {
        let mut tasks = self.tasks.iter().filter_map(|(number, task)| self.local_task(number, task));
        LocalWork {
            reading_context_since: self.incoming.describing_since(),
            unplanned: self.incoming.len(),
            tasks: tasks.by_ref().take(MOST).collect(),
            more: tasks.count(),
        }
    }

    fn local_task(&self, number: TaskNo, task: &TaskRecord) -> Option<LocalTask> {
        let now = match task.state() {
            TaskState::InProgress(_) if task.state().is_here() => match self.worker.begun(number) {
                Some(since) => LocalState::Running { since },
                None => LocalState::WaitsForProcess,
            },
            TaskState::Ready { .. } if task.place() == Place::Local => LocalState::WaitsForProcess,
            TaskState::Waiting { on } if task.place() == Place::Local => {
                let others = on.iter().filter_map(|other| self.tasks.get(*other));
                LocalState::WaitsForOthers { names: others.flat_map(|other| other.planned.names()).collect() }
            }
            _ => return None,
        };
        Some(LocalTask {
            id: task.id.clone(),
            proposal: task.proposal,
            run: task.run,
            names: task.planned.names(),
            urgency: self.urgency_of(number),
            now,
        })
    }
}
