//! `amore check [FILE]`.

use std::{
    io::Read,
    path::{Path, PathBuf},
    process::ExitCode,
};

use amore_core::problem_words::{problems_in_words, refusal};
use amore_listener_db::ListenerDb;
use amore_model::{Problem, Sandbox, Severity};
use amore_plan::Dag;
use amore_run_table::RunTable;
use amore_wire::task::ContextSource;
use serde::Serialize;

use super::{
    failure::{Exit, Failure},
    open, output,
};
use crate::{
    context_file,
    coordinate::{describe, events::count},
    database_dir::{DatabaseDir, locate},
    dispatch::{
        local::{AtOnce, LocalWorker},
        slurm::site_file,
    },
    service,
};

/// Report every problem in a context file.
///
/// A file with errors cannot be used; warnings (from pyflakes) are harmless. The file is executed by the Python of this
/// database (context_python), in a separate process.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Context file, or - for standard input (default: context.py of this directory).
    file: Option<PathBuf>,
    /// Python interpreter (default: the database's).
    #[arg(long)]
    python: Option<PathBuf>,
    /// Proposal number or database directory (default: the working directory).
    #[arg(long = "in", value_name = "DIR")]
    directory: Option<String>,
    /// Execute the file in the sandbox of the service of this directory.
    #[arg(long, value_name = "DIR", hide = true)]
    service: Option<PathBuf>,
    /// Print JSON, for editors.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Answer<'a> {
    file: &'a Path,
    usable: bool,
    variables: usize,
    problems: &'a [Problem],
}

pub async fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let dir = locate(arguments.directory.as_deref())?;
    let from_input = arguments.file.as_deref() == Some(Path::new("-"));
    let file = arguments.file.clone().filter(|_| !from_input).unwrap_or_else(|| dir.context_file());
    let python = match &arguments.python {
        Some(python) => python.clone(),
        None => open::context_python_of(&dir).await?,
    };
    let read = if from_input {
        let mut bytes = Vec::new();
        std::io::stdin()
            .read_to_end(&mut bytes)
            .map_err(|error| Failure::new(format!("standard input cannot be read: {error}")))?;
        context_file::from_bytes(&file, bytes)
    } else {
        context_file::read(&file)
    };
    let (file, problems, variables) = match read {
        Err(problem) => (file, vec![problem], 0),
        Ok(mut context) => {
            // A file outside of a database directory is executed as if it belonged to this one, if this is one.
            let in_database = |folder: &Path| folder.join("runs.sqlite").exists();
            if !context.directory.as_deref().is_some_and(in_database) && in_database(dir.path()) {
                context.directory = Some(dir.path().to_owned());
            }
            let proposal = open::proposal_of(&dir).await?;
            let sandbox = sandbox(arguments.service.as_deref()).await?;
            let mut worker = LocalWorker::start(AtOnce::UpTo(1))?;
            worker.greet();
            let checked = describe::describe(&mut worker, &context, &python, proposal, sandbox).await;
            worker.stop().await;
            let checked = checked?;
            (context.path, checked.problems, checked.dag.map_or(0, |dag| dag.variables().len()))
        }
    };
    let errors = problems.iter().filter(|problem| problem.severity == Severity::Error).count();
    if arguments.json {
        output::say_json(&Answer { file: &file, usable: errors == 0, variables, problems: &problems })?;
    } else {
        if !problems.is_empty() {
            output::say(problems_in_words(&file, &problems));
        }
        let warnings = problems.len() - errors;
        output::say(match (errors, warnings) {
            (0, 0) => format!("{}: {}, no problems", file.display(), count(variables, "variable")),
            (0, _) => format!(
                "{}: {}, {}",
                file.display(),
                count(variables, "variable"),
                count(warnings, "warning")
            ),
            (_, 0) => format!("{}: {}", file.display(), count(errors, "error")),
            _ => format!("{}: {} and {}", file.display(), count(errors, "error"), count(warnings, "warning")),
        });
    }
    Ok(if errors == 0 { ExitCode::SUCCESS } else { Exit::ContextFile.into() })
}

/// What user code is executed in: the sandbox of a service, otherwise that of the site's file.
///
/// # Errors
/// The settings that say so cannot be read.
pub async fn sandbox(service: Option<&Path>) -> Result<Option<Sandbox>, Failure> {
    match service {
        Some(directory) => Ok(service::sandbox(&ListenerDb::at(directory).settings().await?).await?),
        None => Ok(site_file::sandbox()?),
    }
}

/// Reads the directory's context file and lets a separate worker execute it.
///
/// # Errors
/// The file has errors (all are reported), or the Python cannot be used.
pub async fn usable_context(
    dir: &DatabaseDir,
    table: &RunTable,
    sandbox: Option<Sandbox>,
) -> Result<(ContextSource, Dag), Failure> {
    let context = context_file::read(&dir.context_file())
        .map_err(|problem| refusal(&dir.context_file(), &[problem]))?;
    let (python, proposal) = (open::context_python(table).await?, open::own_proposal(table).await?);
    let mut worker = LocalWorker::start(AtOnce::UpTo(1))?;
    worker.greet();
    let checked = describe::describe(&mut worker, &context, &python, proposal, sandbox).await;
    worker.stop().await;
    let checked = checked?;
    match checked.dag {
        Some(dag) => Ok((context, dag)),
        None => Err(refusal(&context.path, &checked.problems).into()),
    }
}
