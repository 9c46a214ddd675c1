//! The coordinator in a simulated world: the real core, the real poller and the real rules of leases, precedence and
//! Slurm's answers run in virtual time. Users, hosts, files, workers, a ledger and Slurm are simulated.
//!
//! A [`Scenario`] describes what users do and which faults occur. [`play`] runs it, and returns the first rule that was
//! broken.

mod acts;
mod checks;
mod coordinator;
mod execution;
mod files;
mod history;
mod job_worker;
mod ledger;
mod local_worker;
mod process;
mod scenario;
mod service;
mod shell;
mod shorten;
mod story;
mod tracking;
mod users;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    time::{Duration, Instant},
};

use amore_core::{Input, JobEvent, RunKey, task_state::WorkerNo};
use amore_model::{PlanStamp, Proposal, lease::LeaseState};
use amore_slurm::{
    exchange::{Command, Input as PollerInput},
    settings::SlurmSettings,
};
use amore_wire::task::FromWorker;

use self::{
    acts::Undo,
    coordinator::LedgerOrder,
    files::{Call, Files},
    history::History,
    job_worker::{Script, ScriptStep},
    ledger::Ledger,
    local_worker::LocalStep,
    process::Process,
    service::{DataOf, Facility, Step},
    story::Story,
};
pub use self::{
    scenario::{Act, Behaviour, JobFault, Scenario, Variable},
    shorten::shortened,
};
use crate::{
    Generator, Moment,
    slurm::{ClusterSpec, Execution, SimulatedSlurm, Site, SlurmEvent},
};

/// The proposal.
const PROPOSAL: Proposal = Proposal(1234);
/// When a simulation begins.
const BEGIN: Moment = Moment::from_seconds(1_795_426_426);
/// A simulation that needs more steps than this is stuck.
const MAX_STEPS: u64 = 400_000;

/// A rule that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The rule.
    pub rule: &'static str,
    /// Description of what happened.
    pub words: String,
}

/// The outcome of a scenario.
#[derive(Debug)]
pub struct Outcome {
    /// The first rule that was broken.
    pub violation: Option<Violation>,
    /// The story of what happened, if requested.
    pub story: Vec<String>,
    /// Number of steps.
    pub steps: u64,
    /// Virtual time that has passed.
    pub took: Duration,
    /// Number of calls of variables' functions.
    pub calls: u64,
    /// A digest of all events: two runs of the same scenario have the same one.
    pub digest: u64,
}

/// An event at a certain time.
#[derive(Debug)]
enum Happening {
    Act(usize),
    Undo(Undo),
    /// All faults are over.
    Calm,
    /// A user checks whether everything is done, and requests it again if not.
    LastLook,
    Try {
        process: u32,
    },
    Keep {
        process: u32,
    },
    LookForRequests {
        process: u32,
    },
    LookOnceForRequests {
        process: u32,
    },
    Wake {
        process: u32,
    },
    ToCore {
        process: u32,
        input: Box<Input>,
    },
    ToPoller {
        process: u32,
        input: Box<PollerInput<FromWorker>>,
    },
    PollerTimer {
        process: u32,
    },
    Command {
        process: u32,
        command: Box<Command>,
    },
    JobEvent {
        process: u32,
        event: Box<JobEvent>,
    },
    Ledger {
        process: u32,
        order: LedgerOrder,
    },
    Gathered {
        process: u32,
        at: Moment,
    },
    Merge {
        process: u32,
        fragments: Vec<(RunKey, PathBuf)>,
    },
    Local {
        process: u32,
        worker: WorkerNo,
        step: LocalStep,
    },
    Script {
        execution: Execution,
        step: ScriptStep,
    },
    /// A service does something.
    Service {
        service: u32,
        step: Step,
    },
    StartService {
        host: usize,
    },
    /// Data of a run are written.
    Grow(DataOf),
}

impl Happening {
    /// The process that has to be running for it.
    fn process(&self) -> Option<u32> {
        match self {
            Happening::Try { process }
            | Happening::Keep { process }
            | Happening::LookForRequests { process }
            | Happening::LookOnceForRequests { process }
            | Happening::Wake { process }
            | Happening::ToCore { process, .. }
            | Happening::ToPoller { process, .. }
            | Happening::PollerTimer { process }
            | Happening::JobEvent { process, .. }
            | Happening::Ledger { process, .. }
            | Happening::Gathered { process, .. }
            | Happening::Merge { process, .. } => Some(*process),
            // Commands and workers are separate processes.
            Happening::Act(_)
            | Happening::Undo(_)
            | Happening::Calm
            | Happening::LastLook
            | Happening::Command { .. }
            | Happening::Local { .. }
            | Happening::Script { .. }
            | Happening::Service { .. }
            | Happening::StartService { .. }
            | Happening::Grow(_) => None,
        }
    }
}

