//! Requests of users: `amore reprocess …`, in this process or handed over by another one.

use std::collections::{BTreeMap, BTreeSet};

use amore_model::{JobId, Proposal, Run, RunData, Urgency};
use amore_plan::Selection;
use serde::{Deserialize, Serialize};

use crate::{
    failure::Failure,
    site::{self, RunOnDisk},
};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Runs {
    /// All runs in the database.
    All,
    These(BTreeSet<Run>),
}

/// A user's request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserRequest {
    pub runs: Runs,
    /// The proposal, if it is not the database's own.
    pub proposal: Option<Proposal>,
    /// `--match`.
    pub matches: Vec<String>,
    /// `--var`.
    pub names: Vec<String>,
    /// `--mock`.
    pub mock: bool,
    /// Do not compute anything, but cancel the unfinished tasks of the run with this number, or of this job.
    #[serde(default)]
    pub cancel: Option<JobId>,
}

/// A request with more runs is a bulk request: nobody waits for a particular one.
const BULK_RUNS: usize = 50;

impl UserRequest {
    /// The urgency of a request with this many runs.
    pub fn urgency(&self, runs: usize) -> Urgency {
        if self.runs == Runs::All || runs > BULK_RUNS { Urgency::Bulk } else { Urgency::Asked }
    }

    /// Whether the run is requested; for all runs, whether it may be.
    pub fn names_run(&self, run: Run) -> bool {
        match &self.runs {
            Runs::All => true,
            Runs::These(runs) => runs.contains(&run),
        }
    }

    /// The requested variables.
    pub fn selection(&self) -> Selection {
        Selection {
            run_data: RunData::All,
            cluster: None,
            matches: self.matches.clone(),
            names: self.names.clone(),
        }
    }
}

/// The existing runs of a request, with their data, and the missing ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResolvedRuns {
    pub runs: Vec<(Proposal, Run, RunOnDisk)>,
    /// Requested, but missing.
    pub missing: Vec<Run>,
}

/// Finds the runs. `known` are the runs in the database, `own` is its proposal.
///
/// # Errors
/// When the proposal's directory cannot be found or listed.
pub fn resolve(
    request: &UserRequest,
    own: Proposal,
    known: &[(Proposal, Run)],
) -> Result<ResolvedRuns, Failure> {
    let wanted: BTreeSet<(Proposal, Run)> = match &request.runs {
        Runs::All => known
            .iter()
            .copied()
            .filter(|(proposal, _)| request.proposal.is_none_or(|only| only == *proposal))
            .collect(),
        Runs::These(runs) => {
            let proposal = request.proposal.unwrap_or(own);
            runs.iter().map(|run| (proposal, *run)).collect()
        }
    };
    let mut resolved = ResolvedRuns::default();
    if request.mock {
        let everything = RunOnDisk { raw: true, proc: true };
        resolved.runs = wanted.into_iter().map(|(proposal, run)| (proposal, run, everything)).collect();
        return Ok(resolved);
    }
    let mut on_disk: BTreeMap<Proposal, BTreeMap<Run, RunOnDisk>> = BTreeMap::new();
    for (proposal, run) in wanted {
        let runs = match on_disk.entry(proposal) {
            std::collections::btree_map::Entry::Occupied(found) => found.into_mut(),
            std::collections::btree_map::Entry::Vacant(empty) => {
                empty.insert(site::runs_on_disk(&site::find_proposal(proposal)?)?)
            }
        };
        match runs.get(&run) {
            Some(there) if there.raw || there.proc => resolved.runs.push((proposal, run, *there)),
            _ => resolved.missing.push(run),
        }
    }
    Ok(resolved)
}
