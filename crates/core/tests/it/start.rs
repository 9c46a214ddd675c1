//! Before work begins: results of earlier commands, the context file, the ledger.

use amore_core::{
    Fragment, Input, Refusal, RefusalKind,
    events::Event,
    request::{Listener, Request},
};
use amore_model::{JobId, Problem, ProblemKind};
use amore_wire::task::{AttemptId, FromWorker};

use crate::harness::{World, in_job, key, runs, setup, variable, with_slurm};

fn own_request(world: &mut World) {
    world.give(Input::Request { listener: Listener::Here, request: runs([1]) });
}

fn left_by_another() -> Input {
    let fragments = vec![Fragment { key: key(7), path: "/db/extracted_data/left.ready.h5".into() }];
    Input::Started { fragments, ledger_exists: false }
}

#[test]
fn results_of_earlier_commands_are_in_the_table_before_anything_is_planned() {
    let mut world = World::new(setup(None), vec![variable("a")]);
    world.hold_collector = true;
    world.give(left_by_another());
    own_request(&mut world);
    assert!(world.at_worker.is_empty());
    world.collect();
    assert_eq!(world.at_worker.len(), 1);
}

#[test]
fn what_cannot_be_collected_of_earlier_commands_is_said_to_the_next_request_and_stops_nothing() {
    let mut world = World::new(setup(None), vec![variable("a")]);
    world.collect_problem = Some("no space left".to_owned());
    world.give(left_by_another());
    world.collect_problem = None;
    own_request(&mut world);
    assert_eq!(world.words(Listener::Here), ["warning: run 7: no space left"]);
    world.ask(1, runs([2]));
    assert_eq!(world.words(Listener::Elsewhere(1)), [""; 0], "once");
    world.execute();
    assert_eq!(world.summary().runs_failed, 0);
}

#[test]
fn stopped_while_results_of_earlier_commands_are_collected_nothing_is_planned() {
    let mut world = World::new(setup(None), vec![variable("a")]);
    world.hold_collector = true;
    world.give(left_by_another());
    own_request(&mut world);
    world.give(Input::Stop);
    assert!(world.core.has_ended());
    assert_eq!(world.core.outcome().unwrap_err().kind, RefusalKind::Interrupted);
    world.collect();
    assert!(world.at_worker.is_empty());
}

#[test]
fn a_context_file_with_errors_ends_the_command_with_them() {
    let mut world = World::new(setup(None), vec![variable("a")]);
    world.problems = vec![Problem::error(ProblemKind::MissingDependency, "a depends on bra")];
    world.start(None);
    own_request(&mut world);
    let refusal = world.core.outcome().unwrap_err();
    assert_eq!(refusal.kind, RefusalKind::ContextFile);
    assert!(refusal.message.contains("a depends on bra"), "{refusal}");
    assert!(world.at_worker.is_empty() && world.core.has_ended());
}

#[test]
fn a_python_that_cannot_be_used_ends_the_command_with_what_to_do() {
    let mut world = World::new(setup(None), vec![variable("a")]);
    world.hold_description = true;
    world.start(None);
    own_request(&mut world);
    let of = AttemptId::without_attempts(&world.to_describe[0]);
    let hint = Some("set context_python".to_owned());
    world.worker_says(FromWorker::HostFailed {
        of,
        message: "no such Python".to_owned(),
        hint: hint.clone(),
    });
    let refusal = world.core.outcome().unwrap_err();
    assert_eq!((refusal.message.as_str(), refusal.hint), ("no such Python", hint));
}

#[test]
fn an_error_in_the_request_of_another_process_is_told_to_that_process_alone() {
    let mut world = World::serving(setup(None), vec![variable("a")], runs([1]));
    world.problems = vec![Problem::error(ProblemKind::MissingDependency, "a depends on bra")];
    let other = world.ask(1, runs([2]));
    assert!(matches!(world.end_of(other), Some(Event::Refused { exit: 4, .. })), "{:?}", world.end_of(other));
    assert!(!world.core.has_ended());
    world.execute();
    assert_eq!(world.summary().values, 1);
}

#[test]
fn a_worker_that_dies_while_it_describes_the_context_file_is_replaced_and_asked_again() {
    let mut world = World::new(setup(None), vec![variable("a")]);
    world.hold_description = true;
    world.start(None);
    own_request(&mut world);
    assert_eq!(world.to_describe.len(), 1);
    let worker = world.worker;
    world.give(Input::WorkerLost { worker });
    assert_eq!(world.to_describe.len(), 2);
    world.to_describe.remove(0);
    world.describe();
    world.execute();
    assert_eq!(world.summary().values, 1);
}

#[test]
fn requests_that_come_meanwhile_are_described_one_after_the_other() {
    let mut world = World::new(setup(None), vec![variable("a")]);
    world.hold_description = true;
    world.start(None);
    own_request(&mut world);
    world.ask(1, runs([2]));
    assert_eq!(world.to_describe.len(), 1, "one Python starts, and the next request finds it warm");
    world.describe();
    assert_eq!(world.to_describe.len(), 1);
    assert_eq!(world.at_worker.len(), 1, "the first one does not wait for the second");
    world.describe();
    assert_eq!(world.at_worker.len(), 2);
}

#[test]
fn a_run_that_is_cancelled_before_it_is_planned_is_left_out() {
    let mut world = World::new(setup(None), vec![variable("a")]);
    world.hold_description = true;
    world.start(None);
    world.give(Input::Request { listener: Listener::Here, request: runs([1, 2]) });
    let other = world.ask(1, Request::Cancel(JobId::on(None, 2)));
    assert_eq!(world.words(other), ["run 2: removed from a request that is being prepared"]);
    world.describe();
    assert_eq!(world.at_worker.iter().map(|task| task.run.0).collect::<Vec<_>>(), [1]);
}

#[test]
fn stopped_while_the_context_file_is_executed_it_says_so_and_another_process_does_its_request_itself() {
    let mut world = World::new(setup(None), vec![variable("a")]);
    world.hold_description = true;
    world.start(None);
    own_request(&mut world);
    let other = world.ask(1, runs([2]));
    world.give(Input::Stop);
    let refusal = world.core.outcome().unwrap_err();
    assert_eq!(refusal.kind, RefusalKind::Interrupted);
    assert_eq!(world.end_of(other), None);
}

#[test]
fn without_a_ledger_no_job_is_submitted() {
    let mut world = World::new(with_slurm(), vec![in_job("a"), variable("b")]);
    world.ledger_refusal = Some(Refusal::new("the ledger is read-only"));
    world.start(None);
    own_request(&mut world);
    assert_eq!(world.core.outcome().unwrap_err().message, "the ledger is read-only");
    assert!(world.submitted.is_empty() && world.at_worker.is_empty());
}

#[test]
fn where_no_jobs_can_be_made_a_request_that_needs_none_is_served() {
    for (variables, is_served) in [(vec![variable("a")], true), (vec![in_job("a")], false)] {
        let mut world = World::new(with_slurm(), variables);
        world.no_jobs = Some(Refusal::new("the template makes an array"));
        world.start(None);
        own_request(&mut world);
        assert_eq!(world.at_worker.len(), usize::from(is_served));
        assert!(world.submitted.is_empty());
        assert_eq!(world.core.has_ended(), !is_served);
    }
}
