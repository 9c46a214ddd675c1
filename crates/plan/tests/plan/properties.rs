//! Properties that hold for every context file.

use std::collections::{BTreeMap, BTreeSet};

use amore_model::{ProblemKind, Resources, RunData, VariableSpec};
use amore_plan::{
    Availability, Dag, LeftOutReason, NodeNo, Place, Plan, Request, Selection, TaskReason, check, plan,
};
use proptest::{collection::vec, prelude::*, sample::Index};

use crate::declare::{Declare, variable};

/// Files without cycles: a variable needs only some of those before it in a shuffled order.
fn file() -> impl Strategy<Value = Vec<VariableSpec>> {
    let one = (vec(any::<Index>(), 0..4), 0..4_u8, 0..6_u8, (0..3_u8, 0..5_u8));
    (vec(one, 1..24), any::<u64>()).prop_map(|(drawn, seed)| {
        let mut variables: Vec<VariableSpec> = Vec::new();
        for (at, (needs, proc, cluster, (transient, cpus))) in drawn.iter().enumerate() {
            let needs: Vec<String> = match at {
                0 => Vec::new(),
                _ => needs.iter().map(|need| format!("var#v{}", need.index(at))).collect(),
            };
            let mut one =
                variable(&format!("v{at}")).with(&needs.iter().map(String::as_str).collect::<Vec<_>>());
            one.data = (*proc == 0).then_some(RunData::Proc);
            one.cluster = *cluster == 0;
            one.transient = *transient == 0;
            // Also if it has no meaning.
            one.resources.cpus = u32::from(*cpus).checked_sub(2).filter(|cpus| *cpus > 0);
            variables.push(one);
        }
        // The order of the file differs from that of the dependencies.
        let count = variables.len() as u64;
        variables.sort_by_key(|one| {
            let number: u64 = one.name[1..].parse().expect("it was made so");
            (number.wrapping_mul(seed | 1) ^ seed) % (4 * count)
        });
        variables
    })
}

fn request() -> impl Strategy<Value = Request> {
    (
        (vec(any::<Index>(), 0..4), 0..3_u8, proptest::option::of(any::<bool>())),
        (any::<bool>(), any::<bool>(), any::<bool>(), 0..5_usize),
    )
        .prop_map(|((names, data, cluster), (proc, cluster_available, in_job, parts))| Request {
            selection: Selection {
                run_data: [RunData::All, RunData::Raw, RunData::Proc][data as usize],
                cluster,
                // `named` converts these to names of the file.
                matches: Vec::new(),
                names: names.iter().map(|name| name.index(24).to_string()).collect(),
            },
            availability: Availability { raw: true, proc },
            cluster_available,
            noncluster_job: in_job.then(|| Resources { cpus: Some(4), ..Resources::default() }),
            parts,
            stored: Vec::new(),
        })
}

/// Converts the random numbers to names of this file.
fn named(mut request: Request, variables: &[VariableSpec]) -> Request {
    for name in &mut request.selection.names {
        let at: usize = name.parse().expect("it was made so");
        name.clone_from(&variables[at % variables.len()].name);
    }
    request
}

fn dag(variables: &[VariableSpec]) -> Dag {
    let checked = check(variables.to_vec());
    checked.dag.unwrap_or_else(|| panic!("{:?}", checked.problems))
}

/// The tasks in which each variable is a step.
fn tasks_of(plan: &Plan) -> BTreeMap<&str, Vec<usize>> {
    let mut tasks: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (number, task) in plan.tasks.iter().enumerate() {
        for step in &task.steps {
            tasks.entry(step.name.as_str()).or_default().push(number);
        }
    }
    tasks
}

