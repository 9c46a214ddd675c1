//! The service in the simulated world: the real rules of its inbox (`amore_intake`) and of leases, between simulated senders,
//! folders, a store, and two directories: the one of this world, and one that is only a model.
//!
//! A service and a stand-by run on two hosts. A process of a service that ends is started again.

mod data;
mod directory;
mod inbox;
mod rules;
mod sources;
mod store;

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use amore_intake::{ArrivalNo, Facts, FolderLook, Input, Intake, SettleRule, Settled, Subject};
use amore_model::lease::{Claim, Decision, Epochs, LeaseState, decide, is_renewal_due};

pub(super) use self::{
    data::{Data, DataOf},
    rules::event_id,
    sources::{Message, subject},
};
use self::{directory::Given, rules::Records, store::Store};
use super::{
    Happening, World,
    process::{End, holder},
};
use crate::Moment;

/// The term of the right to serve.
const TERM: Duration = Duration::from_secs(6);
/// How often a stand-by looks whether the right is free, and the one who has it whether a renewal is due.
const LEASE_POLL: Duration = Duration::from_millis(500);
/// How long Supervisor takes to start a service again.
const RESTART: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5));
/// How long a stop waits for running variables.
const STOP_PATIENCE: Duration = Duration::from_secs(7);
/// Data of runs are complete when they have not changed for so many seconds.
const QUIET_SECONDS: f64 = 10.0;
/// After so long without an end, everything is polled less often: some events are given up after a day only.
const SLOW_AFTER: Duration = Duration::from_secs(1800);
const SLOWER: u32 = 30;

/// Everything about services.
#[derive(Debug, Default)]
pub(super) struct Facility {
    services: BTreeMap<u32, Service>,
    store: Store,
    pub(super) data: Data,
    /// Messages that are not stored yet.
    waiting: Vec<Message>,
    /// Number of reports about folders.
    reports: u32,
    pub(super) unlistable_until: Moment,
    /// Until then the other directory refuses requests.
    pub(super) other_broken_until: Moment,
    pub(super) records: Records,
    /// Since when nothing is left to do.
    quiet_since: Option<Moment>,
    /// All services were told to end, for good.
    closing: bool,
}

/// A process of a service.
#[derive(Debug)]
struct Service {
    host: usize,
    life: Life,
    /// What waits for it while it is stopped.
    suspended: Option<Vec<Step>>,
    intake: Intake,
    /// When its term began, by its clock.
    begun: f64,
    /// Changes of arrivals that are not stored yet.
    unwritten: VecDeque<(ArrivalNo, Settled, Facts)>,
    is_writing: bool,
    /// The process that drives the directory's core, or tries to.
    turn: Option<u32>,
    /// When the directory is tried again after something went wrong, and how long the next such pause is.
    turn_at: Moment,
    pause: Duration,
    given: Vec<Given>,
    /// The folders as they were listed last.
    seen: Option<BTreeMap<DataOf, u32>>,
    watched: Moment,
    wake: Option<Moment>,
}

/// How far a service is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    /// Another one serves.
    StandBy,
    /// It has the right, with this epoch.
    Serves(u64),
    /// It was told to end.
    Stopping(u64),
    Ended,
}

/// Something that a service does.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Lease,
    /// The open arrivals are read.
    Open,
    Deliver,
    Store(Vec<Message>),
    Watch,
    Wake,
    /// The files of a run are read.
    LookAtFolder(ArrivalNo, Subject),
    /// What was processed last is read.
    LookAtLast(ArrivalNo, Subject, Result<Option<FolderLook>, String>),
    Write,
    Turn,
    News,
    /// The other directory begins with a request, and ends it.
    OtherBegins(ArrivalNo, Subject),
    OtherEnds(ArrivalNo, Subject, u32),
    /// Its time to stop is over.
    StopAtOnce,
}

impl World {
    /// Starts a process of the service on a host.
    pub(super) fn start_service(&mut self, host: usize) {
        if self.facility.closing
            || self.facility.services.values().any(|one| one.host == host && one.life != Life::Ended)
        {
            return;
        }
        let number = 1 + self.facility.services.len() as u32;
        let rule = SettleRule { quiet_seconds: QUIET_SECONDS, ..SettleRule::default() };
        let service = Service {
            host,
            life: Life::StandBy,
            suspended: None,
            intake: Intake::new(rule),
            begun: 0.0,
            unwritten: VecDeque::new(),
            is_writing: false,
            turn: None,
            turn_at: self.now,
            pause: directory::FIRST_PAUSE,
            given: Vec::new(),
            seen: None,
            watched: self.now,
            wake: None,
        };
        self.facility.services.insert(number, service);
        self.story.tell(self.now, format!("service {number}"), || format!("begins on host {host}"));
        let at = self.now + self.chance.between(Duration::from_millis(20), Duration::from_millis(900));
        self.service_step(number, at, Step::Lease);
    }

