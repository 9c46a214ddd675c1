//! Plays the scenes of `slurm-tests/scenes` on the simulated Slurm. Their README describes the steps.

#![expect(clippy::disallowed_methods, reason = "a test reads scenes")]

use std::{collections::BTreeMap, fs, path::PathBuf, time::Duration};

use amore_simulation::slurm::{Answer, Fault, Hold, NextSubmission, Reservation, Site};
use serde_json::Value;

mod world;
use world::World;

/// The arguments of each submission by Amore.
const ALWAYS: [&str; 11] = [
    "sbatch",
    "--parsable",
    "--export=ALL",
    "--open-mode=append",
    "--no-requeue",
    "--job-name=scene",
    "--chdir=/gpfs/home/alice",
    "--output=/gpfs/home/alice/%j.out",
    "--time=5",
    "--nodes=1",
    "--ntasks=1",
];
/// A scene waits at most this long for something to happen.
const PATIENCE: Duration = Duration::from_secs(180);
const NODES: [&str; 3] = ["n1", "n2", "n3"];

struct Scene {
    name: String,
    world: World,
    jobs: BTreeMap<String, u64>,
}

#[test]
fn scenes_look_as_they_are_written_down() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../slurm-tests/scenes");
    let mut played = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).unwrap();
        let scene: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut stage = Scene { name, world: World::new(Site::of_tests(), 5), jobs: BTreeMap::new() };
        for step in scene["steps"].as_array().unwrap() {
            stage.play(step);
        }
        assert_eq!(stage.world.slurm.not_known(), [] as [String; 0], "{}", stage.name);
        played += 1;
    }
    assert!(played >= 20, "{played}");
}

impl Scene {
    fn play(&mut self, step: &Value) {
        let text = |key: &str| step[key].as_str();
        let expected = &step["expect"];
        if let Some(job) = text("submit") {
            self.submit(job, step);
        } else if let Some(job) = text("wait") {
            let reason = &step["reason"];
            self.until(step, |scene| {
                let row = scene.queue(job);
                row.get("state") == text("state").map(str::to_owned).as_ref()
                    && (reason.is_null() || allows(reason, &Value::from(row["reason"].clone())))
            });
        } else if let Some(job) = text("queue") {
            let row = self.queue(job);
            assert_eq!(self.unlike(expected, &row), None, "{}: {step}", self.name);
        } else if let Some(job) = text("accounting") {
            self.until(step, |scene| {
                let row = scene.accounting(job);
                scene.unlike(expected, &row).is_none()
            });
        } else if let Some(job) = text("listed") {
            let number = self.jobs[job].to_string();
            let argv = ["sacct", "-X", "-n", "-P", "-u", "2001", "-S", "now-2days", "-o", "JobID"];
            self.until(step, |scene| {
                let listed = scene.world.run("alice", &argv, "").stdout.lines().any(|line| line == number);
                Some(listed) == expected.as_bool()
            });
        } else if let Some(job) = text("find") {
            self.find(job, step);
        } else if let Some(words) = step["command"].as_array() {
            let words: Vec<String> = words.iter().map(|word| self.filled(word.as_str().unwrap())).collect();
            let argv: Vec<&str> = words.iter().map(String::as_str).collect();
            let answer = self.world.run("alice", &argv, "");
            self.check_answer(step, &answer);
        } else if let Some(what) = text("do") {
            let done = self.happens(what, step);
            match expected["refusal"].as_str() {
                Some(words) => assert!(done.is_err_and(|said| said.contains(words)), "{}: {step}", self.name),
                None => assert_eq!(done, Ok(()), "{}: {step}", self.name),
            }
        } else {
            panic!("{}: a step that is not known: {step}", self.name);
        }
    }

