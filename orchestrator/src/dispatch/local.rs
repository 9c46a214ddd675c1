//! A worker on this machine: started by us, spoken to by its standard input and output.

use std::{
    env,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use amore_wire::{
    VERSION, is_understood,
    task::{FromWorker, ToWorker},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
};

use crate::failure::Failure;

/// How long it may take to end when nothing is asked of it any more.
const STOP_PATIENCE: Duration = Duration::from_secs(30);

/// A running `amore-worker`.
#[derive(Debug)]
pub struct LocalWorker {
    process: Child,
    /// To the task that writes to it: a worker that does not read holds up nobody.
    input: Option<UnboundedSender<Vec<u8>>>,
    output: Lines<BufReader<ChildStdout>>,
}

/// The worker program: `AMORE_WORKER`, or beside this program.
pub fn program() -> PathBuf {
    if let Some(given) = env::var_os("AMORE_WORKER") {
        return PathBuf::from(given);
    }
    let own = env::current_exe().ok().and_then(|path| path.canonicalize().ok());
    own.as_deref()
        .and_then(Path::parent)
        .map_or_else(|| PathBuf::from("amore-worker"), |dir| dir.join("amore-worker"))
}

/// Writes to a worker's standard input, which is closed when nothing more is to come.
async fn write(mut input: ChildStdin, mut inbox: UnboundedReceiver<Vec<u8>>) {
    while let Some(lines) = inbox.recv().await {
        if input.write_all(&lines).await.is_err() || input.flush().await.is_err() {
            return;
        }
    }
}

impl LocalWorker {
    /// Starts one with room for `processes` children.
    ///
    /// # Errors
    /// When the program is not there or cannot be started.
    pub fn start(processes: usize) -> Result<Self, Failure> {
        let program = program();
        let mut process = Command::new(&program)
            .args(["--processes", &processes.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Ctrl-C is for us to hear: the worker is told what to finish.
            .process_group(0)
            .spawn()
            .map_err(|error| {
                Failure::new(format!("cannot start {}: {error}", program.display()))
                    .hint("amore and amore-worker belong in one folder: install both (make install)")
            })?;
        let (input, output) = (process.stdin.take(), process.stdout.take());
        let output = output.ok_or_else(|| Failure::new("the worker has no standard output"))?;
        let input = input.ok_or_else(|| Failure::new("the worker has no standard input"))?;
        let (send, inbox) = unbounded_channel();
        tokio::spawn(write(input, inbox));
        Ok(LocalWorker { process, input: Some(send), output: BufReader::new(output).lines() })
    }

    /// Sends messages; a dead worker shows when it is listened to.
    pub fn send(&self, messages: &[ToWorker]) {
        let Some(input) = &self.input else { return };
        let mut lines = Vec::new();
        for message in messages {
            if serde_json::to_writer(&mut lines, message).is_ok() {
                lines.push(b'\n');
            }
        }
        // It is dead: `next` will say so.
        let _ = input.send(lines);
    }

    /// Says hello; must come first.
    pub fn greet(&self) {
        self.send(&[ToWorker::Hello { version: VERSION }]);
    }

    /// The next message; `None` when the worker is gone. Can be cancelled without losing a message.
    ///
    /// # Errors
    /// A worker of another version, or one that says something that is no message.
    pub async fn next(&mut self) -> Result<Option<FromWorker>, Failure> {
        let Ok(Some(line)) = self.output.next_line().await else { return Ok(None) };
        let message: FromWorker = serde_json::from_str(&line).map_err(|error| {
            Failure::new(format!("the worker said something that is no message ({error}): {line:.200}"))
                .hint("amore and amore-worker must come from one build: install both again")
        })?;
        if let FromWorker::Hello { version, .. } = &message
            && !is_understood(*version)
        {
            return Err(Failure::new(format!(
                "the messages of amore-worker are of version {version}, and this program knows version {VERSION}"
            ))
            .hint("install amore and amore-worker from one build"));
        }
        Ok(Some(message))
    }

    /// Closes its input (it stops what runs and ends) and waits for it. One that does not end is killed, and what it
    /// started ends with it.
    pub async fn stop(mut self) {
        self.input = None;
        let ended = async {
            while let Ok(Some(_)) = self.output.next_line().await {}
            let _ = self.process.wait().await;
        };
        if tokio::time::timeout(STOP_PATIENCE, ended).await.is_err() {
            tracing::warn!("the worker did not end: it is killed");
            let _ = self.process.kill().await;
        }
    }
}
