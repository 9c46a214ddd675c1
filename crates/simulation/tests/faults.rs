//! Faults of Slurm, and how users see them.

use std::time::Duration;

use amore_simulation::slurm::{
    AccountingFault, ClusterSpec, Ended, Exit, Fault, Hold, Limits, NextSubmission, Reservation, Site, State,
};

mod world;
use world::World;

const SLEEP: &str = "#!/bin/sh\nsleep 300\n";
const STUBBORN: &str = "#!/bin/sh\ntrap '' TERM\nsleep 300\n";

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn lab() -> World {
    World::new(Site::of_tests(), 3)
}

fn try_to_submit(world: &mut World, more: &[&str], script: &str) -> Result<u64, String> {
    let argv = [&["sbatch", "--parsable"], more].concat();
    let answer = world.run("alice", &argv, script);
    if answer.code == 0 { Ok(answer.stdout.trim().parse().unwrap()) } else { Err(answer.stderr) }
}

fn submit(world: &mut World, more: &[&str], script: &str) -> u64 {
    try_to_submit(world, more, script).unwrap()
}

/// State and reason in the queue; empty if the job is not there.
fn seen(world: &mut World, job: u64) -> (String, String) {
    let number = job.to_string();
    let answer = world.run("alice", &["squeue", "-h", "-a", "-t", "all", "-j", &number, "-o", "%T|%r"], "");
    let (state, reason) = answer.stdout.trim().split_once('|').unwrap_or_default();
    (state.to_owned(), reason.to_owned())
}

fn is(world: &mut World, job: u64, state: &str, reason: &str) {
    assert_eq!(seen(world, job), (state.to_owned(), reason.to_owned()));
}

#[test]
fn a_lost_answer_is_a_job_all_the_same() {
    let mut world = lab();
    let next = NextSubmission { answer_lost: true, ..NextSubmission::default() };
    world.inject(Fault::NextSubmission(next)).unwrap();
    let before = world.now;
    let words = try_to_submit(&mut world, &["--comment=amore:1a"], SLEEP).unwrap_err();
    assert!(words.contains("Socket timed out on send/recv operation"), "{words}");
    assert_eq!(world.now - before, s(10));
    let found =
        world.run("alice", &["squeue", "-h", "-a", "-r", "-t", "all", "-u", "2001", "-o", "%i|%k"], "");
    assert_eq!(found.stdout, "1|amore:1a\n");
}

#[test]
fn a_controller_that_hung_does_what_it_was_told_when_it_goes_on() {
    let mut world = lab();
    let running = submit(&mut world, &[], SLEEP);
    let ends = submit(&mut world, &[], "#!/bin/sh\ntrue\n");
    world.pass(s(1) + Duration::from_millis(50));
    world.inject(Fault::ControllerHangs).unwrap();
    assert!(try_to_submit(&mut world, &["--comment=amore:2b"], SLEEP).is_err());
    assert!(try_to_submit(&mut world, &["--comment=amore:2b"], SLEEP).is_err());
    assert_eq!(world.run("alice", &["scancel", &running.to_string()], "").code, 140);
    assert!(world.running.len() < 2, "jobs continue and end while it hangs");
    world.inject(Fault::ControllerGoesOn).unwrap();
    world.pass(s(5));
    // The comments of both submissions that seemed to fail.
    let comments = world.run("alice", &["squeue", "-h", "-a", "-r", "-u", "2001", "-o", "%k"], "");
    assert_eq!(comments.stdout, "amore:2b\namore:2b\n");
    is(&mut world, running, "CANCELLED", "None");
    is(&mut world, ends, "COMPLETED", "None");
}

