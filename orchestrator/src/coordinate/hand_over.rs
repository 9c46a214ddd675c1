//! Hands a request to the owner of a directory, and tracks its progress, using only files.
//!
//! `.amore/requests/<id>.json` is a pending request. The owner renames it to `<id>.taken` and appends [`Event`]s as JSON
//! lines to `<id>.events`. After the last event, it renames the request to `<id>.done`. The requesting process reads the
//! events and removes the files at the end. If it died before that, an owner removes them ([`clean`]). Requests and events
//! have a version.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use amore_core::{events::Event, request::Request};
use amore_model::DatabaseDir;
use amore_shared_files::own_folder::{Folder, has_extension};
use serde::{Deserialize, Serialize};

use super::{
    CoordinateError,
    abandoned::{Asker, is_abandoned},
};
use crate::growing_lines::GrowingLines;

/// The version of requests and events. Optional fields may be added without a new version; a change that a reader would
/// misunderstand needs one.
const VERSION: u32 = 1;

/// A larger file is no request.
const MOST_BYTES: u64 = 16 << 20;

/// How often a waiting process shows that it is still there. Much shorter than the time after which it counts as dead.
const HEARTBEAT: Duration = Duration::from_secs(60);

/// The content of a request file.
#[derive(Debug, Serialize, Deserialize)]
struct RequestFile {
    /// Request files without a version have the first one.
    #[serde(default = "first_version")]
    version: u32,
    /// The process that made the request.
    #[serde(default)]
    asker: Option<Asker>,
    #[serde(flatten)]
    request: Request,
}

/// A line of an event file.
#[derive(Serialize)]
struct EventLine<'a> {
    version: u32,
    #[serde(flatten)]
    event: &'a Event,
}

/// The part of a request or event that is parsed first.
#[derive(Deserialize)]
struct Envelope {
    #[serde(default = "first_version")]
    version: u32,
    #[serde(default)]
    asker: Option<Asker>,
}

fn first_version() -> u32 {
    1
}

/// A request that was handed over, as the requesting process sees it.
#[derive(Debug)]
pub struct HandedOver {
    waiting: PathBuf,
    taken: PathBuf,
    done: PathBuf,
    events: GrowingLines,
    shown_alive: SystemTime,
}

/// A request, as the owner sees it.
#[derive(Debug)]
pub struct Taken {
    /// The request.
    pub request: Request,
    folder: Arc<Folder>,
    /// Of the file, when it is taken.
    name: OsString,
    events: File,
}

/// A name for a new file of this process. Later ones sort after earlier ones.
pub fn new_id(now: SystemTime) -> String {
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    format!("{:020}-{}", since.as_micros(), std::process::id())
}

/// Writes a request for the owner to find.
///
/// # Errors
/// The directory cannot be written.
pub fn hand_over(
    dir: &DatabaseDir,
    id: &str,
    asker: Asker,
    request: &Request,
) -> Result<HandedOver, CoordinateError> {
    let folder = dir.requests();
    let not_written =
        |path: &Path, source| CoordinateError::File { doing: "write", path: path.to_owned(), source };
    fs::create_dir_all(&folder).map_err(|error| not_written(&folder, error))?;
    let waiting = folder.join(format!("{id}.json"));
    let writing = folder.join(format!("{id}.writing"));
    let text = RequestFile { version: VERSION, asker: Some(asker), request: request.clone() };
    let text = serde_json::to_vec(&text)?;
    let write = || -> io::Result<()> {
        // A link that somebody has put there is not followed.
        let mut file = File::create_new(&writing)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&writing, &waiting)
    };
    write().map_err(|error| not_written(&waiting, error))?;
    Ok(HandedOver {
        taken: folder.join(format!("{id}.taken")),
        done: folder.join(format!("{id}.done")),
        events: GrowingLines::of(&folder.join(format!("{id}.events"))),
        waiting,
        shown_alive: SystemTime::now(),
    })
}

