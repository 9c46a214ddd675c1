//! `amore cancel`.

use amore_core::{
    Input, JobEvent,
    events::Event,
    history::HistoryKind,
    request::{Listener, Request},
};
use amore_model::JobId;
use amore_slurm::{JobEnd, refused::RefusalKind, submission::Doubt};
use amore_wire::task::FromWorker;

use crate::harness::{World, in_job, runs, setup, variable, with, with_slurm};

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
    world.job_ended(&token, JobEnd::NodeFailed);
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
    assert_eq!(refusals(&world), ["run 1: everything had ended before it could be cancelled"]);
    assert_eq!(world.summary().values, 1);
}

#[test]
fn a_job_whose_number_is_not_known_yet_is_cancelled_when_it_is() {
    let mut world = World::serving(with_slurm(), vec![in_job("a")], runs([1]));
    let token = world.token(0);
    cancel(&mut world, 1);
    assert_eq!(world.to_cancel, std::slice::from_ref(&token), "the poller knows what to look for");
    world.accept(&token, 10);
    assert!(world.words(OTHER).is_empty());
    world.give(Input::Job(JobEvent::Cancelled { token, job: Some(JobId::on(None, 10)) }));
    assert_eq!(world.words(OTHER), ["run 1: 1 task cancelled (jobs 10)"]);
}

#[test]
fn a_cancelled_job_that_slurm_refuses_or_never_had_is_not_submitted_again() {
    for is_refused in [true, false] {
        let mut world = World::serving(with_slurm(), vec![in_job("a")], runs([1]));
        let token = world.token(0);
        cancel(&mut world, 1);
        if is_refused {
            world.refuse(&token, RefusalKind::Passes, "Resource temporarily unavailable");
        } else {
            world.give(Input::Job(JobEvent::NotFound { token, doubt: Doubt::Unanswered }));
        }
        world.after(60.0);
        assert_eq!(world.submitted.len(), 1);
        assert_eq!(world.words(OTHER), ["run 1: 1 task cancelled"]);
        assert!(world.core.has_ended());
    }
}

#[test]
fn a_cancelled_job_is_not_tried_again_however_it_ends() {
    for end in [JobEnd::NodeFailed, JobEnd::TimeLimit, JobEnd::Vanished, JobEnd::Cancelled { by: None }] {
        let mut world = World::serving(with_slurm(), vec![in_job("a")], runs([1]));
        let token = world.token(0);
        world.accept(&token, 10);
        cancel(&mut world, 1);
        world.job_ended(&token, end.clone());
        assert_eq!(world.submitted.len(), 1, "{end}");
        assert_eq!(world.words(OTHER), ["run 1: 1 task cancelled (jobs 10)"], "{end}");
        assert!(world.core.has_ended(), "{end}");
    }
}

#[test]
fn what_a_cancelled_job_had_finished_stays() {
    let mut world = World::serving(with_slurm(), vec![in_job("a"), with(in_job("b"), "a")], runs([1]));
    let token = world.token(0);
    let job = world.accept(&token, 10);
    world.stores(&token, "a");
    cancel(&mut world, 1);
    world.give(Input::Job(JobEvent::Cancelled { token, job: Some(job) }));
    assert!(world.waiting.is_empty(), "its fragments are looked for");
    let summary = world.summary();
    assert_eq!((summary.values, summary.runs_failed), (1, 1));
}

#[test]
fn a_number_that_two_clusters_have_given_is_not_guessed() {
    let mut world = World::serving(with_slurm(), vec![in_job("a")], runs([1, 2]));
    for (index, cluster) in ["maxwell", "solaris"].into_iter().enumerate() {
        let token = world.token(index);
        world.give(Input::Job(JobEvent::Accepted { token, job: JobId::on(Some(cluster), 1234) }));
    }
    cancel(&mut world, 1234);
    assert_eq!(refusals(&world), ["2 clusters have a job 1234: nothing is cancelled"]);
    assert!(world.to_cancel.is_empty());
    let named = Request::Cancel(JobId::on(Some("solaris"), 1234));
    world.give(Input::Request { listener: OTHER, request: named });
    assert_eq!(world.to_cancel, [world.token(1)]);
}

#[test]
fn a_run_is_meant_before_a_job_of_the_same_number() {
    let mut world = World::serving(with_slurm(), vec![in_job("a")], runs([1, 2]));
    for (index, number) in [(0, 2), (1, 77)] {
        let token = world.token(index);
        world.accept(&token, number);
    }
    cancel(&mut world, 2);
    assert_eq!(world.to_cancel, [world.token(1)]);
}

#[test]
fn dependents_of_a_cancelled_task_are_cancelled_with_their_run_and_other_runs_are_not() {
    let mut far = with(in_job("far"), "near");
    far.resources.cpus = Some(2);
    let mut world = World::serving(with_slurm(), vec![in_job("near"), far], runs([1, 2]));
    let (first, second) = (world.token(0), world.token(1));
    let job = world.accept(&first, 10);
    world.accept(&second, 11);
    cancel(&mut world, 1);
    world.give(Input::Job(JobEvent::Cancelled { token: first, job: Some(job) }));
    assert_eq!(world.words(OTHER), ["run 1: 2 tasks cancelled (jobs 10)"]);
    assert_eq!(world.history_of(&HistoryKind::Cancelled).len(), 2);
    world.job_done(&second);
    let third = world.token(2);
    world.accept(&third, 12);
    world.job_done(&third);
    let summary = world.summary();
    assert_eq!((summary.values, summary.runs, summary.runs_failed), (2, 2, 1));
}
