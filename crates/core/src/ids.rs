//! Names that are given once: stamps of plans, tokens of attempts, ids of requests in the ledger.

use amore_model::{
    AttemptRank, AttemptToken, PlanStamp,
    planted::{Fault, is_on},
};

use crate::moment::Moment;

/// Makes them. Names of other owners differ by the epoch, those of other processes by the process's number.
#[derive(Debug)]
pub(crate) struct Ids {
    epoch: u64,
    process: u32,
    last_stamp: u64,
    tokens: u64,
}

impl Ids {
    pub(crate) fn new(epoch: u64, process: u32) -> Self {
        Ids { epoch, process, last_stamp: 0, tokens: 0 }
    }

    /// A stamp for a new plan: later than all before it, even if the clock went back.
    pub(crate) fn stamp(&mut self, now: Moment) -> PlanStamp {
        self.last_stamp = now.micros().max(self.last_stamp + 1);
        if is_on(Fault::StampFollowsClock) {
            self.last_stamp = now.micros();
        }
        PlanStamp { epoch: self.epoch, micros: self.last_stamp }
    }

    /// The token of the next attempt.
    pub(crate) fn token(&mut self, now: Moment) -> AttemptToken {
        self.tokens += 1;
        let rank = AttemptRank { epoch: self.epoch, serial: self.tokens };
        AttemptToken::new(rank, now.micros(), self.process)
    }

    /// An id that no other request has in the ledger.
    pub(crate) fn request(&mut self, now: Moment) -> String {
        format!("{}-{}", self.stamp(now).micros, self.process)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(unix: f64) -> Moment {
        Moment { unix, ..Moment::default() }
    }

    #[test]
    fn stamps_grow_while_the_clock_stands_or_goes_back() {
        let mut ids = Ids::new(3, 99);
        let stamps = [5.0, 5.0, 4.0, f64::NAN, 6.0].map(|unix| ids.stamp(at(unix)));
        assert!(stamps.is_sorted_by(|a, b| a < b), "{stamps:?}");
        assert_eq!(stamps[4], PlanStamp { epoch: 3, micros: 6_000_000 });
    }

    #[test]
    fn no_name_is_given_twice_at_the_same_moment() {
        let (mut ids, mut other) = (Ids::new(3, 99), Ids::new(3, 100));
        let tokens = [ids.token(at(5.0)), ids.token(at(4.0)), other.token(at(5.0))].map(String::from);
        assert_eq!(tokens, ["3-4c4b40-63-1", "3-3d0900-63-2", "3-4c4b40-64-1"]);
        assert_ne!(ids.request(at(5.0)), ids.request(at(5.0)));
    }
}
