//! Watches a directory and the data of its proposal: triggers of users, and runs whose message was lost. Inotify sees nothing
//! of other hosts on a cluster file system, so folders are listed at intervals.
//!
//! What has to be reported is decided by `amore_intake::judge`; [`seen`] says which folders are looked into, and how often.

mod seen;

use std::{fs, io, path::Path, time::Duration};

use amore_intake::{
    ArrivedData, Before, Change, Finding, FolderLook, Found, InTable, Records, Subject, judge,
};
use amore_model::{DatabaseDir, Proposal, Run};
use amore_run_table::{Presence, RunTable};
use tokio::time::Instant;

use self::seen::{Listed, Seen};
use super::{
    inbox::{Inbox, Report},
    look, trigger_files,
};
use crate::{clock::now, site};

/// How often to look for triggers of users.
const TRIGGER_POLL: Duration = Duration::from_millis(500);
/// How often to list the folders of the proposal.
const FOLDER_POLL: Duration = Duration::from_secs(10);
/// The pause after a poll is at least so many times as long as the poll: a slow file system is not kept busy.
const PAUSE_PER_POLL: u32 = 9;
/// If there is more to look at, the next poll follows after this time.
const NEXT_PORTION: Duration = Duration::from_millis(100);

/// Watches until the inbox is gone. It runs on a runtime of its own directory: the file system may hang.
pub async fn watch(dir: DatabaseDir, proposal: Proposal, inbox: Inbox) {
    tokio::join!(watch_triggers(&dir, &inbox), watch_folders(&dir, proposal, &inbox));
}

async fn watch_triggers(dir: &DatabaseDir, inbox: &Inbox) {
    loop {
        take_triggers(dir, None, inbox).await;
        tokio::time::sleep(TRIGGER_POLL).await;
    }
}

async fn watch_folders(dir: &DatabaseDir, proposal: Proposal, inbox: &Inbox) {
    let mut seen = Seen::default();
    loop {
        let begun = Instant::now();
        let is_more = compare(dir, proposal, inbox, &mut seen).await.unwrap_or_else(|error| {
            tracing::debug!(directory = %dir.path().display(), error, "the folders cannot be compared with the table");
            false
        });
        let pause = if is_more { NEXT_PORTION } else { FOLDER_POLL.max(begun.elapsed() * PAUSE_PER_POLL) };
        tokio::time::sleep(pause).await;
    }
}

/// Takes the triggers that wait in a directory. `only`: those of another proposal are not understood.
pub(super) async fn take_triggers(dir: &DatabaseDir, only: Option<Proposal>, inbox: &Inbox) {
    let own = dir.clone();
    let waiting = tokio::task::spawn_blocking(move || trigger_files::waiting(&own)).await.unwrap_or_default();
    for trigger_files::Waiting { file, text, trigger } in waiting {
        let id = file.path.display().to_string();
        let trigger = trigger.and_then(|trigger| match only {
            Some(only) if only != trigger.proposal => {
                Err(format!("it is not for p{only}, whose directory this is"))
            }
            _ => Ok(trigger),
        });
        let stored = match trigger {
            Ok(trigger) => {
                let report = Report {
                    source: "command",
                    source_id: Some(id),
                    subject: Subject { proposal: trigger.proposal, run: trigger.run, data: trigger.data },
                    is_complete: true,
                    is_forced: true,
                    payload: text,
                };
                inbox.accept(report).await.map(drop)
            }
            Err(why) => inbox.not_understood("command", Some(id), text, why).await,
        };
        match stored {
            Ok(()) => {
                // If it cannot be removed, it is known by its name.
                let _ = tokio::task::spawn_blocking(move || file.remove()).await;
            }
            Err(error) => tracing::warn!(%error, path = %file.path.display(), "a trigger waits"),
        }
    }
}

