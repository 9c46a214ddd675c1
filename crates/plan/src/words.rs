//! Describes a plan, for a terminal.

use std::{
    collections::HashSet,
    fmt::{self, Write},
};

use amore_model::{RunData, shell};

use crate::{
    LeftOutReason, Place, PlaceReason, Plan, PlannedJob, PlannedStep, PlannedTask, PlannedVariable,
    TaskReason, Why,
};

/// Maximum number of names on a line; the rest is counted.
const LISTED: usize = 5;

/// The plan as lines of text, each with a line end.
pub fn describe(plan: &Plan) -> String {
    let mut text = String::new();
    write(plan, &mut text).expect("a String takes everything");
    text
}

fn write(plan: &Plan, out: &mut String) -> fmt::Result {
    if plan.tasks.is_empty() {
        writeln!(out, "Nothing to run")?;
    } else {
        let data = match plan.data {
            RunData::Raw => "raw data only",
            RunData::Proc | RunData::All => "raw and proc data",
        };
        writeln!(
            out,
            "{} in {}, {data}",
            counted(plan.variables.len(), "variable"),
            counted(plan.tasks.len(), "task")
        )?;
    }
    // Names in one column; a very long name does not widen it.
    let width = plan
        .variables
        .iter()
        .map(|variable| variable.name.chars().count())
        .chain(plan.left_out.iter().map(|left| left.name.chars().count()))
        .filter(|&width| width <= 40)
        .max()
        .unwrap_or(0);
    let mut members: Vec<Vec<&PlannedVariable>> = vec![Vec::new(); plan.tasks.len()];
    for variable in &plan.variables {
        members[variable.task].push(variable);
        for &task in &variable.also_in {
            members[task].push(variable);
        }
    }
    for (number, (task, members)) in plan.tasks.iter().zip(&members).enumerate() {
        write_task(number, task, members, width, out)?;
    }
    if !plan.left_out.is_empty() {
        writeln!(out, "\nLeft out")?;
        for left in &plan.left_out {
            let why = match &left.reason {
                LeftOutReason::NoRawData => "the run has no raw data".to_owned(),
                LeftOutReason::NoProcData { declared_by } if *declared_by == left.name => {
                    "the run has no proc data".to_owned()
                }
                LeftOutReason::NoProcData { declared_by } => {
                    format!("the run has no proc data, which {declared_by} needs")
                }
            };
            writeln!(out, "  {:width$}  {why}", left.name)?;
        }
    }
    for text in &plan.unmatched {
        writeln!(out, "\nNo title contains {text:?}")?;
    }
    if !plan.forget.is_empty() {
        writeln!(
            out,
            "\nRemoved from the run's file, because no variable stores it any more: {}",
            listed(&plan.forget)
        )?;
    }
    Ok(())
}