    fn submit(&mut self, job: &str, step: &Value) {
        let script = match step["script"].as_str().unwrap() {
            "ends" => "#!/bin/sh\ntrue\n",
            "fails" => "#!/bin/sh\nexit 42\n",
            "is killed" => "#!/bin/sh\nkill -9 $$\n",
            "sleeps" => "#!/bin/sh\nsleep 300\n",
            "eats memory" => "#!/bin/sh\npython3 -c 'x = bytearray(300_000_000)'\n",
            other => panic!("{}: a script that is not known: {other}", self.name),
        };
        let mut argv = ALWAYS.to_vec();
        if step["log"] == "nowhere" {
            argv.push("--output=/gpfs/nowhere/%j.out");
        }
        argv.extend(step["options"].as_array().into_iter().flatten().filter_map(Value::as_str));
        let answer = self.world.run("alice", &argv, script);
        if let Some(words) = step["expect"]["refusal"].as_array() {
            let said: Vec<Value> = answer
                .stderr
                .lines()
                .map(|line| Value::from(line.strip_prefix("sbatch: error: ").unwrap_or(line)))
                .collect();
            assert_eq!((answer.code, &said, answer.stdout.as_str()), (1, words, ""), "{}: {step}", self.name);
            return;
        }
        assert_eq!(answer.code, 0, "{}: {step}: {}", self.name, answer.stderr);
        self.jobs.insert(job.to_owned(), answer.stdout.trim().parse().unwrap());
    }

