//! Requests of users: `amore reprocess …`, in this process or handed over by another one. Their runs are found here.

use std::collections::{BTreeMap, BTreeSet};

use amore_core::request::{Compute, Runs};
use amore_model::{Proposal, Run};

use crate::site::{self, RunOnDisk, SiteError};

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
    request: &Compute,
    own: Proposal,
    known: &[(Proposal, Run)],
) -> Result<ResolvedRuns, SiteError> {
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
