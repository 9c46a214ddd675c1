//! The directories that a service gives requests to. It drives the core of this world's directory, or hands requests over to
//! the process that does. The other directory is a model.

use std::time::Duration;

use amore_core::{Input as CoreInput, events::Event, request::Request};
use amore_intake::{ArrivalNo, DirectoryEnd, Input, Subject};

use super::{
    super::{
        Happening, World,
        coordinator::dir,
        files::RequestFile,
        process::{Process, Role},
    },
    Life, Step,
};

/// How long to wait before the directory is tried again; doubled each time, unless it was served for a while.
pub(super) const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
const STABLE_AFTER: Duration = Duration::from_secs(60);
/// The directory that is a model.
pub(super) const OTHER: &str = "/other";
/// How long it takes to process a run.
const OTHER_TAKES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(15));
/// How often a service looks what has become of its requests, and whether it can own the directory.
const POLL: Duration = Duration::from_millis(500);

/// A request that the directory has.
#[derive(Debug)]
pub(super) struct Given {
    /// Its file.
    pub(super) request: u64,
    arrival: ArrivalNo,
    subject: Subject,
    problem: Option<String>,
}

impl World {
    /// Makes sure that the directory has an owner: this service, unless another process is.
    pub(super) fn turn(&mut self, number: u32) {
        let at = self.now + self.pace(POLL);
        self.service_step(number, at, Step::Turn);
        let Some(service) = self.facility.services.get(&number) else { return };
        let (host, turn, turn_at) = (service.host, service.turn, service.turn_at);
        let is_stopping = matches!(service.life, Life::Stopping(_));
        let role = turn.and_then(|turn| self.processes.get(&turn)).map(|process| &process.role);
        match (role, turn) {
            (Some(Role::Owner(_)), _) => {}
            (Some(Role::Ended(_)) | None, _) if is_stopping => self.end_service(number, false),
            (Some(Role::Trying), _) if is_stopping => self.end_service(number, false),
            (Some(Role::Trying), Some(turn)) => {
                if !self.may_be_renewed(turn) && self.try_to_own(turn) {
                    self.feed_inbox(number, Input::Resumed(dir().path().to_owned()));
                    self.take_requests(turn);
                }
            }
            (Some(Role::Ended(_)), Some(ended)) => self.pause_after(number, ended),
            _ if self.now < turn_at => {}
            _ => {
                let turn = 100 + self.processes.len() as u32;
                self.processes.insert(turn, Process::of_service(turn, host, self.now));
                if let Some(service) = self.facility.services.get_mut(&number) {
                    service.turn = Some(turn);
                }
            }
        }
    }

    /// Something went wrong in the directory: it is tried again after a pause.
    fn pause_after(&mut self, number: u32, turn: u32) {
        let begun = self.processes.get(&turn).map_or(self.now, |process| process.started);
        let Some(service) = self.facility.services.get_mut(&number) else { return };
        if self.now - begun > STABLE_AFTER {
            service.pause = FIRST_PAUSE;
        }
        service.turn = None;
        service.turn_at = self.now + service.pause;
        service.pause = (service.pause * 2).min(LONGEST_PAUSE);
        // Its own orders end with it: they were answered, or are lost.
        self.read_news_of(number, Some(turn));
        self.feed_inbox(number, Input::Hindered(dir().path().to_owned(), "its owner has ended".to_owned()));
    }

    /// Tells the core of the directory to stop.
    pub(super) fn stop_turn(&mut self, turn: u32) {
        if self.owner_of(turn).is_some() {
            let input = Box::new(CoreInput::Stop);
            self.schedule(self.now, Happening::ToCore { process: turn, input });
        }
    }

    pub(super) fn give_to_directory(
        &mut self,
        number: u32,
        arrival: ArrivalNo,
        subject: Subject,
        request: Request,
    ) {
        let id = self.scheduled;
        self.scheduled += 1;
        let file = RequestFile {
            request,
            asker: 0,
            service: Some(number),
            taken_by: None,
            events: Vec::new(),
            done: false,
        };
        self.files.requests.insert(id, file);
        let Some(service) = self.facility.services.get_mut(&number) else { return };
        service.given.push(Given { request: id, arrival, subject, problem: None });
        if let Some(turn) = service.turn {
            // An owner in the same process gets it at once. The inbox is busy now, so it is told a moment later.
            self.schedule(self.now, Happening::LookOnceForRequests { process: turn });
        }
    }

