//! Going on where an earlier owner stopped.

use std::collections::{BTreeMap, BTreeSet};

use amore_core::{
    Input, JobEvent, LeftOpen, OpenRequest, OpenTask, TaskResults,
    history::HistoryKind,
    journal::{AttemptRecord, Phase, Write},
    request::{Listener, Request},
};
use amore_model::{JobId, Run};
use amore_slurm::{JobEnd, clusters::Clusters};

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
pub fn after_death(world: &World, variables: Vec<amore_model::VariableSpec>) -> World {
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
    assert_eq!(next.words(Listener::Here), ["note: resuming 1 task from earlier commands"]);
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
    let request = Request::Cancel(JobId::on(None, 1));
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

#[test]
fn what_waits_for_a_task_that_cannot_be_read_is_given_up_and_nothing_else() {
    let apart = |name: &str, cpus| {
        let mut variable = in_job(name);
        variable.resources.cpus = Some(cpus);
        variable
    };
    let variables =
        vec![apart("a", 1), apart("b", 2), with(apart("of_a", 3), "a"), with(apart("of_b", 4), "b")];
    let mut world = World::serving(with_slurm(), variables.clone(), runs([1]));
    for index in 0..2 {
        let token = world.token(index);
        world.accept(&token, 10 + index as u64);
    }
    let mut left = left_open(&world.written);
    let request = &mut left.requests[0];
    request.complete = false;
    let unreadable = request.tasks.iter().position(|task| task.spec.planned.names() == ["a"]).unwrap();
    let unreadable = request.tasks.remove(unreadable).id;
    for task in &mut request.tasks {
        if task.waits_for.contains(&unreadable) {
            task.waits_in_vain = Some(unreadable.clone());
        }
    }
    left.unreadable.push((Run(1), unreadable));
    let mut next = World::new(with_slurm(), variables);
    next.start(Some(left));
    next.give(Input::Follow);
    let said = next.words(Listener::Here)[0].clone();
    assert!(said.contains("1 task of earlier commands") && said.contains("1 task that depend"), "{said}");
    assert!(said.contains("amore reprocess 1"), "{said}");
    let token = world.token(1);
    for message in next.words_of(&world.task_of(&token)) {
        next.job_says(&token, message);
    }
    let of_b = next.token(0);
    assert_eq!(next.steps_of(0), ["of_b"], "it has waited for b");
    next.accept(&of_b, 20);
    next.job_done(&of_b);
    assert_eq!(next.submitted.len(), 1, "of_a is not computed without a");
    assert_eq!(next.history_of(&HistoryKind::GivenUp).len(), 1);
    assert!(next.core.has_ended());
}

#[test]
fn a_value_that_was_stored_while_nobody_owned_the_directory_is_not_computed_again() {
    let variables = vec![in_job("a")];
    let mut world = World::serving(with_slurm(), variables.clone(), runs([1]));
    let token = world.token(0);
    world.accept(&token, 10);
    let mut left = left_open(&world.written);
    let mut next = World::new(with_slurm(), variables);
    let fragment = next.fragment(&world.task_of(&token), &["a".to_owned()]);
    left.requests[0].tasks[0].fragments.insert(fragment.path);
    next.start(Some(left));
    next.give(Input::Follow);
    next.job_ended(&token, JobEnd::NodeFailed);
    assert!(next.submitted.is_empty());
    assert_eq!(next.summary().runs_failed, 0);
}

#[test]
fn a_task_that_ran_here_is_tried_again_by_the_next_owner() {
    let variables = vec![in_job("far"), variable("here")];
    let world = World::serving(with_slurm(), variables.clone(), runs([1]));
    let at_worker = world.at_worker[0].clone();
    let next = after_death(&world, variables);
    let again: Vec<_> = next.at_worker.iter().map(|task| (task.id.clone(), task.attempt)).collect();
    assert_eq!(again, [(at_worker.id, at_worker.attempt + 1)]);
    assert_eq!(next.adopted, [world.token(0)]);
}

#[test]
fn retries_are_counted_across_owners() {
    let variables = vec![in_job("a")];
    let mut world = World::serving(with_slurm(), variables.clone(), runs([1]));
    let mut written = Vec::new();
    let mut token = world.token(0);
    for job in 1..=3 {
        assert_eq!(world.error_of("a"), None, "before the end of job {job}");
        world.accept(&token, 10 + job);
        world.job_ended(&token, JobEnd::Failed { code: (1, 0), launch: false });
        written.append(&mut world.written);
        if job < 3 {
            world = World::new(with_slurm(), variables.clone());
            world.start(Some(left_open(&written)));
            token = world.adopted[0].clone();
        }
    }
    assert!(world.error_of("a").unwrap().1.contains("after 3 tries"));
}

#[test]
fn an_adopted_job_is_looked_for_on_the_cluster_where_it_was_submitted() {
    let variables = vec![in_job("a")];
    let mut world = World::serving(with_slurm(), variables.clone(), runs([1]));
    let token = world.token(0);
    world
        .give(Input::Job(JobEvent::Accepted { token: token.clone(), job: JobId::on(Some("maxwell"), 1234) }));
    let mut next = after_death(&world, variables);
    next.give(Input::Request {
        listener: Listener::Elsewhere(1),
        request: Request::Cancel(JobId::on(Some("solaris"), 1234)),
    });
    assert!(next.to_cancel.is_empty(), "that is another job");
    next.give(Input::Request {
        listener: Listener::Elsewhere(2),
        request: Request::Cancel(JobId::on(Some("maxwell"), 1234)),
    });
    assert_eq!(next.to_cancel, [token]);
}
