//! The tables of failures in docs/slurm.md: what follows from each end of a job.

use std::{collections::BTreeMap, sync::Arc};

use amore_core::{Input, JobEvent, history::HistoryKind, request::Listener};
use amore_slurm::{
    JobEnd,
    partition_facts::{Partition, PartitionNodes},
    refused::RefusalKind,
    settings::{LeftOut, SlurmSettings},
    site_facts::SiteFacts,
    submission::Doubt,
};
use amore_wire::task::{CutShort, FromWorker, NOT_STORED, Outcome};

use crate::harness::{World, in_job, runs, setup, variable, with, with_slurm};

/// A job that has stored `first`, and is in `second`.
fn in_the_second(world: &mut World, index: usize) -> String {
    let token = world.token(index);
    world.accept(&token, 10 + index as u64);
    if world.steps_of(index).contains(&"first".to_owned()) {
        world.begins(&token, "first");
        world.stores(&token, "first");
    }
    world.begins(&token, "second");
    token
}

fn two() -> World {
    World::serving(with_slurm(), vec![in_job("first"), with(in_job("second"), "first")], runs([1]))
}

/// Ends jobs like this, one after the other, until none is submitted any more. Gives how many there were.
fn jobs_until_given_up(world: &mut World, end: &JobEnd) -> usize {
    let mut ended = 0;
    while ended < world.submitted.len() {
        assert!(ended < 100, "{end} is never given up");
        let token = world.token(ended);
        world.accept(&token, 10 + ended as u64);
        world.job_ended(&token, end.clone());
        ended += 1;
    }
    ended
}

#[test]
fn each_end_but_a_cancellation_leaves_only_the_missing_values_to_the_next_job() {
    for (end, words) in [
        (JobEnd::Preempted, "(PREEMPTED)"),
        (JobEnd::NodeFailed, "(NODE_FAIL)"),
        (JobEnd::TimeLimit, "(TIMEOUT)"),
        (JobEnd::OutOfMemory, "(OUT_OF_MEMORY)"),
        (JobEnd::Failed { code: (1, 0), launch: false }, "exit code 1"),
        (JobEnd::Failed { code: (0, 53), launch: true }, "could not be started on its node"),
        (JobEnd::Completed, "before all work was done"),
        (JobEnd::TakenBack, "cancelled by Slurm"),
        (JobEnd::ReservationGone { reservation: "beam".to_owned() }, "the reservation beam"),
        (JobEnd::Vanished, "its job is "),
    ] {
        let mut world = two();
        let token = in_the_second(&mut world, 0);
        world.job_ended(&token, end.clone());
        assert_eq!(world.steps_of(1), ["second"], "{end}");
        let said = world.words(Listener::Here).pop().unwrap();
        assert!(said.contains(words) && said.contains("1 variable again"), "{end}: {said}");
        let token = in_the_second(&mut world, 1);
        world.job_done(&token);
        let summary = world.summary();
        assert_eq!((summary.values, summary.runs_failed), (2, 0), "{end}");
    }
}

#[test]
fn each_end_is_tried_again_as_often_as_the_table_says() {
    let failed = |code, launch| JobEnd::Failed { code, launch };
    for (end, jobs, class) in [
        (JobEnd::Preempted, 21, "JobFailed"),
        (JobEnd::NodeFailed, 21, "JobFailed"),
        (JobEnd::ReservationGone { reservation: "beam".to_owned() }, 21, "JobFailed"),
        (failed((0, 53), true), 3, "JobFailed"),
        (failed((1, 0), false), 3, "JobFailed"),
        (JobEnd::TakenBack, 3, "JobFailed"),
        (JobEnd::Vanished, 3, "JobFailed"),
        (JobEnd::Completed, 3, "JobFailed"),
    ] {
        let mut world = World::serving(with_slurm(), vec![in_job("a")], runs([1]));
        assert_eq!(jobs_until_given_up(&mut world, &end), jobs, "{end}");
        assert_eq!(world.error_of("a").unwrap().0, class, "{end}");
        world.execute();
        assert!(world.core.has_ended(), "{end}");
    }
}

