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
};

/// How a variable uses a piece of state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Touch {
    pub(crate) piece: u32,
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
    /// By index, in the order of the pieces' names.
    touches: Vec<Vec<Touch>>,
    names: Vec<String>,
    /// From a variable to one that follows it in the same process.
    links: Vec<(u32, u32)>,
    /// Those links between users of a file, which are never executed at the same time, in whatever tasks they are.
    exclusions: Vec<(u32, u32)>,
    /// Whether a variable without `cluster=True` reads state that a preceding cluster variable changes.
    pub(crate) apart: bool,
}

/// Steps that a task executes again.
#[derive(Default)]
pub(crate) struct Again {
    /// Indices, last first.
    pub(crate) places: Vec<u32>,
    /// Values that they read from earlier tasks.
    pub(crate) given: Vec<u32>,
}

impl Shared {
    /// The state of the variables that run, and of those that may be executed again for the state they leave.
    pub(crate) fn of(dag: &Dag, runs: &[bool], may_run: impl Fn(u32) -> bool) -> Shared {
        let variables = dag.variables();
        let mut ids: HashMap<&str, u32> = HashMap::new();
        let mut users: Vec<Vec<(u32, Touch)>> = Vec::new();
        for &place in dag.order() {
            for used in &variables[place as usize].state {
                let next = users.len() as u32;
                let piece = *ids.entry(used.name.as_str()).or_insert(next);
                if piece == next {
                    users.push(Vec::new());
                }
                if runs[place as usize] || (used.changes && may_run(place)) {
                    let StateUse { changes, reads, together, adds, .. } = *used;
                    users[piece as usize].push((place, Touch { piece, changes, reads, together, adds }));
                }
            }
        }
        let mut names = vec![String::new(); users.len()];
        for (name, id) in ids {
            name.clone_into(&mut names[id as usize]);
        }
        let mut shared = Shared {
            touches: vec![Vec::new(); variables.len()],
            names,
            links: Vec::new(),
            exclusions: Vec::new(),
            apart: false,
        };
        for users in users.iter().filter(|users| matters(users)) {
            for &(place, touch) in users {
                shared.touches[place as usize].push(touch);
            }
            let running: Vec<(u32, Touch)> =
                users.iter().copied().filter(|(place, _)| runs[*place as usize]).collect();
            shared.link(dag, &running);
        }
        for touches in &mut shared.touches {
            touches
                .sort_unstable_by(|a, b| shared.names[a.piece as usize].cmp(&shared.names[b.piece as usize]));
        }
        shared.links.extend_from_slice(&shared.exclusions);
        shared.links.sort_unstable();
        shared.links.dedup();
        shared
    }

    fn link(&mut self, dag: &Dag, users: &[(u32, Touch)]) {
        let light: Vec<(u32, Touch)> =
            users.iter().copied().filter(|(place, _)| !dag.needs_cluster(*place)).collect();
        let heavy: Vec<(u32, Touch)> =
            users.iter().copied().filter(|(place, _)| dag.needs_cluster(*place)).collect();
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
        for &(place, touch) in users {
            if dag.needs_cluster(place) {
                changed |= touch.changes;
            } else {
                self.apart |= changed && touch.reads;
            }
        }
    }

    /// Whether a variable shares any state.
    pub(crate) fn touches(&self, place: u32) -> &[Touch] {
        self.touches.get(place as usize).map_or(&[], Vec::as_slice)
    }

    /// Names of the pieces that it changes.
    pub(crate) fn changes(&self, place: u32) -> Vec<String> {
        self.names_of(place, |touch| touch.changes)
    }

    /// Names of the pieces that it reads.
    pub(crate) fn reads(&self, place: u32) -> Vec<String> {
        self.names_of(place, |touch| touch.reads)
    }

    /// Names of the files that it appends to.
    pub(crate) fn adds(&self, place: u32) -> Vec<String> {
        self.names_of(place, |touch| touch.changes && touch.adds)
    }

    /// Pairs of users of a file: the second one after the first, in whatever tasks they are.
    pub(crate) fn exclusions(&self) -> &[(u32, u32)] {
        &self.exclusions
    }

    fn names_of(&self, place: u32, wanted: impl Fn(&Touch) -> bool) -> Vec<String> {
        let touches = self.touches(place).iter().filter(|touch| wanted(touch));
        touches.map(|touch| self.name(touch.piece).to_owned()).collect()
    }

    pub(crate) fn name(&self, piece: u32) -> &str {
        &self.names[piece as usize]
    }

    /// The graph including the links, for decisions about where variables run.
    pub(crate) fn linked(&self, dag: &Dag) -> Option<Dag> {
        if self.links.is_empty() {
            return None;
        }
        let mut before: HashMap<u32, Vec<u32>> = HashMap::new();
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
        members: &HashSet<u32>,
        in_cluster: bool,
        (runs, may_run, is_stored): (&[bool], impl Fn(u32) -> bool, impl Fn(u32) -> bool),
    ) -> Again {
        let mut again = Again::default();
        let mut wanted: HashSet<u32> = HashSet::new();
        let mut values: HashSet<u32> = HashSet::new();
        let seen = |place: u32| {
            (runs[place as usize] || may_run(place)) && (in_cluster || !dag.needs_cluster(place))
        };
        let after_afresh = self.after_afresh(dag, |place| members.contains(&place) || seen(place));
        for &place in dag.order().iter().rev() {
            let touches = self.touches(place);
            if !members.contains(&place) {
                let runs_here = runs[place as usize];
                let leaves = touches.iter().any(|touch| {
                    touch.changes
                        && wanted.contains(&touch.piece)
                        && (!touch.adds || after_afresh.contains(&(place, touch.piece)))
                });
                if !(seen(place) && leaves || values.contains(&place)) {
                    continue;
                }
                again.places.push(place);
                for &need in dag.needs(place).iter().filter(|need| !members.contains(need)) {
                    if runs_here && runs[need as usize] && is_stored(need) {
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
    fn after_afresh(&self, dag: &Dag, is_there: impl Fn(u32) -> bool) -> HashSet<(u32, u32)> {
        let mut afresh: HashSet<u32> = HashSet::new();
        let mut found = HashSet::new();
        for &place in dag.order() {
            for touch in self.touches(place).iter().filter(|touch| touch.changes) {
                if !touch.adds {
                    if is_there(place) {
                        afresh.insert(touch.piece);
                    }
                } else if afresh.contains(&touch.piece) {
                    found.insert((place, touch.piece));
                }
            }
        }
        found
    }
}

/// Whether any variable reads state of another, or has to run in the same process as another.
fn matters(users: &[(u32, Touch)]) -> bool {
    let mut changed = false;
    for (_, touch) in users {
        if changed && touch.reads {
            return true;
        }
        changed |= touch.changes;
    }
    users.iter().filter(|(_, touch)| touch.together).count() > 1
}

fn in_a_row<'a>(users: impl Iterator<Item = &'a (u32, Touch)>) -> Vec<(u32, u32)> {
    let places: Vec<u32> = users.map(|(place, _)| *place).collect();
    places.windows(2).map(|pair| (pair[0], pair[1])).collect()
}

/// Links each user to the last preceding one that changes the state, up to the last reader.
fn after_changes(users: &[(u32, Touch)]) -> Vec<(u32, u32)> {
    let mut links = Vec::new();
    let mut counted = 0;
    let mut changer = None;
    for &(place, touch) in users {
        if let Some(before) = changer {
            links.push((before, place));
            if touch.reads {
                counted = links.len();
            }
        }
        if touch.changes {
            changer = Some(place);
        }
    }
    links.truncate(counted);
    links
}