    /// Nobody waits for a request any more.
    pub(super) fn withdraw(&mut self, request: u64) {
        if self.files.requests.get(&request).is_some_and(|file| file.taken_by.is_none()) {
            self.files.requests.remove(&request);
        }
    }

    /// Reads what has become of the requests.
    pub(super) fn news_of_requests(&mut self, number: u32) {
        let at = self.now + self.pace(POLL);
        self.service_step(number, at, Step::News);
        if let Some(service) = self.facility.services.get(&number) {
            self.read_news_of(number, service.turn);
        }
    }

    fn read_news_of(&mut self, number: u32, turn: Option<u32>) {
        let Some(service) = self.facility.services.get_mut(&number) else { return };
        let mut given = std::mem::take(&mut service.given);
        let mut ends = Vec::new();
        given.retain_mut(|one| match self.end_of(one, turn) {
            Some(end) => {
                self.files.requests.remove(&one.request);
                ends.push((one.arrival, one.subject, end));
                false
            }
            None => true,
        });
        if let Some(service) = self.facility.services.get_mut(&number) {
            service.given.append(&mut given);
        }
        for (arrival, subject, end) in ends {
            self.story.tell(self.now, format!("service {number}"), || {
                format!("arrival {} ends in the directory: {end:?}", arrival.0)
            });
            if matches!(end, DirectoryEnd::Processed { .. } | DirectoryEnd::Cancelled { .. }) {
                self.facility.records.processed(dir().path(), subject);
            }
            self.feed_inbox(number, Input::Ended(arrival, dir().path().to_owned(), end));
        }
    }

    /// How a request ended, if it has.
    fn end_of(&mut self, given: &mut Given, turn: Option<u32>) -> Option<DirectoryEnd> {
        let file = self.files.requests.get_mut(&given.request)?;
        for event in std::mem::take(&mut file.events) {
            match event {
                Event::RunEnded { problem, .. } => given.problem = problem.or(given.problem.take()),
                Event::Finished(summary) if summary.interrupted => return Some(DirectoryEnd::Lost),
                Event::Finished(summary) if summary.is_cancelled(given.problem.as_deref()) => {
                    return Some(DirectoryEnd::Cancelled { words: "cancelled by amore cancel".to_owned() });
                }
                Event::Finished(summary) if summary.runs == 0 && summary.runs_missing > 0 => {
                    return Some(DirectoryEnd::Refused { why: "the run has no data on disk".to_owned() });
                }
                Event::Finished(summary) if summary.runs_failed > 0 => {
                    let why = given.problem.take().unwrap_or_default();
                    return Some(DirectoryEnd::Refused { why });
                }
                Event::Finished(_) => return Some(DirectoryEnd::Processed { words: String::new() }),
                Event::Refused { message, .. } => return Some(DirectoryEnd::Refused { why: message }),
                _ => {}
            }
        }
        let by = file.taken_by?;
        let is_owner = self.owner.claim.as_ref().is_some_and(|claim| claim.holder.pid == by)
            && self.processes.get(&by).is_some_and(|process| process.owner().is_some());
        if is_owner {
            return None;
        }
        if Some(by) == turn {
            return Some(DirectoryEnd::Lost);
        }
        // The next owner gets it.
        file.taken_by = None;
        given.problem = None;
        None
    }

    /// The other directory begins: what it reads are the data of now.
    pub(super) fn other_begins(&mut self, number: u32, arrival: ArrivalNo, subject: Subject) {
        let version = self.facility.data.version((subject.run.0, subject.data));
        let at = self.now + self.chance.between(OTHER_TAKES.0, OTHER_TAKES.1);
        self.service_step(number, at, Step::OtherEnds(arrival, subject, version));
    }

    pub(super) fn other_ends(&mut self, number: u32, arrival: ArrivalNo, subject: Subject, version: u32) {
        let end = if self.now < self.facility.other_broken_until {
            DirectoryEnd::Refused { why: "context.py:3: invalid syntax".to_owned() }
        } else {
            self.facility.records.processed(OTHER.as_ref(), subject);
            self.facility.records.other_has((subject.run.0, subject.data), version);
            DirectoryEnd::Processed { words: String::new() }
        };
        self.feed_inbox(number, Input::Ended(arrival, OTHER.into(), end));
    }
}
