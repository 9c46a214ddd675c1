//! Which task starts next on a host whose processes several directories share: pure.
//!
//! More urgent tasks go first. Among equals, the directory with the fewest tasks under way goes first, then the one that
//! has waited longest. So that none waits for ever, a less urgent one goes next after [`PATIENCE`] more urgent ones.
//!
//! A task may take for ever: user code that does not end, or a file system that hangs. What one directory has under way must
//! not keep another one waiting, so there are two rights to begin:
//!
//! - Any task may begin while fewer tasks are under way than there are processes.
//! - A task of which its directory has no equal (nothing that is at least as urgent) under way may also begin while fewer
//!   tasks than that are *short*: a task is short until it has taken [`LONG`].
//!
//! By the second right, each directory goes on whatever the others do: every [`LONG`] at the latest, all that is under way
//! has become long, or has ended. It is also what a live run has that waits behind long reprocessing. At most one task of each
//! urgency and directory is under way beyond the number of processes.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use amore_model::Urgency;

use crate::queue::PATIENCE;

/// A task that takes longer no longer keeps directories waiting that have none under way.
pub const LONG: Duration = Duration::from_secs(10);

/// A directory whose tasks are queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientNo(pub u64);

/// A task in the queue, or under way. Numbers are not given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// Tasks of several directories that wait for a process.
#[derive(Debug)]
pub struct HostQueue<T> {
    processes: usize,
    lines: BTreeMap<Urgency, Line<T>>,
    under_way: BTreeMap<ClientNo, BTreeMap<Ticket, UnderWay>>,
    tickets: u64,
}

#[derive(Debug)]
struct Line<T> {
    waiting: BTreeMap<ClientNo, VecDeque<(Ticket, T)>>,
    /// Times that a more urgent one went before, since one of these went.
    passed: u32,
}

#[derive(Clone, Copy, Debug)]
struct UnderWay {
    urgency: Urgency,
    since: Duration,
}

impl UnderWay {
    fn is_short(&self, now: Duration) -> bool {
        now < self.since + LONG
    }
}

/// What may begin now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MayBegin {
    Everything,
    /// Tasks of which their directory has no equal under way.
    FirstOfDirectory,
    Nothing,
}

impl<T> HostQueue<T> {
    /// The queue of a host with so many processes.
    pub fn new(processes: usize) -> Self {
        HostQueue { processes, lines: BTreeMap::new(), under_way: BTreeMap::new(), tickets: 0 }
    }

    /// A task waits.
    pub fn push(&mut self, urgency: Urgency, client: ClientNo, task: T) -> Ticket {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        let line = self.lines.entry(urgency).or_insert_with(|| Line { waiting: BTreeMap::new(), passed: 0 });
        line.waiting.entry(client).or_default().push_back((ticket, task));
        ticket
    }

    /// How many tasks are under way.
    pub fn under_way(&self) -> usize {
        self.under_way.values().map(BTreeMap::len).sum()
    }

    fn may_begin(&self, now: Duration) -> MayBegin {
        let all = self.under_way.values().flat_map(BTreeMap::values);
        let short = all.filter(|task| task.is_short(now)).count();
        if self.under_way() < self.processes {
            MayBegin::Everything
        } else if short < self.processes {
            MayBegin::FirstOfDirectory
        } else {
            MayBegin::Nothing
        }
    }

    /// Has this directory something under way that is at least as urgent?
    fn has_equal(&self, client: ClientNo, urgency: Urgency) -> bool {
        let tasks = self.under_way.get(&client);
        tasks.is_some_and(|tasks| tasks.values().any(|task| task.urgency <= urgency))
    }

    /// Takes the next task that may begin now. It is under way from now on.
    pub fn pop(&mut self, now: Duration) -> Option<(ClientNo, T)> {
        let may_begin = self.may_begin(now);
        if may_begin == MayBegin::Nothing {
            return None;
        }
        let may = |client: ClientNo, urgency: Urgency| {
            may_begin == MayBegin::Everything || !self.has_equal(client, urgency)
        };
        let is_open =
            |urgency: Urgency, line: &Line<T>| line.waiting.keys().any(|client| may(*client, urgency));
        let mut open = self.lines.iter().filter(|(urgency, line)| is_open(**urgency, line));
        let impatient = open.clone().rev().find(|(_, line)| line.passed >= PATIENCE);
        let (&urgency, line) = impatient.or_else(|| open.next())?;
        let load = |client: &ClientNo| self.under_way.get(client).map_or(0, BTreeMap::len);
        let first = |tasks: &VecDeque<(Ticket, T)>| tasks.front().map(|(ticket, _)| *ticket);
        let (&client, _) = line
            .waiting
            .iter()
            .filter(|(client, _)| may(**client, urgency))
            .min_by_key(|(client, tasks)| (load(client), first(tasks)))?;
        for (_, line) in self.lines.range_mut(urgency..).skip(1) {
            line.passed += 1;
        }
        let line = self.lines.get_mut(&urgency)?;
        line.passed = 0;
        let (ticket, task) = line.waiting.get_mut(&client)?.pop_front()?;
        self.drop_empty(urgency, client);
        self.under_way.entry(client).or_default().insert(ticket, UnderWay { urgency, since: now });
        Some((client, task))
    }

