//! Variables that share state: what each of them finds when it is executed.

use std::collections::HashSet;

use amore_model::{ProblemKind, RunData, StateUse, VariableSpec};
use amore_plan::{Availability, Dag, Place, Plan, Request, Selection, TaskReason, check, describe, plan};
use proptest::{collection::vec, prelude::*, sample::Index};

use crate::declare::{Declare, variable};

fn used(name: &str, how: &str) -> StateUse {
    StateUse {
        name: name.to_owned(),
        changes: how.contains('C'),
        reads: how.contains('R'),
        together: how.contains('T'),
        adds: how.contains('A'),
        line: Some(7),
        file: None,
    }
}

fn sharing(mut variable: VariableSpec, state: &[(&str, &str)]) -> VariableSpec {
    variable.state = state.iter().map(|(name, how)| used(name, how)).collect();
    variable
}

fn dag(variables: Vec<VariableSpec>) -> Dag {
    let checked = check(variables);
    checked.dag.unwrap_or_else(|| panic!("{:?}", checked.problems))
}

fn tasks(plan: &Plan) -> Vec<String> {
    let step = |step: &amore_plan::PlannedStep| format!("{}{}", step.name, if step.again { "*" } else { "" });
    plan.tasks.iter().map(|task| task.steps.iter().map(step).collect::<Vec<_>>().join(" ")).collect()
}

fn everything(cluster_available: bool, parts: usize) -> Request {
    Request { cluster_available, parts, ..Request::default() }
}

#[test]
fn users_of_one_piece_share_a_task_and_others_do_not() {
    let dag = dag(vec![
        sharing(variable("before"), &[("LIST", "R")]),
        sharing(variable("first"), &[("LIST", "CR")]),
        variable("aside"),
        sharing(variable("second"), &[("LIST", "R")]),
        sharing(variable("cached"), &[("cache of f", "T")]),
        sharing(variable("cached_too"), &[("cache of f", "T")]),
        sharing(variable("never_read"), &[("LOG", "C")]),
        sharing(variable("never_read_too"), &[("LOG", "C")]),
    ]);
    let plan = plan(&dag, &everything(false, 100)).unwrap();
    // A variable that reads before any change needs no other variable.
    assert_eq!(
        tasks(&plan),
        ["before", "first second", "aside", "cached cached_too", "never_read", "never_read_too"]
    );
    assert_eq!(plan.tasks[1].shares[0].state, "LIST");
}

