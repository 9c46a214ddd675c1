//! Supervisor's two programs: where they are, and how they are run.

use std::{
    env, io,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::{process::Command, time::timeout};

use super::{
    SupervisorError,
    status::{self, Status},
};

/// How long `supervisorctl` may take. A host that is down answers nothing at all.
const PATIENCE: Duration = Duration::from_secs(15);

/// Both programs.
#[derive(Clone, Debug)]
pub struct Programs {
    supervisord: PathBuf,
    supervisorctl: PathBuf,
}

impl Programs {
    /// Finds them on PATH, or beside this program, where `make install` puts them.
    ///
    /// # Errors
    /// They are not installed.
    pub fn find() -> Result<Self, SupervisorError> {
        let path = env::var_os("PATH").unwrap_or_default();
        let beside = env::current_exe().ok().and_then(|program| program.parent().map(Path::to_owned));
        let folders: Vec<PathBuf> = env::split_paths(&path).chain(beside).collect();
        let find = |name: &'static str| {
            let found = folders.iter().map(|folder| folder.join(name)).find(|program| program.is_file());
            found.ok_or(SupervisorError::NotInstalled { program: name })
        };
        Ok(Programs { supervisord: find("supervisord")?, supervisorctl: find("supervisorctl")? })
    }

    /// The state of the service, according to the supervisord of a configuration.
    pub async fn status(&self, conf: &Path) -> Result<Status, SupervisorError> {
        let (code, output) = run(self.control(conf).args(["status", "damnit"]), &self.supervisorctl).await?;
        Ok(status::read(code, &output))
    }

    /// Has the supervisord of a configuration start the service. What became of it is asked afterwards.
    pub async fn start_service(&self, conf: &Path) -> Result<(), SupervisorError> {
        run(self.control(conf).args(["start", "damnit"]), &self.supervisorctl).await.map(drop)
    }

    /// Starts supervisord, which continues in the background.
    pub async fn start_supervisord(&self, conf: &Path) -> Result<(), SupervisorError> {
        let mut command = Command::new(&self.supervisord);
        command.arg("-c").arg(conf);
        match run(&mut command, &self.supervisord).await? {
            (Some(0), _) => Ok(()),
            (_, output) => Err(SupervisorError::NotStarted { program: self.supervisord.clone(), output }),
        }
    }

    fn control(&self, conf: &Path) -> Command {
        let mut command = Command::new(&self.supervisorctl);
        command.arg("-c").arg(conf);
        command
    }
}

/// Exit code (`None` after the time) and all output.
async fn run(command: &mut Command, program: &Path) -> Result<(Option<i32>, String), SupervisorError> {
    let failed = |source: io::Error| SupervisorError::NotExecuted { program: program.to_owned(), source };
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let child = command.spawn().map_err(failed)?;
    match timeout(PATIENCE, child.wait_with_output()).await {
        Err(_) => Ok((None, String::new())),
        Ok(ended) => {
            let ended = ended.map_err(failed)?;
            let text = [ended.stdout, ended.stderr].concat();
            Ok((Some(ended.status.code().unwrap_or(-1)), String::from_utf8_lossy(&text).into_owned()))
        }
    }
}
