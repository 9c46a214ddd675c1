//! The request and the resulting plan: plain data, and the function that computes one from the other.

use std::collections::{BTreeSet, HashSet};

use amore_model::{Argument, Dependency, JobSpec, MymdcField, Resources, RunData};
use serde::{Deserialize, Serialize};

use crate::{Dag, SelectError, cut::cut, select::select};

/// Which variables are requested. The default is all of them.
///
/// Dependencies are added afterwards. `names` overrides `matches`: if names are given, titles are ignored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    /// `All`, or only the variables that need this data (after promotion), as announced by a trigger.
    pub run_data: RunData,
    /// Only variables that run in Slurm jobs (`true`), or only others (`false`).
    #[serde(default)]
    pub cluster: Option<bool>,
    /// Texts, one of which must be part of the title; case-insensitive.
    #[serde(default)]
    pub matches: Vec<String>,
    /// Exact names.
    #[serde(default)]
    pub names: Vec<String>,
}

impl Default for Selection {
    fn default() -> Self {
        Selection { run_data: RunData::All, cluster: None, matches: Vec::new(), names: Vec::new() }
    }
}

/// Which data of the run is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Availability {
    /// A raw directory. Without it, variables for raw data keep their computed values.
    pub raw: bool,
    /// A proc directory.
    pub proc: bool,
}

/// Everything that a plan for one run depends on besides the context file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The requested variables.
    pub selection: Selection,
    /// The data of the run. A mock run (`--mock`) has everything.
    pub availability: Availability,
    /// Whether Slurm jobs can be started. If not, everything runs locally.
    pub cluster_available: bool,
    /// Variables without `cluster=True` run in one Slurm job of the run with these resources. `None`, or without Slurm: they
    /// are computed locally.
    #[serde(default)]
    pub noncluster_job: Option<Resources>,
    /// Maximum number of tasks for independent parts of the local work; 0 counts as 1.
    pub parts: usize,
    /// Names of values in the run's file (except `start_time`); those that no variable stores any more are removed.
    #[serde(default)]
    pub stored: Vec<String>,
}

impl Request {
    /// Whether the run is opened with its proc data.
    pub(crate) fn has_proc(&self) -> bool {
        self.selection.run_data != RunData::Raw && self.availability.proc
    }
}

impl Default for Request {
    /// Everything, on a run with raw and proc data, without Slurm, in one task.
    fn default() -> Self {
        Request {
            selection: Selection::default(),
            availability: Availability { raw: true, proc: true },
            cluster_available: false,
            noncluster_job: None,
            parts: 1,
            stored: Vec::new(),
        }
    }
}

/// Where a task runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// On the coordinator's machine.
    Local,
    /// In a Slurm job.
    Cluster,
}

/// What is computed for one run, where and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The data with which the run is opened: raw only, or all.
    pub data: RunData,
    /// The tasks: local tasks first, then one for each Slurm job, then local tasks that follow jobs of variables. A task waits
    /// only for earlier tasks.
    pub tasks: Vec<PlannedTask>,
    /// Every variable that runs, in topological order.
    pub variables: Vec<PlannedVariable>,
    /// Requested variables that cannot run, in the order of the file.
    pub left_out: Vec<LeftOut>,
    /// Texts of `matches` that are not part of any title.
    pub unmatched: Vec<String>,
    /// Names in the run's file that no variable stores any more.
    pub forget: Vec<String>,
}

/// One task: steps that run one after another in one place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedTask {
    /// Where it runs.
    pub place: Place,
    /// Resources of the Slurm job; empty for a local task, and for a job with the directory's settings.
    #[serde(default)]
    pub resources: Resources,
    /// Why it is a separate task.
    pub reason: TaskReason,
    /// The steps, dependencies first. Empty for the command of a variable.
    pub steps: Vec<PlannedStep>,
    /// The command of a variable, if the task consists of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<PlannedJob>,
    /// Indices of the tasks that must end first, ascending.
    pub waits_for: Vec<usize>,
    /// Dependencies of the steps that an earlier task stores and this one reads from the run's file, in the order of the
    /// context file.
    pub given: Vec<String>,
    /// State that several of its steps share, which therefore run in one process.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shares: Vec<SharedHere>,
}

/// State outside of functions that several steps of a task share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedHere {
    /// Name of the state.
    pub state: String,
    /// The steps, in order.
    pub variables: Vec<String>,
}

impl PlannedTask {
    /// A task without steps that waits for nothing.
    pub fn new(place: Place, resources: Resources, reason: TaskReason) -> Self {
        PlannedTask {
            place,
            resources,
            reason,
            steps: Vec::new(),
            job: None,
            waits_for: Vec::new(),
            given: Vec::new(),
            shares: Vec::new(),
        }
    }

    /// What it computes, for display: names of variables, or `hits (its command)`.
    pub fn names(&self) -> Vec<String> {
        match &self.job {
            Some(job) => vec![format!("{} (its command)", job.variable)],
            None => self.own_steps().map(|step| step.name.clone()).collect(),
        }
    }

    /// The steps that are computed for their value, not for the state they leave in the module.
    pub fn own_steps(&self) -> impl Iterator<Item = &PlannedStep> {
        self.steps.iter().filter(|step| !step.again)
    }

    /// Whether it computes this variable or executes its command.
    pub fn is_about(&self, name: &str) -> bool {
        self.own_steps().any(|step| step.name == name)
            || self.job.as_ref().is_some_and(|job| job.variable == name)
    }
}

