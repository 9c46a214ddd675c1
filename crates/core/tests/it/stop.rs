//! Ctrl-C.

use amore_core::{
    Input, RefusalKind, Setup,
    events::Event,
    journal::{Phase, Write},
    request::Listener,
};
use amore_model::DatabaseDir;
use amore_wire::task::FromWorker;

use crate::harness::{World, in_job, runs, setup, variable, with_slurm};

#[test]
fn what_runs_here_is_stopped_and_what_is_stored_is_collected() {
    let mut world = World::serving(setup(None), vec![variable("a")], runs(1..=10));
    let running: Vec<String> = world.at_worker.iter().map(|task| task.id.clone()).collect();
    world.give(Input::Stop);
    assert_eq!(world.told_to_stop, running);
    assert!(!world.core.has_ended(), "it waits for the worker");
    for of in world.at_worker.iter().map(|task| task.attempt_id()).collect::<Vec<_>>() {
        let problem = Some("cancelled".to_owned());
        world.worker_says(FromWorker::TaskEnded { of, problem, cut_short: None });
    }
    let summary = world.summary();
    assert!(summary.interrupted);
    assert_eq!((summary.runs, summary.runs_failed), (0, 0), "cut short is not failed");
}

#[test]
fn a_worker_that_does_not_stop_is_not_waited_for_long() {
    let mut world = World::serving(setup(None), vec![variable("a")], runs([1]));
    world.give(Input::Stop);
    world.after(4.9);
    assert!(!world.core.has_ended());
    world.after(0.2);
    assert!(world.core.has_ended());
}

#[test]
fn told_twice_it_waits_for_nothing() {
    let mut world = World::serving(setup(None), vec![variable("a")], runs([1]));
    world.give(Input::Stop);
    world.give(Input::Stop);
    assert!(world.core.has_ended());
    assert!(!world.core.is_settled());
}

#[test]
fn jobs_go_on_and_the_process_that_asked_for_them_hears_of_it() {
    let mut world = World::serving(with_slurm(), vec![in_job("a")], runs([1]));
    let other = Listener::Elsewhere(3);
    world.give(Input::Request { listener: other, request: runs([2]) });
    let (first, second) = (world.token(0), world.token(1));
    world.accept(&first, 10);
    world.accept(&second, 11);
    let written = world.written.len();
    world.give(Input::Stop);
    assert!(world.core.has_ended());
    assert_eq!(world.written.len(), written, "in the ledger they are still under way");
    assert_eq!(world.summary().jobs_left, 2);
    assert!(world.to_cancel.is_empty());
    let last = world.core.close();
    let told = |effect: &amore_core::Effect| match effect {
        amore_core::Effect::Tell { listener, event: Event::Finished(summary) } => {
            Some((*listener, summary.interrupted, summary.jobs_left))
        }
        _ => None,
    };
    let told: Vec<_> = last.iter().filter_map(told).collect();
    assert!(told.contains(&(other, true, 2)), "{told:?}");
}

#[test]
fn stopped_before_anything_is_planned_it_says_so() {
    let mut world = World::new(Setup { dir: DatabaseDir::at("/db".into()), ..setup(None) }, Vec::new());
    world.give(Input::Stop);
    let refusal = world.core.outcome().unwrap_err();
    assert_eq!(refusal.kind, RefusalKind::Interrupted);
}

/// Its request may be finished with it: nobody would take up a task that the ledger still has.
#[test]
fn what_ends_by_itself_after_ctrl_c_has_ended_in_the_ledger_too() {
    let mut world = World::serving(with_slurm(), vec![variable("here"), in_job("there")], runs([1]));
    let token = world.token(0);
    world.accept(&token, 10);
    world.job_done(&token);
    let task = world.at_worker[0].clone();
    world.give(Input::Stop);
    assert_eq!(world.told_to_stop, std::slice::from_ref(&task.id));
    world.execute();
    assert!(world.core.has_ended());
    let ends = |write: &Write| match write {
        Write::Changes(changes) => {
            changes.moves.iter().any(|moved| moved.task == task.id && moved.to == Phase::Ended)
        }
        _ => false,
    };
    assert!(world.written.iter().any(ends), "{:?}", world.written);
}