/// Faults that are active now.
#[derive(Debug, Default)]
struct Trouble {
    /// Additional time to describe a context file.
    description: Duration,
    /// Until then the context file has a mistake.
    broken_until: Moment,
    jobs_hang_until: Moment,
    late: Duration,
    late_until: Moment,
    disk_full_until: Moment,
    collector: Duration,
    collector_until: Moment,
    ledger_slow: Duration,
    ledger_slow_until: Moment,
}

/// The world.
pub(crate) struct World {
    scenario: Scenario,
    now: Moment,
    queue: BTreeMap<(Moment, u64), Happening>,
    scheduled: u64,
    chance: Generator,
    slurm: SimulatedSlurm,
    settings: SlurmSettings,
    files: Files,
    ledger: Ledger,
    /// The ownership of the directory, as stored in the run table.
    owner: LeaseState,
    /// When each owner's term began, on its clock.
    renewed: BTreeMap<u32, f64>,
    /// By how many seconds each host's clock was set.
    clocks: [i64; 2],
    processes: BTreeMap<u32, Process>,
    scripts: BTreeMap<Execution, Script>,
    trouble: Trouble,
    edits: u32,
    /// Number of calls of functions, by plan.
    calls: BTreeMap<(PlanStamp, RunKey, String), u32>,
    number_of_calls: u64,
    history: History,
    facility: Facility,
    calm: Option<Moment>,
    looks: u32,
    over: bool,
    story: Story,
    digest: u64,
    violation: Option<Violation>,
    begin: Instant,
}

/// Runs a scenario. `told`: record its story.
pub fn play(scenario: &Scenario, told: bool) -> Outcome {
    let mut world = World::new(scenario.clone(), told);
    let steps = world.run();
    let took = world.now - BEGIN;
    Outcome {
        violation: world.violation,
        story: world.story.into_lines(),
        steps,
        took,
        calls: world.number_of_calls,
        digest: world.digest,
    }
}

/// An instant of this process, as the origin of virtual time for the poller. The result does not depend on it.
#[expect(clippy::disallowed_methods, reason = "the poller takes instants, and only their differences count")]
fn some_instant() -> Instant {
    Instant::now()
}

impl World {
    fn new(scenario: Scenario, told: bool) -> Self {
        let mut chance = Generator::seeded(scenario.seed ^ 0x5eed);
        let mut site = Site::of_tests();
        site.accounting = scenario.accounting || scenario.two_clusters;
        if scenario.two_clusters {
            site.clusters.push(ClusterSpec::of_tests(scenario::CLUSTERS[1], scenario::NODES));
        }
        let settings = SlurmSettings {
            concurrent_jobs: Some(scenario.concurrent_jobs),
            time: Some("0:10:00".to_owned()),
            clusters: scenario.two_clusters.then(|| scenario::CLUSTERS.join(",")),
            reservation: scenario.reservation.then(|| scenario::RESERVATION.to_owned()),
            ..SlurmSettings::default()
        };
        let slurm = SimulatedSlurm::new(site, BEGIN, chance.fork());
        let mut world = World {
            now: BEGIN,
            queue: BTreeMap::new(),
            scheduled: 0,
            slurm,
            settings,
            files: Files::default(),
            ledger: Ledger::default(),
            owner: LeaseState::default(),
            renewed: BTreeMap::new(),
            clocks: [0, 0],
            processes: BTreeMap::new(),
            scripts: BTreeMap::new(),
            trouble: Trouble::default(),
            edits: 0,
            calls: BTreeMap::new(),
            number_of_calls: 0,
            history: History::default(),
            facility: Facility::default(),
            calm: None,
            looks: 0,
            over: false,
            story: Story::new(BEGIN, told),
            digest: 0,
            violation: None,
            begin: some_instant(),
            chance,
            scenario,
        };
        world.schedule_acts();
        world
    }

    fn schedule(&mut self, at: Moment, happening: Happening) {
        self.scheduled += 1;
        self.queue.insert((at.max(self.now), self.scheduled), happening);
    }

