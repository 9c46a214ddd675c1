//! The variables of the context file.

use std::time::Duration;

use amore_intake::ArrivedData;
use amore_model::{Argument, MymdcField, Resources, RunData, VariableSpec};

use crate::Generator;

/// Memory that every job has.
pub(super) const SMALL_MIB: u64 = 100;
/// More memory than any node has.
const TOO_LARGE_MIB: u64 = 6000;

/// How the function of a variable ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// With a value.
    Value,
    /// With `None`.
    Nothing,
    /// With an exception.
    Error,
    /// With a skip, which it decides itself.
    Skip,
    /// It needs more memory than any node has.
    TooLarge,
    /// It kills its job, each time.
    EndsJob,
}

/// A variable of the context file.
#[derive(Clone, Debug)]
pub struct Variable {
    /// Its declaration in the context file.
    pub spec: VariableSpec,
    /// Variables that it depends on.
    pub needs: Vec<String>,
    /// How its function ends.
    pub behaviour: Behaviour,
    /// How long its function takes.
    pub takes: Duration,
    /// Memory that it needs, in MiB.
    pub memory_mib: u64,
}

impl Variable {
    /// The data that it needs.
    pub fn needs_data(&self) -> ArrivedData {
        match self.spec.data {
            Some(RunData::Proc) => ArrivedData::Proc,
            _ => ArrivedData::Raw,
        }
    }
}

pub(super) fn variables(chance: &mut Generator, two_clusters: bool) -> Vec<Variable> {
    let number = 2 + chance.below(5);
    let mut variables: Vec<Variable> = Vec::new();
    for at in 0..number {
        let name = format!("v{at}");
        let in_job = chance.chance(1, 2);
        let needs: Vec<String> =
            (0..at).filter(|_| chance.chance(1, 3)).map(|other| format!("v{other}")).collect();
        let behaviour = match chance.below(10) {
            0 => Behaviour::Nothing,
            1 => Behaviour::Error,
            2 => Behaviour::Skip,
            _ => Behaviour::Value,
        };
        let resources = Resources {
            mem_mib: (in_job && chance.chance(1, 4)).then_some(1000),
            cpus: (in_job && chance.chance(1, 3)).then_some(2),
            time_minutes: (in_job && chance.chance(1, 6)).then_some(1),
            ..Resources::default()
        };
        let takes = match chance.below(4) {
            0 => chance.between(Duration::from_millis(5), Duration::from_millis(200)),
            1 | 2 => chance.between(Duration::from_millis(200), Duration::from_secs(5)),
            _ => chance.between(Duration::from_secs(5), Duration::from_secs(50)),
        };
        // Some ask for less time than they need.
        let takes = if resources.time_minutes.is_some() && chance.chance(1, 4) {
            chance.between(Duration::from_secs(70), Duration::from_secs(200))
        } else {
            takes
        };
        let spec = VariableSpec {
            name: name.clone(),
            title: name,
            description: None,
            summary: None,
            data: None,
            cluster: in_job,
            resources,
            job: None,
            tags: Vec::new(),
            transient: !in_job && chance.chance(1, 10),
            units: None,
            arguments: needs
                .iter()
                .map(|on| Argument { name: on.clone(), annotation: format!("var#{on}"), has_default: false })
                .chain(of_catalogue(at))
                .collect(),
            line: Some(1),
            file: None,
            fingerprint: String::new(),
            state: Vec::new(),
        };
        // If Slurm chooses the cluster, it is not known how much memory there is.
        let large = in_job && !two_clusters;
        let (memory_mib, behaviour) = match chance.below(40) {
            0 if large => (TOO_LARGE_MIB, Behaviour::TooLarge),
            1..=4 if large => (1500, behaviour),
            5 if in_job => (SMALL_MIB, Behaviour::EndsJob),
            _ => (SMALL_MIB, behaviour),
        };
        variables.push(Variable { spec, needs, behaviour, takes, memory_mib });
    }
    variables
}

/// Every third variable needs something of the metadata catalogue.
fn of_catalogue(at: u64) -> Option<Argument> {
    let field = MymdcField::ALL[(at % 2) as usize];
    let annotation = format!("mymdc#{field}");
    (at % 3 == 1).then(|| Argument { name: field.to_string(), annotation, has_default: false })
}