#[test]
fn a_controller_that_is_killed_forgets_and_gives_numbers_again() {
    let mut world = lab();
    let old = submit(&mut world, &["--comment=amore:old"], SLEEP);
    world.pass(s(20));
    let forgotten = submit(&mut world, &["--comment=amore:new"], SLEEP);
    world.pass(s(2));
    world.inject(Fault::ControllerKilled { forgets: s(5) }).unwrap();
    assert!(try_to_submit(&mut world, &[], SLEEP).unwrap_err().contains("connect failure"));
    world.inject(Fault::ControllerGoesOn).unwrap();
    world.pass(s(3));
    is(&mut world, old, "RUNNING", "None");
    assert_eq!(seen(&mut world, forgotten), (String::new(), String::new()));
    assert_eq!(world.running.len(), 2, "what the controller has forgotten continues");
    let again = submit(&mut world, &["--comment=amore:other"], SLEEP);
    assert_eq!(again, forgotten);
    // The end of the forgotten job has no effect.
    let orphan = *world.running.iter().find(|(_, start)| start.job == forgotten).unwrap().0;
    world.slurm.script_ended(world.now, orphan, Exit::Code(0));
    world.pass(s(3));
    is(&mut world, again, "RUNNING", "None");
}

#[test]
fn a_job_that_began_as_the_controller_was_killed_is_held() {
    let mut world = lab();
    world.run("alice", &["sbatch", "-p", "down", "--wrap", "true"], "");
    let job = submit(&mut world, &["--begin=now+20"], SLEEP);
    world.pass(s(22));
    world.inject(Fault::ControllerKilled { forgets: s(5) }).unwrap();
    world.inject(Fault::ControllerGoesOn).unwrap();
    world.pass(s(3));
    is(&mut world, job, "PENDING", "launch failed requeued held");
    assert_eq!(world.slurm.nodes("lab")[0].word(), "drained");
    assert_eq!(world.running.len(), 1, "it continues anyway");
}

#[test]
fn a_node_that_is_cut_off_has_its_job_run_twice() {
    let mut world = lab();
    let job = submit(&mut world, &["--requeue"], SLEEP);
    let kept = submit(&mut world, &["--no-requeue"], SLEEP);
    world.pass(s(2));
    world.inject(Fault::NodeCut("n1".to_owned())).unwrap();
    world.pass(s(12));
    assert_eq!(world.slurm.nodes("lab")[0].word(), "mixed*");
    world.pass(s(15));
    assert_eq!(world.slurm.nodes("lab")[0].word(), "down*");
    is(&mut world, job, "PENDING", "BeginTime");
    is(&mut world, kept, "NODE_FAIL", "NodeDown");
    assert_eq!(world.running.len(), 2, "both continue behind the cut");
    world.pass(s(122));
    is(&mut world, job, "RUNNING", "None");
    assert_eq!(world.begun[&job], 2);
    assert_eq!(world.running.len(), 3);
    world.inject(Fault::NodeReturns("n1".to_owned())).unwrap();
    world.pass(s(15));
    assert_eq!(world.running.len(), 1, "what was given up is ended");
    is(&mut world, job, "RUNNING", "None");
}

#[test]
fn a_job_that_ends_behind_a_short_cut_has_completed() {
    let mut world = lab();
    let job = submit(&mut world, &[], SLEEP);
    world.pass(s(2));
    world.inject(Fault::NodeCut("n1".to_owned())).unwrap();
    let execution = *world.running.keys().next().unwrap();
    world.slurm.script_ended(world.now, execution, Exit::Code(0));
    world.pass(s(5));
    is(&mut world, job, "RUNNING", "None");
    world.inject(Fault::NodeReturns("n1".to_owned())).unwrap();
    is(&mut world, job, "COMPLETED", "None");
}

