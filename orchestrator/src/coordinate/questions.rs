//! Answers that only files can give: the context file's text, waiting fragments, earlier values, the end of a log.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::Path,
};

use amore_core::{ContextRead, Fragment, Refusal, RefusalKind, RunKey};
use amore_model::{DatabaseDir, PlanStamp};
use amore_results::StoredOutcome;
use amore_run_table::RunTable;
use amore_wire::task::ContextSource;

use super::CoordinateError;
use crate::{collect::FragmentNote, context_file, execution::Execution};

/// Maximum number of lines from the end of a log.
const TAIL_LINES: usize = 20;
/// Maximum number of bytes of them.
const TAIL_BYTES: u64 = 8 * 1024;

/// Reads the context file, and how it is executed. The inner error refuses the request.
///
/// # Errors
/// The table is lost.
pub(super) async fn read_context(
    dir: DatabaseDir,
    table: &RunTable,
) -> Result<Result<ContextRead, Refusal>, CoordinateError> {
    let execution = match Execution::read(table).await.map_err(CoordinateError::from) {
        Ok(execution) => execution,
        Err(error) if error.is_loss() => return Err(error),
        Err(error) => return Ok(Err(error.into_refusal())),
    };
    let read = tokio::task::spawn_blocking(move || read_text(&dir)).await?;
    Ok(read.map(|source| ContextRead { source, python: execution.python, limits: execution.limits }))
}

fn read_text(dir: &DatabaseDir) -> Result<ContextSource, Refusal> {
    context_file::read(&dir.context_file()).map_err(|problem| {
        let refusal = Refusal::new(problem.message).kind(RefusalKind::ContextFile);
        Refusal { hint: problem.hint, ..refusal }
    })
}

/// The fragments that wait to be collected, oldest first: of one run, or of all.
///
/// # Errors
/// The folder cannot be listed.
pub(super) async fn scan(dir: &DatabaseDir, key: Option<RunKey>) -> Result<Vec<Fragment>, CoordinateError> {
    let dir = dir.clone();
    let found = tokio::task::spawn_blocking(move || FragmentNote::scan(&dir));
    let notes = found.await??;
    let fragments =
        notes.into_iter().map(|note| Fragment { key: (note.proposal, note.run), path: note.path });
    Ok(fragments.filter(|fragment| key.is_none_or(|key| key == fragment.key)).collect())
}

/// The variables that have a value in the run file or in fragments, from any plan.
pub(super) fn earlier_values(dir: &DatabaseDir, (proposal, run): RunKey) -> BTreeSet<String> {
    let any = PlanStamp { epoch: 0, micros: 0 };
    let stored = amore_results::answered(&dir.extracted_data(), proposal, run, any).unwrap_or_default();
    stored
        .into_iter()
        .filter(|(_, answer)| matches!(answer.outcome, StoredOutcome::Value))
        .map(|(name, _)| name)
        .collect()
}

/// The last lines of a log; `None` if there is no log.
pub(super) fn log_tail(path: &Path) -> Option<String> {
    path.exists().then(|| tail(path).unwrap_or_default())
}

fn tail(log: &Path) -> io::Result<String> {
    let mut file = File::open(log)?;
    let end = file.metadata()?.len();
    file.seek(SeekFrom::Start(end.saturating_sub(TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    Ok(lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n"))
}
