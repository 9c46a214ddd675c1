//! 100,000 tasks through one core: what a task costs at first and at last, and the memory at most. Prints JSON.
//!
//! The driver is played by values: what is measured is the core alone.

#![expect(clippy::disallowed_methods, reason = "it measures: the core itself is given the time")]

use std::{
    collections::{BTreeMap, VecDeque},
    path::PathBuf,
    time::{Duration, Instant},
};

use amore_core::{
    Collected, ContextRead, Core, Effect, Input, Moment, Setup, Survey,
    request::{Compute, Listener, Request, Runs},
    task_state::WorkerNo,
};
use amore_model::{DatabaseDir, Proposal, Run, VariableSpec};
use amore_plan::Availability;
use amore_wire::task::{ContextSource, FromWorker, Outcome, Task, ToWorker};

const REQUESTS: u32 = 1000;
const RUNS: u32 = 100;

fn setup() -> Setup {
    let dir = DatabaseDir::at(PathBuf::from("/db"));
    Setup { processes: 8, ..Setup::new(dir, Proposal(1234), PathBuf::from("python3")) }
}

struct Played {
    core: Core,
    now: Moment,
    tasks: VecDeque<Task>,
    done: usize,
    stamps: BTreeMap<PathBuf, amore_model::PlanStamp>,
}

impl Played {
    fn give(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            self.now.steady += Duration::from_micros(10);
            self.now.unix += 1e-5;
            for effect in self.core.on(self.now, input) {
                inputs.extend(self.perform(effect));
            }
        }
    }

    fn perform(&mut self, effect: Effect) -> Option<Input> {
        match effect {
            Effect::ReadContext { incoming } => {
                let context = ContextSource {
                    path: PathBuf::from("/db/context.py"),
                    folders: Vec::new(),
                    directory: None,
                    text: String::new(),
                    sha256: String::new(),
                };
                Some(Input::ContextRead {
                    incoming,
                    context: Ok(ContextRead::new(context, "python3".into())),
                })
            }
            Effect::Survey { incoming, compute, .. } => {
                let Runs::These(runs) = compute.runs else { return None };
                let everything = Availability { raw: true, proc: true };
                let runs = runs.into_iter().map(|run| ((Proposal(1234), run), everything)).collect();
                let survey = Box::new(Survey { runs, ..Survey::default() });
                Some(Input::Surveyed { incoming, survey: Ok(survey) })
            }
            Effect::ToWorker(messages) => {
                let mut answer = None;
                for message in messages {
                    match message {
                        ToWorker::Describe { id, .. } => {
                            let variables = ["a", "b"].map(VariableSpec::new).to_vec();
                            let message = FromWorker::Described { id, variables, problems: Vec::new() };
                            answer = Some(Input::Worker { worker: WorkerNo(0), message });
                        }
                        ToWorker::Run(task) => self.tasks.push_back(*task),
                        _ => {}
                    }
                }
                answer
            }
            Effect::Collect(fragment) => {
                let stamp = self.stamps.remove(&fragment.path)?;
                let stored = ["a", "b"].map(|name| (name.to_owned(), stamp)).to_vec();
                Some(Input::Collected(Collected {
                    key: fragment.key,
                    fragments: 1,
                    stored,
                    cells: Vec::new(),
                    notices: Vec::new(),
                    problem: None,
                }))
            }
            _ => None,
        }
    }

    fn execute_one(&mut self) {
        let Some(task) = self.tasks.pop_front() else { return };
        let path = PathBuf::from(format!("/db/extracted_data/{}.ready.h5", self.done));
        self.stamps.insert(path.clone(), task.stamp);
        self.done += 1;
        let of = || task.attempt_id();
        let mut words = vec![FromWorker::Started { of: of() }];
        for step in &task.steps {
            let name = step.name.clone();
            words.push(FromWorker::VariableEnded { of: of(), name, outcome: Outcome::Value, seconds: 0.1 });
        }
        let (proposal, run) = (task.proposal, task.run);
        words.push(FromWorker::Fragment { of: of(), proposal, run, path });
        words.push(FromWorker::TaskEnded { of: of(), problem: None, cut_short: None });
        for message in words {
            self.give(Input::Worker { worker: WorkerNo(0), message });
        }
    }
}

/// The most memory that this process ever had, in MiB.
fn peak_mib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? / 1024)
}

#[expect(clippy::print_stdout, reason = "that is what it is for")]
fn main() {
    let core = Core::new(setup());
    let now = Moment { steady: Duration::ZERO, unix: 1.8e9 };
    let mut played = Played { core, now, tasks: VecDeque::new(), done: 0, stamps: BTreeMap::new() };
    played.give(Input::Started { fragments: Vec::new(), ledger_exists: false });
    let begun = Instant::now();
    let mut at = Vec::new();
    for request in 0..REQUESTS {
        let runs = (0..RUNS).map(|run| Run(request * RUNS + run + 1)).collect();
        let compute = Compute {
            runs: Runs::These(runs),
            proposal: None,
            matches: Vec::new(),
            names: Vec::new(),
            mock: false,
            trigger: None,
        };
        let listener = Listener::Elsewhere(u64::from(request));
        played.give(Input::Request { listener, request: Request::Compute(compute) });
        while !played.tasks.is_empty() {
            played.execute_one();
        }
        at.push((played.done, begun.elapsed()));
    }
    let cost = |from: (usize, Duration), to: (usize, Duration)| {
        (to.1 - from.1).as_secs_f64() * 1e6 / (to.0 - from.0) as f64
    };
    let tenth = at.len() / 10;
    let first = cost(at[0], at[tenth]);
    let last = cost(at[at.len() - 1 - tenth], at[at.len() - 1]);
    println!(
        "{}",
        serde_json::json!({
            "tasks": played.done, "seconds": begun.elapsed().as_secs_f64(), "microseconds_first": first,
            "microseconds_last": last, "peak_mib": peak_mib(), "left": played.core.size(),
        })
    );
}