proptest! {
    #[test]
    fn the_order_respects_dependencies(variables in file()) {
        let dag = dag(&variables);
        let mut ended = BTreeSet::new();
        for &node in dag.order() {
            prop_assert!(dag.needs(node).iter().all(|need| ended.contains(need)));
            ended.insert(node);
        }
        prop_assert_eq!(ended.len(), variables.len());
    }

    #[test]
    fn every_task_has_what_its_steps_need(variables in file(), drawn in request()) {
        let dag = dag(&variables);
        let plan = plan(&dag, &named(drawn, &variables)).unwrap();
        let tasks = tasks_of(&plan);
        for task in &plan.tasks {
            let mut here = BTreeSet::new();
            for step in &task.steps {
                for need in &step.needs {
                    prop_assert!(here.contains(need.as_str()) || task.given.contains(need), "{need} for {}", step.name);
                }
                here.insert(step.name.as_str());
            }
            for name in &task.given {
                prop_assert!(!here.contains(name.as_str()));
                prop_assert!(!dag.get(name).unwrap().transient, "{} cannot be read back", name);
                prop_assert!(tasks[name.as_str()].iter().all(|from| task.waits_for.contains(from)));
                prop_assert!(task.steps.iter().any(|step| step.needs.contains(name)));
            }
            // It waits for nothing else.
            let from: BTreeSet<usize> = task.given.iter().map(|name| tasks[name.as_str()][0]).collect();
            prop_assert_eq!(from.into_iter().collect::<Vec<_>>(), task.waits_for.clone());
        }
    }

    #[test]
    fn each_step_is_in_one_task_unless_it_is_transient(variables in file(), drawn in request()) {
        let dag = dag(&variables);
        let plan = plan(&dag, &named(drawn, &variables)).unwrap();
        let tasks = tasks_of(&plan);
        // The tasks together contain everything that was planned, and the reasons agree with them.
        let planned: BTreeSet<&str> = plan.variables.iter().map(|one| one.name.as_str()).collect();
        prop_assert_eq!(planned, tasks.keys().copied().collect());
        for one in &plan.variables {
            let mut said = vec![one.task];
            said.extend(&one.also_in);
            prop_assert_eq!(&tasks[one.name.as_str()], &said);
            let declared = dag.get(&one.name).unwrap();
            let cheap = declared.transient && !dag.needs_cluster(dag.find(&one.name).unwrap());
            prop_assert!(said.len() == 1 || cheap);
        }
        prop_assert!(plan.tasks.iter().all(|task| !task.steps.is_empty()));
    }

    #[test]
    fn the_selection_is_closed_and_no_larger_than_needed(variables in file(), drawn in request()) {
        let dag = dag(&variables);
        let request = named(drawn, &variables);
        let plan = plan(&dag, &request).unwrap();
        // The expected result, computed in a simple way.
        let mut expected = BTreeSet::new();
        let mut left_out = BTreeSet::new();
        let Selection { run_data, cluster, names, .. } = &request.selection;
        let mut open: Vec<NodeNo> = Vec::new();
        for node in (0..variables.len() as u32).map(NodeNo) {
            let proc = dag.needs_proc(node);
            let chosen = (names.is_empty() || names.contains(&variables[node.index()].name))
                && (*run_data == RunData::All || (*run_data == RunData::Proc) == proc)
                && cluster.is_none_or(|cluster| cluster == dag.needs_cluster(node));
            if chosen && proc && !request.availability.proc {
                left_out.insert(variables[node.index()].name.clone());
            } else if chosen {
                open.push(node);
            }
        }
        while let Some(node) = open.pop() {
            expected.insert(variables[node.index()].name.clone());
            open.extend(dag.needs(node));
        }
        prop_assert_eq!(plan.variables.iter().map(|one| one.name.clone()).collect::<BTreeSet<_>>(), expected);
        prop_assert_eq!(plan.left_out.iter().map(|left| left.name.clone()).collect::<BTreeSet<_>>(), left_out);
        for left in &plan.left_out {
            let LeftOutReason::NoProcData { declared_by } = &left.reason else { panic!("raw data is there") };
            prop_assert_eq!(dag.get(declared_by).unwrap().data, Some(RunData::Proc));
        }
    }

    #[test]
    fn tasks_wait_only_for_tasks_before_them(variables in file(), drawn in request()) {
        let request = named(drawn, &variables);
        let plan = plan(&dag(&variables), &request).unwrap();
        let local = plan.tasks.iter().filter(|task| task.place == Place::Local).count();
        let in_job = plan.tasks.iter().filter(|task| task.reason == TaskReason::NonCluster).count();
        if request.cluster_available && request.noncluster_job.is_some() {
            prop_assert!(local == 0 && in_job <= 1);
        } else {
            prop_assert!(local <= request.parts.max(1) && in_job == 0);
        }
        for (number, task) in plan.tasks.iter().enumerate() {
            prop_assert!(task.waits_for.iter().all(|&before| before < number));
            prop_assert!(task.waits_for.is_sorted());
        }
    }

    #[test]
    fn jobs_have_what_their_variables_ask_for(variables in file(), drawn in request()) {
        let dag = dag(&variables);
        let plan = plan(&dag, &named(drawn, &variables)).unwrap();
        for task in &plan.tasks {
            let own: Vec<NodeNo> = task
                .steps
                .iter()
                .map(|step| dag.find(&step.name).unwrap())
                .filter(|&node| dag.needs_cluster(node))
                .collect();
            let asked: BTreeSet<Option<u32>> =
                own.iter().map(|&node| variables[node.index()].resources.cpus).collect();
            if task.place == Place::Local {
                prop_assert!(task.resources.is_default());
                prop_assert_eq!(&task.reason, &TaskReason::Local);
                continue;
            }
            if task.reason == TaskReason::NonCluster {
                prop_assert!(own.is_empty());
                prop_assert_eq!(task.resources.cpus, Some(4));
                continue;
            }
            prop_assert_eq!(task.resources.cpus, *asked.last().unwrap());
            match &task.reason {
                TaskReason::Local | TaskReason::NonCluster | TaskReason::Command => prop_assert!(false, "not here"),
                TaskReason::Joined { transient } => {
                    prop_assert!(asked.len() > 1);
                    for name in transient {
                        prop_assert!(dag.get(name).unwrap().transient);
                        prop_assert!(own.contains(&dag.find(name).unwrap()));
                    }
                }
                TaskReason::OwnResources => prop_assert!(asked.len() == 1 && !asked.contains(&None)),
                TaskReason::Shared | TaskReason::SharedLater { .. } => {
                    prop_assert_eq!(&asked, &BTreeSet::from([None]));
                    continue;
                }
            }
            // A variable that requests resources shares a job only with variables that it is connected to.
            let mut reached = BTreeSet::from([own[0]]);
            let mut open = vec![own[0]];
            while let Some(node) = open.pop() {
                for &next in dag.needs(node).iter().chain(dag.needed_by(node)) {
                    if own.contains(&next) && reached.insert(next) {
                        open.push(next);
                    }
                }
            }
            prop_assert_eq!(reached.len(), own.len());
        }
    }

    #[test]
    fn there_are_no_more_shared_jobs_than_values_go_to_and_fro(variables in file(), drawn in request()) {
        let dag = dag(&variables);
        let request = named(drawn, &variables);
        let plan = plan(&dag, &request).unwrap();
        let shared = |task: &usize| {
            matches!(plan.tasks[*task].reason, TaskReason::Shared | TaskReason::SharedLater { .. })
        };
        let found: Vec<usize> = (0..plan.tasks.len()).filter(shared).collect();
        let cluster: Vec<usize> = (0..plan.tasks.len())
            .filter(|&task| plan.tasks[task].place == Place::Cluster)
            .filter(|&task| plan.tasks[task].reason != TaskReason::NonCluster)
            .collect();
        if cluster.iter().all(shared) {
            prop_assert!(found.len() <= 1);
        }
        // Each of them needs the one before through a job in between.
        for pair in found.windows(2) {
            let mut open = plan.tasks[pair[1]].waits_for.clone();
            open.retain(|task| !shared(task));
            let mut reached = BTreeSet::new();
            while let Some(task) = open.pop() {
                if reached.insert(task) {
                    open.extend(&plan.tasks[task].waits_for);
                }
            }
            prop_assert!(reached.contains(&pair[0]));
        }
    }

    #[test]
    fn promotion_is_what_dependencies_declare(variables in file()) {
        let dag = dag(&variables);
        for &node in dag.order() {
            let own = &variables[node.index()];
            let proc = own.data == Some(RunData::Proc) || dag.needs(node).iter().any(|&need| dag.needs_proc(need));
            let cluster = own.cluster || dag.needs(node).iter().any(|&need| dag.needs_cluster(need));
            prop_assert_eq!(dag.needs_proc(node), proc);
            prop_assert_eq!(dag.needs_cluster(node), cluster);
        }
    }

    #[test]
    fn asking_for_more_promotes_no_less(variables in file(), at in any::<Index>()) {
        let before = dag(&variables);
        let mut more = variables.clone();
        let at = at.index(more.len());
        more[at].cluster = true;
        more[at].data = Some(RunData::Proc);
        let after = dag(&more);
        for node in (0..variables.len() as u32).map(NodeNo) {
            prop_assert!(!before.needs_proc(node) || after.needs_proc(node));
            prop_assert!(!before.needs_cluster(node) || after.needs_cluster(node));
        }
    }

    #[test]
    fn the_same_question_has_the_same_answer(variables in file(), drawn in request()) {
        let request = named(drawn, &variables);
        let once = plan(&dag(&variables), &request).unwrap();
        let twice = plan(&dag(&variables), &request).unwrap();
        prop_assert_eq!(once, twice);
    }

    #[test]
    fn rings_are_found_exactly_where_they_are(edges in vec((0..9_usize, 0..9_usize), 0..18)) {
        let variables: Vec<VariableSpec> = (0..9)
            .map(|at| {
                let needs: Vec<String> = edges
                    .iter()
                    .filter(|edge| edge.0 == at)
                    .map(|edge| format!("var#v{}", edge.1))
                    .collect();
                variable(&format!("v{at}")).with(&needs.iter().map(String::as_str).collect::<Vec<_>>())
            })
            .collect();
        let mut reaches = [[false; 9]; 9];
        for &(from, to) in &edges {
            reaches[from][to] = true;
        }
        for by in 0..9 {
            for from in 0..9 {
                for to in 0..9 {
                    reaches[from][to] |= reaches[from][by] && reaches[by][to];
                }
            }
        }
        let problems = check(variables).problems;
        let mut in_rings: BTreeSet<(usize, usize)> = BTreeSet::new();
        let mut seen = BTreeSet::new();
        for problem in &problems {
            prop_assert_eq!(problem.kind, ProblemKind::Cycle);
            let members: Vec<usize> = problem.variables.iter().map(|name| name[1..].parse().unwrap()).collect();
            prop_assert_eq!(members.iter().min(), members.first());
            prop_assert!(seen.insert(members.clone()), "a ring is told twice");
            for (index, &from) in members.iter().enumerate() {
                let to = members[(index + 1) % members.len()];
                prop_assert!(edges.contains(&(from, to)));
                in_rings.insert((from, to));
            }
        }
        // Every dependency that is part of a cycle is part of a reported one.
        let expected: BTreeSet<(usize, usize)> =
            edges.iter().copied().filter(|&(from, to)| reaches[to][from]).collect();
        prop_assert_eq!(in_rings, expected);
    }
}