    /// The job in the queue; empty if it is not there.
    fn queue(&mut self, job: &str) -> BTreeMap<&'static str, String> {
        let number = self.jobs[job].to_string();
        let argv = ["squeue", "-h", "-a", "-t", "all", "-j", &number, "-o", "%T|%N|%P|%v|%k|%r"];
        let answer = self.world.run("alice", &argv, "");
        row(&["state", "nodes", "partition", "reservation", "comment", "reason"], answer.stdout.trim_end())
    }

    /// The job in accounting; empty if it is not known.
    fn accounting(&mut self, job: &str) -> BTreeMap<&'static str, String> {
        let number = self.jobs[job].to_string();
        let argv = ["sacct", "-X", "-n", "-P", "-j", &number, "-o", "State,NodeList,Reason,ExitCode"];
        let answer = self.world.run("alice", &argv, "");
        row(&["state", "nodes", "reason", "exit"], answer.stdout.trim_end())
    }

    fn find(&mut self, job: &str, step: &Value) {
        let comment = step["comment"].as_str().unwrap().to_owned();
        let expected = step["expect"].as_u64().unwrap();
        self.until(step, |scene| {
            let argv = ["squeue", "-h", "-a", "-r", "-t", "all", "-u", "2001", "-o", "%i|%k"];
            let answer = scene.world.run("alice", &argv, "");
            let pairs = answer.stdout.lines().filter_map(|line| line.split_once('|'));
            let found: Vec<u64> = pairs
                .filter(|(_, other)| *other == comment)
                .map(|(number, _)| number.parse().unwrap())
                .collect();
            if let Some(number) = found.last() {
                scene.jobs.insert(job.to_owned(), *number);
            }
            found.len() as u64 == expected
        });
    }

    fn happens(&mut self, what: &str, step: &Value) -> Result<(), String> {
        let name = || step["name"].as_str().unwrap().to_owned();
        let job = || self.jobs[step["job"].as_str().unwrap()];
        let fault = match what {
            "hold next" => {
                Fault::NextSubmission(NextSubmission { held: Some(Hold::User), ..NextSubmission::default() })
            }
            "release" => Fault::Release(job()),
            "requeue" => Fault::Requeue { job: job(), allow: step["allow"] == true },
            "cancel as root" => Fault::Cancel { job: job(), by: 0 },
            "the controller hangs" => Fault::ControllerHangs,
            "the controller goes on" => Fault::ControllerGoesOn,
            "reserve" => {
                let accounts: Vec<String> = step["accounts"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(Value::as_str)
                    .map(str::to_owned)
                    .collect();
                let start = self.world.now + Duration::from_secs(step["begins"].as_u64().unwrap_or(0));
                Fault::Reserve(Reservation {
                    name: name(),
                    nodes: vec!["n1".to_owned()],
                    users: if accounts.is_empty() { vec!["alice".to_owned()] } else { Vec::new() },
                    accounts,
                    start,
                    end: start + Duration::from_secs(1800),
                })
            }
            "end reservation" => Fault::ReservationEnds(name(), self.world.now),
            "delete reservation" => Fault::DeleteReservation(name()),
            // Slurm does this by itself.
            "reservation is removed" => return Ok(()),
            "drain" | "resume" => {
                for node in NODES {
                    let node = node.to_owned();
                    let fault =
                        if what == "drain" { Fault::NodeDrained(node) } else { Fault::NodeResumed(node) };
                    self.world.inject(fault)?;
                }
                return Ok(());
            }
            "pass MinJobAge" => {
                self.world.pass(Duration::from_secs(300 + 60));
                return Ok(());
            }
            other => panic!("{}: nothing that can be done: {other}", self.name),
        };
        self.world.inject(fault)
    }

    fn until(&mut self, step: &Value, mut there: impl FnMut(&mut Self) -> bool) {
        let end = self.world.now + PATIENCE;
        while !there(self) {
            assert!(self.world.now < end, "{}: {step}: {:?}", self.name, self.shown());
            self.world.pass(Duration::from_millis(500));
        }
    }

    fn shown(&self) -> Vec<String> {
        self.world
            .slurm
            .jobs("lab")
            .map(|job| format!("{} {} {}", job.number, job.state.word(), job.reason))
            .collect()
    }

    /// The first difference from what is expected.
    fn unlike(&self, expected: &Value, row: &BTreeMap<&str, String>) -> Option<String> {
        expected.as_object().unwrap().iter().find_map(|(key, wanted)| {
            let Some(found) = row.get(key.as_str()) else { return Some(format!("there is no {key}")) };
            let found = if key == "nodes" { Value::from(count(found)) } else { Value::from(found.as_str()) };
            let wanted = match wanted.as_str() {
                Some(text) => Value::from(self.filled(text)),
                None => wanted.clone(),
            };
            (!allows(&wanted, &found)).then(|| format!("{key} is {found}"))
        })
    }

    fn check_answer(&self, step: &Value, answer: &Answer) {
        let expected = &step["expect"];
        assert_eq!(expected["code"].as_i64(), Some(answer.code.into()), "{}: {step}", self.name);
        for (key, text) in [("stdout", &answer.stdout), ("stderr", &answer.stderr)] {
            if let Some(lines) = expected[key].as_array() {
                assert_eq!(
                    lines,
                    &text.lines().map(Value::from).collect::<Vec<_>>(),
                    "{}: {step}",
                    self.name
                );
            }
        }
    }

    /// Replaces `{a}` by the number of a job, and `{uid}` by that of the user.
    fn filled(&self, text: &str) -> String {
        let mut filled = text.replace("{uid}", "2001");
        for (name, number) in &self.jobs {
            filled = filled.replace(&format!("{{{name}}}"), &number.to_string());
        }
        filled
    }
}

/// Whether it is the expected value, or one of the expected values.
fn allows(expected: &Value, found: &Value) -> bool {
    match expected {
        Value::Array(any) => any.contains(found),
        one => one == found,
    }
}

fn row(names: &[&'static str], line: &str) -> BTreeMap<&'static str, String> {
    if line.is_empty() {
        return BTreeMap::new();
    }
    names.iter().copied().zip(line.splitn(names.len(), '|').map(str::to_owned)).collect()
}

/// The number of nodes in a list.
fn count(list: &str) -> u64 {
    let Some((_, ranges)) = list.split_once('[') else {
        return if list.is_empty() || list == "None assigned" { 0 } else { list.split(',').count() as u64 };
    };
    ranges
        .trim_end_matches(']')
        .split(',')
        .map(|range| match range.split_once('-') {
            Some((first, last)) => last.parse::<u64>().unwrap() - first.parse::<u64>().unwrap() + 1,
            None => 1,
        })
        .sum()
}