/// Compares what is on disk with what was seen before, and reports what is new. Returns whether there is more to look at.
async fn compare(
    dir: &DatabaseDir,
    proposal: Proposal,
    inbox: &Inbox,
    seen: &mut Seen,
) -> Result<bool, String> {
    let listed = tokio::task::spawn_blocking(move || on_disk(proposal));
    let listed = listed.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
    let portion = seen.next_portion(&listed, now(), Instant::now());
    let chosen = portion.chosen;
    let looks = tokio::task::spawn_blocking(move || {
        let looks = chosen.into_iter().map(|listed| (listed, looked_into(proposal, listed)));
        looks.collect::<Vec<_>>()
    });
    let looks = looks.await.map_err(|error| error.to_string())?;
    let mut table = None;
    let mut told = Ok(());
    for (listed, look) in looks {
        // It is gone: the next list says so.
        let Some(look) = look else { continue };
        if seen.has(listed, &look.look, Instant::now()) {
            continue;
        }
        if table.is_none() {
            table = Some(RunTable::open_read_only(dir.path()).await.map_err(|error| error.to_string())?);
        }
        let Some(table) = &table else { continue };
        let subject = Subject { proposal, run: listed.of.0, data: listed.of.1 };
        told = tell((dir, table), inbox, subject, (&look, seen.before(listed.of))).await;
        // Otherwise it is looked at the next time.
        if told.is_err() {
            break;
        }
        seen.insert(listed, &look.look, Instant::now());
    }
    if let Some(table) = table {
        let _ = table.close().await;
    }
    told.map(|()| portion.is_more)
}

/// What is in a folder.
struct LookedInto {
    look: FolderLook,
    /// Its files can be listed.
    is_readable: bool,
}

/// Looks into a folder; `None` if it is gone. One that cannot be listed counts as data that are there: whoever sees the event finds
/// out why.
fn looked_into(proposal: Proposal, Listed { of: (run, data), changed }: Listed) -> Option<LookedInto> {
    match look::look(Subject { proposal, run, data }, None) {
        Ok(look) => Some(LookedInto { look: look?, is_readable: true }),
        Err(_) => {
            let look =
                FolderLook { files: 1, newest: changed, digest: String::new(), changed, has_marker: false };
            Some(LookedInto { look, is_readable: false })
        }
    }
}

/// Reports data if the directory needs them.
async fn tell(
    (dir, table): (&DatabaseDir, &RunTable),
    inbox: &Inbox,
    subject: Subject,
    (LookedInto { look, is_readable }, before): (&LookedInto, Before),
) -> Result<(), String> {
    let Subject { proposal, run, data } = subject;
    let own = inbox.last_known(subject).await?;
    let of_other = Subject { data: data.other(), ..subject };
    let other_is_under_way = inbox.may_have_filled(of_other, dir.path()).await;
    let other = inbox.last_known(of_other).await?;
    let Presence { added, computed } =
        table.presence(proposal, run).await.map_err(|error| error.to_string())?;
    let records = Records { own: own.as_ref(), other: other.as_ref(), other_is_under_way };
    let finding = match own {
        // What was processed and cannot be read any more has not arrived.
        Some(_) if !is_readable => Finding::Nothing,
        _ => judge(dir.path(), Found { look, before }, records, InTable { added, computed }),
    };
    let again = finding == Finding::Again;
    let (directory, digest) = (dir.path().to_owned(), look.digest.clone());
    // Whatever was found: an event that came before its data waits for them.
    let is_covered = inbox.covers(Change { subject, directory, digest, again }).await;
    if finding == Finding::Nothing || is_covered {
        return Ok(());
    }
    let report = Report {
        source: "folders",
        source_id: None,
        subject,
        is_complete: false,
        is_forced: false,
        payload: format!("{} folder of run {run}, changed at {:.0}", data.word(), look.changed),
    };
    let stored = match finding {
        Finding::Again => inbox.accept_for(report, dir.path()).await,
        Finding::New | Finding::Nothing => inbox.accept(report).await,
    };
    stored.map(drop).map_err(|error| error.to_string())
}

fn on_disk(proposal: Proposal) -> Result<Vec<Listed>, site::SiteError> {
    let root = site::find_proposal(proposal)?;
    let mut found = Vec::new();
    for data in [ArrivedData::Raw, ArrivedData::Proc] {
        let folder = root.join(data.word());
        let runs = match runs(&folder) {
            Ok(runs) => runs,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(source) => return Err(site::SiteError::NotListed { folder, source }),
        };
        found.extend(runs.into_iter().map(|(run, changed)| Listed { of: (run, data), changed }));
    }
    Ok(found)
}

fn runs(folder: &Path) -> io::Result<Vec<(Run, f64)>> {
    let mut runs = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix('r')?.parse().ok());
        let Some(number) = number else { continue };
        // A run may be a link to another file system.
        if let Ok(meta) = fs::metadata(entry.path()) {
            runs.push((Run(number), look::unix(&meta)));
        }
    }
    runs.sort_by_key(|(run, _)| *run);
    Ok(runs)
}
