//! The state machine.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use amore_model::{
    Urgency,
    planted::{Fault, is_on},
};

use crate::{
    arrival::{Arrival, ArrivalNo, Facts, Generation, Last, OpenArrival, Subject},
    look::{FolderLook, SettleRule},
    pace,
};

/// Data older than this when they are found in a folder are not live: nobody at the instrument waits for them.
const LIVE_SECONDS: f64 = 3600.0;
/// After so long the store knows what was processed: if it is away, nothing can be looked at either.
const STORED_AFTER: f64 = 3600.0;
/// How long to wait before a request is given again to a directory that was lost.
const LOST_PAUSE: f64 = 1.0;
/// How long to wait until it may be known which directories there are.
const UNREADY_PAUSE: f64 = 2.0;

/// What was found out about an arrival.
#[derive(Clone, Debug, PartialEq)]
pub struct Looked {
    /// The directories that process the proposal.
    pub directories: BTreeSet<PathBuf>,
    /// Its files; `None` if the run has no folder.
    pub folder: Option<FolderLook>,
    /// The data of this kind that are known last.
    pub last: Option<Last>,
}

/// Data were found to be other ones than before, or the table of a directory to be another one.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// What has changed.
    pub subject: Subject,
    /// The directory for which it was found.
    pub directory: PathBuf,
    /// The digest of the files as they are now.
    pub digest: String,
    /// The directory needs the data even if it has processed them.
    pub again: bool,
}

/// How a request ended in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DirectoryEnd {
    /// The run was processed; variables may have failed.
    Processed {
        /// What to say of it.
        words: String,
    },
    /// A user has cancelled it.
    Cancelled {
        /// By whom, or how.
        words: String,
    },
    /// It was not processed.
    Refused {
        /// Why.
        why: String,
    },
    /// The directory was lost before the end: the request has to be given again.
    Lost,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// The service has started; these are open.
    Started(Vec<OpenArrival>),
    /// An event was stored.
    Arrived(Arrival),
    /// The answer to [`Effect::Look`], or why there is none.
    Looked(ArrivalNo, Result<Looked, String>),
    /// There is no answer to [`Effect::Look`] yet, because the service does not know its directories: it is to be looked at again
    /// soon. That is no attempt. If it is one directory that is to be known first: which.
    Unready(ArrivalNo, Option<PathBuf>),
    /// Nothing can be done in a directory now, for this reason. Requests that it has are not lost by that.
    Hindered(PathBuf, String),
    /// A directory that was hindered goes on.
    Resumed(PathBuf),
    /// A request ended.
    Ended(ArrivalNo, PathBuf, DirectoryEnd),
    /// The folder of these data has changed: arrivals that wait for that are looked at now, and those that are being looked at
    /// once more.
    Changed(Subject),
    /// A user wants an arrival to be tried again now: one that has failed, or one that waits.
    Retried(OpenArrival),
    /// A user drops an arrival, for this reason.
    Dropped(ArrivalNo, String),
    /// Time has passed.
    Tick,
}

/// How an arrival ends in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// It stays open.
    Open,
    /// It was processed, or there was nothing to do.
    Done,
    /// It was tried too often: a user has to look at it.
    Failed,
    /// A user has dropped it.
    Dropped,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Find out which directories process the proposal, what is on disk, and what was processed last.
    Look {
        /// For this arrival.
        number: ArrivalNo,
        /// What has arrived.
        subject: Subject,
    },
    /// Give a request to a directory.
    Dispatch {
        /// For this arrival.
        number: ArrivalNo,
        /// What has arrived.
        subject: Subject,
        /// The directory.
        directory: PathBuf,
        /// How urgent it is.
        urgency: Urgency,
        /// The number of its [`Generation`]: a request for other data is another request, though of the same arrival.
        generation: u32,
    },
    /// Write to the store.
    Write {
        /// This arrival.
        number: ArrivalNo,
        /// Its state.
        state: Settled,
        /// What is known of it.
        facts: Facts,
    },
}

