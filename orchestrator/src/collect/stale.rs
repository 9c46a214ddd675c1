//! Removing what nobody needs any more: array files that no run file refers to, half-written files of dead workers.

use std::{
    collections::BTreeSet,
    fs,
    time::{Duration, SystemTime},
};

use amore_model::{Proposal, Run};

use crate::database_dir::DatabaseDir;

/// How long such a file is kept: longer than a reader keeps a run file open, or a worker takes for one array.
const GRACE: Duration = Duration::from_secs(24 * 3600);

/// Looks through these runs. What cannot be removed stays for the next time.
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
                Ok(removed) => tracing::debug!(?removed, "no longer needed"),
                Err(error) => tracing::debug!(%error, "not swept"),
            }
        }
    }
}
