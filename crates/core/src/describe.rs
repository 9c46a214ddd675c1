//! What a context file declares, as Python and the planner see it.

use amore_model::{Problem, Severity, VariableSpec};
use amore_plan::{Checked, check, merged};

/// Puts together what Python found and what the planner finds. With an error of Python's there is no DAG.
pub fn complete(variables: Vec<VariableSpec>, problems: Vec<Problem>) -> Checked {
    let mut checked = check(variables);
    let refused = problems.iter().any(|problem| problem.severity == Severity::Error);
    checked.problems = merged(problems, checked.problems);
    if refused {
        checked.dag = None;
    }
    checked
}
