//! Distributes the independent parts of local work over tasks, which run side by side.

use std::{cmp::Reverse, collections::BinaryHeap};

use crate::{
    Dag,
    cut::TaskNo,
    numbers::{NodeNo, Number, Table, numbers},
};

numbers! {
    /// A connected part of the work. Parts are numbered by their first variable in the file.
    PartNo
}

/// The tasks of local work, ordered by their first variable.
pub(crate) struct LocalParts {
    /// The task of each node, if it has one.
    pub(crate) task_of: Table<NodeNo, Option<TaskNo>>,
    /// How many tasks there are.
    pub(crate) tasks: usize,
}

impl LocalParts {
    /// Of the nodes selected by `inside`: the largest part first, each to the task with the fewest steps.
    pub(crate) fn of(dag: &Dag, inside: impl Fn(NodeNo) -> bool, tasks: usize) -> LocalParts {
        let (part_of, sizes) = parts(dag, inside);
        let tasks = tasks.min(sizes.len());
        let task_of_part = in_order_of_parts(&distributed(&sizes, tasks), tasks);
        let mut task_of = dag.table(None);
        for (node, part) in part_of.iter() {
            task_of[node] = part.map(|part| task_of_part[part]);
        }
        LocalParts { task_of, tasks }
    }

    /// Tasks of the light variables, and of the rest: without Slurm, the light ones must not see state that the others leave.
    pub(crate) fn apart(dag: &Dag, inside: impl Fn(NodeNo) -> bool, tasks: usize) -> LocalParts {
        let mut all = LocalParts::of(dag, |node| inside(node) && !dag.needs_cluster(node), tasks);
        let heavy = LocalParts::of(dag, |node| inside(node) && dag.needs_cluster(node), tasks);
        for (node, task) in heavy.task_of.iter() {
            if let Some(task) = task {
                all.task_of[node] = Some(TaskNo::from_index(all.tasks + task.index()));
            }
        }
        all.tasks += heavy.tasks;
        all
    }
}

/// The connected part of each node, and how many nodes each part has.
fn parts(dag: &Dag, inside: impl Fn(NodeNo) -> bool) -> (Table<NodeNo, Option<PartNo>>, Table<PartNo, u32>) {
    let mut part_of: Table<NodeNo, Option<PartNo>> = dag.table(None);
    let mut sizes = Table::default();
    let mut stack = Vec::new();
    for first in part_of.numbers() {
        if !inside(first) || part_of[first].is_some() {
            continue;
        }
        let part = sizes.push(0);
        part_of[first] = Some(part);
        stack.push(first);
        while let Some(node) = stack.pop() {
            sizes[part] += 1;
            for &next in dag.needs(node).iter().chain(dag.needed_by(node)) {
                if inside(next) && part_of[next].is_none() {
                    part_of[next] = Some(part);
                    stack.push(next);
                }
            }
        }
    }
    (part_of, sizes)
}

/// The task of each part, so that all tasks have about as many steps.
fn distributed(sizes: &Table<PartNo, u32>, tasks: usize) -> Table<PartNo, TaskNo> {
    let mut by_size: Vec<PartNo> = sizes.numbers().collect();
    by_size.sort_by_key(|&part| Reverse(sizes[part]));
    // The least loaded task on top; the first of equal ones.
    let mut loads: BinaryHeap<_> =
        (0..tasks).map(|task| Reverse((0_u32, TaskNo::from_index(task)))).collect();
    let mut task_of = Table::new(sizes.len(), TaskNo(0));
    for part in by_size {
        if let Some(Reverse((load, task))) = loads.pop() {
            task_of[part] = task;
            loads.push(Reverse((load + sizes[part], task)));
        }
    }
    task_of
}

/// The same with other numbers: tasks are numbered by their first part.
fn in_order_of_parts(task_of: &Table<PartNo, TaskNo>, tasks: usize) -> Table<PartNo, TaskNo> {
    let mut renumbered: Table<TaskNo, Option<TaskNo>> = Table::new(tasks, None);
    let mut numbered = 0;
    let mut found = Table::default();
    for (_, &task) in task_of.iter() {
        let number = *renumbered[task].get_or_insert_with(|| {
            numbered += 1;
            TaskNo::from_index(numbered - 1)
        });
        let _: PartNo = found.push(number);
    }
    found
}