    pub(super) fn on_service(&mut self, number: u32, step: Step) {
        let Some(service) = self.facility.services.get_mut(&number) else { return };
        if service.life == Life::Ended {
            return;
        }
        if let Some(waiting) = &mut service.suspended {
            waiting.push(step);
            return;
        }
        match step {
            Step::Lease => self.lease_of_service(number),
            Step::Open => self.open_inbox(number),
            Step::Deliver => self.deliver(number),
            Step::Store(messages) => self.store(number, messages),
            Step::Watch => self.watch(number),
            Step::Wake => self.wake_inbox(number),
            Step::LookAtFolder(arrival, subject) => self.look_at_folder(number, arrival, subject),
            Step::LookAtLast(arrival, subject, folder) => self.look_at_last(number, arrival, subject, folder),
            Step::Write => self.write_arrivals(number),
            Step::Turn => self.turn(number),
            Step::News => self.news_of_requests(number),
            Step::OtherBegins(arrival, subject) => self.other_begins(number, arrival, subject),
            Step::OtherEnds(arrival, subject, version) => self.other_ends(number, arrival, subject, version),
            Step::StopAtOnce => self.end_service(number, true),
        }
    }

    /// Seconds since 1970 by the clock of its host.
    fn service_unix(&self, number: u32) -> f64 {
        self.facility.services.get(&number).map_or(0.0, |service| self.unix(service.host))
    }

    fn is_serving(&self, number: u32) -> bool {
        self.facility.services.get(&number).is_some_and(|one| matches!(one.life, Life::Serves(_)))
    }

    /// How long a poll takes that normally takes this long.
    pub(super) fn pace(&self, normal: Duration) -> Duration {
        let is_slow = self.calm.is_some_and(|calm| self.scenario.service && self.now - calm > SLOW_AFTER);
        if is_slow { normal * SLOWER } else { normal }
    }

    fn lease_of_service(&mut self, number: u32) {
        let Some(service) = self.facility.services.get(&number) else { return };
        let (host, life, begun) = (service.host, service.life, service.begun);
        let (me, now) = (holder(number, host), self.unix(host));
        let is_away = self.now < self.ledger.away_until;
        match life {
            Life::StandBy if !is_away => {
                let is_dead = |claim: &Claim| {
                    let holder = self.facility.services.get(&claim.holder.pid);
                    holder.is_none_or(|one| one.host == host && one.life == Life::Ended)
                };
                let state = &self.facility.store.lease;
                let dead =
                    state.claim.as_ref().filter(|claim| is_dead(claim)).map(|claim| claim.holder.clone());
                if let Decision::Take { epoch } = decide(state, &me, now, dead.as_ref(), Epochs::Counted) {
                    self.facility.store.lease = LeaseState {
                        epoch,
                        claim: Some(Claim { holder: me, until: now + TERM.as_secs_f64() }),
                    };
                    self.story
                        .tell(self.now, format!("service {number}"), || format!("serves, epoch {epoch}"));
                    if let Some(service) = self.facility.services.get_mut(&number) {
                        service.life = Life::Serves(epoch);
                        service.begun = now;
                    }
                    for step in [Step::Open, Step::Deliver, Step::Turn, Step::News, Step::Watch] {
                        let at = self.now
                            + self.chance.between(Duration::from_millis(1), Duration::from_millis(30));
                        self.service_step(number, at, step);
                    }
                }
            }
            Life::Serves(epoch) | Life::Stopping(epoch) if is_renewal_due(now - begun, TERM) && !is_away => {
                if self.facility.store.lease.clone().check(&me, epoch).is_err() {
                    self.story
                        .tell(self.now, format!("service {number}"), || "another one serves".to_owned());
                    return self.end_service(number, true);
                }
                self.facility.store.lease.claim = Some(Claim { holder: me, until: now + TERM.as_secs_f64() });
                if let Some(service) = self.facility.services.get_mut(&number) {
                    service.begun = now;
                }
            }
            Life::StandBy | Life::Serves(_) | Life::Stopping(_) => {}
            Life::Ended => return,
        }
        let slow = self.pace(Duration::from_secs(1)) > Duration::from_secs(1);
        let at = self.now + if slow { Duration::from_secs(2) } else { LEASE_POLL };
        self.service_step(number, at, Step::Lease);
    }

