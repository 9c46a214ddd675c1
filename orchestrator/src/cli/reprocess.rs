//! `amore reprocess`.

use std::process::ExitCode;

use amore_core::request::{Compute, Request, Runs};
use amore_model::{Proposal, parse_runs};

use super::{
    failure::{Exit, Failure},
    foreground::{Foreground, exit_code},
    open::Following,
    progress::Display,
    variable_name,
};
use crate::{
    coordinate::events::Event,
    database_dir::{locate, must_have_run_table},
    dispatch::slurm::Slurm,
};

/// Compute variables of some runs, or of all runs in the database.
///
/// Each value appears in the table when its variable ends. Ctrl-C stops; computed values are stored.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    amore-proto reprocess 100                        all variables of a run\n  \
    amore-proto reprocess 100 --match agipd          variables with agipd in the title\n  \
    amore-proto reprocess 1 10 100 --match agipd     several runs\n  \
    amore-proto reprocess 1-100 --var xgm_intensity  a range of runs, one variable\n  \
    amore-proto reprocess all                        all runs in the database")]
pub struct Arguments {
    /// Run numbers (96) or ranges (1-10), or 'all' for all runs in the database.
    #[arg(required = true, value_name = "run")]
    run: Vec<String>,
    /// Use a mock run object instead of opening the run.
    #[arg(long)]
    mock: bool,
    /// Proposal number, e.g. 1234 (default: the directory's).
    #[arg(long)]
    proposal: Option<Proposal>,
    /// Only variables with this text in their title (case-insensitive; not a regex). Can be repeated.
    #[arg(long = "match", value_name = "MATCH")]
    matches: Vec<String>,
    /// Only this variable and its dependencies. Can be repeated.
    #[arg(long = "var", value_name = "NAME", conflicts_with = "matches", value_parser = variable_name)]
    names: Vec<String>,
    /// Proposal number or database directory (default: the working directory).
    #[arg(long = "in", value_name = "DIR")]
    directory: Option<String>,
    /// Run on this machine instead of in Slurm jobs.
    #[arg(long)]
    direct: bool,
    /// Process runs one after another and show what their variables print.
    #[arg(long)]
    watch: bool,
    /// Maximum number of processes at once (default: the number of cores).
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    concurrent_jobs: Option<i64>,
    /// Print events as JSON lines.
    #[arg(long)]
    json: bool,
}

impl Arguments {
    fn request(&self) -> Result<Request, Failure> {
        let runs = if self.run == ["all"] {
            Runs::All
        } else {
            let runs = parse_runs(&self.run).map_err(|error| {
                Failure::new(error.to_string())
                    .exit(Exit::Usage)
                    .hint("give run numbers (96), ranges (1-10), or 'all' alone")
            })?;
            Runs::These(runs)
        };
        Ok(Request::Compute(Compute {
            runs,
            proposal: self.proposal,
            matches: self.matches.clone(),
            names: self.names.clone(),
            mock: self.mock,
            trigger: None,
        }))
    }

    fn processes(&self) -> usize {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        match self.concurrent_jobs {
            _ if self.watch => 1,
            Some(limit) if limit > 0 => cores.min(usize::try_from(limit).unwrap_or(cores)),
            _ => cores,
        }
    }
}

/// Runs the request as the owner of the directory, or through its owner.
pub async fn run(arguments: &Arguments, slurm: Slurm) -> Result<ExitCode, Failure> {
    let mut request = arguments.request()?;
    let dir = locate(arguments.directory.as_deref())?;
    must_have_run_table(&dir)?;
    let output = arguments.watch.then(|| Following::new(&dir));
    let display = Display::start(arguments.json, output)?;
    let foreground = Foreground {
        processes: arguments.processes(),
        direct: arguments.direct || arguments.watch,
        ..Foreground::new(dir, slurm)
    };
    let summary = foreground.serve(Some(&mut request), &display).await?;
    display.show(&Event::Finished(summary.clone()));
    Ok(exit_code(&summary))
}
