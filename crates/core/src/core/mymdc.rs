//! Values of the metadata catalogue: a task that needs some waits for the answer, others do not.

use std::collections::BTreeSet;

use amore_model::{
    MymdcField,
    planted::{Fault, is_on},
};
use amore_wire::mymdc::MymdcValues;

use crate::{core::Core, effect::Effect, request::RequestNo, task::TaskNo, tasks::RunKey};

impl Core {
    /// What the next attempt at a task needs from the catalogue. `None`: the answer is under way, and the task is queued
    /// again when it comes.
    pub(super) fn mymdc_values(&mut self, number: TaskNo) -> Option<MymdcValues> {
        let task = self.tasks.get(number)?;
        let (request, key) = (task.request, task.key());
        if let Some(values) = self.mymdc.values((request, key), &task.needs_of_mymdc()) {
            return Some(values);
        }
        if is_on(Fault::MymdcNotWaitedFor) {
            return Some(MymdcValues::new());
        }
        // The run's other tasks get theirs with the same requests.
        let of_run = self.tasks.of_run(key, |state| !state.is_ended()).into_iter();
        let fields: BTreeSet<MymdcField> = of_run
            .filter_map(|other| self.tasks.get(other))
            .filter(|other| other.request == request)
            .flat_map(|other| other.needs_of_mymdc())
            .collect();
        let fields = self.mymdc.wait((request, key), number, fields);
        if !fields.is_empty() {
            self.effects.push(Effect::AskMymdc { request, key, fields });
        }
        None
    }

    pub(super) fn on_mymdc(&mut self, request: RequestNo, key: RunKey, values: MymdcValues) {
        let waiting = self.mymdc.answered((request, key), values);
        if self.life.is_stopping() || is_on(Fault::MymdcAnswerIgnored) {
            return;
        }
        for number in waiting {
            if self.tasks.get(number).is_some_and(|task| task.state().is_ready()) {
                self.enqueue(number);
            }
        }
    }
}
