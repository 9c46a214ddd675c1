//! A service: it does not end with its last request, and does not compute the same arrival of data twice.

use amore_core::{
    Input,
    events::Event,
    request::{Compute, Listener, Request, Trigger},
};
use amore_model::{Run, RunData, Urgency};
use amore_wire::task::FromWorker;

use crate::{
    adopt::after_death,
    harness::{PROPOSAL, World, in_job, runs, setup, variable, with_slurm},
};

fn arrived(run: u32, id: &str) -> Request {
    let trigger = Trigger { id: id.to_owned(), data: RunData::Raw, urgency: Urgency::Live };
    Request::Compute(Compute::arrived(PROPOSAL, Run(run), trigger))
}

fn service() -> World {
    let mut world = World::new(setup(None), vec![variable("a")]);
    world.start(None);
    world.give(Input::Serve);
    world
}

#[test]
fn it_waits_for_requests_until_it_is_told_to_stop() {
    let mut world = service();
    assert!(!world.core.has_ended());
    let listener = world.ask(1, arrived(1, "1"));
    world.execute();
    assert!(is_answered(&world, listener));
    assert_eq!(world.core.size(), (0, 0), "what is finished is forgotten");
    assert!(!world.core.has_ended());
    world.give(Input::Stop);
    assert!(world.core.has_ended());
}

#[test]
fn an_arrival_that_is_announced_twice_is_computed_once() {
    let mut world = service();
    let first = world.ask(1, arrived(1, "1"));
    let second = world.ask(2, arrived(1, "1"));
    assert_eq!(world.at_worker.len(), 1);
    let other = world.ask(3, arrived(1, "2"));
    world.execute();
    // Whoever asked is told the end, also the one who asked first.
    for listener in [first, second, other] {
        assert!(world.end_of(listener).is_some());
    }
}

#[test]
fn a_live_run_overtakes_what_users_ask_for() {
    let mut world = service();
    world.ask(1, runs(1..=9));
    let with_worker = world.at_worker.len();
    assert!(with_worker < 9);
    // The worker gets it although it has enough to do. That of a service has a queue in which it goes first.
    world.ask(2, arrived(20, "1"));
    let last = world.at_worker.last().unwrap();
    assert_eq!((last.run, last.urgency), (Run(20), Urgency::Live));
    assert_eq!(world.at_worker.len(), with_worker + 1);
}

#[test]
fn many_live_runs_do_not_flood_the_worker() {
    let mut world = service();
    world.ask(1, runs(1..=9));
    let with_worker = world.at_worker.len();
    for run in 20..40 {
        world.ask(u64::from(run), arrived(run, &run.to_string()));
    }
    assert!((with_worker + 1..with_worker + 20).contains(&world.at_worker.len()));
}

/// A service was killed while a job computed an arrival. The next one serves, and what the job's worker has to say.
fn next_service() -> (World, String, Vec<FromWorker>) {
    let variables = vec![in_job("a")];
    let mut world = World::new(with_slurm(), variables.clone());
    world.start(None);
    world.give(Input::Serve);
    world.ask(1, arrived(1, "1"));
    let token = world.token(0);
    world.accept(&token, 10);
    let mut next = after_death(&world, variables);
    next.give(Input::Serve);
    let words = next.words_of(&world.task_of(&token));
    (next, token, words)
}

fn is_answered(world: &World, listener: Listener) -> bool {
    matches!(world.end_of(listener), Some(Event::Finished(summary)) if summary.values == 1)
}

#[test]
fn the_next_owner_continues_with_an_arrival_and_does_not_begin_it_again() {
    let (mut next, token, words) = next_service();
    let listener = next.ask(1, arrived(1, "1"));
    assert!(next.submitted.is_empty());
    words.into_iter().for_each(|message| next.job_says(&token, message));
    assert!(is_answered(&next, listener));
}

#[test]
fn what_ended_before_it_was_asked_for_again_is_answered_at_once() {
    let (mut next, token, words) = next_service();
    words.into_iter().for_each(|message| next.job_says(&token, message));
    let listener = next.ask(1, arrived(1, "1"));
    assert!(next.submitted.is_empty());
    assert!(is_answered(&next, listener));
}

#[test]
fn it_looks_for_files_of_other_programs_from_time_to_time() {
    let mut world = service();
    let due = world.core.next_wakeup().unwrap();
    assert!(due > world.now.steady);
    world.after((due - world.now.steady).as_secs_f64());
    assert!(world.core.next_wakeup().unwrap() > due);
}
