//! Variables as a graph: their dependencies, and the order in which they can be computed.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
};

use amore_model::{Dependency, JobSpec, VariableSpec};

use crate::{
    glob::Pattern,
    numbers::{NodeNo, Number, Table},
};

/// The variables of a context file without errors, linked and ordered.
///
/// Created by [`crate::check`].
#[derive(Clone, Debug)]
pub struct Dag {
    /// By node. That of a command is its variable, with the resources of the command.
    pub(crate) variables: Vec<VariableSpec>,
    /// How many of these are variables of the file; the others are commands.
    pub(crate) in_file: usize,
    pub(crate) by_name: HashMap<String, NodeNo>,
    pub(crate) graph: Graph,
    pub(crate) order: Vec<NodeNo>,
    pub(crate) promotion: Promotion,
}

/// For each variable, the one whose declaration requires the property: itself, or the nearest dependency (the first in
/// the file of equally near ones). `None` if none does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Promotion {
    pub(crate) proc: Table<NodeNo, Option<NodeNo>>,
    pub(crate) cluster: Table<NodeNo, Option<NodeNo>>,
}

/// What a node of the graph stands for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Node<'a> {
    /// The function of a variable.
    Variable(&'a VariableSpec),
    /// The command (`job=`) of a variable.
    Command {
        /// The variable.
        of: &'a VariableSpec,
        /// What it declares.
        job: &'a JobSpec,
    },
}

impl Dag {
    /// The variables as declared, in the order of the file.
    pub fn variables(&self) -> &[VariableSpec] {
        &self.variables
    }

    /// The variable of that name.
    pub fn get(&self, name: &str) -> Option<&VariableSpec> {
        self.find(name).map(|node| self.variable(node))
    }

    /// The number of the variable of that name.
    pub fn find(&self, name: &str) -> Option<NodeNo> {
        self.by_name.get(name).copied()
    }

    /// The variable with this number.
    pub fn variable(&self, node: NodeNo) -> &VariableSpec {
        &self.variables[node.index()]
    }

    /// All numbers in the order in which DAMNIT executes them in one process: see [`Graph::execution_order`].
    pub fn order(&self) -> &[NodeNo] {
        &self.order
    }

    /// Direct dependencies, wildcards resolved, in the order of the file, each once.
    pub fn needs(&self, node: NodeNo) -> &[NodeNo] {
        self.graph.needs.of(node)
    }

    /// Direct dependents, in the order of the file, each once.
    pub fn needed_by(&self, node: NodeNo) -> &[NodeNo] {
        self.graph.needed_by.of(node)
    }

    /// Whether the variable needs proc data, declared or through a dependency.
    pub fn needs_proc(&self, node: NodeNo) -> bool {
        self.promotion.proc[node].is_some()
    }

    /// Whether the variable runs in a Slurm job, declared or through a dependency.
    pub fn needs_cluster(&self, node: NodeNo) -> bool {
        self.promotion.cluster[node].is_some()
    }

    pub(crate) fn name(&self, node: NodeNo) -> &str {
        &self.variable(node).name
    }

    pub(crate) fn node(&self, node: NodeNo) -> Node<'_> {
        let variable = self.variable(node);
        match &variable.job {
            Some(job) if self.is_command(node) => Node::Command { of: variable, job },
            _ => Node::Variable(variable),
        }
    }

    pub(crate) fn is_command(&self, node: NodeNo) -> bool {
        node.index() >= self.in_file
    }

    /// A table with the same entry for each node.
    pub(crate) fn table<T: Clone>(&self, entry: T) -> Table<NodeNo, T> {
        Table::new(self.variables.len(), entry)
    }
}

/// Lists of neighbours, concatenated in one vector.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Neighbours<N = NodeNo> {
    starts: Vec<u32>,
    items: Vec<N>,
}

impl<N: Number> Neighbours<N> {
    /// `list` appends the neighbours of a number to a vector.
    pub(crate) fn listed(count: usize, mut list: impl FnMut(N, &mut Vec<N>)) -> Neighbours<N> {
        let mut starts = Vec::with_capacity(count + 1);
        let mut items = Vec::new();
        starts.push(0);
        for at in 0..count {
            list(N::from_index(at), &mut items);
            starts.push(items.len() as u32);
        }
        Neighbours { starts, items }
    }

    /// How many numbers there are.
    pub(crate) fn len(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    pub(crate) fn of(&self, number: N) -> &[N] {
        let at = number.index();
        &self.items[self.starts[at] as usize..self.starts[at + 1] as usize]
    }

    /// The reversed edges; sorted, because they are visited in the order of their sources.
    pub(crate) fn turned(&self, count: usize) -> Neighbours<N> {
        let mut starts = vec![0; count + 1];
        for to in &self.items {
            starts[to.index() + 1] += 1;
        }
        for at in 0..count {
            starts[at + 1] += starts[at];
        }
        let mut free = starts.clone();
        let mut items = vec![N::from_index(0); self.items.len()];
        for from in (0..count).map(N::from_index) {
            for to in self.of(from) {
                let free = &mut free[to.index()];
                items[*free as usize] = from;
                *free += 1;
            }
        }
        Neighbours { starts, items }
    }
}

/// Dependencies between variables (or tasks); may contain cycles.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Graph<N = NodeNo> {
    pub(crate) needs: Neighbours<N>,
    pub(crate) needed_by: Neighbours<N>,
}

