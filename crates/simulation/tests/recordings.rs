//! The simulated Slurm answers like a real one (`slurm-tests/recorded/22.05-compose`).

#![expect(clippy::disallowed_methods, reason = "a test reads recordings")]

use std::{collections::BTreeMap, fs, path::PathBuf, time::Duration};

use amore_simulation::slurm::{AccountingFault, Fault, Hold, Preempt, Reservation, Site};

mod world;
use world::World;

/// A command that was run on a real cluster, and its answer.
struct Recording {
    user: String,
    argv: Vec<String>,
    code: i32,
    out: Vec<String>,
    error: Vec<String>,
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../slurm-tests/recorded/22.05-compose")
}

fn recording(name: &str) -> Recording {
    let path = folder().join(format!("{name}.txt"));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut lines = text.lines();
    let command = lines.next().and_then(|line| line.strip_prefix("# ")).unwrap_or_default();
    let (user, words) = command.split_once("$ ").unwrap_or_default();
    let argv = words.split('\'').skip(1).step_by(2).map(str::to_owned).collect();
    let code = lines.next().and_then(|line| line.strip_prefix("# code ")).and_then(|code| code.parse().ok());
    let rest: Vec<String> = lines.map(str::to_owned).collect();
    let at = rest.iter().position(|line| line == "# stderr").unwrap_or(rest.len());
    Recording {
        user: user.to_owned(),
        argv,
        code: code.unwrap_or_else(|| panic!("{name} has no exit code")),
        out: rest[..at].to_vec(),
        error: rest[at + 1..].to_vec(),
    }
}

