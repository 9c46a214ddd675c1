//! Which of two results for the same variable is kept. Pure.
//!
//! A result of an older plan never replaces one of a newer plan, in whatever order files arrive. Within a plan, the later attempt
//! wins; an attempt replaces itself, so that a file can be merged twice.
//!
//! For results of programs without provenance, only the time of their file is known; between them and other results, the clock
//! decides.

use std::cmp::Ordering;

use amore_model::PlanStamp;

use crate::value::Provenance;

/// When a result was created, as far as known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    /// For a plan of Amore.
    Planned {
        /// The plan.
        stamp: PlanStamp,
        /// The attempt.
        attempt: u32,
    },
    /// By another program: when its file was written, in microseconds since 1970.
    Foreign {
        /// Unix time in microseconds.
        micros: u64,
    },
}

impl Made {
    /// From a result's provenance.
    pub fn of(provenance: &Provenance) -> Made {
        if provenance.foreign {
            Made::Foreign { micros: provenance.stamp.micros }
        } else {
            Made::Planned { stamp: provenance.stamp, attempt: provenance.attempt }
        }
    }

    fn micros(self) -> u64 {
        match self {
            Made::Planned { stamp, .. } => stamp.micros,
            Made::Foreign { micros } => micros,
        }
    }

    /// Whether a new result replaces the stored one.
    pub fn replaces(self, stored: Made) -> bool {
        let order = match (self, stored) {
            (Made::Planned { stamp, attempt }, Made::Planned { stamp: other, attempt: other_attempt }) => {
                stamp.cmp(&other).then(attempt.cmp(&other_attempt))
            }
            _ => self.micros().cmp(&stored.micros()),
        };
        order != Ordering::Less
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(epoch: u64, micros: u64, attempt: u32) -> Made {
        Made::Planned { stamp: PlanStamp { epoch, micros }, attempt }
    }

    #[test]
    fn the_later_plan_wins_and_the_epoch_comes_first() {
        assert!(planned(1, 200, 1).replaces(planned(1, 100, 9)));
        assert!(!planned(1, 100, 9).replaces(planned(1, 200, 1)));
        assert!(planned(2, 100, 1).replaces(planned(1, 200, 1)));
        assert!(!planned(1, 200, 1).replaces(planned(2, 100, 1)));
    }

    #[test]
    fn within_a_plan_the_later_attempt_wins_and_the_same_one_replaces_itself() {
        assert!(planned(1, 100, 2).replaces(planned(1, 100, 1)));
        assert!(!planned(1, 100, 1).replaces(planned(1, 100, 2)));
        assert!(planned(1, 100, 1).replaces(planned(1, 100, 1)));
    }

    #[test]
    fn with_foreign_results_the_clock_decides() {
        assert!(Made::Foreign { micros: 300 }.replaces(planned(7, 200, 1)));
        assert!(!Made::Foreign { micros: 100 }.replaces(planned(7, 200, 1)));
        assert!(planned(0, 200, 1).replaces(Made::Foreign { micros: 100 }));
        assert!(!planned(9, 50, 1).replaces(Made::Foreign { micros: 100 }));
        assert!(Made::Foreign { micros: 100 }.replaces(Made::Foreign { micros: 100 }));
    }

    #[test]
    fn the_order_of_arrival_does_not_matter_among_our_own() {
        let all = [planned(1, 1, 1), planned(1, 1, 2), planned(1, 2, 1), planned(2, 0, 1), planned(2, 0, 3)];
        for a in all {
            for b in all {
                let first_a = if b.replaces(a) { b } else { a };
                let first_b = if a.replaces(b) { a } else { b };
                assert_eq!(first_a, first_b);
            }
        }
    }
}
