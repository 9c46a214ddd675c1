//! Tasks on this machine.

use amore_core::{Input, Setup, events::Event, request::Listener};
use amore_model::{AttemptRank, AttemptToken, Sandbox};
use amore_wire::task::{AttemptId, CutShort, FromWorker, Outcome};
use amore_wire::{VERSION, VERSION_WITH_SANDBOX};

use crate::harness::{World, in_job, key, runs, setup, variable, with, with_slurm};

#[test]
fn runs_are_computed_collected_and_forgotten() {
    let mut world = World::serving(setup(None), vec![variable("a"), with(variable("b"), "a")], runs(1..=50));
    world.execute();
    let summary = world.summary();
    assert_eq!((summary.runs, summary.values, summary.runs_failed), (50, 100, 0));
    assert_eq!(world.core.size(), (0, 0), "what is finished is forgotten");
    let ended = |(_, event): &&(Listener, Event)| matches!(event, Event::RunEnded { problem: None, .. });
    assert_eq!(world.told.iter().filter(ended).count(), 50);
}

#[test]
fn no_more_tasks_are_at_the_worker_than_it_can_use() {
    let mut world = World::serving(setup(None), vec![variable("a")], runs(1..=50));
    assert_eq!(world.at_worker.len(), 4, "two for each process");
    let task = world.at_worker.remove(0);
    let words = world.words_of(&task);
    for message in words {
        world.worker_says(message);
    }
    assert_eq!(world.at_worker.len(), 4);
}

#[test]
fn a_run_is_closed_when_its_results_are_in_the_table_and_not_before() {
    let mut world = World::serving(setup(None), vec![variable("a")], runs([1]));
    world.hold_collector = true;
    world.execute();
    assert!(!world.core.has_ended());
    world.collect();
    assert_eq!(world.summary().runs, 1);
}

#[test]
fn a_lost_worker_costs_its_tasks_one_attempt_and_what_it_stored_is_kept() {
    let mut world = World::serving(setup(None), vec![variable("a"), variable("b")], runs([1]));
    let first = world.worker;
    let tasks = world.at_worker.clone();
    let stored = world.fragment(&tasks[0], &["a".to_owned()]);
    world.waiting.push(stored);
    world.give(Input::WorkerLost { worker: first });
    assert_ne!(world.worker, first, "another worker was started");
    let again: Vec<String> =
        world.at_worker.iter().flat_map(|task| task.steps.iter().map(|step| step.name.clone())).collect();
    assert_eq!(again, ["b"], "only what was not stored is computed again");
    assert!(world.at_worker.iter().all(|task| task.attempt == 2));
    world.execute();
    assert_eq!(world.summary().runs, 1);
}

#[test]
fn late_messages_about_a_task_that_has_ended_change_nothing() {
    let mut world = World::serving(with_slurm(), vec![variable("a"), in_job("b")], runs([1]));
    let task = world.at_worker[0].clone();
    world.execute();
    let failed = Outcome::Error { class: "ValueError".to_owned(), message: "late".to_owned() };
    let name = task.steps[0].name.clone();
    world.worker_says(FromWorker::VariableEnded {
        of: task.attempt_id(),
        name,
        outcome: failed,
        seconds: 1.0,
    });
    let token = world.token(0);
    world.accept(&token, 10);
    world.job_done(&token);
    let summary = world.summary();
    assert_eq!((summary.values, summary.failed), (2, 0));
}

#[test]
fn late_words_of_a_lost_worker_change_nothing_but_its_files_count() {
    let mut world = World::serving(setup(None), vec![variable("a")], runs([1]));
    let (first, task) = (world.worker, world.at_worker[0].clone());
    world.give(Input::WorkerLost { worker: first });
    let of = task.attempt_id();
    world.give(Input::Worker {
        worker: first,
        message: FromWorker::TaskEnded { of: of.clone(), problem: None, cut_short: None },
    });
    assert!(!world.core.has_ended(), "the second attempt goes on");
    let fragment = world.fragment(&task, &["a".to_owned()]);
    let (proposal, run) = key(1);
    world.give(Input::Worker {
        worker: first,
        message: FromWorker::Fragment { of, proposal, run, path: fragment.path },
    });
    world.execute();
    assert_eq!(world.summary().runs_failed, 0);
}

