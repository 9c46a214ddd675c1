//! Dynamic mode: the official database of a proposal is added to the list of databases when the first event about the proposal
//! comes, as in DAMNIT.
//!
//! A user's trigger waits in the directory itself, which nobody watches yet: [`watch_triggers`] looks for those.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use amore_listener_db::{Added, Database, ListenerDb};
use amore_model::{DatabaseDir, Proposal};
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, sleep},
};

use super::{folders, inbox::Inbox};
use crate::site::{self, SiteError};

/// Where the official database is in the directory of a proposal.
const OFFICIAL: &str = "usr/Shared/amore";
/// How often to look for triggers in official databases that are not in the list.
const TRIGGER_POLL: Duration = Duration::from_secs(15);
/// The pause after that is at least so many times as long as it took: there are thousands of proposals.
const PAUSE_PER_POLL: u32 = 19;

/// The official database of a proposal, if there is one that is not among these; it is in the list now. The file system may
/// hang: `slot` is kept for as long as it is looked at.
///
/// # Errors
/// It is not known whether there is one, or it cannot be added: this is to be tried again.
pub async fn added(
    list: &ListenerDb,
    proposal: Proposal,
    known: &BTreeSet<PathBuf>,
    slot: Arc<OwnedSemaphorePermit>,
) -> Result<Option<PathBuf>, String> {
    let found = tokio::task::spawn_blocking(move || {
        let _slot = slot;
        find(proposal)
    });
    let found = found.await.map_err(|error| error.to_string())?;
    let Some(dir) = found.map_err(|error| error.to_string())?.filter(|dir| !known.contains(dir)) else {
        return Ok(None);
    };
    match list.add(&Database { proposal, dir: dir.clone(), official: true }).await {
        Ok(Added::New) => {
            tracing::info!(%proposal, directory = %dir.display(), "the official database of a proposal is added");
            Ok(Some(dir))
        }
        // By another path, or for another proposal.
        Ok(Added::AlreadyThere(there)) if there.proposal != proposal => Ok(None),
        Ok(Added::AlreadyThere(there)) => Ok(Some(there.dir)),
        Err(error) => Err(format!("the official database of p{proposal} cannot be added: {error}")),
    }
}

/// In dynamic mode, takes the triggers that wait in official databases, until the inbox is gone.
pub async fn watch_triggers(inbox: Inbox) {
    while !inbox.is_closed() {
        let begun = Instant::now();
        if inbox.is_dynamic().await {
            let found = tokio::task::spawn_blocking(|| with_triggers(&site::data_root())).await;
            for (proposal, dir) in found.unwrap_or_default() {
                folders::take_triggers(&DatabaseDir::at(dir), Some(proposal), &inbox).await;
            }
        }
        sleep(TRIGGER_POLL.max(begun.elapsed() * PAUSE_PER_POLL)).await;
    }
}

/// The official databases in which triggers wait, and their proposals.
fn with_triggers(root: &Path) -> Vec<(Proposal, PathBuf)> {
    let inside = |folder: PathBuf| std::fs::read_dir(folder).into_iter().flatten().flatten();
    let proposals = inside(root.to_owned())
        .flat_map(|instrument| inside(instrument.path()))
        .flat_map(|cycle| inside(cycle.path()));
    let with_triggers = proposals.filter_map(|entry| {
        let proposal: Proposal = entry.file_name().to_str()?.strip_prefix('p')?.parse().ok()?;
        let dir = entry.path().join(OFFICIAL);
        let database = DatabaseDir::at(dir.clone());
        let mut triggers = std::fs::read_dir(database.own_files().join("triggers")).ok()?.flatten();
        (triggers.next().is_some() && database.run_table().is_file()).then_some((proposal, dir))
    });
    with_triggers.collect()
}

/// The official database of a proposal. A directory that has no run table is no database.
pub fn find(proposal: Proposal) -> Result<Option<PathBuf>, SiteError> {
    let root = match site::find_proposal(proposal) {
        Ok(root) => root,
        // A file system that is not mounted has no proposals.
        Err(SiteError::NoSuchProposal { root, .. }) => {
            return match std::fs::read_dir(&root) {
                Ok(_) => Ok(None),
                Err(source) => Err(SiteError::NotListed { folder: root, source }),
            };
        }
        Err(error) => return Err(error),
    };
    let dir = root.join(OFFICIAL);
    Ok(DatabaseDir::at(dir.clone()).run_table().is_file().then_some(dir))
}

#[cfg(test)]
mod tests {
    use amore_intake::ArrivedData;
    use amore_model::Run;

    use super::*;
    use crate::service::trigger_files::{TriggerFile, leave};

    #[test]
    fn triggers_are_found_in_official_databases() {
        let root = tempfile::tempdir().unwrap();
        let dir = |name: &str| root.path().join("SPB/202601").join(name).join(OFFICIAL);
        for name in ["p001234", "p001235", "p001236", "other"] {
            std::fs::create_dir_all(dir(name)).unwrap();
        }
        for name in ["p001234", "p001235", "other"] {
            std::fs::write(dir(name).join("runs.sqlite"), "").unwrap();
        }
        for (number, name) in [(1234, "p001234"), (1236, "p001236"), (1, "other")] {
            let trigger = TriggerFile::new(Proposal(number), Run(1), ArrivedData::Raw);
            leave(&DatabaseDir::at(dir(name)), "1", &trigger).unwrap();
        }
        assert_eq!(with_triggers(root.path()), [(Proposal(1234), dir("p001234"))]);
    }
}
