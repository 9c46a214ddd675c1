//! Removes unused files: array files that no run file refers to, and unfinished files of dead workers.

use std::{
    collections::BTreeSet,
    fs,
    time::{Duration, SystemTime},
};

use amore_model::{Proposal, Run};

use crate::database_dir::DatabaseDir;

/// How long such files are kept: longer than readers keep a run file open, or a worker takes for one array.
const GRACE: Duration = Duration::from_secs(24 * 3600);

/// Cleans up these runs. Files that cannot be removed are kept until the next time.
pub fn remove(dir: &DatabaseDir, runs: &BTreeSet<(Proposal, Run)>) {
    let folder = dir.extracted_data();
    let names: Vec<String> = fs::read_dir(&folder)
        .map(|entries| {
            entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
        })
        .unwrap_or_default();
    for (proposal, run) in runs {
        let stem = format!("p{proposal}_r{run}.");
        let half_written = names.iter().any(|name| name.starts_with(&stem) && name.contains(".writing"));
        if half_written || folder.join("arrays").join(format!("p{proposal}_r{run}")).exists() {
            match amore_results::sweep(&folder, *proposal, *run, SystemTime::now(), GRACE) {
                Ok(removed) if removed.is_empty() => {}
                Ok(removed) => tracing::debug!(?removed, "removed unused files"),
                Err(error) => tracing::debug!(%error, "unused files cannot be removed"),
            }
        }
    }
}
