//! The part of a scenario that is about a service: data that arrive, events about them, and faults of the service.

use std::time::Duration;

use amore_intake::ArrivedData;
use amore_model::RunData;

use super::{About, Act, Scenario, TROUBLED};
use crate::Generator;

/// A run that never has data.
const NO_RUN: u32 = 99;

impl Scenario {
    /// Lets a service process the runs.
    pub(super) fn add_service(&mut self, chance: &mut Generator) {
        self.service = true;
        // Nobody has processed anything yet, and every act of a version before would be one of a service.
        self.acts.retain(|(at, act)| !(at.is_zero() && matches!(act, Act::Reprocess { .. })));
        // `amore follow` waits until the owner of the directory has ended, and a service does not.
        self.acts.retain(|(_, act)| !matches!(act, Act::Upgrade | Act::Follow));
        self.make_some_need_proc(chance);
        let mut id = 0;
        for run in 1..=self.runs {
            self.add_arrival(chance, run, ArrivedData::Raw, &mut id);
            if chance.chance(2, 3) {
                self.add_arrival(chance, run, ArrivedData::Proc, &mut id);
            }
        }
        for about in [About::OtherProposal, About::Nonsense] {
            if chance.chance(1, 6) {
                id += 1;
                self.acts.push((some_time(chance), Act::Event { id, about, complete: true }));
            }
        }
        if chance.chance(1, 40) {
            id += 1;
            let about = About::Run(NO_RUN, ArrivedData::Raw);
            self.acts.push((some_time(chance), Act::Event { id, about, complete: true }));
        }
        for _ in 0..chance.below(4) {
            let act = fault(chance);
            self.acts.push((some_time(chance), act));
        }
        if chance.chance(1, 3) {
            self.add_trouble_while_data_arrive(chance, id + 1);
        }
    }

    /// Faults that belong together, while or after some data arrive.
    fn add_trouble_while_data_arrive(&mut self, chance: &mut Generator, id: u32) {
        let s = Duration::from_secs;
        let data = |(at, act): &(Duration, Act)| match act {
            Act::Data { run, data, pieces, every } => {
                Some((*at, *every * (pieces - 1), About::Run(*run, *data)))
            }
            _ => None,
        };
        let arrivals: Vec<(Duration, Duration, About)> = self.acts.iter().filter_map(data).collect();
        let Some((begin, takes, about)) = arrivals.get(chance.below(arrivals.len() as u64) as usize).copied()
        else {
            return;
        };
        let end = begin + takes;
        let host = chance.below(2) as usize;
        match chance.below(3) {
            // One of the directories has not got the data yet when services follow one another.
            0 => {
                self.acts.push((end, Act::Event { id, about, complete: true }));
                self.acts.push((end, Act::OtherBroken(chance.between(s(60), s(150)))));
                let first = end + chance.between(s(6), s(16));
                for at in [first, first + chance.between(s(8), s(30))] {
                    self.acts.extend([0, 1].map(|host| (at, Act::KillService(host))));
                }
            }
            // A service goes on after another one has followed it.
            1 => {
                let at = end + chance.between(s(10), s(25));
                self.acts.push((at, Act::SuspendService(host, chance.between(s(16), s(40)))));
                let at = at + chance.between(s(20), s(50));
                self.acts.push((at, Act::SuspendService(1 - host, chance.between(s(16), s(40)))));
            }
            // The data change between a look at them and at what was processed.
            _ => {
                let by = chance.between(s(3), s(20));
                self.acts.push((begin, Act::LedgerSlow(by, takes + s(60))));
            }
        }
    }

    /// Some variables need calibrated data, and so do those that depend on them.
    fn make_some_need_proc(&mut self, chance: &mut Generator) {
        for at in 0..self.variables.len() {
            let needs_proc = |name: &String| {
                let mut before = self.variables.iter().take(at);
                before.any(|one| one.spec.name == *name && one.needs_data() == ArrivedData::Proc)
            };
            let inherits = self.variables[at].needs.iter().any(needs_proc);
            if inherits || chance.chance(1, 3) {
                self.variables[at].spec.data = Some(RunData::Proc);
            }
        }
    }

