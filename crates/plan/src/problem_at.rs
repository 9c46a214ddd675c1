//! Problems with a location in the context file.

use amore_model::{Problem, ProblemKind, VariableSpec};

/// An error at the location of a variable.
pub(crate) fn problem_at(
    variable: &VariableSpec,
    kind: ProblemKind,
    message: String,
    hint: impl Into<Option<String>>,
) -> Problem {
    Problem {
        file: variable.file.clone(),
        line: variable.line,
        hint: hint.into(),
        variables: vec![variable.name.clone()],
        ..Problem::error(kind, message)
    }
}
