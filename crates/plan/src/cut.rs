//! Splits the variables that run into tasks: one for each Slurm job, and one for each part of the local work.
//!
//! Promotion ensures that no local variable needs a value from the cluster (except for the outcome of a command, see `after`),
//! and `jobs` that no two jobs depend on each other. Values therefore pass in one direction, through the run's file. Transient
//! values do not pass between tasks: a cheap one (nothing requires a Slurm job) is computed wherever it is used, others are
//! tied to their dependents.

use std::collections::{BTreeMap, HashMap, HashSet};

use amore_model::{JobSpec, Resources, VariableSpec};

use crate::{
    Dag, Place, PlaceReason, PlannedJob, PlannedStep, PlannedTask, PlannedVariable, Request, SharedHere,
    TaskReason, Why,
    after::{at_home, groups, with_commands},
    dag::{Graph, Neighbours},
    jobs::{Jobs, NOWHERE},
    select::Chosen,
    state::Shared,
};

/// Where a variable is computed: locally, in jobs, or both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sides {
    local: bool,
    cluster: bool,
}

/// Returns the tasks, and the reasons in topological order.
pub(crate) fn cut(dag: &Dag, chosen: &Chosen, request: &Request) -> (Vec<PlannedTask>, Vec<PlannedVariable>) {
    let cluster_available = request.cluster_available;
    let noncluster_job = request.noncluster_job.as_ref().filter(|_| cluster_available);
    // One job for all of them: starting a second one costs more than parallel execution saves.
    let parts = if noncluster_job.is_some() { 1 } else { request.parts.max(1) };
    let light = match noncluster_job {
        Some(resources) => task(Place::Cluster, resources.clone(), TaskReason::NonCluster),
        None => task(Place::Local, Resources::default(), TaskReason::Local),
    };
    // Commands of variables have indices after all variables.
    let first_command = dag.variables().len() as u32;
    let with_commands = with_commands(dag, chosen);
    let (dag, chosen) = with_commands.as_ref().map_or((dag, chosen), |with| (&with.dag, &with.chosen));
    // Not selected, but selected variables may read the state that it leaves in the module.
    let may_run = |place: u32| {
        let variable = &dag.variables()[place as usize];
        let has_data = dag.promotion.proc[place as usize].is_none() || request.has_proc();
        place < first_command && variable.job.is_none() && has_data
    };
    let shared = Shared::of(dag, &chosen.runs, may_run);
    // Used for all decisions about where variables run.
    let linked = shared.linked(dag);
    let linked = linked.as_ref().unwrap_or(dag);
    let sides = sides(linked, chosen, cluster_available);
    let local = |place: u32| sides[place as usize].local && place < first_command;
    let group = groups(linked, local, first_command);
    let home = at_home(linked, local, &group);
    // The single task of each variable that is not transient.
    let first_here = |place: u32| home[place as usize] && group[place as usize] == 0;
    let (mut task_of, local_tasks) = if shared.apart && !cluster_available {
        apart(linked, first_here, parts)
    } else {
        local_parts(linked, first_here, parts)
    };
    let jobs =
        Jobs::of(linked, first_command, |place| sides[place as usize].cluster && dag.needs_cluster(place));
    for (task, &job) in task_of.iter_mut().zip(&jobs.of).filter(|(_, job)| **job != NOWHERE) {
        *task = local_tasks as u32 + job;
    }
    let mut tasks = vec![light.clone(); local_tasks];
    tasks.extend(jobs.jobs.into_iter().map(|job| {
        let reason = match job.reason {
            TaskReason::SharedLater { earlier } => TaskReason::SharedLater { earlier: local_tasks + earlier },
            reason => reason,
        };
        task(Place::Cluster, job.resources, reason)
    }));
    later_here(&mut tasks, &mut task_of, linked, &sides, (&group, &home), first_command, &light);
    let tied = |place: u32| cluster_available && dag.needs_cluster(place);
    let mut beside = beside(linked, &sides, &task_of, tied);
    let is_stored = |place: u32| !dag.variables()[place as usize].transient || tied(place);
    let mut again = again(dag, &shared, (&task_of, &beside), (&chosen.runs, may_run, is_stored));

    let mut variables = Vec::new();
    let mut given: Vec<Vec<u32>> = vec![Vec::new(); tasks.len()];
    for &place in dag.order() {
        let mut here = std::mem::take(&mut beside[place as usize]);
        if task_of[place as usize] != NOWHERE {
            here.insert(0, task_of[place as usize]);
        }
        let again_in = again.remove(&place).unwrap_or_default();
        if here.is_empty() && again_in.is_empty() {
            continue;
        }
        let step = step(dag, &shared, place, first_command);
        for (task, needs) in again_in {
            given[task as usize].extend(needs);
            tasks[task as usize].steps.push(PlannedStep { again: true, ..step.clone() });
        }
        for &task in &here {
            // A local transient variable is computed wherever it is needed.
            given[task as usize].extend(
                dag.needs(place)
                    .iter()
                    .copied()
                    .filter(|&need| is_stored(need) && task_of[need as usize] != task),
            );
            match &dag.variables()[place as usize].job {
                Some(job) if place >= first_command => {
                    tasks[task as usize].job = Some(command(dag, place, job))
                }
                _ => tasks[task as usize].steps.push(step.clone()),
            }
        }
        if place >= first_command || here.is_empty() {
            continue;
        }
        variables.push(PlannedVariable {
            name: dag.name(place).to_owned(),
            why: why(dag, chosen, place, first_command),
            task: here[0] as usize,
            also_in: here[1..].iter().map(|&task| task as usize).collect(),
            place_reason: place_reason(dag, &sides, cluster_available, place),
            command_task: dag
                .needs(place)
                .iter()
                .find(|&&need| need >= first_command)
                .map(|&command| task_of[command as usize] as usize),
        });
    }
    let after = apart_in_time(&shared, &task_of, tasks.len());
    for ((task, given), after) in tasks.iter_mut().zip(&mut given).zip(after) {
        given.sort_unstable();
        given.dedup();
        task.waits_for = given.iter().map(|&need| task_of[need as usize] as usize).chain(after).collect();
        task.waits_for.sort_unstable();
        task.waits_for.dedup();
        task.given = names(dag, given.iter().copied().filter(|&need| need < first_command));
        task.shares = shares(dag, &shared, task);
    }
    in_order(tasks, variables)
}

