//! What is left of a task: a pure state machine over its steps.
//!
//! A child that dies takes with it the values that lived only in its memory. What was stored is read from its file
//! by the next child; transient values that are still needed are computed again; the variable that was being
//! computed gets the error.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use amore_wire::{ended::Ended, task::Step};

/// Deaths of a child outside any variable that a task survives.
const MAX_DEATHS_BETWEEN_VARIABLES: u32 = 2;
/// Hosts that may go away under a task before the variable that was running is held to be the cause.
const MAX_HOSTS_LOST: u32 = 3;

/// Where a step stands.
#[derive(Clone, Debug, PartialEq)]
enum State {
    /// Not yet called.
    Todo,
    /// Its function runs.
    Running,
    /// Its value was taken and is (or is about to be) in a fragment.
    Stored,
    /// A transient value in the living child.
    Kept,
    /// No value.
    Ended(Ended),
}

/// What a new child has to do.
#[derive(Debug, PartialEq)]
pub struct Remaining {
    /// Steps in order; transient ones may be repeated.
    pub steps: Vec<Step>,
    /// Stored values of this task that the steps need.
    pub stored: BTreeSet<String>,
    /// Dependencies that ended without a value.
    pub ended: BTreeMap<String, Ended>,
}

/// The steps of one task and where each stands.
#[derive(Debug)]
pub struct TaskProgress {
    steps: Vec<Step>,
    states: Vec<State>,
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
    /// Nothing done yet.
    pub fn new(steps: Vec<Step>) -> Self {
        let states = vec![State::Todo; steps.len()];
        let positions = steps.iter().enumerate().map(|(index, step)| (step.name.clone(), index)).collect();
        TaskProgress { steps, states, positions, deaths_between_variables: 0, hosts_lost: 0 }
    }

    /// The step of that name.
    pub fn step(&self, name: &str) -> Option<&Step> {
        self.positions.get(name).map(|&index| &self.steps[index])
    }

