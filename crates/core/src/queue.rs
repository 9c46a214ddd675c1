//! Which task comes next: pure.
//!
//! More urgent tasks go first; among equals, those of the earlier request, then of the earlier run. So that no task waits
//! for ever, one goes next after [`PATIENCE`] more urgent ones have gone first.

use std::collections::BTreeMap;

use amore_model::Urgency;

use crate::{request::RequestNo, task::TaskNo, tasks::RunKey};

/// How many tasks that are more urgent may go before one that waits.
pub const PATIENCE: u32 = 9;

/// The position of a task among those of the same urgency: by request, run, and number.
pub type Position = (RequestNo, RunKey, TaskNo);

/// Tasks of one urgency.
#[derive(Debug, Default)]
struct Line {
    waiting: std::collections::BTreeSet<Position>,
    /// Times that a more urgent one went before, since one of these went.
    passed: u32,
}

/// Tasks that can begin.
#[derive(Debug, Default)]
pub struct Queue {
    lines: BTreeMap<Urgency, Line>,
}

impl Queue {
    /// Adds a task. One that is there already keeps its place.
    pub fn push(&mut self, urgency: Urgency, position: Position) {
        self.lines.entry(urgency).or_default().waiting.insert(position);
    }

    /// Takes the next task, of those urgencies only that may begin now.
    pub fn pop(&mut self, may_begin: impl Fn(Urgency) -> bool) -> Option<TaskNo> {
        let open = |urgency: Urgency, line: &Line| !line.waiting.is_empty() && may_begin(urgency);
        // The least urgent has waited longest.
        let impatient =
            self.lines.iter().rev().find(|(urgency, line)| open(**urgency, line) && line.passed >= PATIENCE);
        let (&next, _) =
            impatient.or_else(|| self.lines.iter().find(|(urgency, line)| open(**urgency, line)))?;
        for (_, line) in self.lines.range_mut(next..).skip(1).filter(|(_, line)| !line.waiting.is_empty()) {
            line.passed += 1;
        }
        let line = self.lines.get_mut(&next)?;
        line.passed = 0;
        line.waiting.pop_first().map(|(_, _, number)| number)
    }
}

/// How many of the jobs that may be in the queue at once may be of bulk requests: the rest is left to more urgent ones.
pub fn for_bulk(limit: usize) -> usize {
    limit - (limit / 5).max(1).min(limit.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use amore_model::{Proposal, Run};
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn place(request: u64, run: u32, number: u64) -> Position {
        (RequestNo(request), (Proposal(1234), Run(run)), TaskNo(number))
    }

    fn all(queue: &mut Queue) -> Vec<u64> {
        std::iter::from_fn(|| queue.pop(|_| true)).map(|number| number.0).collect()
    }

    #[test]
    fn the_urgent_goes_first_then_the_earlier() {
        let mut queue = Queue::default();
        queue.push(Urgency::Bulk, place(0, 1, 0));
        queue.push(Urgency::Asked, place(1, 8, 1));
        queue.push(Urgency::Asked, place(1, 7, 2));
        queue.push(Urgency::Asked, place(2, 3, 3));
        queue.push(Urgency::Live, place(3, 9, 4));
        queue.push(Urgency::Live, place(3, 9, 4));
        assert_eq!(all(&mut queue), [4, 2, 1, 3, 0]);
    }

    #[test]
    fn what_may_not_begin_is_left_and_does_not_hold_up_others() {
        let mut queue = Queue::default();
        queue.push(Urgency::Bulk, place(0, 1, 0));
        queue.push(Urgency::Asked, place(1, 1, 1));
        assert_eq!(queue.pop(|urgency| urgency == Urgency::Bulk), Some(TaskNo(0)));
        assert_eq!(queue.pop(|urgency| urgency == Urgency::Bulk), None);
        assert_eq!(queue.pop(|_| true), Some(TaskNo(1)));
    }

    #[test]
    fn one_in_ten_is_of_those_that_are_not_urgent() {
        let mut queue = Queue::default();
        for position in 0..100 {
            queue.push(Urgency::Asked, place(1, 1, position));
            queue.push(Urgency::Bulk, place(0, 1, 100 + position));
        }
        let order = all(&mut queue);
        assert_eq!(order[..20].iter().filter(|position| **position >= 100).count(), 2);
        assert_eq!((order[8], order[9], order[10]), (8, 100, 9));
    }

    /// One task comes, or one goes.
    fn step() -> impl Strategy<Value = Option<(usize, u64, u32)>> {
        prop_oneof![(0..3usize, 0..4u64, 1..6u32).prop_map(Some), Just(None)]
    }

    proptest! {
        #[test]
        fn nobody_is_lost_doubled_or_forgotten(steps in vec(step(), 0..400)) {
            let mut queue = Queue::default();
            let mut waiting: BTreeSet<(Urgency, Position)> = BTreeSet::new();
            // Takes since a line last had its turn, while it waits.
            let mut since = BTreeMap::from(Urgency::ALL.map(|urgency| (urgency, 0u32)));
            let mut passed = since.clone();
            let steps = steps.into_iter().enumerate().chain((0..400).map(|_| (0, None)));
            for (position, step) in steps {
                if let Some((urgency, request, run)) = step {
                    let (urgency, place) = (Urgency::ALL[urgency], place(request, run, position as u64));
                    queue.push(urgency, place);
                    waiting.insert((urgency, place));
                    continue;
                }
                let Some(taken) = queue.pop(|_| true) else {
                    prop_assert!(waiting.is_empty());
                    continue;
                };
                let found = *waiting.iter().find(|(_, place)| place.2 == taken).expect("it was put in line");
                // Among equals the order is that of request and run.
                let first = *waiting.iter().find(|(urgency, _)| *urgency == found.0).unwrap();
                prop_assert_eq!(found, first);
                // Something more urgent is passed over only by who was passed over often himself.
                let most_urgent = waiting.iter().next().unwrap().0;
                prop_assert!(found.0 == most_urgent || passed[&found.0] >= PATIENCE);
                waiting.remove(&found);
                for (urgency, takes) in &mut since {
                    let waits = waiting.iter().any(|(other, _)| other == urgency);
                    *takes = if *urgency == found.0 || !waits { 0 } else { *takes + 1 };
                    // Nobody waits for ever: not even while both other lines go before.
                    prop_assert!(*takes <= 2 * (PATIENCE + 1), "{urgency} has waited for {takes}");
                }
                for (urgency, times) in &mut passed {
                    let waits = waiting.iter().any(|(other, _)| other == urgency);
                    if *urgency == found.0 {
                        *times = 0;
                    } else if *urgency > found.0 && waits {
                        *times += 1;
                    }
                }
            }
            prop_assert!(waiting.is_empty());
        }
    }

    #[test]
    fn bulk_requests_leave_a_place_where_there_is_more_than_one() {
        assert_eq!([1, 2, 4, 5, 10, 15].map(for_bulk), [1, 1, 3, 4, 8, 12]);
        assert!(for_bulk(usize::MAX) > usize::MAX / 2);
    }
}
