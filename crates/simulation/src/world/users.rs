//! The actions of users: they run commands, which try to own the directory or wait for the process that does.

use std::time::Duration;

use amore_core::{
    events::Event,
    request::{Compute, Request, Runs},
};

use super::{
    BEGIN, Happening, World,
    files::RequestFile,
    process::{End, Process, Role},
};

/// How often a waiting process polls for events, and after how many polls it checks whether there still is an owner.
const NEWS_POLL: Duration = Duration::from_millis(1000);
const CHECKS: u32 = 2;
/// How long a process that finds an expired term waits for its holder.
const GRACE: f64 = 2.0;

impl World {
    /// A user runs a command.
    pub(super) fn run_command(&mut self, host: usize, request: Option<Request>) -> u32 {
        let number = 100 + self.processes.len() as u32;
        self.story.tell(self.now, format!("amore {number}"), || match &request {
            Some(request) => format!("begins on host {host}: {request:?}"),
            None => format!("begins on host {host}: follow"),
        });
        let is_old = self.scenario.is_upgraded_after(self.now - BEGIN);
        self.processes.insert(number, Process::new(number, host, request, is_old, self.now));
        let after = self.chance.between(Duration::from_millis(20), Duration::from_millis(300));
        self.schedule(self.now + after, Happening::Try { process: number });
        number
    }

    /// Whether the directory has an owner now, as seen by a process on this host.
    fn is_held(&self, host: usize) -> bool {
        let now = self.unix(host);
        self.owner.claim.as_ref().is_some_and(|claim| {
            let dead = self
                .processes
                .get(&claim.holder.pid)
                .is_none_or(|holder| holder.host == host && !holder.is_alive());
            claim.until + GRACE > now && !dead
        })
    }

    /// Whether the term of a holder that may be alive has expired. The holder may be about to renew it.
    pub(super) fn may_be_renewed(&self, number: u32) -> bool {
        let Some(process) = self.processes.get(&number) else { return false };
        let now = self.unix(process.host);
        let waited = self.now - process.started < Duration::from_secs_f64(GRACE);
        let over = self.owner.claim.as_ref().is_some_and(|claim| claim.until <= now);
        over && self.is_held(process.host) && waited
    }

    pub(super) fn try_or_wait(&mut self, number: u32) {
        let Some(process) = self.processes.get(&number) else { return };
        let host = process.host;
        match &process.role {
            Role::Owner(_) | Role::Ended(_) => {}
            Role::Trying => {
                if self.may_be_renewed(number) {
                    self.schedule(self.now + NEWS_POLL, Happening::Try { process: number });
                } else if !self.try_to_own(number) {
                    self.hand_over(number);
                }
            }
            Role::Waiting { request, owner, read, checks } => {
                let (request, owner, read, checks) = (*request, *owner, *read, checks + 1);
                self.read_news(number, request, read);
                let Some(process) = self.processes.get_mut(&number) else { return };
                let Role::Waiting { checks: counted, .. } = &mut process.role else { return };
                *counted = checks;
                let is_other = self.owner.claim.as_ref().is_some_and(|claim| claim.holder.pid != owner);
                if checks.is_multiple_of(CHECKS) && (is_other || !self.is_held(host)) {
                    if !self.is_held(host) && self.try_to_own(number) {
                        self.files.requests.remove(&request);
                        return;
                    }
                    // Otherwise the same owner still has the request: its renewal was late, or its clock is behind.
                    if self.owner.claim.as_ref().is_some_and(|claim| claim.holder.pid != owner) {
                        self.files.requests.remove(&request);
                        if let Some(process) = self.processes.get_mut(&number) {
                            process.role = Role::Trying;
                        }
                    }
                }
                self.schedule(self.now + NEWS_POLL, Happening::Try { process: number });
            }
        }
    }

    fn hand_over(&mut self, number: u32) {
        let owner = self.owner.claim.as_ref().map_or(0, |claim| claim.holder.pid);
        let Some(process) = self.processes.get_mut(&number) else { return };
        if let Some(request) = process.request.clone() {
            let id = self.scheduled;
            let file = RequestFile {
                request,
                asker: number,
                service: None,
                taken_by: None,
                events: Vec::new(),
                done: false,
            };
            self.files.requests.insert(id, file);
            process.role = Role::Waiting { request: id, owner, read: 0, checks: 0 };
            self.story.tell(self.now, format!("amore {number}"), || "hands its request over".to_owned());
        }
        self.schedule(self.now + NEWS_POLL, Happening::Try { process: number });
    }

    fn read_news(&mut self, number: u32, request: u64, read: usize) {
        let Some(file) = self.files.requests.get(&request) else { return };
        let news: Vec<Event> = file.events.iter().skip(read).cloned().collect();
        let done = file.done;
        let now = self.now;
        let Some(process) = self.processes.get_mut(&number) else { return };
        if let Role::Waiting { read, .. } = &mut process.role {
            *read += news.len();
        }
        let mut end = None;
        for event in news {
            match &event {
                Event::RunEnded { run, .. } => {
                    if let Some(Request::Compute(Compute { runs: Runs::These(runs), .. })) =
                        &mut process.request
                    {
                        runs.remove(run);
                    }
                }
                Event::Finished(summary) => end = Some(End::Served(summary.clone())),
                Event::Refused { message, .. } => end = Some(End::Refused(message.clone())),
                _ => {}
            }
            process.told.push((now, event));
        }
        if let Some(end) = end {
            self.files.requests.remove(&request);
            self.end(number, end);
        } else if done {
            self.violate(
                "whoever waits is told the end",
                format!("the request of process {number} is done, and its end was not told"),
            );
        }
    }

    /// The nth running command.
    pub(super) fn nth_process(&self, nth: usize) -> Option<u32> {
        let alive: Vec<u32> =
            self.processes.values().filter(|process| process.is_alive()).map(|one| one.number).collect();
        alive.get(nth.checked_rem(alive.len())?).copied()
    }
}
