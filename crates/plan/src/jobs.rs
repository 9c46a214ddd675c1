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
    numbers::{NodeNo, Number, Table, numbers},
};

numbers! {
    /// A job of the run.
    JobNo
    /// A unit: variables that must run together.
    UnitNo
    /// A request for resources: equal requests have equal numbers, except for those of commands.
    KindNo
}

/// The request for no resources.
const NO_RESOURCES: KindNo = KindNo(0);

/// The jobs of a run.
pub(crate) struct Jobs {
    /// The job of each node, if it is in one.
    pub(crate) of: Table<NodeNo, Option<JobNo>>,
    /// A job needs only values of earlier jobs.
    pub(crate) jobs: Table<JobNo, Job>,
}

/// One job.
pub(crate) struct Job {
    pub(crate) resources: Resources,
    /// `earlier` of a later shared job is an index into the list of jobs.
    pub(crate) reason: TaskReason,
}

/// Variables that must run together: a single one, or several tied by transient values. Dependencies come first.
#[derive(Default)]
pub(crate) struct Units {
    members: Vec<NodeNo>,
    ends: Table<UnitNo, u32>,
}

impl Units {
    /// The units of the variables selected by `inside`.
    ///
    /// A transient variable is tied to its dependents; so is any variable that needs one of them and is needed by another,
    /// because it could run neither before nor after them.
    pub(crate) fn of(
        variables: &[VariableSpec],
        graph: &Graph,
        order: &[NodeNo],
        inside: impl Fn(NodeNo) -> bool,
    ) -> Units {
        let mut units = Units::default();
        let tied = |at: NodeNo| variables[at.index()].transient && inside(at);
        if !order.iter().any(|&at| tied(at)) {
            units.members.extend(order.iter().filter(|&&at| inside(at)));
            units.ends = (1..=units.members.len() as u32).collect::<Vec<_>>().into();
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

    fn count(&self) -> usize {
        self.ends.len()
    }

    /// Members of each, in the order of the file.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[NodeNo]> {
        self.entries().map(|(_, members)| members)
    }

    fn entries(&self) -> impl Iterator<Item = (UnitNo, &[NodeNo])> {
        let mut start = 0;
        self.ends.iter().map(move |(unit, &end)| {
            let members = &self.members[start..end as usize];
            start = end as usize;
            (unit, members)
        })
    }

    /// The unit of each node, if it is in one.
    fn of_nodes(&self, dag: &Dag) -> Table<NodeNo, Option<UnitNo>> {
        let mut unit_of = dag.table(None);
        for (unit, members) in self.entries() {
            for &member in members {
                unit_of[member] = Some(unit);
            }
        }
        unit_of
    }
}

/// What units request.
struct Kinds {
    of: Table<UnitNo, KindNo>,
    resources: Table<KindNo, Resources>,
    known: HashMap<Resources, KindNo>,
}

impl Kinds {
    fn of(dag: &Dag, units: &Units) -> Kinds {
        let mut kinds = Kinds {
            of: Table::default(),
            resources: vec![Resources::default()].into(),
            known: HashMap::from([(Resources::default(), NO_RESOURCES)]),
        };
        for members in units.iter() {
            let kind = match members {
                // Never equal to another.
                &[only] if dag.is_command(only) => kinds.resources.push(dag.variable(only).resources.clone()),
                &[only] => kinds.number(&dag.variable(only).resources),
                several => {
                    let joined = several.iter().fold(Resources::default(), |joined, &at| {
                        joined.max_with(&dag.variable(at).resources)
                    });
                    kinds.number(&joined)
                }
            };
            kinds.of.push(kind);
        }
        kinds
    }

