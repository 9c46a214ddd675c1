//! What is known of the variables of a task, over all its attempts; and what is left for the next one.

use std::collections::{BTreeMap, BTreeSet};

use amore_plan::PlannedStep;
use amore_wire::{ended::Ended, task::Outcome};

/// Outcomes of a task's variables.
#[derive(Clone, Debug, Default)]
pub struct TaskResults {
    /// As reported by the worker.
    pub outcomes: BTreeMap<String, Outcome>,
    /// Those whose outcome is in the run's file, from this plan.
    pub collected: BTreeSet<String>,
}

/// What the next attempt has to do.
#[derive(Debug, PartialEq, Eq)]
pub struct NextAttempt {
    /// Names of the steps to execute (transient ones again).
    pub steps: Vec<String>,
    /// Names of steps whose outcome is stored and that change state of the module: the worker executes them again if one of
    /// `steps` reads that.
    pub again: Vec<String>,
    /// Values to read from the run's file.
    pub given: Vec<String>,
    /// Outcomes without a value that dependents have to know.
    pub ended: BTreeMap<String, Ended>,
}

impl TaskResults {
    /// Splits the steps of a task into what is stored and what is left. Steps that are only executed for the state that
    /// they leave are neither.
    pub fn next_attempt<'a>(&self, steps: impl IntoIterator<Item = &'a PlannedStep>) -> NextAttempt {
        let mut next =
            NextAttempt { steps: Vec::new(), again: Vec::new(), given: Vec::new(), ended: BTreeMap::new() };
        for step in steps {
            let name = step.name.as_str();
            if step.again {
                next.again.push(name.to_owned());
                continue;
            }
            if !self.collected.contains(name) {
                next.steps.push(name.to_owned());
                continue;
            }
            if !step.changes.is_empty() {
                next.again.push(name.to_owned());
            }
            match self.outcomes.get(name).and_then(Outcome::without_value) {
                None => next.given.push(name.to_owned()),
                Some(how) => {
                    next.ended.insert(name.to_owned(), how);
                }
            }
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_is_not_computed_again() {
        let mut results = TaskResults::default();
        results.outcomes.insert("a".to_owned(), Outcome::Value);
        results.outcomes.insert("b".to_owned(), Outcome::Skipped { message: "no beam".to_owned() });
        results.outcomes.insert("c".to_owned(), Outcome::Value);
        results.collected = ["a".to_owned(), "b".to_owned()].into();
        let step = |name: &str| PlannedStep { name: name.to_owned(), ..PlannedStep::default() };
        let changes = |name: &str| PlannedStep { changes: vec!["TABLE".to_owned()], ..step(name) };
        let again = PlannedStep { again: true, ..changes("e") };
        let next = results.next_attempt(&[step("a"), changes("b"), step("c"), changes("d"), again]);
        assert_eq!(next.steps, ["c", "d"]);
        assert_eq!(next.again, ["b", "e"]);
        assert_eq!(next.given, ["a"]);
        assert_eq!(next.ended["b"], Ended::Skipped { message: "no beam".to_owned() });
    }
}
