//! A variable as its context file declares it: everything but the function itself.

use serde::{Deserialize, Serialize};

use crate::{JobSpec, Resources};

/// Which data a variable needs, and which data a trigger announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunData {
    /// Raw data.
    Raw,
    /// Calibrated data.
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
    /// Whether the argument has a default value.
    #[serde(default)]
    pub has_default: bool,
}

/// Meaning of an annotation.
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
    /// Parses the annotation.
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

/// State outside of a function that it uses: module state that is changed while variables are computed, or a file with a fixed
/// name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateUse {
    /// Name of the state for users: `TABLE`, `helper.CACHE`, `file scratch.npy`. Equal names denote the same state.
    pub name: String,
    /// The function, or something it calls, changes it.
    #[serde(default)]
    pub changes: bool,
    /// The function's value depends on what other functions stored in it.
    #[serde(default)]
    pub reads: bool,
    /// Its users are computed one after another in one process, but nothing has to be executed again for it (a cache refills
    /// itself).
    #[serde(default)]
    pub together: bool,
    /// A file that it appends to or updates: executing it a second time would add the data twice.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub adds: bool,
    /// Line of the change, otherwise of the read (from 1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// The file, if it is not the context file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
}

/// A variable as declared, reported by the context host as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VariableSpec {
    /// `foo`, or `group.foo`.
    pub name: String,
    /// The column's title (default: the name).
    pub title: String,
    /// The docstring or `description=`.
    #[serde(default)]
    pub description: Option<String>,
    /// Name of the numpy function that reduces the value.
    #[serde(default)]
    pub summary: Option<String>,
    /// `data=` as written; `None` if omitted (promotion may then raise it to proc).
    #[serde(default)]
    pub data: Option<RunData>,
    /// `cluster=True`.
    #[serde(default)]
    pub cluster: bool,
    /// Requested resources; only relevant if it runs in a Slurm job.
    #[serde(default)]
    pub resources: Resources,
    /// The command that it runs in its own Slurm job, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobSpec>,
    /// Tags, in order.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Passed to dependents, never stored.
    #[serde(default)]
    pub transient: bool,
    /// Physical units.
    #[serde(default)]
    pub units: Option<String>,
    /// Annotated arguments, in order, without the run itself.
    #[serde(default)]
    pub arguments: Vec<Argument>,
    /// Line of the function (from 1, in the context file unless `file` is set).
    #[serde(default)]
    pub line: Option<u32>,
    /// The file, if it is not the context file.
    #[serde(default)]
    pub file: Option<String>,
    /// Fingerprint of the function, the functions it calls and the globals it reads (hex).
    #[serde(default)]
    pub fingerprint: String,
    /// Shared state that it uses and that some variable changes, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub state: Vec<StateUse>,
}

impl VariableSpec {
    /// A variable that declares nothing but its name.
    pub fn new(name: impl Into<String>) -> Self {
        let name = name.into();
        VariableSpec {
            title: name.clone(),
            name,
            description: None,
            summary: None,
            data: None,
            cluster: false,
            resources: Resources::default(),
            job: None,
            tags: Vec::new(),
            transient: false,
            units: None,
            arguments: Vec::new(),
            line: None,
            file: None,
            fingerprint: String::new(),
            state: Vec::new(),
        }
    }
}
