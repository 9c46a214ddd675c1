//! Going on where an earlier owner stopped.

use std::collections::{BTreeMap, BTreeSet};

use amore_core::{
    Input, LeftOpen, OpenRequest, OpenTask, TaskResults,
    journal::{AttemptRecord, Phase, Write},
    request::Listener,
};
use amore_model::{JobId, Run};
use amore_slurm::clusters::Clusters;

use crate::harness::{World, in_job, runs, variable, with, with_slurm};

/// What the ledger holds after these writes.
fn left_open(written: &[Write]) -> LeftOpen {
    let mut left = LeftOpen::default();
    let mut phases: BTreeMap<String, Phase> = BTreeMap::new();
    let mut attempts: BTreeMap<String, AttemptRecord> = BTreeMap::new();
    for write in written {
        match write {
            Write::Request(request) => {
                let open = |task: &amore_core::journal::NewTask| OpenTask {
                    id: task.id.clone(),
                    key: task.key,
                    phase: if task.waits_for.is_empty() { Phase::Ready } else { Phase::Waiting },
                    spec: task.spec.clone(),
                    facts: task.facts.clone(),
                    waits_for: task.waits_for.clone(),
                    waits_in_vain: None,
                    results: TaskResults::default(),
                    fragments: BTreeSet::new(),
                    attempt: None,
                };
                left.requests.push(OpenRequest {
                    id: request.id.clone(),
                    detail: request.detail.clone(),
                    tasks: request.tasks.iter().map(open).collect(),
                    complete: true,
                });
            }
            Write::Changes(changes) => {
                for attempt in &changes.attempts {
                    attempts.insert(attempt.token.clone(), attempt.clone());
                }
                for moved in &changes.moves {
                    phases.insert(moved.task.clone(), moved.to);
                    let tasks = left.requests.iter_mut().flat_map(|request| &mut request.tasks);
                    for task in tasks.filter(|task| task.id == moved.task) {
                        task.phase = moved.to;
                        task.facts = moved.facts.clone();
                    }
                }
            }
            Write::Finished(id) => left.requests.retain(|request| request.id != *id),
        }
    }
    for request in &mut left.requests {
        request.tasks.retain(|task| task.phase != Phase::Ended);
        for task in &mut request.tasks {
            let token = task.facts.token.as_ref();
            task.attempt = token.and_then(|token| Some((attempts.get(token)?.clone(), Clusters::Ours)));
        }
    }
    left
}

/// The owner is killed; another one follows.
fn after_death(world: &World, variables: Vec<amore_model::VariableSpec>) -> World {
    let mut next = World::new(with_slurm(), variables);
    next.start(Some(left_open(&world.written)));
    next
}

#[test]
fn a_job_is_followed_and_not_submitted_again() {
    let variables = vec![in_job("a")];
    let mut world = World::serving(with_slurm(), variables.clone(), runs([1]));
    let token = world.token(0);
    world.accept(&token, 10);
    let mut next = after_death(&world, variables);
    assert_eq!(next.adopted, std::slice::from_ref(&token));
    next.give(Input::Follow);
    assert!(next.submitted.is_empty());
    assert_eq!(next.words(Listener::Here), ["note: 1 task of earlier commands is taken up again"]);
    let task = world.task_of(&token);
    for message in next.words_of(&task) {
        next.job_says(&token, message);
    }
    assert_eq!(next.summary().values, 1);
    assert!(matches!(next.written.last(), Some(Write::Finished(_))));
}

#[test]
fn a_submission_whose_answer_nobody_heard_is_looked_for_first() {
    let variables = vec![in_job("a")];
    let world = World::serving(with_slurm(), variables.clone(), runs([1]));
    let token = world.token(0);
    let mut next = after_death(&world, variables);
    assert_eq!(next.adopted, std::slice::from_ref(&token));
    assert!(next.submitted.is_empty());
    next.accept(&token, 10);
    assert_eq!(next.core.outcome().unwrap().jobs_left, 1);
}

#[test]
fn what_waited_goes_on_when_its_dependency_is_done() {
    let variables = vec![in_job("a"), with(variable("b"), "a")];
    let mut world = World::serving(with_slurm(), variables.clone(), runs([1]));
    let token = world.token(0);
    world.accept(&token, 10);
    let mut next = after_death(&world, variables);
    next.give(Input::Follow);
    let task = world.task_of(&token);
    for message in next.words_of(&task) {
        next.job_says(&token, message);
    }
    next.execute();
    assert!(next.core.has_ended());
    assert_eq!(next.core.size(), (0, 0));
}

#[test]
fn a_command_of_its_own_does_not_wait_for_adopted_tasks() {
    let variables = vec![in_job("a")];
    let mut world = World::serving(with_slurm(), variables, runs([1]));
    let token = world.token(0);
    world.accept(&token, 10);
    let mut next = after_death(&world, vec![variable("b")]);
    next.give(Input::Request { listener: Listener::Here, request: runs([2]) });
    next.execute();
    let summary = next.summary();
    assert_eq!((summary.values, summary.tasks_left), (1, 1));
}

#[test]
fn a_cancellation_goes_on_with_the_next_owner() {
    let variables = vec![in_job("a")];
    let mut world = World::serving(with_slurm(), variables.clone(), runs([1]));
    let token = world.token(0);
    world.accept(&token, 10);
    let request = amore_core::request::Request::Cancel(JobId::on(None, 1));
    world.give(Input::Request { listener: Listener::Elsewhere(1), request });
    let next = after_death(&world, variables);
    assert_eq!(next.to_cancel, [token]);
}

#[test]
fn tasks_that_cannot_be_read_are_told_and_their_request_stays_open() {
    let variables = vec![in_job("a")];
    let mut world = World::serving(with_slurm(), variables.clone(), runs([1]));
    let token = world.token(0);
    world.accept(&token, 10);
    let mut left = left_open(&world.written);
    left.unreadable.push((Run(1), "p1234-r1-x".to_owned()));
    left.requests[0].complete = false;
    left.requests[0].tasks[0].waits_in_vain = Some("p1234-r1-x".to_owned());
    left.requests[0].tasks[0].phase = Phase::Waiting;
    let mut next = World::new(with_slurm(), variables);
    next.start(Some(left));
    next.give(Input::Follow);
    assert!(next.words(Listener::Here)[0].starts_with("warning: 1 task of earlier commands cannot be read"));
    assert!(next.core.has_ended());
    assert!(!next.written.iter().any(|write| matches!(write, Write::Finished(_))));
}
