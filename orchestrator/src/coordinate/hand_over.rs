//! Handing a request to the owner of a directory, and following what becomes of it, by files alone.
//!
//! `.amore/requests/<id>.json` is a request nobody has taken. The owner renames it to `<id>.taken` and appends
//! [`Event`]s as JSON lines to `<id>.events`. Whoever asked reads them, and removes the files at the end.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufRead, BufReader, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use super::events::Event;
use crate::{database_dir::DatabaseDir, failure::Failure, trigger::user_request::UserRequest};

/// A request that was handed over, as the process that asked sees it.
#[derive(Debug)]
pub struct HandedOver {
    waiting: PathBuf,
    taken: PathBuf,
    events: PathBuf,
    read_to: u64,
}

/// A request as its owner sees it.
#[derive(Debug)]
pub struct Taken {
    /// What is asked for.
    pub request: UserRequest,
    events: File,
}

fn failed(what: &Path, error: &io::Error) -> Failure {
    Failure::new(format!("cannot write {}: {error}", what.display()))
}

/// Puts a request where the owner looks.
///
/// # Errors
/// When the directory cannot be written.
pub fn hand_over(dir: &DatabaseDir, id: &str, request: &UserRequest) -> Result<HandedOver, Failure> {
    let folder = dir.requests();
    fs::create_dir_all(&folder).map_err(|error| failed(&folder, &error))?;
    let waiting = folder.join(format!("{id}.json"));
    let writing = folder.join(format!("{id}.writing"));
    let text = serde_json::to_vec(request).map_err(|error| Failure::from_error(&error))?;
    let write = || -> io::Result<()> {
        let mut file = File::create(&writing)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&writing, &waiting)
    };
    write().map_err(|error| failed(&waiting, &error))?;
    Ok(HandedOver {
        taken: folder.join(format!("{id}.taken")),
        events: folder.join(format!("{id}.events")),
        waiting,
        read_to: 0,
    })
}

impl HandedOver {
    /// Events since the last call.
    pub fn news(&mut self) -> Vec<Event> {
        let Ok(mut file) = File::open(&self.events) else { return Vec::new() };
        if file.seek(SeekFrom::Start(self.read_to)).is_err() {
            return Vec::new();
        }
        let mut events = Vec::new();
        for line in BufReader::new(file).split(b'\n').map_while(Result::ok) {
            // A line that is still being written is read next time.
            let Ok(event) = serde_json::from_slice(&line) else { break };
            self.read_to += line.len() as u64 + 1;
            events.push(event);
        }
        events
    }

    /// Takes the request back; `false` if the owner was faster.
    pub fn withdraw(&self) -> bool {
        fs::remove_file(&self.waiting).is_ok()
    }

    /// Removes what is left of it.
    pub fn clean_up(&self) {
        for path in [&self.waiting, &self.taken, &self.events] {
            // Not there is as good.
            let _ = fs::remove_file(path);
        }
    }
}

/// The requests that wait, oldest first; each is taken once.
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
    let taken = path.with_extension("taken");
    fs::rename(path, &taken)?;
    let mut events = OpenOptions::new().create(true).append(true).open(path.with_extension("events"))?;
    match serde_json::from_slice(&fs::read(&taken)?) {
        Ok(request) => Ok(Taken { request, events }),
        Err(error) => {
            let event = Event::Refused {
                message: format!("the request {} is not understood: {error}", path.display()),
                hint: Some("the two commands must be of one version".to_owned()),
                exit: 1,
            };
            write_event(&mut events, &event)?;
            Err(io::ErrorKind::InvalidData.into())
        }
    }
}

fn write_event(file: &mut File, event: &Event) -> io::Result<()> {
    let mut line = serde_json::to_vec(event)?;
    line.push(b'\n');
    file.write_all(&line)
}

impl Taken {
    /// A second handle on the same conversation.
    ///
    /// # Errors
    /// The system's, when it has no descriptors left.
    pub fn again(&self) -> Result<Taken, Failure> {
        let events = self.events.try_clone().map_err(|error| Failure::from_error(&error))?;
        Ok(Taken { request: self.request.clone(), events })
    }

    /// Tells the process that asked. It may be gone; then nobody reads it.
    pub fn tell(&mut self, event: &Event) {
        let _ = write_event(&mut self.events, event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trigger::user_request::Runs;

    #[test]
    fn a_request_is_taken_once_and_its_events_are_read_as_they_come() {
        let folder = tempfile::tempdir().unwrap();
        let dir = DatabaseDir::at(folder.path().to_owned());
        let request = UserRequest {
            runs: Runs::All,
            proposal: None,
            matches: vec!["a".to_owned()],
            names: vec![],
            mock: true,
            cancel: None,
        };
        let mut asked = hand_over(&dir, "1-2", &request).unwrap();
        assert!(asked.news().is_empty());

        let mut taken = take_requests(&dir);
        assert_eq!(taken.len(), 1);
        assert_eq!(taken[0].request, request);
        assert!(take_requests(&dir).is_empty());
        assert!(!asked.withdraw());

        taken[0].tell(&Event::Notice { message: "one".to_owned() });
        assert_eq!(asked.news(), [Event::Notice { message: "one".to_owned() }]);
        assert!(asked.news().is_empty());
        taken[0].tell(&Event::Notice { message: "two".to_owned() });
        assert_eq!(asked.news(), [Event::Notice { message: "two".to_owned() }]);

        asked.clean_up();
        assert_eq!(fs::read_dir(dir.requests()).unwrap().count(), 0);
    }

    #[test]
    fn a_request_that_is_no_request_is_answered() {
        let folder = tempfile::tempdir().unwrap();
        let dir = DatabaseDir::at(folder.path().to_owned());
        let request = UserRequest {
            runs: Runs::All,
            proposal: None,
            matches: vec![],
            names: vec![],
            mock: false,
            cancel: None,
        };
        let mut asked = hand_over(&dir, "1", &request).unwrap();
        fs::write(dir.requests().join("1.json"), "{").unwrap();
        assert!(take_requests(&dir).is_empty());
        assert!(matches!(asked.news()[..], [Event::Refused { .. }]));
    }
}
