//! The worker on the coordinator's host: concurrent children, which die with it.

use std::{collections::VecDeque, path::PathBuf, time::Duration};

use amore_core::{Input, task_state::WorkerNo};
use amore_model::{Problem, ProblemKind, Severity};
use amore_wire::task::{CutShort, FromWorker, Outcome, Task, ToWorker};

use super::{
    Happening, World,
    execution::{Next, Work},
    files::Call,
};
use crate::Moment;

/// Time to describe a context file.
const DESCRIBING: (Duration, Duration) = (Duration::from_millis(150), Duration::from_millis(900));
/// Time to start a child.
const FORKING: Duration = Duration::from_millis(5);
/// Time from a result until its fragment is complete.
const WRITING: Duration = Duration::from_millis(12);

/// A worker.
#[derive(Debug)]
pub(super) struct LocalWorker {
    slots: Vec<Option<Child>>,
    waiting: VecDeque<Task>,
    /// When the latest message is received. Messages are received in order.
    heard: Moment,
    /// It does nothing until then.
    pub(super) hangs_until: Moment,
    /// Number of the next child.
    next: u64,
}

#[derive(Debug)]
struct Child {
    number: u64,
    work: Work,
}

/// An event in a worker.
#[derive(Debug)]
pub(super) enum LocalStep {
    /// A context file has been described.
    Described { id: String },
    /// A child continues.
    GoOn { child: u64 },
    /// A function has returned.
    Returned { child: u64, name: String, call: Call },
    /// The outcome of a variable is known without a call.
    Known { child: u64, name: String, outcome: Outcome },
    /// The results so far are written.
    Written { child: u64 },
    /// It receives the order to stop a task.
    Stop { id: String },
}

impl LocalWorker {
    pub(super) fn new(processes: usize, now: Moment) -> Self {
        let slots = (0..processes).map(|_| None).collect();
        LocalWorker { slots, waiting: VecDeque::new(), heard: now, hangs_until: now, next: 0 }
    }

    /// When its last message is received.
    pub(super) fn last_heard(&self) -> Moment {
        self.heard
    }

    fn child(&mut self, number: u64) -> Option<&mut Child> {
        self.slots.iter_mut().flatten().find(|child| child.number == number)
    }
}

impl World {
    fn worker(&mut self, process: u32, number: WorkerNo) -> Option<&mut LocalWorker> {
        let owner = self.processes.get_mut(&process)?.owner_mut()?;
        (owner.worker_number == number).then_some(&mut owner.worker)
    }

    fn worker_says(&mut self, process: u32, number: WorkerNo, message: FromWorker) {
        let latency = self.chance.between(Duration::from_millis(1), Duration::from_millis(4));
        let at = self.now + latency;
        let Some(worker) = self.worker(process, number) else { return };
        worker.heard = worker.heard.max(at);
        let at = worker.heard;
        let input = Input::Worker { worker: number, message };
        self.schedule(at, Happening::ToCore { process, input: Box::new(input) });
    }

    fn worker_does(&mut self, process: u32, number: WorkerNo, after: Duration, step: LocalStep) {
        let at = self.now + after;
        self.schedule(at, Happening::Local { process, worker: number, step });
    }

    /// The coordinator sends messages.
    pub(super) fn on_to_worker(&mut self, process: u32, number: WorkerNo, messages: Vec<ToWorker>) {
        for message in messages {
            match message {
                ToWorker::Describe { id, .. } => {
                    let takes = self.chance.between(DESCRIBING.0, DESCRIBING.1) + self.trouble.description;
                    self.worker_does(process, number, takes, LocalStep::Described { id });
                }
                ToWorker::Run(mut task) => {
                    if self.processes.get(&process).is_some_and(|one| one.is_old) {
                        task.token = None;
                    }
                    if let Some(worker) = self.worker(process, number) {
                        worker.waiting.push_back(*task);
                    }
                }
                ToWorker::Cancel { id } => {
                    self.worker_does(process, number, FORKING, LocalStep::Stop { id });
                }
                ToWorker::Hello { .. } | ToWorker::Drain => {}
            }
        }
        self.fill_slots(process, number);
    }

    fn fill_slots(&mut self, process: u32, number: WorkerNo) {
        loop {
            let Some(worker) = self.worker(process, number) else { return };
            let Some(slot) = worker.slots.iter().position(Option::is_none) else { return };
            let Some(task) = worker.waiting.pop_front() else { return };
            worker.next += 1;
            let child = worker.next;
            let of = task.attempt_id();
            worker.slots[slot] = Some(Child { number: child, work: Work::new(task, 0) });
            self.worker_says(process, number, FromWorker::Started { of });
            self.worker_does(process, number, FORKING, LocalStep::GoOn { child });
        }
    }