#[test]
fn a_node_that_dies_takes_its_jobs_with_it() {
    let mut world = lab();
    let job = submit(&mut world, &["--requeue", "-w", "n2"], SLEEP);
    world.pass(s(2));
    world.inject(Fault::NodeDies("n2".to_owned())).unwrap();
    world.pass(s(1));
    assert!(world.running.is_empty());
    is(&mut world, job, "RUNNING", "None");
    world.inject(Fault::NodeReturns("n2".to_owned())).unwrap();
    world.pass(s(1));
    is(&mut world, job, "PENDING", "BeginTime");
    world.inject(Fault::StartNow(job)).unwrap();
    world.pass(s(2));
    is(&mut world, job, "RUNNING", "None");
}

#[test]
fn a_job_whose_node_died_unnoticed_does_not_begin() {
    let mut world = lab();
    world.inject(Fault::NodeDies("n1".to_owned())).unwrap();
    let job = submit(&mut world, &["--no-requeue"], SLEEP);
    world.pass(s(2));
    is(&mut world, job, "RUNNING", "None");
    assert!(world.begun.is_empty());
    world.pass(s(25));
    is(&mut world, job, "NODE_FAIL", "NodeDown");
}

#[test]
fn nodes_out_of_service_run_nothing_new() {
    let mut world = lab();
    let job = submit(&mut world, &["-w", "n1"], SLEEP);
    world.pass(s(2));
    for node in ["n1", "n2", "n3"] {
        world.inject(Fault::NodeDrained(node.to_owned())).unwrap();
    }
    let waits = submit(&mut world, &[], SLEEP);
    world.pass(s(2));
    is(&mut world, job, "RUNNING", "None");
    is(
        &mut world,
        waits,
        "PENDING",
        "Nodes required for job are DOWN, DRAINED or reserved for jobs in higher priority partitions",
    );
    world.inject(Fault::NodeDown("n1".to_owned())).unwrap();
    world.pass(s(2));
    is(&mut world, job, "PENDING", "BeginTime");
    world.inject(Fault::NodeResumed("n3".to_owned())).unwrap();
    world.pass(s(2));
    is(&mut world, waits, "RUNNING", "None");
    let named = submit(&mut world, &["-w", "n2"], SLEEP);
    world.pass(s(2));
    is(&mut world, named, "PENDING", "ReqNodeNotAvail, UnavailableNodes:n2");
}

#[test]
fn a_prolog_that_fails_holds_the_job_and_drains_the_node() {
    let mut world = lab();
    let job = submit(&mut world, &[], SLEEP);
    world.pass(s(2));
    world.inject(Fault::PrologFails("n1".to_owned())).unwrap();
    world.pass(s(2));
    is(&mut world, job, "PENDING", "launch failed requeued held");
    assert_eq!(world.slurm.nodes("lab")[0].word(), "drained");
    world.inject(Fault::Release(job)).unwrap();
    world.pass(s(3));
    is(&mut world, job, "RUNNING", "None");
}

#[test]
fn a_time_limit_kills_what_does_not_end() {
    let mut world = lab();
    let job = submit(&mut world, &["--time=1"], STUBBORN);
    let before = world.now;
    while seen(&mut world, job).0 != "COMPLETING" {
        world.pass(s(1));
    }
    // Slurm checks for such jobs from time to time.
    assert!((61..=92).contains(&(world.now - before).as_secs()), "{:?}", world.now - before);
    world.pass(s(3));
    is(&mut world, job, "TIMEOUT", "TimeLimit");
    assert!(world.running.is_empty());
}

#[test]
fn jobs_of_a_lower_tier_make_room() {
    let mut world = lab();
    let requeued = submit(&mut world, &["-p", "low", "-w", "n1", "-c3"], SLEEP);
    let ended = submit(&mut world, &["-p", "low", "-w", "n2", "-c3", "--no-requeue"], SLEEP);
    world.pass(s(2));
    let first = submit(&mut world, &["-p", "high", "-w", "n1", "-c4"], SLEEP);
    let second = submit(&mut world, &["-p", "high", "-w", "n2", "-c4"], SLEEP);
    world.pass(s(4));
    is(&mut world, requeued, "PENDING", "BeginTime");
    is(&mut world, ended, "PREEMPTED", "None");
    is(&mut world, first, "RUNNING", "None");
    is(&mut world, second, "RUNNING", "None");
}

