//! The worker in a Slurm job: it reads its manifest, and reports its progress in a file.

use std::{collections::VecDeque, time::Duration};

use amore_wire::{
    VERSION,
    manifest::JobManifest,
    task::{CutShort, FromWorker, Outcome, Task},
};

use super::{
    Happening, World,
    execution::{Next, Work},
    files::Call,
    scenario::Behaviour,
};
use crate::{
    Moment,
    slurm::{Execution, Exit, Signal, Start, Why},
};

/// Time from the start of a script until its worker reads the manifest.
const STARTING: (Duration, Duration) = (Duration::from_millis(100), Duration::from_millis(700));
/// Time from a result until its fragment is complete.
const WRITING: Duration = Duration::from_millis(15);
/// How often it reports that it is alive.
const BEAT: Duration = Duration::from_secs(5);
/// How often it checks whether its manifest still exists.
const MANIFEST_POLL: Duration = Duration::from_secs(2);

/// A script that is being executed.
#[derive(Debug)]
pub(super) struct Script {
    start: Start,
    pub(super) token: String,
    tasks: VecDeque<Task>,
    work: Option<Work>,
    /// Counts what was started. Results of earlier turns are ignored.
    turn: u64,
}

/// An event in a script.
#[derive(Clone, Debug)]
pub(super) enum ScriptStep {
    Begin,
    GoOn { turn: u64 },
    Returned { turn: u64, name: String, call: Call },
    Known { turn: u64, name: String, outcome: Outcome },
    OutOfMemory { turn: u64, name: String },
    Ends { turn: u64 },
    Written { turn: u64 },
    Beat,
    LookForManifest,
}

/// The token in a script, from the name of the manifest.
fn token_in(script: &str) -> String {
    let before = script.split(".json").next().unwrap_or_default();
    before.rsplit('/').next().unwrap_or_default().to_owned()
}

impl World {
    pub(super) fn on_script_started(&mut self, start: Start) {
        let token = token_in(&start.script);
        self.story.tell(self.now, format!("job {}", start.job), || {
            format!("begins on {} as {token}, restarts {}", start.nodes.join(","), start.restarts)
        });
        let execution = start.execution;
        let script = Script { start, token, tasks: VecDeque::new(), work: None, turn: 0 };
        self.scripts.insert(execution, script);
        let takes = self.chance.between(STARTING.0, STARTING.1);
        self.script_does(execution, takes, ScriptStep::Begin);
    }

    pub(super) fn on_signal(&mut self, execution: Execution, signal: Signal, why: Why) {
        let Some(script) = self.scripts.get(&execution) else { return };
        let (job, node) = (script.start.job, script.start.nodes.first().cloned().unwrap_or_default());
        let log = script.start.log.clone();
        self.story.tell(self.now, format!("job {job}"), || format!("gets {signal:?} ({why:?})"));
        if let Some(line) = why.line(job, &node, self.now) {
            self.files.log(&log, &line);
        }
        match signal {
            Signal::Kill => {
                self.scripts.remove(&execution);
            }
            Signal::Terminate if self.trouble.jobs_hang_until > self.now => {}
            Signal::Terminate => self.script_is_told_to_end(execution),
        }
    }

    fn script_does(&mut self, execution: Execution, after: Duration, step: ScriptStep) {
        let at = self.now + after;
        self.schedule(at, Happening::Script { execution, step });
    }

    fn script_says(&mut self, execution: Execution, message: FromWorker) {
        let Some(script) = self.scripts.get(&execution) else { return };
        let token = script.token.clone();
        let seen_from = self.seen_from();
        self.files.report(&token, message, seen_from);
    }

    /// When a file that a node writes now becomes visible on the coordinators' hosts.
    fn seen_from(&mut self) -> Moment {
        let usual = self.chance.between(Duration::from_millis(1), Duration::from_millis(60));
        let late = if self.trouble.late_until > self.now { self.trouble.late } else { Duration::ZERO };
        self.now + usual + late
    }

    fn script_ends(&mut self, execution: Execution, exit: Exit) {
        if let Some(script) = self.scripts.remove(&execution) {
            self.story.tell(self.now, format!("job {}", script.start.job), || format!("ends: {exit:?}"));
        }
        self.slurm.script_ended(self.now, execution, exit);
    }

    pub(super) fn on_script_step(&mut self, execution: Execution, step: ScriptStep) {
        let Some(script) = self.scripts.get(&execution) else { return };
        if self.trouble.jobs_hang_until > self.now {
            let at = self.trouble.jobs_hang_until;
            self.schedule(at, Happening::Script { execution, step });
            return;
        }
        let turn = script.turn;
        match step {
            ScriptStep::Begin => self.script_begins(execution),
            ScriptStep::GoOn { turn: of } if of == turn => self.script_goes_on(execution),
            ScriptStep::Returned { turn: of, name, call } if of == turn => {
                self.script_has(execution, &name, None, Some(call));
            }
            ScriptStep::Known { turn: of, name, outcome } if of == turn => {
                self.script_has(execution, &name, Some(outcome), None);
            }
            ScriptStep::OutOfMemory { turn: of, name } if of == turn => {
                self.script_is_out_of_memory(execution, name);
            }
            ScriptStep::Ends { turn: of } if of == turn => self.script_ends(execution, Exit::Code(1)),
            ScriptStep::Written { turn: of } if of == turn => {
                self.write_fragment_of(execution);
                self.script_goes_on(execution);
            }
            ScriptStep::Beat => {
                self.script_says(execution, FromWorker::Alive);
                self.script_does(execution, BEAT, ScriptStep::Beat);
            }
            ScriptStep::LookForManifest => {
                if self.files.manifests.contains_key(&script.token) {
                    self.script_does(execution, MANIFEST_POLL, ScriptStep::LookForManifest);
                } else {
                    self.script_is_told_to_end(execution);
                }
            }
            // Events of an earlier turn.
            ScriptStep::GoOn { .. }
            | ScriptStep::Returned { .. }
            | ScriptStep::Known { .. }
            | ScriptStep::OutOfMemory { .. }
            | ScriptStep::Ends { .. }
            | ScriptStep::Written { .. } => {}
        }
    }