    /// Data arrive, perhaps in pieces, perhaps twice, and perhaps with events: early, late, twice, or about a part.
    fn add_arrival(&mut self, chance: &mut Generator, run: u32, data: ArrivedData, id: &mut u32) {
        let s = Duration::from_secs;
        let begin = chance.between(s(0), s(250));
        let (pieces, every) = (1 + chance.below(4) as u32, chance.between(s(1), s(25)));
        self.acts.push((begin, Act::Data { run, data, pieces, every }));
        let end = begin + every * (pieces - 1);
        let about = About::Run(run, data);
        if chance.chance(3, 4) {
            *id += 1;
            let (id, complete) = (*id, chance.chance(3, 4));
            let at = match chance.below(4) {
                0 => begin.saturating_sub(chance.between(s(0), s(60))),
                1 => end + chance.between(s(0), s(90)),
                _ => end + chance.between(s(0), s(2)),
            };
            self.acts.push((at, Act::Event { id, about, complete }));
            if chance.chance(1, 3) {
                let again = at + chance.between(s(0), s(60));
                self.acts.push((again, Act::Event { id, about, complete }));
            }
        }
        if chance.chance(1, 3) {
            *id += 1;
            let at = begin + chance.between(s(0), s(80));
            self.acts.push((at, Act::Event { id: *id, about, complete: chance.chance(1, 2) }));
        }
        if chance.chance(1, 4) {
            // It is migrated again.
            let later = end + chance.between(s(5), s(120));
            self.acts.push((later, Act::Data { run, data, pieces: 1, every }));
        }
        if chance.chance(1, 6) {
            self.acts.push((end + chance.between(s(0), s(100)), Act::Trigger(run, data)));
        }
    }

    /// Whether an event is about a run that never has data.
    pub(in crate::world) fn has_lost_events(&self) -> bool {
        let is_lost = |act: &Act| match act {
            Act::Event { about: About::Run(run, data), .. } => {
                let has = |act: &Act| matches!(act, Act::Data { run: of, data: kind, .. } if (of, kind) == (run, data));
                !self.acts.iter().any(|(_, act)| has(act))
            }
            _ => false,
        };
        self.acts.iter().any(|(_, act)| is_lost(act))
    }

    /// How many requests for the same data faults explain, in addition to one for each version of the data.
    pub(in crate::world) fn explained_requests(&self) -> u32 {
        let explains = |act: &Act| match act {
            // What had ended was not stored, or was given to a directory that did not get it.
            Act::Kill(_)
            | Act::KillService(_)
            | Act::RestartService(_)
            | Act::Interrupt(_)
            | Act::Suspend(..)
            | Act::SuspendService(..)
            | Act::ClockJumps(..)
            | Act::LedgerAway(_)
            | Act::LedgerSlow(..) => 1,
            _ => 0,
        };
        self.acts.iter().map(|(_, act)| explains(act)).sum()
    }
}

fn some_time(chance: &mut Generator) -> Duration {
    let within = if chance.chance(1, 2) { Duration::from_secs(60) } else { TROUBLED };
    chance.between(Duration::from_millis(50), within)
}

fn fault(chance: &mut Generator) -> Act {
    let s = Duration::from_secs;
    let host = chance.below(2) as usize;
    match chance.below(8) {
        0..=2 => Act::KillService(host),
        3 => Act::RestartService(host),
        4 => Act::SuspendService(host, chance.between(s(1), s(60))),
        5 => Act::Unlistable(chance.between(s(5), s(90))),
        6 => Act::OtherBroken(chance.between(s(5), s(90))),
        _ => Act::LedgerAway(chance.between(s(1), s(60))),
    }
}