fn reserve(world: &mut World, name: &str, node: &str, from: u64, to: u64) {
    let one = Reservation {
        name: name.to_owned(),
        nodes: vec![node.to_owned()],
        users: vec!["alice".to_owned()],
        accounts: Vec::new(),
        start: world.now + s(from),
        end: world.now + s(to),
    };
    world.inject(Fault::Reserve(one)).unwrap();
}

#[test]
fn reservations_begin_fill_up_and_end() {
    let mut world = lab();
    reserve(&mut world, "shift", "n2", 30, 120);
    let in_it = submit(&mut world, &["--reservation=shift", "-c4"], SLEEP);
    let waits = submit(&mut world, &["--reservation=shift", "-c4"], SLEEP);
    world.pass(s(2));
    is(&mut world, in_it, "PENDING", "Reservation");
    world.pass(s(30));
    is(&mut world, in_it, "RUNNING", "None");
    assert_eq!(world.slurm.job("lab", in_it).unwrap().nodes, ["n2"]);
    is(&mut world, waits, "PENDING", "Resources");
    let deleted = world.inject(Fault::DeleteReservation("shift".to_owned()));
    assert_eq!(
        deleted.unwrap_err(),
        "delete_reservation ReservationName=shift: Requested reservation is in use"
    );
    world.pass(s(90));
    // It has ended, but is not removed yet.
    let words = try_to_submit(&mut world, &["--reservation=shift"], SLEEP).unwrap_err();
    assert!(words.starts_with("sbatch: error: Problem using reservation\n"), "{words}");
    is(&mut world, waits, "PENDING", "Reservation");
    world.pass(s(25));
    is(&mut world, waits, "RESV_DEL_HOLD", "Reservation shift was deleted");
    is(&mut world, in_it, "TIMEOUT", "TimeLimit");
    assert!(try_to_submit(&mut world, &["--reservation=shift"], SLEEP).unwrap_err().contains("is invalid"));
    world.inject(Fault::Release(waits)).unwrap();
    world.pass(s(2));
    is(&mut world, waits, "RUNNING", "None");
}

#[test]
fn nobody_else_is_in_a_reservation() {
    let mut world = lab();
    for (name, node) in [("a", "n1"), ("b", "n2"), ("c", "n3")] {
        reserve(&mut world, name, node, 0, 600);
    }
    let waits = submit(&mut world, &[], SLEEP);
    world.pass(s(3));
    is(&mut world, waits, "PENDING", "Resources");
}

#[test]
fn limits_refuse_or_let_wait() {
    let mut world = lab();
    world.slurm.limit("alice", "physics", Limits { jobs: Some(1), submitted: Some(3), minutes: Some(60) });
    let first = submit(&mut world, &[], SLEEP);
    let second = submit(&mut world, &[], SLEEP);
    let long = submit(&mut world, &["--time=90"], SLEEP);
    let words = try_to_submit(&mut world, &[], SLEEP).unwrap_err();
    assert!(words.starts_with("sbatch: error: AssocMaxSubmitJobLimit\n"), "{words}");
    world.pass(s(2));
    is(&mut world, first, "RUNNING", "None");
    is(&mut world, second, "PENDING", "AssocMaxJobsLimit");
    is(&mut world, long, "PENDING", "AssocMaxWallDurationPerJobLimit");
    world.slurm.limit("alice", "physics", Limits::default());
    world.pass(s(2));
    is(&mut world, second, "RUNNING", "None");
    let express = ["-q", "express", "-t", "5"];
    let jobs: Vec<u64> = (0..3).map(|_| submit(&mut world, &express, SLEEP)).collect();
    world.pass(s(2));
    is(&mut world, jobs[2], "PENDING", "QOSMaxJobsPerUserLimit");
}

