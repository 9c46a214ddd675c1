//! The driver of the inbox, as `orchestrator/src/service/inbox.rs`: it looks, gives requests, and stores what has become of
//! arrivals.

use std::{path::Path, time::Duration};

use amore_core::request::{Compute, Request, Trigger};
use amore_intake::{ArrivalNo, Effect, FolderLook, Input, Looked, Subject};

use super::{
    super::{PROPOSAL, World, coordinator::dir},
    Step,
    directory::OTHER,
};

/// Time to list the folder of a run.
const LISTING: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(300));
/// Time of a query or a write of the store.
const STORE: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(60));
/// How long to wait before the store is tried again.
const STORE_PAUSE: Duration = Duration::from_secs(1);

impl World {
    pub(super) fn open_inbox(&mut self, number: u32) {
        if self.now < self.ledger.away_until {
            self.service_step(number, self.now + STORE_PAUSE, Step::Open);
            return;
        }
        let open = self.facility.store.open(self.service_unix(number));
        self.feed_inbox(number, Input::Started(open));
    }

    pub(super) fn wake_inbox(&mut self, number: u32) {
        let now = self.now;
        let Some(service) = self.facility.services.get_mut(&number) else { return };
        if service.wake.take_if(|wake| *wake <= now).is_some() {
            self.feed_inbox(number, Input::Tick);
        }
    }

    pub(super) fn set_wake(&mut self, number: u32) {
        let unix = self.service_unix(number);
        let Some(service) = self.facility.services.get_mut(&number) else { return };
        let Some(due) = service.intake.next_wakeup() else { return };
        let at = self.now + Duration::from_secs_f64((due - unix).max(0.0)) + Duration::from_millis(1);
        if service.wake.is_none_or(|wake| at < wake) {
            service.wake = Some(at);
            self.service_step(number, at, Step::Wake);
        }
    }

    pub(super) fn perform_for_inbox(&mut self, number: u32, effect: Effect) {
        match effect {
            Effect::Look { number: arrival, subject } => {
                let at = self.now + self.chance.between(LISTING.0, LISTING.1);
                self.service_step(number, at, Step::LookAtFolder(arrival, subject));
            }
            Effect::Dispatch { number: arrival, subject, directory, urgency, generation } => {
                self.story.tell(self.now, format!("service {number}"), || {
                    format!("gives arrival {} to {}", arrival.0, directory.display())
                });
                if directory == Path::new(OTHER) {
                    let at = self.now + self.chance.between(STORE.0, STORE.1);
                    self.service_step(number, at, Step::OtherBegins(arrival, subject));
                } else {
                    let id = format!("inbox#{}.{generation}", arrival.0);
                    let trigger = Trigger { id, data: subject.data.run_data(), urgency };
                    let request = Request::Compute(Compute::arrived(subject.proposal, subject.run, trigger));
                    self.give_to_directory(number, arrival, subject, request);
                }
            }
            Effect::Write { number: arrival, state, facts } => {
                self.story.tell(self.now, format!("service {number}"), || {
                    let why = facts.why.as_deref().unwrap_or_default();
                    format!("notes arrival {}: {state:?} {why}", arrival.0)
                });
                let Some(service) = self.facility.services.get_mut(&number) else { return };
                service.unwritten.push_back((arrival, state, facts));
                self.begin_to_write(number);
            }
        }
    }

    pub(super) fn look_at_folder(&mut self, number: u32, arrival: ArrivalNo, subject: Subject) {
        let folder = if self.now < self.facility.unlistable_until {
            Err("the folder cannot be listed".to_owned())
        } else {
            Ok(self.facility.data.look((subject.run.0, subject.data)))
        };
        let at = self.now + self.chance.between(STORE.0, STORE.1) + self.store_is_slow_by();
        self.service_step(number, at, Step::LookAtLast(arrival, subject, folder));
    }

    pub(super) fn look_at_last(
        &mut self,
        number: u32,
        arrival: ArrivalNo,
        subject: Subject,
        folder: Result<Option<FolderLook>, String>,
    ) {
        let is_away = self.now < self.ledger.away_until;
        let folder = if is_away { Err("the store does not answer".to_owned()) } else { folder };
        let directories = if subject.proposal == PROPOSAL {
            [dir().path().to_owned(), OTHER.into()].into()
        } else {
            [].into()
        };
        let last = self.facility.store.last_known(subject);
        let looked = folder.map(|folder| Looked { directories, folder, last });
        self.feed_inbox(number, Input::Looked(arrival, looked));
    }

    fn begin_to_write(&mut self, number: u32) {
        let at = self.now + self.chance.between(STORE.0, STORE.1) + self.store_is_slow_by();
        let Some(service) = self.facility.services.get_mut(&number) else { return };
        if !std::mem::replace(&mut service.is_writing, true) {
            self.service_step(number, at, Step::Write);
        }
    }

    /// The store takes what has changed, all or nothing.
    pub(super) fn write_arrivals(&mut self, number: u32) {
        if !self.may_write(number, "changes events") {
            self.service_step(number, self.now + STORE_PAUSE, Step::Write);
            return;
        }
        let now = self.service_unix(number);
        let Some(service) = self.facility.services.get_mut(&number) else { return };
        service.is_writing = false;
        let changes = std::mem::take(&mut service.unwritten);
        for (arrival, state, facts) in changes {
            if !self.facility.store.change(arrival, state, &facts, now) {
                let words = format!("arrival {} is to be {state:?}, and has ended before", arrival.0);
                self.violate("an event that has ended does not change", words);
            }
        }
    }
}