    /// The current time as the poller sees it.
    fn instant(&self) -> Instant {
        self.begin + (self.now - BEGIN)
    }

    fn moment(&self, instant: Instant) -> Moment {
        BEGIN + instant.saturating_duration_since(self.begin)
    }

    fn violate(&mut self, rule: &'static str, words: String) {
        self.story.tell(self.now, "BROKEN", || format!("{rule}: {words}"));
        self.violation.get_or_insert(Violation { rule, words });
    }

    /// Records a call of a variable's function.
    fn note_call(&mut self, key: RunKey, stamp: PlanStamp, name: &str) -> Call {
        self.number_of_calls += 1;
        self.history.plan(key.1, stamp);
        let calls = self.calls.entry((stamp, key, name.to_owned())).or_default();
        *calls += 1;
        let (calls, explained) = (*calls, self.scenario.explained_calls(name));
        if calls > explained && !self.scenario.is_transient(name) {
            self.violate(
                "nothing is computed more often than faults explain",
                format!("{name} of run {} is called the {calls}th time; {explained} are explained", key.1),
            );
        }
        let call = Call(self.number_of_calls);
        self.note_data_of(call, key.1);
        call
    }

    fn run(&mut self) -> u64 {
        let mut steps = 0;
        while !self.over && self.violation.is_none() {
            steps += 1;
            if steps > MAX_STEPS {
                let open = self.open_in_words();
                self.violate("everything ends within bounded time", open);
                break;
            }
            self.step();
        }
        steps
    }

    fn step(&mut self) {
        let next = self.queue.keys().next().map(|(at, _)| *at);
        let of_slurm = self.slurm.next_change();
        let Some(at) = [next, of_slurm].into_iter().flatten().min() else {
            self.over = true;
            return;
        };
        self.now = self.now.max(at);
        for event in self.slurm.advance(self.now) {
            match event {
                SlurmEvent::Started(start) => self.on_script_started(*start),
                SlurmEvent::Signalled { execution, signal, why } => self.on_signal(execution, signal, why),
                SlurmEvent::Ended { .. } => {}
            }
        }
        if let Some(entry) = self.queue.first_entry()
            && entry.key().0 <= self.now
        {
            let happening = entry.remove();
            self.mix(&happening);
            self.happens(happening);
        }
    }

    /// Adds an event to the digest.
    fn mix(&mut self, happening: &Happening) {
        let kind = match happening {
            Happening::Act(index) => *index as u64,
            other => u64::from(other.process().unwrap_or(0)) << 8,
        };
        let mixed = self.digest ^ self.now.milliseconds() ^ kind;
        self.digest = mixed.wrapping_mul(0x100_0000_01b3).rotate_left(7);
    }

    fn happens(&mut self, happening: Happening) {
        if let Some(number) = happening.process() {
            let Some(process) = self.processes.get_mut(&number) else { return };
            if !process.is_alive() {
                return;
            }
            if let Some(waiting) = &mut process.suspended {
                waiting.push(happening);
                return;
            }
        }
        match happening {
            Happening::Act(index) => self.do_act(index),
            Happening::Undo(undo) => self.undo(undo),
            Happening::Calm => self.become_calm(),
            Happening::LastLook => self.last_look(),
            Happening::Try { process } => self.try_or_wait(process),
            Happening::Keep { process } => self.keep(process),
            Happening::LookForRequests { process } => self.look_for_requests(process),
            Happening::LookOnceForRequests { process } => self.take_requests(process),
            Happening::Wake { process } => self.wake(process),
            Happening::ToCore { process, input } => self.feed(process, *input),
            Happening::ToPoller { process, input } => self.poll(process, *input),
            Happening::PollerTimer { process } => self.poll(process, PollerInput::Timer),
            Happening::Command { process, command } => self.on_command(process, *command),
            Happening::JobEvent { process, event } => self.on_job_event(process, *event),
            Happening::Ledger { process, order } => self.on_ledger_order(process, order),
            Happening::Gathered { process, at } => self.on_gathered(process, at),
            Happening::Merge { process, fragments } => self.on_merge(process, fragments),
            Happening::Local { process, worker, step } => self.on_local_step(process, worker, step),
            Happening::Script { execution, step } => self.on_script_step(execution, step),
            Happening::Service { service, step } => self.on_service(service, step),
            Happening::StartService { host } => self.start_service(host),
            Happening::Grow(data) => self.grow(data),
        }
    }
}
