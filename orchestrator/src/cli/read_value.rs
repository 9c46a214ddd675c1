//! `amore read-value`: the process in which a service has a value read. It is no command for users.

use std::{io, process::ExitCode};

use super::failure::Failure;
use crate::values::reader;

pub fn run() -> Result<ExitCode, Failure> {
    reader::serve(io::stdin().lock(), io::stdout().lock())
        .map_err(|error| Failure::new(format!("the value cannot be read: {error}")))?;
    Ok(ExitCode::SUCCESS)
}