#[derive(Clone, Debug, PartialEq)]
enum Stage {
    /// It is being looked at. `again`: the folder has changed since that began, so the answer may be of before.
    Looking { before: Option<(FolderLook, f64)>, again: bool },
    /// It is looked at again at this time.
    Waiting { until: f64, before: Option<(FolderLook, f64)> },
    /// Directories have it, or get it again at a time.
    Dispatched { urgency: Urgency, open: BTreeMap<PathBuf, Option<f64>> },
}

/// What a look has shown about the data of an arrival.
#[derive(Clone, Debug)]
enum Data {
    /// Nothing yet.
    Unknown,
    /// Nobody has processed them before.
    New(Generation),
    /// They were known before this arrival came.
    Known,
}

#[derive(Clone, Debug)]
struct Entry {
    arrival: Arrival,
    facts: Facts,
    stage: Stage,
    data: Data,
    /// Where a user has cancelled it, and how.
    cancelled: Vec<String>,
    /// The directories that were lost while they had it, and have not resumed since.
    lost: BTreeSet<PathBuf>,
}

impl Entry {
    /// Whether it waits for this directory.
    fn is_open_in(&self, directory: &Path) -> bool {
        matches!(&self.stage, Stage::Dispatched { open, .. } if open.contains_key(directory))
    }

    /// Whether a change needs no event of its own, because this arrival takes care of it.
    fn covers(&self, change: &Change) -> bool {
        let directory = change.directory.display().to_string();
        match &self.stage {
            Stage::Looking { .. } | Stage::Waiting { .. } => {
                let wants_all = self.facts.only.is_empty() && (!change.again || self.arrival.is_forced);
                wants_all || self.facts.only.contains(&directory)
            }
            Stage::Dispatched { .. } if is_on(Fault::ChangeWhileProcessedIgnored) => true,
            Stage::Dispatched { open, .. } => {
                let is_it = |own: &Generation| own.digest == change.digest;
                let has = open.contains_key(&change.directory)
                    || (!change.again && self.facts.directories.contains_key(&directory));
                has && self.facts.generation.as_ref().is_some_and(is_it)
            }
        }
    }
}

/// The open arrivals, and what becomes of them.
#[derive(Debug)]
pub struct Intake {
    rule: SettleRule,
    entries: BTreeMap<ArrivalNo, Entry>,
    /// What ended a short while ago. The store may not know it yet.
    ended: BTreeMap<Subject, Last>,
    /// The directories in which nothing can be done now, and why.
    hindered: BTreeMap<PathBuf, String>,
    effects: Vec<Effect>,
}

impl Intake {
    /// Ready for [`Input::Started`].
    pub fn new(rule: SettleRule) -> Self {
        Intake {
            rule,
            entries: BTreeMap::new(),
            ended: BTreeMap::new(),
            hindered: BTreeMap::new(),
            effects: Vec::new(),
        }
    }

    /// From now on, data are complete by this rule.
    pub fn set_rule(&mut self, rule: SettleRule) {
        self.rule = rule;
    }

    /// Number of open arrivals.
    pub fn depth(&self) -> usize {
        self.entries.len()
    }

    /// Whether a change needs no event of its own: an open arrival will be looked at, or directories have got or processed what
    /// is on disk now.
    pub fn knows_of(&self, change: &Change) -> bool {
        let mut open = self.entries.values().filter(|entry| entry.arrival.subject == change.subject);
        let is_it = |last: &Last| {
            last.generation.digest == change.digest
                && (last.is_dropped() || (!change.again && last.is_processed_in(&change.directory)))
        };
        open.any(|entry| entry.covers(change)) || self.ended.get(&change.subject).is_some_and(is_it)
    }

    /// Whether values of this directory may be those of these data: an arrival is open, or has ended there a while ago. What has ended
    /// may not be in the store yet.
    pub fn may_have_filled(&self, subject: Subject, directory: &Path) -> bool {
        self.entries.values().any(|entry| entry.arrival.subject == subject)
            || self.ended.get(&subject).is_some_and(|last| last.is_processed_in(directory))
    }

