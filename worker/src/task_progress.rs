//! Progress of a task: a pure state machine over its steps.
//!
//! When a child dies, the values in its memory are lost. The next child reads stored values from their file; transient values
//! that are still needed are computed again; the variable that was being computed gets the error.
//!
//! Module state that steps changed is lost too. Steps that change state read by a remaining step are executed again in the new
//! process, stored or not, except for a step that killed its process: it would do so again.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use amore_wire::{ended::Ended, task::Step};

/// How many deaths of a child outside of any variable a task survives.
const MAX_DEATHS_BETWEEN_VARIABLES: u32 = 2;
/// How many lost hosts a task survives before the running variable is considered the cause.
const MAX_HOSTS_LOST: u32 = 3;

/// State of a step.
#[derive(Clone, Debug, PartialEq)]
enum State {
    Todo,
    Running,
    /// Its value was received and is (or soon will be) in a fragment.
    Stored,
    /// A transient value in the living child.
    Kept,
    Ended(Ended),
    /// Its result is stored; its function runs again for the state it leaves in the module.
    Repeating(Result<(), Ended>),
    /// As before `Repeating`; it has been executed in the living child.
    Repeated(Result<(), Ended>),
    /// Another task stores its result; it has been executed in the living child for the state it leaves.
    Left,
}

/// Instructions for a new child.
#[derive(Debug, PartialEq)]
pub struct Remaining {
    /// Steps in order; transient steps may be repeated.
    pub steps: Vec<Step>,
    /// Stored values of this task that the steps need.
    pub stored: BTreeSet<String>,
    /// Dependencies that ended without a value.
    pub ended: BTreeMap<String, Ended>,
}

/// The steps of one task and their states.
#[derive(Debug)]
pub struct TaskProgress {
    steps: Vec<Step>,
    states: Vec<State>,
    /// Steps that killed a process: they are not executed again.
    deadly: HashSet<usize>,
    positions: HashMap<String, usize>,
    deaths_between_variables: u32,
    hosts_lost: u32,
}

/// A message that does not fit the state of its step.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the child said {said} of {name:?}, which is {state}")]
pub struct IllegalMove {
    name: String,
    said: &'static str,
    state: String,
}

impl TaskProgress {
    pub fn new(steps: Vec<Step>) -> Self {
        let states = vec![State::Todo; steps.len()];
        let positions = steps.iter().enumerate().map(|(index, step)| (step.name.clone(), index)).collect();
        TaskProgress {
            steps,
            states,
            deadly: HashSet::new(),
            positions,
            deaths_between_variables: 0,
            hosts_lost: 0,
        }
    }

    /// The step of that name.
    pub fn step(&self, name: &str) -> Option<&Step> {
        self.positions.get(name).map(|&index| &self.steps[index])
    }

    /// Whether the step is executed for the state it leaves in the module, not for its value.
    pub fn is_again(&self, name: &str) -> bool {
        self.positions.get(name).is_some_and(|&index| {
            self.steps[index].again
                || matches!(self.states[index], State::Repeating(_) | State::Stored | State::Ended(_))
        })
    }

    /// Applies a child's message to one step. The end of a child changes several: `on_host_gone` and `on_child_died`.
    fn advance(&mut self, name: &str, said: &'static str, next: State) -> Result<(), IllegalMove> {
        let Some(&index) = self.positions.get(name) else {
            return Err(IllegalMove {
                name: name.to_owned(),
                said,
                state: "no step of this task".to_owned(),
            });
        };
        let legal = match (&self.states[index], &next) {
            (State::Todo, State::Running) | (State::Running, State::Stored | State::Kept) => true,
            // A failed dependency ends a step that was never called.
            (State::Todo | State::Running, State::Ended(_)) => true,
            (State::Running, State::Left) => true,
            (State::Stored | State::Ended(_), State::Repeating(_)) => true,
            (State::Repeating(_), State::Repeated(_)) => true,
            _ => false,
        };
        if !legal {
            return Err(IllegalMove {
                name: name.to_owned(),
                said,
                state: format!("{:?}", self.states[index]),
            });
        }
        self.states[index] = next;
        Ok(())
    }

