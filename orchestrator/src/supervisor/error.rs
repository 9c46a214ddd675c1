//! Why the service of a directory is not running under Supervisor.

use std::{io, path::PathBuf};

use super::conf::ConfError;
use crate::advice::Advice;

#[derive(Debug, thiserror::Error)]
pub enum SupervisorError {
    /// The path is wrong.
    #[error("there is no directory {}: {source}", path.display())]
    NoDirectory { path: PathBuf, source: io::Error },
    /// Supervisor has to be installed.
    #[error("there is no {program} on PATH, nor beside this program")]
    NotInstalled { program: &'static str },
    /// It cannot be executed.
    #[error("cannot start {}: {source}", program.display())]
    NotExecuted { program: PathBuf, source: io::Error },
    /// It ended with an error; `output` is all that it said.
    #[error("{} failed: {}", program.display(), output.trim())]
    NotStarted { program: PathBuf, output: String },
    /// Somebody who is not our supervisord answers; the user has to find out who.
    #[error("whoever answers where {} says is not its supervisord: {why}", conf.display())]
    Stranger { conf: PathBuf, why: String },
    /// Somebody has just told supervisord to end.
    #[error("the supervisord of this directory is shutting down")]
    Ending,
    /// supervisord lives, but it cannot be controlled.
    #[error("a supervisord of this directory runs on this host (process {pid}), but does not answer where {} says", conf.display())]
    Unreachable { pid: u32, conf: PathBuf },
    /// The file was changed.
    #[error("{} cannot be used: {why}", conf.display())]
    BadConfiguration { conf: PathBuf, why: String },
    /// The service was started and ended; `output` is what it said last.
    #[error("the service ended: {line}{}{output}", if output.is_empty() { "" } else { "\n" })]
    ServiceEnded { line: String, output: String, path: PathBuf },
    /// Another process has been starting it for a minute.
    #[error("another `amore listen --daemonize` of this directory has not finished yet")]
    Locked,
    #[error(transparent)]
    Conf(#[from] ConfError),
    /// A file cannot be used.
    #[error("cannot {doing} {}: {source}", path.display())]
    File { doing: &'static str, path: PathBuf, source: io::Error },
    #[error("cannot {doing}: {source}")]
    System { doing: &'static str, source: io::Error },
}

impl SupervisorError {
    /// Whether another program was faster to take the port.
    pub fn port_was_taken(&self) -> bool {
        matches!(self, SupervisorError::NotStarted { output, .. } if output.contains("already listening on a port"))
    }
}

impl Advice for SupervisorError {
    fn hint(&self) -> Option<String> {
        use SupervisorError::*;
        let hint = match self {
            NoDirectory { .. } => "create it first; runs are stored elsewhere, in the databases".to_owned(),
            NotInstalled { .. } => {
                "load the module (module load amore), install Supervisor (pip install supervisor, \
                 or Debian's package), or run the service in the foreground: amore listen"
                    .to_owned()
            }
            Stranger { conf, .. } => format!(
                "if the supervisord of this directory has ended on the host in that file, delete {} and try again",
                conf.display()
            ),
            Unreachable { pid, .. } => format!("end it (kill {pid}) and try again"),
            BadConfiguration { conf, .. } => format!(
                "if it has no supervisord any more, delete {} and try again: it is written anew",
                conf.display()
            ),
            ServiceEnded { path, .. } => {
                format!(
                    "see amore.log and {}; then: supervisorctl -c supervisord.conf start damnit",
                    path.display()
                )
            }
            Ending => "try again when it has ended".to_owned(),
            Locked => "wait for it, or end it".to_owned(),
            Conf(ConfError::Path { .. }) => {
                "rename the directory, or run the service in the foreground: amore listen".to_owned()
            }
            Conf(ConfError::Template { .. }) => {
                "see docs/service.md for what a template must have".to_owned()
            }
            File { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                "ask the owner of the directory for write permission for the group (chmod g+w)".to_owned()
            }
            NotStarted { .. } | NotExecuted { .. } | File { .. } | System { .. } => return None,
        };
        Some(hint)
    }
}
