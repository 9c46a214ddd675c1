//! The table of refusals in docs/slurm.md.

use amore_core::{Input, JobEvent, request::Listener};
use amore_slurm::{refused::RefusalKind, settings::SlurmSettings, submission::Doubt};

use crate::harness::{World, in_job, runs, setup, with_slurm};

fn one_job() -> World {
    World::serving(with_slurm(), vec![in_job("a")], runs([1]))
}

/// Refuses each job until none is submitted any more, or so many were. Gives the seconds between them.
fn seconds_between(world: &mut World, about: RefusalKind, most: usize) -> Vec<u32> {
    let mut waited = Vec::new();
    while waited.len() < most {
        let index = world.submitted.len() - 1;
        let token = world.token(index);
        world.refuse(&token, about, "Slurm's words");
        let mut seconds = 0;
        while world.submitted.len() == index + 1 && seconds < 60 {
            world.after(1.0);
            seconds += 1;
        }
        if world.submitted.len() == index + 1 {
            break;
        }
        waited.push(seconds);
    }
    waited
}

#[test]
fn each_class_is_submitted_again_as_the_table_says() {
    for (about, seconds) in [
        (RefusalKind::Passes, vec![2, 5, 10, 30, 30, 30]),
        (RefusalKind::Limit, vec![10; 6]),
        (RefusalKind::Unknown, vec![3, 10, 30]),
        (RefusalKind::Rule, vec![]),
        (RefusalKind::NotExecuted, vec![]),
    ] {
        let mut world = one_job();
        assert_eq!(seconds_between(&mut world, about, 6), seconds, "{about:?}");
        let is_given_up = !matches!(about, RefusalKind::Passes | RefusalKind::Limit);
        assert_eq!(world.error_of("a").is_some(), is_given_up, "{about:?}");
    }
}

#[test]
fn what_is_refused_for_good_is_an_error_with_slurm_s_words_and_what_to_do() {
    for (about, class) in [
        (RefusalKind::Unknown, "JobRefused"),
        (RefusalKind::Rule, "JobRefused"),
        (RefusalKind::NotExecuted, "JobNotSubmitted"),
    ] {
        let mut world = one_job();
        seconds_between(&mut world, about, 6);
        let (found, message) = world.error_of("a").unwrap();
        assert_eq!(found, class);
        assert!(message.contains("Slurm's words") && message.contains("ask your site"), "{message}");
        let errors = world.words(Listener::Here);
        assert_eq!(errors.iter().filter(|said| said.starts_with("error: ")).count(), 1, "{errors:?}");
        world.execute();
        assert!(world.core.has_ended());
    }
}

#[test]
fn a_service_that_may_compute_here_what_slurm_does_not_take_does_so() {
    let world_that_may = || {
        let setup = amore_core::Setup { takes_refused: true, ..with_slurm() };
        World::serving(setup, vec![in_job("a")], runs([1]))
    };
    for about in [RefusalKind::Rule, RefusalKind::NotExecuted, RefusalKind::Unknown] {
        let mut world = world_that_may();
        seconds_between(&mut world, about, 6);
        assert_eq!(world.error_of("a"), None, "{about:?}");
        let said = world.words(Listener::Here);
        assert!(said.iter().any(|said| said.contains("it is computed on this host")), "{said:?}");
        world.execute();
        assert!(world.core.has_ended(), "{about:?}");
        assert_eq!(world.error_of("a"), None, "{about:?}");
    }
    // What may pass is waited for, for three minutes.
    let mut world = world_that_may();
    let waited: u32 = seconds_between(&mut world, RefusalKind::Limit, 100).iter().sum();
    assert_eq!(waited, 180);
    world.execute();
    assert!(world.core.has_ended());
}

#[test]
fn a_controller_that_is_not_reached_for_minutes_is_no_reason_to_wait_longer_once_slurm_denies_the_job() {
    let setup = amore_core::Setup { takes_refused: true, ..with_slurm() };
    let mut world = World::serving(setup, vec![in_job("a")], runs([1]));
    // It is not known whether Slurm has the job: it must not be computed twice.
    world.after(600.0);
    assert_eq!((world.submitted.len(), world.at_worker.len()), (1, 0));
    for at in 0..19 {
        let token = world.token(at);
        world.give(Input::Job(JobEvent::NotFound { token, doubt: Doubt::NotReached }));
        world.after(10.0);
    }
    let said = world.words(Listener::Here);
    assert!(said.iter().any(|said| said.contains("it is computed on this host")), "{said:?}");
    assert_eq!((world.submitted.len(), world.at_worker.len()), (19, 1));
}

