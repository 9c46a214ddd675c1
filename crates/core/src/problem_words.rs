//! Formats problems of a context file with their locations.

use std::{fmt::Write, path::Path};

use amore_model::Problem;

use crate::refusal::{Refusal, RefusalKind};

/// Why a command that needs a context file without errors does nothing.
pub fn refusal(file: &Path, problems: &[Problem]) -> Refusal {
    Refusal::new(format!("the context file has errors\n{}", problems_in_words(file, problems)))
        .hint("fix them, then run `amore check` again")
        .kind(RefusalKind::ContextFile)
}

/// All problems: location, message, hint, traceback.
pub fn problems_in_words(file: &Path, problems: &[Problem]) -> String {
    let mut words = String::new();
    for problem in problems {
        let shown = problem.file.as_deref().map_or_else(|| file.display().to_string(), ToOwned::to_owned);
        let mut place = shown;
        if let Some(line) = problem.line {
            let _ = write!(place, ":{line}");
            if let Some(column) = problem.column {
                let _ = write!(place, ":{column}");
            }
        }
        let _ = writeln!(words, "{place}: {}: {}", problem.severity, problem.message);
        for line in problem.traceback.iter().flat_map(|traceback| traceback.trim_end().lines()) {
            let _ = writeln!(words, "    {line}");
        }
        if let Some(hint) = &problem.hint {
            let _ = writeln!(words, "    hint: {hint}");
        }
    }
    words.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use amore_model::ProblemKind;

    use super::*;

    #[test]
    fn a_problem_is_told_with_its_place_and_what_to_do() {
        let mut problem =
            Problem::error(ProblemKind::MissingDependency, "foo depends on bra, which is not there");
        problem.line = Some(7);
        problem.hint = Some("did you mean bar?".to_owned());
        assert_eq!(
            problems_in_words(Path::new("/p/context.py"), &[problem]),
            "/p/context.py:7: error: foo depends on bra, which is not there\n    hint: did you mean bar?"
        );
    }
}
