//! Those who tell a service that data have arrived: senders, who keep a message until it is stored, and the comparison of
//! folders with the table.

use std::{collections::BTreeSet, time::Duration};

use amore_intake::{Before, Change, Finding, Found, InTable, Input, Records, Subject, judge};
use amore_model::Run;

use super::{
    super::{Happening, PROPOSAL, World, coordinator::dir},
    Step,
    data::DataOf,
};
use crate::Moment;

/// How often senders try.
const SEND: Duration = Duration::from_secs(1);
/// How often folders are listed.
const WATCH: Duration = Duration::from_secs(10);
/// Time of a write to the store.
const STORING: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(40));

/// A message that its sender keeps until it is stored.
#[derive(Clone, Debug)]
pub(in crate::world) struct Message {
    /// Identifies it at its source.
    pub(in crate::world) id: String,
    /// What it is about; `None`: nobody understands it.
    pub(in crate::world) subject: Option<Subject>,
    pub(in crate::world) complete: bool,
    pub(in crate::world) forced: bool,
    /// Only these directories need the data, and they need them again.
    pub(in crate::world) only: BTreeSet<String>,
}

/// Data of the proposal.
pub(in crate::world) fn subject((run, data): DataOf) -> Subject {
    Subject { proposal: PROPOSAL, run: Run(run), data }
}

impl World {
    /// Somebody has a message for the service.
    pub(in crate::world) fn send(&mut self, message: Message) {
        self.story.tell(self.now, "sender", || format!("has {message:?}"));
        if !message.id.starts_with("folders")
            && let Some(of) = message.subject.filter(|of| of.proposal == PROPOSAL)
        {
            self.facility.records.told.insert((of.run.0, of.data), self.now);
        }
        self.facility.waiting.push(message);
    }

    /// Data are written.
    pub(in crate::world) fn grow(&mut self, of: DataOf) {
        let now = self.now;
        let keeps_time = self.chance.chance(1, 4);
        self.facility.data.grow(of, now, keeps_time);
        self.facility.records.grown.insert(of, now);
        let version = self.facility.data.version(of);
        self.story.tell(now, "data", || format!("{} of run {}: version {version}", of.1.word(), of.0));
    }

    /// Senders try to get rid of their messages.
    pub(super) fn deliver(&mut self, number: u32) {
        let at = self.now + self.pace(SEND);
        self.service_step(number, at, Step::Deliver);
        if self.is_serving(number) && !self.facility.waiting.is_empty() {
            let messages = self.facility.waiting.clone();
            let at = self.now + self.chance.between(STORING.0, STORING.1) + self.store_is_slow_by();
            self.service_step(number, at, Step::Store(messages));
        }
    }

    /// The store takes messages, or does not answer. The senders of what is stored are told, if the service still lives.
    pub(super) fn store(&mut self, number: u32, messages: Vec<Message>) {
        if !self.may_write(number, "stores events") {
            return;
        }
        for message in messages {
            let now = self.service_unix(number);
            let new = self.facility.store.accept(&message, now);
            self.facility.waiting.retain(|waiting| waiting.id != message.id);
            if let Some(arrival) = new {
                self.feed_inbox(number, Input::Arrived(arrival));
            }
        }
    }

    /// Compares the folders with the table, as `service/folders.rs` does.
    pub(super) fn watch(&mut self, number: u32) {
        let at = self.now + self.pace(WATCH);
        self.service_step(number, at, Step::Watch);
        if self.now < self.facility.unlistable_until || self.now < self.ledger.away_until {
            return;
        }
        let Some(service) = self.facility.services.get(&number) else { return };
        let before = if service.seen.is_none() { Before::There } else { Before::Other };
        let seen = service.seen.clone().unwrap_or_default();
        let listed = self.facility.data.listed();
        for (of, _) in listed.iter().filter(|(of, version)| seen.get(of) != Some(version)) {
            self.compare(number, *of, before);
        }
        if let Some(service) = self.facility.services.get_mut(&number) {
            service.seen = Some(listed.into_iter().collect());
            service.watched = self.now;
        }
    }

    fn compare(&mut self, number: u32, of: DataOf, before: Before) {
        let own = self.facility.store.last_known(subject(of));
        let other = self.facility.store.last_known(subject((of.0, of.1.other())));
        let stored = self.files.stored_between((PROPOSAL, Run(of.0)));
        let seconds = |at: Moment| at.milliseconds() as f64 / 1000.0;
        let in_table = InTable {
            added: stored.map(|(first, _)| seconds(first)),
            computed: stored.map(|(_, last)| seconds(last)),
        };
        let Some(look) = self.facility.data.look(of) else { return };
        let of_other = subject((of.0, of.1.other()));
        let Some(service) = self.facility.services.get(&number) else { return };
        let other_is_under_way = service.intake.may_have_filled(of_other, dir().path());
        let records = Records { own: own.as_ref(), other: other.as_ref(), other_is_under_way };
        let finding = judge(dir().path(), Found { look: &look, before }, records, in_table);
        let again = finding == Finding::Again;
        let directory = dir().path().to_owned();
        let change = Change { subject: subject(of), directory, digest: look.digest, again };
        let Some(service) = self.facility.services.get_mut(&number) else { return };
        let is_known = service.intake.knows_of(&change);
        self.feed_inbox(number, Input::Changed(subject(of)));
        if finding != Finding::Nothing && !is_known {
            self.facility.reports += 1;
            let message = Message {
                id: format!("folders {}", self.facility.reports),
                subject: Some(subject(of)),
                complete: false,
                forced: false,
                only: again.then(|| dir().path().display().to_string()).into_iter().collect(),
            };
            self.send(message);
        }
    }

    /// How much longer the store takes.
    pub(super) fn store_is_slow_by(&self) -> Duration {
        if self.trouble.ledger_slow_until > self.now { self.trouble.ledger_slow } else { Duration::ZERO }
    }

    pub(super) fn service_step(&mut self, number: u32, at: Moment, step: Step) {
        self.schedule(at, Happening::Service { service: number, step });
    }
}