    fn number(&mut self, resources: &Resources) -> KindNo {
        match self.known.get(resources) {
            Some(&number) => number,
            None => {
                let number = self.resources.push(resources.clone());
                self.known.insert(resources.clone(), number);
                number
            }
        }
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

impl Position {
    /// The smallest one after those that are needed.
    fn after(kind: KindNo, needed: impl Iterator<Item = (KindNo, Position)> + Clone) -> Position {
        let shared = kind == NO_RESOURCES;
        let band = needed
            .clone()
            .map(|(_, other)| other.band + u32::from(other.shared && !shared))
            .max()
            .unwrap_or(0);
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
}

/// The units on the line, and which of them share a job.
struct Line {
    positions: Table<UnitNo, Position>,
    together: Together,
}

impl Line {
    fn of(dag: &Dag, units: &Units, kinds: &Kinds) -> Line {
        let unit_of = units.of_nodes(dag);
        let mut line = Line {
            positions: Table::new(units.count(), Position::default()),
            together: Together::new(units.count()),
        };
        // The first unit of each shared job, by band.
        let mut shared: Vec<UnitNo> = Vec::new();
        let mut before: Vec<UnitNo> = Vec::new();
        for (unit, members) in units.entries() {
            before.clear();
            let needs = members.iter().flat_map(|&member| dag.needs(member));
            before.extend(needs.filter_map(|&need| unit_of[need]).filter(|&other| other != unit));
            line.place(unit, &before, kinds, &mut shared);
        }
        line
    }

    /// Places a unit after those that it needs, and joins it with those that are in the same job.
    fn place(&mut self, unit: UnitNo, before: &[UnitNo], kinds: &Kinds, shared: &mut Vec<UnitNo>) {
        let kind = kinds.of[unit];
        let here =
            Position::after(kind, before.iter().map(|&other| (kinds.of[other], self.positions[other])));
        self.positions[unit] = here;
        if here.shared {
            match shared.get(here.band as usize) {
                Some(&first) => self.together.join(first, unit),
                // Bands are reached one after another: each needs something from the preceding shared job.
                None => shared.push(unit),
            }
            return;
        }
        for &other in before {
            if kinds.of[other] == kind && self.positions[other] == here {
                self.together.join(other, unit);
            }
        }
    }

    /// The units that stand for a job, each with its first member in the file: ordered by position, then by that member.
    fn roots(&mut self, units: &Units) -> Vec<(UnitNo, NodeNo)> {
        let mut first: Table<UnitNo, Option<NodeNo>> = Table::new(units.count(), None);
        for (unit, members) in units.entries() {
            let first = &mut first[self.together.root(unit)];
            *first = Some(first.map_or(members[0], |known| known.min(members[0])));
        }
        let mut roots: Vec<(UnitNo, NodeNo)> =
            first.iter().filter_map(|(unit, first)| Some((unit, (*first)?))).collect();
        roots.sort_unstable_by_key(|&(root, first)| (self.positions[root], first));
        roots
    }
}

impl Jobs {
    /// The jobs of the nodes selected by `inside`. Each command is a separate job.
    pub(crate) fn of(dag: &Dag, inside: impl Fn(NodeNo) -> bool) -> Jobs {
        let units = Units::of(&dag.variables, &dag.graph, &dag.order, &inside);
        let kinds = Kinds::of(dag, &units);
        let mut line = Line::of(dag, &units, &kinds);
        let (jobs, job_of_root) = numbered(dag, &mut line, &units, &kinds);
        let mut found = Jobs { of: dag.table(None), jobs };
        for (unit, members) in units.entries() {
            if let Some(job) = job_of_root[line.together.root(unit)] {
                found.add(dag, job, members);
            }
        }
        found
    }

    /// Puts the members of a unit into a job.
    fn add(&mut self, dag: &Dag, number: JobNo, members: &[NodeNo]) {
        let job = &mut self.jobs[number];
        let joined = members.iter().any(|&member| dag.variable(member).resources != job.resources);
        if joined {
            let ties = members.iter().filter(|&&member| dag.variable(member).transient);
            job.reason.joined(ties.map(|&member| dag.name(member).to_owned()));
        }
        for &member in members {
            self.of[member] = Some(number);
        }
    }
}

/// The jobs in the order of the line, and the job of each root.
fn numbered(
    dag: &Dag,
    line: &mut Line,
    units: &Units,
    kinds: &Kinds,
) -> (Table<JobNo, Job>, Table<UnitNo, Option<JobNo>>) {
    let mut jobs = Table::default();
    let mut job_of_root = Table::new(units.count(), None);
    let mut earlier: Option<JobNo> = None;
    for (root, first) in line.roots(units) {
        let shared = line.positions[root].shared;
        let reason = match earlier {
            _ if dag.is_command(first) => TaskReason::Command,
            _ if !shared => TaskReason::OwnResources,
            None => TaskReason::Shared,
            Some(earlier) => TaskReason::SharedLater { earlier: earlier.index() },
        };
        let job = jobs.push(Job { resources: kinds.resources[kinds.of[root]].clone(), reason });
        job_of_root[root] = Some(job);
        if shared {
            earlier = Some(job);
        }
    }
    (jobs, job_of_root)
}

/// Disjoint sets of units (union-find).
struct Together {
    parent: Table<UnitNo, UnitNo>,
}

impl Together {
    fn new(count: usize) -> Self {
        Together { parent: (0..count).map(UnitNo::from_index).collect::<Vec<_>>().into() }
    }

    fn root(&mut self, mut at: UnitNo) -> UnitNo {
        while self.parent[at] != at {
            let above = self.parent[self.parent[at]];
            self.parent[at] = above;
            at = above;
        }
        at
    }

    /// The root of the first becomes the root of both.
    fn join(&mut self, one: UnitNo, other: UnitNo) {
        let (one, other) = (self.root(one), self.root(other));
        self.parent[other] = one;
    }
}
