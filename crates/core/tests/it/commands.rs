//! Variables with a Slurm job of their own.

use std::{collections::BTreeMap, path::PathBuf};

use amore_core::{
    Input, Prepared,
    request::{Listener, Request},
};
use amore_model::{JobId, JobOutcome, JobState};
use amore_slurm::{JobEnd, refused::RefusalKind};
use amore_wire::{
    ended::Ended,
    task::{FromWorker, UserCommand},
};

use crate::harness::{World, runs, with_command, with_slurm};

fn command() -> Prepared {
    Prepared::Ready(Box::new(UserCommand {
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
    assert!(world.submitted[1].manifest.tasks[0].command.is_some());
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

#[test]
fn each_end_of_a_command_is_the_outcome_that_the_table_says() {
    for (end, words) in [
        (JobEnd::Failed { code: (3, 0), launch: false }, "exit code 3"),
        (JobEnd::TimeLimit, "TIMEOUT"),
        (JobEnd::OutOfMemory, "OUT_OF_MEMORY"),
        (JobEnd::Cancelled { by: Some("alice".to_owned()) }, "by alice"),
        (JobEnd::Vanished, "no longer known"),
        (JobEnd::Completed, "did not say"),
    ] {
        let mut world = world(command());
        let token = world.token(0);
        world.accept(&token, 10);
        world.job_ended(&token, end.clone());
        assert_eq!(
            world.submitted.len(),
            1,
            "{end}: a command is the user's, and may have done half of its work"
        );
        let (class, message) = world.error_of("a").unwrap();
        assert!(message.contains(words) && message.contains("last words"), "{end}: {class}: {message}");
        world.execute();
        assert!(world.core.has_ended(), "{end}");
    }
}

#[test]
fn what_was_taken_from_a_command_is_submitted_again_as_often_as_the_table_says() {
    for (end, jobs) in [
        (JobEnd::NodeFailed, 4),
        (JobEnd::Preempted, 4),
        (JobEnd::ReservationGone { reservation: "beam".to_owned() }, 4),
        (JobEnd::Failed { code: (0, 53), launch: true }, 3),
        (JobEnd::TakenBack, 3),
    ] {
        let mut world = world(command());
        let mut ended = 0;
        while ended < world.submitted.len() {
            let token = world.token(ended);
            world.accept(&token, 10 + ended as u64);
            world.job_ended(&token, end.clone());
            ended += 1;
        }
        assert_eq!(ended, jobs, "{end}");
        assert!(world.error_of("a").is_some(), "{end}");
    }
}

#[test]
fn a_command_that_slurm_refuses_is_the_error_of_its_variable_whatever_there_was_before() {
    let mut world = world(command());
    world.earlier_values = ["a".to_owned()].into();
    let token = world.token(0);
    world.refuse(&token, RefusalKind::Rule, "Invalid account");
    let (class, message) = world.error_of("a").unwrap();
    assert!(class == "JobRefused" && message.contains("Invalid account"), "{class}: {message}");
    world.execute();
    assert!(world.core.has_ended());
}

#[test]
fn a_command_whose_worker_reports_its_outcome_is_not_judged_by_its_job() {
    let mut world = world(command());
    let token = world.token(0);
    world.accept(&token, 10);
    let of = world.task_of(&token).attempt_id();
    let outcome = Box::new(JobOutcome {
        id: Some("10".to_owned()),
        cluster: None,
        state: JobState::Completed,
        reason: String::new(),
        exit_code: Some(0),
        signal: None,
        directory: PathBuf::from("/db/jobs/r1-p1234/a"),
        log: None,
        elapsed: 1.0,
        tail: String::new(),
    });
    world.job_says(&token, FromWorker::CommandEnded { of: of.clone(), outcome });
    world.job_says(&token, FromWorker::TaskEnded { of, problem: None, cut_short: None });
    world.job_ended(&token, JobEnd::Completed);
    let function = &world.at_worker[0];
    assert!(function.give_up.is_empty() && function.outcomes.contains_key("a"));
    world.execute();
    assert_eq!(world.summary().values, 1);
}

#[test]
fn a_command_whose_dependency_has_no_value_is_not_executed_and_its_function_says_which() {
    let mut world = world(Prepared::NotNow);
    assert!(world.submitted.is_empty());
    let function = &world.at_worker[0];
    assert!(function.give_up.is_empty() && function.outcomes.is_empty());
    world.execute();
    assert!(world.core.has_ended());
}