/// By index: the tasks in which it is executed again for the state it leaves, each with the values that it reads from earlier tasks.
fn again(
    dag: &Dag,
    shared: &Shared,
    (task_of, beside): (&[u32], &[Vec<u32>]),
    facts: (&[bool], impl Fn(u32) -> bool + Copy, impl Fn(u32) -> bool + Copy),
) -> HashMap<u32, Vec<(u32, Vec<u32>)>> {
    let (runs, may_run, is_stored) = facts;
    let tasks_of = |place: u32| {
        beside[place as usize]
            .iter()
            .copied()
            .chain(Some(task_of[place as usize]).filter(|&task| task != NOWHERE))
    };
    // Tasks in which a variable reads shared state.
    let mut members: BTreeMap<u32, HashSet<u32>> = BTreeMap::new();
    for &place in dag.order() {
        if shared.touches(place).iter().any(|touch| touch.reads) {
            members.extend(tasks_of(place).map(|task| (task, HashSet::new())));
        }
    }
    if members.is_empty() {
        return HashMap::new();
    }
    for &place in dag.order() {
        for task in tasks_of(place) {
            if let Some(members) = members.get_mut(&task) {
                members.insert(place);
            }
        }
    }
    let mut found: HashMap<u32, Vec<(u32, Vec<u32>)>> = HashMap::new();
    for (task, members) in members {
        let in_cluster = members.iter().any(|&place| dag.needs_cluster(place));
        let again = shared.again(dag, &members, in_cluster, (runs, may_run, is_stored));
        let mut given = again.given;
        for place in again.places {
            found.entry(place).or_default().push((task, std::mem::take(&mut given)));
        }
    }
    found
}

/// For each task, the tasks that must end first because they use the same file: repeated steps would otherwise write the file
/// while another task reads it, and steps that only append to it are not repeated.
fn apart_in_time(shared: &Shared, task_of: &[u32], tasks: usize) -> Vec<Vec<usize>> {
    let mut after = vec![Vec::new(); tasks];
    for &(from, to) in shared.exclusions() {
        let (from, to) = (task_of[from as usize], task_of[to as usize]);
        if from != NOWHERE && to != NOWHERE && from != to {
            after[to as usize].push(from as usize);
        }
    }
    after
}

/// State that several steps of a task use.
fn shares(dag: &Dag, shared: &Shared, task: &PlannedTask) -> Vec<SharedHere> {
    let mut found: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for step in &task.steps {
        for touch in dag.place(&step.name).map_or(&[][..], |place| shared.touches(place)) {
            found.entry(shared.name(touch.piece)).or_default().push(step.name.clone());
        }
    }
    found
        .into_iter()
        .filter(|(_, variables)| variables.len() > 1)
        .map(|(state, variables)| SharedHere { state: state.to_owned(), variables })
        .collect()
}

/// Parts of the light variables, and of the rest: without Slurm, the light ones must not see state that the others leave.
fn apart(dag: &Dag, inside: impl Fn(u32) -> bool, parts: usize) -> (Vec<u32>, usize) {
    let (mut task_of, light) = local_parts(dag, |place| inside(place) && !dag.needs_cluster(place), parts);
    let (heavy_of, heavy) = local_parts(dag, |place| inside(place) && dag.needs_cluster(place), parts);
    for (task, heavy) in task_of.iter_mut().zip(heavy_of).filter(|(_, heavy)| *heavy != NOWHERE) {
        *task = light as u32 + heavy;
    }
    (task_of, light + heavy)
}

