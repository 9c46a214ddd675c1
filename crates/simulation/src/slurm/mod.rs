//! Slurm: slurmctld, slurmdbd and nodes in virtual time, as Amore sees them through Slurm's commands.
//!
//! The model prints the output, the errors and the exit codes of Slurm 22.05. `tests/recordings.rs` compares them with
//! recordings of a real one, and `tests/scenes.rs` plays the scenes that the real one and that of `slurm-tests/fake` play
//! too. It models what users see, not the internals of slurmctld: jobs start where there is room, in the order of tier,
//! nice and age.
//!
//! A world lets time pass ([`SimulatedSlurm::advance`]), executes commands ([`SimulatedSlurm::command`]), plays the scripts
//! that [`SlurmEvent`] starts and ends ([`SimulatedSlurm::script_ended`]), and causes faults
//! ([`SimulatedSlurm::inject`]).

mod accounting;
mod answers;
mod cluster;
mod event;
mod faults;
mod job;
mod lifecycle;
mod node;
mod options;
mod scheduler;
mod site;
mod submission;
mod trouble;
mod words;

use std::time::Duration;

pub use accounting::Slurmdbd;
use accounting::{Accounting, Record};
pub use cluster::Controller;
use cluster::{Cluster, Told};
pub use event::{Exit, Signal, SlurmEvent, Start, Why};
pub use faults::{Fault, NotDone};
pub use job::{Afterwards, Asked, Ended, Execution, ExitCode, Hold, Job, Key, Reason, State};
pub use node::{Health, Node, Reservation, Service};
pub use site::{
    Account, Association, ClusterSpec, NodeSpec, PartitionSpec, Person, Preempt, Qos, Site, Times,
};
use submission::Waiting;
pub use trouble::NextSubmission;
pub use words::Answer;
use words::{DEAD, FAILED, HUNG, Refusal};

use crate::{Generator, Moment};

/// The user who runs a command, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Login name.
    pub user: String,
    /// UID; 0 is root.
    pub uid: u32,
    /// The cluster of these commands: used unless `-M` names another.
    pub cluster: String,
    /// Whether `SLURM_TIME_FORMAT=%s` is set: times are printed as seconds since 1970.
    pub seconds: bool,
}

/// A fault of the accounting that all clusters of a site share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccountingFault {
    /// slurmdbd does not answer.
    Dies,
    /// It answers again, and learns what it has missed.
    Returns,
    /// It learns about changes later by this delay.
    Lags(Duration),
    /// The delay is over: it learns at once what it has missed.
    CatchesUp,
}

/// Limits of a user's association, as set with `sacctmgr modify user`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// `MaxJobs`: running jobs.
    pub jobs: Option<u32>,
    /// `MaxSubmitJobs`: jobs in the queue.
    pub submitted: Option<u32>,
    /// `MaxWallDurationPerJob`, in minutes.
    pub minutes: Option<u32>,
}

/// One or more Slurm clusters and their accounting.
pub struct SimulatedSlurm {
    site: Site,
    clusters: Vec<Cluster>,
    accounting: Accounting,
    chance: Generator,
    now: Moment,
    not_known: Vec<String>,
}

impl SimulatedSlurm {
    /// Creates a site at the beginning of a simulation, with its own generator.
    pub fn new(site: Site, now: Moment, chance: Generator) -> Self {
        let clusters =
            site.clusters.iter().zip(0..).map(|(spec, index)| Cluster::new(spec, index, now)).collect();
        SimulatedSlurm { site, clusters, accounting: Accounting::new(), chance, now, not_known: Vec::new() }
    }

    /// A user of the site at the first cluster, with the environment in which Amore runs Slurm's commands.
    pub fn caller(&self, user: &str) -> Option<Caller> {
        let person = self.site.person(user)?;
        let cluster = self.site.clusters.first()?.name.clone();
        Some(Caller { user: person.name.clone(), uid: person.uid, cluster, seconds: true })
    }

    /// Lets time pass, and returns everything that has happened since the last call, in order. If the world steps from one
    /// [`SimulatedSlurm::next_change`] to the next, it gets each event at its time.
    pub fn advance(&mut self, now: Moment) -> Vec<SlurmEvent> {
        self.now = self.now.max(now);
        for cluster in &mut self.clusters {
            cluster.advance(&self.site, self.now);
        }
        self.report();
        self.accounting.settle(self.now);
        self.clusters.iter_mut().flat_map(|cluster| std::mem::take(&mut cluster.events)).collect()
    }

