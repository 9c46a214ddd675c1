//! A variable as its context file declares it: everything but the function itself.

use serde::{Deserialize, Serialize};

use crate::{JobSpec, Resources};

/// Which data a variable needs, and which data a trigger announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunData {
    /// As recorded.
    Raw,
    /// Calibrated.
    Proc,
    /// Both; only for triggers and selections.
    All,
}

/// One annotated argument of a variable's function.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Argument {
    /// The argument's name.
    pub name: String,
    /// The annotation as written, after `self#` has been resolved: `var#foo`, `meta#run_number`.
    pub annotation: String,
    /// Has the argument a default value?
    #[serde(default)]
    pub has_default: bool,
}

/// What an annotation asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dependency<'a> {
    /// `var#name` or `var#pattern` (shell wildcards).
    Variable(&'a str),
    /// `param#name`: a value given from outside.
    Parameter(&'a str),
    /// `mymdc#field`: from the metadata catalogue.
    Mymdc(&'a str),
    /// `meta#word`: of the run itself.
    Meta(&'a str),
    /// `job#outcome`: how the variable's own Slurm job ended.
    Job(&'a str),
    /// None of these.
    Unknown(&'a str),
}

impl Argument {
    /// Reads the annotation.
    pub fn dependency(&self) -> Dependency<'_> {
        match self.annotation.split_once('#') {
            Some(("var", name)) => Dependency::Variable(name),
            Some(("param", name)) => Dependency::Parameter(name),
            Some(("mymdc", field)) => Dependency::Mymdc(field),
            Some(("meta", word)) => Dependency::Meta(word),
            Some(("job", word)) => Dependency::Job(word),
            _ => Dependency::Unknown(&self.annotation),
        }
    }
}

/// State outside of a function that it uses: something in the module that is changed while variables are computed, or a
/// file of a fixed name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateUse {
    /// Which state, as users know it: `TABLE`, `helper.CACHE`, `file scratch.npy`. Equal names are the same state.
    pub name: String,
    /// The function, or what it calls, changes it.
    #[serde(default)]
    pub changes: bool,
    /// The function's value depends on what others have left in it: without them it would be another one.
    #[serde(default)]
    pub reads: bool,
    /// Whoever uses it is to be computed in one process, one after the other, but nothing has to be executed again for it
    /// (a cache, which fills itself again).
    #[serde(default)]
    pub together: bool,
    /// A file to which it adds, or which it updates: executed a second time, it would add a second time.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub adds: bool,
    /// Where it is changed, or else read (line from 1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// The file, where it is not the context file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
}

/// A variable as declared, reported by the context host as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VariableSpec {
    /// `foo`, or `group.foo`.
    pub name: String,
    /// The column's title; the name where none was given.
    pub title: String,
    /// The docstring or `description=`.
    #[serde(default)]
    pub description: Option<String>,
    /// Name of the numpy function that reduces the value.
    #[serde(default)]
    pub summary: Option<String>,
    /// `data=` as written; `None` where it was left out (then promotion may raise it to proc).
    #[serde(default)]
    pub data: Option<RunData>,
    /// `cluster=True`.
    #[serde(default)]
    pub cluster: bool,
    /// What it asks Slurm for; means something only where it runs in a Slurm job.
    #[serde(default)]
    pub resources: Resources,
    /// The Slurm job that is its work, if it has one of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobSpec>,
    /// Tags, in order.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Handed to dependents, never stored.
    #[serde(default)]
    pub transient: bool,
    /// Physical units.
    #[serde(default)]
    pub units: Option<String>,
    /// Annotated arguments, in order, without the run itself.
    #[serde(default)]
    pub arguments: Vec<Argument>,
    /// Where the function stands (line from 1, in the context file unless `file` says otherwise).
    #[serde(default)]
    pub line: Option<u32>,
    /// The file, where it is not the context file.
    #[serde(default)]
    pub file: Option<String>,
    /// Fingerprint of the function, what it calls and which globals it reads (hex).
    #[serde(default)]
    pub fingerprint: String,
    /// State that it uses and that some variable changes, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub state: Vec<StateUse>,
}