#[test]
fn what_could_not_be_started_names_the_folder_of_logs_and_what_failed_its_log() {
    for (end, words) in [
        (JobEnd::Failed { code: (0, 53), launch: true }, "check that /db/slurm_logs exists on the nodes"),
        (JobEnd::Vanished, "its log: slurm_logs/"),
    ] {
        let mut world = World::serving(with_slurm(), vec![in_job("a")], runs([1]));
        jobs_until_given_up(&mut world, &end);
        let (_, message) = world.error_of("a").unwrap();
        assert!(message.contains(words) && message.contains("after 3 tries"), "{message}");
    }
}

#[test]
fn two_time_limits_without_a_result_give_up_the_variable_that_was_computed_and_no_other() {
    let variables = vec![in_job("slow"), in_job("other")];
    let mut world = World::serving(with_slurm(), variables, runs([1]));
    for index in 0..2 {
        let token = world.token(index);
        world.accept(&token, 10 + index as u64);
        world.begins(&token, "slow");
        world.job_ended(&token, JobEnd::TimeLimit);
    }
    let third = world.task_of(&world.token(2));
    assert_eq!(third.give_up.keys().collect::<Vec<_>>(), ["slow"]);
    assert!(format!("{:?}", third.give_up["slow"]).contains("TimeoutError"), "{:?}", third.give_up);
}

#[test]
fn a_result_between_two_time_limits_is_progress() {
    let mut world = two();
    let token = world.token(0);
    world.accept(&token, 10);
    world.begins(&token, "first");
    world.job_ended(&token, JobEnd::TimeLimit);
    let token = in_the_second(&mut world, 1);
    world.job_ended(&token, JobEnd::TimeLimit);
    assert!(world.task_of(&world.token(2)).give_up.is_empty());
}

#[test]
fn results_of_the_runs_other_tasks_are_no_progress_of_a_job_that_times_out() {
    let mut world =
        World::serving(with_slurm(), vec![in_job("slow"), variable("a"), variable("b")], runs([1]));
    for index in 0..2 {
        let token = world.token(index);
        world.accept(&token, 10 + index as u64);
        world.begins(&token, "slow");
        // Between the two, the worker here stores values of the same run.
        world.execute();
        world.job_ended(&token, JobEnd::TimeLimit);
    }
    let third = world.task_of(&world.token(2));
    assert_eq!(third.give_up.keys().collect::<Vec<_>>(), ["slow"]);
}

/// A site whose nodes have this much memory.
fn site(mem_mib: u64) -> Input {
    let partition = Partition { name: "main".to_owned(), default: true, ..Partition::default() };
    let nodes =
        PartitionNodes { idle: 3, in_service: 3, mem_mib: Some(mem_mib), ..PartitionNodes::default() };
    let nodes = BTreeMap::from([("main".to_owned(), nodes)]);
    Input::Site(Arc::new(SiteFacts { partitions: vec![partition], nodes, ..SiteFacts::default() }))
}

/// `large` needs more memory than there is; `small` can do without its value.
fn memory(setup: amore_core::Setup, mem_mib: Option<u64>) -> World {
    let [large, mut small] = [in_job("large"), with(in_job("small"), "large")].map(|mut variable| {
        variable.resources.mem_mib = mem_mib;
        variable
    });
    small.arguments[0].has_default = true;
    let mut world = World::new(setup, vec![large, small]);
    world.start(None);
    world.give(site(4000));
    world.give(Input::Request { listener: Listener::Here, request: runs([1]) });
    world
}

fn out_of_memory(world: &mut World, index: usize) {
    let token = world.token(index);
    world.accept(&token, 10 + index as u64);
    let of = world.task_of(&token).attempt_id();
    let cut_short = Some(CutShort::OutOfMemory { variable: "large".to_owned() });
    world.job_says(&token, FromWorker::TaskEnded { of, problem: None, cut_short });
}

#[test]
fn memory_is_raised_to_what_the_largest_node_has_then_the_variable_gets_an_error() {
    for (mem_mib, asked) in [(Some(2500), [Some(2500), Some(4000)]), (None, [None, Some(4000)])] {
        let mut world = memory(with_slurm(), mem_mib);
        out_of_memory(&mut world, 0);
        out_of_memory(&mut world, 1);
        assert_eq!([0, 1].map(|index| world.submitted[index].asked.mem_mib), asked);
        let third = world.task_of(&world.token(2));
        let error = format!("{:?}", third.give_up["large"]);
        assert!(
            error.contains("MemoryError") && error.contains("with 4000 MiB in the last attempt"),
            "{error}"
        );
        assert!(!third.give_up.contains_key("small"));
        let token = world.token(2);
        world.job_done(&token);
        assert_eq!(world.submitted.len(), 3);
    }
}

