//! Problems with a place in the context file.

use amore_model::{Problem, ProblemKind, VariableSpec};

/// An error at a variable's place.
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
