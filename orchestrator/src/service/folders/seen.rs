//! What the service has seen of the folders of a proposal, and which of them it looks into next. To list the files of thousands of
//! runs takes a while on a cluster file system: a poll looks into few of them.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use amore_intake::{ArrivedData, Before, FolderLook};
use amore_model::Run;
use tokio::time::Instant;

/// At most so many folders are looked into at a poll, besides those that changed last.
const AT_ONCE: usize = 100;
/// So many of those that changed last are looked into at each poll,
const RECENT: usize = 16;
/// if they have changed within this time, in seconds.
const RECENT_FOR: f64 = 2.0 * 86_400.0;
/// The others are looked into after this time.
const OLD_POLL: Duration = Duration::from_secs(3600);

/// Data of one kind of a run.
pub(super) type DataOf = (Run, ArrivedData);

/// A folder, as it is listed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Listed {
    pub(super) of: DataOf,
    /// When it was changed: files were added, removed or renamed.
    pub(super) changed: f64,
}

/// The folders to be looked into now.
#[derive(Debug)]
pub(super) struct Portion {
    pub(super) chosen: Vec<Listed>,
    /// Others wait that were never looked into.
    pub(super) is_more: bool,
}

#[derive(Debug)]
struct Known {
    changed: f64,
    /// When its newest file was changed.
    newest: f64,
    digest: String,
    looked: Instant,
}

impl Known {
    fn age(&self, now: f64) -> f64 {
        now - self.changed.max(self.newest)
    }
}

/// What was seen.
#[derive(Debug, Default)]
pub(super) struct Seen {
    known: HashMap<DataOf, Known>,
    /// What was there when the folders were listed first, and still is.
    at_start: Option<HashSet<DataOf>>,
}

impl Seen {
    /// What to look into after the folders were listed.
    pub(super) fn next_portion(&mut self, listed: &[Listed], now: f64, at: Instant) -> Portion {
        let there: HashSet<DataOf> = listed.iter().map(|one| one.of).collect();
        self.known.retain(|of, _| there.contains(of));
        match &mut self.at_start {
            Some(at_start) => at_start.retain(|of| there.contains(of)),
            None => self.at_start = Some(there),
        }
        let is_news =
            |one: &&Listed| self.known.get(&one.of).is_none_or(|known| known.changed != one.changed);
        let (mut news, known): (Vec<&Listed>, Vec<&Listed>) = listed.iter().partition(is_news);
        news.sort_by(|a, b| b.changed.total_cmp(&a.changed));
        let is_more = news.len() > AT_ONCE;
        news.truncate(AT_ONCE);
        let (mut recent, mut old) = (Vec::new(), Vec::new());
        for one in known {
            let Some(known) = self.known.get(&one.of) else { continue };
            if known.age(now) < RECENT_FOR {
                recent.push((known.age(now), one));
            }
            if at.duration_since(known.looked) >= OLD_POLL {
                old.push((known.looked, one));
            }
        }
        recent.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        old.sort_by_key(|(looked, _)| *looked);
        let old = old.into_iter().take(AT_ONCE - news.len()).map(|(_, one)| one);
        let recent = recent.into_iter().take(RECENT).map(|(_, one)| one);
        let mut chosen: Vec<Listed> = news.into_iter().copied().collect();
        for one in recent.chain(old) {
            if !chosen.iter().any(|other| other.of == one.of) {
                chosen.push(*one);
            }
        }
        // Raw data of a run before its calibrated ones: once those are reported, values that were there may be theirs.
        let places: HashMap<Run, usize> =
            chosen.iter().enumerate().rev().map(|(place, one)| (one.of.0, place)).collect();
        chosen.sort_by_key(|one| (places.get(&one.of.0).copied(), one.of.1 == ArrivedData::Proc));
        Portion { chosen, is_more }
    }

    /// Whether the files are those that were seen before.
    pub(super) fn has(&mut self, listed: Listed, look: &FolderLook, at: Instant) -> bool {
        match self.known.get_mut(&listed.of) {
            Some(known) if known.digest == look.digest => {
                (known.changed, known.looked) = (listed.changed, at);
                true
            }
            _ => false,
        }
    }

    /// What was known of data before they were looked into now.
    pub(super) fn before(&self, of: DataOf) -> Before {
        let was_there = self.at_start.as_ref().is_none_or(|at_start| at_start.contains(&of));
        if was_there && !self.known.contains_key(&of) { Before::There } else { Before::Other }
    }

