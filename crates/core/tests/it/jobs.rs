//! Tasks in Slurm jobs: the scenes of docs/slurm.md.

use amore_core::{
    Input, JobEvent, Setup,
    journal::{Phase, Write},
    request::Listener,
};
use amore_model::{AttemptToken, JobId, JobState};
use amore_slurm::{JobEnd, refused::RefusalKind, settings::SlurmSettings, submission::Doubt};
use amore_wire::task::{CutShort, FromWorker, Outcome, Task};

use crate::harness::{World, in_job, key, runs, setup, variable, with, with_slurm};

fn one_job() -> World {
    World::serving(with_slurm(), vec![in_job("a")], runs([1]))
}

/// Moves of tasks that reached the ledger.
fn moves(world: &World) -> Vec<(Phase, Phase)> {
    let of = |write: &Write| match write {
        Write::Changes(changes) => changes.moves.iter().map(|moved| (moved.from, moved.to)).collect(),
        _ => Vec::new(),
    };
    world.written.iter().flat_map(of).collect()
}

fn error_steps(world: &World) -> Vec<(String, String)> {
    let of_task = |task: &amore_wire::task::Task| {
        task.give_up.iter().map(|(name, how)| (name.clone(), format!("{how:?}"))).collect::<Vec<_>>()
    };
    world.at_worker.iter().flat_map(of_task).collect()
}

#[test]
fn the_intent_is_in_the_ledger_before_the_job_is_submitted() {
    let mut world = World::new(with_slurm(), vec![in_job("a")]);
    world.start(None);
    world.ledger_silent = true;
    world.give(Input::Request { listener: Listener::Here, request: runs([1]) });
    assert!(world.submitted.is_empty());
    world.after(1.0);
    world.after(1.0);
    assert!(world.submitted.is_empty(), "the ledger does not answer yet");
    assert_eq!(
        world.words(Listener::Here),
        ["note: the ledger does not answer (connection refused); jobs wait until it does"],
        "it is told once"
    );
    world.ledger_silent = false;
    world.after(1.0);
    assert_eq!(world.submitted.len(), 1);
    assert_eq!(moves(&world), [(Phase::Ready, Phase::Submitting)]);
}

#[test]
fn a_job_that_computes_all_ends_its_request_in_the_ledger_too() {
    let mut world = one_job();
    let token = world.token(0);
    world.accept(&token, 10);
    world.job_done(&token);
    let summary = world.summary();
    assert_eq!((summary.values, summary.jobs_left), (1, 0));
    assert!(matches!(world.written.last(), Some(Write::Finished(_))), "{:?}", world.written.last());
    let all = [Phase::Ready, Phase::Submitting, Phase::Submitted, Phase::Ended];
    assert_eq!(moves(&world), all.windows(2).map(|pair| (pair[0], pair[1])).collect::<Vec<_>>());
    assert_eq!(world.core.size(), (0, 0));
}

#[test]
fn no_more_jobs_than_allowed_are_in_the_queue_at_once() {
    let settings = SlurmSettings { concurrent_jobs: Some(3), ..SlurmSettings::default() };
    let mut world = World::serving(setup(Some(settings)), vec![in_job("a")], runs(1..=10));
    for done in 0..10 {
        assert_eq!(world.submitted.len(), (done + 3).min(10));
        let token = world.token(done);
        world.accept(&token, 100 + done as u64);
        world.job_done(&token);
    }
    assert_eq!(world.summary().values, 10);
}

#[test]
fn a_dependent_here_waits_until_the_results_of_the_job_are_collected() {
    let variables = vec![variable("first"), with(in_job("far"), "first")];
    let mut world = World::serving(with_slurm(), variables, runs([1]));
    assert!(world.submitted.is_empty());
    world.hold_collector = true;
    world.execute();
    assert!(world.submitted.is_empty(), "its dependency is not collected");
    world.collect();
    let token = world.token(0);
    assert_eq!(world.task_of(&token).given.keys().collect::<Vec<_>>(), ["first"]);
}

