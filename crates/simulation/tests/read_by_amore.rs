//! Amore's own parsers read the output of the simulated Slurm.

use std::time::Duration;

use amore_model::JobId;
use amore_simulation::slurm::{Fault, Hold, NextSubmission, Preempt, Reservation, Site};
use amore_slurm::{
    JobEnd,
    clusters::Clusters,
    job_status::JobStatus,
    partition_facts::{parse_nodes, parse_partitions},
    refused::{self, RefusalKind, SbatchFailure},
    reservation::parse_reservations,
    sacct::{ACCOUNTED, parse_accounting},
    sbatch::{Number, parse_submitted},
    scontrol::parse_shown,
    slurm_user::parse_associations,
    squeue::parse_queue,
};

mod world;
use world::World;

const SLEEP: &str = "#!/bin/sh\nsleep 300\n";

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn submit(world: &mut World, more: &[&str], script: &str) -> u64 {
    let argv = [&["sbatch", "--parsable", "--no-requeue"], more].concat();
    let answer = world.run("alice", &argv, script);
    match parse_submitted(&answer.stdout, &answer.stderr, &Clusters::Ours) {
        Number::Certain(JobId { number, .. }) => number,
        other => panic!("{other:?}: {answer:?}"),
    }
}

/// The status of a job in the queue, in accounting and in the controller.
fn seen(world: &mut World, job: u64) -> [JobStatus; 3] {
    let number = job.to_string();
    let queue = ["squeue", "-h", "-a", "-r", "-t", "all", "-j", &number, "-o", "%i|%T|%N|%P|%v|%k|%r"];
    let kept = ["sacct", "-X", "-n", "-P", "-j", &number, "-o", &ACCOUNTED.join(",")];
    let shown = ["scontrol", "-o", "show", "job", &number];
    let (queue, kept, shown) = (
        world.run("alice", &queue, "").stdout,
        world.run("alice", &kept, "").stdout,
        world.run("alice", &shown, "").stdout,
    );
    let names = |uid: u32| (uid == 0).then(|| "root".to_owned());
    let all = [
        parse_queue(queue.trim_end_matches('\n')),
        parse_accounting(kept.trim_end_matches('\n'), &ACCOUNTED, &names),
        parse_shown(shown.trim_end_matches('\n')),
    ];
    all.map(|read| {
        let (read, seen) = read.unwrap_or_else(|| panic!("job {job}: {queue}{kept}{shown}"));
        assert_eq!(read, number);
        seen
    })
}

#[test]
fn ends_are_read_as_what_they_are() {
    let mut world = World::new(Site::of_tests(), 1);
    let completed = submit(&mut world, &["--comment=amore:a-1"], "#!/bin/sh\ntrue\n");
    let failed = submit(&mut world, &[], "#!/bin/sh\nexit 42\n");
    let never = submit(&mut world, &["--output=/gpfs/nowhere/%j.out"], "#!/bin/sh\ntrue\n");
    let memory = submit(&mut world, &[], "#!/bin/sh\npython3 -c 'bytearray(9)'\n");
    let by_root = submit(&mut world, &[], SLEEP);
    let limit = submit(&mut world, &["--time=1"], SLEEP);
    let preempted = submit(&mut world, &[], SLEEP);
    let lost = submit(&mut world, &["-w", "n3"], SLEEP);
    world.pass(s(3));
    world.inject(Fault::Cancel { job: by_root, by: 0 }).unwrap();
    world.inject(Fault::Preempt(preempted, Preempt::Requeue)).unwrap();
    world.inject(Fault::NodeDown("n3".to_owned())).unwrap();
    world.pass(s(100));
    let code = |code, launch| JobEnd::Failed { code, launch };
    for (job, end) in [
        (completed, JobEnd::Completed),
        (failed, code((42, 0), false)),
        (never, code((0, 53), true)),
        (memory, JobEnd::OutOfMemory),
        (by_root, JobEnd::Cancelled { by: Some("root".to_owned()) }),
        (limit, JobEnd::TimeLimit),
        (preempted, JobEnd::Preempted),
        (lost, JobEnd::NodeFailed),
    ] {
        let [queue, kept, shown] = seen(&mut world, job);
        assert_eq!(kept.end, Some(end.clone()), "job {job}");
        assert!(queue.end.is_some() && shown.end.is_some(), "job {job}: {queue:?} {shown:?}");
        assert_eq!((&queue.state, &queue.nodes), (&shown.state, &shown.nodes));
        if job == completed {
            assert!(queue.is_of("a-1") && kept.is_of("a-1") && shown.is_of("a-1"));
        }
    }
}

