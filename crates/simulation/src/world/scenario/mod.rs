//! What a seed stands for: a context file, runs, the actions of users, and faults. All of it is a value, so that a scenario
//! can be shortened.

mod act;
mod explained;
mod service;
mod variable;

use std::{fmt, time::Duration};

pub use self::{
    act::{About, Act, JobFault},
    variable::{Behaviour, Variable},
};
use crate::{Generator, slurm::Fault};

/// Faults occur within this time.
const TROUBLED: Duration = Duration::from_secs(420);
/// Nodes of each cluster.
pub(super) const NODES: usize = 3;
/// Names of clusters.
pub(super) const CLUSTERS: [&str; 2] = ["lab", "maxwell"];
/// Name of the reservation.
pub(super) const RESERVATION: &str = "upex_1234";

/// A scenario.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Seed for delays.
    pub seed: u64,
    /// Variables of the context file.
    pub variables: Vec<Variable>,
    /// Number of runs of the proposal, which start at 1.
    pub runs: u32,
    /// `concurrent_jobs`.
    pub concurrent_jobs: usize,
    /// Number of children of a worker.
    pub processes: usize,
    /// Whether Slurm may choose between two clusters.
    pub two_clusters: bool,
    /// Whether there is accounting.
    pub accounting: bool,
    /// Whether jobs request the reservation.
    pub reservation: bool,
    /// Whether a service processes the runs as they arrive, with a stand-by on another host. Otherwise their data are there from
    /// the beginning.
    pub service: bool,
    /// What happens, and when.
    pub acts: Vec<(Duration, Act)>,
}

impl Scenario {
    /// The scenario of a seed.
    pub fn of_seed(seed: u64) -> Self {
        let mut chance = Generator::seeded(seed);
        let two_clusters = chance.chance(1, 8);
        let variables = variable::variables(&mut chance, two_clusters);
        let runs = 1 + chance.below(3) as u32;
        let mut acts = vec![(Duration::ZERO, Act::Reprocess { host: 0, runs: (1..=runs).collect() })];
        // One in ten scenarios has no faults.
        let troubles = if chance.chance(1, 10) { 0 } else { 1 + chance.below(9) };
        for _ in 0..troubles {
            // Most bugs are found by faults while something is starting.
            let within = if chance.chance(1, 2) { Duration::from_secs(40) } else { TROUBLED };
            let at = chance.between(Duration::from_millis(50), within);
            let act = act::act(&mut chance, runs);
            if matches!(act, Act::ClockJumps(..)) {
                // The changed clock determines the order of the next plan.
                let request = Act::Reprocess { host: 0, runs: (1..=runs).collect() };
                acts.push((at + Duration::from_secs(2), request));
            }
            if let Act::Slurm { fault: Fault::ControllerKilled { .. }, undone: Some((after, _)), .. } = &act {
                // New jobs get the numbers of forgotten ones.
                let request = Act::Reprocess { host: 0, runs: (1..=runs).collect() };
                acts.push((at + *after + Duration::from_secs(1), request));
            }
            acts.push((at, act));
        }
        // Where jobs request a reservation there mostly is one, and it does not last.
        let reservation = chance.chance(1, 5);
        if reservation && chance.chance(4, 5) {
            let s = Duration::from_secs;
            acts.push((Duration::ZERO, Act::Reserve(chance.between(s(10), s(200)))));
            if chance.chance(1, 3) {
                // Its jobs wait, perhaps until it is over.
                let fault = Fault::NodeDrained("n1".to_owned());
                let undone = Some((chance.between(s(30), s(200)), Fault::NodeResumed("n1".to_owned())));
                acts.push((chance.between(s(0), s(20)), Act::Slurm { cluster: 0, fault, undone }));
            }
            if chance.chance(1, 2) {
                let end = if chance.chance(1, 2) { Act::EndReservation } else { Act::DeleteReservation };
                acts.push((chance.between(s(1), s(60)), end));
            }
        }
        let mut scenario = Scenario {
            seed,
            variables,
            runs,
            concurrent_jobs: 1 + chance.below(4) as usize,
            processes: 1 + chance.below(3) as usize,
            two_clusters,
            accounting: !chance.chance(1, 8),
            reservation,
            service: false,
            acts,
        };
        if chance.chance(2, 5) {
            scenario.add_service(&mut chance);
        }
        scenario.acts.sort_by_key(|(at, _)| *at);
        scenario
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} runs, concurrent_jobs {}, {} processes{}{}{}{}",
            self.runs,
            self.concurrent_jobs,
            self.processes,
            if self.two_clusters { ", two clusters" } else { "" },
            if self.accounting { "" } else { ", no accounting" },
            if self.reservation { ", with a reservation" } else { "" },
            if self.service { ", with a service" } else { "" },
        )?;
        for Variable { spec, needs, behaviour, takes, memory_mib } in &self.variables {
            writeln!(
                f,
                "  {} {}{} needs {needs:?}, {behaviour:?} after {takes:?}, {memory_mib} MiB",
                spec.name,
                if spec.cluster { "in a job" } else { "here" },
                if spec.transient { ", transient" } else { "" },
            )?;
        }
        for (at, act) in &self.acts {
            writeln!(f, "  at {:>7.2} s {act:?}", at.as_secs_f64())?;
        }
        Ok(())
    }
}
