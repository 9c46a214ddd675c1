//! State that variables share: which of them one after the other, which of them executed again where.
//!
//! A variable *changes* a piece of state (a global, a dictionary of the module, a file of a fixed name), another *reads* it. In
//! one process and in order the reader finds what it expects; so users of one piece are linked as if they depended on one another, for everything
//! that decides on places. The links follow the order, and so make no ring. Where a reader runs in another task for other
//! reasons, the variables before it that change the state are executed there again, and nothing of that is stored.
//!
//! As in DAMNIT, a variable that needs no cluster never sees what one with `cluster=True` leaves: there they are two processes, of which
//! the light one is the first.

use std::collections::{HashMap, HashSet};

use amore_model::StateUse;

use crate::{
    Dag,
    dag::{Graph, Neighbours},
};

/// How a variable uses a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Touch {
    pub(crate) piece: u32,
    pub(crate) changes: bool,
    pub(crate) reads: bool,
    together: bool,
    adds: bool,
}

impl Touch {
    /// Must two of them not be executed at the same time, wherever they are?
    fn excludes(self) -> bool {
        self.together && (self.changes || self.reads)
    }
}

/// The pieces that matter for what runs.
pub(crate) struct Shared {
    /// By place, in the order of the pieces' names.
    touches: Vec<Vec<Touch>>,
    names: Vec<String>,
    /// From a variable to one that comes after it in one process.
    links: Vec<(u32, u32)>,
    /// Of these, between users of a file, which are not executed at the same time in whatever tasks they are.
    exclusions: Vec<(u32, u32)>,
    /// Does something light read what something in the cluster has changed before?
    pub(crate) apart: bool,
}

/// What a task executes again.
#[derive(Default)]
pub(crate) struct Again {
    /// Places, last first.
    pub(crate) places: Vec<u32>,
    /// Values that they read of earlier tasks.
    pub(crate) given: Vec<u32>,
}

impl Shared {
    /// The state of the variables that run, and of those that may be executed for what they leave.
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
        // Jobs are apart for a reason, and a cache fills itself again.
        self.exclusions.extend(in_a_row(heavy.iter().filter(|(_, touch)| touch.excludes())));
        // What is light is over before.
        let all = in_a_row(users.iter().filter(|(_, touch)| touch.excludes()));
        self.exclusions.extend(all.into_iter().filter(|&(_, to)| dag.needs_cluster(to)));
        self.links.extend(after_changes(&light));
        // In a job, what is light is seen too.
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

    /// Does a variable share anything?
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

    /// Names of the files to which it adds.
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

    /// The graph with the links in it: what decides on places.
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

    /// What a task with these members has to execute again: whatever changes what they read and is not among them, and what
    /// that needs. What only adds to a file, is only if that file is written afresh in the task before: the file stays, and
    /// would get the same twice.
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

    /// Who adds to a file that one before it, of these, writes afresh.
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

/// Does anybody find what another one has left, or has to be beside another one?
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

/// Links each user to the last before it that changes the state, up to the last one that reads it.
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
