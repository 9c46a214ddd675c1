//! The service of a directory under Supervisor: `amore listen --daemonize`.
//!
//! One supervisord for each directory, described by its `supervisord.conf`. Whoever starts the service, on whatever host,
//! asks the supervisord of that file first; a new one is started only if nobody listens there any more.

mod conf;
mod error;
mod files;
mod programs;
mod status;

use std::{
    env,
    net::TcpListener,
    path::{Path, PathBuf},
    time::Duration,
};

pub use error::SupervisorError;

use conf::Values;
use files::Files;
use programs::Programs;
use status::Status;

/// Times to choose a port: another program may take it before supervisord does.
const PORTS: usize = 3;
/// Supervisor counts the service as running after one second, and gives up after the fourth attempt.
const START_TIME: Duration = Duration::from_secs(30);
/// How long a supervisord may take to end: as long as the service, and a while.
const END_TIME: Duration = Duration::from_secs(40);
/// How long it may take to end after it has closed its port.
const LAST_MOMENT: Duration = Duration::from_secs(2);
/// How long another start of the same service is waited for.
const LOCK_TIME: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(200);
/// Lines of the service's output in an error.
const LINES: usize = 10;

/// What was done.
#[derive(Clone, Debug)]
pub struct Started {
    pub how: How,
    /// Supervisor's line about the service.
    pub line: String,
    /// The configuration.
    pub conf: PathBuf,
    /// Whether the members of the directory's group can control it.
    pub shared: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// Nothing: it ran already.
    RanAlready,
    /// The service, by the supervisord that was there.
    Service,
    /// supervisord, which started the service.
    Supervisord,
}

/// Has the service of a directory run under Supervisor. `umask` is that of this process.
///
/// # Errors
/// What is in the way, and what to do.
pub async fn start(directory: &Path, umask: u32) -> Result<Started, SupervisorError> {
    let failed = |source| SupervisorError::NoDirectory { path: directory.to_owned(), source };
    let directory = directory.canonicalize().map_err(failed)?;
    let files = Files::of(&directory);
    let programs = Programs::find()?;
    let _lock = lock(&files).await?;
    let conf = files.conf();
    let done = |how, line, shared| Started { how, line, conf: conf.clone(), shared };
    if conf.exists() {
        match settled(&programs, &conf).await? {
            Status::Running { line } | Status::Starting { line } => {
                return Ok(done(How::RanAlready, line, true));
            }
            Status::Stopped { .. } => {
                programs.start_service(&conf).await?;
                return Ok(done(How::Service, running(&programs, &files).await?, true));
            }
            Status::Stranger { why } | Status::HungUp { why } => {
                return Err(SupervisorError::Stranger { conf, why });
            }
            Status::BadConfiguration { why } => return Err(SupervisorError::BadConfiguration { conf, why }),
            Status::Ending => return Err(SupervisorError::Ending),
            Status::NoAnswer { .. } => {}
        }
    }
    gone(&files).await?;
    let shared = start_supervisord(&programs, &files, &directory, umask).await?;
    Ok(done(How::Supervisord, running(&programs, &files).await?, shared))
}

async fn lock(files: &Files) -> Result<std::fs::File, SupervisorError> {
    let begun = tokio::time::Instant::now();
    loop {
        if let Some(lock) = files.try_lock()? {
            return Ok(lock);
        }
        if begun.elapsed() > LOCK_TIME {
            return Err(SupervisorError::Locked);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// The state of the service; a supervisord that is about to end is waited for.
async fn settled(programs: &Programs, conf: &Path) -> Result<Status, SupervisorError> {
    let begun = tokio::time::Instant::now();
    let mut last_answer = begun;
    loop {
        let status = programs.status(conf).await?;
        let waited = match status {
            Status::Ending => {
                last_answer = tokio::time::Instant::now();
                begun.elapsed() > END_TIME
            }
            Status::HungUp { .. } => last_answer.elapsed() > LAST_MOMENT,
            _ => true,
        };
        if waited {
            return Ok(status);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Makes sure that no supervisord of this directory lives on this host. One that no longer listens may need a moment to end.
async fn gone(files: &Files) -> Result<(), SupervisorError> {
    let begun = tokio::time::Instant::now();
    while let Some(pid) = files.living_supervisord() {
        if begun.elapsed() > LAST_MOMENT {
            return Err(SupervisorError::Unreachable { pid, conf: files.conf() });
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

/// Writes a new configuration and starts supervisord with it.
async fn start_supervisord(
    programs: &Programs,
    files: &Files,
    directory: &Path,
    umask: u32,
) -> Result<bool, SupervisorError> {
    let template = files.template()?;
    let hostname = nix::unistd::gethostname().map_err(|error| SupervisorError::System {
        doing: "ask for the name of this host",
        source: error.into(),
    })?;
    let program = env::current_exe()
        .map_err(|source| SupervisorError::System { doing: "find the path of this program", source })?;
    let (mode, files_are_the_groups) = files.directory_mode()?;
    files.prepare_log()?;
    let mut tries = 1;
    loop {
        let values = Values {
            program: program.clone(),
            directory: directory.to_owned(),
            hostname: hostname.to_string_lossy().into_owned(),
            port: free_port()?,
            username: random_text()?,
            password: random_text()?,
            umask: amore_shared_files::umask::for_directory(umask, mode, files_are_the_groups),
        };
        let shared = files.write_conf(&conf::render(&template, &values)?)?;
        match programs.start_supervisord(&files.conf()).await {
            Ok(()) => return Ok(shared),
            Err(error) if tries == PORTS || !error.port_was_taken() => return Err(error),
            Err(_) => tries += 1,
        }
    }
}

/// Waits until the service runs; returns Supervisor's line about it.
async fn running(programs: &Programs, files: &Files) -> Result<String, SupervisorError> {
    let conf = files.conf();
    let begun = tokio::time::Instant::now();
    loop {
        let status = programs.status(&conf).await?;
        let late = begun.elapsed() > START_TIME;
        match status {
            Status::Running { line } => return Ok(line),
            Status::Stopped { line } => {
                return Err(SupervisorError::ServiceEnded {
                    line,
                    output: files.last_output(LINES),
                    path: files.service_output(),
                });
            }
            // supervisord does not listen yet.
            Status::Starting { .. } | Status::NoAnswer { .. } | Status::HungUp { .. } if !late => {
                tokio::time::sleep(PAUSE).await;
            }
            Status::Starting { line } => return Ok(line),
            Status::Ending => return Err(SupervisorError::Ending),
            Status::NoAnswer { why }
            | Status::HungUp { why }
            | Status::Stranger { why }
            | Status::BadConfiguration { why } => {
                return Err(SupervisorError::Stranger { conf, why });
            }
        }
    }
}

/// A port that nobody listens on. It is free for others until supervisord takes it.
fn free_port() -> Result<u16, SupervisorError> {
    let found = TcpListener::bind(("0.0.0.0", 0)).and_then(|listener| listener.local_addr());
    let address = found.map_err(|source| SupervisorError::System { doing: "find a free port", source })?;
    Ok(address.port())
}

/// 32 random bytes, in hexadecimal digits.
fn random_text() -> Result<String, SupervisorError> {
    let mut bytes = [0u8; 32];
    getrandom::fill(&mut bytes).map_err(|error| SupervisorError::System {
        doing: "get random numbers",
        source: std::io::Error::other(error.to_string()),
    })?;
    Ok(hex::encode(bytes))
}
