//! What is asked for, and the plan that answers: values without behaviour, and the one function that leads from one to
//! the other.

use std::collections::HashSet;

use amore_model::{Argument, JobSpec, Resources, RunData};
use serde::{Deserialize, Serialize};

use crate::{Dag, SelectError, cut::cut, select::select};

/// Which variables are wanted. The default is all of them.
///
/// Dependencies are added back afterwards. `names` rules over `matches`: if names are given, titles are not looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    /// `All`, or only the variables that need this data (after promotion): what a trigger announces.
    pub run_data: RunData,
    /// Only variables that run in Slurm jobs (`true`), or only others (`false`).
    #[serde(default)]
    pub cluster: Option<bool>,
    /// Texts, one of which must be part of the title; case does not count.
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

/// Which data of the run stands on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Availability {
    /// A raw directory. Without it variables of raw data keep what was computed of them.
    pub raw: bool,
    /// A proc directory.
    pub proc: bool,
}

/// All that a plan for one run depends on beside the context file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// What is wanted.
    pub selection: Selection,
    /// What the run has. A fake run (`--mock`) has everything.
    pub availability: Availability,
    /// Can Slurm jobs be started? If not, everything runs locally.
    pub cluster_available: bool,
    /// Variables that need no cluster go into one Slurm job of the run too, which gets these resources; `None`: they are
    /// computed locally. Without Slurm they are in any case.
    #[serde(default)]
    pub noncluster_job: Option<Resources>,
    /// Into how many tasks independent parts of the local work may go; 0 counts as 1.
    pub parts: usize,
    /// Names of values that the run's file holds now (`start_time` aside); those that no variable stores any more are
    /// to be dropped.
    #[serde(default)]
    pub stored: Vec<String>,
}

impl Request {
    /// Is the run opened with its proc data?
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

/// What is to be computed for one run, where and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Which data the run is to be opened with: raw only, or all.
    pub data: RunData,
    /// The tasks: those that need no cluster first, then a task for each Slurm job, then what needs no cluster and comes after
    /// jobs of variables. A task waits only for tasks before it.
    pub tasks: Vec<PlannedTask>,
    /// Every variable that runs, in topological order.
    pub variables: Vec<PlannedVariable>,
    /// Wanted variables that cannot run, in the order of the file.
    pub left_out: Vec<LeftOut>,
    /// Texts of `matches` that are part of no title.
    pub unmatched: Vec<String>,
    /// Names that the run's file holds and no variable stores any more.
    pub forget: Vec<String>,
}

/// One task: steps that run one after the other in one place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedTask {
    /// Where.
    pub place: Place,
    /// What the Slurm job is to have; nothing said for a local task, and for a job as it is set for the directory.
    #[serde(default)]
    pub resources: Resources,
    /// Why it is a task of its own.
    pub reason: TaskReason,
    /// What, dependencies first. None for the command of a variable.
    pub steps: Vec<PlannedStep>,
    /// The command of a variable that is all this task is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<PlannedJob>,
    /// Indices of the tasks that must have ended before, ascending.
    pub waits_for: Vec<usize>,
    /// Dependencies of the steps that an earlier task stores and this one reads from the run's file, in the order of
    /// the context file.
    pub given: Vec<String>,
    /// State that several of its steps use, and which therefore run in one process.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shares: Vec<SharedHere>,
}

/// State outside of functions that several steps of a task use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedHere {
    /// Which state.
    pub state: String,
    /// The steps, in order.
    pub variables: Vec<String>,
}

impl PlannedTask {
    /// What it computes, for people: names of variables, or `hits (its command)`.
    pub fn names(&self) -> Vec<String> {
        match &self.job {
            Some(job) => vec![format!("{} (its command)", job.variable)],
            None => self.own_steps().map(|step| step.name.clone()).collect(),
        }
    }

    /// The steps that are computed for their value, and not again for what they leave in the module.
    pub fn own_steps(&self) -> impl Iterator<Item = &PlannedStep> {
        self.steps.iter().filter(|step| !step.again)
    }