    /// When something that waits may begin, unless a task ends before. `None`: not before a task ends.
    pub fn next_change(&self, now: Duration) -> Option<Duration> {
        if self.lines.is_empty() {
            return None;
        }
        let all = self.under_way.values().flat_map(BTreeMap::values);
        all.filter(|task| task.is_short(now)).map(|task| task.since + LONG).min()
    }

    /// Takes a task of this directory out, if it has not begun.
    pub fn withdraw(&mut self, client: ClientNo, ticket: Ticket) -> Option<T> {
        let (urgency, at) = self.lines.iter().find_map(|(urgency, line)| {
            let at = line.waiting.get(&client)?.iter().position(|(other, _)| *other == ticket)?;
            Some((*urgency, at))
        })?;
        let (_, task) = self.lines.get_mut(&urgency)?.waiting.get_mut(&client)?.remove(at)?;
        self.drop_empty(urgency, client);
        Some(task)
    }

    fn drop_empty(&mut self, urgency: Urgency, client: ClientNo) {
        let Some(line) = self.lines.get_mut(&urgency) else { return };
        if line.waiting.get(&client).is_some_and(VecDeque::is_empty) {
            line.waiting.remove(&client);
        }
        if line.waiting.is_empty() {
            self.lines.remove(&urgency);
        }
    }

    /// A task of this directory has ended.
    pub fn ended(&mut self, client: ClientNo, ticket: Ticket) {
        if let Some(tasks) = self.under_way.get_mut(&client) {
            tasks.remove(&ticket);
            if tasks.is_empty() {
                self.under_way.remove(&client);
            }
        }
    }