    pub(super) fn on_local_step(&mut self, process: u32, number: WorkerNo, step: LocalStep) {
        let now = self.now;
        let Some(worker) = self.worker(process, number) else { return };
        if worker.hangs_until > now {
            let at = worker.hangs_until;
            self.schedule(at, Happening::Local { process, worker: number, step });
            return;
        }
        match step {
            LocalStep::Described { id } => {
                let variables =
                    self.scenario.variables.iter().map(|variable| variable.spec.clone()).collect();
                let problems = if self.trouble.broken_until > now { vec![mistake()] } else { Vec::new() };
                let message = FromWorker::Described { id, variables, problems };
                self.worker_says(process, number, message);
            }
            LocalStep::GoOn { child } => self.local_child_goes_on(process, number, child),
            LocalStep::Returned { child, name, call } => {
                self.local_child_has(process, number, child, &name, None, Some(call));
            }
            LocalStep::Known { child, name, outcome } => {
                self.local_child_has(process, number, child, &name, Some(outcome), None);
            }
            LocalStep::Written { child } if self.trouble.disk_full_until > now => {
                self.end_for_want_of_space(process, number, child);
            }
            LocalStep::Written { child } => {
                self.write_fragment_here(process, number, child);
                self.local_child_goes_on(process, number, child);
            }
            LocalStep::Stop { id } => self.stop_task_here(process, number, &id),
        }
    }

    fn local_child_goes_on(&mut self, process: u32, number: WorkerNo, child: u64) {
        let Some(owner) = self.processes.get_mut(&process).and_then(|one| one.owner_mut()) else { return };
        let Some(of) = owner.worker.child(child) else { return };
        match of.work.next(&self.scenario.variables, &self.files) {
            Next::Call { name, takes, .. } => {
                let of_task = of.work.task.attempt_id();
                let (key, stamp) = ((of.work.task.proposal, of.work.task.run), of.work.task.stamp);
                let call = self.note_call(key, stamp, &name);
                let started = FromWorker::VariableStarted { of: of_task, name: name.clone() };
                self.worker_says(process, number, started);
                self.worker_does(process, number, takes, LocalStep::Returned { child, name, call });
            }
            Next::Known { name, outcome } => {
                self.worker_does(process, number, Duration::ZERO, LocalStep::Known { child, name, outcome });
            }
            Next::Over => {
                let of = of.work.task.attempt_id();
                owner.worker.slots.iter_mut().for_each(|slot| {
                    slot.take_if(|one| one.number == child);
                });
                self.worker_says(
                    process,
                    number,
                    FromWorker::TaskEnded { of, problem: None, cut_short: None },
                );
                self.fill_slots(process, number);
            }
        }
    }

    fn local_child_has(
        &mut self,
        process: u32,
        number: WorkerNo,
        child: u64,
        name: &str,
        known: Option<Outcome>,
        call: Option<Call>,
    ) {
        let Some(owner) = self.processes.get_mut(&process).and_then(|one| one.owner_mut()) else { return };
        let Some(of) = owner.worker.child(child) else { return };
        let message = of.work.ended(&self.scenario.variables, &self.files, name, known, call);
        self.worker_says(process, number, message);
        self.worker_does(process, number, WRITING, LocalStep::Written { child });
    }

    fn write_fragment_here(&mut self, process: u32, number: WorkerNo, child: u64) {
        let seen_from = self.now;
        let Some(of) = self.worker(process, number).and_then(|worker| worker.child(child)) else { return };
        let results = of.work.take_unwritten();
        let (attempt, proposal, run) = (of.work.task.attempt_id(), of.work.task.proposal, of.work.task.run);
        if results.is_empty() {
            return;
        }
        let path: PathBuf = self.files.write_fragment((proposal, run), results, seen_from);
        self.worker_says(process, number, FromWorker::Fragment { of: attempt, proposal, run, path });
    }

    fn end_for_want_of_space(&mut self, process: u32, number: WorkerNo, child: u64) {
        let Some(worker) = self.worker(process, number) else { return };
        let Some(of) = worker.child(child).map(|child| child.work.task.attempt_id()) else { return };
        worker.slots.iter_mut().for_each(|slot| {
            slot.take_if(|one| one.number == child);
        });
        let problem = Some("no space left for results".to_owned());
        let cut_short = Some(CutShort::NoSpace);
        self.worker_says(process, number, FromWorker::TaskEnded { of, problem, cut_short });
    }

    fn stop_task_here(&mut self, process: u32, number: WorkerNo, id: &str) {
        let Some(worker) = self.worker(process, number) else { return };
        let waiting = worker.waiting.iter().position(|task| task.id == id);
        let waiting = waiting.and_then(|at| worker.waiting.remove(at)).map(|task| task.attempt_id());
        let running = worker.slots.iter().flatten().find(|child| child.work.task.id == id);
        let running = running.map(|child| (child.number, child.work.task.attempt_id()));
        let of = match (waiting, running) {
            (Some(of), _) => of,
            (None, Some((child, of))) => {
                self.write_fragment_here(process, number, child);
                if let Some(worker) = self.worker(process, number) {
                    worker.slots.iter_mut().for_each(|slot| {
                        slot.take_if(|one| one.number == child);
                    });
                }
                of
            }
            (None, None) => return,
        };
        let problem = Some("cancelled".to_owned());
        self.worker_says(process, number, FromWorker::TaskEnded { of, problem, cut_short: None });
        self.fill_slots(process, number);
    }
}

fn mistake() -> Problem {
    Problem {
        severity: Severity::Error,
        kind: ProblemKind::Syntax,
        message: "invalid syntax".to_owned(),
        file: None,
        line: Some(3),
        column: None,
        hint: None,
        traceback: None,
        variables: Vec::new(),
    }
}
