//! The database directory: run files, fragments, the files of jobs, and requests of other processes. Files that a node
//! writes may become visible on other hosts later.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use amore_core::{RunKey, TaskResults, events::Event, request::Request};
use amore_model::{
    PlanStamp,
    precedence::{AttemptMade, Made},
};
use amore_wire::task::{FromWorker, Outcome};

use crate::Moment;

/// One execution of a variable's function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Call(pub u64);

/// A result in a run file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// How the function ended.
    pub outcome: Outcome,
    /// The plan that it is from.
    pub stamp: PlanStamp,
    /// The attempt.
    pub attempt: AttemptMade,
    /// The run whose data the function was called with.
    pub of: RunKey,
    /// The call that computed it; `None` for an error that was stored without a call.
    pub call: Option<Call>,
    /// The calls that computed the values it depends on.
    pub inputs: BTreeMap<String, Call>,
}

impl Stored {
    fn made(&self) -> Made {
        Made::Planned { stamp: self.stamp, attempt: self.attempt }
    }
}

/// Results that wait to be merged into their run file.
#[derive(Clone, Debug)]
struct FragmentFile {
    key: RunKey,
    results: BTreeMap<String, Stored>,
    seen_from: Moment,
}

/// A request that was handed over.
#[derive(Clone, Debug)]
pub struct RequestFile {
    /// The request.
    pub request: Request,
    /// The process that made it.
    pub asker: u32,
    /// The service that made it.
    pub service: Option<u32>,
    /// The owner that has taken it.
    pub taken_by: Option<u32>,
    /// Events that were written for the process.
    pub events: Vec<Event>,
    /// Whether the last event was written.
    pub done: bool,
}

/// All files of the directory.
#[derive(Debug, Default)]
pub struct Files {
    run_files: BTreeMap<RunKey, BTreeMap<String, Stored>>,
    /// When each result was merged into its run file.
    stored_at: BTreeMap<(RunKey, String), Moment>,
    fragments: BTreeMap<PathBuf, FragmentFile>,
    next_fragment: u64,
    /// By token.
    pub manifests: BTreeMap<String, String>,
    /// By token: the messages of workers, and when each becomes visible.
    events: BTreeMap<String, Vec<(Moment, FromWorker)>>,
    /// By token: the job that has claimed the manifest.
    claims: BTreeMap<String, u64>,
    logs: BTreeMap<PathBuf, String>,
    /// Requests of other processes.
    pub requests: BTreeMap<u64, RequestFile>,
}

/// An error in a merge, if there is one.
pub type Wrong = Option<String>;

impl Files {
    /// The results of a run.
    pub fn run_file(&self, key: RunKey) -> Option<&BTreeMap<String, Stored>> {
        self.run_files.get(&key)
    }

    /// Writes a fragment.
    pub fn write_fragment(
        &mut self,
        key: RunKey,
        results: BTreeMap<String, Stored>,
        seen_from: Moment,
    ) -> PathBuf {
        self.next_fragment += 1;
        let name = format!("p{}_r{}.{:05}.ready.h5", key.0, key.1, self.next_fragment);
        let path = Path::new("/db/extracted_data").join(name);
        self.fragments.insert(path.clone(), FragmentFile { key, results, seen_from });
        path
    }

    /// The visible fragments, oldest first: of one run, or of all.
    pub fn scan(&self, key: Option<RunKey>, now: Moment) -> Vec<(RunKey, PathBuf)> {
        self.fragments
            .iter()
            .filter(|(_, fragment)| fragment.seen_from <= now && key.is_none_or(|key| key == fragment.key))
            .map(|(path, fragment)| (fragment.key, path.clone()))
            .collect()
    }

    /// When the first and the last results of a run were stored.
    pub fn stored_between(&self, key: RunKey) -> Option<(Moment, Moment)> {
        let at = || self.stored_at.iter().filter(|((of, _), _)| *of == key).map(|(_, at)| *at);
        at().min().zip(at().max())
    }

    /// Whether fragments wait.
    pub fn has_fragments(&self) -> bool {
        !self.fragments.is_empty()
    }

    /// Merges fragments into their run file, and removes them. Returns the plans of their variables' results in the run
    /// file afterwards.
    pub fn merge(
        &mut self,
        key: RunKey,
        paths: &BTreeSet<PathBuf>,
        now: Moment,
    ) -> (Vec<(String, PlanStamp)>, Wrong) {
        let file = self.run_files.entry(key).or_default();
        let mut answered = BTreeMap::new();
        let mut wrong = None;
        for path in paths {
            // A fragment that is not visible yet is not opened; a later scan finds it.
            let Some(fragment) = self.fragments.get(path).filter(|one| one.seen_from <= now) else {
                continue;
            };
            for (name, new) in &fragment.results {
                let stored = file.get(name);
                if stored.is_none_or(|stored| new.made().replaces(stored.made())) {
                    if let Some(stored) = stored.filter(|stored| stored.stamp > new.stamp) {
                        wrong = Some(format!(
                            "{name} of run {} of the plan {:?} replaces that of {:?}",
                            key.1, new.stamp, stored.stamp
                        ));
                    }
                    if new.of != key {
                        wrong = Some(format!("{name} of run {} is stored as one of run {}", new.of.1, key.1));
                    }
                    file.insert(name.clone(), new.clone());
                    self.stored_at.insert((key, name.clone()), now);
                }
                if let Some(stored) = file.get(name) {
                    answered.insert(name.clone(), stored.stamp);
                }
            }
            self.fragments.remove(path);
        }
        (answered.into_iter().collect(), wrong)
    }

