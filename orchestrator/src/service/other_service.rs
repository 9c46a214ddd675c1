//! Whether a directory belongs to a service of another directory, as that of a facility: who starts one of his own there, or makes
//! a token for it, waits in vain.

use std::{
    fs,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
};

use amore_model::{DatabaseDir, lease::Holder};
use serde_json::{Value, json};

use crate::{
    api::listen::SOCKET,
    coordinate::{
        CoordinateError,
        owner::{Owner, this_process},
    },
};

/// What there is of a service of another directory.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OtherService {
    /// The process that owns the database directory now.
    pub owner: Option<Holder>,
    /// The directory of the service, as far as it can be seen from here.
    pub directory: Option<PathBuf>,
    /// Its socket, to which it has left a link.
    pub socket: Option<PathBuf>,
    /// Whether it serves the directory now. Otherwise it did so once, or the owner may be a command.
    pub is_certain: bool,
}

impl OtherService {
    /// Looks for one; `None`: there is no sign of it.
    ///
    /// # Errors
    /// The run table cannot be read.
    pub async fn of(dir: &DatabaseDir) -> Result<Option<Self>, CoordinateError> {
        let owner = match dir.run_table().exists() {
            true => Owner::holder(dir).await?,
            false => None,
        };
        let own = dir.clone();
        Ok(tokio::task::spawn_blocking(move || seen(&own, owner)).await?)
    }

    /// In a sentence.
    pub fn in_words(&self, directory: &Path) -> String {
        let OtherService { owner, directory: of, socket, is_certain } = self;
        let directory = directory.display();
        let place = match of {
            Some(of) => format!("the service of {}", of.display()),
            None => "a service of another directory".to_owned(),
        };
        match (owner, socket) {
            (Some(owner), _) if *is_certain => format!("{owner} serves {directory}: it is {place}"),
            (None, Some(socket)) if *is_certain => {
                format!("{place} serves {directory}: it listens to {}", socket.display())
            }
            (Some(owner), _) => format!("{owner} has {directory} now: a command, or {place}"),
            (None, Some(socket)) => {
                let socket = socket.display();
                format!("{place} has served {directory}, and may do so again: its socket was {socket}")
            }
            (None, None) => format!("{place} may serve {directory}"),
        }
    }

    /// For programs.
    pub fn as_json(&self) -> Value {
        let process =
            |Holder { host, pid, user, .. }: &Holder| json!({"host": host, "pid": pid, "user": user});
        json!({
            "process": self.owner.as_ref().map(process),
            "directory": self.directory,
            "socket": self.socket,
            "certain": self.is_certain,
        })
    }
}

fn seen(dir: &DatabaseDir, owner: Option<Holder>) -> Option<OtherService> {
    // The socket of its own service is no link.
    let socket = fs::read_link(dir.own_files().join(SOCKET)).ok();
    let here = owner.as_ref().filter(|owner| owner.host == this_process().host);
    let service = here.map(|owner| service_of(&Path::new("/proc").join(owner.pid.to_string())));
    // A command of this host is none.
    let owner = owner.filter(|_| service != Some(None));
    let directory = service.clone().flatten().flatten();
    if directory.as_deref() == Some(dir.path()) {
        return None;
    }
    let is_certain = match (&owner, &socket) {
        (Some(_), socket) => service.is_some() || socket.is_some(),
        (None, Some(socket)) => UnixStream::connect(socket).is_ok(),
        (None, None) => return None,
    };
    Some(OtherService { owner, directory, socket, is_certain })
}

/// If a process of this host is a service: its directory, if that can be seen.
fn service_of(process: &Path) -> Option<Option<PathBuf>> {
    let line = fs::read(process.join("cmdline")).ok()?;
    let words = line.split(|byte| *byte == 0).map(String::from_utf8_lossy);
    let mut words = words.skip(1).filter(|word| !word.is_empty() && !word.starts_with('-'));
    words.next().filter(|word| word == "listen")?;
    let given = words.next().map(|word| PathBuf::from(word.as_ref()));
    let directory = match (fs::read_link(process.join("cwd")), given) {
        (_, Some(given)) if given.is_absolute() => Some(given),
        (Ok(here), given) => Some(given.map_or_else(|| here.clone(), |given| here.join(given))),
        (Err(_), _) => None,
    };
    Some(directory.map(|directory| directory.canonicalize().unwrap_or(directory)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::{fs::symlink, net::UnixListener};

    use super::*;

    fn holder(host: &str) -> Holder {
        Holder {
            host: host.to_owned(),
            pid: 7,
            token: String::new(),
            user: "alice".to_owned(),
            address: None,
        }
    }

    #[test]
    fn a_service_is_known_by_its_command_line() {
        let folder = tempfile::tempdir().unwrap();
        let process = |words: &[&str], cwd: &str| {
            let place = folder.path().join(words.join("_").replace('/', "."));
            fs::create_dir(&place).unwrap();
            fs::write(place.join("cmdline"), words.join("\0") + "\0").unwrap();
            symlink(cwd, place.join("cwd")).unwrap();
            service_of(&place)
        };
        assert_eq!(process(&["/opt/amore", "listen"], "/tmp"), Some(Some("/tmp".into())));
        assert_eq!(process(&["amore", "--debug", "listen", "/var"], "/tmp"), Some(Some("/var".into())));
        assert_eq!(process(&["amore", "reprocess", "listen"], "/tmp"), None);
        assert_eq!(service_of(&folder.path().join("gone")), None);
    }

    #[test]
    fn a_link_shows_a_service_and_its_socket_or_an_owner_that_it_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let dir = DatabaseDir::at(folder.path().to_owned());
        fs::create_dir(dir.own_files()).unwrap();
        assert_eq!(seen(&dir, None), None);
        let command = seen(&dir, Some(holder("elsewhere"))).unwrap();
        assert!(
            !command.is_certain
                && command.in_words(dir.path()).contains("a command, or a service of another")
        );
        let socket = folder.path().join("public.sock");
        symlink(&socket, dir.own_files().join(SOCKET)).unwrap();
        let gone = seen(&dir, None).unwrap();
        assert!(!gone.is_certain && gone.in_words(dir.path()).contains("has served"));
        let owned = seen(&dir, Some(holder("elsewhere"))).unwrap();
        let words = owned.in_words(Path::new("/db"));
        assert!(owned.is_certain);
        // This process is no service.
        let command = Holder { host: this_process().host, pid: std::process::id(), ..holder("") };
        assert_eq!(seen(&dir, Some(command)).unwrap(), gone);
        assert_eq!(words, "process 7 of alice on elsewhere serves /db: it is a service of another directory");
        let _listener = UnixListener::bind(&socket).unwrap();
        assert!(seen(&dir, None).unwrap().is_certain);
    }
}
