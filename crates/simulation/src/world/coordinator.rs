//! A process that owns the directory: passes inputs to the core, and carries out the core's effects after a delay.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::Duration,
};

use amore_core::{
    Answer, Collected, ContextRead, Core, Effect, Fragment, Input, Moment as CoreMoment, Question, Refusal,
    RunKey, Setup, Survey,
    activity::{Activity, StoredCell},
    events::Event,
    journal::Write,
    request::{Listener, Request, RequestNo, Runs},
    task_state::WorkerNo,
};
use amore_model::{
    DatabaseDir, MymdcField, Run,
    lease::{Claim, Decision, Epochs, LeaseState, decide, is_renewal_due},
};
use amore_plan::Availability;
use amore_slurm::poller::Poller;
use amore_wire::{mymdc::MymdcValue, task::ContextSource};

use super::{
    Happening, PROPOSAL, World,
    files::Call,
    ledger::LedgerNo,
    local_worker::LocalWorker,
    process::{Collector, End, Owner, Role, TERM},
};

/// How long the collector waits for more fragments.
const GATHER: Duration = Duration::from_millis(80);
/// Time of an answer that needs a file or the ledger.
const QUICK: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(30));
/// Time of an answer of the metadata catalogue that has trouble.
const MYMDC_SLOW: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(40));
/// How often an owner polls for requests of other processes and calls the core.
const REQUEST_POLL: Duration = Duration::from_millis(1000);
/// How often an owner checks whether a renewal is due.
const KEEP: Duration = Duration::from_millis(1000);

/// The database directory.
pub(super) fn dir() -> DatabaseDir {
    DatabaseDir::at(PathBuf::from("/db"))
}

impl World {
    /// Seconds since 1970, according to the clock of a host.
    pub(super) fn unix(&self, host: usize) -> f64 {
        let set = self.clocks.get(host).copied().unwrap_or_default();
        self.now.milliseconds() as f64 / 1000.0 + set as f64
    }

    /// The process becomes the owner, if that is possible.
    pub(super) fn try_to_own(&mut self, number: u32) -> bool {
        let Some(process) = self.processes.get(&number) else { return false };
        let (me, host) = (process.holder(), process.host);
        let now = self.unix(host);
        let mut decision = decide(&self.owner, &me, now, None, Epochs::FromClock);
        if let Decision::Held(claim) = &decision {
            let dead = self
                .processes
                .get(&claim.holder.pid)
                .is_none_or(|holder| holder.host == host && !holder.is_alive());
            if dead {
                decision = decide(&self.owner, &me, now, Some(&claim.holder.clone()), Epochs::FromClock);
            }
        }
        let Decision::Take { epoch } = decision else { return false };
        if epoch <= self.owner.epoch {
            self.violate("epochs rise", format!("{epoch} is given after {}", self.owner.epoch));
        }
        if let Some(claim) = &self.owner.claim {
            self.check_take_over(number, claim.holder.pid);
        }
        let until = now + TERM.as_secs_f64();
        self.owner = LeaseState { epoch, claim: Some(Claim { holder: me, until }) };
        self.renewed.insert(number, now);
        self.begin_to_own(number, epoch);
        true
    }