    /// Takes an input at this time, and gives what is to be done, in order.
    pub fn on(&mut self, now: f64, input: Input) -> Vec<Effect> {
        match input {
            Input::Started(_) if is_on(Fault::OpenArrivalsForgotten) => {}
            Input::Started(open) => open.into_iter().for_each(|open| self.add(open.arrival, open.facts)),
            Input::Arrived(arrival) => {
                let facts = Facts { only: arrival.only.clone(), ..Facts::default() };
                self.add(arrival, facts);
            }
            Input::Looked(number, Ok(looked)) => self.on_looked(now, number, looked),
            Input::Looked(number, Err(why)) => self.try_later(now, number, why),
            Input::Unready(number, unknown) => self.wait_for_directories(now, number, unknown),
            Input::Hindered(directory, why) => self.on_hindered(directory, why),
            Input::Resumed(directory) => self.on_resumed(&directory),
            Input::Ended(number, directory, end) => self.on_ended(now, number, directory, end),
            Input::Changed(subject) => self.on_changed(now, subject),
            Input::Retried(again) => self.on_retried(now, again),
            Input::Dropped(number, why) => self.on_dropped(now, number, why),
            Input::Tick => {}
        }
        self.wake(now);
        std::mem::take(&mut self.effects)
    }

    /// When something is due next.
    pub fn next_wakeup(&self) -> Option<f64> {
        let due = self.entries.values().flat_map(|entry| match &entry.stage {
            Stage::Looking { .. } => Vec::new(),
            Stage::Waiting { until, .. } => vec![*until],
            Stage::Dispatched { open, .. } => open.values().flatten().copied().collect(),
        });
        due.min_by(f64::total_cmp)
    }

    fn add(&mut self, arrival: Arrival, facts: Facts) {
        let number = arrival.number;
        if self.entries.contains_key(&number) {
            return;
        }
        self.look(&arrival);
        let data = facts.generation.clone().map_or(Data::Unknown, Data::New);
        let stage = Stage::Looking { before: None, again: false };
        let entry = Entry { arrival, facts, stage, data, cancelled: Vec::new(), lost: BTreeSet::new() };
        self.entries.insert(number, entry);
    }

    /// The data stay dropped until they change, unless they were known before: then only this event is dropped.
    fn on_dropped(&mut self, now: f64, number: ArrivalNo, why: String) {
        let Some(Entry { arrival, mut facts, data, .. }) = self.entries.remove(&number) else { return };
        facts.why = Some(why);
        let dropped = match data {
            Data::New(generation) => Some(generation),
            Data::Unknown | Data::Known => None,
        };
        if facts.generation.as_ref().map(|own| &own.digest) != dropped.as_ref().map(|data| &data.digest) {
            facts.directories.clear();
        }
        facts.generation = dropped;
        self.remember(now, arrival.subject, number, Settled::Dropped, &facts);
        self.write(number, Settled::Dropped, facts);
    }

    /// The store may be slow.
    fn remember(&mut self, now: f64, subject: Subject, number: ArrivalNo, state: Settled, facts: &Facts) {
        let Some(last) = Last::of(number, now, state, facts.clone()) else { return };
        let last = match self.ended.remove(&subject) {
            Some(before) => before.later(last),
            None => last,
        };
        self.ended.insert(subject, last);
    }

    /// As long as it is not known which directories there are, nothing can be said about it, except what hinders the one that is
    /// waited for.
    fn wait_for_directories(&mut self, now: f64, number: ArrivalNo, unknown: Option<PathBuf>) {
        let Some(entry) = self.entries.get_mut(&number) else { return };
        let Stage::Looking { before, .. } = &mut entry.stage else { return };
        entry.stage = Stage::Waiting { until: now + UNREADY_PAUSE, before: before.take() };
        let hindered = unknown.and_then(|directory| self.hindered.get_key_value(&directory));
        let why = hindered.map(|(directory, why)| in_directory(directory, why));
        if why.is_some() && entry.facts.why != why {
            entry.facts.why = why;
            self.note(number);
        }
    }

    fn on_hindered(&mut self, directory: PathBuf, why: String) {
        if self.hindered.get(&directory) == Some(&why) {
            return;
        }
        let waiting = self.waiting_for(&directory);
        self.hindered.insert(directory, why);
        waiting.into_iter().for_each(|number| self.note(number));
    }

