//! Which Slurm jobs a run needs, and which variables run in which job.
//!
//! Variables that request no resources share one job. Of the others, each connected part with the same request has a separate
//! job. Values pass between jobs through the run's file. A transient value cannot, so it is tied to its dependents, and they
//! are tied to each other.
//!
//! Jobs must not wait for each other in a cycle. Variables are therefore placed on a line: first those with resources that
//! need nothing from the shared job, then the shared job, then those with resources that need something from it, then a second
//! shared job (only if variables without resources need these), and so on. Between two shared jobs, the position increases
//! wherever a value passes between different resources. Values then pass only forwards.

use std::collections::HashMap;

use amore_model::{Resources, VariableSpec};

use crate::{
    Dag, TaskReason,
    cycles::components,
    dag::{Graph, Neighbours},
};

/// Marks a variable that is not in a job.
pub(crate) const NOWHERE: u32 = u32::MAX;

/// The jobs of a run.
pub(crate) struct Jobs {
    /// By index: the number of the job, or [`NOWHERE`].
    pub(crate) of: Vec<u32>,
    /// A job needs only values of earlier jobs.
    pub(crate) jobs: Vec<Job>,
}

/// One job.
pub(crate) struct Job {
    pub(crate) resources: Resources,
    /// `earlier` of a later shared job is an index into this list.
    pub(crate) reason: TaskReason,
}

/// Variables that must run together: a single one, or several tied by transient values. Dependencies come first.
#[derive(Default)]
pub(crate) struct Units {
    members: Vec<u32>,
    ends: Vec<u32>,
}

impl Units {
    /// The units of the variables selected by `inside`.
    ///
    /// A transient variable is tied to its dependents; so is any variable that needs one of them and is needed by another,
    /// because it could run neither before nor after them.
    pub(crate) fn of(
        variables: &[VariableSpec],
        graph: &Graph,
        order: &[u32],
        inside: impl Fn(u32) -> bool,
    ) -> Units {
        let mut units = Units::default();
        let tied = |at: u32| variables[at as usize].transient && inside(at);
        if !order.iter().any(|&at| tied(at)) {
            units.members.extend(order.iter().filter(|&&at| inside(at)));
            units.ends.extend(1..=units.members.len() as u32);
            return units;
        }
        let both_ways = Neighbours::listed(graph.len(), |at, list| {
            if inside(at) {
                list.extend(graph.needs.of(at).iter().filter(|&&need| inside(need)));
            }
            if tied(at) {
                list.extend(graph.needed_by.of(at).iter().filter(|&&by| inside(by)));
            }
        });
        components(&both_ways, |members| {
            if inside(members[0]) {
                members.sort_unstable();
                units.members.extend_from_slice(members);
                units.ends.push(units.members.len() as u32);
            }
        });
        units
    }

    /// Members of each, in the order of the file.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u32]> {
        (0..self.ends.len()).map(|unit| self.get(unit))
    }

    fn get(&self, unit: usize) -> &[u32] {
        let start = unit.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.members[start as usize..self.ends[unit] as usize]
    }
}

/// Position of a unit on the line. Values pass from smaller to larger positions, or inside a job.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Position {
    /// Number of shared jobs before it.
    band: u32,
    /// Whether it is in the shared job, which ends the band.
    shared: bool,
    /// Steps since the start of the band.
    stage: u32,
}

