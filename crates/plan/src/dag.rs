//! Variables as a graph: their dependencies, and the order in which they can be computed.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
};

use amore_model::{Dependency, VariableSpec};

use crate::glob::Pattern;

/// The variables of a context file without errors, linked and ordered.
///
/// Created by [`crate::check`]. Variables are identified by their index in the file.
#[derive(Clone, Debug)]
pub struct Dag {
    pub(crate) variables: Vec<VariableSpec>,
    pub(crate) places: HashMap<String, u32>,
    pub(crate) graph: Graph,
    pub(crate) order: Vec<u32>,
    pub(crate) promotion: Promotion,
}

/// For each variable, the one whose declaration requires the property: itself, or the nearest dependency (the first in
/// the file of equally near ones). `None` if none does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Promotion {
    pub(crate) proc: Vec<Option<u32>>,
    pub(crate) cluster: Vec<Option<u32>>,
}

impl Dag {
    /// The variables as declared, in the order of the file.
    pub fn variables(&self) -> &[VariableSpec] {
        &self.variables
    }

    /// The variable of that name.
    pub fn get(&self, name: &str) -> Option<&VariableSpec> {
        self.place(name).map(|at| &self.variables[at as usize])
    }

    /// The index of a variable in [`Dag::variables`].
    pub fn place(&self, name: &str) -> Option<u32> {
        self.places.get(name).copied()
    }

    /// All indices in the order in which DAMNIT executes them in one process: see [`Graph::execution_order`].
    pub fn order(&self) -> &[u32] {
        &self.order
    }

    /// Direct dependencies, wildcards resolved, in the order of the file, each once.
    pub fn needs(&self, place: u32) -> &[u32] {
        self.graph.needs.of(place)
    }

    /// Direct dependents, in the order of the file, each once.
    pub fn needed_by(&self, place: u32) -> &[u32] {
        self.graph.needed_by.of(place)
    }

    /// Whether the variable needs proc data, declared or through a dependency.
    pub fn needs_proc(&self, place: u32) -> bool {
        self.promotion.proc[place as usize].is_some()
    }

    /// Whether the variable runs in a Slurm job, declared or through a dependency.
    pub fn needs_cluster(&self, place: u32) -> bool {
        self.promotion.cluster[place as usize].is_some()
    }

    pub(crate) fn name(&self, place: u32) -> &str {
        &self.variables[place as usize].name
    }
}

/// Lists of neighbours, concatenated in one vector.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Neighbours {
    starts: Vec<u32>,
    items: Vec<u32>,
}

impl Neighbours {
    /// `list` appends the neighbours of an index to a vector.
    pub(crate) fn listed(count: usize, mut list: impl FnMut(u32, &mut Vec<u32>)) -> Neighbours {
        let mut starts = Vec::with_capacity(count + 1);
        let mut items = Vec::new();
        starts.push(0);
        for place in 0..count as u32 {
            list(place, &mut items);
            starts.push(items.len() as u32);
        }
        Neighbours { starts, items }
    }

    /// Number of nodes.
    pub(crate) fn len(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    pub(crate) fn of(&self, place: u32) -> &[u32] {
        let at = place as usize;
        &self.items[self.starts[at] as usize..self.starts[at + 1] as usize]
    }

    /// The reversed edges; sorted, because they are visited in the order of their sources.
    pub(crate) fn turned(&self, count: usize) -> Neighbours {
        let mut starts = vec![0; count + 1];
        for &to in &self.items {
            starts[to as usize + 1] += 1;
        }
        for at in 0..count {
            starts[at + 1] += starts[at];
        }
        let mut free = starts.clone();
        let mut items = vec![0; self.items.len()];
        for from in 0..count as u32 {
            for &to in self.of(from) {
                items[free[to as usize] as usize] = from;
                free[to as usize] += 1;
            }
        }
        Neighbours { starts, items }
    }
}

/// Dependencies between variables; may contain cycles.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Graph {
    pub(crate) needs: Neighbours,
    pub(crate) needed_by: Neighbours,
}

/// A `var#` argument without a matching variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unmet {
    pub(crate) variable: u32,
    pub(crate) argument: u32,
}

