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
    numbers::{NodeNo, Number, Table, numbers},
    select::Chosen,
};

numbers! {
    /// A group of local work that follows commands.
    GroupNo
}

/// A graph that includes the commands.
pub(crate) struct WithCommands {
    pub(crate) dag: Dag,
    pub(crate) chosen: Chosen,
}

/// Adds the commands of the variables that run; `None` if there are none.
pub(crate) fn with_commands(dag: &Dag, chosen: &Chosen) -> Option<WithCommands> {
    let owns = |node: &NodeNo| chosen.runs[*node] && dag.variable(*node).job.is_some();
    let owners: Vec<NodeNo> = chosen.runs.numbers().filter(owns).collect();
    if owners.is_empty() {
        return None;
    }
    let mut variables = dag.variables.clone();
    let mut command_of = dag.table(None);
    // A command needs a job; its dependents do not.
    let mut promotion = dag.promotion.clone();
    let mut runs = chosen.runs.clone();
    let mut wanted = chosen.wanted.clone();
    for &owner in &owners {
        variables.push(command(dag.variable(owner)));
        let node = runs.push(true);
        command_of[owner] = Some(node);
        promotion.proc.push(dag.promotion.proc[owner]);
        promotion.cluster.push(Some(node));
        wanted.push(chosen.wanted[owner]);
    }
    let graph = graph_with(dag, &owners, &command_of);
    let order = dag.order.iter().flat_map(|&node| command_of[node].into_iter().chain([node])).collect();
    Some(WithCommands {
        dag: Dag { variables, in_file: dag.in_file, by_name: dag.by_name.clone(), graph, order, promotion },
        chosen: Chosen { wanted, runs, left_out: Vec::new(), unmatched: Vec::new() },
    })
}

/// The graph with the commands of these variables.
fn graph_with(dag: &Dag, owners: &[NodeNo], command_of: &Table<NodeNo, Option<NodeNo>>) -> Graph {
    let in_file = dag.variables.len();
    let count = in_file + owners.len();
    let needs = Neighbours::listed(count, |at: NodeNo, list| match at.index().checked_sub(in_file) {
        Some(command) => {
            list.extend(dag.needs(owners[command]).iter().filter(|&&need| !dag.variable(need).transient));
        }
        None => {
            list.extend_from_slice(dag.needs(at));
            list.extend(command_of[at]);
        }
    });
    Graph { needed_by: needs.turned(count), needs }
}

/// The node of a variable's command.
fn command(owner: &VariableSpec) -> VariableSpec {
    let resources = owner.job.as_ref().map_or_else(Resources::default, |job| job.resources.clone());
    VariableSpec { cluster: true, transient: false, resources, state: Vec::new(), ..owner.clone() }
}

/// The group of local work of each node. `None` is group 0, and everything else.
pub(crate) fn groups(dag: &Dag, local: impl Fn(NodeNo) -> bool) -> Table<NodeNo, Option<GroupNo>> {
    let mut group = dag.table(None);
    let mut heads = 0;
    for &node in dag.order().iter().filter(|&&node| local(node)) {
        let (mut found, mut is_head) = (None, false);
        for &need in dag.needs(node) {
            if dag.is_command(need) {
                is_head = true;
            } else if local(need) && group[need].is_some() {
                is_head |= found.is_some() && found != group[need];
                found = group[need];
            }
        }
        if is_head {
            found = Some(GroupNo::from_index(heads));
            heads += 1;
        }
        group[node] = found;
    }
    group
}

/// Whether each node is computed in its own group. A transient value that only other groups use is computed only there.
pub(crate) fn at_home(
    dag: &Dag,
    local: impl Fn(NodeNo) -> bool,
    group: &Table<NodeNo, Option<GroupNo>>,
) -> Table<NodeNo, bool> {
    let mut home = dag.table(false);
    for &node in dag.order().iter().rev().filter(|&&node| local(node)) {
        let mut users = dag.needed_by(node).iter().filter(|&&by| local(by)).peekable();
        home[node] = !dag.variable(node).transient
            || users.peek().is_none()
            || users.any(|&by| group[by] == group[node] && home[by]);
    }
    home
}