    fn begin_to_own(&mut self, number: u32, epoch: u64) {
        let now = self.now;
        let setup = Setup {
            processes: self.scenario.processes,
            slurm: Some(self.settings.clone()),
            watched: true,
            epoch,
            process: number,
            ..Setup::new(dir(), PROPOSAL, PathBuf::from("/usr/bin/python3"))
        };
        let owner = Owner {
            core: Core::new(setup),
            poller: Poller::default(),
            epoch,
            ledger: None,
            ledger_free: now,
            ledger_unsure: false,
            worker: LocalWorker::new(self.scenario.processes, now),
            worker_number: WorkerNo(0),
            to_collect: Vec::new(),
            collector: Collector::Idle,
            listeners: BTreeMap::new(),
            read: BTreeMap::new(),
            under_way: BTreeSet::new(),
            site: None,
            wake: None,
            closing: false,
        };
        let fragments = self.scan(None);
        let ledger_exists = self.ledger.noted;
        let Some(process) = self.processes.get_mut(&number) else { return };
        process.started = now;
        process.role = Role::Owner(Box::new(owner));
        let (request, serves) = (process.request.clone(), process.serves);
        self.story.tell(now, format!("amore {number}"), || format!("owns the directory, epoch {epoch}"));
        self.schedule(now + KEEP, Happening::Keep { process: number });
        self.schedule(now + REQUEST_POLL, Happening::LookForRequests { process: number });
        if let Some(request) = &request {
            self.note_taken(number, request);
        }
        // The request must be known before the core can conclude that nothing is left to do.
        self.give(number, Input::Started { fragments, ledger_exists });
        self.feed(
            number,
            match request {
                Some(request) => Input::Request { listener: Listener::Here, request },
                None if serves => Input::Serve,
                None => Input::Follow,
            },
        );
    }

    /// Renews the term if it is due.
    pub(super) fn keep(&mut self, number: u32) {
        let Some(process) = self.processes.get(&number) else { return };
        let Some(owner) = process.owner() else { return };
        let (me, epoch, host, ledger) = (process.holder(), owner.epoch, process.host, owner.ledger);
        let now = self.unix(host);
        let begun = self.renewed.get(&number).copied().unwrap_or(now);
        if is_renewal_due(now - begun, TERM) {
            if self.owner.clone().check(&me, epoch).is_err() {
                self.end(number, End::Deposed);
                return;
            }
            self.check_still_owner(number, epoch, "renews its term");
            let until = now + TERM.as_secs_f64();
            self.owner.claim = Some(Claim { holder: me.clone(), until });
            self.renewed.insert(number, now);
            if let Some(epoch) = ledger {
                self.ledger.renew(&me, epoch, until);
            }
        }
        let slow = self.pace(KEEP) > KEEP;
        let at = self.now + if slow { KEEP * 4 } else { KEEP };
        self.schedule(at, Happening::Keep { process: number });
    }

    /// A process whose term has expired makes sure that it still owns the directory before it submits.
    pub(super) fn confirm(&mut self, number: u32) -> bool {
        let Some(process) = self.processes.get(&number) else { return false };
        let Some(owner) = process.owner() else { return false };
        let (me, epoch, now) = (process.holder(), owner.epoch, self.unix(process.host));
        let begun = self.renewed.get(&number).copied().unwrap_or(now);
        if now - begun < TERM.as_secs_f64() {
            return true;
        }
        let is_owner = self.owner.clone().check(&me, epoch).is_ok();
        if !is_owner {
            self.end(number, End::Deposed);
        }
        is_owner
    }

    /// Passes an input to the core, carries out its effects, and checks whether it has ended.
    pub(super) fn feed(&mut self, number: u32, input: Input) {
        self.give(number, input);
        self.after_input(number);
    }

    fn give(&mut self, number: u32, input: Input) {
        let unix = match self.processes.get(&number) {
            Some(process) => self.unix(process.host),
            None => return,
        };
        let now = self.now;
        let Some(process) = self.processes.get_mut(&number) else { return };
        let steady = now - process.started;
        let Some(owner) = process.owner_mut() else { return };
        if owner.closing {
            return;
        }
        for effect in owner.core.on(CoreMoment { steady, unix }, input) {
            self.perform(number, effect);
        }
    }

    fn after_input(&mut self, number: u32) {
        let Some(process) = self.processes.get_mut(&number) else { return };
        let started = process.started;
        let Some(owner) = process.owner_mut() else { return };
        if owner.core.has_ended() {
            self.close(number);
            return;
        }
        let Some(at) = owner.core.next_wakeup().map(|at| started + at + Duration::from_millis(1)) else {
            return;
        };
        if owner.wake.is_none_or(|wake| at < wake) {
            owner.wake = Some(at);
            self.schedule(at, Happening::Wake { process: number });
        }
    }

