//! From a request and what is known of its runs to plans, and what the user should know of them.

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

use amore_model::Run;
use amore_plan::{
    Availability, Dag, LeftOut, LeftOutReason, Place, PlaceReason, Plan, Request, SelectError, check_names,
    plan,
};
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
    // The list is published before the request is planned.
    let Survey { mut runs, mut missing, stored, listed: _, notices, no_jobs } = survey;
    let none_known = runs.is_empty() && missing.is_empty();
    runs.retain(|((_, run), _)| !left_out.contains(run));
    missing.retain(|run| !left_out.contains(run));
    let refuse = |error: SelectError| {
        Refusal::new(error.to_string()).hint("`amore table --columns` lists names and titles")
    };
    // Also if none of the runs has data.
    check_names(&dag, &compute.names).map_err(refuse)?;
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
                place.insert(plan(&dag, &wanted).map_err(refuse)?)
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
                [only] => why.push(format!("{only} needs {what} data, which the run does not have")),
                [first, second] => {
                    why.push(format!("{first} and {second} need {what} data, which the run does not have"))
                }
                [first, ..] => why.push(format!(
                    "{first} and {} need {what} data, which the run does not have",
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
        runs => format!("{}, the first is run {}: {why}", count(runs.len(), "run"), runs[0]),
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
            "{} with cluster=True; {why_no_slurm}, so they are computed on this machine",
            count(variables, "variable")
        ));
    }
    let commands = plan.tasks.iter().filter(|task| task.job.is_some() && task.place == Place::Local).count();
    if commands > 0 {
        notes.push(format!(
            "{} with a Slurm job of their own; {why_no_slurm}, so the commands are executed on this machine",
            count(commands, "variable")
        ));
    }
    notes
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use amore_model::{Argument, DatabaseDir, Proposal, RunData, VariableSpec};

    use super::*;
    use crate::{describe, request::Runs};

    fn setup() -> Setup {
        let dir = DatabaseDir::at(PathBuf::from("/db"));
        Setup { processes: 4, ..Setup::new(dir, Proposal(1234), PathBuf::from("python3")) }
    }

    fn to_plan(variables: Vec<VariableSpec>, names: &[&str]) -> ToPlan {
        let compute = Compute {
            runs: Runs::All,
            proposal: None,
            matches: Vec::new(),
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            mock: false,
            trigger: None,
        };
        let context = ContextSource {
            path: PathBuf::from("/db/context.py"),
            folders: Vec::new(),
            directory: None,
            text: String::new(),
            sha256: String::new(),
        };
        let dag = Box::new(describe::complete(variables, Vec::new()).dag.unwrap());
        ToPlan { compute, left_out: BTreeSet::new(), context, dag }
    }

    fn survey(runs: &[(u32, bool)]) -> Survey {
        let of = |(run, proc): &(u32, bool)| {
            ((Proposal(1234), Run(*run)), Availability { raw: true, proc: *proc })
        };
        Survey { runs: runs.iter().map(of).collect(), ..Survey::default() }
    }

    fn calibrated(name: &str) -> VariableSpec {
        VariableSpec { data: Some(RunData::Proc), ..VariableSpec::new(name) }
    }

    #[test]
    fn a_cancelled_run_is_not_planned_and_an_unknown_database_is_told_apart_from_an_empty_request() {
        let mut asked = to_plan(vec![VariableSpec::new("a")], &[]);
        asked.left_out = [Run(1), Run(9)].into();
        let found = Survey { missing: vec![Run(9)], ..survey(&[(1, true)]) };
        let planned = plan_all(&setup(), None, asked, found).unwrap();
        assert!(planned.plans.is_empty() && planned.missing.is_empty() && !planned.none_known);
        let asked = to_plan(vec![VariableSpec::new("a")], &[]);
        assert!(plan_all(&setup(), None, asked, survey(&[])).unwrap().none_known);
    }

    #[test]
    fn a_name_that_is_not_there_refuses_the_request() {
        let asked = to_plan(vec![VariableSpec::new("energy")], &["enrgy"]);
        let refusal = plan_all(&setup(), None, asked, survey(&[(1, true)])).unwrap_err();
        assert!(refusal.message.contains("enrgy") && refusal.hint.is_some(), "{refusal}");
        let asked = to_plan(vec![VariableSpec::new("energy")], &["enrgy"]);
        let found = Survey { missing: vec![Run(777)], ..survey(&[]) };
        let without_runs = plan_all(&setup(), None, asked, found).unwrap_err();
        assert_eq!(without_runs.message, refusal.message);
    }

    #[test]
    fn one_run_uses_all_processes_and_many_runs_one_each() {
        let variables = || ["a", "b", "c", "d"].map(VariableSpec::new).to_vec();
        for (runs, tasks) in [(vec![(1, true)], 4), ((1..=4).map(|run| (run, true)).collect(), 1)] {
            let planned = plan_all(&setup(), None, to_plan(variables(), &[]), survey(&runs)).unwrap();
            assert!(planned.plans.iter().all(|(_, plan)| plan.tasks.len() == tasks), "{runs:?}");
            assert_eq!(planned.variables(), 4 * runs.len());
        }
    }

    #[test]
    fn runs_without_proc_data_are_explained_together() {
        let plans_of = |names: &[&str], variables: Vec<VariableSpec>| {
            let found = survey(&[(1, true), (2, false), (3, false)]);
            plan_all(&setup(), None, to_plan(variables, names), found).unwrap().plans
        };
        let plans = plans_of(&[], vec![calibrated("a")]);
        let nothing =
            "2 runs, the first is run 2: nothing to compute: a needs proc data, which the run does not have";
        assert_eq!(why_left_out(&plans, false), [nothing]);
        // Some variables of a file may need more than a run has.
        let variables = vec![calibrated("a"), VariableSpec::new("b")];
        assert_eq!(why_left_out(&plans_of(&[], variables.clone()), false), [""; 0]);
        let asked = "2 runs, the first is run 2: left out: a needs proc data, which the run does not have";
        assert_eq!(why_left_out(&plans_of(&["a", "b"], variables), true), [asked]);
    }

    #[test]
    fn what_is_computed_here_for_want_of_slurm_is_counted() {
        let far = VariableSpec { cluster: true, ..VariableSpec::new("far") };
        let mut after = VariableSpec::new("after");
        let annotation = "var#far".to_owned();
        after.arguments.push(Argument { name: "far".to_owned(), annotation, has_default: false });
        let asked = to_plan(vec![far, after, VariableSpec::new("near")], &[]);
        let planned = plan_all(&setup(), None, asked, survey(&[(1, true)])).unwrap();
        let notes = without_slurm(&planned.plans[0].1, "there is no Slurm here");
        // `far`, and `after`, which would be computed in its job.
        assert_eq!(notes.len(), 1);
        assert!(
            notes[0].starts_with("2 variables") && notes[0].contains("there is no Slurm here"),
            "{notes:?}"
        );
    }
}
