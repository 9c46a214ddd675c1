//! `amore verify [RUN…]`.

use std::{path::PathBuf, process::ExitCode};

use amore_model::{Notice, Proposal, Run, parse_runs};
use serde::Serialize;

use super::{
    failure::{Exit, Failure},
    open, output,
};
use crate::{coordinate::events::count, database_dir::locate};

/// Check that run files exist, are readable, and have all files of their large arrays.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Run numbers or ranges (default: all runs in the database).
    #[arg(value_name = "run")]
    run: Vec<String>,
    /// Proposal number (default: the directory's).
    #[arg(long)]
    proposal: Option<Proposal>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Finding {
    file: PathBuf,
    problem: String,
    /// Only a warning: everything exists.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    note: bool,
}

pub async fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let dir = locate(None)?;
    let table = open::for_reading(&dir).await?;
    let wanted: Vec<(Proposal, Run)> = if arguments.run.is_empty() {
        table.runs().await?
    } else {
        let proposal = open::proposal(&table, arguments.proposal).await?;
        let runs = parse_runs(&arguments.run).map_err(|error| Failure::new(error.to_string()))?;
        runs.into_iter().map(|run| (proposal, run)).collect()
    };
    let in_table = open::stored_names(&table).await?;
    let mut findings = Vec::new();
    let mut files = 0;
    let mut missing = 0;
    let mut without = Vec::new();
    for (proposal, run) in wanted {
        let file = dir.run_file(proposal, run);
        if !file.exists() {
            match in_table.get(&(proposal, run)) {
                Some(names) => {
                    missing += 1;
                    findings.push(Finding { file, problem: gone(proposal, run, names), note: false });
                }
                None => without.push(run.to_string()),
            }
            continue;
        }
        files += 1;
        match amore_results::verify(&file) {
            Ok(found) => {
                findings.extend(found.iter().map(|problem| Finding {
                    file: file.clone(),
                    problem: problem.to_string(),
                    note: problem.is_note(),
                }));
            }
            Err(error) => {
                findings.push(Finding { file, problem: Failure::from_error(&error).message, note: false });
            }
        }
    }
    let problems = findings.iter().filter(|finding| !finding.note).count();
    if arguments.json {
        output::say_json(&findings)?;
    } else {
        for finding in &findings {
            let note = if finding.note { "note: " } else { "" };
            output::say(format!("{}: {note}{}", finding.file.display(), finding.problem));
        }
        output::say(format!("{} checked, {}", count(files, "run file"), count(problems, "problem")));
        if missing > 0 {
            output::say(format!(
                "{} missing: `amore-proto reprocess` computes the runs again",
                if missing == 1 { "1 run file is".to_owned() } else { format!("{missing} run files are") },
            ));
        }
    }
    // Runs that were named explicitly are expected to have a file.
    let asked = !arguments.run.is_empty() && !without.is_empty();
    if asked {
        let words = format!("no results are stored for run {}", without.join(", "));
        output::tell(&Notice::warning(words));
    }
    Ok(match (problems == 0, asked) {
        (false, _) => ExitCode::FAILURE,
        (true, true) => Exit::Partly.into(),
        (true, false) => ExitCode::SUCCESS,
    })
}

/// The problem of a run whose values are only in the table.
fn gone(proposal: Proposal, run: Run, names: &[String]) -> String {
    let these = count(names.len(), "variable");
    format!("is missing, but the table has {these} of run {run} of proposal {proposal}")
}
