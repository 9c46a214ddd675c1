//! Commands of variables (`job=`) as separate nodes of the graph, and the local work that follows them.
//!
//! A variable with a command consists of two parts: the command, in a Slurm job of its own, and the function, which is
//! called with the outcome. The graph therefore gets a node for each command, after all variables. It needs what its
//! variable needs (and can be read from a file), and its variable needs it.
//!
//! Work that depends on a command cannot be in the same task as the command's dependencies. Local work is therefore split into
//! groups. Group 0 needs no command. Each other group has a head: a variable with a command, or one that needs values of
//! several groups. The other members need, apart from group 0, only values of their own group. No two groups depend on each
//! other, and no variable waits for a command that it does not need.

use amore_model::{Resources, VariableSpec};

use crate::{
    Dag,
    dag::{Graph, Neighbours},
    jobs::NOWHERE,
    select::Chosen,
};

/// A graph that includes the commands, as indices from `first` on.
pub(crate) struct WithCommands {
    pub(crate) dag: Dag,
    pub(crate) chosen: Chosen,
}

/// Adds the commands of the variables that run; `None` if there are none.
pub(crate) fn with_commands(dag: &Dag, chosen: &Chosen) -> Option<WithCommands> {
    let count = dag.variables.len();
    let owners: Vec<u32> = (0..count as u32)
        .filter(|&at| chosen.runs[at as usize] && dag.variables[at as usize].job.is_some())
        .collect();
    if owners.is_empty() {
        return None;
    }
    let mut variables = dag.variables.clone();
    variables.extend(owners.iter().map(|&owner| command(&dag.variables[owner as usize])));
    let mut command_of = vec![NOWHERE; count];
    for (index, &owner) in owners.iter().enumerate() {
        command_of[owner as usize] = (count + index) as u32;
    }
    let needs =
        Neighbours::listed(variables.len(), |at, list| match owners.get((at as usize).wrapping_sub(count)) {
            Some(&owner) => {
                list.extend(dag.needs(owner).iter().filter(|&&need| !dag.variables[need as usize].transient))
            }
            None => {
                list.extend_from_slice(dag.needs(at));
                list.extend(Some(command_of[at as usize]).filter(|&command| command != NOWHERE));
            }
        });
    let graph = Graph { needed_by: needs.turned(variables.len()), needs };
    let mut order = Vec::with_capacity(variables.len());
    for &place in &dag.order {
        order.extend(Some(command_of[place as usize]).filter(|&command| command != NOWHERE));
        order.push(place);
    }
    // A command needs a job; its dependents do not.
    let mut promotion = dag.promotion.clone();
    let mut runs = chosen.runs.clone();
    let mut wanted = chosen.wanted.clone();
    for (index, &owner) in owners.iter().enumerate() {
        promotion.proc.push(dag.promotion.proc[owner as usize]);
        promotion.cluster.push(Some((count + index) as u32));
        runs.push(true);
        wanted.push(chosen.wanted[owner as usize]);
    }
    Some(WithCommands {
        dag: Dag { variables, places: dag.places.clone(), graph, order, promotion },
        chosen: Chosen { wanted, runs, left_out: Vec::new(), unmatched: Vec::new() },
    })
}

/// The node of a variable's command.
fn command(owner: &VariableSpec) -> VariableSpec {
    let resources = owner.job.as_ref().map_or_else(Resources::default, |job| job.resources.clone());
    VariableSpec { cluster: true, transient: false, resources, state: Vec::new(), ..owner.clone() }
}

/// By index: the group of local work; 0 for everything else.
pub(crate) fn groups(dag: &Dag, local: impl Fn(u32) -> bool, first_command: u32) -> Vec<u32> {
    let mut group = vec![0; dag.variables().len()];
    let mut last = 0;
    for &place in dag.order().iter().filter(|&&place| place < first_command && local(place)) {
        let (mut found, mut head) = (0, false);
        for &need in dag.needs(place) {
            if need >= first_command {
                head = true;
            } else if local(need) && group[need as usize] != 0 {
                head |= found != 0 && found != group[need as usize];
                found = group[need as usize];
            }
        }
        if head {
            last += 1;
            found = last;
        }
        group[place as usize] = found;
    }
    group
}

/// By index: whether it is computed in its own group. A transient value that only other groups use is computed only there.
pub(crate) fn at_home(dag: &Dag, local: impl Fn(u32) -> bool, group: &[u32]) -> Vec<bool> {
    let mut home = vec![false; group.len()];
    for &place in dag.order().iter().rev().filter(|&&place| local(place)) {
        let at = place as usize;
        let mut users = dag.needed_by(place).iter().filter(|&&by| local(by)).peekable();
        home[at] = !dag.variables()[at].transient
            || users.peek().is_none()
            || users.any(|&by| group[by as usize] == group[at] && home[by as usize]);
    }
    home
}
