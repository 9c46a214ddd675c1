//! Plans for small files, checked in detail.

use amore_model::{Resources, RunData, VariableSpec};
use amore_plan::{
    Availability, Dag, LeftOutReason, Place, PlaceReason, Plan, PlannedTask, Request, SelectError, Selection,
    TaskReason, Why, check, plan,
};

use crate::declare::{Declare, variable};

fn dag(variables: Vec<VariableSpec>) -> Dag {
    let checked = check(variables);
    checked.dag.unwrap_or_else(|| panic!("{:?}", checked.problems))
}

fn steps(task: &PlannedTask) -> Vec<&str> {
    task.steps.iter().map(|step| step.name.as_str()).collect()
}

fn runs(plan: &Plan) -> Vec<&str> {
    plan.variables.iter().map(|variable| variable.name.as_str()).collect()
}

fn with_slurm(parts: usize) -> Request {
    Request { cluster_available: true, parts, ..Request::default() }
}

fn selecting(selection: Selection) -> Request {
    Request { selection, ..Request::default() }
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn the_order_is_that_of_damnit() {
    // The order of `graphlib.TopologicalSorter.static_order()`: variables without dependencies first, in the order in which
    // the file mentions them.
    let dag = dag(vec![
        variable("late").with(&["var#z", "var#b"]),
        variable("a"),
        variable("b").with(&["var#z"]),
        variable("z"),
        variable("c"),
        variable("d").with(&["var#a"]),
    ]);
    assert_eq!(runs(&plan(&dag, &Request::default()).unwrap()), ["z", "a", "c", "b", "d", "late"]);
}

#[test]
fn a_step_needs_of_the_catalogue_what_its_dependencies_need_too() {
    let dag = dag(vec![
        variable("a").with(&["mymdc#sample_name", "meta#run_number"]),
        variable("b").with(&["var#a", "mymdc#run_type"]),
        variable("c").cluster().with(&["var#[ab]"]),
        variable("d"),
    ]);
    let plan = plan(&dag, &with_slurm(1)).unwrap();
    let needs = |name: &str| -> Vec<&str> {
        let steps = plan.tasks.iter().flat_map(|task| &task.steps);
        let fields = steps.filter(|step| step.name == name).flat_map(|step| &step.mymdc);
        fields.map(|field| field.as_str()).collect()
    };
    assert_eq!(needs("a"), ["sample_name"]);
    // If the value of `a` cannot be restored, `c` computes it again in its job.
    assert_eq!([needs("b"), needs("c")], [["sample_name", "run_type"]; 2]);
    assert!(needs("d").is_empty());
}

#[test]
fn what_is_light_has_the_same_order_with_and_without_the_rest() {
    let light = [variable("a"), variable("b").with(&["var#a"]), variable("c")];
    let heavy = variable("heavy").cluster().with(&["var#c", "var#other"]);
    let all = dag([&[heavy], &light[..], &[variable("other").cluster()]].concat());
    let plan = plan(&all, &with_slurm(1)).unwrap();
    assert_eq!(steps(&plan.tasks[0]), ["a", "c", "b"]);
}

#[test]
fn steps_carry_resolved_needs() {
    let dag = dag(vec![
        variable("xgm.a"),
        variable("xgm.b").transient(),
        variable("sum").with(&["var#xgm.*", "var#xgm.a", "meta#run_number"]),
    ]);
    let plan = plan(&dag, &Request::default()).unwrap();
    assert_eq!(plan.tasks.len(), 1);
    assert_eq!(plan.tasks[0].steps[2].needs, ["xgm.a", "xgm.b"]);
    assert!(plan.tasks[0].steps[1].transient && !plan.tasks[0].steps[2].transient);
}

#[test]
fn cluster_variables_go_to_one_task_that_reads_what_is_stored() {
    let dag = dag(vec![
        variable("a"),
        variable("b"),
        variable("heavy").cluster().with(&["var#a"]),
        variable("after").with(&["var#heavy", "var#a"]),
    ]);
    let plan = plan(&dag, &with_slurm(4)).unwrap();
    assert_eq!(
        plan.tasks.iter().map(steps).collect::<Vec<_>>(),
        [vec!["a"], vec!["b"], vec!["heavy", "after"]]
    );
    assert_eq!(plan.tasks[2].place, Place::Cluster);
    assert_eq!(plan.tasks[2].waits_for, [0]);
    assert_eq!(plan.tasks[2].given, ["a"]);
    let reasons: Vec<_> = plan.variables.iter().map(|variable| variable.place_reason.clone()).collect();
    assert_eq!(
        reasons,
        [
            PlaceReason::Local,
            PlaceReason::Local,
            PlaceReason::Declared,
            PlaceReason::PromotedBy { dependency: "heavy".to_owned() },
        ]
    );
}

#[test]
fn variables_that_need_no_cluster_go_into_one_job_of_their_own_if_that_is_wanted() {
    let variables = vec![
        variable("a"),
        variable("b"),
        variable("both").transient(),
        variable("light").with(&["var#both"]),
        variable("heavy").cluster().with(&["var#a", "var#both"]),
    ];
    let dag = dag(variables);
    let resources = Resources { cpus: Some(4), ..Resources::default() };
    let wanted = Request { noncluster_job: Some(resources.clone()), ..with_slurm(4) };
    let planned = plan(&dag, &wanted).unwrap();
    assert_eq!(
        planned.tasks.iter().map(steps).collect::<Vec<_>>(),
        [vec!["a", "b", "both", "light"], vec!["both", "heavy"]]
    );
    assert!(planned.tasks.iter().all(|task| task.place == Place::Cluster));
    assert_eq!(
        (&planned.tasks[0].resources, &planned.tasks[0].reason),
        (&resources, &TaskReason::NonCluster)
    );
    assert_eq!(
        (&planned.tasks[1].waits_for[..], &planned.tasks[1].given[..]),
        (&[0][..], &["a".to_owned()][..])
    );

    // Without Slurm there are no jobs.
    let here = plan(&dag, &Request { cluster_available: false, ..wanted }).unwrap();
    assert!(here.tasks.iter().all(|task| task.place == Place::Local));
}

#[test]
fn without_slurm_all_is_local_and_says_so() {
    let dag = dag(vec![variable("heavy").cluster(), variable("after").with(&["var#heavy"])]);
    let plan = plan(&dag, &Request::default()).unwrap();
    assert_eq!(plan.tasks.len(), 1);
    assert_eq!(plan.tasks[0].place, Place::Local);
    for variable in &plan.variables {
        assert_eq!(variable.place_reason, PlaceReason::NoSlurm { declared_by: "heavy".to_owned() });
    }
}

#[test]
fn a_transient_value_is_computed_where_it_is_used() {
    let dag = dag(vec![
        variable("stored"),
        variable("loader").transient().with(&["var#stored"]),
        variable("mask").transient().with(&["var#loader"]),
        variable("only_there").transient(),
        variable("light").with(&["var#mask"]),
        variable("heavy").cluster().with(&["var#mask", "var#only_there"]),
        variable("unused").transient(),
    ]);
    let plan = plan(&dag, &with_slurm(1)).unwrap();
    assert_eq!(steps(&plan.tasks[0]), ["stored", "unused", "loader", "mask", "light"]);
    assert_eq!(steps(&plan.tasks[1]), ["only_there", "loader", "mask", "heavy"]);
    assert_eq!(plan.tasks[1].given, ["stored"]);
    let of = |name: &str| plan.variables.iter().find(|variable| variable.name == name).unwrap();
    assert_eq!(of("mask").task, 0);
    assert_eq!(of("mask").also_in, [1]);
    assert_eq!(of("mask").place_reason, PlaceReason::BesideDependents { names: texts(&["heavy"]) });
    assert_eq!(of("only_there").task, 1);
    assert!(of("only_there").also_in.is_empty());
    assert_eq!(of("unused").place_reason, PlaceReason::Local);
}

/// The variables of each Slurm job, with its CPUs and the jobs that it waits for.
fn jobs(variables: Vec<VariableSpec>) -> Vec<String> {
    let plan = plan(&dag(variables), &with_slurm(1)).unwrap();
    plan.tasks
        .iter()
        .filter(|task| task.place == Place::Cluster)
        .map(|task| {
            let cpus = task.resources.cpus.map(|cpus| format!("{cpus}: ")).unwrap_or_default();
            let waits: Vec<String> =
                task.waits_for.iter().map(|&before| steps(&plan.tasks[before]).join(" ")).collect();
            let after = if waits.is_empty() { String::new() } else { format!(" < {}", waits.join(", ")) };
            format!("{cpus}{}{after}", steps(task).join(" "))
        })
        .collect()
}

#[test]
fn connected_variables_of_equal_resources_share_a_job() {
    let variables = vec![
        variable("light"),
        variable("frames").cpus(64).with(&["var#light"]),
        variable("peaks").cpus(64).with(&["var#frames"]),
        variable("gain").cpus(64),
        variable("spectrum").cpus(8).with(&["var#frames"]),
        variable("pulses").cluster(),
        variable("mean").with(&["var#peaks"]),
    ];
    assert_eq!(
        jobs(variables.clone()),
        ["64: frames peaks < light", "64: gain", "8: spectrum < frames peaks", "pulses mean < frames peaks"]
    );
    let plan = plan(&dag(variables), &with_slurm(1)).unwrap();
    let reasons: Vec<_> = plan.tasks.iter().map(|task| task.reason.clone()).collect();
    let own = TaskReason::OwnResources;
    assert_eq!(reasons, [TaskReason::Local, own.clone(), own.clone(), own, TaskReason::Shared]);
    assert_eq!(plan.tasks[3].given, ["frames"]);
    assert_eq!(plan.tasks[4].given, ["peaks"]);
}

#[test]
fn jobs_never_wait_for_one_another_in_a_ring() {
    // Through another job and back.
    let there_and_back = vec![
        variable("a").cpus(1),
        variable("b").cpus(2).with(&["var#a"]),
        variable("c").cpus(1).with(&["var#b", "var#a"]),
    ];
    assert_eq!(jobs(there_and_back), ["1: a", "2: b < a", "1: c < a, b"]);

    // Two parts that would wait for each other if only their own stages counted.
    let crossed = vec![
        variable("a").cpus(1),
        variable("x").cpus(2),
        variable("b").cpus(2).with(&["var#a", "var#x"]),
        variable("y").cpus(1).with(&["var#x", "var#a"]),
    ];
    assert_eq!(jobs(crossed), ["1: a", "2: x", "2: b < a, x", "1: y < a, x"]);
}

#[test]
fn the_shared_job_is_split_only_where_it_must_be() {
    let once = vec![
        variable("early").cluster(),
        variable("big").cpus(8),
        variable("late").with(&["var#big"]),
        variable("big_after").cpus(8).with(&["var#early"]),
    ];
    assert_eq!(jobs(once), ["8: big", "early late < big", "8: big_after < early late"]);
    let twice = vec![
        variable("early").cluster(),
        variable("big").cpus(8).with(&["var#early"]),
        variable("late").with(&["var#big"]),
        variable("other").cluster(),
    ];
    assert_eq!(jobs(twice.clone()), ["early other", "8: big < early other", "late < big"]);
    let plan = plan(&dag(twice), &with_slurm(1)).unwrap();
    assert_eq!(plan.tasks[2].reason, TaskReason::SharedLater { earlier: 0 });
}

#[test]
fn a_transient_value_ties_jobs_together() {
    let tied = vec![
        variable("events").cpus(8).transient(),
        variable("sum").cpus(2).with(&["var#events"]),
        variable("between").with(&["var#sum"]),
        variable("last").with(&["var#between", "var#events"]),
        variable("free").cpus(2).with(&["var#sum"]),
        variable("unused").cpus(2).transient().with(&["var#free"]),
    ];
    // `between` needs one of them, and one of them needs it.
    assert_eq!(
        jobs(tied.clone()),
        ["8: events sum between last", "2: free unused < events sum between last"]
    );
    let plan = plan(&dag(tied), &with_slurm(1)).unwrap();
    assert_eq!(plan.tasks[0].reason, TaskReason::Joined { transient: texts(&["events"]) });
    assert_eq!(plan.tasks[1].reason, TaskReason::OwnResources);
}

#[test]
fn a_cheap_transient_value_is_computed_in_each_job() {
    let variables = vec![
        variable("stored"),
        variable("loader").transient().with(&["var#stored"]),
        variable("mask").transient().with(&["var#loader"]),
        variable("a").cpus(1).with(&["var#mask"]),
        variable("b").cpus(2).with(&["var#mask", "var#a"]),
        variable("c").cluster().with(&["var#loader"]),
    ];
    assert_eq!(
        jobs(variables.clone()),
        ["1: loader mask a < stored", "2: loader mask b < stored, loader mask a", "loader c < stored"]
    );
    let plan = plan(&dag(variables), &with_slurm(1)).unwrap();
    assert_eq!(plan.tasks[2].given, ["stored", "a"]);
    let of = |name: &str| plan.variables.iter().find(|variable| variable.name == name).unwrap();
    assert_eq!((of("mask").task, of("mask").also_in.as_slice()), (1, [2].as_slice()));
    assert_eq!(of("loader").also_in, [2, 3]);
}

#[test]
fn without_slurm_resources_cut_nothing() {
    let dag = dag(vec![variable("a").cpus(1), variable("b").cpus(2).with(&["var#a"])]);
    let plan = plan(&dag, &Request::default()).unwrap();
    assert_eq!(plan.tasks.iter().map(steps).collect::<Vec<_>>(), [vec!["a", "b"]]);
    assert_eq!(plan.tasks[0].resources, Resources::default());
}

#[test]
fn independent_parts_are_spread_evenly() {
    // Parts of 3, 1, 1 and 2 variables.
    let dag = dag(vec![
        variable("a1"),
        variable("b"),
        variable("a2").with(&["var#a1"]),
        variable("c"),
        variable("a3").with(&["var#a1"]),
        variable("d1"),
        variable("d2").with(&["var#d1"]),
    ]);
    let tasks = |parts| {
        let plan = plan(&dag, &with_slurm(parts)).unwrap();
        plan.tasks.iter().map(|task| steps(task).join(" ")).collect::<Vec<_>>()
    };
    assert_eq!(tasks(0), ["a1 b c d1 a2 a3 d2"]);
    assert_eq!(tasks(2), ["a1 c a2 a3", "b d1 d2"]);
    assert_eq!(tasks(100), ["a1 a2 a3", "b", "c", "d1 d2"]);
}

#[test]
fn titles_match_in_part_and_names_in_full() {
    let dag = dag(vec![
        variable("mask").titled("Mask"),
        variable("agipd").titled("AGIPD/Mean").with(&["var#mask"]),
        variable("xgm").titled("XGM"),
    ]);
    let matching = |matches: &[&str]| {
        plan(&dag, &selecting(Selection { matches: texts(matches), ..Selection::default() })).unwrap()
    };
    let plan_of_agipd = matching(&["agipd"]);
    assert_eq!(runs(&plan_of_agipd), ["mask", "agipd"]);
    assert_eq!(plan_of_agipd.variables[0].why, Why::NeededBy { names: texts(&["agipd"]) });
    assert_eq!(plan_of_agipd.variables[1].why, Why::Selected);
    assert_eq!(runs(&matching(&["mEAN", "xg"])), ["mask", "xgm", "agipd"]);
    let nothing = matching(&["motor"]);
    assert_eq!(nothing.unmatched, ["motor"]);
    assert!(nothing.tasks.is_empty());

    // Names override titles, and titles are not names.
    let both = Selection { names: texts(&["xgm"]), matches: texts(&["agipd"]), ..Selection::default() };
    assert_eq!(runs(&plan(&dag, &selecting(both)).unwrap()), ["xgm"]);
    let names = Selection { names: texts(&["AGIPD/Mean", "xgmm", "far_from_it"]), ..Selection::default() };
    let error = plan(&dag, &selecting(names)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no variable is named \"AGIPD/Mean\" (it is the title of agipd); \
         no variable is named \"xgmm\" (did you mean xgm?); no variable is named \"far_from_it\""
    );
    let SelectError::UnknownNames(names) = error;
    assert!(names[0].is_title && !names[1].is_title);
}

/// raw, proc, and one that is promoted to proc but also needs raw.
fn mixed() -> Dag {
    dag(vec![
        variable("raw"),
        variable("proc").data(RunData::Proc),
        variable("both").with(&["var#raw", "var#proc"]),
        variable("other_raw").data(RunData::Raw),
    ])
}

#[test]
fn a_trigger_runs_what_needs_its_data() {
    let of = |run_data| {
        let plan = plan(&mixed(), &selecting(Selection { run_data, ..Selection::default() })).unwrap();
        (runs(&plan).join(" "), plan.data)
    };
    assert_eq!(of(RunData::Raw), ("raw other_raw".to_owned(), RunData::Raw));
    assert_eq!(of(RunData::Proc), ("raw proc both".to_owned(), RunData::All));
    assert_eq!(of(RunData::All), ("raw proc other_raw both".to_owned(), RunData::All));
}

#[test]
fn what_the_run_has_no_data_for_is_left_out() {
    let of = |run_data, raw, proc| {
        let request = Request {
            availability: Availability { raw, proc },
            ..selecting(Selection { run_data, ..Selection::default() })
        };
        plan(&mixed(), &request).unwrap()
    };
    let no_proc = of(RunData::All, true, false);
    assert_eq!(runs(&no_proc), ["raw", "other_raw"]);
    assert_eq!(no_proc.data, RunData::Raw);
    let left: Vec<_> = no_proc.left_out.iter().map(|left| (left.name.as_str(), &left.reason)).collect();
    let reason = LeftOutReason::NoProcData { declared_by: "proc".to_owned() };
    assert_eq!(left, [("proc", &reason), ("both", &reason)]);

    // Dependencies of variables that are left out are not computed.
    let proc_only = of(RunData::Proc, true, false);
    assert!(proc_only.tasks.is_empty());
    assert_eq!(proc_only.left_out.len(), 2);

    let nothing = of(RunData::All, false, false);
    assert!(nothing.tasks.is_empty());
    assert!(nothing.left_out.iter().all(|left| left.reason == LeftOutReason::NoRawData));
    assert_eq!(nothing.left_out.len(), 4);

    let no_raw = of(RunData::All, false, true);
    assert_eq!(no_raw.data, RunData::Proc);
    assert!(no_raw.left_out.is_empty());
    assert_eq!(runs(&no_raw).len(), 4);
}

#[test]
fn what_was_computed_of_raw_data_stays_without_them() {
    let request = Request {
        availability: Availability { raw: false, proc: true },
        stored: vec!["raw".to_owned(), "proc".to_owned()],
        ..Request::default()
    };
    let plan = plan(&mixed(), &request).unwrap();
    assert_eq!(runs(&plan), ["proc", "other_raw"]);
    let left: Vec<_> = plan.left_out.iter().map(|left| (left.name.as_str(), &left.reason)).collect();
    let reason = LeftOutReason::NoRawData;
    assert_eq!(left, [("raw", &reason), ("both", &reason)]);
}

#[test]
fn cluster_selects_by_the_promoted_place_and_adds_dependencies_back() {
    let dag = dag(vec![
        variable("a"),
        variable("heavy").cluster().with(&["var#a"]),
        variable("after").with(&["var#heavy"]),
        variable("b"),
    ]);
    let of = |cluster| {
        let selection = Selection { cluster: Some(cluster), ..Selection::default() };
        runs(&plan(&dag, &Request { selection, ..with_slurm(1) }).unwrap()).join(" ")
    };
    assert_eq!(of(true), "a heavy after");
    assert_eq!(of(false), "a b");
}

#[test]
fn stored_values_of_vanished_and_transient_variables_are_dropped() {
    let dag = dag(vec![variable("a"), variable("b").transient()]);
    let stored = texts(&["start_time", "old", "a", "b", "old"]);
    // Also if something else was selected.
    let selection = Selection { names: texts(&["a"]), ..Selection::default() };
    let plan = plan(&dag, &Request { stored, selection, ..Request::default() }).unwrap();
    assert_eq!(plan.forget, ["old", "b"]);
}

#[test]
fn an_empty_file_plans_nothing() {
    let plan = plan(&dag(Vec::new()), &with_slurm(4)).unwrap();
    assert!(plan.tasks.is_empty() && plan.variables.is_empty() && plan.left_out.is_empty());
}

#[test]
fn a_plan_comes_back_from_json() {
    let dag = dag(vec![
        variable("stored"),
        variable("mask").transient().with(&["var#stored"]),
        variable("heavy").cpus(8).with(&["var#mask"]),
        variable("proc").data(RunData::Proc),
    ]);
    let availability = Availability { raw: true, proc: false };
    let plan = plan(&dag, &Request { availability, ..with_slurm(2) }).unwrap();
    let json = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<Plan>(&json).unwrap(), plan);
    insta::assert_snapshot!(serde_json::to_string(&plan.variables[1]).unwrap(), @r#"{"name":"mask","why":{"because":"selected"},"task":1,"place_reason":{"because":"beside_dependents","names":["heavy"]}}"#);
    insta::assert_snapshot!(serde_json::to_string(&plan.tasks[1]).unwrap(), @r#"{"place":"cluster","resources":{"cpus":8},"reason":{"because":"own_resources"},"steps":[{"name":"mask","needs":["stored"],"transient":true,"fingerprint":""},{"name":"heavy","needs":["mask"],"transient":false,"fingerprint":""}],"waits_for":[0],"given":["stored"]}"#);
}