#[test]
fn memory_is_doubled_three_times_at_most() {
    let mut variable = in_job("large");
    variable.resources.mem_mib = Some(1000);
    let mut world = World::serving(with_slurm(), vec![variable], runs([1]));
    for index in 0..4 {
        out_of_memory(&mut world, index);
    }
    let asked: Vec<_> = world.submitted.iter().map(|job| job.asked.mem_mib.unwrap()).collect();
    assert_eq!(asked[..4], [1000, 2000, 4000, 8000]);
    assert!(world.task_of(&world.token(4)).give_up.contains_key("large"));
}

#[test]
fn where_memory_cannot_be_asked_for_it_is_not_raised() {
    let mem = Some(LeftOut);
    let settings = SlurmSettings { mem, ..SlurmSettings::default() };
    let mut world = memory(setup(Some(settings)), Some(2500));
    out_of_memory(&mut world, 0);
    assert!(world.submitted.iter().all(|job| job.asked.mem_mib.is_none()));
    let error = format!("{:?}", world.task_of(&world.token(1)).give_up["large"]);
    assert!(error.contains("slurm_mem is none"), "{error}");
}

#[test]
fn the_job_that_ran_out_of_memory_is_let_go_before_slurm_says_that_it_is_over() {
    let mut world = memory(with_slurm(), Some(1000));
    let token = world.token(0);
    out_of_memory(&mut world, 0);
    assert_eq!(world.forgotten, std::slice::from_ref(&token));
    let submitted = world.submitted.len();
    world.job_ended(&token, JobEnd::OutOfMemory);
    assert_eq!(world.submitted.len(), submitted, "it counts once");
}

#[test]
fn a_requeued_job_is_the_same_attempt_and_its_history_says_so() {
    let mut world = World::serving(with_slurm(), vec![in_job("a")], runs([1]));
    let token = world.token(0);
    world.accept(&token, 10);
    for restarts in [0, 0, 1] {
        let placed = FromWorker::Placed { host: "n1".to_owned(), job: None, restarts, cluster: None };
        world.job_says(&token, placed);
    }
    world.job_done(&token);
    assert_eq!((world.submitted.len(), world.summary().values), (1, 1));
    let began = ["job 10 began on n1", "job 10 began on n1, requeued 1 times"];
    assert_eq!(world.history_of(&HistoryKind::Began), began);
}

#[test]
fn a_job_that_speaks_before_sbatch_has_answered_is_not_submitted_again() {
    let mut world = World::serving(with_slurm(), vec![in_job("a")], runs([1]));
    let token = world.token(0);
    world.after(1000.0);
    assert_eq!(world.submitted.len(), 1, "no answer is no refusal");
    world.job_done(&token);
    assert_eq!(world.summary().values, 1);
    world.accept(&token, 10);
    world.give(Input::Job(JobEvent::NotFound { token, doubt: Doubt::Unanswered }));
    assert_eq!(world.submitted.len(), 1);
    assert!(world.log.is_empty(), "{:?}", world.log);
}

#[test]
fn a_job_that_is_accepted_can_neither_be_refused_nor_be_missing() {
    let mut world = World::serving(with_slurm(), vec![in_job("a")], runs([1]));
    let token = world.token(0);
    world.accept(&token, 10);
    world.refuse(&token, RefusalKind::Unknown, "no");
    world.give(Input::Job(JobEvent::NotFound { token: token.clone(), doubt: Doubt::Unanswered }));
    world.after(100.0);
    assert_eq!(world.submitted.len(), 1);
    world.job_done(&token);
    assert_eq!(world.summary().values, 1);
}