fn write_task(
    number: usize,
    task: &PlannedTask,
    members: &[&PlannedVariable],
    width: usize,
    out: &mut String,
) -> fmt::Result {
    let place = match task.place {
        Place::Local => "local",
        Place::Cluster => "Slurm job",
    };
    write!(out, "\nTask {}, {place}", number + 1)?;
    if !task.waits_for.is_empty() {
        let before: Vec<String> = task.waits_for.iter().map(|task| (task + 1).to_string()).collect();
        let word = if before.len() == 1 { "task" } else { "tasks" };
        write!(out, ", after {word} {}", listed(&before))?;
    }
    writeln!(out)?;
    if let Some(reason) = why_a_task(task) {
        writeln!(out, "  {reason}")?;
    }
    if let Some(job) = &task.job {
        write_command(job, task.place, width, out)?;
    }
    let here: HashSet<&str> = task.steps.iter().map(|step| step.name.as_str()).collect();
    for (variable, step) in members.iter().zip(&task.steps) {
        let mut notes = vec![match &variable.why {
            Why::Selected => "selected".to_owned(),
            Why::NeededBy { names } => format!("needed by {}", listed(names)),
        }];
        if step.transient {
            notes.push("not stored".to_owned());
        }
        if let Some(task) = variable.command_task {
            notes.push(format!("called with the outcome of task {}", task + 1));
        }
        match &variable.place_reason {
            PlaceReason::Local => {}
            PlaceReason::Declared => notes.push("cluster=True".to_owned()),
            PlaceReason::PromotedBy { dependency } => {
                notes.push(format!("in the job because it depends on {dependency}"));
            }
            PlaceReason::NoSlurm { declared_by } if *declared_by == variable.name => {
                notes.push("cluster=True, but Slurm is not available".to_owned());
            }
            PlaceReason::NoSlurm { declared_by } => {
                notes.push(format!("cluster=True by {declared_by}, but Slurm is not available"));
            }
            PlaceReason::BesideDependents { names }
                if task.place == Place::Cluster && task.reason != TaskReason::NonCluster =>
            {
                let again = if variable.task == number { "computed here" } else { "computed again here" };
                let names: Vec<String> =
                    names.iter().filter(|name| here.contains(name.as_str())).cloned().collect();
                if !names.is_empty() {
                    notes.push(format!("{again} for {}", listed(&names)));
                }
            }
            PlaceReason::BesideDependents { .. } => {}
        }
        writeln!(out, "  {:width$}  {}", variable.name, notes.join("; "))?;
    }
    for step in task.steps.iter().filter(|step| step.again) {
        writeln!(out, "  {:width$}  {}", step.name, why_again(task, step))?;
    }
    for shared in task.shares.iter().filter(|shared| shared.variables.len() > 1) {
        writeln!(
            out,
            "  one process, one after another, because they use {}: {}",
            shared.state,
            listed(&shared.variables)
        )?;
    }
    if !task.given.is_empty() {
        writeln!(out, "  read from the run's file: {}", listed(&task.given))?;
    }
    Ok(())
}

/// Why a step is executed whose result is stored elsewhere, or was stored before.
fn why_again(task: &PlannedTask, step: &PlannedStep) -> String {
    let after = task.steps.iter().skip_while(|other| other.name != step.name).skip(1);
    let read: Vec<String> = step
        .changes
        .iter()
        .filter(|state| after.clone().any(|other| other.reads.contains(*state)))
        .cloned()
        .collect();
    if read.is_empty() {
        "executed again here for its value; not stored".to_owned()
    } else {
        format!("executed again here for the state it leaves in {}; not stored", listed(&read))
    }
}

/// The command of a variable, as written in the context file.
fn write_command(job: &PlannedJob, place: Place, width: usize, out: &mut String) -> fmt::Result {
    let here = match place {
        Place::Local => " (executed here: Slurm is not available)",
        Place::Cluster => "",
    };
    writeln!(out, "  {:width$}  its command{here}: {}", job.variable, shell::line(&job.spec.command))
}

/// The resources of a Slurm job, and why it is a separate job.
fn why_a_task(task: &PlannedTask) -> Option<String> {
    let resources = task.resources.in_words();
    match &task.reason {
        TaskReason::Local => None,
        TaskReason::NonCluster => Some(format!("variables without cluster=True: {resources}")),
        TaskReason::Shared => Some("default resources".to_owned()),
        TaskReason::SharedLater { earlier } => {
            Some(format!("default resources; needs values of jobs that wait for task {}", earlier + 1))
        }
        TaskReason::Command if resources.is_empty() || task.place == Place::Local => None,
        TaskReason::Command => Some(format!("own resources: {resources}")),
        TaskReason::OwnResources => Some(format!("own resources: {resources}")),
        TaskReason::Joined { transient } => {
            Some(format!("joint resources, because {} cannot be stored: {resources}", listed(transient)))
        }
    }
}

fn counted(count: usize, word: &str) -> String {
    format!("{count} {word}{}", if count == 1 { "" } else { "s" })
}

fn listed(names: &[String]) -> String {
    if names.len() > LISTED {
        format!("{} and {} more", names[..LISTED].join(", "), names.len() - LISTED)
    } else {
        names.join(", ")
    }
}
