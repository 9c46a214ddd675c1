//! Short ways to declare variables.

use amore_model::{Argument, JobSpec, Resources, RunData, VariableSpec};

/// A variable without options. Its line is ten times the position of its first letter in the alphabet.
pub(crate) fn variable(name: &str) -> VariableSpec {
    let letter = name.bytes().next().filter(u8::is_ascii_lowercase);
    VariableSpec { line: letter.map(|c| 10 * u32::from(c - b'a' + 1)), ..VariableSpec::new(name) }
}

/// Options of a variable.
pub(crate) trait Declare {
    /// Arguments annotated with these.
    fn with(self, annotations: &[&str]) -> Self;
    /// `data=`
    fn data(self, data: RunData) -> Self;
    /// `cluster=True`
    fn cluster(self) -> Self;
    /// `cluster=True, cpus=`
    fn cpus(self, cpus: u32) -> Self;
    /// `cluster=True, partition=`
    fn partition(self, partition: &str) -> Self;
    /// `job=SlurmJob([...])`
    fn job(self, command: &[&str]) -> Self;
    /// `transient=True`
    fn transient(self) -> Self;
    /// `title=`
    fn titled(self, title: &str) -> Self;
}

impl Declare for VariableSpec {
    fn with(mut self, annotations: &[&str]) -> Self {
        self.arguments = annotations
            .iter()
            .enumerate()
            .map(|(number, annotation)| Argument {
                name: format!("a{number}"),
                annotation: (*annotation).to_owned(),
                has_default: false,
            })
            .collect();
        self
    }

    fn data(mut self, data: RunData) -> Self {
        self.data = Some(data);
        self
    }

    fn cluster(mut self) -> Self {
        self.cluster = true;
        self
    }

    fn cpus(mut self, cpus: u32) -> Self {
        self.cluster = true;
        self.resources.cpus = Some(cpus);
        self
    }

    fn partition(mut self, partition: &str) -> Self {
        self.cluster = true;
        self.resources.partition = Some(partition.to_owned());
        self
    }

    fn job(mut self, command: &[&str]) -> Self {
        self.job = Some(JobSpec {
            command: command.iter().map(|word| (*word).to_owned()).collect(),
            resources: Resources { cpus: Some(32), ..Resources::default() },
            check: true,
            defaults: std::collections::BTreeMap::new(),
        });
        self
    }

    fn transient(mut self) -> Self {
        self.transient = true;
        self
    }

    fn titled(mut self, title: &str) -> Self {
        title.clone_into(&mut self.title);
        self
    }
}