impl Jobs {
    /// The jobs of the variables selected by `inside`.
    ///
    /// Indices from `first_command` on are commands: each is a separate job.
    pub(crate) fn of(dag: &Dag, first_command: u32, inside: impl Fn(u32) -> bool) -> Jobs {
        let count = dag.variables().len();
        let units = Units::of(&dag.variables, &dag.graph, &dag.order, &inside);
        let unit_count = units.ends.len();
        let mut unit_of = vec![NOWHERE; count];
        // Equal resources have equal numbers; no request is 0.
        let mut kinds: HashMap<Resources, u32> = HashMap::from([(Resources::default(), 0)]);
        let mut resources = vec![Resources::default()];
        let mut kind = Vec::with_capacity(unit_count);
        for (unit, members) in units.iter().enumerate() {
            kind.push(match members {
                // Never equal to another.
                &[only] if only >= first_command => {
                    resources.push(dag.variables[only as usize].resources.clone());
                    resources.len() as u32 - 1
                }
                &[only] => number(&mut kinds, &mut resources, &dag.variables[only as usize].resources),
                several => {
                    let joined = several.iter().fold(Resources::default(), |joined, &at| {
                        joined.max_with(&dag.variables[at as usize].resources)
                    });
                    number(&mut kinds, &mut resources, &joined)
                }
            });
            for &member in members {
                unit_of[member as usize] = unit as u32;
            }
        }

        let mut position = vec![Position::default(); unit_count];
        let mut together = Together::new(unit_count);
        let mut shared: Vec<u32> = Vec::new();
        let mut before: Vec<u32> = Vec::new();
        for (unit, members) in units.iter().enumerate() {
            before.clear();
            before.extend(members.iter().flat_map(|&member| dag.needs(member)).filter_map(|&need| {
                let other = unit_of[need as usize];
                (other != NOWHERE && other != unit as u32).then_some(other)
            }));
            let here = place(
                kind[unit],
                before.iter().map(|&other| (kind[other as usize], position[other as usize])),
            );
            position[unit] = here;
            if here.shared {
                match shared.get(here.band as usize) {
                    Some(&first) => together.join(first, unit as u32),
                    // Bands are reached one after another: each needs something from the preceding shared job.
                    None => shared.push(unit as u32),
                }
            } else {
                for &other in &before {
                    if kind[other as usize] == kind[unit] && position[other as usize] == here {
                        together.join(other, unit as u32);
                    }
                }
            }
        }

        // A job for each set, ordered by position and then by the variable that is first in the file.
        let mut first = vec![NOWHERE; unit_count];
        for (unit, members) in units.iter().enumerate() {
            let root = together.root(unit as u32) as usize;
            first[root] = first[root].min(members[0]);
        }
        let mut roots: Vec<u32> =
            (0..unit_count as u32).filter(|&unit| first[unit as usize] != NOWHERE).collect();
        roots.sort_unstable_by_key(|&root| (position[root as usize], first[root as usize]));
        let mut job_of_root = vec![NOWHERE; unit_count];
        let mut earlier = None;
        let mut jobs = Vec::with_capacity(roots.len());
        for (job, &root) in roots.iter().enumerate() {
            job_of_root[root as usize] = job as u32;
            let shared = position[root as usize].shared;
            let reason = match earlier {
                _ if first[root as usize] >= first_command => TaskReason::Command,
                _ if !shared => TaskReason::OwnResources,
                None => TaskReason::Shared,
                Some(earlier) => TaskReason::SharedLater { earlier },
            };
            if shared {
                earlier = Some(job);
            }
            jobs.push(Job { resources: resources[kind[root as usize] as usize].clone(), reason });
        }
        let mut of = vec![NOWHERE; count];
        for (unit, members) in units.iter().enumerate() {
            let number = job_of_root[together.root(unit as u32) as usize];
            let job = &mut jobs[number as usize];
            let joined =
                members.iter().any(|&member| dag.variables[member as usize].resources != job.resources);
            if joined {
                let ties = members.iter().filter(|&&member| dag.variables[member as usize].transient);
                job.reason.joined(ties.map(|&member| dag.name(member).to_owned()));
            }
            for &member in members {
                of[member as usize] = number;
            }
        }
        Jobs { of, jobs }
    }
}

fn number(kinds: &mut HashMap<Resources, u32>, known: &mut Vec<Resources>, resources: &Resources) -> u32 {
    match kinds.get(resources) {
        Some(&number) => number,
        None => {
            let next = known.len() as u32;
            kinds.insert(resources.clone(), next);
            known.push(resources.clone());
            next
        }
    }
}

/// The smallest position after those that are needed.
fn place(kind: u32, needed: impl Iterator<Item = (u32, Position)> + Clone) -> Position {
    let shared = kind == 0;
    let band =
        needed.clone().map(|(_, other)| other.band + u32::from(other.shared && !shared)).max().unwrap_or(0);
    let stage = if shared {
        0
    } else {
        needed
            .filter(|(_, other)| other.band == band)
            .map(|(of, other)| other.stage + u32::from(of != kind))
            .max()
            .unwrap_or(0)
    };
    Position { band, shared, stage }
}

/// Disjoint sets (union-find).
struct Together {
    parent: Vec<u32>,
}

impl Together {
    fn new(count: usize) -> Self {
        Together { parent: (0..count as u32).collect() }
    }

    fn root(&mut self, mut at: u32) -> u32 {
        while self.parent[at as usize] != at {
            let above = self.parent[self.parent[at as usize] as usize];
            self.parent[at as usize] = above;
            at = above;
        }
        at
    }

    /// The root of the first becomes the root of both.
    fn join(&mut self, one: u32, other: u32) {
        let (one, other) = (self.root(one), self.root(other));
        self.parent[other as usize] = one;
    }
}