    /// Its function is called.
    pub fn on_started(&mut self, name: &str) -> Result<(), IllegalMove> {
        let next = match self.positions.get(name).map(|&index| &self.states[index]) {
            Some(State::Stored) => State::Repeating(Ok(())),
            Some(State::Ended(how)) => State::Repeating(Err(how.clone())),
            _ => State::Running,
        };
        self.advance(name, "started", next)
    }

    /// A step executed for the state it leaves has finished: it returned or failed.
    pub fn on_left(&mut self, name: &str) -> Result<(), IllegalMove> {
        let next = match self.positions.get(name).map(|&index| &self.states[index]) {
            Some(State::Repeating(before)) => State::Repeated(before.clone()),
            _ => State::Left,
        };
        self.advance(name, "ended", next)
    }

    /// Its value was received.
    pub fn on_stored(&mut self, name: &str) -> Result<(), IllegalMove> {
        self.advance(name, "value", State::Stored)
    }

    /// Its transient value stays in the child.
    pub fn on_kept(&mut self, name: &str) -> Result<(), IllegalMove> {
        self.advance(name, "kept", State::Kept)
    }

    /// An earlier worker stored its result, or it must not be called again: it counts as ended from the start.
    pub fn on_answered(&mut self, name: &str, ended: Option<Ended>) {
        if let Some(&index) = self.positions.get(name)
            && self.states[index] == State::Todo
            && !self.steps[index].transient
            && !self.steps[index].again
        {
            if ended.as_ref().is_some_and(was_a_death) {
                self.deadly.insert(index);
            }
            self.states[index] = ended.map_or(State::Stored, State::Ended);
        }
    }

    /// It ended without a value.
    pub fn on_ended(&mut self, name: &str, how: Ended) -> Result<(), IllegalMove> {
        self.advance(name, "ended", State::Ended(how))
    }

    /// The host was lost, and the child with it. The variable is not at fault and is called again. Returns `false` if this
    /// happened too often; then [`TaskProgress::on_child_died`] decides which variables fail.
    pub fn on_host_gone(&mut self) -> bool {
        self.hosts_lost += 1;
        if self.hosts_lost > MAX_HOSTS_LOST {
            return false;
        }
        self.forget_process();
        for state in &mut self.states {
            if *state == State::Running {
                *state = State::Todo;
            }
        }
        true
    }

    /// Discards what was only in the child's memory.
    fn forget_process(&mut self) {
        for state in &mut self.states {
            *state = match std::mem::replace(state, State::Todo) {
                State::Kept | State::Left => State::Todo,
                State::Repeating(Ok(())) | State::Repeated(Ok(())) => State::Stored,
                State::Repeating(Err(how)) | State::Repeated(Err(how)) => State::Ended(how),
                other => other,
            };
        }
    }

    /// The child is dead; `how` is the error of its running variable. Returns the steps that end without a value, with their
    /// errors.
    ///
    /// Empty if it died between variables; after more than two such deaths the remaining steps end with `how` too, and are
    /// returned by [`TaskProgress::give_up`]. If it died during a step that was executed only for the state it leaves, the steps
    /// that read this state end: they would compute something else.
    pub fn on_child_died(&mut self, how: &Ended) -> Vec<(String, Ended)> {
        let running = self.running_index();
        let was_again = running.is_some_and(|index| self.is_again(&self.steps[index].name));
        self.forget_process();
        let Some(index) = running else {
            self.deaths_between_variables += 1;
            return Vec::new();
        };
        self.deadly.insert(index);
        if !was_again {
            self.states[index] = State::Ended(how.clone());
            return vec![(self.steps[index].name.clone(), how.clone())];
        }
        let readers = self.readers_of(index);
        let name = &self.steps[index].name;
        let told = match how {
            Ended::Error { class, message } => Ended::Error {
                class: class.clone(),
                message: format!(
                    "{name}, which is executed again here for the state it leaves in the module: {message}"
                ),
            },
            other => other.clone(),
        };
        if self.steps[index].again {
            self.states[index] = State::Ended(told.clone());
        }
        let mut lost = Vec::new();
        for reader in readers {
            if self.states[reader] == State::Todo && !self.steps[reader].again {
                self.states[reader] = State::Ended(told.clone());
                lost.push((self.steps[reader].name.clone(), told.clone()));
            }
        }
        lost
    }