/// A `var#` argument without a matching variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unmet {
    pub(crate) variable: NodeNo,
    pub(crate) argument: usize,
}

impl Graph {
    /// Finds the variables that the annotations refer to.
    pub(crate) fn link(variables: &[VariableSpec], by_name: &HashMap<String, NodeNo>) -> (Graph, Vec<Unmet>) {
        let mut globs = Globs::new(variables);
        let mut unmet = Vec::new();
        let mut starts = Vec::with_capacity(variables.len() + 1);
        let mut items: Vec<NodeNo> = Vec::new();
        starts.push(0);
        for (at, variable) in variables.iter().enumerate() {
            let first = items.len();
            for (argument, annotated) in variable.arguments.iter().enumerate() {
                let Dependency::Variable(text) = annotated.dependency() else { continue };
                let before = items.len();
                if let Some(&node) = by_name.get(text) {
                    items.push(node);
                } else if text.contains(['*', '?', '[']) {
                    items.extend_from_slice(globs.matching(text));
                }
                if items.len() == before {
                    unmet.push(Unmet { variable: NodeNo::from_index(at), argument });
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

    /// The order of DAMNIT 0.4 (`graphlib.TopologicalSorter.static_order`): first all variables without dependencies, then those
    /// that need only these, and so on. Variables without dependencies are in the order in which the file mentions them, by
    /// declaration or as a dependency; later ones in the order of their last dependency. Variables on a cycle, and those that
    /// need one, are left out.
    ///
    /// Variables without `cluster=True` have the same order as without the rest, as in DAMNIT, where the rest is another process.
    pub(crate) fn execution_order(&self, cluster: impl Fn(NodeNo) -> bool) -> Vec<NodeNo> {
        let count = self.len();
        let mut met = vec![false; count];
        let mut ready = Vec::new();
        let mut meet = |at: NodeNo| {
            if !std::mem::replace(&mut met[at.index()], true) && self.needs.of(at).is_empty() {
                ready.push(at);
            }
        };
        for at in (0..count).map(NodeNo::from_index) {
            meet(at);
            self.needs
                .of(at)
                .iter()
                .copied()
                .filter(|&need| cluster(need) || !cluster(at))
                .for_each(&mut meet);
        }
        let mut open = self.needs_left();
        let mut order = Vec::with_capacity(count);
        while !ready.is_empty() {
            let mut next = Vec::new();
            for &at in &ready {
                for &dependent in self.needed_by.of(at) {
                    open[dependent] -= 1;
                    if open[dependent] == 0 {
                        next.push(dependent);
                    }
                }
            }
            order.append(&mut ready);
            ready = next;
        }
        order
    }
}

impl<N: Number + Ord> Graph<N> {
    /// How many numbers there are.
    pub(crate) fn len(&self) -> usize {
        self.needs.len()
    }

    /// How many dependencies each has.
    fn needs_left(&self) -> Table<N, u32> {
        let count = |at| self.needs.of(N::from_index(at)).len() as u32;
        Table::from((0..self.len()).map(count).collect::<Vec<u32>>())
    }

    /// Dependencies first; of those that are ready, the smallest number.
    pub(crate) fn order(&self) -> Vec<N> {
        let mut open = self.needs_left();
        let mut ready: BinaryHeap<Reverse<N>> =
            open.iter().filter(|(_, needs)| **needs == 0).map(|(number, _)| Reverse(number)).collect();
        let mut order = Vec::with_capacity(self.len());
        while let Some(Reverse(next)) = ready.pop() {
            order.push(next);
            for &dependent in self.needed_by.of(next) {
                open[dependent] -= 1;
                if open[dependent] == 0 {
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
    sorted: Option<Vec<NodeNo>>,
    known: HashMap<&'a str, Vec<NodeNo>>,
}

impl<'a> Globs<'a> {
    fn new(variables: &'a [VariableSpec]) -> Self {
        Globs { variables, sorted: None, known: HashMap::new() }
    }

    fn matching(&mut self, text: &'a str) -> &[NodeNo] {
        let variables = self.variables;
        let sorted = self.sorted.get_or_insert_with(|| {
            let mut nodes: Vec<NodeNo> = (0..variables.len()).map(NodeNo::from_index).collect();
            nodes.sort_unstable_by_key(|&at| variables[at.index()].name.as_str());
            nodes
        });
        self.known.entry(text).or_insert_with(|| {
            let pattern = Pattern::new(text);
            let prefix = pattern.prefix();
            let name = |at: NodeNo| variables[at.index()].name.as_str();
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