    fn script_begins(&mut self, execution: Execution) {
        let Some(script) = self.scripts.get_mut(&execution) else { return };
        let (token, job) = (script.token.clone(), script.start.job);
        let Some(manifest) = self.files.manifests.get(&token) else {
            self.script_ends(execution, Exit::Code(0));
            return;
        };
        let Ok(sheet) = serde_json::from_str::<JobManifest>(manifest) else {
            self.violate("manifests can be read", format!("the manifest of {token} cannot be read"));
            return;
        };
        if self.files.claim(&token, job).is_some() {
            self.script_ends(execution, Exit::Code(0));
            return;
        }
        script.tasks = sheet.tasks.into();
        let placed = FromWorker::Placed {
            host: script.start.nodes.first().cloned().unwrap_or_default(),
            job: Some(job.to_string()),
            restarts: script.start.restarts,
            cluster: Some(script.start.cluster.clone()),
        };
        self.files.open_report(&token);
        self.script_says(execution, FromWorker::Hello { version: VERSION, processes: sheet.processes });
        self.script_says(execution, placed);
        self.script_does(execution, BEAT, ScriptStep::Beat);
        self.script_does(execution, MANIFEST_POLL, ScriptStep::LookForManifest);
        self.script_goes_on(execution);
    }

    fn script_goes_on(&mut self, execution: Execution) {
        let Some(script) = self.scripts.get_mut(&execution) else { return };
        script.turn += 1;
        let turn = script.turn;
        if script.work.is_none() {
            let Some(task) = script.tasks.pop_front() else {
                self.script_ends(execution, Exit::Code(0));
                return;
            };
            let (of, restarts) = (task.attempt_id(), script.start.restarts);
            script.work = Some(Work::new(task, restarts));
            self.script_says(execution, FromWorker::Started { of });
        }
        let Some(script) = self.scripts.get_mut(&execution) else { return };
        let Some(work) = &script.work else { return };
        let of = work.task.attempt_id();
        match work.next(&self.scenario.variables, &self.files) {
            Next::Call { name, takes, memory_mib } => {
                let ends_job = self
                    .scenario
                    .variables
                    .iter()
                    .any(|one| one.spec.name == name && one.behaviour == Behaviour::EndsJob);
                let too_much = memory_mib > script.start.memory_mib && !work.task.last_attempt;
                let (key, stamp) = ((work.task.proposal, work.task.run), work.task.stamp);
                let call = self.note_call(key, stamp, &name);
                self.script_says(execution, FromWorker::VariableStarted { of, name: name.clone() });
                let step = if ends_job {
                    ScriptStep::Ends { turn }
                } else if too_much {
                    ScriptStep::OutOfMemory { turn, name }
                } else {
                    ScriptStep::Returned { turn, name, call }
                };
                self.script_does(execution, takes, step);
            }
            Next::Known { name, outcome } => {
                self.script_does(execution, Duration::ZERO, ScriptStep::Known { turn, name, outcome });
            }
            Next::Over => {
                script.work = None;
                self.script_says(execution, FromWorker::TaskEnded { of, problem: None, cut_short: None });
                self.script_does(execution, Duration::ZERO, ScriptStep::GoOn { turn });
            }
        }
    }

    fn script_has(&mut self, execution: Execution, name: &str, known: Option<Outcome>, call: Option<Call>) {
        let Some(script) = self.scripts.get_mut(&execution) else { return };
        let turn = script.turn;
        let Some(work) = &mut script.work else { return };
        let message = work.ended(&self.scenario.variables, &self.files, name, known, call);
        self.script_says(execution, message);
        self.script_does(execution, WRITING, ScriptStep::Written { turn });
    }

    fn write_fragment_of(&mut self, execution: Execution) {
        let seen_from = self.seen_from();
        let Some(work) = self.scripts.get_mut(&execution).and_then(|script| script.work.as_mut()) else {
            return;
        };
        let results = work.take_unwritten();
        if results.is_empty() {
            return;
        }
        let (of, proposal, run) = (work.task.attempt_id(), work.task.proposal, work.task.run);
        let path = self.files.write_fragment((proposal, run), results, seen_from);
        self.script_says(execution, FromWorker::Fragment { of, proposal, run, path });
    }

    /// After SIGTERM, or when the manifest is gone: stores what is finished, and leaves the rest.
    fn script_is_told_to_end(&mut self, execution: Execution) {
        self.write_fragment_of(execution);
        let work = self.scripts.get(&execution).and_then(|script| script.work.as_ref());
        if let Some(of) = work.map(|work| work.task.attempt_id()) {
            let cut_short = Some(CutShort::ToldToEnd);
            self.script_says(execution, FromWorker::TaskEnded { of, problem: None, cut_short });
        }
        self.script_ends(execution, Exit::Code(0));
    }

    fn script_is_out_of_memory(&mut self, execution: Execution, variable: String) {
        self.write_fragment_of(execution);
        let work = self.scripts.get(&execution).and_then(|script| script.work.as_ref());
        if let Some(of) = work.map(|work| work.task.attempt_id()) {
            let cut_short = Some(CutShort::OutOfMemory { variable });
            self.script_says(execution, FromWorker::TaskEnded { of, problem: None, cut_short });
        }
        self.script_ends(execution, Exit::OutOfMemory);
    }
}