    /// Moves one step as its child says. What ends a child moves several at once: `on_host_gone` and `on_child_died`.
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
            // A dependency that failed ends a step that was never called.
            (State::Todo | State::Running, State::Ended(_)) => true,
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
        self.advance(name, "started", State::Running)
    }

    /// Its value is taken.
    pub fn on_stored(&mut self, name: &str) -> Result<(), IllegalMove> {
        self.advance(name, "value", State::Stored)
    }

    /// Its transient value stays in the child.
    pub fn on_kept(&mut self, name: &str) -> Result<(), IllegalMove> {
        self.advance(name, "kept", State::Kept)
    }

    /// An earlier worker has it, or it is not to be called any more: it counts as ended from the start.
    pub fn on_answered(&mut self, name: &str, ended: Option<Ended>) {
        if let Some(&index) = self.positions.get(name)
            && self.states[index] == State::Todo
            && !self.steps[index].transient
        {
            self.states[index] = ended.map_or(State::Stored, State::Ended);
        }
    }

    /// It ended without a value.
    pub fn on_ended(&mut self, name: &str, how: Ended) -> Result<(), IllegalMove> {
        self.advance(name, "ended", State::Ended(how))
    }

    /// The host went away, and the child with it: no fault of the variable, which is called again. `false` when that
    /// happened too often; then [`TaskProgress::on_child_died`] says whom it costs.
    pub fn on_host_gone(&mut self) -> bool {
        self.hosts_lost += 1;
        if self.hosts_lost > MAX_HOSTS_LOST {
            return false;
        }
        for state in &mut self.states {
            if matches!(state, State::Running | State::Kept) {
                *state = State::Todo;
            }
        }
        true
    }

    /// The child is dead; `how` is what its running variable is told. Returns that variable.
    ///
    /// `None` means it died between variables; after more than two such deaths the steps that are left end
    /// with `how` too, and are returned by [`TaskProgress::give_up`].
    pub fn on_child_died(&mut self, how: &Ended) -> Option<String> {
        for state in &mut self.states {
            if *state == State::Kept {
                *state = State::Todo;
            }
        }
        if let Some(index) = self.states.iter().position(|state| *state == State::Running) {
            self.states[index] = State::Ended(how.clone());
            return Some(self.steps[index].name.clone());
        }
        self.deaths_between_variables += 1;
        None
    }

    /// The step whose function is being called.
    pub fn running(&self) -> Option<&str> {
        let index = self.states.iter().position(|state| *state == State::Running)?;
        Some(&self.steps[index].name)
    }

    /// Has a child died between variables too often?
    pub fn is_hopeless(&self) -> bool {
        self.deaths_between_variables > MAX_DEATHS_BETWEEN_VARIABLES
    }

    /// Ends every step that is left; returns those that would have been stored.
    pub fn give_up(&mut self, how: &Ended) -> Vec<String> {
        let mut given_up = Vec::new();
        for (step, state) in self.steps.iter().zip(&mut self.states) {
            if matches!(state, State::Todo | State::Running) {
                *state = State::Ended(how.clone());
                if !step.transient {
                    given_up.push(step.name.clone());
                }
            }
        }
        given_up
    }

    /// What a new child has to do; `None` when all is done.
    pub fn remaining(&self) -> Option<Remaining> {
        // From the last to the first: a transient step is wanted if a wanted step needs it, others are wanted as such.
        let mut wanted = vec![false; self.steps.len()];
        for position in (0..self.steps.len()).rev() {
            if self.states[position] != State::Todo {
                continue;
            }
            wanted[position] =
                wanted[position] || !self.steps[position].transient || self.never_needed(position);
            if wanted[position] {
                for need in &self.steps[position].needs {
                    if let Some(&needed) = self.positions.get(need) {
                        wanted[needed] = true;
                    }
                }
            }
        }
        let mut remaining = Remaining { steps: Vec::new(), stored: BTreeSet::new(), ended: BTreeMap::new() };
        for (position, step) in self.steps.iter().enumerate() {
            if !wanted[position] {
                continue;
            }
            match &self.states[position] {
                State::Todo => remaining.steps.push(step.clone()),
                State::Stored => {
                    remaining.stored.insert(step.name.clone());
                }
                State::Ended(how) => {
                    remaining.ended.insert(step.name.clone(), how.clone());
                }
                State::Running | State::Kept => {}
            }
        }
        (!remaining.steps.is_empty()).then_some(remaining)
    }

    /// A transient step that nothing else in the task needs is asked for by itself (a user may want its side effect).
    fn never_needed(&self, position: usize) -> bool {
        let name = &self.steps[position].name;
        !self.steps[position + 1..].iter().any(|step| step.needs.contains(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(name: &str, needs: &[&str], transient: bool) -> Step {
        Step {
            name: name.to_owned(),
            needs: needs.iter().map(|need| (*need).to_owned()).collect(),
            transient,
            fingerprint: String::new(),
        }
    }

    fn killed() -> Ended {
        Ended::Error { class: "ChildDied".to_owned(), message: "killed".to_owned() }
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
        assert_eq!(task.on_child_died(&killed()).as_deref(), Some("crash"));

        let remaining = task.remaining().unwrap();
        assert_eq!(names(&remaining), ["needed", "after", "also"]);
        assert_eq!(remaining.stored.iter().collect::<Vec<_>>(), ["done"]);
        assert_eq!(remaining.ended["crash"], killed());
    }

    #[test]
    fn a_child_that_dies_between_variables_is_replaced_a_bounded_number_of_times() {
        let mut task = TaskProgress::new(vec![step("a", &[], false), step("t", &[], true)]);
        for _ in 0..MAX_DEATHS_BETWEEN_VARIABLES {
            assert_eq!(task.on_child_died(&killed()), None);
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
        assert_eq!(task.on_child_died(&killed()).as_deref(), Some("a"));
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
}
