//! Propagates requirements from dependencies to dependents: proc data, and a Slurm job.

use std::collections::VecDeque;

use amore_model::{RunData, VariableSpec};

use crate::{
    dag::{Graph, Promotion},
    numbers::{NodeNo, Table},
};

/// Also handles graphs with cycles, so that other problems are found as well.
///
/// A variable with `data="raw"` that depends on proc data is marked too: [`crate::check`] refuses it.
pub(crate) fn promotion(variables: &[VariableSpec], graph: &Graph) -> Promotion {
    Promotion {
        proc: spread(graph, |at| variables[at.index()].data == Some(RunData::Proc)),
        cluster: spread(graph, |at| variables[at.index()].cluster),
    }
}

/// Propagates a declared property to all dependents, nearest first.
fn spread(graph: &Graph, declared: impl Fn(NodeNo) -> bool) -> Table<NodeNo, Option<NodeNo>> {
    let mut origin = Table::new(graph.len(), None);
    let mut queue = VecDeque::new();
    for (at, origin) in origin.iter_mut().filter(|(at, _)| declared(*at)) {
        *origin = Some(at);
        queue.push_back(at);
    }
    while let Some(next) = queue.pop_front() {
        for &dependent in graph.needed_by.of(next) {
            if origin[dependent].is_none() {
                origin[dependent] = origin[next];
                queue.push_back(dependent);
            }
        }
    }
    origin
}