    pub(super) fn wake(&mut self, number: u32) {
        let now = self.now;
        // If an earlier time was wanted later, the first one is forgotten.
        if let Some(owner) = self.owner_of(number)
            && owner.wake.is_some_and(|wake| wake <= now)
        {
            owner.wake = None;
            self.feed(number, Input::Tick);
        }
    }

    /// Passes an answer to the core after a delay.
    fn answer(&mut self, number: u32, input: Input) {
        let latency = self.chance.between(QUICK.0, QUICK.1);
        let at = self.now + latency;
        self.schedule(at, Happening::ToCore { process: number, input: Box::new(input) });
    }

    /// The metadata catalogue answers, sometimes late.
    fn ask_mymdc(&mut self, number: u32, request: RequestNo, key: RunKey, fields: BTreeSet<MymdcField>) {
        let (_, run) = key;
        let value = |field| (field, MymdcValue::Value { json: format!("\"{field} of run {run}\"") });
        let values = fields.into_iter().map(value).collect();
        let latency = if self.chance.chance(1, 8) { MYMDC_SLOW } else { QUICK };
        let at = self.now + self.chance.between(latency.0, latency.1);
        let input = Box::new(Input::Mymdc { request, key, values });
        self.schedule(at, Happening::ToCore { process: number, input });
    }

    fn perform(&mut self, number: u32, effect: Effect) {
        match effect {
            Effect::Tell { listener, event } => self.tell(number, listener, event),
            Effect::Publish(activity) => self.note_activity(number, activity),
            Effect::ReadContext { incoming } => {
                let context = ContextSource {
                    path: PathBuf::from("/db/context.py"),
                    folders: Vec::new(),
                    directory: None,
                    text: format!("cluster, edit {}", self.edits),
                    sha256: format!("{:02}", self.edits),
                };
                self.answer(
                    number,
                    Input::ContextRead { incoming, context: Ok(ContextRead::new(context, "python3".into())) },
                );
            }
            Effect::AskSite => {}
            Effect::Survey { incoming, compute, .. } => {
                let exist: Vec<Run> =
                    (1..=self.scenario.runs).map(Run).filter(|run| self.has_data(*run)).collect();
                let (runs, missing): (Vec<Run>, Vec<Run>) = match compute.runs {
                    Runs::All => (exist, Vec::new()),
                    Runs::These(named) => named.into_iter().partition(|run| exist.contains(run)),
                };
                let runs = runs.into_iter().map(|run| ((PROPOSAL, run), self.data_of(run))).collect();
                let survey = Survey { runs, missing, ..Survey::default() };
                self.answer(number, Input::Surveyed { incoming, survey: Ok(Box::new(survey)) });
            }
            Effect::OpenLedger { incoming } => self.order_ledger(number, LedgerOrder::Open(incoming)),
            Effect::LoadLedger => self.order_ledger(number, LedgerOrder::Load),
            Effect::WriteLedger(writes) => self.order_ledger(number, LedgerOrder::Write(writes)),
            Effect::ToWorker(messages) => {
                let Some(worker) = self.owner_of(number).map(|owner| owner.worker_number) else { return };
                self.on_to_worker(number, worker, messages);
            }
            Effect::ReplaceWorker(worker) => {
                let (processes, now) = (self.scenario.processes, self.now);
                let Some(owner) = self.owner_of(number) else { return };
                owner.worker = LocalWorker::new(processes, now);
                owner.worker_number = worker;
            }
            Effect::Collect(Fragment { key, path }) => self.order_collector(number, Some((key, path)), false),
            Effect::HurryCollector => self.order_collector(number, None, true),
            Effect::Scan { key } => {
                let fragments = self.scan(key);
                self.answer(number, Input::Scanned { key, fragments });
            }
            Effect::Tidy => {}
            Effect::ReadSettings => {
                let settings = self.settings.clone();
                self.answer(number, Input::Settings(settings));
            }
            Effect::Submit(job) => self.submit(number, *job),
            Effect::Adopt { token, job, name, log, clusters } => {
                self.adopt(number, token, job, (name, log), clusters);
            }
            Effect::Forget { token } => self.forget(number, token),
            Effect::Cancel { token } => self.cancel(number, token),
            Effect::Ask { task, question } => {
                let answer = match question {
                    Question::EarlierValues { key } => Answer::EarlierValues(self.files.earlier_values(key)),
                    Question::LogTail { path } => Answer::LogTail(self.files.read_log(&path)),
                    Question::Command(_) => return,
                };
                self.answer(number, Input::Answer { task, answer });
            }
            Effect::AskMymdc { request, key, fields } => self.ask_mymdc(number, request, key, fields),
            Effect::Log(message) => {
                self.story.tell(self.now, format!("amore {number}"), || format!("logs: {message}"));
                self.note_log(&message);
            }
        }
    }