/// Adds the tasks (like `light`) of variables without `cluster=True` that follow commands, and of commands if they are executed locally.
fn later_here(
    tasks: &mut Vec<PlannedTask>,
    task_of: &mut [u32],
    dag: &Dag,
    sides: &[Sides],
    (group, home): (&[u32], &[bool]),
    first_command: u32,
    light: &PlannedTask,
) {
    let mut task_of_group = vec![NOWHERE; sides.len() + 1];
    for at in 0..sides.len() {
        let reason = if at as u32 >= first_command { TaskReason::Command } else { TaskReason::Local };
        let known = match reason {
            TaskReason::Command if sides[at].local => NOWHERE,
            TaskReason::Local if home[at] && group[at] != 0 => task_of_group[group[at] as usize],
            _ => continue,
        };
        task_of[at] = if known == NOWHERE {
            tasks.push(match reason {
                TaskReason::Command => task(Place::Local, dag.variables()[at].resources.clone(), reason),
                _ => light.clone(),
            });
            tasks.len() as u32 - 1
        } else {
            known
        };
        if group[at] != 0 {
            task_of_group[group[at] as usize] = task_of[at];
        }
    }
}

fn command(dag: &Dag, place: u32, job: &JobSpec) -> PlannedJob {
    PlannedJob {
        variable: dag.name(place).to_owned(),
        spec: job.clone(),
        arguments: dag.variables()[place as usize].arguments.clone(),
    }
}

/// Orders the tasks so that each waits only for earlier tasks; otherwise the order is kept.
fn in_order(
    mut tasks: Vec<PlannedTask>,
    mut variables: Vec<PlannedVariable>,
) -> (Vec<PlannedTask>, Vec<PlannedVariable>) {
    if tasks.iter().enumerate().all(|(number, task)| task.waits_for.iter().all(|&before| before < number)) {
        return (tasks, variables);
    }
    let needs = Neighbours::listed(tasks.len(), |at, list| {
        list.extend(tasks[at as usize].waits_for.iter().map(|&before| before as u32));
    });
    let graph = Graph { needed_by: needs.turned(tasks.len()), needs };
    let order = graph.order();
    let mut number = vec![0; tasks.len()];
    for (new, &old) in order.iter().enumerate() {
        number[old as usize] = new;
    }
    for task in &mut tasks {
        for before in &mut task.waits_for {
            *before = number[*before];
        }
        task.waits_for.sort_unstable();
        if let TaskReason::SharedLater { earlier } = &mut task.reason {
            *earlier = number[*earlier];
        }
    }
    for variable in &mut variables {
        variable.task = number[variable.task];
        variable.also_in.iter_mut().for_each(|task| *task = number[*task]);
        variable.also_in.sort_unstable();
        variable.command_task = variable.command_task.map(|task| number[task]);
    }
    let mut sorted: Vec<(usize, PlannedTask)> = number.into_iter().zip(tasks).collect();
    sorted.sort_unstable_by_key(|(number, _)| *number);
    (sorted.into_iter().map(|(_, task)| task).collect(), variables)
}

fn task(place: Place, resources: Resources, reason: TaskReason) -> PlannedTask {
    PlannedTask {
        place,
        resources,
        reason,
        steps: Vec::new(),
        job: None,
        waits_for: Vec::new(),
        given: Vec::new(),
        shares: Vec::new(),
    }
}

/// For each transient variable that is not tied to a job: the other tasks that use its value and therefore compute it too,
/// ascending.
fn beside(dag: &Dag, sides: &[Sides], task_of: &[u32], tied: impl Fn(u32) -> bool) -> Vec<Vec<u32>> {
    let mut beside: Vec<Vec<u32>> = vec![Vec::new(); sides.len()];
    let cheap = |place: u32| dag.variables()[place as usize].transient && !tied(place);
    for &place in dag.order().iter().rev() {
        if sides[place as usize] == Sides::default() || !cheap(place) {
            continue;
        }
        let mut here = Vec::new();
        for &by in dag.needed_by(place).iter().filter(|&&by| sides[by as usize] != Sides::default()) {
            here.extend(Some(task_of[by as usize]).filter(|&task| task != NOWHERE));
            here.extend_from_slice(&beside[by as usize]);
        }
        here.retain(|&task| task != task_of[place as usize]);
        here.sort_unstable();
        here.dedup();
        beside[place as usize] = here;
    }
    beside
}