    /// What the directory has lost is begun anew, and may be lost again: until it ends, that is told.
    fn on_resumed(&mut self, directory: &Path) {
        let Some(why) = self.hindered.remove(directory) else { return };
        for number in self.waiting_for(directory) {
            if let Some(entry) = self.entries.get_mut(&number)
                && entry.lost.remove(directory)
            {
                entry.facts.why = Some(in_directory(directory, &format!("tried again, after: {why}")));
            }
            self.note(number);
        }
    }

    fn waiting_for(&self, directory: &Path) -> Vec<ArrivalNo> {
        let waiting = self.entries.iter().filter(|(_, entry)| entry.is_open_in(directory));
        waiting.map(|(number, _)| *number).collect()
    }

    /// Notes what is known of an open arrival. What hinders its directories now comes before what was wrong last.
    fn note(&mut self, number: ArrivalNo) {
        let Some(entry) = self.entries.get(&number) else { return };
        let hindered = self.hindered.iter().filter(|(directory, _)| entry.is_open_in(directory));
        let why: Vec<String> = hindered.map(|(directory, why)| in_directory(directory, why)).collect();
        let mut facts = entry.facts.clone();
        if !why.is_empty() {
            facts.why = Some(why.join("; "));
        }
        self.write(number, Settled::Open, facts);
    }

    fn look(&mut self, arrival: &Arrival) {
        let Arrival { number, subject, .. } = *arrival;
        self.effects.push(Effect::Look { number, subject });
    }

    fn on_changed(&mut self, now: f64, subject: Subject) {
        for entry in self.entries.values_mut().filter(|entry| entry.arrival.subject == subject) {
            match &mut entry.stage {
                Stage::Waiting { until, .. } => *until = until.min(now),
                Stage::Looking { again, .. } => *again = true,
                Stage::Dispatched { .. } => {}
            }
        }
    }

    /// Attempts are counted from the beginning.
    fn on_retried(&mut self, now: f64, again: OpenArrival) {
        let OpenArrival { arrival, facts } = again;
        let number = arrival.number;
        let Some(entry) = self.entries.get_mut(&number) else {
            let facts = Facts { attempts: 0, ..facts };
            self.write(number, Settled::Open, facts.clone());
            return self.add(arrival, facts);
        };
        entry.facts.attempts = 0;
        match &mut entry.stage {
            Stage::Waiting { until, .. } => *until = until.min(now),
            Stage::Dispatched { open, .. } => open.values_mut().flatten().for_each(|due| *due = due.min(now)),
            Stage::Looking { .. } => {}
        }
    }

    fn write(&mut self, number: ArrivalNo, state: Settled, facts: Facts) {
        self.effects.push(Effect::Write { number, state, facts });
    }

    /// Ends an arrival for which there is nothing to do.
    fn end(&mut self, number: ArrivalNo, why: impl Into<String>) {
        if let Some(entry) = self.entries.remove(&number) {
            // Before a restart, some directories may have had the data for this arrival, and others not.
            let known = entry.facts.generation.clone().filter(|_| is_on(Fault::HalfProcessedIsProcessed));
            let directories = if known.is_some() { BTreeMap::new() } else { entry.facts.directories.clone() };
            let facts = Facts { why: Some(why.into()), generation: known, directories, ..entry.facts };
            self.write(number, Settled::Done, facts);
        }
    }

    /// Ends an arrival of data that all directories have processed.
    fn end_as_known(&mut self, now: f64, number: ArrivalNo, facts: Facts) {
        if let Some(entry) = self.entries.remove(&number) {
            let facts = Facts { attempts: entry.facts.attempts, only: entry.facts.only, ..facts };
            self.remember(now, entry.arrival.subject, number, Settled::Done, &facts);
            self.write(number, Settled::Done, facts);
        }
    }

    /// Looks again later, or gives up.
    fn try_later(&mut self, now: f64, number: ArrivalNo, why: String) {
        let Some(entry) = self.entries.get_mut(&number) else { return };
        if !matches!(entry.stage, Stage::Looking { .. }) {
            return;
        }
        entry.facts.attempts += 1;
        entry.facts.why = Some(why);
        entry.stage = Stage::Waiting { until: now + pace::pause(entry.facts.attempts), before: None };
        self.give_up_or_note(now, number);
    }

