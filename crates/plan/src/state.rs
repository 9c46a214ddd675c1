//! Shared state: which variables run one after another, and which are executed again where.
//!
//! A variable *changes* a piece of state (a global, a dictionary of the module, a file with a fixed name), another *reads* it.
//! In one process and in order, the reader finds what it expects. For all decisions about where variables run, the users of a
//! piece are therefore linked as if they depended on each other. The links follow the execution order and so create no cycle.
//! If a reader runs in another task for other reasons, the preceding variables that change the state are executed again there,
//! without storing their results.
//!
//! As in DAMNIT, a variable without `cluster=True` never sees state that one with `cluster=True` leaves: in DAMNIT they are two
//! processes, and the one without runs first.

use std::collections::{HashMap, HashSet};

use amore_model::StateUse;

use crate::{
    Dag,
    dag::{Graph, Neighbours},
    numbers::{NodeNo, Number, Table, numbers},
};

numbers! {
    /// A piece of state.
    PieceNo
}

/// How a variable uses a piece of state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Touch {
    pub(crate) piece: PieceNo,
    pub(crate) changes: bool,
    pub(crate) reads: bool,
    together: bool,
    adds: bool,
}

impl Touch {
    /// Whether two users must not be executed at the same time, wherever they run.
    fn excludes(self) -> bool {
        self.together && (self.changes || self.reads)
    }
}

/// The pieces of state that are relevant for the variables that run.
pub(crate) struct Shared {
    /// In the order of the pieces' names.
    touches: Table<NodeNo, Vec<Touch>>,
    names: Table<PieceNo, String>,
    /// From a variable to one that follows it in the same process.
    links: Vec<(NodeNo, NodeNo)>,
    /// Those links between users of a file, which are never executed at the same time, in whatever tasks they are.
    exclusions: Vec<(NodeNo, NodeNo)>,
    /// Whether a variable without `cluster=True` reads state that a preceding cluster variable changes.
    pub(crate) apart: bool,
}

/// Steps that a task executes again.
#[derive(Default)]
pub(crate) struct Again {
    /// Last first.
    pub(crate) nodes: Vec<NodeNo>,
    /// Values that they read from earlier tasks.
    pub(crate) given: Vec<NodeNo>,
}

impl Shared {
    /// The state of the variables that run, and of those that may be executed again for the state they leave.
    pub(crate) fn of(dag: &Dag, runs: &Table<NodeNo, bool>, may_run: impl Fn(NodeNo) -> bool) -> Shared {
        let mut ids: HashMap<&str, PieceNo> = HashMap::new();
        let mut users: Table<PieceNo, Vec<(NodeNo, Touch)>> = Table::default();
        for &node in dag.order() {
            for used in &dag.variable(node).state {
                let piece = *ids.entry(used.name.as_str()).or_insert_with(|| users.push(Vec::new()));
                if runs[node] || (used.changes && may_run(node)) {
                    let StateUse { changes, reads, together, adds, .. } = *used;
                    users[piece].push((node, Touch { piece, changes, reads, together, adds }));
                }
            }
        }
        let mut names = Table::new(users.len(), String::new());
        for (name, id) in ids {
            name.clone_into(&mut names[id]);
        }
        let mut shared = Shared {
            touches: dag.table(Vec::new()),
            names,
            links: Vec::new(),
            exclusions: Vec::new(),
            apart: false,
        };
        for (_, users) in users.iter().filter(|(_, users)| matters(users)) {
            for &(node, touch) in users {
                shared.touches[node].push(touch);
            }
            let running: Vec<(NodeNo, Touch)> =
                users.iter().copied().filter(|(node, _)| runs[*node]).collect();
            shared.link(dag, &running);
        }
        for (_, touches) in shared.touches.iter_mut() {
            touches.sort_unstable_by(|a, b| shared.names[a.piece].cmp(&shared.names[b.piece]));
        }
        shared.links.extend_from_slice(&shared.exclusions);
        shared.links.sort_unstable();
        shared.links.dedup();
        shared
    }

    fn link(&mut self, dag: &Dag, users: &[(NodeNo, Touch)]) {
        let light: Vec<(NodeNo, Touch)> =
            users.iter().copied().filter(|(node, _)| !dag.needs_cluster(*node)).collect();
        let heavy: Vec<(NodeNo, Touch)> =
            users.iter().copied().filter(|(node, _)| dag.needs_cluster(*node)).collect();
        self.links.extend(in_a_row(light.iter().filter(|(_, touch)| touch.together)));
        // Jobs are separate for a reason, and a cache refills itself.
        self.exclusions.extend(in_a_row(heavy.iter().filter(|(_, touch)| touch.excludes())));
        // Variables without `cluster=True` have ended before.
        let all = in_a_row(users.iter().filter(|(_, touch)| touch.excludes()));
        self.exclusions.extend(all.into_iter().filter(|&(_, to)| dag.needs_cluster(to)));
        self.links.extend(after_changes(&light));
        // A job also sees the state of variables without `cluster=True`.
        self.links.extend(after_changes(users).into_iter().filter(|&(_, to)| dag.needs_cluster(to)));
        let mut changed = false;
        for &(node, touch) in users {
            if dag.needs_cluster(node) {
                changed |= touch.changes;
            } else {
                self.apart |= changed && touch.reads;
            }
        }
    }

    /// Whether a variable shares any state.
    pub(crate) fn touches(&self, node: NodeNo) -> &[Touch] {
        &self.touches[node]
    }

    /// Names of the pieces that it changes.
    pub(crate) fn changes(&self, node: NodeNo) -> Vec<String> {
        self.names_of(node, |touch| touch.changes)
    }