/// The command of a variable as a separate task. A later task calls the function with the outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedJob {
    /// The variable.
    pub variable: String,
    /// Its command.
    pub spec: JobSpec,
    /// The arguments of its function, which placeholders may refer to.
    pub arguments: Vec<Argument>,
}

impl PlannedJob {
    /// What the placeholders of its command need from the metadata catalogue.
    pub fn mymdc(&self) -> BTreeSet<MymdcField> {
        mymdc_fields(&self.arguments)
    }
}

/// What these arguments need from the metadata catalogue.
pub(crate) fn mymdc_fields(arguments: &[Argument]) -> BTreeSet<MymdcField> {
    let field = |argument: &Argument| match argument.dependency() {
        Dependency::Mymdc(name) => MymdcField::from_name(name),
        _ => None,
    };
    arguments.iter().filter_map(field).collect()
}

/// Why variables form a separate task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "because", rename_all = "snake_case")]
pub enum TaskReason {
    /// They run locally.
    Local,
    /// They have no `cluster=True` but run in a Slurm job because of the settings; all of them share it.
    NonCluster,
    /// They run in a Slurm job and request no resources; all of them share it.
    Shared,
    /// As `Shared`, but they need values of jobs that wait for the first shared job.
    SharedLater {
        /// The preceding shared task.
        earlier: usize,
    },
    /// They request these resources; if there are several, they need each other's values.
    OwnResources,
    /// It is the command of a variable (`job=`).
    Command,
    /// They request different resources but cannot be separated: the job gets the largest of each.
    Joined {
        /// The transient variables whose values tie them together.
        transient: Vec<String>,
    },
}

impl TaskReason {
    /// The same reason, with these variables tying some of the task's variables together.
    pub(crate) fn joined(&mut self, by: impl Iterator<Item = String>) {
        match self {
            TaskReason::Joined { transient } => transient.extend(by),
            _ => *self = TaskReason::Joined { transient: by.collect() },
        }
    }
}

/// One variable to compute in a task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedStep {
    /// The variable.
    pub name: String,
    /// Its direct dependencies, wildcards resolved, in the order of the context file.
    pub needs: Vec<String>,
    /// Passed to dependents, never stored.
    pub transient: bool,
    /// Fingerprint of the function.
    pub fingerprint: String,
    /// Executed for the state it leaves in the module, which later steps read. Its value is not stored.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub again: bool,
    /// Shared state that it changes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<String>,
    /// Shared state that it reads.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reads: Vec<String>,
    /// Files that it appends to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub adds: Vec<String>,
    /// What its arguments need from the metadata catalogue, and those of its dependencies, which may be computed again.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub mymdc: BTreeSet<MymdcField>,
}

impl PlannedStep {
    /// Whether its task stores its value.
    pub fn is_stored(&self) -> bool {
        !self.transient && !self.again
    }
}

/// Why a variable runs, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedVariable {
    /// The variable.
    pub name: String,
    /// Why it runs.
    pub why: Why,
    /// The task that computes it, the first if there are several.
    pub task: usize,
    /// Further tasks that compute it too, because its value cannot be restored (only for transient variables).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also_in: Vec<usize>,
    /// Why it runs there.
    pub place_reason: PlaceReason,
    /// The task of its command, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command_task: Option<usize>,
}

/// Why a variable runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "because", rename_all = "snake_case")]
pub enum Why {
    /// It was selected.
    Selected,
    /// It was not selected, but these variables need its value.
    NeededBy {
        /// Direct dependents, in the order of the file.
        names: Vec<String>,
    },
}

/// Why a variable runs where it does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "because", rename_all = "snake_case")]
pub enum PlaceReason {
    /// Nothing requires a Slurm job.
    Local,
    /// It has `cluster=True`.
    Declared,
    /// It depends on a variable with `cluster=True`.
    PromotedBy {
        /// The nearest such variable.
        dependency: String,
    },
    /// It would run in a Slurm job, but Slurm is not available.
    NoSlurm {
        /// The variable with `cluster=True`: itself or a dependency.
        declared_by: String,
    },
    /// It is transient: its value cannot be restored, so it is computed where it is used.
    BesideDependents {
        /// Dependents in cluster tasks, in the order of the file.
        names: Vec<String>,
    },
}

/// A requested variable that cannot run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// The variable.
    pub name: String,
    /// The reason.
    pub reason: LeftOutReason,
}

/// Why a requested variable cannot run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "because", rename_all = "snake_case")]
pub enum LeftOutReason {
    /// The run has no raw data any more, and the variable, or one of its dependencies, was computed when it had.
    NoRawData,
    /// The run has no proc data.
    NoProcData {
        /// The variable with `data="proc"`: itself or a dependency.
        declared_by: String,
    },
}

/// Plans one run: selects variables, adds dependencies, removes those that cannot run, and splits the rest into tasks.
///
/// # Errors
/// The selection contains names that do not exist.
pub fn plan(dag: &Dag, request: &Request) -> Result<Plan, SelectError> {
    let chosen = select(dag, &request.selection, request.availability, &request.stored)?;
    let (tasks, variables) = cut(dag, &chosen, request);
    let mut seen = HashSet::new();
    let forget = request
        .stored
        .iter()
        .filter(|name| *name != "start_time" && dag.get(name).is_none_or(|variable| variable.transient))
        .filter(|name| seen.insert(name.as_str()))
        .cloned()
        .collect();
    Ok(Plan {
        data: match (request.availability.raw, request.has_proc()) {
            (_, false) => RunData::Raw,
            (true, true) => RunData::All,
            (false, true) => RunData::Proc,
        },
        tasks,
        variables,
        left_out: chosen.left_out,
        unmatched: chosen.unmatched,
        forget,
    })
}
