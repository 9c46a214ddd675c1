//! `amore plan RUN…`.

use std::{collections::BTreeMap, fmt::Write, path::PathBuf, process::ExitCode};

use amore_core::{
    job_asked::{Wanted, job_asked},
    request::{Compute, Runs},
    task::RetryState,
};
use amore_model::{Proposal, Resources, Run, RunData, Sandbox, Urgency, parse_runs, shell};
use amore_plan::{Availability, Place, Plan, Request, Selection};
use serde::Serialize;

use super::{
    check::{sandbox, usable_context},
    failure::{Exit, Failure},
    open, output, variable_name,
};
use crate::{
    coordinate::setup::job_environment,
    database_dir::{DatabaseDir, locate, must_have_run_table},
    dispatch::slurm::{
        Slurm,
        client::{self, JobOptions, installed},
        destination::{self, Destination},
        script, site_file,
        sourced::Resolved,
    },
    trigger::user_request::resolve,
};

/// Show what would be computed for some runs, in which task, where and why, without computing it.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Run numbers (96) or ranges (1-10), or 'all' for all runs in the database.
    #[arg(required = true, value_name = "run")]
    run: Vec<String>,
    /// Proposal number (default: the directory's).
    #[arg(long)]
    proposal: Option<Proposal>,
    /// Only variables with this text in their title. Can be repeated.
    #[arg(long = "match", value_name = "MATCH")]
    matches: Vec<String>,
    /// Only this variable and its dependencies. Can be repeated.
    #[arg(long = "var", value_name = "NAME", conflicts_with = "matches", value_parser = variable_name)]
    names: Vec<String>,
    /// Plan for the arrival of this data.
    #[arg(long, value_name = "raw|proc|all", default_value = "all", value_parser = parse_data)]
    data: RunData,
    /// Plan as for a mock run (assume raw and proc data exist).
    #[arg(long)]
    mock: bool,
    /// Distribute each run's independent variables over up to N processes, as reprocess does.
    #[arg(long, value_name = "N", default_value_t = 1)]
    concurrent_jobs: usize,
    /// Proposal number or database directory (default: the working directory).
    #[arg(long = "in", value_name = "DIR")]
    directory: Option<String>,
    /// Execute the context file in the sandbox of the service of this directory.
    #[arg(long, value_name = "DIR", hide = true)]
    service: Option<PathBuf>,
    /// Print the sbatch commands and scripts that would be submitted.
    #[arg(long, conflicts_with = "json")]
    script: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

fn parse_data(text: &str) -> Result<RunData, String> {
    match text {
        "raw" => Ok(RunData::Raw),
        "proc" => Ok(RunData::Proc),
        "all" => Ok(RunData::All),
        _ => Err("must be raw, proc or all".to_owned()),
    }
}

#[derive(Serialize)]
struct RunPlan {
    proposal: Proposal,
    run: Run,
    #[serde(flatten)]
    plan: Plan,
}

/// Where the jobs of tasks with the same request go, across runs.
#[derive(Serialize)]
struct JobPlan {
    variables: Vec<String>,
    #[serde(flatten)]
    destination: Destination,
    #[serde(skip)]
    resources: Resources,
}

#[derive(Serialize)]
struct Answer {
    missing: Vec<Run>,
    runs: Vec<RunPlan>,
    /// Only if Slurm is available.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    jobs: Vec<JobPlan>,
}

pub async fn run(arguments: &Arguments, slurm: &Slurm) -> Result<ExitCode, Failure> {
    let dir = locate(arguments.directory.as_deref())?;
    must_have_run_table(&dir)?;
    let runs = if arguments.run == ["all"] {
        Runs::All
    } else {
        Runs::These(
            parse_runs(&arguments.run).map_err(|error| Failure::new(error.to_string()).exit(Exit::Usage))?,
        )
    };
    let request = Compute {
        runs,
        proposal: arguments.proposal,
        matches: arguments.matches.clone(),
        names: arguments.names.clone(),
        mock: arguments.mock,
        trigger: None,
    };
    let table = open::for_reading(&dir).await?;
    let own = open::proposal(&table, None).await?;
    let known = table.runs().await?;
    let stored = open::stored_names(&table).await?;
    let resolved = resolve(&request, own, &known)?;
    let cluster_available = installed() || arguments.script;
    let sourced = if cluster_available {
        site_file::sourced(&open::settings(&table).await?, own, dir.path())?
    } else {
        Resolved::default()
    };
    let settings = sourced.settings();
    if installed() {
        slurm.ask_ahead(settings.on());
    }
    let sandbox = sandbox(arguments.service.as_deref()).await?;
    let (_, dag) = usable_context(&dir, &table, sandbox.clone()).await?;
    let urgency = request.urgency(resolved.runs.len());
    let mut answer = Answer { missing: resolved.missing, runs: Vec::new(), jobs: Vec::new() };
    for (proposal, run, on_disk) in resolved.runs {
        let wanted = Request {
            selection: Selection { run_data: arguments.data, ..request.selection() },
            availability: Availability { raw: on_disk.raw, proc: on_disk.proc },
            cluster_available,
            noncluster_job: settings.noncluster_job(),
            parts: arguments.concurrent_jobs.max(1),
            stored: stored.get(&(proposal, run)).cloned().unwrap_or_default(),
        };
        let plan = amore_plan::plan(&dag, &wanted).map_err(|error| {
            Failure::new(error.to_string()).hint("`amore table --columns` lists names and titles")
        })?;
        answer.runs.push(RunPlan { proposal, run, plan });
    }
    let jobs = Jobs { dir: &dir, slurm, sourced: &sourced, urgency, sandbox: sandbox.as_ref() };
    if installed() {
        answer.jobs = jobs.of(&answer.runs).await;
    }
    if arguments.script {
        output::say(jobs.scripts(&answer).await?);
    } else if arguments.json {
        output::say_json(&answer)?;
    } else {
        output::say(in_words(&answer));
    }
    Ok(if answer.missing.is_empty() { ExitCode::SUCCESS } else { Exit::Partly.into() })
}