#[test]
fn writers_are_executed_again_where_readers_are_alone() {
    let dag = dag(vec![
        variable("number"),
        sharing(variable("fill").with(&["var#number"]), &[("TABLE", "C")]),
        sharing(variable("heavy").cpus(4).with(&["var#number"]), &[("TABLE", "R")]),
        sharing(variable("late").with(&["var#number"]), &[("TABLE", "C")]),
    ]);
    let with_slurm = plan(&dag, &everything(true, 1)).unwrap();
    assert_eq!(tasks(&with_slurm), ["number fill late", "fill* heavy"]);
    assert_eq!(with_slurm.tasks[1].given, ["number"]);
    let alone = Selection { names: vec!["heavy".to_owned()], ..Selection::default() };
    let request = Request { selection: alone, ..everything(false, 1) };
    let plan = plan(&dag, &request).unwrap();
    assert_eq!(tasks(&plan), ["number fill* heavy"]);
    insta::assert_snapshot!(describe(&plan), @"
    2 variables in 1 task, raw and proc data

    Task 1, local
      number  needed by heavy
      heavy   selected; cluster=True, but Slurm is not available
      fill    executed again here for the state it leaves in TABLE; not stored
      one process, one after another, because they use TABLE: fill, heavy
    ");
}

#[test]
fn what_adds_to_a_file_is_executed_again_only_after_what_writes_it_afresh() {
    let reader = || sharing(variable("read").cpus(4), &[("file a", "RT")]);
    let added = dag(vec![
        sharing(variable("add"), &[("file a", "CRTA")]),
        sharing(variable("look"), &[("file a", "RT")]),
        reader(),
    ]);
    let plan_of = |dag: &Dag| plan(dag, &everything(true, 8)).unwrap();
    let one = plan_of(&added);
    assert_eq!(tasks(&one), ["add look", "read"]);
    // It needs no value of that task, but its file.
    assert_eq!((one.tasks[1].waits_for.as_slice(), one.tasks[1].given.len()), (&[0][..], 0));

    let afresh = dag(vec![
        sharing(variable("before"), &[("file a", "CRTA")]),
        sharing(variable("write"), &[("file a", "CT")]),
        sharing(variable("add"), &[("file a", "CRTA")]),
        reader(),
    ]);
    let two = plan_of(&afresh);
    assert_eq!(tasks(&two), ["before write add", "write* add* read"]);
    assert_eq!(two.tasks[1].waits_for, [0]);
    assert_eq!(two.tasks[0].steps[2].adds, ["file a"]);

    let alone = Selection { names: vec!["read".to_owned()], ..Selection::default() };
    let request = Request { selection: alone, ..everything(false, 1) };
    assert_eq!(tasks(&plan(&added, &request).unwrap()), ["read"]);
    assert_eq!(tasks(&plan(&afresh, &request).unwrap()), ["write* add* read"]);
}

#[test]
fn a_writer_without_its_data_is_not_executed() {
    let dag = dag(vec![
        sharing(variable("fill").data(RunData::Proc), &[("TABLE", "C")]),
        sharing(variable("read"), &[("TABLE", "R")]),
    ]);
    let request = Request { availability: Availability { raw: true, proc: false }, ..Request::default() };
    assert_eq!(tasks(&plan(&dag, &request).unwrap()), ["read"]);
}

#[test]
fn what_is_light_does_not_see_what_the_cluster_leaves() {
    let variables = vec![
        sharing(variable("heavy").cluster(), &[("LIST", "CR")]),
        sharing(variable("light"), &[("LIST", "CR")]),
        sharing(variable("heavy_too").cluster(), &[("LIST", "R")]),
    ];
    let dag = dag(variables.clone());
    for cluster_available in [true, false] {
        let plan = plan(&dag, &everything(cluster_available, 1)).unwrap();
        assert_eq!(tasks(&plan), ["light", "heavy light* heavy_too"]);
    }
    let problems = check(variables).problems;
    assert_eq!(problems.len(), 1);
    assert!(problems[0].hint.as_deref().unwrap().contains("does not see what it leaves"));
}

#[test]
fn one_warning_for_each_piece_that_is_not_declared() {
    let variables = vec![
        sharing(variable("a"), &[("X", "C"), ("Y", "C")]),
        sharing(variable("b").with(&["var#a"]), &[("X", "R")]),
        sharing(variable("c").with(&["var#b"]), &[("X", "R"), ("Y", "R")]),
        sharing(variable("d"), &[("Y", "R"), ("cache of f", "T")]),
        sharing(variable("e"), &[("Y", "R"), ("cache of f", "T")]),
    ];
    let problems = check(variables).problems;
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(problems[0].kind, ProblemKind::SharedState);
    assert_eq!(
        problems[0].message,
        "d reads Y (line 7), which a changes (line 7), and does not depend on it"
    );
    assert_eq!(problems[0].variables, ["a", "d"]);
}

/// Files without cycles whose variables share three pieces.
fn file() -> impl Strategy<Value = Vec<VariableSpec>> {
    let one = (vec(any::<Index>(), 0..3), 0..5_u8, 0..6_u8, 0..4_u8, vec((0..3_u8, 0..6_u8), 0..3));
    (vec(one, 1..16), any::<u64>()).prop_map(|(drawn, seed)| {
        let mut variables: Vec<VariableSpec> = Vec::new();
        for (at, (needs, cluster, transient, cpus, state)) in drawn.iter().enumerate() {
            let needs: Vec<String> = match at {
                0 => Vec::new(),
                _ => needs.iter().map(|need| format!("var#v{}", need.index(at))).collect(),
            };
            let mut one =
                variable(&format!("v{at}")).with(&needs.iter().map(String::as_str).collect::<Vec<_>>());
            one.cluster = *cluster == 0;
            one.transient = *transient == 0;
            one.resources.cpus = (*cpus > 1).then_some(u32::from(*cpus));
            let mut seen = HashSet::new();
            for (piece, how) in state.iter().filter(|(piece, _)| seen.insert(*piece)) {
                one.state
                    .push(used(&format!("S{piece}"), ["C", "R", "CR", "T", "CT", "RT"][usize::from(*how)]));
            }
            variables.push(one);
        }
        let count = variables.len() as u64;
        variables.sort_by_key(|one| {
            let number: u64 = one.name[1..].parse().expect("it was made so");
            (number.wrapping_mul(seed | 1) ^ seed) % (4 * count)
        });
        variables
    })
}

proptest! {
    #[test]
    fn everybody_finds_what_one_process_would_have_left(
        variables in file(),
        (slurm, in_job, parts) in (any::<bool>(), any::<bool>(), 0..4_usize),
        chosen in vec(any::<Index>(), 0..3),
    ) {
        let dag = dag(variables.clone());
        let names = chosen.iter().map(|at| variables[at.index(variables.len())].name.clone()).collect();
        let request = Request {
            selection: Selection { names, ..Selection::default() },
            noncluster_job: in_job.then(Default::default),
            ..everything(slurm, parts)
        };
        let plan = plan(&dag, &request).unwrap();
        let changers = |piece: &str, of: &[&str]| -> Vec<String> {
            let changes = |name: &&&str| {
                dag.get(name).unwrap().state.iter().any(|state| state.changes && state.name == piece)
            };
            of.iter().filter(changes).map(|name| (*name).to_owned()).collect()
        };
        let heavy = |name: &str| dag.needs_cluster(dag.find(name).unwrap());
        let order: Vec<&str> = dag.order().iter().map(|&at| variables[at.index()].name.as_str()).collect();
        for (number, task) in plan.tasks.iter().enumerate() {
            prop_assert!(task.waits_for.iter().all(|&before| before < number));
            let steps: Vec<&str> = task.steps.iter().map(|step| step.name.as_str()).collect();
            prop_assert_eq!(steps.iter().collect::<HashSet<_>>().len(), steps.len());
            let places: Vec<usize> =
                steps.iter().map(|name| order.iter().position(|other| other == name).unwrap()).collect();
            prop_assert!(places.is_sorted(), "{steps:?}");
            for (at, step) in task.steps.iter().enumerate() {
                for need in &step.needs {
                    prop_assert!(steps[..at].contains(&need.as_str()) || task.given.contains(need));
                }
                // Variables without `cluster=True` are in jobs for their values; other tests check the state that they
                // find.
                let in_jobs = steps.iter().any(|name| heavy(name));
                if step.again || in_jobs && !heavy(&step.name) {
                    continue;
                }
                for state in dag.get(&step.name).unwrap().state.iter().filter(|state| state.reads) {
                    let before = &order[..places[at]];
                    let seen: Vec<&str> =
                        before.iter().copied().filter(|name| heavy(&step.name) || !heavy(name)).collect();
                    prop_assert_eq!(changers(&state.name, &steps[..at]), changers(&state.name, &seen));
                }
            }
            let light_in_job = task.reason == TaskReason::NonCluster;
            prop_assert!(task.place == Place::Local || light_in_job || steps.iter().any(|name| heavy(name)));
        }
    }
}
