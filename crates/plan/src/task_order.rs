//! Orders the tasks so that each waits only for earlier ones.

use crate::{
    PlannedTask, PlannedVariable, TaskReason,
    cut::TaskNo,
    dag::{Graph, Neighbours},
    numbers::Number,
};

/// Tasks and variables with other numbers of tasks, where that is necessary; otherwise the order is kept.
pub(crate) fn in_order(
    tasks: Vec<PlannedTask>,
    mut variables: Vec<PlannedVariable>,
) -> (Vec<PlannedTask>, Vec<PlannedVariable>) {
    if tasks.iter().enumerate().all(|(number, task)| task.waits_for.iter().all(|&before| before < number)) {
        return (tasks, variables);
    }
    let numbers = numbers(&tasks);
    for variable in &mut variables {
        variable.task = numbers[variable.task];
        variable.also_in.iter_mut().for_each(|task| *task = numbers[*task]);
        variable.also_in.sort_unstable();
        variable.command_task = variable.command_task.map(|task| numbers[task]);
    }
    let mut sorted: Vec<(usize, PlannedTask)> = numbers.iter().copied().zip(tasks).collect();
    sorted.sort_unstable_by_key(|(number, _)| *number);
    let tasks = sorted.into_iter().map(|(_, task)| renumbered(task, &numbers)).collect();
    (tasks, variables)
}

/// The new number of each task.
fn numbers(tasks: &[PlannedTask]) -> Vec<usize> {
    let needs = Neighbours::listed(tasks.len(), |at: TaskNo, list| {
        list.extend(tasks[at.index()].waits_for.iter().map(|&before| TaskNo::from_index(before)));
    });
    let graph = Graph { needed_by: needs.turned(tasks.len()), needs };
    let mut numbers = vec![0; tasks.len()];
    for (new, old) in graph.order().into_iter().enumerate() {
        numbers[old.index()] = new;
    }
    numbers
}

fn renumbered(mut task: PlannedTask, numbers: &[usize]) -> PlannedTask {
    for before in &mut task.waits_for {
        *before = numbers[*before];
    }
    task.waits_for.sort_unstable();
    if let TaskReason::SharedLater { earlier } = &mut task.reason {
        *earlier = numbers[*earlier];
    }
    task
}
