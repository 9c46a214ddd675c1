//! Reads a context file into its checked DAG, with the user's Python.

use std::path::Path;

use amore_core::describe::complete;
use amore_model::{Proposal, Sandbox};
use amore_plan::Checked;
use amore_wire::task::{ContextSource, FromWorker, ToWorker};

use super::CoordinateError;
use crate::dispatch::local::LocalWorker;

/// What is known about a context file: its DAG, if it has one, and all its problems.
pub type Described = Checked;

/// Sends the file to a worker that is idle.
///
/// # Errors
/// The Python cannot be used, or the worker dies.
pub async fn describe(
    worker: &mut LocalWorker,
    context: &ContextSource,
    python: &Path,
    proposal: Option<Proposal>,
    sandbox: Option<Sandbox>,
) -> Result<Described, CoordinateError> {
    let asked = ToWorker::Describe {
        id: "describe".to_owned(),
        context: context.clone(),
        python: python.to_owned(),
        proposal,
        sandbox,
    };
    worker.send(&[asked]);
    loop {
        match worker.next().await? {
            Some(FromWorker::Described { variables, problems, .. }) => {
                return Ok(complete(variables, problems));
            }
            Some(FromWorker::HostFailed { message, hint, .. }) => {
                return Err(CoordinateError::Python { message, hint });
            }
            Some(_) => {}
            None => {
                let message = "the worker ended while it read the context file".to_owned();
                return Err(CoordinateError::Python { message, hint: None });
            }
        }
    }
}
