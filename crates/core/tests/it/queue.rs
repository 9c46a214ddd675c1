//! Jobs in Slurm's queue: how many, whose go first, and what is said of those that wait.

use amore_core::{Input, events::Event, request::Listener};
use amore_model::JobState;
use amore_slurm::settings::SlurmSettings;

use crate::harness::{World, in_job, runs, setup, with_slurm};

fn limited(limit: usize) -> SlurmSettings {
    SlurmSettings { concurrent_jobs: Some(limit), ..SlurmSettings::default() }
}

/// The runs of the jobs, in the order in which they were submitted.
fn submitted_runs(world: &World) -> Vec<u32> {
    world.submitted.iter().map(|job| job.manifest.tasks[0].run.0).collect()
}

#[test]
fn a_bulk_request_leaves_a_fifth_of_the_queue_and_its_jobs_are_overtaken_in_slurm() {
    let mut world = World::serving(setup(Some(limited(10))), vec![in_job("a")], runs(1..=60));
    assert_eq!(world.submitted.len(), 8);
    world.ask(1, runs([100]));
    assert_eq!(submitted_runs(&world)[8..], [100]);
    let nice: Vec<_> = world.submitted.iter().map(|job| job.asked.nice).collect();
    assert!(nice[..8].iter().all(Option::is_some) && nice[8].is_none(), "{nice:?}");
}

#[test]
fn what_is_asked_for_goes_before_a_bulk_request_that_waits() {
    let mut world = World::serving(setup(Some(limited(1))), vec![in_job("a")], runs(1..=60));
    world.ask(1, runs([100]));
    let token = world.token(0);
    world.accept(&token, 10);
    world.job_done(&token);
    assert_eq!(submitted_runs(&world), [1, 100]);
}

#[test]
fn a_changed_limit_applies_to_jobs_that_are_not_submitted_yet() {
    let mut world = World::serving(setup(Some(limited(2))), vec![in_job("a")], runs(1..=9));
    assert_eq!(world.submitted.len(), 2);
    let reads = world.settings_reads;
    world.after(3.1);
    assert!(world.settings_reads > reads, "they are read now and then");
    world.give(Input::Settings(limited(5)));
    assert_eq!(world.submitted.len(), 5);
    world.give(Input::Settings(limited(1)));
    world.after(100.0);
    assert_eq!(world.submitted.len(), 5, "what is submitted stays");
}

#[test]
fn settings_are_not_read_before_there_is_a_job() {
    let mut world = World::serving(with_slurm(), Vec::new(), runs([1]));
    world.after(100.0);
    assert_eq!(world.settings_reads, 0);
    assert_eq!(world.core.next_wakeup(), None);
}

#[test]
fn of_many_jobs_that_wait_for_the_same_one_is_told() {
    let mut world = World::serving(with_slurm(), vec![in_job("a")], runs(1..=4));
    let tokens: Vec<String> = (0..4).map(|index| world.token(index)).collect();
    for (index, token) in tokens.iter().enumerate() {
        world.accept(token, 10 + index as u64);
    }
    for token in &tokens[..3] {
        world.seen(token, JobState::Pending, "PartitionDown");
    }
    assert_eq!(world.words(Listener::Here).len(), 1, "{:?}", world.words(Listener::Here));
    world.seen(&tokens[3], JobState::Pending, "JobHeldUser");
    let said = world.words(Listener::Here);
    assert!(said.len() == 2 && said[1].contains("job 13 (run 4)") && said[1].contains("hint: "), "{said:?}");
}

#[test]
fn a_job_that_waits_its_turn_is_counted_and_not_explained() {
    let mut world = World::serving(with_slurm(), vec![in_job("a")], runs([1, 2]));
    for index in 0..2 {
        let token = world.token(index);
        world.accept(&token, 10 + index as u64);
    }
    let token = world.token(0);
    world.seen(&token, JobState::Pending, "Priority");
    world.seen(&token, JobState::Pending, "Priority");
    assert!(world.words(Listener::Here).is_empty());
    let counts: Vec<_> = world
        .told
        .iter()
        .filter_map(|(_, event)| match event {
            Event::Jobs { submitted, waiting, reason } => Some((*submitted, *waiting, reason.clone())),
            _ => None,
        })
        .collect();
    let waiting = (2, 1, Some("Priority".to_owned()));
    assert_eq!(counts.iter().filter(|counts| **counts == waiting).count(), 1, "{counts:?}");
}

#[test]
fn a_state_that_nobody_knows_is_no_end() {
    let mut world = World::serving(with_slurm(), vec![in_job("a")], runs([1]));
    let token = world.token(0);
    world.accept(&token, 10);
    world.seen(&token, JobState::Unknown("HIBERNATING".to_owned()), "None");
    world.after(3600.0);
    assert_eq!(world.submitted.len(), 1);
    assert!(world.words(Listener::Here)[0].contains("HIBERNATING"));
    world.job_done(&token);
    assert_eq!(world.summary().values, 1);
}