    /// Drops what waits and what is under way of a directory.
    pub fn forget(&mut self, client: ClientNo) {
        self.under_way.remove(&client);
        self.lines.retain(|_, line| {
            line.waiting.remove(&client);
            !line.waiting.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    const A: ClientNo = ClientNo(1);
    const B: ClientNo = ClientNo(2);
    const C: ClientNo = ClientNo(3);
    const START: Duration = Duration::ZERO;
    const MANY: usize = 1000;

    #[test]
    fn a_live_run_of_one_directory_overtakes_the_reprocessing_of_another() {
        let mut queue = HostQueue::new(MANY);
        queue.push(Urgency::Bulk, A, "a1");
        queue.push(Urgency::Asked, A, "a2");
        queue.push(Urgency::Live, B, "b1");
        assert_eq!(queue.pop(START), Some((B, "b1")));
        assert_eq!(queue.pop(START), Some((A, "a2")));
        assert_eq!((queue.pop(START), queue.pop(START)), (Some((A, "a1")), None));
        assert_eq!(queue.under_way(), 3);
    }

    #[test]
    fn directories_take_turns_however_many_tasks_one_of_them_has() {
        let mut queue = HostQueue::new(MANY);
        let tickets: Vec<_> = (0..4).map(|task| queue.push(Urgency::Live, A, task)).collect();
        queue.push(Urgency::Live, B, 10);
        queue.push(Urgency::Live, B, 11);
        let order: Vec<_> = std::iter::from_fn(|| queue.pop(START)).map(|(_, task)| task).collect();
        assert_eq!(order, [0, 10, 1, 11, 2, 3]);
        queue.ended(A, tickets[0]);
        queue.ended(A, tickets[0]);
        assert_eq!(queue.under_way(), 5);
        queue.forget(A);
        assert_eq!(queue.under_way(), 2);
    }

    #[test]
    fn what_is_less_urgent_does_not_wait_for_ever() {
        let mut queue = HostQueue::new(MANY);
        queue.push(Urgency::Bulk, A, 0);
        for task in 1..=100 {
            queue.push(Urgency::Live, B, task);
        }
        let before = std::iter::from_fn(|| queue.pop(START)).position(|(_, task)| task == 0).unwrap();
        assert_eq!(before, PATIENCE as usize);
    }

    #[test]
    fn no_more_begin_than_there_are_processes() {
        let mut queue = HostQueue::new(2);
        let tickets: Vec<_> = (0..4).map(|task| queue.push(Urgency::Asked, A, task)).collect();
        queue.push(Urgency::Asked, B, 10);
        assert_eq!((queue.pop(START), queue.pop(START)), (Some((A, 0)), Some((B, 10))));
        assert_eq!(queue.pop(START), None);
        queue.ended(A, tickets[0]);
        assert_eq!((queue.pop(START), queue.pop(START)), (Some((A, 1)), None));
    }

    #[test]
    fn what_does_not_end_keeps_no_other_directory_waiting() {
        let mut queue = HostQueue::new(2);
        for task in 0..9 {
            queue.push(Urgency::Live, A, task);
        }
        assert!(queue.pop(START).is_some() && queue.pop(START).is_some());
        let tickets: Vec<_> = (10..13).map(|task| queue.push(Urgency::Bulk, B, task)).collect();
        assert_eq!(queue.pop(START), None);
        assert_eq!(queue.next_change(START), Some(LONG));
        assert_eq!(queue.pop(LONG), Some((B, 10)), "of those that have nothing under way");
        assert_eq!(queue.pop(LONG), None, "one for each of them");
        // The next one does not wait again.
        queue.ended(B, tickets[0]);
        assert_eq!((queue.pop(LONG), queue.pop(LONG)), (Some((B, 11)), None));
        queue.push(Urgency::Bulk, C, 20);
        assert_eq!(queue.pop(LONG), Some((C, 20)));
        queue.ended(B, tickets[1]);
        assert_eq!((queue.pop(LONG), queue.pop(LONG)), (Some((B, 12)), None));
        assert_eq!(queue.under_way(), 4);
    }

    #[test]
    fn a_live_run_does_not_wait_for_the_long_reprocessing_of_its_directory() {
        let mut queue = HostQueue::new(1);
        queue.push(Urgency::Bulk, A, 0);
        queue.push(Urgency::Bulk, A, 1);
        assert_eq!(queue.pop(START), Some((A, 0)));
        queue.push(Urgency::Live, A, 2);
        queue.push(Urgency::Live, A, 3);
        assert_eq!((queue.pop(START), queue.pop(LONG)), (None, Some((A, 2))));
        // Less urgent ones do not count it out: there is something more urgent under way.
        assert_eq!((queue.pop(2 * LONG), queue.under_way()), (None, 2));
    }

    #[test]
    fn a_task_that_is_cancelled_leaves_the_queue() {
        let mut queue = HostQueue::new(MANY);
        queue.push(Urgency::Live, A, 1);
        let ticket = queue.push(Urgency::Bulk, A, 2);
        queue.push(Urgency::Bulk, B, 2);
        assert_eq!(queue.withdraw(B, ticket), None);
        assert_eq!(queue.withdraw(A, ticket), Some(2));
        assert_eq!((queue.withdraw(A, ticket), queue.under_way()), (None, 0));
        assert_eq!(
            (queue.pop(START), queue.pop(START), queue.pop(START)),
            (Some((A, 1)), Some((B, 2)), None)
        );
    }

    #[test]
    fn a_directory_that_is_forgotten_has_nothing_waiting() {
        let mut queue = HostQueue::new(MANY);
        let ticket = queue.push(Urgency::Live, A, 1);
        queue.push(Urgency::Live, B, 2);
        queue.forget(A);
        assert_eq!((queue.pop(START), queue.pop(START)), (Some((B, 2)), None));
        queue.ended(A, ticket);
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Comes { urgency: usize, client: u64, ends: bool },
        Passes(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..3usize, 0..4u64, any::<bool>()).prop_map(|(urgency, client, ends)| Step::Comes {
                urgency,
                client,
                ends
            }),
            (0..15u64).prop_map(Step::Passes),
        ]
    }

    proptest! {
        /// A directory has only tasks that end (its number is even) or only tasks that do not: those of the first kind are all
        /// done, whatever the others do, and there are never more under way than is promised.
        #[test]
        fn who_ends_his_tasks_is_served(processes in 1..5usize, steps in vec(step(), 0..200)) {
            let mut queue = HostQueue::new(processes);
            let (mut now, mut waits, mut under_way) = (Duration::ZERO, 0, Vec::new());
            let patience = (0..400).map(|_| Step::Passes(LONG.as_secs()));
            for step in steps.into_iter().chain(patience) {
                match step {
                    Step::Comes { urgency, client, ends } => {
                        let client = ClientNo(2 * client + u64::from(!ends));
                        let urgency = Urgency::ALL[urgency];
                        waits += u32::from(ends);
                        // The ticket is known once it is in the queue.
                        let next = Ticket(queue.tickets + 1);
                        prop_assert_eq!(queue.push(urgency, client, (next, ends)), next);
                    }
                    Step::Passes(seconds) => {
                        now += Duration::from_secs(seconds);
                        for (client, ticket) in under_way.drain(..) {
                            queue.ended(client, ticket);
                        }
                    }
                }
                while let Some((client, (ticket, ends))) = queue.pop(now) {
                    if ends {
                        waits -= 1;
                        under_way.push((client, ticket));
                    }
                }
                prop_assert!(queue.under_way() <= processes + 3 * 8);
                let of_one = |client| queue.under_way.get(&client).map_or(0, BTreeMap::len);
                prop_assert!((0..8).all(|client| of_one(ClientNo(client)) <= processes + 3));
            }
            prop_assert_eq!(waits, 0);
        }
    }
}
