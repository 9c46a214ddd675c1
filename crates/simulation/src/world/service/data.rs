//! The data of runs: folders that appear, grow, and are migrated again.

use std::collections::BTreeMap;

use amore_intake::{ArrivedData, FolderLook};
use amore_plan::Availability;

use crate::Moment;

/// Data of one kind of a run.
pub(in crate::world) type DataOf = (u32, ArrivedData);

/// A folder.
#[derive(Clone, Copy, Debug)]
struct Folder {
    /// Grows with each change.
    version: u32,
    changed: Moment,
}

/// All folders of the proposal.
#[derive(Debug, Default)]
pub(in crate::world) struct Data {
    folders: BTreeMap<DataOf, Folder>,
}

impl Data {
    /// Files are added or written again. `keeps_time`: the times that can be seen do not say so.
    pub(super) fn grow(&mut self, of: DataOf, now: Moment, keeps_time: bool) {
        let folder = self.folders.entry(of).or_insert(Folder { version: 0, changed: Moment::default() });
        folder.version += 1;
        if !keeps_time {
            folder.changed = now;
        }
    }

    /// What the data are now; 0: there are none.
    pub(in crate::world) fn version(&self, of: DataOf) -> u32 {
        self.folders.get(&of).map_or(0, |folder| folder.version)
    }

    /// What a run has now.
    pub(in crate::world) fn availability(&self, run: u32) -> Availability {
        let has = |data| self.version((run, data)) > 0;
        Availability { raw: has(ArrivedData::Raw), proc: has(ArrivedData::Proc) }
    }

    /// Which folders there are, and which version they have.
    pub(super) fn listed(&self) -> Vec<(DataOf, u32)> {
        self.folders.iter().map(|(of, folder)| (*of, folder.version)).collect()
    }

    /// What is on disk of one kind.
    pub(super) fn look(&self, of: DataOf) -> Option<FolderLook> {
        let folder = self.folders.get(&of)?;
        Some(FolderLook {
            files: folder.version as usize,
            newest: seconds(folder.changed),
            digest: format!("version {}", folder.version),
            changed: seconds(folder.changed),
            has_marker: false,
        })
    }
}

/// Seconds since 1970, by the clock of the file server.
fn seconds(at: Moment) -> f64 {
    at.milliseconds() as f64 / 1000.0
}
