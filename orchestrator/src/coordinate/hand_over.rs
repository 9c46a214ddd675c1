//! Hands a request to the owner of a directory, and tracks its progress, using only files.
//!
//! `.amore/requests/<id>.json` is a pending request. The owner renames it to `<id>.taken` and appends [`Event`]s as JSON
//! lines to `<id>.events`. After the last event, it renames the request to `<id>.done`. The requesting process reads the
//! events and removes the files at the end. If it died before that, an owner removes them ([`clean`]). Requests and events
//! have a version.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use amore_core::{events::Event, request::Request};
use amore_model::DatabaseDir;
use serde::{Deserialize, Serialize};

use super::{
    CoordinateError,
    abandoned::{Asker, is_abandoned},
};
use crate::growing_lines::GrowingLines;

/// The version of requests and events. Optional fields may be added without a new version; a change that a reader would
/// misunderstand needs one.
const VERSION: u32 = 1;

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
    path: PathBuf,
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
        let mut file = File::create(&writing)?;
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

/// Takes the pending requests, oldest first. Each is taken by one process only. Those of dead processes are discarded.
pub fn take_requests(dir: &DatabaseDir) -> Vec<Taken> {
    let folder = dir.requests();
    let Ok(entries) = fs::read_dir(&folder) else { return Vec::new() };
    let mut waiting: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "json"))
        .collect();
    waiting.sort();
    waiting.iter().filter_map(|path| take(path).ok()).collect()
}

fn take(path: &Path) -> io::Result<Taken> {
    if asker_of(path).is_some_and(|asker| asker.is_known_dead()) {
        tracing::info!(path = %path.display(), "the process that made this request is gone: the request is discarded");
        fs::remove_file(path)?;
        return Err(io::ErrorKind::NotFound.into());
    }
    let taken = path.with_extension("taken");
    fs::rename(path, &taken)?;
    let mut events = OpenOptions::new().create(true).append(true).open(path.with_extension("events"))?;
    let text = fs::read(&taken)?;
    let version = serde_json::from_slice::<Envelope>(&text).map_or(VERSION, |envelope| envelope.version);
    let message = if version > VERSION {
        format!(
            "the request is of version {version}, and the process that owns this directory knows {VERSION}"
        )
    } else {
        match serde_json::from_slice::<RequestFile>(&text) {
            Ok(file) => return Ok(Taken { request: file.request, path: taken, events }),
            Err(error) => format!("the request {} is not understood: {error}", path.display()),
        }
    };
    let hint = Some("the two commands must be of one version".to_owned());
    write_event(&mut events, &Event::Refused { message, hint, exit: 1 })?;
    fs::rename(&taken, taken.with_extension("done"))?;
    Err(io::ErrorKind::InvalidData.into())
}

fn asker_of(path: &Path) -> Option<Asker> {
    serde_json::from_slice::<Envelope>(&fs::read(path).ok()?).ok()?.asker
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
            let _ = fs::rename(&self.path, self.path.with_extension("done"));
        }
    }
}

/// Removes request files of processes that are gone.
pub fn clean(dir: &DatabaseDir, now: SystemTime) {
    let Ok(entries) = fs::read_dir(dir.requests()) else { return };
    let files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    let mut stems: Vec<PathBuf> = files.iter().map(|path| path.with_extension("")).collect();
    stems.sort();
    stems.dedup();
    for stem in stems {
        let of_it: Vec<&PathBuf> = files.iter().filter(|path| path.with_extension("") == stem).collect();
        let asker =
            ["json", "taken", "done", "writing"].iter().find_map(|kind| asker_of(&stem.with_extension(kind)));
        let modified = of_it.iter().filter_map(|path| fs::metadata(path).ok()?.modified().ok()).max();
        let Some(modified) = modified else { continue };
        if is_abandoned(asker.as_ref(), now.duration_since(modified).unwrap_or_default()) {
            for path in of_it {
                // The file may already be gone.
                let _ = fs::remove_file(path);
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