    /// When the next event happens by itself, if any.
    pub fn next_change(&self) -> Option<Moment> {
        self.clusters.iter().filter_map(Cluster::next_change).min()
    }

    /// Executes a Slurm command, given as name and arguments. Its effect is immediate; its answer arrives after
    /// [`Answer::delay`].
    pub fn command(&mut self, now: Moment, caller: &Caller, argv: &[&str], stdin: &str) -> Answer {
        self.pass(now);
        let Some((program, rest)) = argv.split_first() else { return Answer::default() };
        let rest: Vec<String> = rest.iter().map(|word| (*word).to_owned()).collect();
        let answered = self.execute(program, rest, caller, stdin);
        self.report();
        let (mut answer, waited) = match answered {
            Ok((stdout, waited)) => (Answer { stdout, ..Answer::default() }, waited),
            Err((refusal, waited)) => {
                if refusal.not_known {
                    self.not_known.push(format!("{}: {}", argv.join(" "), refusal.words));
                }
                let answer = Answer {
                    stdout: refusal.stdout,
                    stderr: refusal.words,
                    code: refusal.code,
                    delay: Duration::ZERO,
                };
                (answer, waited)
            }
        };
        for text in [&mut answer.stdout, &mut answer.stderr] {
            if !text.is_empty() && !text.ends_with('\n') {
                text.push('\n');
            }
        }
        answer.delay = waited;
        answer
    }

    /// The world reports how a script ended. Executions that no longer exist are ignored.
    pub fn script_ended(&mut self, now: Moment, execution: Execution, exit: Exit) {
        self.pass(now);
        for cluster in &mut self.clusters {
            if cluster.runs.contains_key(&execution) {
                cluster.on_script_ended(execution, exit);
            }
        }
        self.report();
    }

    /// Injects a fault into a cluster.
    ///
    /// # Errors
    /// Slurm refuses it, with its message, or the cluster does not exist.
    pub fn inject(&mut self, now: Moment, cluster: &str, fault: Fault) -> Result<(), NotDone> {
        self.pass(now);
        let found = self.clusters.iter_mut().find(|one| one.name == cluster);
        let found = found.ok_or_else(|| format!("No cluster '{cluster}' known by database."))?;
        let done = found.inject(&self.site, fault);
        self.report();
        done
    }

    /// Injects a fault into accounting.
    pub fn inject_into_accounting(&mut self, now: Moment, fault: AccountingFault) {
        self.pass(now);
        match fault {
            AccountingFault::Dies => self.accounting.state = Slurmdbd::Dead,
            AccountingFault::Returns => {
                let catch_up =
                    self.site.clusters.first().map_or(Duration::ZERO, |one| one.times.accounting_catch_up);
                self.accounting.returns(self.now, catch_up);
            }
            AccountingFault::Lags(by) => self.accounting.lag = by,
            AccountingFault::CatchesUp => self.accounting.catches_up(self.now),
        }
        self.accounting.settle(self.now);
    }

    /// Sets the limits of a user with an account, on all clusters.
    pub fn limit(&mut self, user: &str, account: &str, limits: Limits) {
        let people = self.site.people.iter_mut().filter(|person| person.name == user);
        for association in people.flat_map(|person| &mut person.associations) {
            if association.account == account {
                association.max_jobs = limits.jobs;
                association.max_submitted = limits.submitted;
                association.max_minutes = limits.minutes;
            }
        }
        for cluster in &mut self.clusters {
            cluster.wake_scheduler();
        }
    }

    /// Changes a quality of service.
    pub fn limit_qos(&mut self, changed: Qos) {
        for qos in self.site.qos.iter_mut().filter(|qos| qos.name == changed.name) {
            *qos = changed.clone();
        }
        for cluster in &mut self.clusters {
            cluster.wake_scheduler();
        }
    }

    /// A job that the controller of a cluster knows.
    pub fn job(&self, cluster: &str, number: u64) -> Option<&Job> {
        self.clusters.iter().find(|one| one.name == cluster)?.numbered(number)
    }

    /// All jobs that the controller of a cluster knows, in the order of submission.
    pub fn jobs(&self, cluster: &str) -> impl Iterator<Item = &Job> {
        self.clusters.iter().filter(move |one| one.name == cluster).flat_map(|one| one.jobs.values())
    }

