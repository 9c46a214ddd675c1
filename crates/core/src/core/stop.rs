//! Ctrl-C: running variables are stopped, jobs continue without this command.

use amore_wire::task::ToWorker;

use crate::{
    core::Core,
    effect::Effect,
    life::Interrupted,
    refusal::{Refusal, RefusalKind},
    request::Listener,
    task::TaskNo,
};

impl Core {
    pub(super) fn on_stop(&mut self) {
        match self.life.stop(self.now.steady) {
            Interrupted::Start => self.ending.fail(
                Refusal::new("stopped while results of earlier commands were collected")
                    .hint("uncollected results stay in extracted_data/ for the next command")
                    .kind(RefusalKind::Interrupted),
            ),
            Interrupted::Work => self.stop_work(),
            Interrupted::Stop => self.ending.abandon(),
        }
    }

    fn stop_work(&mut self) {
        // None of them has begun. Processes that wait elsewhere do the work themselves when this one is gone.
        if self.incoming.drop_all().contains(&Listener::Here) {
            self.ending.fail(
                Refusal::new("stopped while the context file was being executed")
                    .kind(RefusalKind::Interrupted),
            );
            return;
        }
        self.ready.clear();
        self.uncollected.drop_all_announced();
        let mut messages = Vec::new();
        let numbers: Vec<TaskNo> = self.tasks.iter().map(|(number, _)| number).collect();
        for number in numbers {
            let Some(task) = self.tasks.get(number) else { continue };
            if task.state().is_ended() {
                continue;
            }
            if task.state().is_here() && !self.worker.has_lost(number) {
                messages.push(ToWorker::Cancel { id: task.id.clone() });
            } else {
                // Jobs continue without this command; the next one collects what they have stored.
                self.cancel_task(number);
            }
        }
        if !messages.is_empty() {
            self.effects.push(Effect::ToWorker(messages));
        }
        self.effects.push(Effect::HurryCollector);
    }
}
