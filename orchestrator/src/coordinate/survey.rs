//! What a request refers to: which of its runs exist, their data, and their stored results.

use std::{collections::BTreeMap, io, path::PathBuf, sync::Arc};

use amore_core::{Survey, TableNotice, activity::ListedVariable, request::Compute};
use amore_model::{DatabaseDir, Proposal, VariableSpec};
use amore_plan::Availability;
use amore_run_table::{Ownership, RunTable, VariableChanges, VariableRow};

use super::{CoordinateError, error::refusal, owner};
use crate::{
    advice::Advice,
    collect::about_table,
    dispatch::slurm::script::{self, TemplateError},
    trigger::user_request::{ResolvedRuns, resolve},
};

/// Input of a survey.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) dir: DatabaseDir,
    pub(super) proposal: Proposal,
    pub(super) table: Arc<RunTable>,
    pub(super) ownership: Ownership,
    /// Whether Slurm jobs may be created.
    pub(super) with_jobs: bool,
    /// Whether user code is executed in a sandbox.
    pub(super) sandboxed: bool,
    pub(super) compute: Compute,
    pub(super) variables: Vec<VariableSpec>,
}

/// Finds the runs, and updates the table's list of variables.
///
/// # Errors
/// The table cannot be read or written, or the proposal's data cannot be found.
pub(super) async fn survey(wanted: Wanted) -> Result<Survey, CoordinateError> {
    let Wanted { dir, proposal, table, ownership, with_jobs, sandboxed, compute, variables } = wanted;
    let rows = owner::rows(&variables);
    let changes = table.update_variables(&ownership, &rows).await?;
    let notices = about_table(&changes.refused, changes.truncated.as_ref());
    let listed = listed(rows, &changes);
    let known = table.runs().await?;
    let known: Vec<_> = known.into_iter().collect();
    let stored = table.context_names().await?;
    let found = tokio::task::spawn_blocking(move || {
        let resolved = resolve(&compute, proposal, &known)?;
        let no_jobs = if with_jobs { can_make_jobs(&dir, sandboxed).err() } else { None };
        Ok::<_, CoordinateError>((resolved, no_jobs))
    });
    let (ResolvedRuns { runs, missing }, no_jobs) = found.await??;
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
        listed,
        no_jobs: no_jobs.as_ref().map(refusal),
    })
}

/// The variables that are new in the table's list, or have changed there.
fn listed(rows: Vec<VariableRow>, changes: &VariableChanges) -> Vec<ListedVariable> {
    let is_news =
        |row: &VariableRow| changes.added.contains(&row.name) || changes.changed.contains(&row.name);
    rows.into_iter()
        .filter(is_news)
        .map(|VariableRow { name, title, description, tags }| ListedVariable {
            name,
            title,
            description,
            tags,
            edited_as: None,
        })
        .collect()
}

/// Why a directory cannot have Slurm jobs.
#[derive(Debug, thiserror::Error)]
enum NoJobs {
    /// The folder of results cannot be created.
    #[error("cannot create {}: {source}", folder.display())]
    NoFolder { folder: PathBuf, source: io::Error },
    /// The job script template is invalid.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// Slurm replaces backslashes in the path of a log.
    #[error("Slurm cannot write logs into {}: a backslash in the name", directory.display())]
    Backslash { directory: PathBuf },
}

impl Advice for NoJobs {
    fn hint(&self) -> Option<String> {
        let hint = match self {
            NoJobs::NoFolder { .. } => return None,
            NoJobs::Template(_) => {
                "see docs/slurm.md for what a template must have; `amore plan RUN --script` tries it"
            }
            NoJobs::Backslash { .. } => "rename the directory, or compute here with --direct",
        };
        Some(hint.to_owned())
    }
}

/// Checks whether jobs can be created. It also creates the folder of results, before a job can: a site's job script may set
/// a umask that would hide the folder from users who read the results.
fn can_make_jobs(dir: &DatabaseDir, sandboxed: bool) -> Result<(), NoJobs> {
    let directory = dir.path();
    let folder = dir.extracted_data();
    std::fs::create_dir_all(&folder).map_err(|source| NoJobs::NoFolder { folder, source })?;
    script::check(directory, sandboxed)?;
    if directory.as_os_str().as_encoded_bytes().contains(&b'\\') {
        return Err(NoJobs::Backslash { directory: directory.to_owned() });
    }
    Ok(())
}
