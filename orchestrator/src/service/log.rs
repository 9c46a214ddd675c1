//! The log of the service: `amore.log` in its directory, and standard error. SIGHUP opens the file again, after logrotate has
//! moved it.
//!
//! Lines are text with `key=value` fields, or JSON if `AMORE_LOG_FORMAT=json`.

use std::{
    env,
    fs::{File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use tracing_subscriber::{EnvFilter, fmt::writer::MakeWriterExt};

use super::ServiceError;

/// The log file.
#[derive(Clone, Debug)]
pub struct Log {
    path: PathBuf,
    file: Arc<Mutex<File>>,
}

/// Opens the log in this directory, and sends there what this process logs.
///
/// # Errors
/// The file cannot be opened.
pub fn start(directory: &Path, debug: bool) -> Result<Log, ServiceError> {
    let path = directory.join("amore.log");
    let file = open(&path).map_err(|source| ServiceError::Log { path: path.clone(), source })?;
    let log = Log { path, file: Arc::new(Mutex::new(file)) };
    let default = if debug { "debug,sqlx=info" } else { "info,sqlx=warn" };
    let filter = EnvFilter::try_from_env("AMORE_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let own = log.clone();
    let writer = (move || own.clone()).and(io::stderr);
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(writer);
    if env::var_os("AMORE_LOG_FORMAT").is_some_and(|format| format == "json") {
        subscriber.json().init();
    } else {
        subscriber.init();
    }
    Ok(log)
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

impl Log {
    /// Opens the file again. If that fails, the old one is written to.
    pub fn reopen(&self) {
        match open(&self.path) {
            Ok(file) => *self.file.lock().unwrap_or_else(PoisonError::into_inner) = file,
            Err(error) => tracing::error!(%error, "the log cannot be opened again"),
        }
        tracing::info!("the log was opened again");
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner).flush()
    }
}