#[test]
fn accounting_lags_dies_and_catches_up() {
    let mut world = lab();
    let asked = |world: &mut World, job: u64| {
        let number = job.to_string();
        world.run("alice", &["sacct", "-X", "-n", "-P", "-j", &number, "-o", "State,ExitCode"], "")
    };
    world.slurm.inject_into_accounting(world.now, AccountingFault::Lags(s(60)));
    let job = submit(&mut world, &[], "#!/bin/sh\nexit 3\n");
    world.pass(s(10));
    let late = asked(&mut world, job);
    assert_eq!((late.code, late.stdout.as_str()), (0, ""));
    world.slurm.inject_into_accounting(world.now, AccountingFault::CatchesUp);
    assert_eq!(asked(&mut world, job).stdout, "FAILED|3:0\n");
    world.slurm.inject_into_accounting(world.now, AccountingFault::Dies);
    let other = submit(&mut world, &[], "#!/bin/sh\ntrue\n");
    world.pass(s(5));
    assert_eq!(asked(&mut world, other).code, 1);
    world.slurm.inject_into_accounting(world.now, AccountingFault::Returns);
    assert_eq!(asked(&mut world, other).stdout, "");
    world.pass(s(3));
    assert_eq!(asked(&mut world, other).stdout, "COMPLETED|0:0\n");
}

#[test]
fn holds_cancels_and_requeues() {
    let mut world = lab();
    let next = NextSubmission { held: Some(Hold::Admin), ..NextSubmission::default() };
    world.inject(Fault::NextSubmission(next)).unwrap();
    let held = submit(&mut world, &[], SLEEP);
    world.pass(s(2));
    is(&mut world, held, "PENDING", "JobHeldAdmin");
    world.inject(Fault::Release(held)).unwrap();
    world.pass(s(2));
    let refused = submit(&mut world, &["--no-requeue"], SLEEP);
    world.pass(s(2));
    let words = world.inject(Fault::Requeue { job: refused, allow: false }).unwrap_err();
    assert!(words.contains("Requested operation is presently disabled"), "{words}");
    world.inject(Fault::Requeue { job: refused, allow: true }).unwrap();
    world.pass(s(4));
    is(&mut world, refused, "PENDING", "BeginTime");
    assert_eq!(world.slurm.job("lab", refused).unwrap().restarts, 1);
    world.inject(Fault::Cancel { job: held, by: 0 }).unwrap();
    world.pass(s(4));
    assert_eq!(world.slurm.job("lab", held).unwrap().state, State::Over(Ended::Cancelled { by: 0 }));
    let next = NextSubmission { launch_fails: true, ..NextSubmission::default() };
    world.inject(Fault::NextSubmission(next)).unwrap();
    let never = submit(&mut world, &[], SLEEP);
    world.pass(s(2));
    is(&mut world, never, "FAILED", "JobLaunchFailure");
    assert_eq!(world.slurm.job("lab", never).unwrap().exit.to_string(), "0:53");
    assert!(!world.begun.contains_key(&never));
}

#[test]
fn a_number_that_is_given_twice_is_the_later_jobs() {
    let mut world = lab();
    let first = submit(&mut world, &["--comment=amore:a"], SLEEP);
    world.pass(s(5));
    let next = NextSubmission { number: Some(first), ..NextSubmission::default() };
    world.inject(Fault::NextSubmission(next)).unwrap();
    assert_eq!(submit(&mut world, &["--comment=amore:b"], SLEEP), first);
    world.pass(s(5));
    let number = first.to_string();
    let line = world.run("alice", &["sacct", "-X", "-n", "-P", "-j", &number, "-o", "SubmitLine"], "");
    assert_eq!(line.stdout, "sbatch --parsable --comment=amore:b\n");
    assert_eq!(world.begun[&first], 2);
}