    /// Whether the store takes a write of this service now.
    fn may_write(&mut self, number: u32, what: &str) -> bool {
        let Some(service) = self.facility.services.get(&number) else { return false };
        let (Life::Serves(epoch) | Life::Stopping(epoch)) = service.life else { return false };
        if self.now < self.ledger.away_until {
            return false;
        }
        let me = holder(number, service.host);
        let is_allowed = self.facility.store.lease.clone().check(&me, epoch).is_ok();
        if is_allowed {
            self.check_is_latest(number, epoch, self.facility.store.lease.epoch, what);
        }
        is_allowed
    }

    /// The service whose directory this process drives.
    pub(super) fn service_of(&self, process: u32) -> Option<u32> {
        let is_its = |service: &Service| service.life != Life::Ended && service.turn == Some(process);
        self.facility.services.iter().find(|(_, service)| is_its(service)).map(|(number, _)| *number)
    }

    /// The service on a host that has not ended.
    pub(super) fn service_on(&self, host: usize) -> Option<u32> {
        let is_it = |service: &Service| service.host == host && service.life != Life::Ended;
        self.facility.services.iter().find(|(_, service)| is_it(service)).map(|(number, _)| *number)
    }

    pub(super) fn is_service_alive(&self, number: u32) -> bool {
        self.facility.services.get(&number).is_some_and(|one| one.life != Life::Ended)
    }

    /// SIGSTOP.
    pub(super) fn suspend_service(&mut self, number: u32) {
        let Some(service) = self.facility.services.get_mut(&number) else { return };
        if service.suspended.is_some() {
            return;
        }
        service.suspended = Some(Vec::new());
        if let Some(turn) = service.turn
            && let Some(process) = self.processes.get_mut(&turn)
            && process.is_alive()
        {
            process.suspended.get_or_insert_default();
            self.history.suspend(turn);
        }
    }

    /// SIGCONT.
    pub(super) fn resume_service(&mut self, number: u32) {
        let Some(service) = self.facility.services.get_mut(&number) else { return };
        let Some(waiting) = service.suspended.take() else { return };
        let turn = service.turn;
        self.story.tell(self.now, format!("service {number}"), || "goes on".to_owned());
        for step in waiting {
            self.service_step(number, self.now, step);
        }
        if let Some(turn) = turn {
            self.resume(turn);
        }
    }

    /// SIGTERM.
    pub(super) fn stop_service(&mut self, number: u32) {
        let Some(service) = self.facility.services.get_mut(&number) else { return };
        match service.life {
            Life::StandBy => self.end_service(number, false),
            Life::Serves(epoch) => {
                service.life = Life::Stopping(epoch);
                let turn = service.turn;
                self.story.tell(self.now, format!("service {number}"), || "stops".to_owned());
                self.service_step(number, self.now + STOP_PATIENCE, Step::StopAtOnce);
                if let Some(turn) = turn {
                    self.stop_turn(turn);
                }
            }
            Life::Stopping(_) | Life::Ended => {}
        }
    }

    /// The process ends: by itself, or `at_once`, without releasing anything.
    pub(super) fn end_service(&mut self, number: u32, at_once: bool) {
        let Some(service) = self.facility.services.get_mut(&number) else { return };
        if service.life == Life::Ended {
            return;
        }
        let (before, host) = (service.life, service.host);
        service.life = Life::Ended;
        service.suspended = None;
        let (turn, given) = (service.turn.take(), std::mem::take(&mut service.given));
        let me = holder(number, host);
        self.story.tell(self.now, format!("service {number}"), || {
            if at_once { "ends at once".to_owned() } else { "ends".to_owned() }
        });
        for one in given {
            self.withdraw(one.request);
        }
        if let Some(turn) = turn {
            self.end(turn, End::Killed);
        }
        if let (false, Life::Serves(epoch) | Life::Stopping(epoch)) = (at_once, before)
            && self.facility.store.lease.clone().check(&me, epoch).is_ok()
        {
            self.facility.store.lease.claim = None;
        }
        let at = self.now + self.chance.between(RESTART.0, RESTART.1);
        self.schedule(at, Happening::StartService { host });
    }

    /// Passes an input to the inbox, and does what it wants.
    fn feed_inbox(&mut self, number: u32, input: Input) {
        let now = self.service_unix(number);
        let Some(service) = self.facility.services.get_mut(&number) else { return };
        for effect in service.intake.on(now, input) {
            self.perform_for_inbox(number, effect);
        }
        self.set_wake(number);
    }
}
