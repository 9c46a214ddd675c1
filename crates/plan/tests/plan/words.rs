//! Plans as users read them.

use amore_model::{RunData, VariableSpec};
use amore_plan::{Availability, Request, Selection, check, describe, plan};

use crate::declare::{Declare, variable};

fn words(variables: Vec<VariableSpec>, request: &Request) -> String {
    describe(&plan(&check(variables).dag.expect("the file is good"), request).expect("the names exist"))
}

fn shift() -> Vec<VariableSpec> {
    vec![
        variable("xgm_intensity").titled("XGM intensity [uJ]"),
        variable("mask").transient(),
        variable("pulses"),
        variable("energy_per_pulse").with(&["var#xgm_intensity", "var#pulses"]),
        variable("roi").with(&["var#mask"]),
        variable("agipd_mean")
            .titled("AGIPD/Mean")
            .data(RunData::Proc)
            .cluster()
            .with(&["var#mask", "var#pulses"]),
        variable("agipd_sum").titled("AGIPD/Sum").with(&["var#agipd_mean"]),
    ]
}

#[test]
fn a_run_with_slurm() {
    let request = Request { cluster_available: true, parts: 2, ..Request::default() };
    insta::assert_snapshot!(words(shift(), &request), @"
    7 variables in 3 tasks, raw and proc data

    Task 1, local
      xgm_intensity     selected
      pulses            selected
      energy_per_pulse  selected

    Task 2, local
      mask              selected; not stored
      roi               selected

    Task 3, Slurm job, after task 1
      default resources
      mask              selected; not stored; computed again here for agipd_mean
      agipd_mean        selected; cluster=True
      agipd_sum         selected; in the job because it depends on agipd_mean
      read from the run's file: pulses
    ");
}

#[test]
fn jobs_say_their_resources_and_why_they_are_apart() {
    let mut frames = variable("frames").cpus(64).with(&["var#mask"]);
    frames.resources.mem_mib = Some(500 << 10);
    frames.resources.time_minutes = Some(150);
    let mut fit = variable("fit").partition("upex").with(&["var#model", "var#mask"]);
    fit.resources.gpus = Some(1);
    let variables = vec![
        variable("mask").transient(),
        variable("pulses").cluster(),
        frames,
        variable("mean").with(&["var#frames"]),
        variable("model").cpus(4).transient().with(&["var#mean"]),
        fit,
        variable("report").with(&["var#fit"]),
    ];
    let request = Request { cluster_available: true, ..Request::default() };
    insta::assert_snapshot!(words(variables, &request), @"
    7 variables in 4 tasks, raw and proc data

    Task 1, Slurm job
      own resources: 64 CPUs, 500 GiB, 2:30 h
      mask    selected; not stored; computed here for frames
      frames  selected; cluster=True

    Task 2, Slurm job, after task 1
      default resources
      pulses  selected; cluster=True
      mean    selected; in the job because it depends on frames
      read from the run's file: frames

    Task 3, Slurm job, after task 2
      joint resources, because model cannot be stored: 4 CPUs, 1 GPU, partition upex
      mask    selected; not stored; computed again here for fit
      model   selected; not stored; cluster=True
      fit     selected; cluster=True
      read from the run's file: mean

    Task 4, Slurm job, after task 3
      default resources; needs values of jobs that wait for task 2
      report  selected; in the job because it depends on fit
      read from the run's file: fit
    ");
}

#[test]
fn some_titles_without_slurm() {
    let selection =
        Selection { matches: vec!["agipd".to_owned(), "jungfrau".to_owned()], ..Selection::default() };
    insta::assert_snapshot!(words(shift(), &Request { selection, ..Request::default() }), @r#"
    4 variables in 1 task, raw and proc data

    Task 1, local
      mask        needed by agipd_mean; not stored
      pulses      needed by agipd_mean
      agipd_mean  selected; cluster=True, but Slurm is not available
      agipd_sum   selected; cluster=True by agipd_mean, but Slurm is not available

    No title contains "jungfrau"
    "#);
}

#[test]
fn a_run_without_proc_data_and_with_old_values() {
    let request = Request {
        availability: Availability { raw: true, proc: false },
        stored: vec!["xgm_intensity".to_owned(), "old_energy".to_owned()],
        ..Request::default()
    };
    insta::assert_snapshot!(words(shift(), &request), @"
    5 variables in 1 task, raw data only

    Task 1, local
      xgm_intensity     selected
      mask              selected; not stored
      pulses            selected
      roi               selected
      energy_per_pulse  selected

    Left out
      agipd_mean        the run has no proc data
      agipd_sum         the run has no proc data, which agipd_mean needs

    Removed from the run's file, because no variable stores it any more: old_energy
    ");
}

#[test]
fn nothing_to_run() {
    let request = Request { availability: Availability { raw: false, proc: false }, ..Request::default() };
    insta::assert_snapshot!(words(shift()[..2].to_vec(), &request), @"
    Nothing to run

    Left out
      xgm_intensity  the run has no raw data
      mask           the run has no raw data
    ");
}