#[test]
fn clusters_have_numbers_and_troubles_of_their_own() {
    let mut site = Site::of_tests();
    site.clusters.push(ClusterSpec::of_tests("annex", 1));
    let mut world = World::new(site, 3);
    for name in ["lab", "annex"] {
        let answer = world.run("alice", &["sbatch", "--parsable", &format!("--clusters={name}")], SLEEP);
        assert_eq!(answer.stdout, format!("1;{name}\n"));
    }
    let unknown = world.run("alice", &["squeue", "-M", "nosuch", "-h", "-o", "%i"], "");
    assert_eq!(
        (unknown.code, unknown.stderr.as_str()),
        (1, "squeue: error: No cluster 'nosuch' known by database.\n")
    );
    world.slurm.inject(world.now, "annex", Fault::ControllerHangs).unwrap();
    world.pass(s(2));
    assert_eq!(world.run("alice", &["squeue", "-M", "annex", "-h", "-o", "%i"], "").code, 1);
    assert_eq!(world.run("alice", &["squeue", "-M", "lab", "-h", "-o", "%i|%T"], "").stdout, "1|RUNNING\n");
    // While one cluster hangs, the other takes the job.
    let answer = world.run("alice", &["sbatch", "--parsable", "--clusters=annex,lab"], SLEEP);
    assert_eq!(answer.stdout, "2;lab\n");
    world.slurm.inject_into_accounting(world.now, AccountingFault::Dies);
    assert_eq!(world.run("alice", &["squeue", "-M", "lab", "-h", "-o", "%i"], "").code, 1);
    assert_eq!(world.run("alice", &["squeue", "-h", "-o", "%i"], "").code, 0);
}

#[test]
fn what_does_not_fit_is_refused_and_kept_as_failed() {
    let mut world = lab();
    let words = try_to_submit(&mut world, &["--mem=900G", "--comment=amore:c"], SLEEP).unwrap_err();
    assert!(words.contains("Memory specification can not be satisfied"), "{words}");
    is(&mut world, 1, "FAILED", "BadConstraints");
}

#[test]
fn slow_answers_take_longer() {
    let mut world = lab();
    world.inject(Fault::SlowAnswers(s(7))).unwrap();
    let before = world.now;
    submit(&mut world, &[], SLEEP);
    assert!(world.now - before >= s(7));
    // Slower than a command's timeout.
    world.inject(Fault::SlowAnswers(s(15))).unwrap();
    let words = try_to_submit(&mut world, &["--comment=amore:ab"], SLEEP).unwrap_err();
    assert!(words.contains("Socket timed out"), "{words}");
    assert_eq!(world.run("alice", &["squeue", "-h", "-u", "2001", "-o", "%k"], "").code, 1);
    world.inject(Fault::SlowAnswers(Duration::ZERO)).unwrap();
    let found = world.run("alice", &["squeue", "-h", "-u", "2001", "-o", "%k"], "");
    assert!(found.stdout.contains("amore:ab\n"), "{found:?}");
    let before = world.now;
    submit(&mut world, &[], SLEEP);
    assert!(world.now - before < s(1));
}

#[test]
fn jobs_that_ended_are_forgotten_after_a_while() {
    let mut world = lab();
    let job = submit(&mut world, &[], "#!/bin/sh\ntrue\n");
    world.pass(s(290));
    is(&mut world, job, "COMPLETED", "None");
    world.pass(s(80));
    let number = job.to_string();
    let gone = world.run("alice", &["squeue", "-h", "-a", "-t", "all", "-j", &number, "-o", "%T"], "");
    assert_eq!((gone.code, gone.stderr.as_str()), (1, "slurm_load_jobs error: Invalid job id specified\n"));
    let kept = world.run("alice", &["sacct", "-X", "-n", "-P", "-j", &number, "-o", "State"], "");
    assert_eq!(kept.stdout, "COMPLETED\n");
}
