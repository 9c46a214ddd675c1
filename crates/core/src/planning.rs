//! From a request and what is known of its runs to plans, and what the user should know of them.

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

use amore_model::Run;
use amore_plan::{Availability, Dag, LeftOut, LeftOutReason, Place, PlaceReason, Plan, Request, plan};
use amore_slurm::settings::SlurmSettings;
use amore_wire::task::ContextSource;

use crate::{
    events::count,
    input::{Survey, TableNotice},
    refusal::Refusal,
    request::Compute,
    setup::Setup,
    tasks::RunKey,
};

/// A request that can begin.
#[derive(Debug)]
pub(crate) struct Planned {
    pub(crate) context: ContextSource,
    pub(crate) plans: Vec<(RunKey, Plan)>,
    pub(crate) missing: Vec<Run>,
    /// The database knows no run, and none was named.
    pub(crate) none_known: bool,
    pub(crate) about_table: Vec<TableNotice>,
}

impl Planned {
    /// Are there tasks to be computed in this place?
    pub(crate) fn has_tasks_in(&self, place: Place) -> bool {
        self.plans.iter().any(|(_, plan)| plan.tasks.iter().any(|task| task.place == place))
    }

    /// How many variables are computed in all runs.
    pub(crate) fn variables(&self) -> usize {
        let of_plan = |plan: &Plan| plan.tasks.iter().map(|task| task.own_steps().count()).sum::<usize>();
        self.plans.iter().map(|(_, plan)| of_plan(plan)).sum()
    }
}

/// What plans are made from, beside what is known of the runs.
#[derive(Debug)]
pub(crate) struct ToPlan {
    pub(crate) compute: Compute,
    /// Runs that were cancelled meanwhile.
    pub(crate) left_out: BTreeSet<Run>,
    pub(crate) context: ContextSource,
    pub(crate) dag: Box<Dag>,
}

/// One plan for each run. Runs that have the same data and the same stored names share the planning.
///
/// # Errors
/// What is asked for cannot be planned, or its jobs cannot be made: nothing is begun then.
pub(crate) fn plan_all(
    setup: &Setup,
    slurm: Option<&SlurmSettings>,
    to_plan: ToPlan,
    survey: Survey,
) -> Result<Planned, Refusal> {
    let ToPlan { compute, left_out, context, dag } = to_plan;
    let Survey { mut runs, mut missing, stored, notices, no_jobs } = survey;
    let none_known = runs.is_empty() && missing.is_empty();
    runs.retain(|((_, run), _)| !left_out.contains(run));
    missing.retain(|run| !left_out.contains(run));
    let nothing = Vec::new();
    let parts = (setup.processes / runs.len().max(1)).max(1);
    let mut made: BTreeMap<(bool, bool, &[String]), Plan> = BTreeMap::new();
    let mut plans = Vec::with_capacity(runs.len());
    for (key, availability) in &runs {
        let stored = stored.get(key).unwrap_or(&nothing);
        let same = (availability.raw, availability.proc, stored.as_slice());
        let plan = match made.entry(same) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => {
                let wanted = Request {
                    selection: compute.selection(),
                    availability: Availability { raw: availability.raw, proc: availability.proc },
                    cluster_available: slurm.is_some(),
                    noncluster_job: slurm.and_then(SlurmSettings::noncluster_job),
                    parts,
                    stored: stored.clone(),
                };
                let planned = plan(&dag, &wanted).map_err(|error| {
                    Refusal::new(error.to_string()).hint("`amore table --columns` lists names and titles")
                })?;
                place.insert(planned)
            }
        };
        plans.push((*key, plan.clone()));
    }
    let planned = Planned { context, plans, missing, none_known, about_table: notices };
    match no_jobs {
        Some(refusal) if planned.has_tasks_in(Place::Cluster) => Err(refusal),
        _ => Ok(planned),
    }
}

/// Why nothing is computed for some runs, and what stays of raw data that are gone; of variables that were asked for, why
/// not for others too. That some variables of a file need data which a run has not is nothing to tell of.
pub(crate) fn why_left_out(plans: &[(RunKey, Plan)], asked_for_some: bool) -> Vec<String> {
    let mut runs_by_why: BTreeMap<String, Vec<Run>> = BTreeMap::new();
    for ((_, run), plan) in plans {
        let nothing = plan.tasks.is_empty();
        let no_raw = plan.left_out.iter().any(|left| left.reason == LeftOutReason::NoRawData);
        if !nothing && !no_raw && (!asked_for_some || plan.left_out.is_empty()) {
            continue;
        }
        let names_by = |raw: bool| {
            let is_raw = |left: &&LeftOut| matches!(left.reason, LeftOutReason::NoRawData) == raw;
            plan.left_out.iter().filter(is_raw).map(|left| left.name.as_str()).collect::<Vec<_>>()
        };
        let mut why = Vec::new();
        for (names, what) in [(names_by(true), "raw"), (names_by(false), "proc")] {
            match names.as_slice() {
                [] => {}
                [only] => why.push(format!("{only} needs {what} data, which the run has not")),
                [first, second] => {
                    why.push(format!("{first} and {second} need {what} data, which the run has not"))
                }
                [first, ..] => why.push(format!(
                    "{first} and {} need {what} data, which the run has not",
                    count(names.len() - 1, "other variable")
                )),
            }
        }
        if why.is_empty() {
            why.push(if plan.unmatched.is_empty() {
                "the context file has no variables".to_owned()
            } else {
                "no variable matches".to_owned()
            });
        }
        let begin = if nothing { "nothing to compute" } else { "left out" };
        runs_by_why.entry(format!("{begin}: {}", why.join("; "))).or_default().push(*run);
    }
    let words = |(why, runs): (String, Vec<Run>)| match runs.as_slice() {
        [run] => format!("run {run}: {why}"),
        runs => format!("{}, run {} the first: {why}", count(runs.len(), "run"), runs[0]),
    };
    runs_by_why.into_iter().map(words).collect()
}

/// What the plan of a run computes here for want of Slurm, for the user. `why_no_slurm` says why there is none.
pub(crate) fn without_slurm(plan: &Plan, why_no_slurm: &str) -> Vec<String> {
    let mut notes = Vec::new();
    let is_meant = |place: &PlaceReason| matches!(place, PlaceReason::NoSlurm { .. });
    let variables = plan.variables.iter().filter(|variable| is_meant(&variable.place_reason)).count();
    if variables > 0 {
        notes.push(format!(
            "{} with cluster=True; {why_no_slurm}, so that they are computed on this machine",
            count(variables, "variable")
        ));
    }
    let commands = plan.tasks.iter().filter(|task| task.job.is_some() && task.place == Place::Local).count();
    if commands > 0 {
        notes.push(format!(
            "{} with a Slurm job of their own; {why_no_slurm}, so that the commands are executed on this machine",
            count(commands, "variable")
        ));
    }
    notes
}