#[test]
fn what_is_said_of_an_attempt_that_was_given_up_changes_nothing_but_its_files_count() {
    let mut world = one_job();
    let first = world.token(0);
    world.accept(&first, 10);
    world.job_ended(&first, JobEnd::NodeFailed);
    let second = world.token(1);
    assert_ne!(first, second);
    world.accept(&second, 11);
    let task = world.task_of(&first);
    world.job_says(&first, FromWorker::TaskEnded { of: task.attempt_id(), problem: None, cut_short: None });
    world.job_ended(&first, JobEnd::TimeLimit);
    assert!(!world.core.has_ended());
    let fragment = world.fragment(&task, &["a".to_owned()]);
    let (proposal, run) = key(1);
    world
        .job_says(&first, FromWorker::Fragment { of: task.attempt_id(), proposal, run, path: fragment.path });
    // The value is there: the second job has nothing left to add.
    world.job_ended(&second, JobEnd::NodeFailed);
    let summary = world.summary();
    assert_eq!(summary.runs_failed, 0);
    assert_eq!(world.submitted.len(), 2);
}

#[test]
fn each_submission_has_a_later_token_than_the_one_before() {
    let mut world = one_job();
    let first = world.token(0);
    world.give(Input::Job(JobEvent::NotFound { token: first.clone(), doubt: Doubt::Unanswered }));
    let second = world.token(1);
    // Slurm may have the first one after all, under the same number.
    let (ghost, task) = (world.task_of(&first), world.task_of(&second));
    assert_eq!((ghost.attempt, task.attempt), (1, 1));
    let rank = |task: &Task| task.token.as_ref().and_then(AttemptToken::rank).unwrap();
    assert!(rank(&task) > rank(&ghost));
    assert_eq!(task.token.as_ref().map(AttemptToken::as_str), Some(second.as_str()));
    // An owner that comes later counts anew, and is later all the same.
    let mut world = World::serving(Setup { epoch: 8, ..with_slurm() }, vec![in_job("a")], runs([1]));
    world.accept(&world.token(0), 10);
    assert!(rank(&world.task_of(&world.token(0))) > rank(&task));
}

#[test]
fn a_job_that_dies_goes_on_with_what_is_left() {
    let variables = vec![in_job("a"), with(in_job("b"), "a")];
    let mut world = World::serving(with_slurm(), variables, runs([1]));
    let first = world.token(0);
    world.accept(&first, 10);
    let task = world.task_of(&first);
    let stored = world.fragment(&task, &["a".to_owned()]);
    // Its worker did not live to say so.
    world.waiting.push(stored);
    world.job_ended(&first, JobEnd::Preempted);
    let second = world.task_of(&world.token(1));
    assert_eq!(second.attempt, 2);
    assert_eq!(second.steps.iter().map(|step| step.name.as_str()).collect::<Vec<_>>(), ["b"]);
    assert_eq!(
        world.words(Listener::Here).last().unwrap(),
        "note: run 1: its job was preempted by another job (PREEMPTED); 1 variable again"
    );
}

#[test]
fn a_task_whose_jobs_bring_nothing_is_given_up_with_an_error_for_each_variable() {
    let mut world = one_job();
    for attempt in 0..3 {
        let token = world.token(attempt);
        world.accept(&token, 10 + attempt as u64);
        world.job_ended(&token, JobEnd::Failed { code: (1, 0), launch: false });
    }
    assert_eq!(world.submitted.len(), 3);
    let errors = error_steps(&world);
    assert_eq!(errors.len(), 1);
    assert!(errors[0].1.contains("JobFailed") && errors[0].1.contains("after 3 tries"), "{errors:?}");
    world.execute();
    assert!(world.core.has_ended());
}