    /// Those who watch the directory are told.
    fn note_activity(&mut self, number: u32, activity: Activity) {
        self.story.tell(self.now, format!("amore {number}"), || format!("publishes {}", activity.name()));
        if let Activity::ValuesStored { proposal, run, values } = activity {
            for StoredCell { name, .. } in values {
                if self.files.run_file((proposal, run)).is_none_or(|file| !file.contains_key(&name)) {
                    self.violate(
                        "what is published is stored",
                        format!("run {run}: {name} is published, and its file does not have it"),
                    );
                }
            }
        }
    }

    pub(super) fn owner_of(&mut self, number: u32) -> Option<&mut Owner> {
        self.processes.get_mut(&number)?.owner_mut()
    }

    fn tell(&mut self, number: u32, listener: Listener, event: Event) {
        let now = self.now;
        self.story
            .tell(now, format!("amore {number}"), || format!("tells {listener:?}: {}", in_words(&event)));
        if matches!(event, Event::Notice(_) | Event::Jobs { waiting: 1.., .. })
            && listener != Listener::Nobody
        {
            self.history.wait_told = Some(now);
        }
        if let Event::Jobs { waiting, .. } = &event {
            self.history.waiting_shown = *waiting > 0;
        }
        match listener {
            Listener::Here => {
                self.note_told(number, number, &event);
                if let Some(process) = self.processes.get_mut(&number) {
                    process.told.push((now, event));
                }
            }
            Listener::Elsewhere(id) => {
                let request = self.owner_of(number).and_then(|owner| owner.listeners.get(&id).copied());
                if let Some(asker) =
                    request.and_then(|id| self.files.requests.get(&id)).map(|file| file.asker)
                {
                    self.note_told(asker, number, &event);
                }
                if let Some(file) = request.and_then(|id| self.files.requests.get_mut(&id)) {
                    file.done |= matches!(event, Event::Finished(_) | Event::Refused { .. });
                    file.events.push(event);
                }
            }
            Listener::Nobody => {}
        }
    }

    /// Records what a user is told about a request.
    fn note_told(&mut self, asker: u32, owner: u32, event: &Event) {
        let asked = self.processes.get(&asker).and_then(|process| process.request.as_ref());
        match event {
            Event::Planned { .. } if matches!(asked, Some(Request::Compute(_))) => {
                self.history.planned.insert(asker, Call(self.number_of_calls));
            }
            Event::RunEnded { run, problem: None, .. } => self.check_run_ended(asker, *run),
            _ => {}
        }
        if matches!(event, Event::Finished(_)) {
            self.history.cancellation_done(asker, owner);
        }
    }

    /// Records that an owner takes a request.
    fn note_taken(&mut self, asker: u32, request: &Request) {
        if let Request::Cancel(named) = request
            && let Ok(run) = u32::try_from(named.number)
            && named.cluster.is_none()
            && (1..=self.scenario.runs).contains(&run)
        {
            self.history.cancellation_taken(asker, Run(run));
        }
    }

