//! `amore cancel`.

use amore_core::{
    Input, JobEvent,
    events::Event,
    request::{Listener, Request},
};
use amore_model::JobId;
use amore_wire::task::FromWorker;

use crate::harness::{World, in_job, runs, setup, variable, with_slurm};

const OTHER: Listener = Listener::Elsewhere(1);

fn cancel(world: &mut World, number: u64) {
    world.give(Input::Request { listener: OTHER, request: Request::Cancel(JobId::on(None, number)) });
}

fn refusals(world: &World) -> Vec<String> {
    let message = |(listener, event): &(Listener, Event)| match event {
        Event::Refused { message, .. } if *listener == OTHER => Some(message.clone()),
        _ => None,
    };
    world.told.iter().filter_map(message).collect()
}

#[test]
fn a_job_is_cancelled_when_slurm_shows_it() {
    let mut world = World::serving(with_slurm(), vec![in_job("a")], runs([1]));
    let token = world.token(0);
    let job = world.accept(&token, 10);
    cancel(&mut world, 1);
    assert_eq!(world.to_cancel, std::slice::from_ref(&token));
    assert!(world.words(OTHER).is_empty() && !world.core.has_ended());
    world.give(Input::Job(JobEvent::Cancelled { token, job: Some(job) }));
    assert_eq!(world.words(OTHER), ["run 1: 1 task cancelled (jobs 10)"]);
    assert!(world.core.has_ended());
}

#[test]
fn a_job_that_is_not_submitted_yet_never_is() {
    let mut world = World::new(with_slurm(), vec![in_job("a")]);
    world.start(None);
    world.ledger_silent = true;
    world.give(Input::Request { listener: Listener::Here, request: runs([1]) });
    cancel(&mut world, 1);
    assert_eq!(world.words(OTHER).last().unwrap(), "run 1: 1 task cancelled");
    world.ledger_silent = false;
    world.after(1.0);
    assert!(world.submitted.is_empty());
    assert!(world.core.has_ended());
}

#[test]
fn what_runs_here_says_itself_that_it_is_over() {
    let mut world = World::serving(setup(None), vec![variable("a")], runs([1]));
    cancel(&mut world, 1);
    let id = world.at_worker[0].id.clone();
    assert_eq!(world.told_to_stop, std::slice::from_ref(&id));
    assert!(!world.core.has_ended());
    let problem = Some("cancelled".to_owned());
    let of = world.at_worker[0].attempt_id();
    world.worker_says(FromWorker::TaskEnded { of, problem, cut_short: None });
    assert!(world.core.has_ended());
}

#[test]
fn what_was_told_to_stop_is_not_tried_again_when_its_worker_dies() {
    let mut world = World::serving(setup(None), vec![variable("a")], runs([1]));
    cancel(&mut world, 1);
    let worker = world.worker;
    world.give(Input::WorkerLost { worker });
    assert!(world.at_worker.is_empty());
    assert!(world.core.has_ended());
}

#[test]
fn a_job_between_its_end_and_its_judgement_can_be_cancelled() {
    let mut world = World::serving(with_slurm(), vec![in_job("a")], runs([1]));
    let token = world.token(0);
    world.accept(&token, 10);
    world.hold_collector = true;
    let task = world.task_of(&token);
    let fragment = world.fragment(&task, &[]);
    world.waiting.push(fragment);
    world.job_ended(&token, amore_slurm::JobEnd::NodeFailed);
    cancel(&mut world, 1);
    assert_eq!(world.words(OTHER).last().unwrap(), "run 1: 1 task cancelled");
    world.collect();
    assert!(world.core.has_ended());
    assert_eq!(world.submitted.len(), 1, "it is not tried again");
}

#[test]
fn there_may_be_nothing_to_cancel() {
    let mut world = World::serving(setup(None), vec![variable("a")], runs([1]));
    cancel(&mut world, 9);
    assert_eq!(refusals(&world), ["nothing of a run or job 9 is under way"]);
    world.execute();
    assert_eq!(world.summary().values, 1);
}

#[test]
fn a_job_that_does_not_end_holds_up_nobody_who_waits() {
    let mut world = World::serving(with_slurm(), vec![in_job("a")], runs([1]));
    let token = world.token(0);
    let job = world.accept(&token, 10);
    cancel(&mut world, 10);
    world.give(Input::Job(JobEvent::NotCancelled {
        token: token.clone(),
        job: Some(job.clone()),
        words: "the controller does not answer".to_owned(),
    }));
    assert_eq!(refusals(&world).len(), 1);
    assert!(!world.core.has_ended(), "its end is still wanted");
    world.give(Input::Job(JobEvent::Cancelled { token, job: Some(job) }));
    assert!(world.core.has_ended());
}

#[test]
fn a_job_that_ends_by_itself_before_is_told_as_such() {
    let mut world = World::serving(with_slurm(), vec![in_job("a")], runs([1]));
    let token = world.token(0);
    world.accept(&token, 10);
    cancel(&mut world, 1);
    world.job_done(&token);
    assert_eq!(refusals(&world), ["run 1: all of it had ended before it could be cancelled"]);
    assert_eq!(world.summary().values, 1);
}