    fn give_up_or_note(&mut self, now: f64, number: ArrivalNo) {
        let Some(entry) = self.entries.get(&number) else { return };
        if entry.facts.attempts >= pace::ATTEMPTS && !is_on(Fault::NeverGivenUp) {
            let (subject, facts) = (entry.arrival.subject, entry.facts.clone());
            self.entries.remove(&number);
            self.remember(now, subject, number, Settled::Failed, &facts);
            self.write(number, Settled::Failed, facts);
        } else {
            self.note(number);
        }
    }

    fn on_looked(&mut self, now: f64, number: ArrivalNo, looked: Looked) {
        let Some(entry) = self.entries.get_mut(&number) else { return };
        let Stage::Looking { before, again } = &mut entry.stage else { return };
        if std::mem::take(again) {
            let arrival = entry.arrival.clone();
            return self.look(&arrival);
        }
        let before = before.clone();
        let Looked { directories, folder, last } = looked;
        if directories.is_empty() {
            return self.end(number, "no database of this service belongs to the proposal");
        }
        let Some(folder) = folder.filter(|folder| folder.files > 0) else {
            let why = format!("the run has no {} data on disk", entry.arrival.subject.data.word());
            return self.try_later(now, number, why);
        };
        let (is_complete, subject) = (entry.arrival.is_complete, entry.arrival.subject);
        let last = match (last, self.ended.get(&subject).cloned()) {
            (Some(stored), Some(here)) => Some(stored.later(here)),
            (stored, here) => stored.or(here),
        };
        let last = last.filter(|_| !is_on(Fault::ProcessedDataNotKnown));
        let next = self.next_generation(subject, last.as_ref(), &folder);
        let last = last.filter(|last| last.generation.digest == folder.digest);
        let has_twin = self.twin_of(number, subject, &folder.digest).is_some();
        let Some(entry) = self.entries.get_mut(&number) else { return };
        if last.is_none() && !has_twin {
            // They have changed since one directory needed them again: now all need them.
            entry.facts.only.clear();
        }
        let is_known = last.as_ref().is_some_and(|last| last.state != Settled::Failed);
        entry.data = if is_known { Data::Known } else { Data::New(next.clone()) };
        let since = before.as_ref().map(|(look, since)| (look, *since));
        if !is_complete && let Some(until) = self.rule.look_again(&folder, since, now) {
            let stayed = before.filter(|(look, _)| look.digest == folder.digest);
            let before = Some(stayed.unwrap_or((folder, now)));
            entry.stage = Stage::Waiting { until, before };
            return;
        }
        if entry.arrival.is_forced {
            return self.process(now, number, (next, folder.newest), directories, BTreeMap::new());
        }
        let Some(last) = last else {
            return self.process(now, number, (next, folder.newest), directories, BTreeMap::new());
        };
        if last.is_dropped() {
            let why = format!(
                "these data were dropped (event {}); to process them: {}",
                last.arrival.0,
                subject.trigger_command()
            );
            return self.end(number, why);
        }
        // The folder may have changed without its data: readers leave files of their own there.
        let generation = Generation { changed: Some(folder.changed), ..last.generation.clone() };
        let done = processed_before(&last, &directories, &entry.facts.only);
        let wanted = needed(&directories, &entry.facts.only, &done);
        if wanted.is_empty() && entry.facts.only.is_empty() {
            let why = Some(format!("these data were processed (generation {})", generation.number));
            let facts = Facts { generation: Some(generation), why, directories: done, ..Facts::default() };
            return self.end_as_known(now, number, facts);
        }
        self.process(now, number, (generation, folder.newest), directories, done);
    }

    /// The data on disk, if nobody has processed them yet.
    fn next_generation(&self, subject: Subject, last: Option<&Last>, folder: &FolderLook) -> Generation {
        let open = self.entries.values().filter(|other| other.arrival.subject == subject);
        let open = open.filter_map(|other| other.facts.generation.as_ref().map(|own| own.number)).max();
        let newest = open.max(last.map(|last| last.generation.number)).unwrap_or_default();
        Generation { number: newest + 1, digest: folder.digest.clone(), changed: Some(folder.changed) }
    }