    /// The nodes of a cluster.
    pub fn nodes(&self, cluster: &str) -> &[Node] {
        self.clusters.iter().find(|one| one.name == cluster).map_or(&[], |one| &one.nodes)
    }

    /// The site.
    pub fn site(&self) -> &Site {
        &self.site
    }

    /// Requests that the simulation does not support, instead of made-up answers. Tests expect none.
    pub fn not_known(&self) -> &[String] {
        &self.not_known
    }

    /// An inconsistency in the state of the clusters, if there is one. Tests expect none.
    pub fn contradiction(&self) -> Option<String> {
        self.clusters
            .iter()
            .find_map(|cluster| cluster.contradiction().map(|words| format!("{}: {words}", cluster.name)))
    }

    /// Lets time pass and collects the events.
    fn pass(&mut self, now: Moment) {
        self.now = self.now.max(now);
        for cluster in &mut self.clusters {
            cluster.advance(&self.site, self.now);
        }
        self.report();
        self.accounting.settle(self.now);
    }

    /// Sends pending changes of the clusters to accounting.
    fn report(&mut self) {
        for cluster in &mut self.clusters {
            for record in std::mem::take::<Vec<Record>>(&mut cluster.records) {
                if self.site.accounting {
                    self.accounting.send(self.now, record, cluster.times.accounting_lag, &mut self.chance);
                }
            }
        }
    }

    /// The output or the refusal, and how long the caller waits.
    fn execute(
        &mut self,
        program: &str,
        argv: Vec<String>,
        caller: &Caller,
        stdin: &str,
    ) -> Result<(String, Duration), (Refusal, Duration)> {
        let first = self.clusters.iter().position(|one| one.name == caller.cluster).unwrap_or(0);
        let usual = self.clusters.get(first).map_or((Duration::ZERO, Duration::ZERO), |one| one.times.answer);
        let waited = self.chance.between(usual.0, usual.1);
        let answered = |done: Result<String, Refusal>, waited| match done {
            Ok(stdout) => Ok((stdout, waited)),
            Err(refusal) => Err((refusal, waited)),
        };
        if argv == ["--version"] {
            let version = self.clusters.get(first).map_or("", |one| &one.version);
            return Ok((format!("slurm-wlm {version}"), waited));
        }
        match program {
            "sbatch" => self.sbatch(argv, caller, stdin, first, waited),
            "squeue" | "scancel" | "scontrol" | "sinfo" => {
                let (index, argv, named) = match self.addressed(program, argv, first) {
                    Ok(found) => found,
                    Err(refusal) => return Err((refusal, waited)),
                };
                let Some(cluster) = self.clusters.get_mut(index) else {
                    return Err((Refusal::not_known("a site without clusters"), waited));
                };
                // Through slurmdbd it takes longer.
                let waited =
                    waited + cluster.trouble.slow + Duration::from_millis(if named { 100 } else { 0 });
                if let Err((refusal, patience)) = answers::reach(cluster, program, &argv) {
                    if program == "scancel" {
                        told_to_cancel(cluster, caller, &argv);
                    }
                    return Err((refusal, patience));
                }
                let done = match program {
                    "squeue" => answers::squeue(cluster, caller, &argv),
                    "scancel" => answers::scancel(cluster, caller, &argv),
                    "scontrol" => answers::scontrol(cluster, caller, &argv),
                    _ => answers::sinfo(cluster, &argv),
                };
                answered(done, waited)
            }
            "sacct" | "sacctmgr" => {
                let waited = waited + Duration::from_millis(100);
                if !self.site.accounting {
                    return Err((Refusal::new("Slurm accounting storage is disabled"), waited));
                }
                if self.accounting.state == Slurmdbd::Dead {
                    return Err((answers::no_database(program), waited));
                }
                let (index, argv, _) = match self.addressed(program, argv, first) {
                    Ok(found) => found,
                    Err(refusal) => return Err((refusal, waited)),
                };
                let name = self.clusters.get(index).map_or_else(String::new, |one| one.name.clone());
                let done = if program == "sacct" {
                    answers::sacct(&self.accounting, &name, caller, self.now, &argv)
                } else {
                    answers::sacctmgr(&self.site, caller, &argv)
                };
                answered(done, waited)
            }
            other => Err((Refusal::not_known(format_args!("the command {other}")), waited)),
        }
    }