    /// They have been seen.
    pub(super) fn insert(&mut self, listed: Listed, look: &FolderLook, at: Instant) {
        let (newest, digest) = (look.newest, look.digest.clone());
        self.known.insert(listed.of, Known { changed: listed.changed, newest, digest, looked: at });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: f64 = 10_000_000.0;

    fn listed(run: u32, changed: f64) -> Listed {
        Listed { of: (Run(run), ArrivedData::Raw), changed }
    }

    fn look(digest: &str, newest: f64) -> FolderLook {
        FolderLook { files: 1, newest, digest: digest.to_owned(), changed: newest, has_marker: false }
    }

    fn runs(portion: &Portion) -> Vec<u32> {
        portion.chosen.iter().map(|one| one.of.0.0).collect()
    }

    #[test]
    fn all_are_looked_into_at_the_start_in_portions_the_newest_first() {
        let (mut seen, at) = (Seen::default(), Instant::now());
        let all: Vec<Listed> = (0..250).map(|run| listed(run, f64::from(run))).collect();
        let mut found = Vec::new();
        for (is_more, least) in [(true, 150), (true, 50), (false, 0)] {
            let portion = seen.next_portion(&all, NOW, at);
            assert_eq!((portion.is_more, portion.chosen.last().unwrap().of.0), (is_more, Run(least)));
            found.extend(runs(&portion));
            portion.chosen.iter().for_each(|one| seen.insert(*one, &look("d", one.changed), at));
        }
        assert_eq!(found, (0..250).rev().collect::<Vec<_>>());
        assert!(runs(&seen.next_portion(&all, NOW, at)).is_empty(), "they are old");
    }

    #[test]
    fn raw_data_of_a_run_are_looked_into_before_its_calibrated_ones() {
        let of = |run, data, changed| Listed { of: (Run(run), data), changed };
        let all = [
            of(1, ArrivedData::Raw, 10.0),
            of(1, ArrivedData::Proc, 40.0),
            of(2, ArrivedData::Raw, 30.0),
            of(3, ArrivedData::Proc, 20.0),
        ];
        let portion = Seen::default().next_portion(&all, NOW, Instant::now());
        let order: Vec<DataOf> = portion.chosen.iter().map(|one| one.of).collect();
        let (raw, proc) = (ArrivedData::Raw, ArrivedData::Proc);
        assert_eq!(order, [(Run(1), raw), (Run(1), proc), (Run(2), raw), (Run(3), proc)]);
    }

    #[test]
    fn those_that_changed_last_are_looked_into_each_time_and_the_others_every_hour() {
        let (mut seen, at) = (Seen::default(), Instant::now());
        let all: Vec<Listed> = (0..40).map(|run| listed(run, NOW - 60.0 * f64::from(run))).collect();
        seen.next_portion(&all, NOW, at);
        all.iter().for_each(|one| seen.insert(*one, &look("d", one.changed), at));
        assert_eq!(runs(&seen.next_portion(&all, NOW, at)), (0..16).collect::<Vec<_>>());
        assert_eq!(runs(&seen.next_portion(&all, NOW, at + OLD_POLL)).len(), 40);
        assert!(seen.has(all[39], &look("d", 0.0), at + OLD_POLL));
        assert_eq!(runs(&seen.next_portion(&all, NOW, at + OLD_POLL)).len(), 39);
        assert!(!seen.has(all[39], &look("e", NOW), at));
        seen.insert(all[39], &look("e", NOW), at);
        let next = runs(&seen.next_portion(&all, NOW, at));
        assert!(next.contains(&39) && next.len() == 16, "it is among the last that changed: {next:?}");
    }

    #[test]
    fn what_appears_or_changes_later_is_told_from_what_was_there() {
        let (mut seen, at) = (Seen::default(), Instant::now());
        let (first, second) = (listed(1, 10.0), listed(2, 10.0));
        seen.next_portion(&[first], NOW, at);
        assert_eq!(seen.before(first.of), Before::There);
        seen.insert(first, &look("d", 10.0), at);
        assert_eq!(seen.before(first.of), Before::Other, "its files have changed");
        assert_eq!(runs(&seen.next_portion(&[first, second], NOW, at)), [2]);
        assert_eq!(seen.before(second.of), Before::Other);
        seen.next_portion(&[second], NOW, at);
        assert_eq!(runs(&seen.next_portion(&[first, second], NOW, at)), [1, 2], "it has come back");
        assert_eq!(seen.before(first.of), Before::Other);
    }
}