    /// The results in the run file and in fragments that are from this plan or a later one; and those fragments.
    pub fn results_of(&self, key: RunKey, stamp: PlanStamp, now: Moment) -> (TaskResults, BTreeSet<PathBuf>) {
        let mut results = TaskResults::default();
        let mut fragments = BTreeSet::new();
        let of_file =
            self.run_files.get(&key).into_iter().flatten().map(|(name, stored)| (None, name, stored));
        let of_fragments = self
            .fragments
            .iter()
            .filter(|(_, fragment)| fragment.key == key && fragment.seen_from <= now)
            .flat_map(|(path, fragment)| {
                fragment.results.iter().map(move |(name, stored)| (Some(path), name, stored))
            });
        let mut best: BTreeMap<&String, (Option<&PathBuf>, &Stored)> = BTreeMap::new();
        for (path, name, stored) in of_file.chain(of_fragments) {
            let replaces = best.get(name).is_none_or(|(_, other)| stored.made().replaces(other.made()));
            if stored.stamp >= stamp && replaces {
                best.insert(name, (path, stored));
            }
        }
        for (name, (path, stored)) in best {
            fragments.extend(path.cloned());
            results.outcomes.insert(name.clone(), stored.outcome.clone());
            results.collected.insert(name.clone());
        }
        (results, fragments)
    }

    /// Variables of a run that have a value, from any plan.
    pub fn earlier_values(&self, key: RunKey) -> BTreeSet<String> {
        let of_file = self.run_files.get(&key).into_iter().flatten();
        let has_value =
            |(name, stored): (&String, &Stored)| (stored.outcome == Outcome::Value).then(|| name.clone());
        of_file.filter_map(has_value).collect()
    }

    /// Whether a result of this plan, or a later one, was visible at that moment.
    pub fn is_stored(&self, key: RunKey, name: &str, stamp: PlanStamp, at: Moment) -> bool {
        let fits = |stored: &Stored| stored.stamp >= stamp;
        let in_file = self.run_files.get(&key).and_then(|file| file.get(name)).is_some_and(fits)
            && self.stored_at.get(&(key, name.to_owned())).is_some_and(|since| *since <= at);
        let in_fragment = self.fragments.values().any(|fragment| {
            fragment.key == key && fragment.seen_from <= at && fragment.results.get(name).is_some_and(fits)
        });
        in_file || in_fragment
    }

    /// Claims a manifest for a job. Returns the job that holds the claim, if that is another one.
    pub fn claim(&mut self, token: &str, job: u64) -> Option<u64> {
        let by = *self.claims.entry(token.to_owned()).or_insert(job);
        (by != job).then_some(by)
    }

    /// Creates the file for a worker's messages.
    pub fn open_report(&mut self, token: &str) {
        self.events.entry(token.to_owned()).or_default();
    }

    /// Appends a message of a worker. If the file was removed, nobody reads it.
    pub fn report(&mut self, token: &str, message: FromWorker, seen_from: Moment) {
        let Some(lines) = self.events.get_mut(token) else { return };
        // A file only grows at its end, so later lines cannot become visible earlier.
        let seen_from = lines.last().map_or(seen_from, |(before, _)| seen_from.max(*before));
        lines.push((seen_from, message));
    }

    /// The visible messages of a token's workers, from this line on.
    pub fn reports(&self, token: &str, from: usize, now: Moment) -> Vec<FromWorker> {
        let lines = self.events.get(token).into_iter().flatten().skip(from);
        lines.take_while(|(seen, _)| *seen <= now).map(|(_, message)| message.clone()).collect()
    }

    /// Removes all files of an attempt.
    pub fn remove_attempt(&mut self, token: &str) {
        self.manifests.remove(token);
        self.events.remove(token);
        self.claims.remove(token);
    }

    /// Tokens of attempts that still have files.
    pub fn attempts_left(&self) -> BTreeSet<&str> {
        self.manifests.keys().chain(self.events.keys()).map(String::as_str).collect()
    }

    /// Slurm writes to a job's log.
    pub fn log(&mut self, path: &str, line: &str) {
        let log = self.logs.entry(PathBuf::from(path)).or_default();
        log.push_str(line);
        log.push('\n');
    }

    /// Reads a job's log.
    pub fn read_log(&self, path: &Path) -> Option<String> {
        self.logs.get(path).cloned()
    }
}