    /// Steps that read the state a step leaves, directly or through other steps.
    fn readers_of(&self, index: usize) -> Vec<usize> {
        let mut touched: HashSet<&str> = self.steps[index].changes.iter().map(String::as_str).collect();
        let mut found = Vec::new();
        for (position, step) in self.steps.iter().enumerate().skip(index + 1) {
            if step.reads.iter().any(|state| touched.contains(state.as_str())) {
                found.push(position);
                touched.extend(step.changes.iter().map(String::as_str));
            }
        }
        found
    }

    /// The step whose function is being called.
    pub fn running(&self) -> Option<&str> {
        Some(&self.steps[self.running_index()?].name)
    }

    fn running_index(&self) -> Option<usize> {
        self.states.iter().position(|state| matches!(state, State::Running | State::Repeating(_)))
    }

    /// Whether children died between variables too often.
    pub fn is_hopeless(&self) -> bool {
        self.deaths_between_variables > MAX_DEATHS_BETWEEN_VARIABLES
    }

    /// Ends all remaining steps; returns those that would have been stored.
    pub fn give_up(&mut self, how: &Ended) -> Vec<String> {
        let mut given_up = Vec::new();
        for (step, state) in self.steps.iter().zip(&mut self.states) {
            if matches!(state, State::Todo | State::Running) {
                *state = State::Ended(how.clone());
                if !step.transient && !step.again {
                    given_up.push(step.name.clone());
                }
            }
        }
        given_up
    }

    /// The instructions for a new child; `None` if nothing is left.
    pub fn remaining(&self) -> Option<Remaining> {
        // From last to first: a step is executed if it has no value yet, or again if it changes state that a later one reads;
        // a transient step if its value is used.
        let mut executed = vec![false; self.steps.len()];
        let mut used = vec![false; self.steps.len()];
        let mut read: HashSet<&str> = HashSet::new();
        let mut something = false;
        for (position, step) in self.steps.iter().enumerate().rev() {
            let leaves = !self.deadly.contains(&position)
                && step.changes.iter().any(|state| {
                    read.contains(state.as_str())
                        && (!step.adds.contains(state) || self.is_written_afresh(state, position))
                });
            let execute = match &self.states[position] {
                State::Todo if step.again => leaves || used[position],
                State::Todo if step.transient => leaves || used[position] || self.never_needed(position),
                State::Todo => true,
                State::Stored | State::Ended(_) => leaves,
                State::Running | State::Kept | State::Left | State::Repeating(_) | State::Repeated(_) => {
                    false
                }
            };
            if !execute {
                continue;
            }
            executed[position] = true;
            something |= self.states[position] == State::Todo && !step.again;
            read.extend(step.reads.iter().map(String::as_str));
            for need in &step.needs {
                if let Some(&needed) = self.positions.get(need) {
                    used[needed] = true;
                }
            }
        }
        let mut remaining = Remaining { steps: Vec::new(), stored: BTreeSet::new(), ended: BTreeMap::new() };
        for (position, step) in self.steps.iter().enumerate() {
            if executed[position] {
                let again = step.again || self.states[position] != State::Todo;
                remaining.steps.push(Step { again, ..step.clone() });
            }
            if executed[position] || used[position] || self.deadly.contains(&position) {
                match &self.states[position] {
                    State::Stored => {
                        remaining.stored.insert(step.name.clone());
                    }
                    State::Ended(how) => {
                        remaining.ended.insert(step.name.clone(), how.clone());
                    }
                    _ => {}
                }
            }
        }
        something.then_some(remaining)
    }