    fn scan(&self, key: Option<RunKey>) -> Vec<Fragment> {
        let found = self.files.scan(key, self.now).into_iter();
        found.map(|(key, path)| Fragment { key, path }).collect()
    }

    /// Takes the requests of other processes.
    pub(super) fn look_for_requests(&mut self, number: u32) {
        self.check_waits_are_told(number);
        let Some(owner) = self.owner_of(number) else { return };
        if owner.closing {
            return;
        }
        let is_stopping = owner.core.is_stopping();
        let at = self.now + self.pace(REQUEST_POLL);
        self.schedule(at, Happening::LookForRequests { process: number });
        if !is_stopping {
            self.take_requests(number);
        }
        self.feed(number, Input::Tick);
    }

    /// Takes the requests of other processes that wait now.
    pub(super) fn take_requests(&mut self, number: u32) {
        if self.owner_of(number).is_none_or(|owner| owner.closing || owner.core.is_stopping()) {
            return;
        }
        let waiting: Vec<u64> = self
            .files
            .requests
            .iter()
            .filter(|(_, file)| file.taken_by.is_none())
            .map(|(id, _)| *id)
            .collect();
        // Requests for a successor are not for this process, which may not know yet that there is one.
        let Some(process) = self.processes.get(&number) else { return };
        let epoch = process.owner().map_or(0, |owner| owner.epoch);
        if !waiting.is_empty() && self.owner.clone().check(&process.holder(), epoch).is_err() {
            return;
        }
        for id in waiting {
            let Some(file) = self.files.requests.get_mut(&id) else { continue };
            let (asker, service) = (file.asker, file.service);
            file.taken_by = Some(number);
            let request = file.request.clone();
            let is_wanted = match service {
                Some(service) => self.is_service_alive(service),
                None => self.processes.get(&asker).is_some_and(|process| process.is_alive()),
            };
            if !is_wanted {
                self.files.requests.remove(&id);
                continue;
            }
            let Some(owner) = self.owner_of(number) else { return };
            let listener = owner.listeners.len() as u64;
            owner.listeners.insert(listener, id);
            self.note_taken(asker, &request);
            self.feed(number, Input::Request { listener: Listener::Elsewhere(listener), request });
        }
    }

    /// Whether a run exists.
    fn has_data(&self, run: Run) -> bool {
        let Availability { raw, proc } = self.data_of(run);
        raw || proc
    }

    /// Which data a run has. Without a service they are there from the beginning.
    pub(super) fn data_of(&self, run: Run) -> Availability {
        if self.scenario.service {
            self.facility.data.availability(run.0)
        } else {
            Availability { raw: true, proc: true }
        }
    }
}

/// Orders for the ledger's writer.
#[derive(Debug)]
pub(super) enum LedgerOrder {
    Open(amore_core::IncomingNo),
    Load,
    Write(Vec<Write>),
}

/// The ledger's part.
impl World {
    /// Orders are carried out one after the other.
    fn order_ledger(&mut self, number: u32, order: LedgerOrder) {
        let slow =
            if self.trouble.ledger_slow_until > self.now { self.trouble.ledger_slow } else { Duration::ZERO };
        let latency = self.chance.between(QUICK.0, QUICK.1) + slow;
        let now = self.now;
        let Some(owner) = self.owner_of(number) else { return };
        owner.ledger_free = owner.ledger_free.max(now) + latency;
        let at = owner.ledger_free;
        self.schedule(at, Happening::Ledger { process: number, order });
    }