impl HandedOver {
    /// Events since the last call. Lines that cannot be parsed are skipped.
    ///
    /// # Errors
    /// The owner has a later version, and this one would misunderstand its events.
    pub fn news(&mut self) -> Result<Vec<Event>, CoordinateError> {
        let mut events = Vec::new();
        for line in self.events.read() {
            let version =
                serde_json::from_slice::<Envelope>(&line).map_or(VERSION, |envelope| envelope.version);
            if version > VERSION {
                return Err(CoordinateError::LaterOwner { version, known: VERSION });
            }
            match serde_json::from_slice(&line) {
                Ok(event) => events.push(event),
                Err(error) => {
                    let path = self.events.path();
                    tracing::warn!(path = %path.display(), %error, "a line that is not an event is left out");
                }
            }
        }
        Ok(events)
    }

    /// Whether the owner has written the last event. Call this before [`HandedOver::news`], so that no event is missed.
    pub fn is_done(&self) -> bool {
        self.done.exists()
    }

    /// Shows, at intervals, that this process is still waiting.
    pub fn show_alive(&mut self, now: SystemTime) {
        if now.duration_since(self.shown_alive).unwrap_or(HEARTBEAT) < HEARTBEAT {
            return;
        }
        self.shown_alive = now;
        for path in [&self.waiting, &self.taken] {
            if let Ok(file) = OpenOptions::new().append(true).open(path) {
                // Failing is harmless: only other hosts check this, and only after an hour.
                let _ = file.set_modified(now);
            }
        }
    }

    /// Withdraws the request. Returns `false` if the owner has already taken it.
    pub fn withdraw(&self) -> bool {
        fs::remove_file(&self.waiting).is_ok()
    }

    /// Removes the remaining files of the request.
    pub fn clean_up(&self) {
        for path in [&self.waiting, &self.taken, &self.done, self.events.path()] {
            // The file may not exist.
            let _ = fs::remove_file(path);
        }
    }
}

/// Whether requests are pending.
pub fn some_wait(dir: &DatabaseDir) -> bool {
    let Ok(entries) = fs::read_dir(dir.requests()) else { return false };
    entries.flatten().any(|entry| entry.path().extension().is_some_and(|kind| kind == "json"))
}

/// The folder of requests. Users may write there, and its owner may do more than they: links are not followed.
fn requests(dir: &DatabaseDir) -> io::Result<Folder> {
    let path = dir.requests();
    let (Some(own), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidFilename.into());
    };
    Folder::open(own)?.folder(name)
}

/// Takes the pending requests, oldest first. Each is taken by one process only. Those of dead processes are discarded.
pub fn take_requests(dir: &DatabaseDir) -> Vec<Taken> {
    let Ok(folder) = requests(dir).map(Arc::new) else { return Vec::new() };
    let names = folder.names().unwrap_or_default();
    let waiting = names.iter().filter(|name| has_extension(name, "json"));
    waiting.filter_map(|name| take(&folder, name).ok()).collect()
}

fn take(folder: &Arc<Folder>, name: &OsStr) -> io::Result<Taken> {
    let shown = name.display();
    let with = |extension| Path::new(name).with_extension(extension).into_os_string();
    if asker_of(folder, name).is_some_and(|asker| asker.is_known_dead()) {
        tracing::info!(request = %shown, "the process that made this request is gone: the request is discarded");
        folder.remove(name)?;
        return Err(io::ErrorKind::NotFound.into());
    }
    let taken = with("taken");
    folder.rename(name, &taken)?;
    let mut events = folder.append(with("events"), 0o666)?;
    let text = folder.read(&taken, MOST_BYTES)?;
    let version = serde_json::from_slice::<Envelope>(&text).map_or(VERSION, |envelope| envelope.version);
    let message = if version > VERSION {
        format!(
            "the request is of version {version}, and the process that owns this directory knows {VERSION}"
        )
    } else {
        match serde_json::from_slice::<RequestFile>(&text) {
            Ok(file) => {
                let folder = Arc::clone(folder);
                return Ok(Taken { request: file.request, folder, name: taken, events });
            }
            Err(error) => format!("the request {shown} is not understood: {error}"),
        }
    };
    let hint = Some("the two commands must be of one version".to_owned());
    write_event(&mut events, &Event::Refused { message, hint, exit: 1 })?;
    folder.rename(&taken, with("done"))?;
    Err(io::ErrorKind::InvalidData.into())
}