/// Everything needed to determine where a job would go.
struct Jobs<'a> {
    dir: &'a DatabaseDir,
    slurm: &'a Slurm,
    sourced: &'a Resolved,
    urgency: Urgency,
    sandbox: Option<&'a Sandbox>,
}

impl Jobs<'_> {
    /// The job as it would be submitted and, if Slurm is available, its destination. The actual token is different each
    /// time.
    async fn settled(&self, key: (Proposal, Run), resources: &Resources) -> (JobOptions, Destination) {
        let settings = self.sourced.settings();
        let retry = RetryState::default();
        let wanted = Wanted { key, resources, urgency: self.urgency, retry: &retry, token: "TOKEN" };
        let asked = job_asked(self.dir, &job_environment(self.slurm, self.sandbox), &settings, &wanted);
        if installed() {
            destination::find(self.slurm, asked, resources, self.sourced).await
        } else {
            (asked, Destination::default())
        }
    }

    /// Each kind of job in these plans.
    async fn of(&self, runs: &[RunPlan]) -> Vec<JobPlan> {
        let mut jobs: Vec<JobPlan> = Vec::new();
        for RunPlan { proposal, run, plan } in runs {
            for task in plan.tasks.iter().filter(|task| task.place == Place::Cluster) {
                let known = jobs.iter().position(|job| job.resources == task.resources);
                let at = match known {
                    Some(at) => at,
                    None => {
                        let (_, destination) = self.settled((*proposal, *run), &task.resources).await;
                        let resources = task.resources.clone();
                        jobs.push(JobPlan { variables: Vec::new(), destination, resources });
                        jobs.len() - 1
                    }
                };
                for name in task.names() {
                    if !jobs[at].variables.contains(&name) {
                        jobs[at].variables.push(name.to_owned());
                    }
                }
            }
        }
        jobs
    }

    /// The submission of each job as a shell command.
    async fn scripts(&self, answer: &Answer) -> Result<String, Failure> {
        let mut words = Vec::new();
        for RunPlan { proposal, run, plan } in &answer.runs {
            for task in plan.tasks.iter().filter(|task| task.place == Place::Cluster) {
                let (asked, destination) = self.settled((*proposal, *run), &task.resources).await;
                let script = script::render(self.dir.path(), &asked.script).map_err(|error| {
                    Failure::from_error(&error).hint("docs/slurm.md lists what a template can use")
                })?;
                let arguments: Vec<String> = client::arguments(&asked, "TOKEN")
                    .iter()
                    .map(|text| shell::quoted_if_needed(text))
                    .collect();
                let mut said = format!("run {run}: {}", task.names().join(", "));
                if let Some(job) = &task.job {
                    let _ = write!(said, "\nexecutes {}", shell::line(&job.spec.command).replace('\r', " "));
                }
                for remark in &destination.remarks {
                    let _ = write!(said, "\n{remark}");
                }
                words.push(format!(
                    "# {}\nsbatch {} <<'SCRIPT'\n{}\nSCRIPT",
                    said.replace('\n', "\n# "),
                    arguments.join(" "),
                    script.trim_end()
                ));
            }
        }
        Ok(if words.is_empty() { "no Slurm job would be submitted".to_owned() } else { words.join("\n\n") })
    }
}

/// Runs with the same plan are shown together.
fn in_words(answer: &Answer) -> String {
    let mut words = Vec::new();
    if !answer.missing.is_empty() {
        let names: Vec<String> = answer.missing.iter().map(ToString::to_string).collect();
        words.push(format!("These runs do not exist: {}", names.join(", ")));
    }
    let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (index, run) in answer.runs.iter().enumerate() {
        let first = (0..index).find(|&other| answer.runs[other].plan == run.plan).unwrap_or(index);
        groups.entry(first).or_default().push(index);
    }
    for (first, members) in groups {
        let names: Vec<String> = members.iter().map(|&index| answer.runs[index].run.to_string()).collect();
        let title =
            if names.len() == 1 { format!("Run {}", names[0]) } else { format!("Runs {}", names.join(", ")) };
        words.push(format!("{title}\n{}", amore_plan::describe(&answer.runs[first].plan)));
    }
    if !answer.jobs.is_empty() {
        let mut text = "Slurm jobs".to_owned();
        for job in &answer.jobs {
            let _ = write!(text, "\n  {}\n    {}", job.variables.join(", "), job.destination.in_words());
            for remark in &job.destination.remarks {
                let _ = write!(text, "\n    {}", remark.to_string().replace('\n', "\n    "));
            }
        }
        if let Some(last) = words.last_mut() {
            last.truncate(last.trim_end().len());
        }
        words.push(text);
    }
    words.join("\n\n")
}
