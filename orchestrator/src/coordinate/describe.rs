//! From a context file to its checked DAG, by way of the user's Python.

use std::path::Path;

use amore_model::Problem;
use amore_plan::{Checked, check, merged};
use amore_wire::task::{ContextSource, FromWorker, ToWorker};

use crate::{dispatch::local::LocalWorker, failure::Failure};

/// What is known of a context file: its DAG if it has one, and all its problems.
pub type Described = Checked;

/// The request for a worker.
pub fn request(id: &str, context: &ContextSource, python: &Path) -> ToWorker {
    ToWorker::Describe { id: id.to_owned(), context: context.clone(), python: python.to_owned() }
}

/// Puts together what Python and what the planner found.
pub fn complete(variables: Vec<amore_model::VariableSpec>, problems: Vec<Problem>) -> Described {
    let mut checked = check(variables);
    let refused = problems.iter().any(|problem| problem.severity == amore_model::Severity::Error);
    checked.problems = merged(problems, checked.problems);
    if refused {
        checked.dag = None;
    }
    checked
}

/// Asks a worker that does nothing else yet.
///
/// # Errors
/// When the Python cannot be used or the worker dies.
pub async fn describe(
    worker: &mut LocalWorker,
    context: &ContextSource,
    python: &Path,
) -> Result<Described, Failure> {
    worker.send(&[request("describe", context, python)]).await;
    loop {
        match worker.next().await? {
            Some(FromWorker::Described { variables, problems, .. }) => {
                return Ok(complete(variables, problems));
            }
            Some(FromWorker::HostFailed { message, hint, .. }) => {
                let mut failure = Failure::new(message);
                failure.hint = hint;
                return Err(failure);
            }
            Some(_) => {}
            None => return Err(Failure::new("the worker ended while it read the context file")),
        }
    }
}
