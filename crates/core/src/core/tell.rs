//! Events for listeners: who gets which, and how often.

use std::collections::BTreeSet;

use crate::{
    core::Core,
    effect::Effect,
    events::Event,
    input::TableNotice,
    jobs::JobCounts,
    refusal::Refusal,
    request::{Listener, RequestNo, refused},
    task::TaskNo,
};

impl Core {
    pub(super) fn tell(&mut self, request: RequestNo, event: Event) {
        if let Some(request) = self.requests.get(request) {
            self.effects.push(Effect::Tell { listener: request.listener(), event });
        }
    }

    /// Sends an event to each listener that waits for a request.
    pub(super) fn tell_all(&mut self, event: &Event) {
        for listener in self.requests.waiting_listeners() {
            self.effects.push(Effect::Tell { listener, event: event.clone() });
        }
    }

    /// Sends an event to the listener of a task's request, unless the same was sent before.
    pub(super) fn tell_once(&mut self, number: TaskNo, event: Event) {
        let about = format!("{event:?}");
        self.tell_about(number, about, event);
    }

    /// The same, unless an event about this was sent before.
    pub(super) fn tell_about(&mut self, number: TaskNo, about: String, event: Event) {
        let Some(request) = self.tasks.get(number).map(|task| task.request) else { return };
        if self.requests.get_mut(request).is_some_and(|record| record.report(about)) {
            self.tell(request, event);
        }
    }

    /// Sends a notice about the table to the listeners of these requests; only once if it is about the view.
    pub(super) fn tell_of_table(&mut self, requests: &[RequestNo], notice: TableNotice) {
        if !self.table_notices.is_news(&notice) {
            return;
        }
        let event = Event::Notice(notice.notice);
        let listeners: BTreeSet<Listener> =
            requests.iter().filter_map(|number| Some(self.requests.get(*number)?.listener())).collect();
        for listener in listeners {
            self.effects.push(Effect::Tell { listener, event: event.clone() });
        }
    }

    /// Sends the numbers of waiting and running jobs, if they have changed.
    pub(super) fn tell_job_counts(&mut self) {
        if let Some(JobCounts { submitted, waiting, reason }) = self.jobs.changed_counts() {
            self.tell_all(&Event::Jobs { submitted, waiting, reason });
        }
    }

    /// A request is not served. That ends the command of this core; another process gets an event.
    pub(super) fn refuse(&mut self, listener: Listener, refusal: Refusal) {
        match listener {
            Listener::Elsewhere(_) => self.effects.push(Effect::Tell { listener, event: refused(refusal) }),
            Listener::Here | Listener::Nobody => self.ending.fail(refusal),
        }
    }
}
