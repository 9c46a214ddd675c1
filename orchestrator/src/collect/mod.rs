//! Fragments into the run's file, then into the run table, then away: in this order, so that a kill between any two
//! steps loses nothing; each step may be repeated.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use amore_model::{Notice, PlanStamp, Proposal, Run};
use amore_results::{MergeError, MergeReport, ResultsError};
use amore_run_table::{Ownership, RunTable};
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::JoinHandle,
};

use crate::{database_dir::DatabaseDir, failure::Failure};

mod rows;
pub mod stale;

pub use rows::about_table;

/// How long a fragment may wait for others of its task: each collection rewrites the run's file.
const GATHER: Duration = Duration::from_millis(80);

/// What to do about a disk that is full.
pub const NO_SPACE: &str = "free some space or ask for more quota, then run the command again: stored results are kept, and those waiting in extracted_data/ are collected";

/// What the collector is told.
#[derive(Debug)]
enum Order {
    Collect(FragmentNote),
    /// Somebody waits for what was given.
    Hurry,
}

/// A fragment that waits to be collected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FragmentNote {
    /// Its proposal.
    pub proposal: Proposal,
    /// Its run.
    pub run: Run,
    /// Where it stands.
    pub path: PathBuf,
}

impl FragmentNote {
    /// All fragments in a directory, oldest first: ours, and those that DAMNIT's `submit` writes.
    ///
    /// # Errors
    /// When the folder cannot be listed; that there is none is no error.
    pub fn scan(dir: &DatabaseDir) -> Result<Vec<FragmentNote>, Failure> {
        let folder = dir.extracted_data();
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Failure::new(format!("cannot list {}: {error}", folder.display()))),
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

/// Something the user should know about what was collected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectedNotice {
    /// What it says.
    pub notice: Notice,
    /// It is about the `runs` view, and true until further notice.
    pub about_view: bool,
}

/// What was collected of one run.
#[derive(Debug, Default)]
pub struct Collected {
    /// The proposal.
    pub proposal: Proposal,
    /// The run.
    pub run: Run,
    /// How many fragments.
    pub fragments: usize,
    /// Variables whose outcome now stands in the run's file, and the plan it came from.
    pub stored: Vec<(String, PlanStamp)>,
    /// For the user.
    pub notices: Vec<CollectedNotice>,
    /// Why the results could not be put into the run's file: they wait where they are.
    pub problem: Option<String>,
}

/// Collects in the background; takes together what waits, so that many small results cost one transaction.
#[derive(Debug)]
pub struct Collector {
    give: UnboundedSender<Order>,
    take: UnboundedReceiver<Result<Collected, Failure>>,
    task: JoinHandle<()>,
}

impl Collector {
    /// Starts for a directory whose table may be written by virtue of `ownership`.
    pub fn start(dir: DatabaseDir, table: Arc<RunTable>, ownership: Ownership) -> Self {
        let (give, inbox) = unbounded_channel();
        let (outbox, take) = unbounded_channel();
        let task = tokio::spawn(work(dir, table, ownership, inbox, outbox));
        Collector { give, take, task }
    }

    /// Something to collect.
    pub fn give(&self, note: FragmentNote) {
        // A collector that has stopped has said why; `next` tells.
        let _ = self.give.send(Order::Collect(note));
    }

    /// Collects what was given without waiting for more.
    pub fn hurry(&self) {
        let _ = self.give.send(Order::Hurry);
    }

    /// The next that was collected. Can be cancelled without losing anything.
    ///
    /// # Errors
    /// When the table cannot be written (deposed, locked for too long, disk full). The fragments stay for the next owner.
    pub async fn next(&mut self) -> Result<Collected, Failure> {
        self.take.recv().await.unwrap_or_else(|| Err(Failure::new("the collector stopped")))
    }

    /// Lets it finish what it has.
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
    outbox: UnboundedSender<Result<Collected, Failure>>,
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
            Err(failure) => {
                let _ = outbox.send(Err(failure));
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
) -> Result<Vec<Collected>, Failure> {
    let mut by_run: BTreeMap<(Proposal, Run), Vec<PathBuf>> = BTreeMap::new();
    for note in notes {
        by_run.entry((note.proposal, note.run)).or_default().push(note.path);
    }
    // HDF5 blocks.
    let folder = dir.extracted_data();
    let merged = tokio::task::spawn_blocking(move || -> Result<_, Failure> {
        let mut merged = Vec::new();
        for ((proposal, run), paths) in by_run {
            // A fragment may have been collected before (found by a scan and announced by its worker too).
            let there: Vec<PathBuf> = paths.iter().filter(|path| path.exists()).cloned().collect();
            let mut problem = None;
            let report = if there.is_empty() {
                None
            } else {
                match amore_results::merge(&folder, proposal, run, &there) {
                    Ok(report) => Some(report),
                    // One damaged run file is no reason to leave the other runs.
                    Err(error @ MergeError::RunFile(_)) => {
                        problem = Some(format!(
                            "{}; its new results are kept in extracted_data/: move the damaged file away and run `amore reprocess {run}`",
                            Failure::from_error(&error).message
                        ));
                        None
                    }
                    // Nothing more can be stored of any run, so that computing goes on for nothing.
                    Err(error @ MergeError::Results(ResultsError::NoSpace { .. })) => {
                        return Err(Failure::from_error(&error).hint(NO_SPACE));
                    }
                    Err(error) => {
                        return Err(Failure::from_error(&error).hint(
                            "the results are kept in extracted_data/ and collected by the next command once this is fixed",
                        ));
                    }
                }
            };
            merged.push((proposal, run, paths.len(), report, problem));
        }
        Ok(merged)
    })
    .await
    .map_err(|error| Failure::from_error(&error))??;

    let reports: Vec<(Proposal, Run, &MergeReport)> = merged
        .iter()
        .filter_map(|(proposal, run, _, report, _)| Some((*proposal, *run, report.as_ref()?)))
        .collect();
    let table_notices = rows::store(dir, table, ownership, &reports).await?;
    let mut table_notices = Some(table_notices);
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