    /// Whether an earlier step creates the file anew, and so is executed again together with this one.
    fn is_written_afresh(&self, file: &String, before: usize) -> bool {
        self.steps[..before].iter().enumerate().any(|(position, step)| {
            !self.deadly.contains(&position) && step.changes.contains(file) && !step.adds.contains(file)
        })
    }

    /// A transient step that no other step of the task needs was requested for itself (for example for a side effect).
    fn never_needed(&self, position: usize) -> bool {
        let name = &self.steps[position].name;
        !self.steps[position + 1..].iter().any(|step| step.needs.contains(name))
    }
}

/// Whether it killed a process, according to an earlier worker's results.
fn was_a_death(how: &Ended) -> bool {
    const DEATHS: [&str; 8] = [
        "ProcessKilled",
        "ProcessExited",
        "TimeoutError",
        "MemoryError",
        "JobTimeout",
        "JobOutOfMemory",
        "JobFailed",
        "JobCancelled",
    ];
    matches!(how, Ended::Error { class, .. } if DEATHS.contains(&class.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(name: &str, needs: &[&str], transient: bool) -> Step {
        Step {
            name: name.to_owned(),
            needs: needs.iter().map(|need| (*need).to_owned()).collect(),
            transient,
            ..Step::default()
        }
    }

    fn killed() -> Ended {
        Ended::Error { class: "ProcessKilled".to_owned(), message: "killed".to_owned() }
    }

    fn names(remaining: &Remaining) -> Vec<&str> {
        remaining.steps.iter().map(|step| step.name.as_str()).collect()
    }

    #[test]
    fn a_death_costs_the_running_variable_and_repeats_only_needed_transients() {
        let mut task = TaskProgress::new(vec![
            step("needed", &[], true),
            step("unneeded", &[], true),
            step("done", &["needed", "unneeded"], false),
            step("crash", &["done"], false),
            step("after", &["crash", "done"], false),
            step("also", &["needed"], false),
        ]);
        for name in ["needed", "unneeded"] {
            task.on_started(name).unwrap();
            task.on_kept(name).unwrap();
        }
        task.on_started("done").unwrap();
        task.on_stored("done").unwrap();
        task.on_started("crash").unwrap();
        assert_eq!(task.on_child_died(&killed()), [("crash".to_owned(), killed())]);

        let remaining = task.remaining().unwrap();
        assert_eq!(names(&remaining), ["needed", "after", "also"]);
        assert_eq!(remaining.stored.iter().collect::<Vec<_>>(), ["done"]);
        assert_eq!(remaining.ended["crash"], killed());
    }

    #[test]
    fn a_child_that_dies_between_variables_is_replaced_a_bounded_number_of_times() {
        let mut task = TaskProgress::new(vec![step("a", &[], false), step("t", &[], true)]);
        for _ in 0..MAX_DEATHS_BETWEEN_VARIABLES {
            assert_eq!(task.on_child_died(&killed()), []);
            assert!(!task.is_hopeless());
        }
        task.on_child_died(&killed());
        assert!(task.is_hopeless());
        assert_eq!(task.give_up(&killed()), ["a"]);
        assert!(task.remaining().is_none());
    }

    #[test]
    fn what_an_earlier_worker_stored_is_read_and_not_called() {
        let mut task = TaskProgress::new(vec![
            step("a", &[], false),
            step("b", &[], false),
            step("c", &["a", "b"], false),
        ]);
        task.on_answered("a", None);
        task.on_answered("b", Some(Ended::Nothing));
        task.on_answered("stranger", None);
        let remaining = task.remaining().unwrap();
        assert_eq!(names(&remaining), ["c"]);
        assert!(remaining.stored.contains("a"));
        assert_eq!(remaining.ended["b"], Ended::Nothing);
    }

    #[test]
    fn a_host_that_goes_away_costs_nothing_until_it_happens_too_often() {
        let mut task =
            TaskProgress::new(vec![step("t", &[], true), step("a", &["t"], false), step("b", &[], false)]);
        for _ in 0..MAX_HOSTS_LOST {
            task.on_started("t").unwrap();
            task.on_kept("t").unwrap();
            task.on_started("a").unwrap();
            assert!(task.on_host_gone());
            assert_eq!(names(&task.remaining().unwrap()), ["t", "a", "b"]);
        }
        task.on_started("t").unwrap();
        task.on_kept("t").unwrap();
        task.on_started("a").unwrap();
        assert!(!task.on_host_gone());
        assert_eq!(task.on_child_died(&killed()), [("a".to_owned(), killed())]);
        assert_eq!(names(&task.remaining().unwrap()), ["b"]);
    }

    #[test]
    fn a_step_cannot_end_twice_and_strangers_are_refused() {
        let mut task = TaskProgress::new(vec![step("a", &[], false)]);
        assert!(task.on_stored("a").is_err());
        task.on_started("a").unwrap();
        task.on_ended("a", Ended::Nothing).unwrap();
        assert!(task.on_ended("a", Ended::Nothing).is_err());
        assert!(task.on_started("b").unwrap_err().to_string().contains("no step"));
    }

    /// `LIST`: `w` changes it, `x` changes and reads it, `r` reads it.
    fn sharing(name: &str, needs: &[&str]) -> Step {
        let state = || vec!["LIST".to_owned()];
        let changes = if name.starts_with(['w', 'x']) { state() } else { Vec::new() };
        let reads = if name.starts_with(['x', 'r']) { state() } else { Vec::new() };
        Step { changes, reads, ..step(name, needs, false) }
    }

    fn store(task: &mut TaskProgress, names: &[&str]) {
        for name in names {
            task.on_started(name).unwrap();
            task.on_stored(name).unwrap();
        }
    }

    fn die_under(task: &mut TaskProgress, name: &str) -> Vec<(String, Ended)> {
        task.on_started(name).unwrap();
        task.on_child_died(&killed())
    }

    fn again(remaining: &Remaining) -> Vec<&str> {
        remaining.steps.iter().filter(|step| step.again).map(|step| step.name.as_str()).collect()
    }

    #[test]
    fn what_a_remaining_step_reads_is_left_again_by_those_before_it() {
        let mut task = TaskProgress::new(vec![
            step("a", &[], false),
            sharing("w", &["a"]),
            sharing("x", &[]),
            step("crash", &[], false),
            sharing("r", &[]),
            sharing("w2", &[]),
        ]);
        store(&mut task, &["a", "w", "x"]);
        assert_eq!(die_under(&mut task, "crash"), [("crash".to_owned(), killed())]);
        let remaining = task.remaining().unwrap();
        // Steps after the reader do not affect it and are not repeated.
        assert_eq!(names(&remaining), ["w", "x", "r", "w2"]);
        assert_eq!(again(&remaining), ["w", "x"]);
        assert_eq!(remaining.stored, ["a", "w", "x"].map(str::to_owned).into());
        for name in ["w", "x"] {
            assert!(task.is_again(name));
            task.on_started(name).unwrap();
            task.on_left(name).unwrap();
        }
        assert!(!task.is_again("r"));
        store(&mut task, &["r", "w2"]);
        assert_eq!(task.remaining(), None);
    }

    #[test]
    fn one_under_which_a_process_died_is_not_executed_again_and_one_that_failed_is() {
        let mut task = TaskProgress::new(vec![
            sharing("x", &[]),
            sharing("x2", &[]),
            sharing("x3", &[]),
            sharing("r", &[]),
        ]);
        task.on_started("x").unwrap();
        task.on_ended("x", Ended::Error { class: "ValueError".to_owned(), message: String::new() }).unwrap();
        die_under(&mut task, "x2");
        let remaining = task.remaining().unwrap();
        assert_eq!(names(&remaining), ["x", "x3", "r"]);
        assert!(remaining.ended.contains_key("x"));

        let mut later = TaskProgress::new(vec![sharing("x", &[]), sharing("x2", &[]), sharing("r", &[])]);
        later.on_answered("x", None);
        later.on_answered("x2", Some(killed()));
        assert_eq!(names(&later.remaining().unwrap()), ["x", "r"]);
    }

    #[test]
    fn readers_of_what_cannot_be_left_again_are_told() {
        let mut task = TaskProgress::new(vec![
            sharing("x", &[]),
            step("crash", &[], false),
            sharing("r", &[]),
            step("other", &[], false),
        ]);
        store(&mut task, &["x"]);
        die_under(&mut task, "crash");
        let lost = die_under(&mut task, "x");
        assert_eq!(lost.len(), 1);
        let (name, Ended::Error { message, .. }) = &lost[0] else { panic!("{lost:?}") };
        assert!(name == "r" && message.starts_with("x, which is executed again here"), "{message}");
        assert_eq!(names(&task.remaining().unwrap()), ["other"]);
    }

    #[test]
    fn what_another_task_stores_is_executed_only_for_those_that_are_left() {
        let again = Step { again: true, ..sharing("x", &["t"]) };
        let value = Step { again: true, ..step("t", &[], false) };
        let mut task = TaskProgress::new(vec![value, again, sharing("r", &[]), step("last", &[], false)]);
        assert_eq!(names(&task.remaining().unwrap()), ["t", "x", "r", "last"]);
        task.on_answered("r", None);
        assert_eq!(names(&task.remaining().unwrap()), ["last"]);
        task.on_answered("last", None);
        assert_eq!(task.remaining(), None);
    }

    #[test]
    fn what_is_added_to_a_file_is_not_added_twice() {
        let adding = |name: &str| Step { adds: vec!["LIST".to_owned()], ..sharing(name, &[]) };
        let dead = |steps: Vec<Step>| {
            let mut task = TaskProgress::new(steps);
            let names: Vec<String> = task.steps.iter().map(|step| step.name.clone()).collect();
            let (_, before) = names.split_last().unwrap();
            let (crash, before) = before.split_last().unwrap();
            store(&mut task, &before.iter().map(String::as_str).collect::<Vec<_>>());
            die_under(&mut task, crash);
            task
        };
        let crash = || step("crash", &[], false);
        let alone = dead(vec![adding("x"), adding("x2"), crash(), sharing("r", &[])]);
        assert_eq!(names(&alone.remaining().unwrap()), ["r"]);
        // After the file is created anew, later steps are repeated; earlier ones need not be.
        let afresh = dead(vec![adding("x"), sharing("w", &[]), adding("x2"), crash(), sharing("r", &[])]);
        assert_eq!(names(&afresh.remaining().unwrap()), ["w", "x2", "r"]);
        // The step that would create it anew killed a process: the file stays as it is.
        let mut deadly = TaskProgress::new(vec![sharing("w", &[]), adding("x"), crash(), sharing("r", &[])]);
        die_under(&mut deadly, "w");
        store(&mut deadly, &["x"]);
        die_under(&mut deadly, "crash");
        assert_eq!(names(&deadly.remaining().unwrap()), ["r"]);
    }

    #[test]
    fn a_host_that_goes_away_takes_what_was_left_with_it() {
        let mut task = TaskProgress::new(vec![sharing("x", &[]), sharing("r", &[]), sharing("r2", &[])]);
        store(&mut task, &["x", "r"]);
        assert!(task.on_host_gone());
        assert_eq!(names(&task.remaining().unwrap()), ["x", "r2"]);
        task.on_started("x").unwrap();
        assert!(task.on_host_gone());
        assert_eq!(again(&task.remaining().unwrap()), ["x"]);
    }
}
