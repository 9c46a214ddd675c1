//! Variables with a command in a Slurm job of its own.

use std::collections::{BTreeMap, BTreeSet};

use amore_model::{RunData, VariableSpec};
use amore_plan::{Place, Plan, Request, Selection, TaskReason, check, describe, plan};
use proptest::{collection::vec, prelude::*, sample::Index};

use crate::declare::{Declare, variable};

fn planned(variables: Vec<VariableSpec>, cluster_available: bool) -> Plan {
    let checked = check(variables);
    let dag = checked.dag.unwrap_or_else(|| panic!("{:?}", checked.problems));
    plan(&dag, &Request { cluster_available, parts: 4, ..Request::default() }).unwrap()
}

fn problems(variables: Vec<VariableSpec>) -> Vec<String> {
    let checked = check(variables);
    assert!(checked.dag.is_none());
    checked
        .problems
        .into_iter()
        .map(|problem| {
            format!(
                "{}: {} ({})",
                problem.line.unwrap_or(0),
                problem.message,
                problem.hint.unwrap_or_default()
            )
        })
        .collect()
}

#[test]
fn a_command_comes_between_what_it_needs_and_its_function() {
    let file = || {
        vec![
            variable("a"),
            variable("hits").with(&["var#a", "job#outcome"]).job(&["./find.sh", "{a0}", "{run}"]),
            variable("rate").with(&["var#hits", "var#a"]),
            variable("z"),
        ]
    };
    insta::assert_snapshot!(describe(&planned(file(), true)), @r#"
4 variables in 4 tasks, raw and proc data

Task 1, local
  a     selected

Task 2, local
  z     selected

Task 3, Slurm job, after task 1
  own resources: 32 CPUs
  hits  its command: ./find.sh {a0} {run}
  read from the run's file: a

Task 4, local, after tasks 1, 3
  hits  selected; called with the outcome of task 3
  rate  selected
  read from the run's file: a
"#);
    insta::assert_snapshot!(describe(&planned(file(), false)), @r#"
4 variables in 4 tasks, raw and proc data

Task 1, local
  a     selected

Task 2, local
  z     selected

Task 3, local, after task 1
  hits  its command (executed here: Slurm is not available): ./find.sh {a0} {run}
  read from the run's file: a

Task 4, local, after tasks 1, 3
  hits  selected; called with the outcome of task 3
  rate  selected
  read from the run's file: a
"#);
}

#[test]
fn nothing_waits_for_a_command_that_it_does_not_need() {
    let plan = planned(
        vec![
            variable("a").job(&["a"]),
            variable("b").job(&["b"]),
            variable("c").with(&["var#a"]),
            variable("d").with(&["var#b"]),
            variable("e").with(&["var#c", "var#d"]),
            variable("f").with(&["var#e"]).job(&["f", "{a0}"]),
        ],
        true,
    );
    let tasks: Vec<(Vec<&str>, &[usize])> = plan
        .tasks
        .iter()
        .map(|task| {
            let names = match &task.job {
                Some(_) => vec!["command"],
                None => task.steps.iter().map(|step| step.name.as_str()).collect(),
            };
            (names, task.waits_for.as_slice())
        })
        .collect();
    assert_eq!(
        tasks,
        [
            (vec!["command"], &[][..]),
            (vec!["command"], &[]),
            (vec!["a", "c"], &[0]),
            (vec!["b", "d"], &[1]),
            (vec!["e"], &[2, 3]),
            (vec!["command"], &[4]),
            (vec!["f"], &[4, 5]),
        ]
    );
}

#[test]
fn commands_with_equal_resources_share_nothing_and_functions_may_run_in_jobs() {
    let plan = planned(
        vec![
            variable("a").cluster(),
            variable("b").with(&["var#a"]).job(&["b", "{a0}"]),
            variable("c").with(&["var#a"]).job(&["c", "{a0}"]).cluster(),
            variable("d").with(&["var#b", "var#c"]),
        ],
        true,
    );
    assert!(plan.tasks.iter().all(|task| task.place == Place::Cluster));
    let reasons: Vec<_> = plan.tasks.iter().map(|task| &task.reason).collect();
    assert_eq!(
        reasons,
        [
            &TaskReason::Shared,
            &TaskReason::Command,
            &TaskReason::Command,
            &TaskReason::SharedLater { earlier: 0 }
        ]
    );
    assert_eq!(plan.tasks[3].waits_for, [0, 1, 2]);
}

#[test]
fn a_job_has_a_task_on_each_of_its_nodes() {
    let asks = |tasks: u32, nodes: Option<u32>| {
        let mut asking = variable("a").job(&["x"]);
        if let Some(job) = &mut asking.job {
            job.resources.ntasks = Some(tasks);
            job.resources.nodes = nodes;
        }
        vec![asking]
    };
    assert_eq!(
        problems(asks(2, Some(4))),
        [
            "10: The job of a requests nodes=4 and ntasks=2: Slurm removes nodes without tasks (ntasks=4, or more)"
        ]
    );
    for file in [asks(4, Some(4)), asks(8, Some(4)), asks(2, None)] {
        assert!(check(file).problems.is_empty());
    }
}

#[test]
fn what_is_wrong_with_commands_is_said_with_lines() {
    insta::assert_snapshot!(
        problems(vec![
            variable("a").transient(),
            variable("b").with(&["var#a", "job#outcome"]).job(&["x", "{a0}", "{a1}", "{rum}", "{a"]),
            variable("c").with(&["job#outcome", "job#end"]),
            variable("d").with(&["var#*"]).job(&["x", "{what}", "awk {{print}}"]).transient(),
            variable("e").with(&["var#[ab]"]).job(&["x", "{a0}", "{a}"]),
            variable("f").with(&["mymdc#sample_name", "mymdc#techniques"]).job(&["x", "{a0}", "{a1}"]),
        ])
        .join("\n"),
        @r#"
20: The command of b uses {a0}, but a is transient: its value is not stored (Remove transient=True from a, or let another variable return what the command needs)
20: The command of b uses {a1}, which is only known when the command has ended (Remove it from the command)
20: The command of b has an unknown placeholder {rum} (Did you mean {run}?)
20: The command of b has a brace outside of a placeholder: '{' in "{a" is unpaired (Write {{ and }} for literal braces)
30: Argument a0 of c asks for job#outcome, but c has no job (Give the variable a job: @Variable(job=SlurmJob([...])))
30: Argument a1 of c asks for job#end, which does not exist (There is job#outcome)
40: d depends on itself: d → d, by the pattern "*" (Use a pattern that does not match the variable's own name)
40: d has a job and transient=True (Results of a job are stored: remove transient=True)
40: The command of d has an unknown placeholder {what} (Placeholders are {run}, {proposal}, {proposal_dir}, {raw_dir}, {proc_dir}, {run_file}, {directory} and the arguments of the function; write {{ and }} for literal braces)
50: The command of e uses {a0}, which stands for several variables ([ab]) (Remove it from the command and let the command read it from {run_file}, or return a single number or text)
50: The command of e has an unknown placeholder {a} (Did you mean {a0}?)
60: The command of f uses {a1}, but mymdc#techniques is a list (Remove it from the command, or let another variable return a number or text from it)
"#
    );
}

#[test]
fn a_command_is_not_tied_into_another_job() {
    let tied = vec![
        variable("a").cluster().transient(),
        variable("b").with(&["var#a"]),
        variable("c").with(&["var#b"]).job(&["c", "{a0}"]),
        variable("d").with(&["var#a", "var#c"]),
    ];
    insta::assert_snapshot!(problems(tied).join("\n"), @r#"
30: The command of c would have to run inside another Slurm job, because of values that are not stored: a (Remove transient=True from these variables)
"#);
}

/// Files without cycles in which some variables have commands.
fn file() -> impl Strategy<Value = Vec<VariableSpec>> {
    let one = (vec(any::<Index>(), 0..4), 0..4_u8, 0..6_u8, (0..3_u8, 0..5_u8), 0..3_u8);
    vec(one, 1..20).prop_map(|drawn| {
        let mut variables: Vec<VariableSpec> = Vec::new();
        for (at, (needs, proc, cluster, (transient, cpus), job)) in drawn.iter().enumerate() {
            let needs: Vec<String> = match at {
                0 => Vec::new(),
                _ => needs.iter().map(|need| format!("var#v{}", need.index(at))).collect(),
            };
            let mut one =
                variable(&format!("v{at}")).with(&needs.iter().map(String::as_str).collect::<Vec<_>>());
            one.data = (*proc == 0).then_some(RunData::Proc);
            one.cluster = *cluster == 0;
            one.resources.cpus = u32::from(*cpus).checked_sub(2).filter(|cpus| *cpus > 0);
            if *job == 0 {
                one = one.job(&["x", "{run}"]);
            } else {
                one.transient = *transient == 0;
            }
            variables.push(one);
        }
        variables
    })
}

proptest! {
    #[test]
    fn whatever_the_file_the_plan_can_be_followed(
        variables in file(),
        cluster_available in any::<bool>(),
        parts in 0..4_usize,
        names in vec(any::<Index>(), 0..3),
    ) {
        // Some files tie a command to another job: these are refused.
        if let Some(dag) = check(variables.clone()).dag {
            let names = names.iter().map(|name| variables[name.index(variables.len())].name.clone()).collect();
            let selection = Selection { names, ..Selection::default() };
            let request = Request { cluster_available, parts, selection, ..Request::default() };
            let plan = plan(&dag, &request).unwrap();
            let mut commands: BTreeMap<&str, usize> = BTreeMap::new();
            let mut stored: BTreeMap<&str, usize> = BTreeMap::new();
            for (number, task) in plan.tasks.iter().enumerate() {
                prop_assert!(task.waits_for.is_sorted());
                prop_assert!(task.waits_for.iter().all(|&before| before < number));
                prop_assert!(cluster_available || task.place == Place::Local);
                if let Some(job) = &task.job {
                    prop_assert!(task.steps.is_empty());
                    prop_assert_eq!(&task.reason, &TaskReason::Command);
                    prop_assert_eq!(task.place == Place::Cluster, cluster_available);
                    prop_assert_eq!(task.resources.cpus, Some(32));
                    prop_assert!(commands.insert(&job.variable, number).is_none());
                } else {
                    prop_assert!(!task.steps.is_empty());
                }
                let mut here = BTreeSet::new();
                for step in &task.steps {
                    for need in &step.needs {
                        prop_assert!(here.contains(need.as_str()) || task.given.contains(need), "{} for {}", need, step.name);
                    }
                    here.insert(step.name.as_str());
                    // The outcome is available.
                    if dag.get(&step.name).unwrap().job.is_some() {
                        prop_assert!(task.waits_for.contains(&commands[step.name.as_str()]));
                    }
                    if !dag.get(&step.name).unwrap().transient {
                        prop_assert!(stored.insert(&step.name, number).is_none(), "{} twice", step.name);
                    }
                }
                for name in &task.given {
                    prop_assert!(!here.contains(name.as_str()));
                    prop_assert!(!dag.get(name).unwrap().transient);
                    prop_assert!(task.waits_for.contains(&stored[name.as_str()]));
                }
                // It waits only for the commands of its own functions.
                let own: BTreeSet<usize> = task.steps.iter().filter_map(|step| commands.get(step.name.as_str()).copied()).collect();
                let waits: BTreeSet<usize> = task.waits_for.iter().copied().filter(|&before| plan.tasks[before].job.is_some()).collect();
                prop_assert_eq!(own, waits);
            }
            for one in &plan.variables {
                let task = &plan.tasks[one.task];
                prop_assert!(task.steps.iter().any(|step| step.name == one.name));
                prop_assert_eq!(one.command_task, commands.get(one.name.as_str()).copied());
                prop_assert_eq!(one.command_task.is_some(), dag.get(&one.name).unwrap().job.is_some());
                let tasks = plan.tasks.iter().filter(|task| task.steps.iter().any(|step| step.name == one.name)).count();
                prop_assert_eq!(tasks, 1 + one.also_in.len());
            }
        }
    }
}
