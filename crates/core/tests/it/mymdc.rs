//! Values of the metadata catalogue.

use std::collections::BTreeSet;

use amore_core::{Input, Prepared, RunKey, request::RequestNo};
use amore_model::{Argument, MymdcField, VariableSpec};
use amore_slurm::JobEnd;
use amore_wire::mymdc::{MymdcValue, MymdcValues};

use crate::harness::{World, in_job, key, runs, setup, variable, with, with_command, with_slurm};

/// Asks for a field of the catalogue, too.
fn asking(mut variable: VariableSpec, field: MymdcField) -> VariableSpec {
    let annotation = format!("mymdc#{field}");
    variable.arguments.push(Argument { name: field.to_string(), annotation, has_default: false });
    variable
}

fn fields(fields: &[MymdcField]) -> BTreeSet<MymdcField> {
    fields.iter().copied().collect()
}

fn value(json: &str) -> MymdcValue {
    MymdcValue::Value { json: json.to_owned() }
}

/// The catalogue answers the first question that is open.
fn answer(world: &mut World, values: &[(MymdcField, MymdcValue)]) -> (RequestNo, RunKey) {
    let (request, key, asked) = world.to_mymdc.remove(0);
    let values: MymdcValues = values.iter().cloned().collect();
    assert_eq!(values.keys().copied().collect::<BTreeSet<_>>(), asked);
    world.give(Input::Mymdc { request, key, values });
    (request, key)
}

/// Names of the steps at the worker here.
fn at_worker(world: &World) -> Vec<String> {
    let steps = world.at_worker.iter().flat_map(|task| &task.steps);
    steps.map(|step| step.name.clone()).collect()
}

#[test]
fn the_catalogue_is_asked_once_for_each_run_and_for_what_is_needed_only() {
    let variables = vec![
        asking(variable("a"), MymdcField::SampleName),
        asking(variable("b"), MymdcField::SampleName),
        asking(in_job("c"), MymdcField::RunType),
    ];
    let mut world = World::serving(with_slurm(), variables, runs([1, 2]));
    let both = fields(&[MymdcField::SampleName, MymdcField::RunType]);
    let asked: Vec<_> = world.to_mymdc.iter().map(|(_, key, fields)| (*key, fields.clone())).collect();
    assert_eq!(asked, [(key(1), both.clone()), (key(2), both)]);
    assert!(world.at_worker.is_empty() && world.submitted.is_empty());
    let values = [(MymdcField::SampleName, value("\"x\"")), (MymdcField::RunType, value("\"Dark\""))];
    answer(&mut world, &values);
    answer(&mut world, &values);
    assert!(world.to_mymdc.is_empty());
    for task in &world.at_worker {
        assert_eq!(task.mymdc, values[..1].iter().cloned().collect(), "only what its steps need");
    }
    for at in 0..2 {
        let token = world.token(at);
        assert_eq!(world.task_of(&token).mymdc, values[1..].iter().cloned().collect());
        world.accept(&token, 10 + at as u64);
        world.job_done(&token);
    }
    world.execute();
    assert_eq!(world.summary().values, 6);
}

#[test]
fn nothing_is_asked_if_nothing_is_needed() {
    let world = World::serving(with_slurm(), vec![variable("a"), in_job("b")], runs([1]));
    assert!(world.to_mymdc.is_empty() && world.at_worker[0].mymdc.is_empty());
}

#[test]
fn tasks_that_need_no_answer_do_not_wait_for_it() {
    // With resources of its own it is a job of its own.
    let mut own = asking(in_job("a"), MymdcField::SampleName);
    own.resources.cpus = Some(2);
    let variables = vec![own, in_job("b"), variable("c")];
    let mut world = World::serving(with_slurm(), variables, runs([1]));
    let submitted: Vec<_> = (0..world.submitted.len()).flat_map(|at| world.steps_of(at)).collect();
    assert_eq!((submitted, at_worker(&world)), (vec!["b".to_owned()], vec!["c".to_owned()]));
    answer(&mut world, &[(MymdcField::SampleName, value("\"x\""))]);
    assert_eq!(world.steps_of(1), ["a"]);
}

#[test]
fn an_error_reaches_the_task_as_an_error_and_the_task_is_executed() {
    let mut world =
        World::serving(setup(None), vec![asking(variable("a"), MymdcField::Techniques)], runs([1]));
    let error = MymdcValue::Error { class: "MymdcUnavailableError".to_owned(), message: "no".to_owned() };
    answer(&mut world, &[(MymdcField::Techniques, error.clone())]);
    assert_eq!(world.at_worker[0].mymdc[&MymdcField::Techniques], error);
    world.execute();
    assert_eq!(world.summary().runs, 1);
}

#[test]
fn a_second_attempt_has_the_answer_of_the_first() {
    let variables = vec![asking(in_job("a"), MymdcField::SampleName)];
    let mut world = World::serving(with_slurm(), variables, runs([1]));
    answer(&mut world, &[(MymdcField::SampleName, value("\"x\""))]);
    let token = world.token(0);
    world.accept(&token, 10);
    world.job_ended(&token, JobEnd::NodeFailed);
    assert!(world.to_mymdc.is_empty());
    let again = world.task_of(&world.token(1));
    assert_eq!(again.mymdc[&MymdcField::SampleName], value("\"x\""));
}

#[test]
fn a_dependent_in_another_task_does_not_ask() {
    let variables = vec![asking(in_job("a"), MymdcField::SampleName), with(in_job("b"), "a")];
    let mut world = World::serving(with_slurm(), variables, runs([1]));
    answer(&mut world, &[(MymdcField::SampleName, value("\"x\""))]);
    while !world.core.has_ended() {
        let token = world.token(world.submitted.len() - 1);
        world.accept(&token, 10 + world.submitted.len() as u64);
        world.job_done(&token);
    }
    assert!(world.to_mymdc.is_empty());
}

#[test]
fn a_command_gets_the_values_for_its_placeholders() {
    let mut world = World::new(with_slurm(), vec![asking(with_command("a"), MymdcField::SampleName)]);
    world.prepared = Some(Prepared::NotNow);
    world.start(None);
    world.ask(1, runs([1]));
    assert!(world.commands.is_empty());
    answer(&mut world, &[(MymdcField::SampleName, value("\"x\""))]);
    assert_eq!(world.commands[0].mymdc[&MymdcField::SampleName], value("\"x\""));
}

#[test]
fn an_answer_after_a_stop_or_a_cancellation_starts_nothing() {
    let variables = || vec![asking(variable("a"), MymdcField::SampleName)];
    let late = [(MymdcField::SampleName, value("\"x\""))];
    let mut world = World::serving(setup(None), variables(), runs([1]));
    world.give(Input::Stop);
    answer(&mut world, &late);
    assert!(world.at_worker.is_empty() && world.core.has_ended());
    let mut world = World::serving(setup(None), variables(), runs([1]));
    let request = amore_core::request::Request::Cancel(amore_model::JobId::on(None, 1));
    world.ask(1, request);
    answer(&mut world, &late);
    assert!(world.at_worker.is_empty() && world.core.has_ended());
    assert_eq!(world.core.size(), (0, 0));
}
