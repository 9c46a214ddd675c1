//! Splits the variables that run into tasks: one for each Slurm job, and one for each part of the local work.
//!
//! Promotion ensures that no local variable needs a value from the cluster (except for the outcome of a command, see `after`),
//! and `jobs` that no two jobs depend on each other. Values therefore pass in one direction, through the run's file. Transient
//! values do not pass between tasks: a cheap one (nothing requires a Slurm job) is computed wherever it is used, others are
//! tied to their dependents.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use amore_model::{JobSpec, MymdcField, Resources, VariableSpec};

use crate::{
    Dag, NodeNo, Place, PlaceReason, PlannedJob, PlannedStep, PlannedTask, PlannedVariable, Request,
    SharedHere, TaskReason, Why,
    after::{GroupNo, at_home, groups, with_commands},
    dag::Node,
    jobs::{Job, Jobs},
    local_parts::LocalParts,
    numbers::{Number, Table, numbers},
    plan::mymdc_fields,
    select::Chosen,
    state::Shared,
    task_order::in_order,
};

numbers! {
    /// A task of the run.
    TaskNo
}

/// Where a variable is computed: locally, in jobs, or both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sides {
    local: bool,
    cluster: bool,
}

impl Sides {
    fn is_anywhere(self) -> bool {
        self.local || self.cluster
    }
}

/// Returns the tasks, and the reasons in topological order.
pub(crate) fn cut(dag: &Dag, chosen: &Chosen, request: &Request) -> (Vec<PlannedTask>, Vec<PlannedVariable>) {
    let with_commands = with_commands(dag, chosen);
    let (dag, chosen) = with_commands.as_ref().map_or((dag, chosen), |with| (&with.dag, &with.chosen));
    let shared = Shared::of(dag, &chosen.runs, |node| may_run(dag, request, node));
    let linked = shared.linked(dag);
    let linked = linked.as_ref().unwrap_or(dag);
    let sides = sides(linked, chosen, request.cluster_available);
    let mymdc = mymdc(dag);
    let cut = Cut { dag, linked, chosen, request, shared: &shared, sides: &sides, mymdc: &mymdc };
    let mut draft = cut.assigned();
    let variables = cut.add_steps(&mut draft);
    in_order(cut.finished(draft), variables)
}

/// Whether it may run without being selected: selected variables may read the state that it leaves in the module.
fn may_run(dag: &Dag, request: &Request, node: NodeNo) -> bool {
    let has_data = !dag.needs_proc(node) || request.has_proc();
    matches!(dag.node(node), Node::Variable(VariableSpec { job: None, .. })) && has_data
}

/// Decides where variables are computed, dependents before dependencies.
fn sides(dag: &Dag, chosen: &Chosen, cluster_available: bool) -> Table<NodeNo, Sides> {
    let mut sides: Table<NodeNo, Sides> = dag.table(Sides::default());
    for &node in dag.order().iter().rev().filter(|&&node| chosen.runs[node]) {
        sides[node] = if cluster_available && dag.needs_cluster(node) {
            Sides { local: false, cluster: true }
        } else if dag.variable(node).transient {
            let used = dag.needed_by(node).iter().fold(Sides::default(), |used, &dependent| {
                let by = sides[dependent];
                Sides { local: used.local || by.local, cluster: used.cluster || by.cluster }
            });
            Sides { local: used.local || !used.cluster, cluster: used.cluster }
        } else {
            Sides { local: true, cluster: false }
        };
    }
    sides
}

/// What each node needs from the metadata catalogue: for itself, and for those that it depends on, which are computed again
/// in its process if their values cannot be restored.
fn mymdc(dag: &Dag) -> Table<NodeNo, BTreeSet<MymdcField>> {
    let mut needs: Table<NodeNo, BTreeSet<MymdcField>> = dag.table(BTreeSet::new());
    for &node in dag.order() {
        let mut fields = mymdc_fields(&dag.variable(node).arguments);
        for &dependency in dag.needs(node) {
            fields.extend(needs[dependency].iter().copied());
        }
        needs[node] = fields;
    }
    needs
}

/// What the tasks of a run are made from.
struct Cut<'a> {
    dag: &'a Dag,
    /// The graph for all decisions about where variables run: users of the same state depend on each other.
    linked: &'a Dag,
    chosen: &'a Chosen,
    request: &'a Request,
    shared: &'a Shared,
    sides: &'a Table<NodeNo, Sides>,
    mymdc: &'a Table<NodeNo, BTreeSet<MymdcField>>,
}