    /// Names of the pieces that it reads.
    pub(crate) fn reads(&self, node: NodeNo) -> Vec<String> {
        self.names_of(node, |touch| touch.reads)
    }

    /// Names of the files that it appends to.
    pub(crate) fn adds(&self, node: NodeNo) -> Vec<String> {
        self.names_of(node, |touch| touch.changes && touch.adds)
    }

    /// Pairs of users of a file: the second one after the first, in whatever tasks they are.
    pub(crate) fn exclusions(&self) -> &[(NodeNo, NodeNo)] {
        &self.exclusions
    }

    fn names_of(&self, node: NodeNo, wanted: impl Fn(&Touch) -> bool) -> Vec<String> {
        let touches = self.touches(node).iter().filter(|touch| wanted(touch));
        touches.map(|touch| self.name(touch.piece).to_owned()).collect()
    }

    pub(crate) fn name(&self, piece: PieceNo) -> &str {
        &self.names[piece]
    }

    /// The graph including the links, for decisions about where variables run.
    pub(crate) fn linked(&self, dag: &Dag) -> Option<Dag> {
        if self.links.is_empty() {
            return None;
        }
        let mut before: HashMap<NodeNo, Vec<NodeNo>> = HashMap::new();
        for &(from, to) in &self.links {
            before.entry(to).or_default().push(from);
        }
        let count = dag.variables().len();
        let mut merged = Vec::new();
        let needs = Neighbours::listed(count, |at, list| match before.get(&at) {
            None => list.extend_from_slice(dag.needs(at)),
            Some(links) => {
                merged.clear();
                merged.extend_from_slice(dag.needs(at));
                merged.extend_from_slice(links);
                merged.sort_unstable();
                merged.dedup();
                list.append(&mut merged);
            }
        });
        let graph = Graph { needed_by: needs.turned(count), needs };
        Some(Dag { graph, ..dag.clone() })
    }

    /// What a task with these members has to execute again: all other variables that change state they read, and their
    /// dependencies. A variable that appends to a file is executed again only if the file is created anew in the task first:
    /// otherwise the existing file would get the same data twice.
    pub(crate) fn again(
        &self,
        dag: &Dag,
        members: &HashSet<NodeNo>,
        in_cluster: bool,
        (runs, may_run, is_stored): (&Table<NodeNo, bool>, impl Fn(NodeNo) -> bool, impl Fn(NodeNo) -> bool),
    ) -> Again {
        let mut again = Again::default();
        let mut wanted: HashSet<PieceNo> = HashSet::new();
        let mut values: HashSet<NodeNo> = HashSet::new();
        let seen = |node: NodeNo| (runs[node] || may_run(node)) && (in_cluster || !dag.needs_cluster(node));
        let after_afresh = self.after_afresh(dag, |node| members.contains(&node) || seen(node));
        for &node in dag.order().iter().rev() {
            let touches = self.touches(node);
            if !members.contains(&node) {
                let runs_here = runs[node];
                let leaves = touches.iter().any(|touch| {
                    touch.changes
                        && wanted.contains(&touch.piece)
                        && (!touch.adds || after_afresh.contains(&(node, touch.piece)))
                });
                if !(seen(node) && leaves || values.contains(&node)) {
                    continue;
                }
                again.nodes.push(node);
                for &need in dag.needs(node).iter().filter(|need| !members.contains(need)) {
                    if runs_here && runs[need] && is_stored(need) {
                        again.given.push(need);
                    } else {
                        values.insert(need);
                    }
                }
            }
            wanted.extend(touches.iter().filter(|touch| touch.reads).map(|touch| touch.piece));
        }
        again
    }

    /// Variables that append to a file that a preceding one of these creates anew.
    fn after_afresh(&self, dag: &Dag, is_there: impl Fn(NodeNo) -> bool) -> HashSet<(NodeNo, PieceNo)> {
        let mut afresh: HashSet<PieceNo> = HashSet::new();
        let mut found = HashSet::new();
        for &node in dag.order() {
            for touch in self.touches(node).iter().filter(|touch| touch.changes) {
                if !touch.adds {
                    if is_there(node) {
                        afresh.insert(touch.piece);
                    }
                } else if afresh.contains(&touch.piece) {
                    found.insert((node, touch.piece));
                }
            }
        }
        found
    }
}

/// Whether any variable reads state of another, or has to run in the same process as another.
fn matters(users: &[(NodeNo, Touch)]) -> bool {
    let mut changed = false;
    for (_, touch) in users {
        if changed && touch.reads {
            return true;
        }
        changed |= touch.changes;
    }
    users.iter().filter(|(_, touch)| touch.together).count() > 1
}

fn in_a_row<'a>(users: impl Iterator<Item = &'a (NodeNo, Touch)>) -> Vec<(NodeNo, NodeNo)> {
    let nodes: Vec<NodeNo> = users.map(|(node, _)| *node).collect();
    nodes.windows(2).map(|pair| (pair[0], pair[1])).collect()
}

/// Links each user to the last preceding one that changes the state, up to the last reader.
fn after_changes(users: &[(NodeNo, Touch)]) -> Vec<(NodeNo, NodeNo)> {
    let mut links = Vec::new();
    let mut counted = 0;
    let mut changer = None;
    for &(node, touch) in users {
        if let Some(before) = changer {
            links.push((before, node));
            if touch.reads {
                counted = links.len();
            }
        }
        if touch.changes {
            changer = Some(node);
        }
    }
    links.truncate(counted);
    links
}