#[test]
fn what_is_said_under_the_token_of_another_attempt_changes_nothing() {
    let mut world = World::serving(setup(None), vec![variable("a")], runs([1]));
    let ours = world.at_worker[0].attempt_id();
    let end = |of| FromWorker::TaskEnded { of, problem: None, cut_short: None };
    // An owner that is gone had begun an attempt of the same number.
    let earlier = AttemptToken::new(AttemptRank { epoch: 6, serial: 1 }, 1, 99);
    assert_ne!(ours.token, Some(earlier.clone()));
    world.worker_says(end(AttemptId { token: Some(earlier), ..ours.clone() }));
    assert!(!world.core.has_ended());
    // A worker of the version before says the number alone.
    world.worker_says(end(AttemptId { token: None, number: Some(2), ..ours.clone() }));
    assert!(!world.core.has_ended());
    world.worker_says(end(AttemptId { token: None, ..ours }));
    assert!(world.core.has_ended());
}

#[test]
fn a_worker_that_dies_again_and_again_is_given_up_for_this_task() {
    let mut world = World::serving(setup(None), vec![variable("a")], runs([1]));
    for attempt in 1..=3 {
        assert_eq!(world.at_worker[0].attempt, attempt);
        let worker = world.worker;
        world.give(Input::WorkerLost { worker });
    }
    let summary = world.summary();
    assert_eq!((summary.runs, summary.runs_failed), (1, 1));
}

#[test]
fn ten_crashes_in_ten_minutes_end_the_command_with_a_reason() {
    let mut world = World::serving(setup(None), vec![variable("a")], runs(1..=50));
    for _ in 0..10 {
        world.after(1.0);
        let worker = world.worker;
        world.give(Input::WorkerLost { worker });
    }
    let refusal = world.core.outcome().unwrap_err();
    assert!(refusal.message.contains("10 times within 10 minutes"), "{refusal}");
}

#[test]
fn a_full_disk_ends_the_command_with_what_to_do() {
    let mut world = World::serving(setup(None), vec![variable("a")], runs([1]));
    let of = world.at_worker[0].attempt_id();
    let cut_short = Some(CutShort::NoSpace);
    world.worker_says(FromWorker::TaskEnded { of, problem: Some("no space left".to_owned()), cut_short });
    assert!(world.core.has_ended());
    assert!(world.core.outcome().unwrap_err().hint.unwrap().contains("quota"));
}

#[test]
fn requests_of_other_processes_are_served_too() {
    let mut world = World::serving(setup(None), vec![variable("a")], runs([1]));
    let other = Listener::Elsewhere(5);
    world.give(Input::Request { listener: other, request: runs([2]) });
    world.execute();
    let finished = |(listener, event): &&(Listener, Event)| {
        *listener == other && matches!(event, Event::Finished(summary) if summary.values == 1)
    };
    assert_eq!(world.told.iter().filter(finished).count(), 1);
    assert_eq!(world.summary().values, 1);
}

#[test]
fn everything_that_executes_user_code_is_given_the_sandbox_of_this_process() {
    let sandbox = Sandbox::parse("bwrap -x").ok();
    let sandboxed = |setup: Setup| Setup { sandbox: sandbox.clone(), ..setup };
    let world = World::serving(sandboxed(setup(None)), vec![variable("a")], runs([1]));
    assert_eq!(world.at_worker[0].sandbox, sandbox);
    let mut world = World::serving(sandboxed(with_slurm()), vec![in_job("a")], runs([1]));
    world.accept(&world.token(0), 10);
    assert_eq!(world.task_of(&world.token(0)).sandbox, sandbox);
    let manifest = &world.submitted[0].manifest;
    assert_eq!(manifest.version, VERSION_WITH_SANDBOX, "an earlier worker refuses it");
    let world = World::serving(with_slurm(), vec![in_job("a")], runs([1]));
    assert_eq!(
        (&world.submitted[0].manifest.tasks[0].sandbox, world.submitted[0].manifest.version),
        (&None, VERSION)
    );
}
