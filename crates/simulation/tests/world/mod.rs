//! A small world around the simulated Slurm: it plays scripts, and lets time pass.

use std::{collections::BTreeMap, time::Duration};

use amore_simulation::{
    Generator, Moment,
    slurm::{Answer, Caller, Execution, Exit, Fault, Signal, SimulatedSlurm, Site, SlurmEvent, Start},
};

/// When the world begins.
pub const BEGIN: Moment = Moment::from_seconds(1_795_426_426);
/// How long a script takes if it ends by itself.
const WORK: Duration = Duration::from_millis(200);

/// A cluster `lab` and what is executed on it.
pub struct World {
    pub slurm: SimulatedSlurm,
    pub now: Moment,
    /// Scripts that are executed.
    pub running: BTreeMap<Execution, Start>,
    ends: BTreeMap<(Moment, Execution), Exit>,
    /// How often the script of a job was started, by job number.
    pub begun: BTreeMap<u64, u32>,
}

impl World {
    pub fn new(site: Site, seed: u64) -> Self {
        World {
            slurm: SimulatedSlurm::new(site, BEGIN, Generator::seeded(seed)),
            now: BEGIN,
            running: BTreeMap::new(),
            ends: BTreeMap::new(),
            begun: BTreeMap::new(),
        }
    }

    /// A user of the site, for whom Slurm prints times in its own format.
    pub fn caller(&self, user: &str) -> Caller {
        self.slurm.caller(user).unwrap_or_else(|| panic!("nobody is called {user}"))
    }

    /// Runs a command and waits for its answer.
    pub fn run(&mut self, user: &str, argv: &[&str], stdin: &str) -> Answer {
        let caller = self.caller(user);
        let answer = self.slurm.command(self.now, &caller, argv, stdin);
        self.pass(answer.delay);
        answer
    }

    /// Injects a fault into the cluster.
    pub fn inject(&mut self, fault: Fault) -> Result<(), String> {
        self.slurm.inject(self.now, "lab", fault)
    }

    /// Lets time pass, and plays the scripts meanwhile.
    pub fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        loop {
            let ends = self.ends.keys().next().map(|(at, _)| *at);
            let next = [ends, self.slurm.next_change()].into_iter().flatten().min();
            let at = next.filter(|at| *at < until).unwrap_or(until).max(self.now);
            self.now = at;
            while let Some(entry) = self.ends.first_entry() {
                let (due, execution) = *entry.key();
                if due > at {
                    break;
                }
                let exit = entry.remove();
                if self.running.remove(&execution).is_some() {
                    self.slurm.script_ended(at, execution, exit);
                }
            }
            for event in self.slurm.advance(at) {
                self.on(event);
            }
            if let Some(words) = self.slurm.contradiction() {
                panic!("{words}");
            }
            if next.is_none_or(|next| next >= until) {
                return;
            }
        }
    }

    fn on(&mut self, event: SlurmEvent) {
        match event {
            SlurmEvent::Started(start) => {
                *self.begun.entry(start.job).or_default() += 1;
                if let Some(exit) = exit_of(&start) {
                    self.ends.insert((self.now + WORK, start.execution), exit);
                }
                self.running.insert(start.execution, *start);
            }
            SlurmEvent::Signalled { execution, signal, .. } => {
                let ignores = self.running.get(&execution).is_some_and(|start| start.script.contains("trap"));
                if signal == Signal::Terminate && ignores {
                    return;
                }
                if self.running.remove(&execution).is_some() && signal == Signal::Terminate {
                    self.slurm.script_ended(self.now, execution, Exit::Signal(15));
                }
            }
            SlurmEvent::Ended { .. } => {}
        }
    }
}

/// How a script of a test ends by itself, if it does.
fn exit_of(start: &Start) -> Option<Exit> {
    if start.log.starts_with("/gpfs/nowhere/") {
        return Some(Exit::NotStarted);
    }
    let script = start.script.as_str();
    if script.contains("sleep") {
        return None;
    }
    if script.contains("kill -9") {
        return Some(Exit::Signal(9));
    }
    if script.contains("bytearray") {
        return Some(Exit::OutOfMemory);
    }
    let code = script.split("exit ").nth(1).and_then(|rest| rest.split_whitespace().next());
    Some(Exit::Code(code.and_then(|code| code.parse().ok()).unwrap_or(0)))
}
