//! State that variables share without declaring it.

use std::collections::{HashMap, HashSet};

use amore_model::{Problem, ProblemKind, Severity, StateUse, VariableSpec};

use crate::{Dag, NodeNo, problem_at::problem_at};

/// Maximum number of users to check per piece of state: one warning per piece is enough.
const LOOKED_AT: usize = 64;

/// One warning for each piece of state that a variable reads after another variable has changed it, without depending on that variable.
pub(crate) fn undeclared_state(dag: &Dag, problems: &mut Vec<Problem>) {
    let mut pieces: Vec<Vec<(NodeNo, &StateUse)>> = Vec::new();
    let mut number: HashMap<&str, usize> = HashMap::new();
    for &node in dag.order() {
        for used in &dag.variable(node).state {
            let next = pieces.len();
            let piece = *number.entry(used.name.as_str()).or_insert(next);
            if piece == next {
                pieces.push(Vec::new());
            }
            pieces[piece].push((node, used));
        }
    }
    for users in pieces {
        let mut changer: Option<(NodeNo, &StateUse)> = None;
        for &(node, used) in users.iter().take(LOOKED_AT) {
            if let Some(before) = changer
                && used.reads
                && !depends(dag, node, before.0)
            {
                problems.push(warning(dag, before, (node, used)));
                break;
            }
            if used.changes {
                changer = Some((node, used));
            }
        }
    }
}

/// Whether one depends on the other, directly or indirectly.
fn depends(dag: &Dag, node: NodeNo, on: NodeNo) -> bool {
    let mut seen = HashSet::new();
    let mut open = vec![node];
    while let Some(next) = open.pop() {
        for &need in dag.needs(next) {
            if need == on {
                return true;
            }
            if seen.insert(need) {
                open.push(need);
            }
        }
    }
    false
}

fn warning(dag: &Dag, (before, change): (NodeNo, &StateUse), (after, read): (NodeNo, &StateUse)) -> Problem {
    let (writer, reader) = (dag.variable(before), dag.variable(after));
    let unseen = dag.needs_cluster(before) && !dag.needs_cluster(after);
    let message = format!(
        "{} reads {}{}, which {} changes{}, and does not depend on it",
        reader.name,
        change.name,
        place_of(read),
        writer.name,
        place_of(change)
    );
    let hint = if unseen {
        format!(
            "{} runs in a Slurm job: {} does not see what it leaves. If it is to, give it an argument \
             annotated \"var#{}\"",
            writer.name, reader.name, writer.name
        )
    } else {
        format!(
            "They run in one process, in this order; make the dependency explicit with an argument annotated \"var#{}\"",
            writer.name
        )
    };
    let mut problem = problem_at(reader, ProblemKind::SharedState, message, hint);
    problem.severity = Severity::Warning;
    if read.line.is_some() {
        problem.line = read.line;
        problem.file.clone_from(&read.file);
    }
    problem.variables = [writer, reader].map(|variable: &VariableSpec| variable.name.clone()).to_vec();
    problem
}

fn place_of(used: &StateUse) -> String {
    match (&used.file, used.line) {
        (Some(file), Some(line)) => format!(" ({file}, line {line})"),
        (None, Some(line)) => format!(" (line {line})"),
        _ => String::new(),
    }
}
