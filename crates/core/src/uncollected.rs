//! What of each run is not in the table yet: fragments that the collector has, and searches of the directory that have
//! not ended.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use amore_model::PlanStamp;

use crate::{
    announced::{Announced, Unseen},
    tasks::RunKey,
};

/// Fragments and scans in progress, by run.
#[derive(Debug, Default)]
pub struct Uncollected {
    fragments: BTreeMap<RunKey, usize>,
    scans: BTreeMap<RunKey, usize>,
    /// Scans of the whole directory.
    scans_of_all: usize,
    /// When the directory was last searched for fragments of a run, for runs that are not forgotten.
    searched: BTreeMap<RunKey, Duration>,
    announced: Announced,
}

impl Uncollected {
    /// The collector was given a fragment.
    pub fn given(&mut self, key: RunKey) {
        *self.fragments.entry(key).or_default() += 1;
    }

    /// So many fragments of a run are in the table, or set aside.
    pub fn collected(&mut self, key: RunKey, fragments: usize) {
        if let Some(left) = self.fragments.get_mut(&key) {
            *left = left.saturating_sub(fragments);
            if *left == 0 {
                self.fragments.remove(&key);
            }
        }
    }

    /// The directory is searched for fragments of this run now.
    pub fn searched(&mut self, key: RunKey, now: Duration) {
        self.searched.insert(key, now);
    }

    /// Was the directory searched for fragments of this run since that time?
    pub fn is_searched_since(&self, key: RunKey, since: Duration) -> bool {
        self.searched.get(&key).is_some_and(|at| *at >= since)
    }

    /// Nothing of this run is open any more.
    pub fn forget(&mut self, key: RunKey) {
        self.searched.remove(&key);
    }

    /// The directory is searched for fragments: of one run, or of all.
    pub fn scan_started(&mut self, key: Option<RunKey>) {
        match key {
            Some(key) => *self.scans.entry(key).or_default() += 1,
            None => self.scans_of_all += 1,
        }
    }

    /// The search is over.
    pub fn scan_ended(&mut self, key: Option<RunKey>) {
        match key {
            Some(key) => {
                if let Some(left) = self.scans.get_mut(&key) {
                    *left -= 1;
                    if *left == 0 {
                        self.scans.remove(&key);
                    }
                }
            }
            None => self.scans_of_all = self.scans_of_all.saturating_sub(1),
        }
    }

    /// A task has ended, and its worker has reported these results as stored.
    pub fn announced(&mut self, key: RunKey, names: BTreeSet<String>, stamp: PlanStamp) {
        self.announced.add(key, names, stamp);
    }

    /// These are in the run's file, from these plans or later ones.
    pub fn stored(&mut self, key: RunKey, stored: &[(String, PlanStamp)]) {
        self.announced.stored(key, stored);
    }

    /// What was reported of a run is not waited for.
    pub fn drop_announced(&mut self, key: RunKey) {
        self.announced.drop_run(key);
    }

    /// Nothing that was reported is waited for.
    pub fn drop_all_announced(&mut self) {
        self.announced.drop_all();
    }

    /// What is due about results that were reported and are not seen.
    pub(crate) fn unseen(&mut self, now: Duration) -> Vec<Unseen> {
        if self.announced.is_empty() {
            return Vec::new();
        }
        let Uncollected { fragments, scans, scans_of_all, announced, searched: _ } = self;
        let is_idle = |key| *scans_of_all == 0 && !fragments.contains_key(&key) && !scans.contains_key(&key);
        announced.due(now, is_idle)
    }

    /// When something is due about them.
    pub fn next_due(&self) -> Option<Duration> {
        self.announced.next_due()
    }

    /// Is everything of this run in the table, as far as is known?
    pub fn is_settled(&self, key: RunKey) -> bool {
        self.scans_of_all == 0
            && !self.fragments.contains_key(&key)
            && !self.scans.contains_key(&key)
            && !self.announced.has(key)
    }

    /// Is everything in the table?
    pub fn is_empty(&self) -> bool {
        self.scans_of_all == 0
            && self.fragments.is_empty()
            && self.scans.is_empty()
            && self.announced.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use amore_model::{Proposal, Run};

    use super::*;

    #[test]
    fn a_run_is_settled_when_its_fragments_and_searches_are_done() {
        let key = (Proposal(1), Run(2));
        let mut uncollected = Uncollected::default();
        assert!(uncollected.is_settled(key));
        uncollected.scan_started(Some(key));
        uncollected.given(key);
        uncollected.scan_ended(Some(key));
        assert!(!uncollected.is_settled(key));
        assert!(uncollected.is_settled((Proposal(1), Run(3))));
        // More than was given is no harm: a fragment may be found twice.
        uncollected.collected(key, 2);
        assert!(uncollected.is_settled(key) && uncollected.is_empty());
        uncollected.scan_started(None);
        assert!(!uncollected.is_settled(key));
        uncollected.scan_ended(None);
        assert!(uncollected.is_empty());
    }
}
