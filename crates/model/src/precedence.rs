//! Which of two results for the same variable is kept. Pure.
//!
//! A result of an older plan never replaces one of a newer plan, in whatever order files arrive. Within a plan, the later attempt
//! wins: dependents were computed from its value, while an attempt that was given up (its node was cut off, say) may still write
//! files. An attempt replaces itself, so that a file can be merged twice.
//!
//! For results of programs without provenance, only the time of their file is known; between them and other results, the clock
//! decides.

use std::cmp::Ordering;

use crate::{
    AttemptRank, AttemptToken, PlanStamp,
    planted::{Fault, is_on},
};

/// When a result was created, as far as known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    /// For a plan of Amore.
    Planned {
        /// The plan.
        stamp: PlanStamp,
        /// The attempt.
        attempt: AttemptMade,
    },
    /// By another program: when its file was written, in microseconds since 1970.
    Foreign {
        /// Unix time in microseconds.
        micros: u64,
    },
}

/// An attempt, as far as it is known from its results. Attempts are ordered by their start. Those of earlier versions have
/// no rank and come first, ordered by number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct AttemptMade {
    rank: AttemptRank,
    /// How often Slurm has requeued its job. An earlier execution may still be running on an unreachable node.
    restarts: u32,
    number: u32,
}

impl AttemptMade {
    /// Created from the attempt's token, how often Slurm had requeued its job, and its number.
    pub fn new(token: Option<&AttemptToken>, restarts: u32, number: u32) -> Self {
        let rank = token.and_then(AttemptToken::rank).unwrap_or_default();
        AttemptMade { rank, restarts, number }
    }
}

impl Made {
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
        order != Ordering::Less || is_on(Fault::LastFragmentWins)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn planned(epoch: u64, micros: u64, attempt: AttemptMade) -> Made {
        Made::Planned { stamp: PlanStamp { epoch, micros }, attempt }
    }

    fn attempt(epoch: u64, serial: u64, restarts: u32, number: u32) -> AttemptMade {
        let token = AttemptToken::new(AttemptRank { epoch, serial }, 77, 3);
        AttemptMade::new(Some(&token), restarts, number)
    }

    /// From a version that only had numbers.
    fn numbered(number: u32) -> AttemptMade {
        AttemptMade::new(None, 0, number)
    }

    #[test]
    fn the_later_plan_wins_and_the_epoch_comes_first() {
        let (first, ninth) = (attempt(1, 1, 0, 1), attempt(1, 9, 0, 9));
        assert!(planned(1, 200, first).replaces(planned(1, 100, ninth)));
        assert!(!planned(1, 100, ninth).replaces(planned(1, 200, first)));
        assert!(planned(2, 100, first).replaces(planned(1, 200, first)));
        assert!(!planned(1, 200, first).replaces(planned(2, 100, first)));
    }

    #[test]
    fn within_a_plan_the_later_attempt_wins_and_the_same_one_replaces_itself() {
        let in_order = [
            numbered(0),
            numbered(1),
            numbered(2),
            attempt(1, 3, 0, 1),
            // Slurm has requeued its job.
            attempt(1, 3, 1, 1),
            // It was not known whether Slurm had accepted a submission; the next one has the same number.
            attempt(1, 4, 0, 1),
            // A new owner did not know that its predecessor had started an attempt.
            attempt(2, 1, 0, 1),
        ];
        for (at, earlier) in in_order.iter().enumerate() {
            let earlier = planned(1, 100, *earlier);
            assert!(earlier.replaces(earlier));
            for later in &in_order[at + 1..] {
                let later = planned(1, 100, *later);
                assert!(later.replaces(earlier) && !earlier.replaces(later), "{later:?} after {earlier:?}");
            }
        }
    }

    #[test]
    fn with_foreign_results_the_clock_decides() {
        let of_plan = |epoch, micros| planned(epoch, micros, attempt(1, 1, 0, 1));
        assert!(Made::Foreign { micros: 300 }.replaces(of_plan(7, 200)));
        assert!(!Made::Foreign { micros: 100 }.replaces(of_plan(7, 200)));
        assert!(of_plan(0, 200).replaces(Made::Foreign { micros: 100 }));
        assert!(!of_plan(9, 50).replaces(Made::Foreign { micros: 100 }));
        assert!(Made::Foreign { micros: 100 }.replaces(Made::Foreign { micros: 100 }));
    }

    fn any_attempt() -> impl Strategy<Value = AttemptMade> {
        prop_oneof![
            (0..3u64, 0..3u64, 0..2u32, 0..3u32)
                .prop_map(|(epoch, serial, restarts, number)| attempt(epoch, serial, restarts, number)),
            (0..3u32).prop_map(numbered),
        ]
    }

    fn any_planned() -> impl Strategy<Value = Made> {
        (0..3u64, 0..3u64, any_attempt()).prop_map(|(epoch, micros, attempt)| planned(epoch, micros, attempt))
    }

    /// The stored result if results arrive in this order.
    fn stored(arrivals: &[Made]) -> Option<Made> {
        arrivals.iter().copied().reduce(|stored, new| if new.replaces(stored) { new } else { stored })
    }

    fn shuffled() -> impl Strategy<Value = (Vec<Made>, Vec<Made>)> {
        proptest::collection::vec(any_planned(), 1..8)
            .prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle()))
    }

    proptest! {
        #[test]
        fn the_order_of_arrival_does_not_matter_among_our_own((one, other) in shuffled()) {
            prop_assert_eq!(stored(&one), stored(&other));
        }

        #[test]
        fn a_late_result_of_an_earlier_attempt_changes_nothing(
            mut arrivals in proptest::collection::vec(any_planned(), 1..8),
            late in any_attempt(),
        ) {
            let before = stored(&arrivals).unwrap();
            let Made::Planned { stamp, attempt } = before else { unreachable!("all are planned") };
            prop_assume!(late < attempt);
            arrivals.push(Made::Planned { stamp, attempt: late });
            prop_assert_eq!(stored(&arrivals), Some(before));
        }
    }
}
