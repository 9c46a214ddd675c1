//! Merges fragments into the run file, updates the run table, then removes the fragments: in this order, so that a kill between
//! any two steps loses nothing; each step can be repeated.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use amore_core::activity::StoredCell;
use amore_model::{Notice, PlanStamp, Proposal, Run};
use amore_results::{MergeError, MergeReport};
use amore_run_table::{Ownership, RunTable, RunTableError};
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::JoinHandle,
};

use crate::{advice::with_causes, database_dir::DatabaseDir};

mod error;
mod rows;
pub mod stale;
pub mod stored_cells;

pub use error::CollectError;
pub use rows::about_table;

/// How long a fragment waits for others of its task: each collection rewrites the run file.
const GATHER: Duration = Duration::from_millis(80);

/// Messages to the collector.
#[derive(Debug)]
enum Order {
    Collect(FragmentNote),
    /// A caller is waiting for the fragments given so far.
    Hurry,
}

/// A fragment to be collected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FragmentNote {
    pub proposal: Proposal,
    pub run: Run,
    /// Path of the fragment.
    pub path: PathBuf,
}

impl FragmentNote {
    /// All fragments in a directory, oldest first: Amore's, and those written by DAMNIT's `submit`.
    ///
    /// # Errors
    /// The directory cannot be listed. A missing directory is not an error.
    pub fn scan(dir: &DatabaseDir) -> Result<Vec<FragmentNote>, CollectError> {
        let folder = dir.extracted_data();
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(CollectError::NotListed { folder, source }),
        };
        let mut found: Vec<_> = entries
            .flatten()
            .filter_map(|entry| {
                let note = FragmentNote::of(&entry.path())?;
                let modified = entry.metadata().and_then(|data| data.modified()).ok()?;
                Some((modified, note))
            })
            .collect();
        found.sort_by(|a, b| a.0.cmp(&b.0).then_with(|| a.1.path.cmp(&b.1.path)));
        Ok(found.into_iter().map(|(_, note)| note).collect())
    }

    /// `p1234_r42.<anything>.ready.h5`.
    fn of(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?.strip_suffix(".ready.h5")?;
        let (numbers, _) = name.split_once('.')?;
        let (proposal, run) = numbers.strip_prefix('p')?.split_once("_r")?;
        let (proposal, run) = (Proposal(proposal.parse().ok()?), Run(run.parse().ok()?));
        Some(FragmentNote { proposal, run, path: path.to_owned() })
    }
}

/// A message to the user about collected results.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectedNotice {
    pub notice: Notice,
    /// It is about the `runs` view, and should be reported only once.
    pub about_view: bool,
}

/// The collected results of one run.
#[derive(Debug, Default)]
pub struct Collected {
    pub proposal: Proposal,
    pub run: Run,
    /// Number of fragments.
    pub fragments: usize,
    /// Variables whose outcome is now in the run file, with the plan that it is from.
    pub stored: Vec<(String, PlanStamp)>,
    /// The cells of the table that were written, as they are now.
    pub cells: Vec<StoredCell>,
    /// Messages for the user.
    pub notices: Vec<CollectedNotice>,
    /// Why the results could not be merged into the run file; their fragments are kept.
    pub problem: Option<String>,
}

/// Collects in the background; merges waiting fragments together, so that many small results cost one transaction.
#[derive(Debug)]
pub struct Collector {
    give: UnboundedSender<Order>,
    take: UnboundedReceiver<Result<Collected, CollectError>>,
    task: JoinHandle<()>,
}

impl Collector {
    /// Starts the collector. `ownership` is the right to write to the directory's table.
    pub fn start(dir: DatabaseDir, table: Arc<RunTable>, ownership: Ownership) -> Self {
        let (give, inbox) = unbounded_channel();
        let (outbox, take) = unbounded_channel();
        let task = tokio::spawn(work(dir, table, ownership, inbox, outbox));
        Collector { give, take, task }
    }

    /// Adds a fragment to collect.
    pub fn give(&self, note: FragmentNote) {
        // `next` reports why a collector has stopped.
        let _ = self.give.send(Order::Collect(note));
    }

    /// Collects the given fragments without waiting for more.
    pub fn hurry(&self) {
        let _ = self.give.send(Order::Hurry);
    }

    /// Waits for the next collected results. Cancel-safe.
    ///
    /// # Errors
    /// The table cannot be written (deposed, locked for too long, disk full). The fragments are kept for the next owner.
    pub async fn next(&mut self) -> Result<Collected, CollectError> {
        self.take.recv().await.unwrap_or(Err(CollectError::Stopped(None)))
    }

