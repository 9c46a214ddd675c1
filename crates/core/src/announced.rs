//! Results that workers have reported and that are not collected yet.
//!
//! A report comes by another way than its file, which a shared file system may show later on this host. Until the results
//! are collected the run is not done: the directory is searched again, and after a while the user is told that they are
//! missing.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use amore_model::PlanStamp;

use crate::tasks::RunKey;

/// From one search for a file that is not seen to the next; the last stands for all that follow.
const SEARCHES: [Duration; 5] = [
    Duration::from_millis(300),
    Duration::from_millis(700),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
];
/// How long a file may not be seen that a worker has reported. NFS keeps what it knows of a folder for up to a minute.
const PATIENCE: Duration = Duration::from_secs(90);
/// After so many searches the user is told what is waited for.
const TOLD_AFTER: usize = 3;

#[derive(Debug)]
struct Results {
    names: BTreeSet<String>,
    stamp: PlanStamp,
}

/// What a run waits for.
#[derive(Debug, Default)]
struct OfRun {
    results: Vec<Results>,
    /// Since when nothing else is on its way, and how often it was searched since.
    idle_since: Option<Duration>,
    searches: usize,
    search_at: Option<Duration>,
}

/// What is to be done about results that are not seen.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unseen {
    /// The directory is searched again.
    Search(RunKey),
    /// The same, and the user is told what is waited for.
    SearchAndTell(RunKey, BTreeSet<String>),
    /// They are not waited for any more.
    Missing(RunKey, BTreeSet<String>),
}

/// Results that are waited for, by run.
#[derive(Debug, Default)]
pub(crate) struct Announced {
    runs: BTreeMap<RunKey, OfRun>,
}

impl Announced {
    /// A task has ended, and its worker has reported these results as stored.
    pub(crate) fn add(&mut self, key: RunKey, names: BTreeSet<String>, stamp: PlanStamp) {
        if !names.is_empty() {
            self.runs.entry(key).or_default().results.push(Results { names, stamp });
        }
    }

    /// These are in the run's file, from these plans or later ones.
    pub(crate) fn stored(&mut self, key: RunKey, stored: &[(String, PlanStamp)]) {
        let Some(run) = self.runs.get_mut(&key) else { return };
        for results in &mut run.results {
            for (name, _) in stored.iter().filter(|(_, stamp)| *stamp >= results.stamp) {
                results.names.remove(name);
            }
        }
        run.results.retain(|results| !results.names.is_empty());
        if run.results.is_empty() {
            self.runs.remove(&key);
        }
    }

    /// Nothing is waited for of a run.
    pub(crate) fn drop_run(&mut self, key: RunKey) {
        self.runs.remove(&key);
    }

    /// Nothing is waited for.
    pub(crate) fn drop_all(&mut self) {
        self.runs.clear();
    }

    pub(crate) fn has(&self, key: RunKey) -> bool {
        self.runs.contains_key(&key)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// What is due by now. `is_idle`: is nothing on its way of a run?
    pub(crate) fn due(&mut self, now: Duration, is_idle: impl Fn(RunKey) -> bool) -> Vec<Unseen> {
        let mut due = Vec::new();
        for (key, run) in &mut self.runs {
            if !is_idle(*key) {
                continue;
            }
            let since = *run.idle_since.get_or_insert(now);
            let Some(at) = run.search_at else {
                let pause = SEARCHES.get(run.searches).unwrap_or(&SEARCHES[SEARCHES.len() - 1]);
                run.search_at = Some(now + *pause);
                continue;
            };
            if at > now {
                continue;
            }
            let names = || run.results.iter().flat_map(|results| results.names.iter().cloned()).collect();
            if now.saturating_sub(since) > PATIENCE {
                due.push(Unseen::Missing(*key, names()));
                continue;
            }
            run.search_at = None;
            run.searches += 1;
            due.push(if run.searches == TOLD_AFTER {
                Unseen::SearchAndTell(*key, names())
            } else {
                Unseen::Search(*key)
            });
        }
        for unseen in &due {
            if let Unseen::Missing(key, _) = unseen {
                self.runs.remove(key);
            }
        }
        due
    }

    /// When something is due.
    pub(crate) fn next_due(&self) -> Option<Duration> {
        self.runs.values().filter_map(|run| run.search_at).min()
    }
}

#[cfg(test)]
mod tests {
    use amore_model::{Proposal, Run};

    use super::*;

    const KEY: RunKey = (Proposal(1), Run(2));
    const STAMP: PlanStamp = PlanStamp { epoch: 1, micros: 5 };

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn waiting() -> Announced {
        let mut announced = Announced::default();
        announced.add(KEY, names(&["a", "b"]), STAMP);
        announced
    }

    #[test]
    fn what_is_stored_is_not_waited_for_and_an_older_plan_stores_nothing_of_it() {
        let mut announced = waiting();
        announced.stored(KEY, &[("a".to_owned(), STAMP)]);
        announced.stored(KEY, &[("b".to_owned(), PlanStamp { epoch: 1, micros: 4 })]);
        assert!(announced.has(KEY));
        announced.stored(KEY, &[("b".to_owned(), PlanStamp { epoch: 2, micros: 1 })]);
        assert!(announced.is_empty() && announced.next_due().is_none());
        announced.add(KEY, BTreeSet::new(), STAMP);
        assert!(announced.is_empty(), "nothing was reported");
    }

    #[test]
    fn a_file_that_is_not_seen_is_searched_for_then_reported_then_missing() {
        let mut announced = waiting();
        assert_eq!(announced.due(Duration::ZERO, |_| false), []);
        assert_eq!(announced.next_due(), None, "its fragment is being collected");
        let (mut searches, mut told) = (0, 0);
        let mut now = Duration::ZERO;
        loop {
            match announced.due(now, |_| true).pop() {
                None => now = announced.next_due().expect("it is waited for"),
                Some(Unseen::Search(KEY)) => searches += 1,
                Some(Unseen::SearchAndTell(KEY, which)) => {
                    assert_eq!(which, names(&["a", "b"]));
                    told += 1;
                }
                Some(Unseen::Missing(KEY, which)) => {
                    assert_eq!(which, names(&["a", "b"]));
                    break;
                }
                Some(other) => panic!("{other:?}"),
            }
        }
        assert!(searches > 10 && told == 1 && announced.is_empty());
        assert!(now > PATIENCE && now < PATIENCE * 2, "{now:?}");
    }
}