fn names(of: &str) -> Vec<String> {
    let entries = fs::read_dir(folder().join(of)).unwrap_or_else(|error| panic!("{of}: {error}"));
    let mut names: Vec<String> =
        entries.filter_map(|entry| Some(entry.ok()?.path().file_stem()?.to_str()?.to_owned())).collect();
    names.sort();
    names
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

/// Numbers differ each time.
fn shape(text: &str) -> String {
    let mut shape = String::new();
    for sign in text.chars() {
        match (sign.is_ascii_digit(), shape.ends_with('9')) {
            (true, true) => {}
            (true, false) => shape.push('9'),
            (false, _) => shape.push(sign),
        }
    }
    shape
}

fn reservation(name: &str, node: &str, users: &[&str], accounts: &[&str], from: u64, to: u64) -> Fault {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Fault::Reserve(Reservation {
        name: name.to_owned(),
        nodes: vec![node.to_owned()],
        users: owned(users),
        accounts: owned(accounts),
        start: world::BEGIN + Duration::from_secs(from),
        end: world::BEGIN + Duration::from_secs(to),
    })
}

/// Commands that Amore never uses: arrays are refused here, start times are not estimated, scripts are not files.
const NOT_PLAYED: [&str; 4] =
    ["test-only", "test-only-refused", "create-reservation-as-user", "script-directive"];

#[test]
fn submissions_are_answered_word_for_word() {
    let mut compared = 0;
    for name in names("sbatch") {
        let real = recording(&format!("sbatch/{name}"));
        if NOT_PLAYED.contains(&name.as_str()) || name == "script-missing" {
            continue;
        }
        let mut world = World::new(Site::of_tests(), 1);
        for fault in [
            reservation("active", "n3", &["alice", "carol"], &[], 0, 1800),
            reservation("later", "n1", &[], &["physics"], 7200, 10_800),
        ] {
            world.inject(fault).unwrap();
        }
        let mut argv: Vec<&str> = real.argv.iter().map(String::as_str).collect();
        if name == "delete-reservation-in-use" {
            world.run("alice", &["sbatch", "--reservation=active", "--wrap", "sleep 300"], "");
            let words = world.inject(Fault::DeleteReservation("active".to_owned())).unwrap_err();
            assert_eq!(vec![words], real.error, "{name}");
            compared += 1;
            continue;
        }
        if name == "scancel-of-others" {
            for _ in 0..31 {
                world.run("alice", &["sbatch", "-p", "down", "--wrap", "true"], "");
            }
        }
        let large;
        let script = match name.as_str() {
            "script-crlf" => "#!/bin/sh\r\ntrue\r\n",
            "script-empty" => "\n",
            "script-without-interpreter" => "true\n",
            "script-too-large" => {
                large = format!("#!/bin/sh\n{}", "#".repeat(5_000_000));
                &large
            }
            _ => "",
        };
        if !script.is_empty() {
            argv.pop();
        }
        let answer = world.run(&real.user, &argv, script);
        let said =
            (answer.code, lines(&answer.stderr), lines(&answer.stdout).iter().map(|l| shape(l)).collect());
        let expected: (i32, Vec<String>, Vec<String>) =
            (real.code, real.error, real.out.iter().map(|line| shape(line)).collect());
        assert_eq!(said, expected, "{name}: {argv:?}");
        assert!(world.slurm.not_known().is_empty(), "{name}: {:?}", world.slurm.not_known());
        compared += 1;
    }
    assert!(compared > 30, "{compared}");
}

const AS_AMORE: [&str; 10] = [
    "sbatch",
    "--parsable",
    "--export=ALL",
    "--open-mode=append",
    "--no-requeue",
    "--job-name=r1-p1234-damnit",
    "--chdir=/gpfs/home/alice",
    "--output=/gpfs/home/alice/r1-p1234-%j.out",
    "--time=5",
    "--nodes=1",
];

fn submit(world: &mut World, more: &[&str], script: &str) -> String {
    let argv = [&AS_AMORE[..], &["--ntasks=1"], more].concat();
    let answer = world.run("alice", &argv, script);
    assert_eq!(answer.code, 0, "{}", answer.stderr);
    answer.stdout.trim().to_owned()
}

/// The jobs that `record-asked.sh` submits.
fn as_then() -> World {
    let mut world = World::new(Site::of_tests(), 7);
    world.inject(reservation("asked", "n3", &["alice"], &[], 0, 1800)).unwrap();
    submit(&mut world, &["--comment=amore:0123abcd"], "#!/bin/sh\ntrue");
    submit(&mut world, &["--comment=amore:0123abce"], "#!/bin/sh\nexit 42");
    submit(&mut world, &["--comment=amore:0123abcf"], "#!/bin/sh\nkill -9 $$");
    submit(&mut world, &["--output=/gpfs/nowhere/%j.out"], "#!/bin/sh\ntrue");
    submit(&mut world, &["--comment=amore:0123abd0", "--reservation=asked"], "#!/bin/sh\nsleep 300");
    world.pass(Duration::from_secs(3));
    submit(&mut world, &[], "#!/bin/sh\nsleep 300");
    submit(&mut world, &["--partition=down"], "#!/bin/sh\ntrue");
    submit(&mut world, &["--partition=down"], "#!/bin/sh\ntrue");
    world.pass(Duration::from_secs(3));
    for number in ["6", "8"] {
        assert_eq!(world.run("alice", &["scancel", number], "").code, 0);
    }
    world.pass(Duration::from_secs(5));
    world
}

fn compare(world: &mut World, name: &str) {
    let real = recording(name);
    let argv: Vec<&str> = real.argv.iter().map(String::as_str).collect();
    let answer = world.run("alice", &argv, "#!/bin/sh\ntrue\n");
    assert_eq!(answer.code, real.code, "{name}: {}", answer.stderr);
    assert_eq!(lines(&answer.stdout), real.out, "{name}");
    assert_eq!(lines(&answer.stderr), real.error, "{name}");
}

#[test]
fn what_amore_asks_is_answered_line_by_line() {
    let mut world = as_then();
    for name in [
        "squeue",
        "squeue-exit-codes",
        "squeue-tokens",
        "squeue-token-of-job",
        "sacct",
        "sacct-tokens",
        "sacctmgr-show-assoc",
        "sacctmgr-show-user",
        "sacctmgr-show-parents",
        "sinfo",
        "scontrol-show-partition",
        "scontrol-show-reservation",
    ] {
        compare(&mut world, &format!("asked/{name}"));
    }
    assert!(world.slurm.not_known().is_empty());
}

#[test]
fn a_controller_that_does_not_answer_says_so_word_for_word() {
    for (folder, fault) in [("dead", Fault::ControllerStops), ("hung", Fault::ControllerHangs)] {
        let mut world = as_then();
        world.inject(fault).unwrap();
        for name in names(&format!("asked/{folder}")) {
            let before = world.now;
            compare(&mut world, &format!("asked/{folder}/{name}"));
            let waited = (world.now - before).as_secs();
            assert!(waited >= 9 || name == "scontrol-ping", "{name} took {waited} s");
        }
    }
}

#[test]
fn accounting_that_does_not_answer_says_so_word_for_word() {
    let mut world = as_then();
    world.slurm.inject_into_accounting(world.now, AccountingFault::Dies);
    for name in names("asked/accounting-dead") {
        compare(&mut world, &format!("asked/accounting-dead/{name}"));
    }
}

/// Each of these jobs ends in a different way.
fn busy() -> World {
    let mut world = as_then();
    let sleep = "#!/bin/sh\nsleep 300";
    let ends: Vec<u64> =
        (0..4).map(|_| submit(&mut world, &["--partition=low"], sleep).parse().unwrap()).collect();
    world.pass(Duration::from_secs(2));
    world.inject(Fault::OutOfMemory(ends[0])).unwrap();
    world.inject(Fault::Preempt(ends[1], Preempt::Requeue)).unwrap();
    world.inject(Fault::Cancel { job: ends[2], by: 0 }).unwrap();
    world.inject(reservation("later", "n1", &["alice"], &[], 7200, 10_800)).unwrap();
    submit(&mut world, &["--reservation=later"], sleep);
    submit(&mut world, &["--hold"], sleep);
    submit(&mut world, &["--begin=now+2hours"], sleep);
    submit(&mut world, &["--partition=short"], sleep);
    submit(&mut world, &["--nodes=5", "--ntasks=5"], sleep);
    submit(&mut world, &["--cpus-per-task=99"], sleep);
    submit(&mut world, &["--partition=short", "--time=1"], sleep);
    world.pass(Duration::from_secs(90));
    world
}

/// The `Key=Value` pairs in order; a value may contain spaces.
fn keys(line: &str) -> Vec<(String, String)> {
    line.split_whitespace()
        .filter_map(|word| word.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

#[test]
fn jobs_stand_in_the_queue_as_jobs_of_a_real_one() {
    let mut world = busy();
    let mut real: BTreeMap<String, Vec<(bool, String)>> = BTreeMap::new();
    for name in ["squeue", "squeue-later"] {
        for line in recording(name).out {
            let fields: Vec<&str> = line.split('|').collect();
            if fields.len() == 17 {
                let kind = (fields[15].is_empty(), fields[16].to_owned());
                real.entry(fields[4].to_owned()).or_default().push(kind);
            }
        }
    }
    let answer = world.run(
        "alice",
        &["squeue", "-h", "-a", "-r", "-t", "all", "-u", "2001", "-o", "%i|%T|%N|%P|%v|%k|%r"],
        "",
    );
    let mut states = Vec::new();
    for line in answer.stdout.lines() {
        let fields: Vec<&str> = line.splitn(7, '|').collect();
        let kind = (fields[2].is_empty(), fields[6].to_owned());
        // This job was cancelled while it waited.
        if !(fields[1] == "CANCELLED" && fields[2].is_empty()) {
            assert!(real[fields[1]].contains(&kind), "{line}");
        }
        states.push(fields[1].to_owned());
    }
    for state in
        ["CANCELLED", "COMPLETED", "FAILED", "OUT_OF_MEMORY", "PENDING", "PREEMPTED", "RUNNING", "TIMEOUT"]
    {
        assert!(states.iter().any(|other| other == state), "{state}: {states:?}");
    }
}

#[test]
fn jobs_stand_in_accounting_as_jobs_of_a_real_one() {
    let mut world = busy();
    let word = |state: &str| state.split(' ').next().unwrap_or_default().to_owned();
    let mut real: Vec<(String, String, bool, String)> = Vec::new();
    for line in recording("sacct").out {
        let fields: Vec<&str> = line.split('|').collect();
        if fields.len() == 15 {
            let kind =
                (word(fields[4]), fields[5].to_owned(), fields[12] == "None assigned", fields[13].to_owned());
            real.push(kind);
        }
    }
    let numbers: Vec<String> = world.slurm.jobs("lab").map(|job| job.number.to_string()).collect();
    let asked = "JobID,State,ExitCode,NodeList,Partition,Reservation,Reason,SubmitLine";
    let answer = world.run("alice", &["sacct", "-X", "-n", "-P", "-j", &numbers.join(","), "-o", asked], "");
    assert_eq!(answer.stdout.lines().count(), numbers.len());
    for line in answer.stdout.lines() {
        let fields: Vec<&str> = line.splitn(8, '|').collect();
        let kind =
            (word(fields[1]), fields[2].to_owned(), fields[3] == "None assigned", fields[6].to_owned());
        // This was recorded elsewhere: asked/sacct.txt.
        if !(kind.0 == "CANCELLED" && kind.2) {
            assert!(real.contains(&kind), "{line}");
        }
    }
}

#[test]
fn the_controller_shows_a_job_as_a_real_one_does() {
    let mut world = busy();
    let hold = world.slurm.jobs("lab").last().unwrap().number;
    let _ = world.inject(Fault::Hold(hold, Hold::Admin));
    let mut order: Vec<String> = Vec::new();
    for line in recording("scontrol-show-job").out.iter().chain(&recording("scontrol-show-job-later").out) {
        for (at, (key, _)) in keys(line).into_iter().enumerate() {
            if !order.contains(&key) {
                order.insert(at.min(order.len()), key);
            }
        }
    }
    let numbers: Vec<u64> = world.slurm.jobs("lab").map(|job| job.number).collect();
    for number in numbers {
        let answer = world.run("alice", &["scontrol", "-o", "show", "job", &number.to_string()], "");
        let ours: Vec<String> = keys(&answer.stdout).into_iter().map(|(key, _)| key).collect();
        let unknown: Vec<&String> = ours.iter().filter(|key| !order.contains(key)).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
        for needed in
            ["JobId", "JobState", "Reason", "ExitCode", "Partition", "NodeList", "WorkDir", "StdOut"]
        {
            assert!(ours.iter().any(|key| key == needed), "{needed}: {}", answer.stdout);
        }
    }
    let unknown = world.run("alice", &["scontrol", "-o", "show", "job", "999999"], "");
    let real = recording("scontrol-show-job-unknown");
    assert_eq!((unknown.code, lines(&unknown.stderr)), (real.code, real.error));
    for name in ["scontrol-show-reservation-unknown", "squeue-job-unknown", "scontrol-ping", "sbatch-version"]
    {
        compare(&mut world, name);
    }
}

#[test]
fn a_site_without_reservations_says_so() {
    let mut world = World::new(Site::of_tests(), 1);
    let real = recording("scontrol-show-reservation-none");
    let answer = world.run("alice", &["scontrol", "show", "reservation", "-o"], "");
    assert_eq!((answer.code, lines(&answer.stdout)), (real.code, real.out));
}

#[test]
fn what_is_not_known_is_an_error_and_kept() {
    for argv in [
        &["squeue", "-h", "--me"][..],
        &["squeue", "-h", "-t", "all", "-o", "%i|%Z"],
        &["sacct", "-X", "-n", "-P", "-j", "1", "-o", "JobID,AllocCPUS"],
        &["scontrol", "show", "job", "1"],
        &["sinfo", "-s"],
        &["sacctmgr", "show", "qos"],
        &["sbatch", "--parsable", "--ntasks-per-node=3"],
        &["strigger"],
    ] {
        let mut world = as_then();
        let answer = world.run("alice", argv, "#!/bin/sh\ntrue\n");
        assert_eq!(answer.code, 1, "{argv:?}: {}", answer.stdout);
        assert_eq!(world.slurm.not_known().len(), 1, "{argv:?}");
    }
}
