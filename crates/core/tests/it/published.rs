//! What those who watch a directory are told.

use amore_core::{
    Input, Setup,
    activity::{Activity, WaitsFor},
    request::{Compute, Listener, Request, Trigger},
};
use amore_model::{JobState, Run, RunData, Urgency};
use amore_wire::task::{AttemptId, FromWorker};

use crate::harness::{PROPOSAL, World, in_job, runs, setup, variable, with, with_slurm};

/// In words, without what identifies tasks.
fn in_words(activity: &Activity) -> String {
    let name = activity.name();
    match activity {
        Activity::TaskQueued { task, waits_for } => {
            let what = match waits_for {
                WaitsFor::OtherTasks { tasks } => format!("{} other", tasks.len()),
                WaitsFor::Turn => "its turn".to_owned(),
                WaitsFor::Submission => "sbatch".to_owned(),
                WaitsFor::Slurm { job, reason } => format!("job {job} {}", reason.as_deref().unwrap_or("?")),
            };
            format!("{name} {}: {what}", task.variables.join(","))
        }
        Activity::TaskStarted { task, at } => {
            let job = at.job.as_ref().map(|job| format!(" in job {job}")).unwrap_or_default();
            let host = at.host.as_ref().map(|host| format!(" on {host}")).unwrap_or_default();
            format!("{name} {}{job}{host}", task.variables.join(","))
        }
        Activity::TaskEnded { task, problem: None } => format!("{name} {}", task.variables.join(",")),
        Activity::ValuesStored { run, values, .. } => {
            let names: Vec<&str> = values.iter().map(|cell| cell.name.as_str()).collect();
            format!("{name} run {run}: {}", names.join(","))
        }
        Activity::RequestPlanned { runs, variables, trigger, .. } => {
            format!(
                "{name} {runs} runs, {variables} variables, for {}",
                trigger.as_deref().unwrap_or("a user")
            )
        }
        Activity::RunFinished { run, problem, .. } => {
            format!("{name} {run}{}", problem.as_deref().map(|why| format!(": {why}")).unwrap_or_default())
        }
        Activity::RequestFinished { summary, .. } => format!("{name}: {} values", summary.values),
        Activity::RequestRefused { message, .. } => format!("{name}: {message}"),
        other => other.name().to_owned(),
    }
}

fn published(world: &mut World) -> Vec<String> {
    std::mem::take(&mut world.published).iter().map(in_words).collect()
}

#[test]
fn the_whole_way_of_a_run_and_its_values_before_its_end() {
    let mut world = World::new(setup(None), vec![variable("a"), with(variable("b"), "a")]);
    world.start(None);
    world.give(Input::Serve);
    let trigger = Trigger { id: "7".to_owned(), data: RunData::Raw, urgency: Urgency::Live };
    world.ask(1, Request::Compute(Compute::arrived(PROPOSAL, Run(1), trigger)));
    world.execute();
    let expected = [
        "request_queued",
        "request_planned 1 runs, 2 variables, for 7",
        "task_queued a,b: its turn",
        "task_started a,b",
        "values_stored run 1: a,b",
        "task_ended a,b",
        "run_finished 1",
        "request_finished: 2 values",
    ];
    assert_eq!(published(&mut world), expected);
}

#[test]
fn a_job_says_what_it_waits_for_and_where_it_runs() {
    let mut world = World::serving(with_slurm(), vec![in_job("a")], runs([1]));
    let token = world.token(0);
    world.accept(&token, 10);
    world.seen(&token, JobState::Pending, "Priority");
    world.seen(&token, JobState::Running, "None");
    let (host, job) = ("node1".to_owned(), Some("10".to_owned()));
    world.job_says(&token, FromWorker::Placed { host, job, restarts: 0, cluster: None });
    world.job_done(&token);
    let expected = [
        "request_queued",
        "request_planned 1 runs, 1 variables, for a user",
        "task_queued a: its turn",
        "task_queued a: sbatch",
        "task_queued a: job 10 ?",
        "task_queued a: job 10 Priority",
        "task_started a in job 10 on node1",
        "values_stored run 1: a",
        "task_ended a",
        "run_finished 1",
        "request_finished: 1 values",
    ];
    assert_eq!(published(&mut world), expected);
}

#[test]
fn what_is_refused_is_published() {
    let mut world = World::new(setup(None), vec![variable("a")]);
    world.start(None);
    world.give(Input::Serve);
    world.hold_description = true;
    world.ask(1, runs([1]));
    let id = world.to_describe.remove(0);
    let message = "no Python".to_owned();
    let of = AttemptId::without_attempts(&id);
    world.worker_says(FromWorker::HostFailed { of, hint: None, message });
    assert_eq!(published(&mut world), ["request_queued", "request_refused: no Python"]);
}

#[test]
fn nothing_is_published_where_nobody_watches() {
    let unwatched = Setup { watched: false, ..setup(None) };
    let mut world = World::serving(unwatched, vec![variable("a")], runs([1]));
    world.execute();
    assert!(world.end_of(Listener::Here).is_none() && world.core.has_ended());
    assert_eq!(world.published, []);
}