    /// Gives data to the directories that need them. `done`: those that have processed them for earlier arrivals.
    fn process(
        &mut self,
        now: f64,
        number: ArrivalNo,
        (generation, newest): (Generation, f64),
        directories: BTreeSet<PathBuf>,
        mut done: BTreeMap<String, String>,
    ) {
        let Some(entry) = self.entries.get(&number) else { return };
        // Of the same data, a directory may have processed them for this arrival before the service was restarted.
        let own = entry.facts.generation.as_ref().filter(|own| own.digest == generation.digest).cloned();
        if own.is_some() {
            done.extend(entry.facts.directories.clone());
        }
        let wanted = needed(&directories, &entry.facts.only, &done);
        let Arrival { subject, is_forced, is_complete, .. } = entry.arrival;
        if !is_forced
            && !is_on(Fault::SameDataGivenTwice)
            && let Some(other) = self.twin_of(number, subject, &generation.digest)
        {
            self.add_to_twin(number, other, wanted);
            return self.end(number, format!("these data are being processed (arrival {})", other.0));
        }
        let is_live = is_complete || now - newest < LIVE_SECONDS;
        let urgency = match (is_forced && is_complete, is_live) {
            (true, _) => Urgency::Asked,
            (false, true) => Urgency::Live,
            (false, false) => Urgency::Bulk,
        };
        let Some(entry) = self.entries.get_mut(&number) else { return };
        entry.facts.directories = done;
        entry.facts.generation = own.or(Some(generation));
        entry.facts.why = None;
        entry.stage =
            Stage::Dispatched { urgency, open: wanted.iter().map(|dir| (dir.clone(), None)).collect() };
        self.note(number);
        for directory in wanted {
            self.give(number, directory, urgency);
        }
        self.end_if_done(now, number);
    }

    /// Another arrival with which directories process the same data.
    fn twin_of(&self, number: ArrivalNo, subject: Subject, digest: &str) -> Option<ArrivalNo> {
        let is_twin = |other: ArrivalNo, entry: &Entry| {
            other != number
                && entry.arrival.subject == subject
                && matches!(entry.stage, Stage::Dispatched { .. })
                && entry.facts.generation.as_ref().is_some_and(|own| own.digest == digest)
        };
        let twin = self.entries.iter().find(|(other, entry)| is_twin(**other, entry));
        twin.map(|(other, _)| *other)
    }

    /// What one arrival wants is done for its twin, so that one record says who has the data.
    fn add_to_twin(&mut self, number: ArrivalNo, twin: ArrivalNo, wanted: BTreeSet<PathBuf>) {
        let only = self.entries.get(&number).map(|entry| entry.facts.only.clone()).unwrap_or_default();
        let Some(entry) = self.entries.get_mut(&twin) else { return };
        let Stage::Dispatched { urgency, open } = &mut entry.stage else { return };
        let mut added = Vec::new();
        for directory in wanted {
            let name = directory.display().to_string();
            let has_ended = entry.facts.directories.contains_key(&name) && !only.contains(&name);
            if !open.contains_key(&directory) && !has_ended {
                entry.facts.directories.remove(&name);
                open.insert(directory.clone(), None);
                added.push(directory);
            }
        }
        if added.is_empty() {
            return;
        }
        match only.is_empty() {
            true => entry.facts.only.clear(),
            false if entry.facts.only.is_empty() => {}
            false => entry.facts.only.extend(only),
        }
        let urgency = *urgency;
        self.note(twin);
        added.into_iter().for_each(|directory| self.give(twin, directory, urgency));
    }

    fn give(&mut self, number: ArrivalNo, directory: PathBuf, urgency: Urgency) {
        let Some(entry) = self.entries.get(&number) else { return };
        let subject = entry.arrival.subject;
        let generation = entry.facts.generation.as_ref().map_or(0, |generation| generation.number);
        let generation = if is_on(Fault::OtherDataSameRequest) { 0 } else { generation };
        self.effects.push(Effect::Dispatch { number, subject, directory, urgency, generation });
    }

