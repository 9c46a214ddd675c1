//! When the ledger is written to, and what is recorded of tasks.

use crate::{
    core::Core,
    effect::Effect,
    events::Event,
    history::{HistoryKind, HistoryLine},
    task::TaskNo,
    task_state::TaskState,
};

impl Core {
    pub(super) fn write_ledger(&mut self) {
        if !self.ledger_access.may_write(self.now.steady) {
            return;
        }
        let writes = self.journal.to_write();
        if !writes.is_empty() {
            self.effects.push(Effect::WriteLedger(writes));
        }
    }

    pub(super) fn on_ledger_written(&mut self, done: usize, silent: Option<String>) {
        self.journal.written(done);
        let is_news = self.ledger_access.answered(self.now.steady, silent.is_none());
        if let Some(why) = silent.filter(|_| is_news) {
            self.tell_all(&Event::note(format!(
                "the ledger does not answer ({why}); jobs wait until it does"
            )));
        }
    }

    /// Notes for the ledger that a task has moved. What Ctrl-C cuts short has not ended: the next owner resumes it.
    /// What ended by itself after Ctrl-C has.
    pub(super) fn note_move(&mut self, number: TaskNo, before: &TaskState) {
        if let Some(task) = self.tasks.get(number)
            && task.recorded
            && (!self.life.is_stopping() || matches!(task.state(), TaskState::Ended { problem: None }))
        {
            self.journal.moved(task, before);
        }
    }

    /// Adds a line to the history of a task's run.
    pub(super) fn note_history(&mut self, number: TaskNo, kind: HistoryKind, message: String) {
        let at = self.now.unix;
        if let Some(task) = self.tasks.get(number)
            && task.recorded
        {
            let (key, id) = (task.key(), Some(task.id.clone()));
            self.journal.add_history(HistoryLine { key, task: id, at, kind, message });
        }
    }
}