    /// The cluster of a command (`-M NAME` comes first), and its other arguments.
    fn addressed(
        &self,
        program: &str,
        argv: Vec<String>,
        first: usize,
    ) -> Result<(usize, Vec<String>, bool), Refusal> {
        match argv.split_first() {
            Some((option, rest)) if option == "-M" => {
                let (name, rest) =
                    rest.split_first().ok_or_else(|| Refusal::not_known("-M without a name"))?;
                Ok((self.named_cluster(program, name)?, rest.to_vec(), true))
            }
            _ => Ok((first, argv, false)),
        }
    }

    fn named_cluster(&self, program: &str, name: &str) -> Result<usize, Refusal> {
        if !self.site.accounting || self.accounting.state == Slurmdbd::Dead {
            let words = format!(
                "{program}: error: There is a problem talking to the database: Connection refused.  Only local cluster \
                 communication is available, remove --cluster from your command line or contact your admin to resolve the \
                 problem."
            );
            return Err(Refusal::new(words));
        }
        self.clusters
            .iter()
            .position(|one| one.name == name)
            .ok_or_else(|| Refusal::new(format!("{program}: error: No cluster '{name}' known by database.")))
    }

    fn sbatch(
        &mut self,
        argv: Vec<String>,
        caller: &Caller,
        stdin: &str,
        first: usize,
        waited: Duration,
    ) -> Result<(String, Duration), (Refusal, Duration)> {
        let (line, _) = submission::read(&argv, stdin, caller).map_err(|refusal| (refusal, waited))?;
        let names = line.list("--clusters");
        let names =
            if names == ["all"] { self.clusters.iter().map(|one| one.name.clone()).collect() } else { names };
        let mut asked = Vec::new();
        for name in &names {
            asked.push(self.named_cluster("sbatch", name).map_err(|refusal| (refusal, waited))?);
        }
        // Slurm asks each cluster where the job would start first. Here that is the one with the most idle CPUs.
        let idle = |index: &usize| {
            let nodes = self.clusters.get(*index).map_or(&[][..], |one| &one.nodes);
            let free = nodes.iter().filter(|node| node.takes_jobs());
            let free: u32 = free.map(|node| node.spec.cpus.saturating_sub(node.cpus_used)).sum();
            let answers = self.clusters.get(*index).is_some_and(|one| one.controller == Controller::Up);
            (answers, free, std::cmp::Reverse(*index))
        };
        let index = asked.iter().copied().max_by_key(idle).unwrap_or(first);
        let Some(cluster) = self.clusters.get_mut(index) else {
            return Err((Refusal::not_known("a site without clusters"), waited));
        };
        let waited = waited + cluster.trouble.slow;
        let patience = cluster.times.message_timeout;
        if cluster.controller == Controller::Dead {
            let patience = patience.saturating_sub(Duration::from_secs(1));
            return Err((Refusal::new(format!("{FAILED}{DEAD}")), patience));
        }
        let told = cluster.trouble.submissions.pop_front().unwrap_or_default();
        let lost = told.answer_lost || cluster.seems() == Controller::Hung;
        let waiting = Waiting { caller: caller.clone(), argv, script: stdin.to_owned(), told };
        if cluster.controller == Controller::Hung {
            cluster.told.push(Told::Submit(Box::new(waiting)));
            return Err((Refusal::new(format!("{FAILED}{HUNG}")), patience));
        }
        let taken = cluster.take(&self.site, waiting);
        if lost && taken.is_ok() {
            return Err((Refusal::new(format!("{FAILED}{HUNG}")), patience));
        }
        match taken {
            Ok(number) if !line.has("--parsable") => Ok((format!("Submitted batch job {number}"), waited)),
            Ok(number) if names.is_empty() => Ok((number.to_string(), waited)),
            Ok(number) => Ok((format!("{number};{}", cluster.name), waited)),
            Err(refusal) => Err((refusal, waited)),
        }
    }
}

/// A controller that seems to hang processes requests at once if it is only slow, otherwise when it continues.
fn told_to_cancel(cluster: &mut Cluster, caller: &Caller, argv: &[String]) {
    match cluster.controller {
        Controller::Up => {
            let _ = answers::scancel(cluster, caller, argv);
        }
        Controller::Hung => {
            for number in argv.iter().filter_map(|word| word.parse().ok()) {
                let by = caller.uid;
                if cluster.numbered(number).is_some_and(|job| by == 0 || job.uid == by) {
                    cluster.told.push(Told::Cancel { number, by });
                }
            }
        }
        Controller::Dead => {}
    }
}
