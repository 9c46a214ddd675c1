//! When a job that Slurm did not accept is submitted again, and when that is reported: a pure rule.

use std::time::Duration;

use amore_slurm::refused::RefusalKind;

/// From one submission to the next while it is not known whether that helps; after the last it is given up.
const UNKNOWN: [Duration; 3] = [Duration::from_secs(3), Duration::from_secs(10), Duration::from_secs(30)];
/// The same for what is known to pass; the last stands for all that follow.
const PASSES: [Duration; 4] =
    [Duration::from_secs(2), Duration::from_secs(5), Duration::from_secs(10), Duration::from_secs(30)];
/// The same for a limit on jobs in the queue.
const LIMIT: Duration = Duration::from_secs(10);
/// After which time it is reported again that jobs are still refused; twice as long each time.
const TOLD_AGAIN: Duration = Duration::from_secs(180);

/// After which time Slurm is not waited for any more, if the job can be computed elsewhere.
const TOO_LONG: Duration = Duration::from_secs(180);

/// Refusals of one task in a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refusals {
    /// Of whichever kind.
    pub all: u32,
    /// Those of which nothing is known.
    pub unknown: u32,
}

/// After which time the job is submitted again; `None`: it is not.
pub fn again(about: RefusalKind, refusals: &mut Refusals) -> Option<Duration> {
    let before = refusals.all as usize;
    refusals.all += 1;
    match about {
        RefusalKind::Passes => Some(*PASSES.get(before).unwrap_or(&PASSES[PASSES.len() - 1])),
        RefusalKind::Limit => Some(LIMIT),
        RefusalKind::Unknown => {
            let delay = UNKNOWN.get(refusals.unknown as usize).copied();
            refusals.unknown += 1;
            delay
        }
        RefusalKind::Reservation | RefusalKind::Rule | RefusalKind::NotExecuted => None,
    }
}

/// Whether a job that has been refused for this long is computed here, where that is wanted. `again`: it would be submitted
/// again.
pub fn is_taken_here(again: bool, since: Duration) -> bool {
    !again || since >= TOO_LONG
}

/// How many reports there are by now, after jobs have been refused for this long. When it grows, it is reported again.
pub fn told(since: Duration) -> u32 {
    let mut times = 0;
    let mut at = TOLD_AGAIN;
    while since >= at {
        times += 1;
        at = at.saturating_mul(2);
    }
    times
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_tried_some_times_and_what_passes_until_it_has() {
        let mut refusals = Refusals::default();
        let delays: Vec<_> = std::iter::from_fn(|| again(RefusalKind::Unknown, &mut refusals)).collect();
        assert_eq!(delays, UNKNOWN);
        assert!(delays.iter().sum::<Duration>() < Duration::from_secs(60));
        let mut refusals = Refusals::default();
        let delays: Vec<_> = (0..100).map(|_| again(RefusalKind::Passes, &mut refusals).unwrap()).collect();
        assert!(delays.is_sorted() && delays[99] == Duration::from_secs(30));
        for about in [RefusalKind::Rule, RefusalKind::Reservation, RefusalKind::NotExecuted] {
            assert_eq!(again(about, &mut Refusals::default()), None);
        }
        // Shortages between them do not make it unbounded.
        let mut refusals = Refusals::default();
        let given_up = (0..20).any(|at| {
            let about = if at % 2 == 0 { RefusalKind::Passes } else { RefusalKind::Unknown };
            again(about, &mut refusals).is_none()
        });
        assert!(given_up);
    }

    #[test]
    fn what_may_pass_is_waited_for_a_few_minutes_before_it_is_taken_here() {
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        assert!(!is_taken_here(true, minutes(0)) && !is_taken_here(true, minutes(2)));
        assert!(is_taken_here(true, minutes(3)) && is_taken_here(false, minutes(0)));
    }

    #[test]
    fn it_is_told_again_less_and_less_often() {
        let minutes = |minutes: u64| told(Duration::from_secs(60 * minutes));
        assert_eq!([0, 2, 3, 5, 6, 12, 60].map(minutes), [0, 0, 1, 1, 2, 3, 5]);
    }
}