#[test]
fn an_acceptance_ends_the_row_of_refusals() {
    let mut world = one_job();
    assert_eq!(seconds_between(&mut world, RefusalKind::Unknown, 2), [3, 10]);
    let token = world.token(2);
    world.accept(&token, 10);
    world.job_ended(&token, amore_slurm::JobEnd::NodeFailed);
    assert_eq!(seconds_between(&mut world, RefusalKind::Unknown, 6), [3, 10, 30]);
}

#[test]
fn a_limit_is_told_at_first_and_after_3_6_and_12_minutes() {
    let mut world = one_job();
    for _ in 0..100 {
        let token = world.token(world.submitted.len() - 1);
        world.refuse(&token, RefusalKind::Limit, "QOSMaxSubmitJobPerUserLimit");
        world.after(10.0);
    }
    let said = world.words(Listener::Here);
    let minutes: Vec<bool> = [", for 3 minutes", ", for 6 minutes", ", for 12 minutes"]
        .iter()
        .map(|long| said.iter().any(|line| line.contains(long)))
        .collect();
    assert_eq!((said.len(), minutes), (4, vec![true; 3]), "{said:?}");
}

#[test]
fn the_same_refusal_of_many_runs_is_told_once() {
    let mut world = World::serving(with_slurm(), vec![in_job("a")], runs(1..=5));
    for index in 0..5 {
        let token = world.token(index);
        world.refuse(&token, RefusalKind::Limit, "MaxJobCount limit reached");
    }
    assert_eq!(world.words(Listener::Here).len(), 1);
}

#[test]
fn a_reservation_that_does_not_go_with_the_partition_is_used_alone_then_left() {
    let settings = SlurmSettings {
        reservation: Some("shift7".to_owned()),
        partition: Some("closed".to_owned()),
        ..SlurmSettings::default()
    };
    let mut world = World::serving(setup(Some(settings)), vec![in_job("a")], runs([1]));
    let words = "Requested node configuration is not available";
    for index in 0..2 {
        let token = world.token(index);
        world.refuse(&token, RefusalKind::Reservation, words);
    }
    let asked = |index: usize| {
        let asked = &world.submitted[index].asked;
        (asked.reservation.as_deref(), asked.partition.as_deref())
    };
    assert_eq!(asked(0), (Some("shift7"), Some("closed")));
    assert_eq!(asked(1), (Some("shift7"), None));
    assert_eq!(asked(2), (None, Some("closed")));
    let said = world.words(Listener::Here);
    assert!(said[0].starts_with("note: ") && said[0].contains("the reservation only"), "{said:?}");
    assert!(said[1].starts_with("warning: "), "{said:?}");
}

#[test]
fn a_job_whose_reservation_is_deleted_while_it_waits_goes_to_the_partition() {
    let settings = SlurmSettings { reservation: Some("shift7".to_owned()), ..SlurmSettings::default() };
    let mut world = World::serving(setup(Some(settings)), vec![in_job("a")], runs([1]));
    let token = world.token(0);
    world.accept(&token, 10);
    world.job_ended(&token, amore_slurm::JobEnd::ReservationGone { reservation: "shift7".to_owned() });
    assert_eq!(world.submitted[1].asked.reservation, None);
    assert!(world.words(Listener::Here)[0].ends_with("again in a partition"));
}

#[test]
fn a_refused_job_frees_its_place_for_another() {
    let settings = SlurmSettings { concurrent_jobs: Some(1), ..SlurmSettings::default() };
    let mut world = World::serving(setup(Some(settings)), vec![in_job("a")], runs([1, 2]));
    assert_eq!(world.submitted.len(), 1);
    let token = world.token(0);
    world.refuse(&token, RefusalKind::Rule, "no");
    assert_eq!(world.submitted.len(), 2);
}

#[test]
fn after_ctrl_c_nothing_that_was_refused_is_submitted_again() {
    let mut world = one_job();
    let token = world.token(0);
    world.refuse(&token, RefusalKind::Passes, "Resource temporarily unavailable");
    world.give(Input::Stop);
    world.after(60.0);
    assert_eq!(world.submitted.len(), 1);
    assert!(world.core.has_ended());
}
