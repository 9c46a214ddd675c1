//! Which variables run: those requested, minus those without data, plus dependencies.

use std::{collections::HashSet, fmt};

use amore_model::RunData;
use thiserror::Error;

use crate::{
    Availability, Dag, LeftOut, LeftOutReason, Selection,
    nearest::{Meant, Nearest},
    numbers::{NodeNo, Table},
};

/// An invalid selection; the user must change it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SelectError {
    /// These names do not exist.
    #[error("{}", unknown_names(.0))]
    UnknownNames(Vec<UnknownName>),
}

/// An unknown name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownName {
    /// The name as given.
    pub given: String,
    /// The existing name that was probably meant.
    pub nearest: Option<String>,
    /// Whether a title was given, and `nearest` is the name of its variable.
    pub is_title: bool,
}

impl fmt::Display for UnknownName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no variable is named {:?}", self.given)?;
        match (&self.nearest, self.is_title) {
            (Some(name), true) => write!(f, " (it is the title of {name})"),
            (Some(name), false) => write!(f, " (did you mean {name}?)"),
            (None, _) => Ok(()),
        }
    }
}

fn unknown_names(names: &[UnknownName]) -> String {
    names.iter().map(UnknownName::to_string).collect::<Vec<_>>().join("; ")
}

/// The variables that run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chosen {
    /// Requested, and can run.
    pub(crate) wanted: Table<NodeNo, bool>,
    /// Requested, or needed by a requested variable.
    pub(crate) runs: Table<NodeNo, bool>,
    pub(crate) left_out: Vec<LeftOut>,
    pub(crate) unmatched: Vec<String>,
}

pub(crate) fn select(
    dag: &Dag,
    selection: &Selection,
    availability: Availability,
    stored: &[String],
) -> Result<Chosen, SelectError> {
    let (mut wanted, unmatched) = if !selection.names.is_empty() {
        (named(dag, &selection.names)?, Vec::new())
    } else if !selection.matches.is_empty() {
        titled(dag, &selection.matches)
    } else {
        (dag.table(true), Vec::new())
    };
    let mut left_out = Vec::new();
    let needs_raw = match (availability.raw, availability.proc && selection.run_data != RunData::Raw) {
        (true, _) => dag.table(false),
        (false, true) => needs_raw(dag, stored),
        (false, false) => dag.table(true),
    };
    for (node, wanted) in wanted.iter_mut().filter(|(_, wanted)| **wanted) {
        let proc = dag.promotion.proc[node];
        let right_data = match selection.run_data {
            RunData::All => true,
            RunData::Raw => proc.is_none(),
            RunData::Proc => proc.is_some(),
        };
        let right_place = selection
            .cluster
            .is_none_or(|cluster| cluster == (dag.needs_cluster(node) || dag.variable(node).job.is_some()));
        if !(right_data && right_place) {
            *wanted = false;
            continue;
        }
        let reason = match proc {
            _ if needs_raw[node] => LeftOutReason::NoRawData,
            Some(origin) if !availability.proc => {
                LeftOutReason::NoProcData { declared_by: dag.name(origin).to_owned() }
            }
            _ => continue,
        };
        *wanted = false;
        left_out.push(LeftOut { name: dag.name(node).to_owned(), reason });
    }

    // Dependencies need no data that their dependents do not need: none of them is excluded.
    let mut runs = wanted.clone();
    for &node in dag.order().iter().rev() {
        if runs[node] {
            for &need in dag.needs(node) {
                runs[need] = true;
            }
        }
    }
    Ok(Chosen { wanted, runs, left_out, unmatched })
}

/// Variables that are not computed for a run with only calibrated data: variables for raw data that were computed before,
/// because their values would be replaced by worse ones; and their dependents. Others may find the data they need.
fn needs_raw(dag: &Dag, stored: &[String]) -> Table<NodeNo, bool> {
    let stored: HashSet<&str> = stored.iter().map(String::as_str).collect();
    let mut needs = dag.table(false);
    for &node in dag.order() {
        needs[node] = (dag.promotion.proc[node].is_none() && stored.contains(dag.name(node)))
            || dag.needs(node).iter().any(|&need| needs[need]);
    }
    needs
}

/// Checks that there is a variable with each of these names. [`crate::plan`] does the same for a run.
///
/// # Errors
/// [`SelectError::UnknownNames`].
pub fn check_names(dag: &Dag, names: &[String]) -> Result<(), SelectError> {
    named(dag, names).map(drop)
}

fn named(dag: &Dag, names: &[String]) -> Result<Table<NodeNo, bool>, SelectError> {
    let mut wanted = dag.table(false);
    let mut nearest = Nearest::new(dag.variables());
    let mut unknown = Vec::new();
    for name in names {
        match dag.find(name) {
            Some(node) => wanted[node] = true,
            None => {
                let (near, is_title) = match nearest.to(name) {
                    Some(Meant::Name(near)) => (Some(near), false),
                    Some(Meant::Title(near)) => (Some(near), true),
                    None => (None, false),
                };
                unknown.push(UnknownName { given: name.clone(), nearest: near.map(str::to_owned), is_title });
            }
        }
    }
    if unknown.is_empty() { Ok(wanted) } else { Err(SelectError::UnknownNames(unknown)) }
}

fn titled(dag: &Dag, matches: &[String]) -> (Table<NodeNo, bool>, Vec<String>) {
    let lower: Vec<String> = matches.iter().map(|text| text.to_lowercase()).collect();
    let mut used = vec![false; matches.len()];
    let wanted: Vec<bool> = dag
        .variables()
        .iter()
        .map(|variable| {
            let title = variable.title.to_lowercase();
            let mut any = false;
            for (used, text) in used.iter_mut().zip(&lower) {
                if title.contains(text) {
                    *used = true;
                    any = true;
                }
            }
            any
        })
        .collect();
    let unmatched =
        matches.iter().zip(used).filter(|(_, used)| !used).map(|(text, _)| text.clone()).collect();
    (wanted.into(), unmatched)
}