impl Graph {
    /// Finds the variables that the annotations refer to.
    pub(crate) fn link(variables: &[VariableSpec], places: &HashMap<String, u32>) -> (Graph, Vec<Unmet>) {
        let mut globs = Globs::new(variables);
        let mut unmet = Vec::new();
        let mut starts = Vec::with_capacity(variables.len() + 1);
        let mut items: Vec<u32> = Vec::new();
        starts.push(0);
        for (at, variable) in variables.iter().enumerate() {
            let first = items.len();
            for (argument, annotated) in variable.arguments.iter().enumerate() {
                let Dependency::Variable(text) = annotated.dependency() else { continue };
                let before = items.len();
                if let Some(&place) = places.get(text) {
                    items.push(place);
                } else if text.contains(['*', '?', '[']) {
                    items.extend_from_slice(globs.matching(text));
                }
                if items.len() == before {
                    unmet.push(Unmet { variable: at as u32, argument: argument as u32 });
                }
            }
            items[first..].sort_unstable();
            let mut kept = first;
            for next in first..items.len() {
                if kept == first || items[kept - 1] != items[next] {
                    items[kept] = items[next];
                    kept += 1;
                }
            }
            items.truncate(kept);
            starts.push(kept as u32);
        }
        let needs = Neighbours { starts, items };
        let needed_by = needs.turned(variables.len());
        (Graph { needs, needed_by }, unmet)
    }

    /// Number of variables.
    pub(crate) fn len(&self) -> usize {
        self.needs.len()
    }

    /// The order of DAMNIT 0.4 (`graphlib.TopologicalSorter.static_order`): first all variables without dependencies, then those
    /// that need only these, and so on. Variables without dependencies are in the order in which the file mentions them, by
    /// declaration or as a dependency; later ones in the order of their last dependency. Variables on a cycle, and those that
    /// need one, are left out.
    ///
    /// Variables without `cluster=True` have the same order as without the rest, as in DAMNIT, where the rest is another process.
    pub(crate) fn execution_order(&self, cluster: impl Fn(u32) -> bool) -> Vec<u32> {
        let count = self.len();
        let mut met = vec![false; count];
        let mut ready = Vec::new();
        let mut meet = |at: u32| {
            if !std::mem::replace(&mut met[at as usize], true) && self.needs.of(at).is_empty() {
                ready.push(at);
            }
        };
        for at in 0..count as u32 {
            meet(at);
            self.needs
                .of(at)
                .iter()
                .copied()
                .filter(|&need| cluster(need) || !cluster(at))
                .for_each(&mut meet);
        }
        let mut open: Vec<u32> = (0..count as u32).map(|at| self.needs.of(at).len() as u32).collect();
        let mut order = Vec::with_capacity(count);
        while !ready.is_empty() {
            let mut next = Vec::new();
            for &at in &ready {
                for &dependent in self.needed_by.of(at) {
                    open[dependent as usize] -= 1;
                    if open[dependent as usize] == 0 {
                        next.push(dependent);
                    }
                }
            }
            order.append(&mut ready);
            ready = next;
        }
        order
    }

    /// Dependencies first; of those that are ready, the smallest index.
    pub(crate) fn order(&self) -> Vec<u32> {
        let count = self.len();
        let mut open: Vec<u32> = (0..count as u32).map(|at| self.needs.of(at).len() as u32).collect();
        let mut ready: BinaryHeap<Reverse<u32>> =
            (0..count as u32).filter(|&at| open[at as usize] == 0).map(Reverse).collect();
        let mut order = Vec::with_capacity(count);
        while let Some(Reverse(next)) = ready.pop() {
            order.push(next);
            for &dependent in self.needed_by.of(next) {
                open[dependent as usize] -= 1;
                if open[dependent as usize] == 0 {
                    ready.push(Reverse(dependent));
                }
            }
        }
        order
    }
}

/// Resolves wildcards; each pattern once, and only against names with the same prefix.
struct Globs<'a> {
    variables: &'a [VariableSpec],
    sorted: Option<Vec<u32>>,
    known: HashMap<&'a str, Vec<u32>>,
}

impl<'a> Globs<'a> {
    fn new(variables: &'a [VariableSpec]) -> Self {
        Globs { variables, sorted: None, known: HashMap::new() }
    }

    fn matching(&mut self, text: &'a str) -> &[u32] {
        let variables = self.variables;
        let sorted = self.sorted.get_or_insert_with(|| {
            let mut places: Vec<u32> = (0..variables.len() as u32).collect();
            places.sort_unstable_by_key(|&at| variables[at as usize].name.as_str());
            places
        });
        self.known.entry(text).or_insert_with(|| {
            let pattern = Pattern::new(text);
            let prefix = pattern.prefix();
            let name = |at: u32| variables[at as usize].name.as_str();
            let first = sorted.partition_point(|&at| name(at) < prefix.as_str());
            sorted[first..]
                .iter()
                .copied()
                .take_while(|&at| name(at).starts_with(&prefix))
                .filter(|&at| pattern.matches(name(at)))
                .collect()
        })
    }
}
