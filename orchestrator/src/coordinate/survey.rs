//! What a request is about: which of its runs exist, what they have, and what is stored of them.

use std::{collections::BTreeMap, sync::Arc};

use amore_core::{Survey, TableNotice, request::Compute};
use amore_model::{DatabaseDir, Proposal, VariableSpec};
use amore_plan::Availability;
use amore_run_table::{Ownership, RunTable};

use super::owner;
use crate::{
    collect::about_table,
    dispatch::slurm::script,
    failure::Failure,
    trigger::user_request::{ResolvedRuns, resolve},
};

/// What the survey needs.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) dir: DatabaseDir,
    pub(super) proposal: Proposal,
    pub(super) table: Arc<RunTable>,
    pub(super) ownership: Ownership,
    /// Jobs may be made.
    pub(super) with_jobs: bool,
    pub(super) compute: Compute,
    pub(super) variables: Vec<VariableSpec>,
}

/// Finds the runs, and brings the table's list of variables up to date.
///
/// # Errors
/// The table cannot be read or written, or the proposal's data cannot be found.
pub(super) async fn survey(wanted: Wanted) -> Result<Survey, Failure> {
    let Wanted { dir, proposal, table, ownership, with_jobs, compute, variables } = wanted;
    let rows = owner::rows(&variables);
    let changes = table.update_variables(&ownership, &rows).await.map_err(|error| owner::failed(&error))?;
    let notices = about_table(&changes.refused, changes.truncated.as_ref());
    let known = table.runs().await.map_err(|error| Failure::from_error(&error))?;
    let known: Vec<_> = known.into_iter().collect();
    let stored = table.context_names().await.map_err(|error| owner::failed(&error))?;
    let found = tokio::task::spawn_blocking(move || {
        let resolved = resolve(&compute, proposal, &known)?;
        let no_jobs = if with_jobs { can_make_jobs(&dir).err() } else { None };
        Ok::<_, Failure>((resolved, no_jobs))
    });
    let (ResolvedRuns { runs, missing }, no_jobs) =
        found.await.map_err(|error| Failure::from_error(&error))??;
    Ok(Survey {
        runs: runs
            .into_iter()
            .map(|(proposal, run, on_disk)| {
                ((proposal, run), Availability { raw: on_disk.raw, proc: on_disk.proc })
            })
            .collect(),
        missing,
        stored: stored.into_iter().collect::<BTreeMap<_, _>>(),
        notices: notices
            .into_iter()
            .map(|found| TableNotice { notice: found.notice, about_view: found.about_view })
            .collect(),
        no_jobs: no_jobs.map(Into::into),
    })
}

/// Can jobs be made at all? The folder of results is created here, before a job can: a site's job script may have a umask
/// that would hide it from those who read what we write.
fn can_make_jobs(dir: &DatabaseDir) -> Result<(), Failure> {
    let directory = dir.path();
    let folder = dir.extracted_data();
    std::fs::create_dir_all(&folder)
        .map_err(|error| Failure::new(format!("cannot create {}: {error}", folder.display())))?;
    script::check(directory).map_err(|error| {
        Failure::from_error(&error)
            .hint("see docs/slurm.md for what a template must have; `amore plan RUN --script` tries it")
    })?;
    if directory.as_os_str().as_encoded_bytes().contains(&b'\\') {
        return Err(Failure::new(format!(
            "Slurm cannot write logs into {}: a backslash in the name",
            directory.display()
        ))
        .hint("rename the directory, or compute here with --direct"));
    }
    Ok(())
}