    fn on_ended(&mut self, now: f64, number: ArrivalNo, directory: PathBuf, end: DirectoryEnd) {
        let Some(entry) = self.entries.get_mut(&number) else { return };
        let Stage::Dispatched { open, .. } = &mut entry.stage else { return };
        if !open.contains_key(&directory) {
            return;
        }
        match end {
            DirectoryEnd::Processed { .. } | DirectoryEnd::Cancelled { .. } => {
                open.remove(&directory);
                let words = match end {
                    DirectoryEnd::Cancelled { words } => {
                        entry.cancelled.push(format!("{}: {words}", directory.display()));
                        words
                    }
                    DirectoryEnd::Processed { words } => words,
                    DirectoryEnd::Refused { .. } | DirectoryEnd::Lost => String::new(),
                };
                entry.facts.directories.insert(directory.display().to_string(), words);
                if is_on(Fault::EndsWithFirstDirectory) {
                    open.clear();
                }
                if open.is_empty() {
                    self.end_if_done(now, number);
                } else {
                    self.note(number);
                }
            }
            DirectoryEnd::Refused { why } => {
                entry.facts.attempts += 1;
                entry.facts.why = Some(in_directory(&directory, &why));
                entry.lost.remove(&directory);
                open.insert(directory, Some(now + pace::pause(entry.facts.attempts)));
                self.give_up_or_note(now, number);
            }
            DirectoryEnd::Lost => {
                let again = Some(now + LOST_PAUSE).filter(|_| !is_on(Fault::LostRequestNotGivenAgain));
                open.insert(directory.clone(), again);
                entry.lost.insert(directory);
            }
        }
    }

    fn end_if_done(&mut self, now: f64, number: ArrivalNo) {
        let is_done =
            |entry: &Entry| matches!(&entry.stage, Stage::Dispatched { open, .. } if open.is_empty());
        if self.entries.get(&number).is_some_and(is_done)
            && let Some(entry) = self.entries.remove(&number)
        {
            let why = Some(entry.cancelled.join("; ")).filter(|why| !why.is_empty());
            let facts = Facts { why, ..entry.facts };
            self.remember(now, entry.arrival.subject, number, Settled::Done, &facts);
            self.write(number, Settled::Done, facts);
        }
    }

    /// Does what is due.
    fn wake(&mut self, now: f64) {
        self.ended.retain(|_, last| (now - last.at).abs() < STORED_AFTER);
        let mut looks = Vec::new();
        let mut gives = Vec::new();
        for (number, entry) in &mut self.entries {
            match &mut entry.stage {
                Stage::Waiting { until, before } if *until <= now => {
                    entry.stage = Stage::Looking { before: before.take(), again: false };
                    looks.push(entry.arrival.clone());
                }
                Stage::Dispatched { urgency, open } => {
                    for (directory, due) in open.iter_mut() {
                        if due.take_if(|due| *due <= now).is_some() {
                            gives.push((*number, directory.clone(), *urgency));
                        }
                    }
                }
                Stage::Looking { .. } | Stage::Waiting { .. } => {}
            }
        }
        looks.iter().for_each(|arrival| self.look(arrival));
        gives.into_iter().for_each(|(number, directory, urgency)| self.give(number, directory, urgency));
    }
}

/// The directories that have processed these data before, without those that need them again.
fn processed_before(
    last: &Last,
    directories: &BTreeSet<PathBuf>,
    again: &BTreeSet<String>,
) -> BTreeMap<String, String> {
    let mut done = last.directories.clone();
    for directory in directories.iter().filter(|directory| last.is_processed_in(directory)) {
        done.entry(name(directory)).or_insert_with(|| "before".to_owned());
    }
    done.retain(|directory, _| !again.contains(directory));
    done
}

/// The directories that need data which `done` have processed.
fn needed(
    directories: &BTreeSet<PathBuf>,
    only: &BTreeSet<String>,
    done: &BTreeMap<String, String>,
) -> BTreeSet<PathBuf> {
    let is_wanted = |directory: &&PathBuf| only.is_empty() || only.contains(&name(directory));
    let wanted = directories.iter().filter(is_wanted);
    wanted.filter(|directory| !done.contains_key(&name(directory))).cloned().collect()
}

fn in_directory(directory: &Path, why: &str) -> String {
    format!("{}: {why}", directory.display())
}

fn name(directory: &Path) -> String {
    directory.display().to_string()
}

#[cfg(test)]
#[path = "intake_tests.rs"]
mod tests;
