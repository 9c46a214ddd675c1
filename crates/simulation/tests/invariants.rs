//! Whatever happens, the model stays consistent and deterministic.

use std::{collections::BTreeMap, time::Duration};

use amore_simulation::slurm::{
    AccountingFault, Exit, Fault, Hold, Key, NextSubmission, Preempt, Reservation, Site, State,
};
use proptest::prelude::*;

mod world;
use world::World;

/// An action of a test.
#[derive(Clone, Debug)]
enum Act {
    Pass(u64),
    Submit(Vec<&'static str>, &'static str),
    Cancel(u64),
    Look,
    ScriptEnds(usize, u8),
    Fault(Fault),
    Accounting(AccountingFault),
}

fn node() -> impl Strategy<Value = String> {
    (1..=3).prop_map(|number| format!("n{number}"))
}

fn fault() -> impl Strategy<Value = Fault> {
    let job = || 1..30u64;
    prop_oneof![
        Just(Fault::ControllerHangs),
        Just(Fault::ControllerStops),
        (0..20u64).prop_map(|seconds| Fault::ControllerKilled { forgets: Duration::from_secs(seconds) }),
        Just(Fault::ControllerGoesOn),
        Just(Fault::ControllerGoesOn),
        (job(), any::<bool>()).prop_map(|(job, goes_on)| Fault::Forget { job, goes_on }),
        Just(Fault::Purge),
        node().prop_map(Fault::NodeCut),
        node().prop_map(Fault::NodeDies),
        node().prop_map(Fault::NodeReturns),
        node().prop_map(Fault::NodeReturns),
        node().prop_map(Fault::NodeDrained),
        node().prop_map(Fault::NodeDown),
        node().prop_map(Fault::NodeResumed),
        node().prop_map(Fault::NodeResumed),
        node().prop_map(Fault::PrologFails),
        job().prop_map(Fault::OutOfMemory),
        job().prop_map(|job| Fault::Preempt(job, Preempt::Requeue)),
        job().prop_map(|job| Fault::Preempt(job, Preempt::Cancel)),
        job().prop_map(|job| Fault::Hold(job, Hold::Admin)),
        job().prop_map(Fault::Release),
        (job(), any::<bool>()).prop_map(|(job, allow)| Fault::Requeue { job, allow }),
        job().prop_map(Fault::StartNow),
        job().prop_map(|job| Fault::Cancel { job, by: 0 }),
        any::<bool>().prop_map(|up| Fault::PartitionUp("main".to_owned(), up)),
        (0..2u64, node()).prop_map(|(number, node)| {
            Fault::Reserve(Reservation {
                name: format!("r{number}"),
                nodes: vec![node],
                users: vec!["alice".to_owned()],
                accounts: Vec::new(),
                start: world::BEGIN + Duration::from_secs(30),
                end: world::BEGIN + Duration::from_secs(200),
            })
        }),
        (0..2u64).prop_map(|number| Fault::DeleteReservation(format!("r{number}"))),
        (0..2u64, 0..400u64).prop_map(|(number, at)| {
            Fault::ReservationEnds(format!("r{number}"), world::BEGIN + Duration::from_secs(at))
        }),
        (proptest::option::of(job()), any::<bool>(), any::<bool>()).prop_map(
            |(number, answer_lost, launch_fails)| {
                Fault::NextSubmission(NextSubmission {
                    answer_lost,
                    number,
                    launch_fails,
                    ..NextSubmission::default()
                })
            }
        ),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    let options = proptest::sample::subsequence(
        vec![
            "-p",
            "low",
            "-N2",
            "-c3",
            "--no-requeue",
            "--hold",
            "--time=1",
            "--reservation=r0",
            "--exclude=n2",
        ],
        0..=5,
    )
    .prop_filter("an option and its value", |options| options.contains(&"-p") == options.contains(&"low"));
    let script = proptest::sample::select(vec![
        "#!/bin/sh\nsleep 300\n",
        "#!/bin/sh\ntrap '' TERM\nsleep 300\n",
        "#!/bin/sh\ntrue\n",
        "#!/bin/sh\nexit 4\n",
    ]);
    prop_oneof![
        3 => (0..60u64).prop_map(Act::Pass),
        1 => (60..400u64).prop_map(Act::Pass),
        4 => (options, script).prop_map(|(options, script)| Act::Submit(options, script)),
        1 => (1..30u64).prop_map(Act::Cancel),
        1 => Just(Act::Look),
        2 => (0..6usize, 0..3u8).prop_map(|(nth, code)| Act::ScriptEnds(nth, code)),
        4 => fault().prop_map(Act::Fault),
        1 => proptest::sample::select(vec![
            AccountingFault::Dies,
            AccountingFault::Returns,
            AccountingFault::Lags(Duration::from_secs(40)),
            AccountingFault::CatchesUp,
        ]).prop_map(Act::Accounting),
    ]
}

/// Every answer and every execution, in order.
fn story(acts: &[Act], seed: u64) -> Vec<String> {
    let mut world = World::new(Site::of_tests(), seed);
    let mut story = Vec::new();
    let mut over: BTreeMap<Key, (State, u32)> = BTreeMap::new();
    for act in acts {
        let line = match act {
            Act::Pass(seconds) => {
                world.pass(Duration::from_secs(*seconds));
                String::new()
            }
            Act::Submit(options, script) => {
                let argv = [&["sbatch", "--parsable"], options.as_slice()].concat();
                format!("{:?}", world.run("alice", &argv, script))
            }
            Act::Cancel(job) => format!("{:?}", world.run("alice", &["scancel", &job.to_string()], "")),
            Act::Look => {
                let queue =
                    ["squeue", "-h", "-a", "-r", "-t", "all", "-u", "alice", "-o", "%i|%T|%N|%P|%v|%k|%r"];
                let kept = [
                    "sacct",
                    "-X",
                    "-n",
                    "-P",
                    "-u",
                    "alice",
                    "-S",
                    "now-2days",
                    "-o",
                    "JobID,State,ExitCode",
                ];
                format!("{:?} {:?}", world.run("alice", &queue, ""), world.run("alice", &kept, ""))
            }
            Act::ScriptEnds(nth, code) => {
                let execution = world.running.keys().nth(*nth).copied();
                if let Some(execution) = execution {
                    world.running.remove(&execution);
                    world.slurm.script_ended(world.now, execution, Exit::Code(*code));
                }
                format!("{execution:?}")
            }
            Act::Fault(fault) => format!("{:?}", world.inject(fault.clone())),
            Act::Accounting(fault) => {
                world.slurm.inject_into_accounting(world.now, *fault);
                String::new()
            }
        };
        world.pass(Duration::from_millis(10));
        story.push(format!("{} {act:?} {line} {:?}", world.now, world.running.keys()));
        assert_eq!(world.slurm.contradiction(), None, "after {act:?}");
        assert_eq!(world.slurm.not_known(), [] as [String; 0]);
        // A job that has ended stays ended, unless it was requeued.
        for job in world.slurm.jobs("lab") {
            let now = (job.state.clone(), job.restarts);
            if let Some(before) = over.insert(job.key, now.clone())
                && before.0.is_over()
            {
                assert!(before == now || before.1 < now.1, "job {}: {before:?} {now:?}", job.number);
            }
        }
    }
    story
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_model_does_not_contradict_itself(acts in proptest::collection::vec(act(), 1..60), seed in any::<u64>()) {
        let first = story(&acts, seed);
        prop_assert_eq!(first, story(&acts, seed));
    }

    /// After all faults are repaired, jobs start again.
    #[test]
    fn a_cluster_that_is_mended_executes_jobs(acts in proptest::collection::vec(act(), 1..40), seed in any::<u64>()) {
        let mut world = World::new(Site::of_tests(), seed);
        for act in &acts {
            match act {
                Act::Pass(seconds) => world.pass(Duration::from_secs(*seconds)),
                Act::Submit(options, script) => {
                    let argv = [&["sbatch", "--parsable"], options.as_slice()].concat();
                    world.run("alice", &argv, script);
                }
                Act::Fault(Fault::NextSubmission(_)) => {}
                Act::Fault(fault) => {
                    let _ = world.inject(fault.clone());
                }
                Act::Cancel(_) | Act::Look | Act::ScriptEnds(..) | Act::Accounting(_) => {}
            }
        }
        world.inject(Fault::ControllerGoesOn).unwrap();
        world.inject(Fault::PartitionUp("main".to_owned(), true)).unwrap();
        for node in ["n1", "n2", "n3"] {
            world.inject(Fault::NodeReturns(node.to_owned())).unwrap();
            world.inject(Fault::NodeResumed(node.to_owned())).unwrap();
        }
        let jobs: Vec<u64> = world.slurm.jobs("lab").map(|job| job.number).collect();
        for job in jobs {
            world.inject(Fault::Cancel { job, by: 0 }).unwrap();
        }
        world.pass(Duration::from_secs(600));
        prop_assert!(world.running.is_empty(), "{:?}", world.running);
        let answer = world.run("alice", &["sbatch", "--parsable"], "#!/bin/sh\ntrue\n");
        let number: u64 = answer.stdout.trim().parse().unwrap();
        world.pass(Duration::from_secs(5));
        let job = world.slurm.job("lab", number).unwrap();
        prop_assert_eq!(job.state.word(), "COMPLETED", "{:?}", job);
    }
}
