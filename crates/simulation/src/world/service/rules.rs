//! The rules about a service, which are checked when nothing is left to do.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use amore_intake::{ArrivedData, Settled, Subject};
use amore_model::Run;

use super::{
    super::{
        PROPOSAL, World,
        coordinator::dir,
        files::Call,
        scenario::{Act, Variable},
    },
    Life,
    data::DataOf,
    directory::OTHER,
    sources::subject,
};
use crate::Moment;

/// Nothing must happen for so long.
const QUIET: Duration = Duration::from_secs(30);
/// Everything must have ended so long after the last fault.
const PATIENCE: Duration = Duration::from_secs(3 * 3600);
/// An event without data is given up after about a day.
const PATIENCE_WITH_LOST_EVENTS: Duration = Duration::from_secs(40 * 3600);
/// A service that was told to end must have ended after this time.
const STOPS_WITHIN: Duration = Duration::from_secs(15);
/// An event fails after so many attempts.
const ATTEMPTS: u32 = 30;

/// What the rules depend on.
#[derive(Debug, Default)]
pub(in crate::world) struct Records {
    /// How often a directory has processed data.
    processed: BTreeMap<(PathBuf, Subject), u32>,
    /// The data that the other directory processed last.
    other: BTreeMap<DataOf, u32>,
    /// The versions of raw and calibrated data when a function was called.
    calls: BTreeMap<Call, (u32, u32)>,
    /// When an event about data was sent last, apart from reports about folders.
    pub(in crate::world) told: BTreeMap<DataOf, Moment>,
    /// When data were changed last.
    pub(in crate::world) grown: BTreeMap<DataOf, Moment>,
    /// When all services were told to end.
    stopped: Option<Moment>,
}

impl Records {
    pub(super) fn processed(&mut self, directory: &Path, subject: Subject) {
        *self.processed.entry((directory.to_owned(), subject)).or_default() += 1;
    }

    pub(super) fn other_has(&mut self, of: DataOf, version: u32) {
        // Of two requests, the later one wins, whichever ends first.
        let last = self.other.entry(of).or_default();
        *last = version.max(*last);
    }
}

impl World {
    /// Records which data a function is called with.
    pub(in crate::world) fn note_data_of(&mut self, call: Call, run: Run) {
        if self.scenario.service {
            let version = |data| self.facility.data.version((run.0, data));
            let versions = (version(ArrivedData::Raw), version(ArrivedData::Proc));
            self.facility.records.calls.insert(call, versions);
        }
    }

    /// Whether services have done everything and have ended. Checks the rules when they have done everything.
    pub(in crate::world) fn services_are_done(&mut self) -> bool {
        let calm = self.calm.unwrap_or(self.now);
        if self.facility.closing {
            let is_over = self.facility.services.values().all(|service| service.life == Life::Ended);
            let since = self.facility.records.stopped.unwrap_or(self.now);
            if !is_over && self.now - since > STOPS_WITHIN {
                self.violate("a service ends soon after SIGTERM", "it runs on".to_owned());
            }
            if is_over {
                // What follows has its own time.
                self.calm = Some(self.now);
            }
            return is_over;
        }
        if let Some(open) = self.left_to_do() {
            self.facility.quiet_since = None;
            let patience = if self.scenario.has_lost_events() { PATIENCE_WITH_LOST_EVENTS } else { PATIENCE };
            if self.now - calm > patience {
                self.violate("no event is open for ever", open);
            }
            return false;
        }
        let since = *self.facility.quiet_since.get_or_insert(self.now);
        let has_watched = |service: &super::Service| service.watched > since;
        let is_quiet = self.now - since > QUIET && self.facility.services.values().any(has_watched);
        if is_quiet {
            self.check_services();
            self.facility.closing = true;
            self.facility.records.stopped = Some(self.now);
            let numbers: Vec<u32> = self.facility.services.keys().copied().collect();
            numbers.into_iter().for_each(|number| self.stop_service(number));
        }
        false
    }

    /// What services have to do.
    fn left_to_do(&self) -> Option<String> {
        if let Some(message) = self.facility.waiting.first() {
            return Some(format!("{message:?} is not stored"));
        }
        let mut rows = self.facility.store.rows();
        if let Some((number, row)) = rows.find(|(_, row)| row.state == Settled::Open) {
            return Some(format!("arrival {number} is open: {row:?}"));
        }
        let mut services = self.facility.services.values();
        let serving = services.find(|service| matches!(service.life, Life::Serves(_)));
        let Some(service) = serving else { return Some("nobody serves".to_owned()) };
        if !service.given.is_empty() || !service.unwritten.is_empty() {
            return Some("a service works".to_owned());
        }
        let mut others = self.processes.values().filter(|process| process.is_alive() && !process.serves);
        if let Some(process) = others.next() {
            return Some(format!("{} runs", process.name()));
        }
        let is_idle = self.processes.values().filter_map(|process| process.owner()).any(|owner| {
            let (tasks, requests) = owner.core.size();
            tasks + requests == 0
        });
        (!is_idle || self.some_job_may_end()).then(|| self.open_in_words())
    }