#[test]
fn a_value_that_could_not_be_stored_is_a_failure_and_no_value() {
    let mut dependent = with(in_job("b"), "a");
    dependent.resources.cpus = Some(2);
    let mut world = World::serving(with_slurm(), vec![in_job("a"), dependent], runs([1]));
    let token = world.token(0);
    world.accept(&token, 10);
    let task = world.task_of(&token);
    let ended = |outcome| {
        let (of, name) = (task.attempt_id(), "a".to_owned());
        FromWorker::VariableEnded { of, name, outcome, seconds: 1.0 }
    };
    let lost = Outcome::Error { class: NOT_STORED.to_owned(), message: "no space left".to_owned() };
    world.job_says(&token, ended(Outcome::Value));
    world.job_says(&token, ended(lost));
    let of = task.attempt_id();
    world.job_says(&token, FromWorker::TaskEnded { of, problem: None, cut_short: None });
    let second = world.token(1);
    let how = format!("{:?}", world.task_of(&second).ended["a"]);
    assert!(
        how.contains("no space left"),
        "its dependent is told, and does not read an earlier value: {how}"
    );
    world.accept(&second, 11);
    world.job_done(&second);
    let summary = world.summary();
    assert_eq!((summary.values, summary.failed), (1, 1));
}

#[test]
fn a_job_that_can_compute_nothing_fails_its_run_with_its_reason_and_is_not_repeated() {
    let mut world = World::serving(with_slurm(), vec![in_job("a")], runs([1]));
    let token = world.token(0);
    world.accept(&token, 10);
    let of = world.task_of(&token).attempt_id();
    let problem = Some("the run cannot be opened".to_owned());
    world.job_says(&token, FromWorker::TaskEnded { of, problem: problem.clone(), cut_short: None });
    assert_eq!((world.summary().runs_failed, world.submitted.len()), (1, 1));
    let ended = |(_, event): &(Listener, amore_core::events::Event)| matches!(event, amore_core::events::Event::RunEnded { problem: found, .. } if *found == problem);
    assert!(world.told.iter().any(ended));
}

#[test]
fn what_a_worker_in_a_job_reports_is_told_once_for_many_runs() {
    let mut world = World::serving(with_slurm(), vec![in_job("a")], runs([1, 2]));
    for index in 0..2 {
        let token = world.token(index);
        world.accept(&token, 10 + index as u64);
        let of = || world.task_of(&token).attempt_id();
        let notice = FromWorker::Notice { of: of(), message: "the Python is old".to_owned() };
        let hint = Some("use another node".to_owned());
        let failed = FromWorker::HostFailed { of: of(), message: "no such Python".to_owned(), hint };
        world.job_says(&token, notice);
        if index == 0 {
            world.job_says(&token, failed);
        }
    }
    let expected = ["the Python is old", "no such Python\n  hint: use another node"];
    assert_eq!(world.words(Listener::Here), expected);
}

#[test]
fn a_disk_that_is_full_in_a_job_fails_its_run_and_is_not_tried_again() {
    let mut world = two();
    let token = in_the_second(&mut world, 0);
    let of = world.task_of(&token).attempt_id();
    let problem = Some("no space left".to_owned());
    world.job_says(&token, FromWorker::TaskEnded { of, problem, cut_short: Some(CutShort::NoSpace) });
    let summary = world.summary();
    assert_eq!((summary.values, summary.runs_failed, world.submitted.len()), (1, 1, 1));
}

#[test]
fn a_value_that_comes_between_two_attempts_is_not_computed_again() {
    let mut world = two();
    let token = world.token(0);
    world.accept(&token, 10);
    let task = world.task_of(&token);
    world.hold_collector = true;
    // Its node is cut off: Slurm has given it up, and it goes on.
    let first = world.fragment(&task, &["first".to_owned()]);
    world.waiting.push(first);
    world.job_ended(&token, JobEnd::NodeFailed);
    assert_eq!(world.submitted.len(), 1, "it is judged when everything of the run is collected");
    let second = world.fragment(&task, &["second".to_owned()]);
    let (proposal, run) = second.key;
    let late = FromWorker::Fragment { of: task.attempt_id(), proposal, run, path: second.path };
    world.job_says(&token, late);
    world.collect();
    assert_eq!(world.submitted.len(), 1);
    assert_eq!(world.summary().runs_failed, 0);
}

#[test]
fn what_the_poller_notices_is_told_to_everybody_who_waits() {
    let mut world = World::serving(with_slurm(), vec![in_job("a")], runs([1]));
    let other = world.ask(1, runs([2]));
    let notice = amore_model::Notice::note("Slurm does not answer");
    world.give(Input::Job(JobEvent::Notice(notice)));
    for listener in [Listener::Here, other] {
        assert_eq!(world.words(listener), ["note: Slurm does not answer"]);
    }
    world.after(3600.0);
    assert_eq!(world.submitted.len(), 2, "jobs are waited for, and nothing is submitted twice");
}