fn step(dag: &Dag, shared: &Shared, place: u32, first_command: u32) -> PlannedStep {
    let VariableSpec { name, transient, fingerprint, .. } = &dag.variables()[place as usize];
    PlannedStep {
        name: name.clone(),
        needs: names(dag, dag.needs(place).iter().copied().filter(|&need| need < first_command)),
        transient: *transient,
        fingerprint: fingerprint.clone(),
        again: false,
        changes: shared.changes(place),
        reads: shared.reads(place),
        adds: shared.adds(place),
    }
}

fn names(dag: &Dag, places: impl Iterator<Item = u32>) -> Vec<String> {
    places.map(|place| dag.name(place).to_owned()).collect()
}

/// Decides where variables are computed, dependents before dependencies.
fn sides(dag: &Dag, chosen: &Chosen, cluster_available: bool) -> Vec<Sides> {
    let mut sides = vec![Sides::default(); chosen.runs.len()];
    for &place in dag.order().iter().rev().filter(|&&place| chosen.runs[place as usize]) {
        let here = if cluster_available && dag.needs_cluster(place) {
            Sides { local: false, cluster: true }
        } else if dag.variables()[place as usize].transient {
            let used = dag.needed_by(place).iter().fold(Sides::default(), |used, &dependent| {
                let by = sides[dependent as usize];
                Sides { local: used.local || by.local, cluster: used.cluster || by.cluster }
            });
            Sides { local: used.local || !used.cluster, cluster: used.cluster }
        } else {
            Sides { local: true, cluster: false }
        };
        sides[place as usize] = here;
    }
    sides
}

/// Distributes the independent parts of local work that needs no command over tasks: the largest part first, each to the task
/// with the fewest steps. Returns the task of each local variable, and the number of tasks, ordered by their first variable.
fn local_parts(dag: &Dag, inside: impl Fn(u32) -> bool, parts: usize) -> (Vec<u32>, usize) {
    let count = dag.variables().len();
    let mut task_of = vec![NOWHERE; count];
    // Parts are numbered by their first variable in the file.
    let mut sizes: Vec<u32> = Vec::new();
    let mut stack = Vec::new();
    for first in 0..count {
        if !inside(first as u32) || task_of[first] != NOWHERE {
            continue;
        }
        let part = sizes.len() as u32;
        sizes.push(0);
        task_of[first] = part;
        stack.push(first as u32);
        while let Some(place) = stack.pop() {
            sizes[part as usize] += 1;
            for &next in dag.needs(place).iter().chain(dag.needed_by(place)) {
                if inside(next) && task_of[next as usize] == NOWHERE {
                    task_of[next as usize] = part;
                    stack.push(next);
                }
            }
        }
    }

    let tasks = parts.min(sizes.len());
    let mut by_size: Vec<u32> = (0..sizes.len() as u32).collect();
    by_size.sort_by_key(|&part| std::cmp::Reverse(sizes[part as usize]));
    // The least loaded task on top; the first of equal ones.
    let mut loads: std::collections::BinaryHeap<_> =
        (0..tasks as u32).map(|task| std::cmp::Reverse((0_u32, task))).collect();
    let mut bin_of = vec![0; sizes.len()];
    for part in by_size {
        if let Some(std::cmp::Reverse((load, task))) = loads.pop() {
            bin_of[part as usize] = task;
            loads.push(std::cmp::Reverse((load + sizes[part as usize], task)));
        }
    }
    let mut renumbered = vec![NOWHERE; tasks];
    let mut next = 0;
    for &bin in &bin_of {
        if renumbered[bin as usize] == NOWHERE {
            renumbered[bin as usize] = next;
            next += 1;
        }
    }
    for task in task_of.iter_mut().filter(|task| **task != NOWHERE) {
        *task = renumbered[bin_of[*task as usize] as usize];
    }
    (task_of, tasks)
}

fn why(dag: &Dag, chosen: &Chosen, place: u32, first_command: u32) -> Why {
    if chosen.wanted[place as usize] {
        return Why::Selected;
    }
    let runs = |&by: &u32| by < first_command && chosen.runs[by as usize];
    let dependents = dag.needed_by(place).iter().copied().filter(runs);
    Why::NeededBy { names: names(dag, dependents) }
}

fn place_reason(dag: &Dag, sides: &[Sides], cluster_available: bool, place: u32) -> PlaceReason {
    match dag.promotion.cluster[place as usize] {
        Some(origin) if !cluster_available => {
            PlaceReason::NoSlurm { declared_by: dag.name(origin).to_owned() }
        }
        Some(origin) if origin == place => PlaceReason::Declared,
        Some(origin) => PlaceReason::PromotedBy { dependency: dag.name(origin).to_owned() },
        None if sides[place as usize].cluster => {
            let there = dag.needed_by(place).iter().copied().filter(|&by| sides[by as usize].cluster);
            PlaceReason::BesideDependents { names: names(dag, there) }
        }
        None => PlaceReason::Local,
    }
}
