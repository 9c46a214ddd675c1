//! What only a service needs: requests that it may get twice, and what a command does at its start or its end.

use amore_model::planted::{Fault, is_on};

use crate::{
    core::Core,
    effect::Effect,
    events::{Event, Summary},
    request::{Compute, Listener},
};

impl Core {
    /// A request to compute. The same arrival of data is not computed twice: an earlier owner, or an earlier life of the
    /// service, may have begun with it.
    pub(super) fn on_compute(&mut self, listener: Listener, compute: Compute) {
        let Some(trigger) = &compute.trigger else { return self.add_incoming(listener, compute) };
        if let Some(summary) = self.requests.answered(&trigger.id).cloned() {
            self.effects.push(Effect::Tell { listener, event: Event::Finished(summary) });
            return;
        }
        let before = self.incoming.listen(&trigger.id, listener);
        let Some(before) = before.or_else(|| self.requests.listen(&trigger.id, listener)) else {
            return self.add_incoming(listener, compute);
        };
        // A service that has lost its right, and its successor, may both ask. Whoever is still there asks again.
        if before != listener && before != Listener::Nobody && !is_on(Fault::EarlierListenerNotTold) {
            let event = Event::Finished(Summary { interrupted: true, ..Summary::default() });
            self.effects.push(Effect::Tell { listener: before, event });
        }
    }

    fn add_incoming(&mut self, listener: Listener, compute: Compute) {
        self.publish_request(&compute);
        self.incoming.add(compute, listener);
    }

    /// Searches for fragments of other programs, and tidies up when nothing is asked for.
    pub(super) fn keep_up(&mut self) {
        if !self.life.serves() {
            return;
        }
        if self.upkeep.scan_is_due(self.now.steady) {
            self.scan(None);
        }
        let is_idle = self.incoming.is_empty()
            && self.requests.unfinished().next().is_none()
            && self.uncollected.is_empty();
        if is_idle && self.upkeep.take_untidy() {
            self.effects.push(Effect::Tidy);
        }
    }
}
