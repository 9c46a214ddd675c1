//! What a context file declares, as Python and the planner see it.

use amore_model::{Problem, Severity, VariableSpec};
use amore_plan::{Checked, check, merged};

/// Combines what Python found with what the planner finds. If Python found an error, there is no DAG.
pub fn complete(variables: Vec<VariableSpec>, problems: Vec<Problem>) -> Checked {
    let mut checked = check(variables);
    let refused = problems.iter().any(|problem| problem.severity == Severity::Error);
    checked.problems = merged(problems, checked.problems);
    if refused {
        checked.dag = None;
    }
    checked
}
