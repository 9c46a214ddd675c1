//! How a command asks a service to do something with events: it leaves a file in the service's directory, and the service
//! leaves an answer. So nobody needs more than the right to write there, from any host, and a request waits for a service that
//! does not run. Nobody but the service writes to its ledger.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::PathBuf,
    time::Duration,
};

use amore_model::DatabaseDir;
use amore_shared_files::own_folder::{Folder, has_extension};
use serde::{Deserialize, Serialize};

use super::{
    durable_file,
    inbox::Inbox,
    user_acts::{Answer, UserAct},
};

/// How often to look for requests.
const POLL: Duration = Duration::from_millis(500);
/// An answer that nobody has fetched for so long is removed.
const KEEP_ANSWERS: Duration = Duration::from_secs(3600);
const ANSWER: &str = "answer";
const VERSION: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
struct RequestFile {
    version: u32,
    #[serde(flatten)]
    act: UserAct,
}

/// What the service has done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AnswerFile {
    /// What was done with each event.
    Done(Vec<Answer>),
    /// Nothing was done.
    Refused(String),
}

/// The folder, in that of our own files.
const FOLDER: &str = "inbox";
/// A larger file is no request.
const MOST_BYTES: u64 = 16 << 20;

fn folder(dir: &DatabaseDir) -> PathBuf {
    dir.own_files().join(FOLDER)
}

/// Leaves a request. When this returns, it is on disk.
///
/// # Errors
/// The directory cannot be written.
pub fn leave(dir: &DatabaseDir, id: &str, act: &UserAct) -> io::Result<()> {
    let request = RequestFile { version: VERSION, act: act.clone() };
    durable_file::leave(&folder(dir), &format!("{id}.json"), &serde_json::to_vec(&request)?)
}

/// Fetches the answer to a request, if there is one.
///
/// # Errors
/// It cannot be read.
pub fn take_answer(dir: &DatabaseDir, id: &str) -> io::Result<Option<AnswerFile>> {
    let path = folder(dir).join(format!("{id}.{ANSWER}"));
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    // Otherwise the service removes it later.
    let _ = fs::remove_file(&path);
    Ok(Some(serde_json::from_slice(&text)?))
}

/// A request that waits.
#[derive(Debug)]
struct Waiting {
    path: PathBuf,
    id: String,
    /// Who left it.
    by: String,
    act: Result<UserAct, String>,
}

/// Answers requests until the inbox is gone. The file system may hang: this is a task of its own.
pub async fn watch(directory: PathBuf, inbox: Inbox) {
    let dir = DatabaseDir::at(directory);
    // What was done, and could not be answered: it is not done again.
    let mut unanswered: BTreeMap<PathBuf, AnswerFile> = BTreeMap::new();
    loop {
        let own = dir.clone();
        let requests = tokio::task::spawn_blocking(move || waiting(&own)).await.unwrap_or_default();
        unanswered.retain(|path, _| requests.iter().any(|request| request.path == *path));
        for request in requests {
            let is_known = unanswered.remove(&request.path);
            let was_told = is_known.is_some();
            let answer = match (is_known, request.act) {
                (Some(answer), _) => answer,
                (None, Ok(act)) => match inbox.act(act, request.by).await {
                    Ok(answers) => AnswerFile::Done(answers),
                    Err(error) => {
                        tracing::warn!(%error, path = %request.path.display(), "a request about events waits");
                        continue;
                    }
                },
                (None, Err(why)) => AnswerFile::Refused(why),
            };
            let (own, id, told) = (dir.clone(), request.id, answer.clone());
            let done = tokio::task::spawn_blocking(move || answered(&own, &id, &told)).await;
            if let Ok(Err(error)) = done {
                if !was_told {
                    let path = request.path.display();
                    tracing::warn!(%error, %path, "a request about events is done, but cannot be answered");
                }
                unanswered.insert(request.path, answer);
            }
        }
        if inbox.is_closed() {
            return;
        }
        tokio::time::sleep(POLL).await;
    }
}

