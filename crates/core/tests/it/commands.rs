//! Variables with a Slurm job of their own.

use std::{collections::BTreeMap, path::PathBuf};

use amore_core::{
    Input, Prepared,
    request::{Listener, Request},
};
use amore_model::JobId;
use amore_slurm::JobEnd;
use amore_wire::{ended::Ended, task::Command};

use crate::harness::{World, runs, with_command, with_slurm};

fn command() -> Prepared {
    Prepared::Ready(Box::new(Command {
        variable: "a".to_owned(),
        words: vec!["program".to_owned()],
        environment: BTreeMap::new(),
        working_directory: PathBuf::from("/db"),
        own_directory: PathBuf::from("/db/jobs/r1-p1234/a"),
    }))
}

fn world(prepared: Prepared) -> World {
    let mut world = World::new(with_slurm(), vec![with_command("a")]);
    world.prepared = Some(prepared);
    world.log_tail = Some("last words".to_owned());
    world.start(None);
    world.give(Input::Request { listener: Listener::Here, request: runs([1]) });
    world
}

#[test]
fn the_outcome_of_a_lost_command_is_the_error_of_its_variable_with_the_end_of_its_log() {
    let mut world = world(command());
    let token = world.token(0);
    world.accept(&token, 10);
    world.job_ended(&token, JobEnd::TimeLimit);
    let Ended::Error { class, message } = &world.at_worker[0].give_up["a"] else { panic!("no error") };
    assert!(message.contains("TIMEOUT") && message.contains("last words"), "{class}: {message}");
    world.execute();
    assert!(world.core.has_ended());
}

#[test]
fn a_command_whose_node_fails_is_submitted_again() {
    let mut world = world(command());
    let token = world.token(0);
    world.accept(&token, 10);
    world.job_ended(&token, JobEnd::NodeFailed);
    assert_eq!(world.submitted.len(), 2);
    assert!(world.submitted[1].sheet.tasks[0].command.is_some());
}

#[test]
fn a_command_that_cannot_be_made_is_the_error_of_its_variable() {
    let mut world = world(Prepared::Refused { class: "TypeError", message: "no number".to_owned() });
    assert!(world.submitted.is_empty());
    assert_eq!(
        world.at_worker[0].give_up["a"],
        Ended::Error { class: "TypeError".to_owned(), message: "no number".to_owned() }
    );
    world.execute();
    assert!(world.core.has_ended());
}

#[test]
fn the_same_command_of_two_requests_is_executed_one_after_the_other() {
    let mut world = world(command());
    world.give(Input::Request { listener: Listener::Elsewhere(1), request: runs([1]) });
    assert_eq!(world.submitted.len(), 1);
    let token = world.token(0);
    world.accept(&token, 10);
    world.job_done(&token);
    world.execute();
    world.after(1.1);
    assert_eq!(world.submitted.len(), 2);
}

#[test]
fn a_cancelled_command_is_told_to_its_function() {
    let mut world = world(command());
    let token = world.token(0);
    let job = world.accept(&token, 10);
    world.give(Input::Request {
        listener: Listener::Elsewhere(1),
        request: Request::Cancel(JobId::on(None, 10)),
    });
    world.give(Input::Job(amore_core::JobEvent::Cancelled { token, job: Some(job) }));
    let Ended::Error { message, .. } = &world.at_worker[0].give_up["a"] else { panic!("no error") };
    assert!(message.contains("CANCELLED"), "{message}");
    world.execute();
    assert!(world.core.has_ended());
}