    pub(super) fn on_ledger_order(&mut self, number: u32, order: LedgerOrder) {
        let Some(process) = self.processes.get(&number) else { return };
        let (me, host) = (process.holder(), process.host);
        let Some(owner) = process.owner() else { return };
        if owner.ledger.is_none() {
            if self.now < self.ledger.away_until {
                let refusal = Refusal::new("the ledger cannot be opened");
                match order {
                    LedgerOrder::Open(incoming) => {
                        let opened = Err(refusal);
                        self.answer(number, Input::LedgerOpened { incoming, opened });
                    }
                    LedgerOrder::Load | LedgerOrder::Write(_) => {
                        self.end(number, End::Refused(refusal.message));
                    }
                }
                return;
            }
            let begun = self.renewed.get(&number).copied().unwrap_or_else(|| self.unix(host));
            let epoch = self.ledger.take(&me, begun, begun + TERM.as_secs_f64());
            if let Some(owner) = self.owner_of(number) {
                owner.ledger = Some(epoch);
            }
        }
        match order {
            LedgerOrder::Open(incoming) => {
                self.answer(number, Input::LedgerOpened { incoming, opened: Ok(()) })
            }
            LedgerOrder::Load => {
                let left = self.ledger.left_open(&self.files, self.now);
                self.answer(number, Input::LedgerLoaded(Box::new(left)));
            }
            LedgerOrder::Write(writes) => self.write_ledger(number, &writes),
        }
    }

    fn write_ledger(&mut self, number: u32, writes: &[Write]) {
        let now = self.now;
        let Some(process) = self.processes.get(&number) else { return };
        let me = process.holder();
        let Some(owner) = process.owner() else { return };
        let (Some(epoch), mut unsure) = (owner.ledger, owner.ledger_unsure) else {
            return;
        };
        let mut done = 0;
        let mut silent = None;
        for write in writes {
            match self.ledger.write(&me, epoch, write, unsure, now) {
                Ok(()) => {
                    unsure = false;
                    done += 1;
                    // Writes under the earlier epoch are allowed until the next owner of the directory has taken the
                    // ledger, because it reads them then.
                    let latest = self.ledger.epoch();
                    self.check_is_latest(number, epoch, latest, "writes to the ledger");
                }
                Err(LedgerNo::Silent(words)) => {
                    unsure = true;
                    silent = Some(words.to_owned());
                    break;
                }
                Err(LedgerNo::Deposed) => return self.end(number, End::Deposed),
                Err(LedgerNo::Conflict(words)) => {
                    return self.violate("the ledger accepts every move", words);
                }
            }
        }
        if silent.is_none() {
            self.history.ledger_written(number);
        }
        if let Some(owner) = self.owner_of(number) {
            owner.ledger_unsure = unsure;
        }
        self.answer(number, Input::LedgerWritten { done, silent });
    }
}

/// The collector's part.
impl World {
    fn order_collector(&mut self, number: u32, fragment: Option<(RunKey, PathBuf)>, hurry: bool) {
        let now = self.now;
        let Some(owner) = self.owner_of(number) else { return };
        owner.to_collect.extend(fragment);
        if owner.to_collect.is_empty() {
            return;
        }
        let at = if hurry { now } else { now + GATHER };
        let sooner = match owner.collector {
            Collector::Idle => true,
            Collector::Gathers(until) => at < until,
            Collector::Merges => false,
        };
        if sooner {
            owner.collector = Collector::Gathers(at);
            self.schedule(at, Happening::Gathered { process: number, at });
        }
    }

    pub(super) fn on_gathered(&mut self, number: u32, at: crate::Moment) {
        let slow =
            if self.trouble.collector_until > self.now { self.trouble.collector } else { Duration::ZERO };
        let takes = self.chance.between(Duration::from_millis(3), Duration::from_millis(40)) + slow;
        let now = self.now;
        let Some(owner) = self.owner_of(number) else { return };
        if owner.collector != Collector::Gathers(at) {
            return;
        }
        owner.collector = Collector::Merges;
        let fragments = std::mem::take(&mut owner.to_collect);
        self.schedule(now + takes, Happening::Merge { process: number, fragments });
    }