/// A request that is carried out twice does no harm: what it does can be done twice.
fn answered(dir: &DatabaseDir, id: &str, answer: &AnswerFile) -> io::Result<()> {
    let opened = opened(dir)?;
    durable_file::leave(&opened.path(""), &format!("{id}.{ANSWER}"), &serde_json::to_vec(answer)?)?;
    opened.remove(format!("{id}.json"))
}

/// Others may write there: links are not followed.
fn opened(dir: &DatabaseDir) -> io::Result<Folder> {
    Folder::open(&dir.own_files())?.folder(FOLDER)
}

/// The requests that wait, oldest first. Removes old answers.
fn waiting(dir: &DatabaseDir) -> Vec<Waiting> {
    let Ok(folder) = opened(dir) else { return Vec::new() };
    let names = folder.names().unwrap_or_default();
    for name in names.iter().filter(|name| has_extension(name, ANSWER)) {
        if is_old(&folder, name) {
            // The next look removes it otherwise.
            let _ = folder.remove(name);
        }
    }
    let requests = names.iter().filter(|name| has_extension(name, "json"));
    requests.filter_map(|name| read(dir, &folder, name)).collect()
}

fn is_old(folder: &Folder, name: &OsStr) -> bool {
    let age = fs::symlink_metadata(folder.path(name)).and_then(|meta| meta.modified()).map(|at| at.elapsed());
    matches!(age, Ok(Ok(age)) if age > KEEP_ANSWERS)
}

fn read(dir: &DatabaseDir, opened: &Folder, name: &OsStr) -> Option<Waiting> {
    let path = folder(dir).join(name);
    let id = path.file_stem()?.to_str()?.to_owned();
    let mut file = opened.file(name).ok()?.take(MOST_BYTES);
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    let uid = nix::unistd::Uid::from_raw(file.into_inner().metadata().ok()?.uid());
    let user = nix::unistd::User::from_uid(uid).ok().flatten();
    let by = user.map_or_else(|| format!("user {uid}"), |user| user.name);
    let act = match serde_json::from_str::<RequestFile>(&text) {
        Ok(request) if request.version == VERSION => Ok(request.act),
        Ok(request) => {
            Err(format!("it has version {}, and this service knows version {VERSION}", request.version))
        }
        Err(error) => Err(error.to_string()),
    };
    Some(Waiting { path, id, by, act })
}

#[cfg(test)]
mod tests {
    use super::{
        super::user_acts::{Act, Chosen},
        *,
    };

    #[test]
    fn a_request_waits_until_it_is_answered_and_the_answer_is_fetched_once() {
        let own = tempfile::tempdir().unwrap();
        let dir = DatabaseDir::at(own.path().to_owned());
        assert!(waiting(&dir).is_empty());
        let act = UserAct { act: Act::Retry, chosen: Chosen::Numbers(vec![7]) };
        leave(&dir, "1", &act).unwrap();
        fs::write(folder(&dir).join("2.json"), "{\"version\": 9}").unwrap();
        let found = waiting(&dir);
        assert_eq!(found[0].act, Ok(act));
        assert!(found.len() == 2 && found[1].act.is_err());
        assert_eq!(take_answer(&dir, "1").unwrap(), None);
        let answer = AnswerFile::Done(vec![Answer { number: 7, refused: None }]);
        answered(&dir, &found[0].id, &answer).unwrap();
        assert_eq!(waiting(&dir).len(), 1);
        assert_eq!(take_answer(&dir, "1").unwrap(), Some(answer));
        assert_eq!(take_answer(&dir, "1").unwrap(), None);
    }

    #[test]
    fn which_events_have_failed_can_be_said_in_part() {
        let text = r#"{"version": 1, "act": "retry", "chosen": {"failed": {"proposal": 1234}}}"#;
        let request: RequestFile = serde_json::from_str(text).unwrap();
        let filter = request.act.chosen.filter().unwrap();
        assert_eq!((filter.proposal.map(|one| one.0), filter.run, filter.source), (Some(1234), None, None));
    }
}
