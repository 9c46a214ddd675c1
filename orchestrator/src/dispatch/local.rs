//! A worker on this machine. It is started by this process, and communicates through its standard input and output.

use std::{
    env,
    ffi::OsStr,
    io,
    path::{Path, PathBuf},
    process::Stdio,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use amore_model::service_environment::is_hidden_from_workers;
use amore_wire::{
    NEWEST_VERSION, VERSION, is_understood,
    task::{FromWorker, ToWorker},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
};

use crate::advice::Advice;

/// How long a worker may take to end once its input is closed.
const STOP_PATIENCE: Duration = Duration::from_secs(30);

/// How long a worker that is killed may take to end.
const KILL_PATIENCE: Duration = Duration::from_secs(5);

/// Why there is no usable worker. The installation has to be repaired.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The program is missing or cannot be started.
    #[error("cannot start {}: {source}", program.display())]
    NotStarted { program: PathBuf, source: io::Error },
    /// It sent something that is not a message.
    #[error("the worker sent something that is not a message ({source}): {line:.200}")]
    NotAMessage { line: String, source: serde_json::Error },
    /// It has another version.
    #[error(
        "the messages of amore-worker are of version {version}, and this program knows version {NEWEST_VERSION}"
    )]
    OtherVersion { version: u32 },
}

impl Advice for WorkerError {
    fn hint(&self) -> Option<String> {
        let hint = match self {
            WorkerError::NotStarted { .. } => {
                "amore and amore-worker belong in one folder: install both (make install)"
            }
            WorkerError::NotAMessage { .. } => {
                "amore and amore-worker must come from one build: install both again"
            }
            WorkerError::OtherVersion { .. } => "install amore and amore-worker from one build",
        };
        Some(hint.to_owned())
    }
}

/// How many tasks a worker executes at once; others wait in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtOnce {
    /// So many.
    UpTo(usize),
    /// All: whoever sends them sees to their number.
    WhateverItGets,
}

/// A running `amore-worker`.
#[derive(Debug)]
pub struct LocalWorker {
    process: Child,
    /// Goes to the task that writes to the worker, so that a worker that does not read blocks nobody.
    input: Option<UnboundedSender<Vec<u8>>>,
    output: Lines<BufReader<ChildStdout>>,
    /// The version that it was told.
    told: AtomicU32,
}

/// Path of the worker program: `AMORE_WORKER`, otherwise next to this program.
pub fn program() -> PathBuf {
    if let Some(given) = env::var_os("AMORE_WORKER") {
        return PathBuf::from(given);
    }
    let own = env::current_exe().ok().and_then(|path| path.canonicalize().ok());
    own.as_deref()
        .and_then(Path::parent)
        .map_or_else(|| PathBuf::from("amore-worker"), |dir| dir.join("amore-worker"))
}

/// Writes to a worker's standard input, and closes it once the sender is dropped.
async fn write(mut input: ChildStdin, mut inbox: UnboundedReceiver<Vec<u8>>) {
    while let Some(lines) = inbox.recv().await {
        if input.write_all(&lines).await.is_err() || input.flush().await.is_err() {
            return;
        }
    }
}

impl LocalWorker {
    /// Starts a worker.
    ///
    /// # Errors
    /// The program is missing or cannot be started.
    pub fn start(at_once: AtOnce) -> Result<Self, WorkerError> {
        let program = program();
        let not_started = |source| WorkerError::NotStarted { program: program.clone(), source };
        let mut command = Command::new(&program);
        for (name, _) in env::vars_os() {
            if is_hidden_from_workers(&OsStr::to_string_lossy(&name)) {
                command.env_remove(name);
            }
        }
        let mut process = command
            .args(match at_once {
                AtOnce::UpTo(processes) => vec!["--processes".to_owned(), processes.to_string()],
                AtOnce::WhateverItGets => vec!["--at-once".to_owned()],
            })
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Only this process handles Ctrl-C. It tells the worker what to finish.
            .process_group(0)
            .spawn()
            .map_err(not_started)?;
        let (Some(input), Some(output)) = (process.stdin.take(), process.stdout.take()) else {
            return Err(not_started(io::Error::other("it has no standard input or output")));
        };
        let (send, inbox) = unbounded_channel();
        tokio::spawn(write(input, inbox));
        Ok(LocalWorker {
            process,
            input: Some(send),
            output: BufReader::new(output).lines(),
            told: AtomicU32::new(VERSION),
        })
    }

    /// Sends messages. If the worker is dead, `next` shows it.
    pub fn send(&self, messages: &[ToWorker]) {
        let Some(input) = &self.input else { return };
        let mut lines = Vec::new();
        for message in messages {
            // A worker of an earlier version must not ignore what it does not know.
            let version = message.version();
            if version > self.told.fetch_max(version, Ordering::Relaxed)
                && serde_json::to_writer(&mut lines, &ToWorker::Hello { version }).is_ok()
            {
                lines.push(b'\n');
            }
            if serde_json::to_writer(&mut lines, message).is_ok() {
                lines.push(b'\n');
            }
        }
        // If it is dead, `next` reports it.
        let _ = input.send(lines);
    }

    /// Sends the greeting, which must be the first message.
    pub fn greet(&self) {
        self.send(&[ToWorker::Hello { version: VERSION }]);
    }

    /// The next message; `None` if the worker is gone. Cancel-safe.
    ///
    /// # Errors
    /// The worker has another version, or sent something that is not a message.
    pub async fn next(&mut self) -> Result<Option<FromWorker>, WorkerError> {
        let Ok(Some(line)) = self.output.next_line().await else { return Ok(None) };
        let message: FromWorker = match serde_json::from_str(&line) {
            Ok(message) => message,
            Err(source) => return Err(WorkerError::NotAMessage { line, source }),
        };
        if let FromWorker::Hello { version, .. } = &message
            && !is_understood(*version)
        {
            return Err(WorkerError::OtherVersion { version: *version });
        }
        Ok(Some(message))
    }

    /// Closes its input (it then stops its tasks and ends) and waits for it. If it does not end, it is killed, and its
    /// children end with it.
    pub async fn stop(mut self) {
        self.input = None;
        let ended = async {
            while let Ok(Some(_)) = self.output.next_line().await {}
            let _ = self.process.wait().await;
        };
        if tokio::time::timeout(STOP_PATIENCE, ended).await.is_err() {
            tracing::warn!("the worker did not end in time; killing it");
            // One that waits for a file system that hangs ends when that answers.
            let _ = tokio::time::timeout(KILL_PATIENCE, self.process.kill()).await;
        }
    }
}