/// The tasks, while steps are added to them.
struct Draft {
    tasks: Table<TaskNo, PlannedTask>,
    /// The single task of each node that is not transient.
    task_of: Table<NodeNo, Option<TaskNo>>,
    /// Values that each task reads from earlier tasks.
    given: Table<TaskNo, Vec<NodeNo>>,
}

/// The tasks in which a node is executed again for the state it leaves, each with the values that it reads from earlier tasks.
type Again = HashMap<NodeNo, Vec<(TaskNo, Vec<NodeNo>)>>;

impl Cut<'_> {
    /// Whether its value is tied to a Slurm job.
    fn is_tied(&self, node: NodeNo) -> bool {
        self.request.cluster_available && self.dag.needs_cluster(node)
    }

    fn is_stored(&self, node: NodeNo) -> bool {
        !self.dag.variable(node).transient || self.is_tied(node)
    }

    fn is_local(&self, node: NodeNo) -> bool {
        self.sides[node].local && !self.dag.is_command(node)
    }

    /// The settings for jobs of variables without `cluster=True`, if they run in one.
    fn noncluster_job(&self) -> Option<&Resources> {
        self.request.noncluster_job.as_ref().filter(|_| self.request.cluster_available)
    }

    /// A task of variables without `cluster=True`.
    fn light_task(&self) -> PlannedTask {
        match self.noncluster_job() {
            Some(resources) => PlannedTask::new(Place::Cluster, resources.clone(), TaskReason::NonCluster),
            None => PlannedTask::new(Place::Local, Resources::default(), TaskReason::Local),
        }
    }

    /// The tasks without steps, and the single task of each node that has one.
    fn assigned(&self) -> Draft {
        let group = groups(self.linked, |node| self.is_local(node));
        let home = at_home(self.linked, |node| self.is_local(node), &group);
        let first = self.before_commands(|node| home[node] && group[node].is_none());
        let mut draft = Draft {
            tasks: vec![self.light_task(); first.tasks].into(),
            task_of: first.task_of,
            given: Table::default(),
        };
        self.add_jobs(&mut draft);
        self.add_after_commands(&mut draft, &group, &home);
        draft.given = Table::new(draft.tasks.len(), Vec::new());
        draft
    }

    /// The tasks of local work that needs no command.
    fn before_commands(&self, inside: impl Fn(NodeNo) -> bool) -> LocalParts {
        // One job for all of them: starting a second one costs more than parallel execution saves.
        let parts = if self.noncluster_job().is_some() { 1 } else { self.request.parts.max(1) };
        if self.shared.apart && !self.request.cluster_available {
            LocalParts::apart(self.linked, inside, parts)
        } else {
            LocalParts::of(self.linked, inside, parts)
        }
    }

    /// Adds a task for each Slurm job of variables with `cluster=True` and of commands.
    fn add_jobs(&self, draft: &mut Draft) {
        let in_jobs = |node| self.sides[node].cluster && self.dag.needs_cluster(node);
        let Jobs { of, jobs } = Jobs::of(self.linked, in_jobs);
        let before = draft.tasks.len();
        for (node, job) in of.iter() {
            if let Some(job) = job {
                draft.task_of[node] = Some(TaskNo::from_index(before + job.index()));
            }
        }
        for Job { resources, reason } in jobs.into_entries() {
            let reason = match reason {
                TaskReason::SharedLater { earlier } => TaskReason::SharedLater { earlier: before + earlier },
                reason => reason,
            };
            draft.tasks.push(PlannedTask::new(Place::Cluster, resources, reason));
        }
    }

    /// Adds the tasks of variables without `cluster=True` that follow commands, and of commands if they are executed locally.
    fn add_after_commands(
        &self,
        draft: &mut Draft,
        group: &Table<NodeNo, Option<GroupNo>>,
        home: &Table<NodeNo, bool>,
    ) {
        let mut task_of_group: HashMap<GroupNo, TaskNo> = HashMap::new();
        for node in group.numbers() {
            match (self.dag.node(node), group[node]) {
                (Node::Command { .. }, _) if self.sides[node].local => {
                    let resources = self.dag.variable(node).resources.clone();
                    let command = PlannedTask::new(Place::Local, resources, TaskReason::Command);
                    draft.task_of[node] = Some(draft.tasks.push(command));
                }
                (Node::Variable(_), Some(group)) if home[node] => {
                    let task =
                        task_of_group.entry(group).or_insert_with(|| draft.tasks.push(self.light_task()));
                    draft.task_of[node] = Some(*task);
                }
                _ => {}
            }
        }
    }

    /// Adds the steps to the tasks. Returns the variables, with the reasons.
    fn add_steps(&self, draft: &mut Draft) -> Vec<PlannedVariable> {
        let beside = self.beside(&draft.task_of);
        let mut again = self.again(&draft.task_of, &beside);
        let mut variables = Vec::new();
        for &node in self.dag.order() {
            let here: Vec<TaskNo> =
                draft.task_of[node].into_iter().chain(beside[node].iter().copied()).collect();
            let again_here = again.remove(&node).unwrap_or_default();
            if here.is_empty() && again_here.is_empty() {
                continue;
            }
            let step = self.step(node);
            for (task, needs) in again_here {
                draft.given[task].extend(needs);
                draft.tasks[task].steps.push(PlannedStep { again: true, ..step.clone() });
            }
            for &task in &here {
                self.add_step(draft, task, node, &step);
            }
            if let (Node::Variable(_), [task, also_in @ ..]) = (self.dag.node(node), here.as_slice()) {
                variables.push(self.planned(node, *task, also_in, &draft.task_of));
            }
        }
        variables
    }

    /// Adds a variable, or a command, to one of the tasks in which it is executed for its value.
    fn add_step(&self, draft: &mut Draft, task: TaskNo, node: NodeNo, step: &PlannedStep) {
        // A local transient variable is computed wherever it is needed.
        let from_others = |need: &NodeNo| self.is_stored(*need) && draft.task_of[*need] != Some(task);
        draft.given[task].extend(self.dag.needs(node).iter().copied().filter(from_others));
        match self.dag.node(node) {
            Node::Command { of, job } => draft.tasks[task].job = Some(command(of, job)),
            Node::Variable(_) => draft.tasks[task].steps.push(step.clone()),
        }
    }

    fn step(&self, node: NodeNo) -> PlannedStep {
        let VariableSpec { name, transient, fingerprint, .. } = self.dag.variable(node);
        PlannedStep {
            name: name.clone(),
            needs: self.names(self.dag.needs(node).iter().copied()),
            transient: *transient,
            fingerprint: fingerprint.clone(),
            again: false,
            changes: self.shared.changes(node),
            reads: self.shared.reads(node),
            adds: self.shared.adds(node),
            mymdc: self.mymdc[node].clone(),
        }
    }

    /// The variable in the plan, with the reasons.
    fn planned(
        &self,
        node: NodeNo,
        task: TaskNo,
        also_in: &[TaskNo],
        task_of: &Table<NodeNo, Option<TaskNo>>,
    ) -> PlannedVariable {
        let command = self.dag.needs(node).iter().find(|&&need| self.dag.is_command(need));
        PlannedVariable {
            name: self.dag.name(node).to_owned(),
            why: self.why(node),
            task: task.index(),
            also_in: also_in.iter().map(|task| task.index()).collect(),
            place_reason: self.place_reason(node),
            command_task: command.and_then(|&command| task_of[command]).map(TaskNo::index),
        }
    }

    fn why(&self, node: NodeNo) -> Why {
        if self.chosen.wanted[node] {
            return Why::Selected;
        }
        let dependents = self.dag.needed_by(node).iter().copied().filter(|&by| self.chosen.runs[by]);
        Why::NeededBy { names: self.names(dependents) }
    }

    fn place_reason(&self, node: NodeNo) -> PlaceReason {
        match self.dag.promotion.cluster[node] {
            Some(origin) if !self.request.cluster_available => {
                PlaceReason::NoSlurm { declared_by: self.dag.name(origin).to_owned() }
            }
            Some(origin) if origin == node => PlaceReason::Declared,
            Some(origin) => PlaceReason::PromotedBy { dependency: self.dag.name(origin).to_owned() },
            None if self.sides[node].cluster => {
                let in_jobs = |by: &NodeNo| self.sides[*by].cluster;
                let there = self.dag.needed_by(node).iter().copied().filter(in_jobs);
                PlaceReason::BesideDependents {
                    names: there.map(|by| self.dag.name(by).to_owned()).collect(),
                }
            }
            None => PlaceReason::Local,
        }
    }

    /// Names of the variables among these nodes.
    fn names(&self, nodes: impl Iterator<Item = NodeNo>) -> Vec<String> {
        nodes.filter(|&node| !self.dag.is_command(node)).map(|node| self.dag.name(node).to_owned()).collect()
    }

    /// For each transient variable that is not tied to a job: the other tasks that use its value and therefore compute it too,
    /// ascending.
    fn beside(&self, task_of: &Table<NodeNo, Option<TaskNo>>) -> Table<NodeNo, Vec<TaskNo>> {
        let mut beside: Table<NodeNo, Vec<TaskNo>> = self.linked.table(Vec::new());
        for &node in self.linked.order().iter().rev() {
            if !self.sides[node].is_anywhere() || self.is_stored(node) {
                continue;
            }
            let mut here = Vec::new();
            for &by in self.linked.needed_by(node).iter().filter(|&&by| self.sides[by].is_anywhere()) {
                here.extend(task_of[by]);
                here.extend_from_slice(&beside[by]);
            }
            here.retain(|&task| Some(task) != task_of[node]);
            here.sort_unstable();
            here.dedup();
            beside[node] = here;
        }
        beside
    }

    fn again(&self, task_of: &Table<NodeNo, Option<TaskNo>>, beside: &Table<NodeNo, Vec<TaskNo>>) -> Again {
        let mut found = Again::new();
        for (task, members) in self.readers_of_state(task_of, beside) {
            let in_cluster = members.iter().any(|&node| self.dag.needs_cluster(node));
            let may_run = |node| may_run(self.dag, self.request, node);
            let is_stored = |node| self.is_stored(node);
            let again =
                self.shared.again(self.dag, &members, in_cluster, (&self.chosen.runs, may_run, is_stored));
            let mut given = again.given;
            for node in again.nodes {
                found.entry(node).or_default().push((task, std::mem::take(&mut given)));
            }
        }
        found
    }

    /// Tasks in which a variable reads shared state, with all nodes that they execute.
    fn readers_of_state(
        &self,
        task_of: &Table<NodeNo, Option<TaskNo>>,
        beside: &Table<NodeNo, Vec<TaskNo>>,
    ) -> BTreeMap<TaskNo, HashSet<NodeNo>> {
        let tasks_of = |node: NodeNo| beside[node].iter().copied().chain(task_of[node]);
        let mut members: BTreeMap<TaskNo, HashSet<NodeNo>> = BTreeMap::new();
        for &node in self.dag.order() {
            if self.shared.touches(node).iter().any(|touch| touch.reads) {
                members.extend(tasks_of(node).map(|task| (task, HashSet::new())));
            }
        }
        if members.is_empty() {
            return members;
        }
        for &node in self.dag.order() {
            for task in tasks_of(node) {
                if let Some(members) = members.get_mut(&task) {
                    members.insert(node);
                }
            }
        }
        members
    }

    /// The tasks with what they wait for, what they are given and what they share.
    fn finished(&self, draft: Draft) -> Vec<PlannedTask> {
        let Draft { mut tasks, task_of, mut given } = draft;
        let mut after = self.apart_in_time(&task_of, tasks.len());
        for (number, task) in tasks.iter_mut() {
            let given = &mut given[number];
            given.sort_unstable();
            given.dedup();
            task.waits_for = std::mem::take(&mut after[number]);
            task.waits_for.extend(given.iter().filter_map(|&need| task_of[need]).map(TaskNo::index));
            task.waits_for.sort_unstable();
            task.waits_for.dedup();
            task.given = self.names(given.iter().copied());
            task.shares = self.shares(task);
        }
        tasks.into_entries()
    }

    /// For each task, the tasks that must end first because they use the same file: repeated steps would otherwise write the
    /// file while another task reads it, and steps that only append to it are not repeated.
    fn apart_in_time(
        &self,
        task_of: &Table<NodeNo, Option<TaskNo>>,
        tasks: usize,
    ) -> Table<TaskNo, Vec<usize>> {
        let mut after = Table::new(tasks, Vec::new());
        for &(from, to) in self.shared.exclusions() {
            if let (Some(from), Some(to)) = (task_of[from], task_of[to])
                && from != to
            {
                after[to].push(from.index());
            }
        }
        after
    }

    /// State that several steps of a task use.
    fn shares(&self, task: &PlannedTask) -> Vec<SharedHere> {
        let mut found: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for step in &task.steps {
            for touch in self.dag.find(&step.name).map_or(&[][..], |node| self.shared.touches(node)) {
                found.entry(self.shared.name(touch.piece)).or_default().push(step.name.clone());
            }
        }
        found
            .into_iter()
            .filter(|(_, variables)| variables.len() > 1)
            .map(|(state, variables)| SharedHere { state: state.to_owned(), variables })
            .collect()
    }
}

fn command(of: &VariableSpec, job: &JobSpec) -> PlannedJob {
    PlannedJob { variable: of.name.clone(), spec: job.clone(), arguments: of.arguments.clone() }
}
