//! Cycles of variables that need each other.

use std::collections::{HashSet, VecDeque};

use crate::{
    dag::{Graph, Neighbours},
    numbers::{NodeNo, Number, Table, numbers},
};

numbers! {
    /// A component that contains a cycle.
    KnotNo
}

/// A cycle: each variable needs the next, and the last needs the first. Starts with the one that is first in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ring {
    pub(crate) members: Vec<NodeNo>,
    /// Number of variables of the component, if it is too large to report all its cycles; this cycle is then the shortest
    /// that was found.
    pub(crate) knot: Option<usize>,
}

/// In components with up to this many edges, the reported cycles cover every dependency that is part of a cycle. The work
/// grows with its square.
const SMALL: usize = 64;

/// Number of variables of a large component from which a shortest cycle is searched.
const STARTS: usize = 32;

/// The cycles to report, ordered by their first member.
pub(crate) fn rings(graph: &Graph) -> Vec<Ring> {
    let knots = knots(graph);
    let mut knot_of = Table::new(graph.len(), None);
    for (number, knot) in knots.iter().enumerate() {
        for &member in knot {
            knot_of[member] = Some(KnotNo::from_index(number));
        }
    }
    let knot_of = &knot_of;
    let inner = |at: NodeNo| graph.needs.of(at).iter().copied().filter(move |&to| together(knot_of, at, to));
    let mut search = Search { graph, knot_of, came_from: Table::new(graph.len(), None) };
    let mut rings = Vec::new();
    for knot in &knots {
        let edges: usize = knot.iter().map(|&at| inner(at).count()).sum();
        // A variable that needs itself is a separate cycle, whatever other cycles it is part of.
        for &at in knot {
            if graph.needs.of(at).contains(&at) {
                rings.push(Ring { members: vec![at], knot: None });
            }
        }
        if knot.len() == 1 {
            continue;
        }
        if edges <= SMALL || edges == knot.len() {
            let mut covered: HashSet<(NodeNo, NodeNo)> = HashSet::new();
            for &from in knot {
                for to in inner(from) {
                    if from == to || covered.contains(&(from, to)) {
                        continue;
                    }
                    let members = search.ring(from, Some(to));
                    covered.extend(members.iter().copied().zip(members.iter().copied().cycle().skip(1)));
                    rings.push(Ring { members: turned(members), knot: None });
                }
            }
        } else {
            let shortest = knot
                .iter()
                .take(STARTS)
                .map(|&from| search.ring(from, None))
                .min_by_key(Vec::len)
                .expect("a knot has members");
            rings.push(Ring { members: turned(shortest), knot: Some(knot.len()) });
        }
    }
    rings.sort_by(|a, b| a.members.cmp(&b.members));
    rings.dedup();
    rings
}

fn together(knot_of: &Table<NodeNo, Option<KnotNo>>, a: NodeNo, b: NodeNo) -> bool {
    knot_of[a] == knot_of[b]
}

/// The same cycle, starting with the member that is first in the file.
fn turned(mut members: Vec<NodeNo>) -> Vec<NodeNo> {
    let first = members.iter().enumerate().min_by_key(|&(_, at)| *at).map_or(0, |(index, _)| index);
    members.rotate_left(first);
    members
}

/// Breadth-first search inside a component.
struct Search<'a> {
    graph: &'a Graph,
    knot_of: &'a Table<NodeNo, Option<KnotNo>>,
    came_from: Table<NodeNo, Option<NodeNo>>,
}

impl Search<'_> {
    /// A shortest cycle of more than one member through a variable, through one of its dependencies if given.
    fn ring(&mut self, start: NodeNo, through: Option<NodeNo>) -> Vec<NodeNo> {
        let mut touched = Vec::new();
        let mut queue = VecDeque::new();
        let mut last = None;
        match through {
            Some(next) => {
                self.came_from[next] = Some(start);
                touched.push(next);
                queue.push_back(next);
            }
            None => queue.push_back(start),
        }
        'search: while let Some(at) = queue.pop_front() {
            for &to in self.graph.needs.of(at) {
                if to == at || !together(self.knot_of, at, to) {
                    continue;
                }
                if to == start {
                    last = Some(at);
                    break 'search;
                }
                if self.came_from[to].is_none() {
                    self.came_from[to] = Some(at);
                    touched.push(to);
                    queue.push_back(to);
                }
            }
        }
        let mut members = Vec::new();
        let mut at = last.expect("every member of a knot reaches every other");
        while at != start {
            members.push(at);
            at = self.came_from[at].expect("the search came from somewhere");
        }
        members.push(start);
        members.reverse();
        for at in touched {
            self.came_from[at] = None;
        }
        members
    }
}

/// Strongly connected components that contain a cycle; members in the order of the file.
fn knots(graph: &Graph) -> Vec<Vec<NodeNo>> {
    let mut knots = Vec::new();
    components(&graph.needs, |members| {
        if members.len() > 1 || graph.needs.of(members[0]).contains(&members[0]) {
            members.sort_unstable();
            knots.push(members.to_vec());
        }
    });
    knots
}

/// Visits the strongly connected components (Tarjan's algorithm, without recursion): a component comes after all
/// components that it leads to.
pub(crate) fn components(needs: &Neighbours, mut found: impl FnMut(&mut [NodeNo])) {
    let count = needs.len();
    // In the order in which they are reached.
    let mut number: Table<NodeNo, Option<u32>> = Table::new(count, None);
    let mut lowest: Table<NodeNo, u32> = Table::new(count, 0);
    let mut open = Table::new(count, false);
    let mut path: Vec<NodeNo> = Vec::new();
    let mut calls: Vec<(NodeNo, usize)> = Vec::new();
    let mut next_number = 0;
    for root in number.numbers() {
        if number[root].is_some() {
            continue;
        }
        calls.push((root, 0));
        while let Some((at, edge)) = calls.pop() {
            if edge == 0 {
                number[at] = Some(next_number);
                lowest[at] = next_number;
                next_number += 1;
                open[at] = true;
                path.push(at);
            }
            if let Some(&to) = needs.of(at).get(edge) {
                calls.push((at, edge + 1));
                match number[to] {
                    None => calls.push((to, 0)),
                    Some(reached) if open[to] => lowest[at] = lowest[at].min(reached),
                    Some(_) => {}
                }
                continue;
            }
            if let Some(&(parent, _)) = calls.last() {
                lowest[parent] = lowest[parent].min(lowest[at]);
            }
            if number[at] == Some(lowest[at]) {
                let start = path.iter().rposition(|&member| member == at).expect("it was put there");
                for &member in &path[start..] {
                    open[member] = false;
                }
                found(&mut path[start..]);
                path.truncate(start);
            }
        }
    }
}