    fn check_services(&mut self) {
        if let Some(words) = self.event_without_end() {
            self.violate("failed events are listed, and none is dropped", words);
        }
        if let Some(words) = self.processed_too_often() {
            self.violate("nothing is processed more often than faults explain", words);
        }
        if let Some(words) = self.not_of_the_last_data() {
            self.violate("each run is processed with its last data", words);
        }
        if !self.scenario.has_faults_of_jobs()
            && let Some(words) = self.unexpected_outcome()
        {
            self.violate("no outcome is wrong without a fault that explains it", words);
        }
    }

    fn event_without_end(&self) -> Option<String> {
        for (_, act) in &self.scenario.acts {
            let Act::Event { id, .. } = act else { continue };
            let id = event_id(*id);
            let mut rows = self.facility.store.rows();
            let Some((number, row)) = rows.find(|(_, row)| row.source == id) else {
                return Some(format!("{id} was dropped"));
            };
            let is_right = match row.subject {
                None => row.state == Settled::Failed,
                Some(of) if of.proposal != PROPOSAL => row.state == Settled::Done && row.facts.why.is_some(),
                Some(of) if self.facility.data.version((of.run.0, ArrivedData::Raw)) == 0 => {
                    row.state == Settled::Failed && row.facts.attempts >= ATTEMPTS
                }
                Some(_) => row.state == Settled::Done,
            };
            if !is_right {
                return Some(format!("arrival {number} has ended as {row:?}"));
            }
        }
        None
    }

    fn processed_too_often(&self) -> Option<String> {
        let faults = self.scenario.explained_requests();
        self.facility.records.processed.iter().find_map(|((directory, of), times)| {
            let forced =
                self.facility.store.rows().filter(|(_, row)| {
                    row.subject == Some(*of) && (row.forced || !row.facts.only.is_empty())
                });
            let versions = self.facility.data.version((of.run.0, of.data));
            let explained = versions + forced.count() as u32 + faults;
            (*times > explained).then(|| {
                let data = of.data.word();
                format!(
                    "{} has processed {data} of run {} {times} times; {explained} are explained",
                    directory.display(),
                    of.run
                )
            })
        })
    }

    fn not_of_the_last_data(&self) -> Option<String> {
        let listed: Vec<DataOf> = self.facility.data.listed().into_iter().map(|(of, _)| of).collect();
        listed.into_iter().find_map(|of| {
            let last = self.facility.data.version(of);
            let other = self.facility.records.other.get(&of);
            if other != Some(&last) && !self.may_be_left_to_commands(of) {
                return Some(format!("{OTHER} has {other:?} of {of:?}, whose last version is {last}"));
            }
            if self.history.has_cancellations()
                || !self.history.root_cancelled.is_empty()
                || self.may_be_left_to_commands(of)
            {
                return None;
            }
            let variables = self.scenario.variables.iter();
            let wanted = variables.filter(|one| one.needs_data() == of.1 && !one.spec.transient);
            wanted.into_iter().find_map(|variable| self.not_of_version(of, last, variable))
        })
    }

    fn not_of_version(&self, of: DataOf, last: u32, variable: &Variable) -> Option<String> {
        let name = &variable.spec.name;
        let file = self.files.run_file((PROPOSAL, subject(of).run));
        let Some(stored) = file.and_then(|file| file.get(name)) else {
            return Some(format!("{} has no {name} of run {}", dir().path().display(), of.0));
        };
        let (raw, proc) = self.facility.records.calls.get(&stored.call?).copied()?;
        let version = if of.1 == ArrivedData::Raw { raw } else { proc };
        (version != last).then(|| {
            format!(
                "{name} of run {} is of version {version} of {}, and the last is {last}",
                of.0,
                of.1.word()
            )
        })
    }

    /// Whether a user's command may have processed these data while they still grew, without an event about them: a service
    /// that starts later takes them as processed.
    fn may_be_left_to_commands(&self, of: DataOf) -> bool {
        let names = |act: &Act| matches!(act, Act::Reprocess { runs, .. } if runs.contains(&of.0));
        let records = &self.facility.records;
        self.scenario.acts.iter().any(|(_, act)| names(act)) && records.told.get(&of) < records.grown.get(&of)
    }
}

/// The identifier of an event at its source.
pub(in crate::world) fn event_id(id: u32) -> String {
    format!("event {id}")
}