    pub(super) fn on_merge(&mut self, number: u32, fragments: Vec<(RunKey, PathBuf)>) {
        let Some(process) = self.processes.get(&number) else { return };
        let Some(owner) = process.owner() else { return };
        let epoch = owner.epoch;
        if self.owner.clone().check(&process.holder(), epoch).is_err() {
            self.end(number, End::Deposed);
            return;
        }
        self.check_still_owner(number, epoch, "writes to the run table");
        let mut by_run: BTreeMap<RunKey, (usize, BTreeSet<PathBuf>)> = BTreeMap::new();
        for (key, path) in fragments {
            let (count, paths) = by_run.entry(key).or_default();
            *count += 1;
            paths.insert(path);
        }
        let mut collected = Vec::new();
        for (key, (count, paths)) in by_run {
            let (stored, wrong) = self.files.merge(key, &paths, self.now);
            if let Some(words) = wrong {
                self.violate("values are of their run and of the latest plan", words);
            }
            self.story.tell(self.now, format!("amore {number}"), || {
                let names: Vec<&str> = stored.iter().map(|(name, _)| name.as_str()).collect();
                format!("stores run {}: {}", key.1, names.join(", "))
            });
            let cells = stored.iter().map(|(name, _)| StoredCell::empty(name.as_str())).collect();
            let (notices, problem) = (Vec::new(), None);
            collected.push(Collected { key, fragments: count, stored, cells, notices, problem });
        }
        let Some(owner) = self.owner_of(number) else { return };
        owner.collector = Collector::Idle;
        for one in collected {
            self.feed(number, Input::Collected(one));
        }
        // Fragments that arrived meanwhile.
        self.order_collector(number, None, false);
        self.end_if_closed(number);
    }
}

/// The end of a process.
impl World {
    fn close(&mut self, number: u32) {
        let Some(owner) = self.owner_of(number) else { return };
        if std::mem::replace(&mut owner.closing, true) {
            return;
        }
        for effect in owner.core.close() {
            self.perform(number, effect);
        }
        self.end_if_closed(number);
    }

    /// Ends a closed process once its submissions and cancellations are answered and the collector is done.
    pub(super) fn end_if_closed(&mut self, number: u32) {
        let Some(owner) = self.owner_of(number) else { return };
        if !owner.closing || owner.poller.is_busy() || owner.collector == Collector::Merges {
            return;
        }
        let end = match owner.core.outcome() {
            Ok(summary) => End::Served(summary),
            Err(refusal) => End::Refused(refusal.message),
        };
        if matches!(end, End::Served(ref summary) if !summary.interrupted) {
            let size = owner.core.size();
            self.check_forgotten(number, size);
        }
        self.end(number, end);
    }

    /// Ends a process. It releases what it holds, unless it was killed.
    pub(super) fn end(&mut self, number: u32, end: End) {
        let Some(process) = self.processes.get_mut(&number) else { return };
        if !process.is_alive() {
            return;
        }
        let (me, epochs) = (process.holder(), process.owner().map(|owner| (owner.epoch, owner.ledger)));
        self.story.tell(self.now, process.name(), || format!("ends: {end:?}"));
        let killed = matches!(end, End::Killed);
        process.role = Role::Ended(end);
        process.suspended = None;
        if let Some((epoch, ledger)) = epochs.filter(|_| !killed) {
            if let Some(epoch) = ledger {
                self.ledger.release(&me, epoch);
            }
            if self.owner.clone().check(&me, epoch).is_ok() {
                self.owner.claim = None;
            }
        }
    }
}

/// A request to compute these runs of the proposal.
pub(super) fn request_of(runs: impl IntoIterator<Item = u32>) -> Request {
    Request::Compute(amore_core::request::Compute {
        runs: Runs::These(runs.into_iter().map(Run).collect()),
        proposal: None,
        matches: Vec::new(),
        names: Vec::new(),
        mock: false,
        trigger: None,
    })
}

/// Formats an event for the story.
fn in_words(event: &Event) -> String {
    match event {
        Event::Notice(notice) => notice.to_string().replace('\n', " / "),
        other => format!("{other:?}"),
    }
}