#[test]
fn memory_is_doubled_after_a_job_ran_out_of_it() {
    let mut variable = in_job("a");
    variable.resources.mem_mib = Some(1000);
    let mut world = World::serving(with_slurm(), vec![variable], runs([1]));
    let token = world.token(0);
    assert_eq!(world.submitted[0].asked.mem_mib, Some(1000));
    world.accept(&token, 10);
    let of = world.task_of(&token).attempt_id();
    let cut_short = Some(CutShort::OutOfMemory { variable: "a".to_owned() });
    world.job_says(&token, FromWorker::TaskEnded { of, problem: Some("killed".to_owned()), cut_short });
    assert_eq!(world.submitted[1].asked.mem_mib, Some(2000));
    assert!(
        world.words(Listener::Here).last().unwrap().ends_with("1 variable again with 2000 MiB of memory")
    );
}

#[test]
fn more_memory_that_slurm_refuses_is_the_variable_s_error_and_the_others_are_computed() {
    let variables = vec![in_job("a"), with(in_job("b"), "a")];
    let mut world = World::serving(with_slurm(), variables, runs([1]));
    let token = world.token(0);
    world.accept(&token, 10);
    let of = world.task_of(&token).attempt_id();
    let cut_short = Some(CutShort::OutOfMemory { variable: "a".to_owned() });
    world.job_says(&token, FromWorker::TaskEnded { of, problem: None, cut_short });
    let second = world.token(1);
    world.refuse(&second, RefusalKind::Rule, "Memory specification can not be satisfied");
    let third = world.task_of(&world.token(2));
    assert!(third.give_up.contains_key("a"));
    assert_eq!(world.submitted[2].asked.mem_mib, None);
}

#[test]
fn a_refusal_that_passes_is_tried_again_later_and_told_once() {
    let mut world = one_job();
    let token = world.token(0);
    world.refuse(&token, RefusalKind::Limit, "Job violates accounting/QOS policy");
    assert_eq!(world.submitted.len(), 1);
    world.after(9.0);
    assert_eq!(world.submitted.len(), 1);
    world.after(1.5);
    assert_eq!(world.submitted.len(), 2);
    let token = world.token(1);
    world.refuse(&token, RefusalKind::Limit, "Job violates accounting/QOS policy");
    assert_eq!(world.words(Listener::Here).len(), 1);
    // A refusal is no attempt.
    world.after(11.0);
    assert_eq!(world.task_of(&world.token(2)).attempt, 1);
}

#[test]
fn without_its_reservation_a_run_goes_to_the_partition() {
    let settings = SlurmSettings { reservation: Some("beamtime".to_owned()), ..SlurmSettings::default() };
    let mut world = World::serving(setup(Some(settings)), vec![in_job("a")], runs([1]));
    assert_eq!(world.submitted[0].asked.reservation.as_deref(), Some("beamtime"));
    let token = world.token(0);
    world.refuse(&token, RefusalKind::Reservation, "Access denied to requested reservation");
    assert_eq!(world.submitted[1].asked.reservation, None);
    assert!(
        world.words(Listener::Here)[0].starts_with("warning: Slurm does not accept jobs in the reservation")
    );
}

#[test]
fn a_rule_that_forbids_the_job_is_the_error_of_variables_without_earlier_values() {
    let mut world = one_job();
    let token = world.token(0);
    world.refuse(&token, RefusalKind::Rule, "Invalid account");
    assert!(error_steps(&world)[0].1.contains("JobRefused"));
    world.execute();
    assert!(world.core.has_ended());
}

#[test]
fn a_rule_that_forbids_the_job_leaves_earlier_values() {
    let mut world = World::new(with_slurm(), vec![in_job("a")]);
    world.earlier_values = ["a".to_owned()].into();
    world.start(None);
    world.give(Input::Request { listener: Listener::Here, request: runs([1]) });
    let token = world.token(0);
    world.refuse(&token, RefusalKind::Rule, "Invalid account");
    assert!(world.at_worker.is_empty(), "no error is stored");
    assert_eq!(world.summary().runs_failed, 1);
}

#[test]
fn a_lost_answer_is_no_refusal_and_is_bounded() {
    let mut world = one_job();
    for at in 0..3 {
        let token = world.token(at);
        world.give(Input::Job(JobEvent::NotFound { token, doubt: Doubt::Unanswered }));
    }
    assert_eq!(world.submitted.len(), 3);
    assert!(error_steps(&world)[0].1.contains("sbatch got no answer"));
}

