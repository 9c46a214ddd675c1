//! Propagates requirements from dependencies to dependents: proc data, and a Slurm job.

use std::collections::VecDeque;

use amore_model::{RunData, VariableSpec};

use crate::dag::{Graph, Promotion};

/// Also handles graphs with cycles, so that other problems are found as well.
///
/// A variable with `data="raw"` that depends on proc data is marked too: [`crate::check`] refuses it.
pub(crate) fn promotion(variables: &[VariableSpec], graph: &Graph) -> Promotion {
    Promotion {
        proc: spread(graph, |at| variables[at].data == Some(RunData::Proc)),
        cluster: spread(graph, |at| variables[at].cluster),
    }
}

/// Propagates a declared property to all dependents, nearest first.
fn spread(graph: &Graph, declared: impl Fn(usize) -> bool) -> Vec<Option<u32>> {
    let mut origin = vec![None; graph.len()];
    let mut queue = VecDeque::new();
    for (at, origin) in origin.iter_mut().enumerate() {
        if declared(at) {
            *origin = Some(at as u32);
            queue.push_back(at as u32);
        }
    }
    while let Some(next) = queue.pop_front() {
        for &dependent in graph.needed_by.of(next) {
            if origin[dependent as usize].is_none() {
                origin[dependent as usize] = origin[next as usize];
                queue.push_back(dependent);
            }
        }
    }
    origin
}
