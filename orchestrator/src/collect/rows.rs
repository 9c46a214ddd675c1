//! Converts the content of run files to rows of the table.

use std::collections::{BTreeMap, BTreeSet};

use amore_core::activity::StoredCell;
use amore_model::{Notice, Proposal, Run};
use amore_results::{MergeReport, ReducedRow, ReducedValue};
use amore_run_table::{
    CellKind, CellUpdate, CellValue, Ownership, Refused, RunTable, RunUpdate, SqlValue, ViewTruncated,
};

use super::{CollectError, CollectedNotice, stored_cells};
use crate::{clock, database_dir::DatabaseDir};

/// What was written to the table.
#[derive(Debug, Default)]
pub struct Written {
    /// The cells of each run, as they are now.
    pub cells: BTreeMap<(Proposal, Run), Vec<StoredCell>>,
    /// Messages for the user.
    pub notices: Vec<CollectedNotice>,
}

/// Writes the results of merges, all runs in one transaction.
pub async fn store(
    dir: &DatabaseDir,
    table: &RunTable,
    ownership: &Ownership,
    reports: &[(Proposal, Run, &MergeReport)],
) -> Result<Written, CollectError> {
    let now = clock::now();
    let updates: Vec<RunUpdate> =
        reports.iter().map(|(proposal, run, report)| update(*proposal, *run, report, now)).collect();
    if updates.is_empty() {
        return Ok(Written::default());
    }
    if !dir.run_table().exists() {
        return Err(CollectError::TableGone { path: dir.run_table() });
    }
    let stored = table.store(ownership, &updates, now).await?;
    let refused: BTreeSet<&str> = stored.refused.iter().map(Refused::name).collect();
    let cells =
        updates.into_iter().map(|update| ((update.proposal, update.run), stored_cells::of(update, &refused)));
    Ok(Written { cells: cells.collect(), notices: about_table(&stored.refused, stored.truncated.as_ref()) })
}

/// Messages to the user about a change of the table.
pub fn about_table(refused: &[Refused], truncated: Option<&ViewTruncated>) -> Vec<CollectedNotice> {
    let refused = refused
        .iter()
        .map(|refused| CollectedNotice { notice: Notice::warning(refused.to_string()), about_view: false });
    let truncated = truncated
        .map(|truncated| CollectedNotice { notice: Notice::note(truncated.to_string()), about_view: true });
    refused.chain(truncated).collect()
}

fn update(proposal: Proposal, run: Run, report: &MergeReport, now: f64) -> RunUpdate {
    let mut values: Vec<CellUpdate> =
        report.rows.iter().map(|row| CellUpdate { name: row.name.clone(), kind: kind(row, now) }).collect();
    values.extend(
        report.without_row.iter().map(|name| CellUpdate { name: name.clone(), kind: CellKind::Remove }),
    );
    RunUpdate { proposal, run, start_time: report.start_time, mock_start: report.mock_start, values }
}

/// The `provenance` column: what DAMNIT writes there for values of a context file.
const CONTEXT_FILE: &str = "context.py";

fn kind(row: &ReducedRow, now: f64) -> CellKind {
    let provenance = match &row.provenance {
        // For other programs, the task contains their own description.
        Some(foreign) if foreign.foreign => foreign.task.clone(),
        Some(_) => CONTEXT_FILE.to_owned(),
        None => String::new(),
    };
    let error: Option<ErrorAttributes> = row
        .attributes
        .as_deref()
        .filter(|_| row.value == ReducedValue::Null)
        .and_then(|text| serde_json::from_str(text).ok());
    if let Some(ErrorAttributes { error, error_cls }) = error {
        return CellKind::Error { class: error_cls, message: error, provenance, timestamp: now };
    }
    let value = match &row.value {
        ReducedValue::Null => return CellKind::Remove,
        ReducedValue::Int(number) => SqlValue::Int(*number),
        ReducedValue::Real(number) => SqlValue::Real(*number),
        ReducedValue::Text(text) => SqlValue::Text(text.clone()),
        ReducedValue::Png(bytes) | ReducedValue::Numpy(bytes) => SqlValue::Blob(bytes.clone()),
        ReducedValue::Complex(bytes) => SqlValue::Blob(bytes.to_vec()),
    };
    CellKind::Value(CellValue {
        value,
        max_diff: row.max_diff,
        summary_type: row.summary_type.clone(),
        summary_method: row.summary_method.clone(),
        attributes: row.attributes.clone(),
        provenance,
        timestamp: now,
    })
}

/// The attributes of an error, as DAMNIT writes them.
#[derive(serde::Deserialize)]
struct ErrorAttributes {
    error: String,
    error_cls: String,
}

/// Messages to the user about a merge.
pub fn notices(report: &MergeReport, run: Run) -> Vec<CollectedNotice> {
    let aside = report.set_aside.iter().map(|(path, why)| {
        format!("results of run {run} could not be read and were moved to {}: {why}", path.display())
    });
    let waiting =
        report.waiting.iter().map(|(path, why)| format!("{} waits to be collected: {why}", path.display()));
    let fewer = report.fewer_readers.iter().map(|fewer| {
        format!(
            "fewer people than before can read the run file of run {run}: its array file {} is {}; ask its owner to change its permissions (chmod), then run `chmod` on the run file",
            fewer.path.display(),
            fewer.rights
        )
    });
    let warning = |message| CollectedNotice { notice: Notice::warning(message), about_view: false };
    aside.chain(waiting).chain(fewer).map(warning).collect()
}