#[test]
fn a_controller_that_is_not_reached_costs_no_try() {
    let mut world = one_job();
    for at in 0..20 {
        let token = world.token(at);
        world.give(Input::Job(JobEvent::NotFound { token, doubt: Doubt::NotReached }));
    }
    assert_eq!(world.submitted.len(), 21);
}

#[test]
fn a_time_limit_goes_on_while_there_is_progress() {
    let variables: Vec<_> = ["a", "b", "c"].into_iter().map(in_job).collect();
    let mut world = World::serving(with_slurm(), variables, runs([1]));
    let mut at = 0;
    while at < world.submitted.len() && at < 3 {
        let token = world.token(at);
        let task = world.task_of(&token);
        let name = task.steps[0].name.clone();
        world.accept(&token, 10 + at as u64);
        world.job_says(&token, FromWorker::VariableStarted { of: task.attempt_id(), name: name.clone() });
        world.job_says(
            &token,
            FromWorker::VariableEnded {
                of: task.attempt_id(),
                name: name.clone(),
                outcome: Outcome::Value,
                seconds: 1.0,
            },
        );
        let fragment = world.fragment(&task, &[name]);
        world.waiting.push(fragment);
        world.job_ended(&token, JobEnd::TimeLimit);
        at += 1;
    }
    let summary = world.summary();
    assert_eq!((summary.values, summary.failed), (3, 0));
}

#[test]
fn a_node_that_could_not_start_a_job_is_avoided() {
    let mut world = one_job();
    let token = world.token(0);
    world.accept(&token, 10);
    let seen = amore_slurm::job_status::JobStatus { nodes: "node7".to_owned(), ..running() };
    world.give(Input::Job(JobEvent::Changed { token: token.clone(), seen }));
    world.job_ended(&token, JobEnd::Failed { code: (0, 53), launch: true });
    assert_eq!(world.submitted[1].asked.exclude, ["node7"]);
}

fn running() -> amore_slurm::job_status::JobStatus {
    amore_slurm::job_status::JobStatus {
        state: JobState::Running,
        reason: String::new(),
        nodes: String::new(),
        partition: "upex".to_owned(),
        reservation: String::new(),
        tokens: Vec::new(),
        end: None,
    }
}

#[test]
fn a_cancellation_by_somebody_else_is_not_undone() {
    let mut world = one_job();
    let token = world.token(0);
    world.accept(&token, 10);
    world.job_ended(&token, JobEnd::Cancelled { by: Some("alice".to_owned()) });
    let summary = world.summary();
    assert_eq!((summary.runs_failed, world.submitted.len()), (1, 1));
}

#[test]
fn a_job_of_another_number_is_the_same_attempt() {
    let mut world = one_job();
    let token = world.token(0);
    world.accept(&token, 10);
    // Slurm has given the number away, and the job has another one by now.
    world.give(Input::Job(JobEvent::Accepted { token: token.clone(), job: JobId::on(None, 11) }));
    world.job_done(&token);
    assert_eq!(world.summary().values, 1);
}

/// While a task waits for its next job, a shared file system may show what the job before has stored.
#[test]
fn what_comes_into_sight_while_a_task_waits_for_its_next_job_is_not_computed_again() {
    let settings = SlurmSettings { concurrent_jobs: Some(1), ..SlurmSettings::default() };
    let mut world = World::serving(setup(Some(settings)), vec![in_job("a")], runs([1, 2]));
    let lost = world.token(0);
    world.accept(&lost, 7);
    let task = world.task_of(&lost);
    world.job_ended(&lost, JobEnd::NodeFailed);
    let other = world.token(1);
    assert_ne!(world.task_of(&other).run, task.run, "the place in the queue goes to the other run");
    world.accept(&other, 8);
    let fragment = world.fragment(&task, &["a".to_owned()]);
    world.waiting.push(fragment);
    world.after(5.0);
    world.job_done(&other);
    assert_eq!(world.submitted.len(), 2, "nothing is left to compute");
    assert_eq!(world.summary().runs, 2);
}