fn asker_of(folder: &Folder, name: &OsStr) -> Option<Asker> {
    serde_json::from_slice::<Envelope>(&folder.read(name, MOST_BYTES).ok()?).ok()?.asker
}

fn write_event(file: &mut File, event: &Event) -> io::Result<()> {
    let mut line = serde_json::to_vec(&EventLine { version: VERSION, event })?;
    line.push(b'\n');
    file.write_all(&line)
}

impl Taken {
    /// Passes an event to the requesting process. If that is gone, nobody reads it.
    pub fn tell(&mut self, event: &Event) {
        let _ = write_event(&mut self.events, event);
        if matches!(event, Event::Finished(_) | Event::Refused { .. }) {
            let _ = self.folder.rename(&self.name, Path::new(&self.name).with_extension("done"));
        }
    }
}

/// Removes request files of processes that are gone.
pub fn clean(dir: &DatabaseDir, now: SystemTime) {
    let Ok(folder) = requests(dir) else { return };
    let names = folder.names().unwrap_or_default();
    let stem_of = |name: &OsString| Path::new(name).with_extension("");
    let mut stems: Vec<PathBuf> = names.iter().map(stem_of).collect();
    stems.sort();
    stems.dedup();
    for stem in stems {
        let of_it: Vec<&OsString> = names.iter().filter(|name| stem_of(name) == stem).collect();
        let asker = ["json", "taken", "done", "writing"]
            .iter()
            .find_map(|kind| asker_of(&folder, stem.with_extension(kind).as_os_str()));
        let modified_of = |name: &&OsString| fs::symlink_metadata(folder.path(name)).ok()?.modified().ok();
        let Some(modified) = of_it.iter().filter_map(modified_of).max() else { continue };
        if is_abandoned(asker.as_ref(), now.duration_since(modified).unwrap_or_default()) {
            for name in of_it {
                // The file may already be gone.
                let _ = folder.remove(name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use amore_core::request::{Compute, Runs};
    use amore_model::Notice;

    fn request() -> Request {
        Request::Compute(Compute {
            runs: Runs::All,
            proposal: None,
            matches: vec!["a".to_owned()],
            names: vec![],
            mock: true,
            trigger: None,
        })
    }

    fn notice(message: &str) -> Event {
        Event::Notice(Notice::info(message))
    }

    fn handed_over(id: &str) -> (tempfile::TempDir, DatabaseDir, HandedOver) {
        let folder = tempfile::tempdir().unwrap();
        let dir = DatabaseDir::at(folder.path().to_owned());
        let asked = hand_over(&dir, id, Asker::this_process(), &request()).unwrap();
        (folder, dir, asked)
    }

    fn left(dir: &DatabaseDir) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(dir.requests())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_request_is_taken_once_and_its_events_are_read_as_they_come() {
        let (_folder, dir, mut asked) = handed_over("1-2");
        assert!(asked.news().unwrap().is_empty());

        let mut taken = take_requests(&dir);
        assert_eq!(taken.len(), 1);
        assert_eq!(taken[0].request, request());
        assert!(take_requests(&dir).is_empty());
        assert!(!asked.withdraw());

        taken[0].tell(&notice("one"));
        assert_eq!(asked.news().unwrap(), [notice("one")]);
        assert!(asked.news().unwrap().is_empty());
        taken[0].tell(&notice("two"));
        assert_eq!(asked.news().unwrap(), [notice("two")]);

        assert!(!asked.is_done());
        taken[0].tell(&Event::Finished(Default::default()));
        assert!(asked.is_done());
        assert_eq!(left(&dir), ["1-2.done", "1-2.events"]);
        // The requesting process is alive: it may not have read everything yet.
        clean(&dir, SystemTime::now() + Duration::from_secs(30 * 86_400));
        assert_eq!(left(&dir), ["1-2.done", "1-2.events"]);
        asked.clean_up();
        assert!(left(&dir).is_empty());
    }

    #[test]
    fn a_request_that_is_no_request_is_answered() {
        let (_folder, dir, mut asked) = handed_over("1");
        fs::write(dir.requests().join("1.json"), "{").unwrap();
        assert!(take_requests(&dir).is_empty());
        assert!(matches!(asked.news().unwrap()[..], [Event::Refused { .. }]));
        assert!(asked.is_done());
    }

    #[test]
    fn a_line_that_is_no_event_stops_none_behind_it() {
        let (_folder, dir, mut asked) = handed_over("1");
        let mut taken = take_requests(&dir);
        let path = dir.requests().join("1.events");
        taken[0].tell(&notice("one"));
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"{\"ev\":\"of another version\"}\n{\"event\":\"unheard_of\"}\n\xff\n\n").unwrap();
        taken[0].tell(&notice("two"));
        // The format of the previous version.
        file.write_all(b"{\"event\":\"notice\",\"message\":\"warning: three\"}\n").unwrap();
        let three = Event::Notice(Notice::warning("three"));
        assert_eq!(asked.news().unwrap(), [notice("one"), notice("two"), three]);
    }

    #[test]
    fn what_is_of_a_later_version_is_refused_in_words() {
        let (_folder, dir, mut asked) = handed_over("1");
        let text = fs::read_to_string(dir.requests().join("1.json")).unwrap();
        assert!(text.contains("\"version\":1"));
        fs::write(dir.requests().join("1.json"), text.replace("\"version\":1", "\"version\":2")).unwrap();
        assert!(take_requests(&dir).is_empty());
        match &asked.news().unwrap()[..] {
            [Event::Refused { message, .. }] => assert!(message.contains("version 2"), "{message}"),
            other => panic!("{other:?}"),
        }
        fs::write(dir.requests().join("1.events"), "").unwrap();
        let mut asked = HandedOver { events: GrowingLines::of(asked.events.path()), ..asked };
        fs::write(dir.requests().join("1.events"), "{\"version\":2,\"event\":\"finished\"}\n").unwrap();
        let error = asked.news().unwrap_err();
        assert!(matches!(error, CoordinateError::LaterOwner { version: 2, known: 1 }), "{error}");
    }

    #[test]
    fn a_request_of_the_version_before_is_understood() {
        let (_folder, dir, asked) = handed_over("1");
        let text = serde_json::to_vec(&request()).unwrap();
        fs::write(dir.requests().join("1.json"), text).unwrap();
        let taken = take_requests(&dir);
        assert_eq!(taken[0].request, request());
        asked.clean_up();
    }

    #[test]
    fn what_a_dead_process_left_is_neither_begun_nor_kept() {
        let folder = tempfile::tempdir().unwrap();
        let dir = DatabaseDir::at(folder.path().to_owned());
        let dead = Asker { token: "of an earlier boot".to_owned(), ..Asker::this_process() };
        hand_over(&dir, "1", dead.clone(), &request()).unwrap();
        assert!(take_requests(&dir).is_empty());
        assert!(left(&dir).is_empty());

        hand_over(&dir, "2", Asker::this_process(), &request()).unwrap();
        let mut taken = take_requests(&dir);
        taken[0].tell(&notice("one"));
        let mut file: serde_json::Value =
            serde_json::from_slice(&fs::read(dir.requests().join("2.taken")).unwrap()).unwrap();
        file["asker"] = serde_json::to_value(dead).unwrap();
        fs::write(dir.requests().join("2.taken"), file.to_string()).unwrap();
        // Files as the previous version left them.
        fs::write(dir.requests().join("3.taken"), serde_json::to_vec(&request()).unwrap()).unwrap();
        fs::write(dir.requests().join("3.events"), "").unwrap();
        clean(&dir, SystemTime::now());
        assert_eq!(left(&dir), ["3.events", "3.taken"]);
        clean(&dir, SystemTime::now() + Duration::from_secs(2 * 86_400));
        assert!(left(&dir).is_empty());
    }
}
