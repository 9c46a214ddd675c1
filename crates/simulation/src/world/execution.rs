//! A worker's work on one task: which variables it calls, and what it reports and stores about them. Used for workers on
//! the coordinator's host and in jobs.

use std::{collections::BTreeMap, time::Duration};

use amore_model::{Argument, Dependency, MymdcField, precedence::AttemptMade};
use amore_wire::{
    ended::Ended,
    task::{FromWorker, Outcome, Step, Task},
};

use super::{
    files::{Call, Files, Stored},
    scenario::{Behaviour, Variable},
};

/// The next step of a task.
#[derive(Debug)]
pub(super) enum Next {
    /// Call the function of a variable, which takes this long and needs this much memory.
    Call { name: String, takes: Duration, memory_mib: u64 },
    /// The outcome of a variable is known without a call.
    Known { name: String, outcome: Outcome },
    /// Nothing is left to do.
    Over,
}

/// A task that is being executed.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) task: Task,
    restarts: u32,
    /// Number of steps that have ended.
    done: usize,
    /// Their outcomes, each with the call that computed the value.
    outcomes: BTreeMap<String, (Outcome, Option<Call>)>,
    /// Results that are not in a fragment yet.
    unwritten: BTreeMap<String, Stored>,
}

/// The value of a dependency, if it has one.
enum Input {
    Value(Option<Call>),
    Missing,
}

impl Work {
    /// Starts a task. `restarts`: how often Slurm has requeued its job.
    pub(super) fn new(task: Task, restarts: u32) -> Self {
        Work { task, restarts, done: 0, outcomes: BTreeMap::new(), unwritten: BTreeMap::new() }
    }

    /// The next step. Steps that are only executed for shared state do not occur: the variables here share none.
    fn step(&self) -> Option<&Step> {
        self.task.steps.get(self.done)
    }

    fn input(&self, name: &str, files: &Files) -> Input {
        if let Some((outcome, call)) = self.outcomes.get(name) {
            return if *outcome == Outcome::Value { Input::Value(*call) } else { Input::Missing };
        }
        if self.task.ended.contains_key(name) {
            return Input::Missing;
        }
        let key = (self.task.proposal, self.task.run);
        match files.run_file(key).and_then(|file| file.get(name)) {
            Some(stored) if stored.outcome == Outcome::Value => Input::Value(stored.call),
            _ => Input::Missing,
        }
    }

    /// What to do next.
    pub(super) fn next(&self, variables: &[Variable], files: &Files) -> Next {
        let Some(step) = self.step() else { return Next::Over };
        let name = step.name.clone();
        if let Some(how) = self.task.give_up.get(&name) {
            let outcome = match how {
                Ended::Nothing => Outcome::Nothing,
                Ended::Error { class, message } => {
                    Outcome::Error { class: class.clone(), message: message.clone() }
                }
                Ended::Skipped { message } => Outcome::Skipped { message: message.clone() },
            };
            return Next::Known { name, outcome };
        }
        let Some(variable) = variables.iter().find(|variable| variable.spec.name == name) else {
            return Next::Known { name, outcome: Outcome::Nothing };
        };
        if variable.needs.iter().any(|need| matches!(self.input(need, files), Input::Missing)) {
            let message = "a dependency has no value".to_owned();
            return Next::Known { name, outcome: Outcome::Skipped { message } };
        }
        let in_catalogue = |argument: &Argument| match argument.dependency() {
            Dependency::Mymdc(field) => MymdcField::from_name(field),
            _ => None,
        };
        let mut needed = variable.spec.arguments.iter().filter_map(in_catalogue);
        if let Some(field) = needed.find(|field| !self.task.mymdc.contains_key(field)) {
            let message = format!("the task has no answer about {field}");
            return Next::Known { name, outcome: Outcome::Error { class: "KeyError".to_owned(), message } };
        }
        Next::Call { name, takes: variable.takes, memory_mib: variable.memory_mib }
    }

    /// Records that the function of a variable has returned, or that its outcome is known without a call (`call` is
    /// `None`).
    pub(super) fn ended(
        &mut self,
        variables: &[Variable],
        files: &Files,
        name: &str,
        known: Option<Outcome>,
        call: Option<Call>,
    ) -> FromWorker {
        let variable = variables.iter().find(|variable| variable.spec.name == name);
        let outcome = known.unwrap_or_else(|| match variable.map(|variable| variable.behaviour) {
            Some(Behaviour::Value) => Outcome::Value,
            Some(Behaviour::Error) => {
                Outcome::Error { class: "ValueError".to_owned(), message: "as it is written".to_owned() }
            }
            Some(Behaviour::EndsJob | Behaviour::TooLarge) => {
                Outcome::Error { class: "MemoryError".to_owned(), message: "the last attempt".to_owned() }
            }
            Some(Behaviour::Skip) => Outcome::Skipped { message: "as it is written".to_owned() },
            Some(Behaviour::Nothing) | None => Outcome::Nothing,
        });
        let needs = variable.map(|variable| variable.needs.as_slice()).unwrap_or_default();
        let inputs = needs.iter().filter_map(|need| match self.input(need, files) {
            Input::Value(call) => Some((need.clone(), call?)),
            Input::Missing => None,
        });
        let stored = Stored {
            outcome: outcome.clone(),
            stamp: self.task.stamp,
            attempt: AttemptMade::new(self.task.token.as_ref(), self.restarts, self.task.attempt),
            of: (self.task.proposal, self.task.run),
            call,
            inputs: inputs.collect(),
        };
        if self.step().is_some_and(|step| !step.transient && !step.again) {
            self.unwritten.insert(name.to_owned(), stored);
        }
        self.outcomes.insert(name.to_owned(), (outcome.clone(), call));
        self.done += 1;
        let seconds = variable.map_or(0.0, |variable| variable.takes.as_secs_f64());
        FromWorker::VariableEnded { of: self.task.attempt_id(), name: name.to_owned(), outcome, seconds }
    }

    /// Takes the results that are not in a fragment yet.
    pub(super) fn take_unwritten(&mut self) -> BTreeMap<String, Stored> {
        std::mem::take(&mut self.unwritten)
    }
}