#[test]
fn what_waits_is_read_as_waiting() {
    let mut world = World::new(Site::of_tests(), 1);
    let later = Reservation {
        name: "later".to_owned(),
        nodes: vec!["n1".to_owned()],
        users: vec!["alice".to_owned()],
        accounts: Vec::new(),
        start: world.now + s(600),
        end: world.now + s(1200),
    };
    world.inject(Fault::Reserve(later)).unwrap();
    let next = NextSubmission { held: Some(Hold::Admin), ..NextSubmission::default() };
    world.inject(Fault::NextSubmission(next)).unwrap();
    let options: [&[&str]; 5] =
        [&[], &["-p", "down"], &["--reservation=later"], &["-p", "short", "-t", "2"], &["--begin=now+1hour"]];
    for options in options {
        let job = submit(&mut world, options, SLEEP);
        world.pass(s(3));
        let [queue, kept, shown] = seen(&mut world, job);
        assert!(queue.waits() && kept.waits() && shown.waits(), "{options:?}: {queue:?} {kept:?} {shown:?}");
        assert!(queue.advice(&JobId::on(None, job)).is_some(), "{options:?}: {}", queue.reason);
    }
    let running = submit(&mut world, &[], SLEEP);
    world.pass(s(3));
    let [queue, kept, _] = seen(&mut world, running);
    assert!(!queue.waits() && queue.end.is_none() && kept.end.is_none());
    let reservations = world.run("alice", &["scontrol", "show", "reservation", "-o"], "").stdout;
    assert_eq!(parse_reservations(&reservations)[0].users.to_string(), "alice");
    // A reservation that is gone.
    let job = submit(&mut world, &["--reservation=later"], SLEEP);
    world.inject(Fault::ReservationEnds("later".to_owned(), world.now)).unwrap();
    world.pass(s(25));
    let [queue, _, _] = seen(&mut world, job);
    assert_eq!(queue.end, Some(JobEnd::ReservationGone { reservation: "later".to_owned() }));
}

#[test]
fn refusals_are_read_as_what_they_are() {
    let mut world = World::new(Site::of_tests(), 1);
    for (options, about) in [
        (["--partition=nosuch"], RefusalKind::Rule),
        (["--account=nosuch"], RefusalKind::Rule),
        (["--reservation=nosuch"], RefusalKind::Reservation),
    ] {
        let argv = [&["sbatch", "--parsable"], &options[..]].concat();
        let answer = world.run("alice", &argv, SLEEP);
        match refused::read(&answer.stderr, options[0].contains("reservation"), &[]) {
            SbatchFailure::Refused(refused) => assert_eq!(refused.kind, about, "{options:?}"),
            other @ SbatchFailure::Unknown { .. } => panic!("{options:?}: {other:?}"),
        }
    }
    for _ in 0..20 {
        world.run("bob", &["sbatch", "-p", "down"], SLEEP);
    }
    let answer = world.run("bob", &["sbatch", "-p", "down"], SLEEP);
    let reading = refused::read(&answer.stderr, false, &[]);
    assert!(
        matches!(&reading, SbatchFailure::Refused(refused) if refused.kind == RefusalKind::Limit),
        "{reading:?}"
    );
    for fault in [Fault::ControllerHangs, Fault::ControllerStops] {
        world.inject(fault).unwrap();
        let answer = world.run("alice", &["sbatch"], SLEEP);
        let reading = refused::read(&answer.stderr, false, &[]);
        assert!(matches!(reading, SbatchFailure::Unknown { .. }), "{reading:?}");
    }
}

#[test]
fn what_a_site_has_is_read_as_it_is() {
    let mut world = World::new(Site::of_tests(), 1);
    submit(&mut world, &["-w", "n1"], SLEEP);
    world.inject(Fault::NodeDrained("n2".to_owned())).unwrap();
    world.pass(s(3));
    let partitions =
        parse_partitions(&world.run("alice", &["scontrol", "-a", "show", "partition", "-o"], "").stdout);
    assert_eq!(partitions.len(), world.slurm.site().clusters[0].partitions.len());
    let main = partitions.iter().find(|one| one.default).unwrap();
    assert_eq!((main.name.as_str(), main.max_minutes, main.nodes), ("main", Some(1440), Some(3)));
    let nodes =
        parse_nodes(&world.run("alice", &["sinfo", "-h", "-a", "-o", "%P|%a|%l|%D|%T|%c|%m|%G"], "").stdout);
    assert_eq!((nodes["main"].idle, nodes["main"].in_service, nodes["main"].mem_mib), (1, 2, Some(4000)));
    let format = "format=cluster,account,user,partition,qos,defaultqos,maxjobs,maxsubmit,maxwall,grpjobs";
    let text = world.run("bob", &["sacctmgr", "-nP", "show", "assoc", "user=bob", format], "").stdout;
    let limits = parse_associations(&text, "lab", "bob").limits["chemistry"].clone();
    assert_eq!((limits.jobs, limits.submitted, limits.minutes), (Some(4), Some(20), Some(120)));
}
