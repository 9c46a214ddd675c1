//! The same inputs at the same moments give the same effects, in the same order; and nothing is lost on the way.

use amore_core::{
    Input, JobEvent,
    events::Event,
    request::{Listener, Request},
};
use amore_model::JobId;
use amore_slurm::{JobEnd, refused::RefusalKind, submission::Doubt};
use proptest::prelude::*;

use crate::harness::{World, in_job, runs, variable, with, with_slurm};

/// Something that may happen.
#[derive(Clone, Debug)]
enum Step {
    Execute,
    WorkerLost,
    Ask(u32),
    Cancel(u64),
    Accept(usize),
    JobDone(usize),
    JobEnded(usize, u8),
    Refused(usize, u8),
    NotThere(usize),
    Wait(u8),
    HoldCollector(bool),
    LedgerSilent(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => Just(Step::Execute),
        1 => Just(Step::WorkerLost),
        2 => (1u32..6).prop_map(Step::Ask),
        1 => (1u64..6).prop_map(Step::Cancel),
        4 => (0usize..12).prop_map(Step::Accept),
        4 => (0usize..12).prop_map(Step::JobDone),
        3 => ((0usize..12), (0u8..6)).prop_map(|(at, how)| Step::JobEnded(at, how)),
        2 => ((0usize..12), (0u8..4)).prop_map(|(at, why)| Step::Refused(at, why)),
        1 => (0usize..12).prop_map(Step::NotThere),
        3 => (0u8..60).prop_map(Step::Wait),
        1 => any::<bool>().prop_map(Step::HoldCollector),
        1 => any::<bool>().prop_map(Step::LedgerSilent),
    ]
}

fn end(how: u8) -> JobEnd {
    match how {
        0 => JobEnd::NodeFailed,
        1 => JobEnd::Preempted,
        2 => JobEnd::TimeLimit,
        3 => JobEnd::OutOfMemory,
        4 => JobEnd::Failed { code: (1, 0), launch: false },
        _ => JobEnd::Vanished,
    }
}

fn about(why: u8) -> RefusalKind {
    match why {
        0 => RefusalKind::Limit,
        1 => RefusalKind::Passes,
        2 => RefusalKind::Unknown,
        _ => RefusalKind::Rule,
    }
}

fn play(steps: &[Step]) -> World {
    let variables = vec![variable("a"), with(in_job("far"), "a"), in_job("g"), with(variable("z"), "far")];
    let mut world = World::serving(with_slurm(), variables, runs([1, 2]));
    let mut others = 0;
    // Slurm refuses no job that it has accepted.
    let mut accepted = std::collections::BTreeSet::new();
    let mut jobs = 100;
    for step in steps {
        let token = |world: &World, at: usize| world.submitted.get(at).map(|job| job.token.clone());
        match step.clone() {
            Step::Execute => world.execute(),
            Step::WorkerLost => {
                let worker = world.worker;
                world.give(Input::WorkerLost { worker });
            }
            Step::Ask(run) => {
                others += 1;
                let listener = Listener::Elsewhere(others);
                world.give(Input::Request { listener, request: runs([run]) });
            }
            Step::Cancel(run) => {
                others += 1;
                let request = Request::Cancel(JobId::on(None, run));
                world.give(Input::Request { listener: Listener::Elsewhere(others), request });
            }
            Step::Accept(at) => {
                if let Some(token) = token(&world, at) {
                    jobs += 1;
                    accepted.insert(token.clone());
                    world.accept(&token, jobs);
                }
            }
            Step::JobDone(at) => {
                if let Some(token) = token(&world, at) {
                    world.job_done(&token);
                }
            }
            Step::JobEnded(at, how) => {
                if let Some(token) = token(&world, at) {
                    world.job_ended(&token, end(how));
                }
            }
            Step::Refused(at, why) => {
                if let Some(token) = token(&world, at).filter(|token| !accepted.contains(token)) {
                    world.refuse(&token, about(why), "no");
                }
            }
            Step::NotThere(at) => {
                if let Some(token) = token(&world, at).filter(|token| !accepted.contains(token)) {
                    world.give(Input::Job(JobEvent::NotFound { token, doubt: Doubt::Unanswered }));
                }
            }
            Step::Wait(seconds) => world.after(f64::from(seconds)),
            Step::HoldCollector(hold) => {
                world.hold_collector = hold;
                if !hold {
                    world.collect();
                }
            }
            Step::LedgerSilent(silent) => world.ledger_silent = silent,
        }
    }
    world
}

/// No more faults: whatever is under way comes to its end.
fn wind_up(world: &mut World) {
    world.hold_collector = false;
    world.ledger_silent = false;
    world.collect();
    for _ in 0..200 {
        if world.core.has_ended() {
            return;
        }
        world.execute();
        for token in std::mem::take(&mut world.to_cancel) {
            world.give(Input::Job(JobEvent::Cancelled { token, job: None }));
        }
        for at in 0..world.submitted.len() {
            let token = world.submitted[at].token.clone();
            world.job_done(&token);
        }
        world.after(40.0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn a_life_can_be_played_again(steps in proptest::collection::vec(step(), 0..60)) {
        let (first, second) = (play(&steps), play(&steps));
        prop_assert_eq!(first.history, second.history);
    }

    #[test]
    fn whatever_happens_every_request_ends_and_is_forgotten(steps in proptest::collection::vec(step(), 0..60)) {
        let mut world = play(&steps);
        wind_up(&mut world);
        prop_assert!(world.core.has_ended(), "{} tasks are stuck", world.core.size().0);
        if let Err(refusal) = world.core.outcome() {
            // Ten crashes in a row end the command.
            prop_assert!(refusal.message.contains("within 10 minutes"), "{}", refusal.message);
            return Ok(());
        }
        prop_assert_eq!(world.core.size(), (0, 0));
        prop_assert!(world.log.is_empty(), "illegal moves: {:?}", world.log);
        // Whoever asked was told the end.
        let asked: std::collections::BTreeSet<Listener> =
            world.told.iter().map(|(listener, _)| *listener).filter(|l| *l != Listener::Here).collect();
        for listener in asked {
            let ended = |(who, event): &(Listener, Event)| {
                *who == listener && matches!(event, Event::Finished(_) | Event::Refused { .. })
            };
            prop_assert!(world.told.iter().any(ended), "{listener:?} waits for ever");
        }
    }
}