    /// Waits until it has finished its work.
    pub async fn stop(self) {
        let Collector { give, take, task } = self;
        drop(give);
        drop(take);
        let _ = task.await;
    }
}

async fn work(
    dir: DatabaseDir,
    table: Arc<RunTable>,
    ownership: Ownership,
    mut inbox: UnboundedReceiver<Order>,
    outbox: UnboundedSender<Result<Collected, CollectError>>,
) {
    while let Some(first) = inbox.recv().await {
        let Order::Collect(first) = first else { continue };
        let mut notes = vec![first];
        let enough = tokio::time::Instant::now() + GATHER;
        while let Ok(Some(Order::Collect(more))) = tokio::time::timeout_at(enough, inbox.recv()).await {
            notes.push(more);
        }
        while let Ok(more) = inbox.try_recv() {
            if let Order::Collect(more) = more {
                notes.push(more);
            }
        }
        match collect(&dir, &table, &ownership, notes).await {
            Ok(all) => all.into_iter().for_each(|collected| {
                let _ = outbox.send(Ok(collected));
            }),
            Err(error) => {
                let _ = outbox.send(Err(error));
                return;
            }
        }
    }
}

async fn collect(
    dir: &DatabaseDir,
    table: &RunTable,
    ownership: &Ownership,
    notes: Vec<FragmentNote>,
) -> Result<Vec<Collected>, CollectError> {
    let mut by_run: BTreeMap<(Proposal, Run), Vec<PathBuf>> = BTreeMap::new();
    for note in notes {
        by_run.entry((note.proposal, note.run)).or_default().push(note.path);
    }
    // A process that was stopped, and is deposed, must not change run files either. That the table is locked now is no reason to wait.
    if let Err(error @ RunTableError::Deposed { .. }) = table.confirm(ownership).await {
        return Err(error.into());
    }
    // HDF5 blocks.
    let folder = dir.extracted_data();
    let merged = tokio::task::spawn_blocking(move || -> Result<_, MergeError> {
        let mut merged = Vec::new();
        for ((proposal, run), paths) in by_run {
            // A fragment may already have been collected (found by a scan and also announced by its worker).
            let there: Vec<PathBuf> = paths.iter().filter(|path| path.exists()).cloned().collect();
            let mut problem = None;
            let report = if there.is_empty() {
                None
            } else {
                match amore_results::merge(&folder, proposal, run, &there) {
                    Ok(report) => Some(report),
                    // One damaged run file must not affect other runs.
                    Err(error @ MergeError::RunFile(_)) => {
                        problem = Some(format!(
                            "{}; its new results are kept in extracted_data/: move the damaged file away and run `amore reprocess {run}`",
                            with_causes(&error)
                        ));
                        None
                    }
                    // No run's results can be stored, so further computing would be useless.
                    Err(error) => return Err(error),
                }
            };
            merged.push((proposal, run, paths.len(), report, problem));
        }
        Ok(merged)
    })
    .await
    .map_err(|error| CollectError::Stopped(Some(error)))??;

    let reports: Vec<(Proposal, Run, &MergeReport)> = merged
        .iter()
        .filter_map(|(proposal, run, _, report, _)| Some((*proposal, *run, report.as_ref()?)))
        .collect();
    let rows::Written { mut cells, notices } = rows::store(dir, table, ownership, &reports).await?;
    let mut table_notices = Some(notices);
    let mut all = Vec::new();
    for (proposal, run, fragments, report, problem) in merged {
        for path in report.iter().flat_map(|report| &report.done) {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(path = %path.display(), %error, "a collected fragment cannot be removed");
                }
                _ => {}
            }
        }
        let mut collected = Collected { proposal, run, fragments, problem, ..Collected::default() };
        if let Some(report) = report {
            collected.stored.clone_from(&report.answered);
            collected.cells = cells.remove(&(proposal, run)).unwrap_or_default();
            collected.notices = rows::notices(&report, run);
        }
        collected.notices.extend(table_notices.take().into_iter().flatten());
        all.push(collected);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fragments_are_known_by_their_names() {
        let note = FragmentNote::of(Path::new("/d/p1234_r42.ab12cd34.ready.h5")).unwrap();
        assert_eq!((note.proposal, note.run), (Proposal(1234), Run(42)));
        for other in ["p1234_r42.h5", "p1234_r42.ab.writing.h5", "pX_r1.a.ready.h5", "p1_r2.ready.h5"] {
            assert_eq!(FragmentNote::of(Path::new(other)), None, "{other}");
        }
    }
}