    /// Does it compute this variable, or execute its command?
    pub fn is_about(&self, name: &str) -> bool {
        self.own_steps().any(|step| step.name == name)
            || self.job.as_ref().is_some_and(|job| job.variable == name)
    }
}

/// The command of a variable, as a task of its own. A later task calls the function with the outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedJob {
    /// The variable.
    pub variable: String,
    /// Its command.
    pub spec: JobSpec,
    /// The arguments of its function, which placeholders may name.
    pub arguments: Vec<Argument>,
}

/// Why variables make a task of their own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "because", rename_all = "snake_case")]
pub enum TaskReason {
    /// They run here.
    Local,
    /// They need no cluster, but are to be computed in a Slurm job as well: there is one for all of those.
    NonCluster,
    /// They run in a Slurm job and ask for no resources: there is one job for all of those.
    Shared,
    /// As `Shared`, but they need values of jobs that themselves wait for that one.
    SharedLater {
        /// The shared task before this.
        earlier: usize,
    },
    /// They ask for these resources, and need one another's values if there are several.
    OwnResources,
    /// It is the command of a variable (`job=`).
    Command,
    /// They ask for different resources, but cannot be cut apart: the job gets the largest of each.
    Joined {
        /// The transient variables whose values tie them together.
        transient: Vec<String>,
    },
}

impl TaskReason {
    /// Says that these tie some of the task's variables together.
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
    /// Handed to dependents, never stored.
    pub transient: bool,
    /// Fingerprint of the function.
    pub fingerprint: String,
    /// Executed for what it leaves in the module, which later steps read. Its value is not stored.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub again: bool,
    /// State that it changes, of that which variables share.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<String>,
    /// State that it reads.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reads: Vec<String>,
    /// Of what it changes, files to which it adds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub adds: Vec<String>,
}

impl PlannedStep {
    /// Is its value to be stored by its task?
    pub fn is_stored(&self) -> bool {
        !self.transient && !self.again
    }
}

/// Why a variable runs, where, and why there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedVariable {
    /// The variable.
    pub name: String,
    /// Why it runs.
    pub why: Why,
    /// The task that computes it, the first if there are several.
    pub task: usize,
    /// Further tasks that compute it too, because its value cannot be read back (only for transient variables).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also_in: Vec<usize>,
    /// Why there.
    pub place_reason: PlaceReason,
    /// The task that is its command, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command_task: Option<usize>,
}

/// Why a variable runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "because", rename_all = "snake_case")]
pub enum Why {
    /// It was selected.
    Selected,
    /// It was not, but these variables that run need its value.
    NeededBy {
        /// Direct dependents, in the order of the file.
        names: Vec<String>,
    },
}

/// Why a variable runs where it runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "because", rename_all = "snake_case")]
pub enum PlaceReason {
    /// Nothing asks for a Slurm job.
    Local,
    /// It says `cluster=True`.
    Declared,
    /// It depends on a variable that says `cluster=True`.
    PromotedBy {
        /// The nearest that does.
        dependency: String,
    },
    /// It would run in a Slurm job, but there is no Slurm.
    NoSlurm {
        /// The variable that says `cluster=True`: itself or a dependency.
        declared_by: String,
    },
    /// It is transient: its value cannot be read back, so it is computed where it is used.
    BesideDependents {
        /// Dependents in cluster tasks, in the order of the file.
        names: Vec<String>,
    },
}

/// A variable that was wanted and cannot run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// The variable.
    pub name: String,
    /// Why.
    pub reason: LeftOutReason,
}

/// Why a wanted variable cannot run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "because", rename_all = "snake_case")]
pub enum LeftOutReason {
    /// The run has no raw data, and it has been computed when it had, or depends on what has.
    NoRawData,
    /// The run has no proc data.
    NoProcData {
        /// The variable that says `data="proc"`: itself or a dependency.
        declared_by: String,
    },
}

/// Plans one run: selects, adds dependencies back, leaves out what cannot run, cuts the rest into tasks.
///
/// # Errors
/// Names of the selection that no variable has.
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
