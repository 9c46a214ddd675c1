//! Starts processes of this program that answer questions about a directory, and ends them.
//!
//! Each directory has a few places for such processes, and each process a time. One that hangs in its file system cannot even be
//! killed; it keeps its place until the system lets it go, so that the others of its directory are refused, and no other
//! directory notices.

use std::{
    collections::HashMap,
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    process::{Child, ChildStdout, Command},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::question::{Head, Question};

/// Processes and file operations of one directory at a time.
const PLACES: usize = 4;
/// Processes that follow the logs of one directory. They hold no place that a question needs.
const FOLLOWERS: usize = 16;
/// How long a question waits for a place.
const PLACE_PATIENCE: Duration = Duration::from_secs(5);
/// How long a value may take until its answer begins, and each piece of it.
const VALUE_PATIENCE: Duration = Duration::from_secs(30);
/// How long to wait for what a failed process says.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// The longest answer of a command.
const LONGEST_OUTPUT: u64 = 64 << 20;
/// Size of the pieces that are passed on.
const PIECE: usize = 256 << 10;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Unanswered {
    /// Too many questions about this directory are open. Try again later.
    #[error("too many questions about this directory are open")]
    Busy,
    /// It takes too long: the file system is slow or hangs. Try again later.
    #[error("{what} took longer than {} s", patience.as_secs())]
    Slow {
        /// What was asked.
        what: &'static str,
        /// How long it was waited for.
        patience: Duration,
    },
    /// The program cannot be started.
    #[error("cannot start {}: {source}", program.display())]
    NotStarted {
        /// The program.
        program: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// It ended without an answer.
    #[error("{what} ended without an answer: {why}")]
    Ended {
        /// What was asked.
        what: &'static str,
        /// What it wrote to its standard error, or what is wrong with its answer.
        why: String,
    },
}

/// Asks questions about directories.
#[derive(Debug, Default)]
pub struct Asking {
    questions: Places<PLACES>,
    followers: Places<FOLLOWERS>,
}

/// So many places for each directory.
#[derive(Debug, Default)]
struct Places<const EACH: usize>(Mutex<HashMap<PathBuf, Arc<Semaphore>>>);

impl<const EACH: usize> Places<EACH> {
    async fn take(&self, directory: &Path) -> Result<Place, Unanswered> {
        let places = {
            let mut all = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            // Those of directories that are gone.
            if all.len() > 1000 {
                all.retain(|_, places| places.available_permits() < EACH);
            }
            let new = || Arc::new(Semaphore::new(EACH));
            Arc::clone(all.entry(directory.to_owned()).or_insert_with(new))
        };
        match timeout(PLACE_PATIENCE, places.acquire_owned()).await {
            Ok(Ok(permit)) => Ok(Place(permit)),
            _ => Err(Unanswered::Busy),
        }
    }
}

/// A place for work on a directory. It is free again when this is dropped.
#[derive(Debug)]
pub struct Place(#[expect(dead_code, reason = "it is held")] OwnedSemaphorePermit);

/// The answer of a command of this program.
#[derive(Debug)]
pub struct Output {
    /// Its exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// What it wrote.
    pub output: Vec<u8>,
    /// Its messages.
    pub errors: String,
}

/// Content that a process writes.
#[derive(Debug)]
pub struct Content {
    process: Guarded,
    output: BufReader<ChildStdout>,
    left: u64,
}

impl Asking {
    /// Waits for a place.
    ///
    /// # Errors
    /// [`Unanswered::Busy`]
    pub async fn place(&self, directory: &Path) -> Result<Place, Unanswered> {
        self.questions.take(directory).await
    }

    /// Asks about a value.
    ///
    /// # Errors
    /// There is no answer. A value that cannot be read has one.
    pub async fn value(
        &self,
        directory: &Path,
        question: &Question,
    ) -> Result<(Head, Option<Content>), Unanswered> {
        const WHAT: &str = "reading the value";
        let place = self.place(directory).await?;
        let mut line = serde_json::to_vec(question)
            .map_err(|error| Unanswered::Ended { what: WHAT, why: error.to_string() })?;
        line.push(b'\n');
        // Nothing of this process's environment: it may have secrets.
        let mut process = Guarded::start(place, &["read-value".into()], Environment::Nothing)?;
        let answer = async {
            if let Some(mut input) = process.child()?.stdin.take() {
                input.write_all(&line).await?;
            }
            let mut output = BufReader::with_capacity(PIECE, process.output()?);
            let mut head = Vec::new();
            (&mut output).take(LONGEST_OUTPUT).read_until(b'\n', &mut head).await?;
            Ok::<_, io::Error>((head, output))
        };
        let ended = |why: String| Unanswered::Ended { what: WHAT, why };
        let (head, output) = match timeout(VALUE_PATIENCE, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(ended(error.to_string())),
            Err(_) => return Err(Unanswered::Slow { what: WHAT, patience: VALUE_PATIENCE }),
        };
        let head: Head = match serde_json::from_slice(&head) {
            Ok(head) => head,
            Err(error) if head.is_empty() => {
                return Err(ended(process.errors().await.unwrap_or(error.to_string())));
            }
            Err(error) => return Err(ended(error.to_string())),
        };
        let content = match &head {
            Head::Content { length, .. } => Some(Content { process, output, left: *length }),
            _ => None,
        };
        Ok((head, content))
    }

    /// Runs a command of this program.
    ///
    /// # Errors
    /// There is no answer. A command that fails has one.
    pub async fn command(
        &self,
        directory: &Path,
        what: &'static str,
        arguments: &[OsString],
        input: &[u8],
        patience: Duration,
    ) -> Result<Output, Unanswered> {
        let place = self.place(directory).await?;
        let mut process = Guarded::start(place, arguments, Environment::Ours)?;
        let run = async {
            let to = process.child()?.stdin.take();
            let (mut output, mut errors) = (Vec::new(), Vec::new());
            let (stdout, stderr) = (process.output()?, process.child()?.stderr.take());
            let read_errors = async {
                match stderr {
                    Some(stderr) => stderr.take(LONGEST_OUTPUT).read_to_end(&mut errors).await,
                    None => Ok(0),
                }
            };
            // A command that fails need not read its input.
            let write = async {
                match to {
                    Some(mut to) => to.write_all(input).await.is_ok(),
                    None => false,
                }
            };
            let mut stdout = stdout.take(LONGEST_OUTPUT);
            let (_, read, read_errors) = tokio::join!(write, stdout.read_to_end(&mut output), read_errors);
            read?;
            read_errors?;
            let status = process.child()?.wait().await?;
            let errors = String::from_utf8_lossy(&errors).trim().to_owned();
            Ok::<_, io::Error>(Output { code: status.code(), output, errors })
        };
        match timeout(patience, run).await {
            Ok(Ok(output)) => Ok(output),
            Ok(Err(error)) => Err(Unanswered::Ended { what, why: error.to_string() }),
            Err(_) => Err(Unanswered::Slow { what, patience }),
        }
    }

    /// Starts a command of this program that goes on until the caller has enough.
    ///
    /// # Errors
    /// It cannot be started.
    pub async fn follow(
        &self,
        directory: &Path,
        what: &'static str,
        arguments: &[OsString],
    ) -> Result<Following, Unanswered> {
        let place = self.followers.take(directory).await?;
        let mut process = Guarded::start(place, arguments, Environment::Ours)?;
        let output = process.output().map_err(|error| Unanswered::Ended { what, why: error.to_string() })?;
        Ok(Following { _process: process, output })
    }
}

/// Text that a command writes, without an end that is known before.
#[derive(Debug)]
pub struct Following {
    // Ended when this is dropped.
    _process: Guarded,
    output: ChildStdout,
}

impl Following {
    /// The next bytes; `None` at the end.
    ///
    /// # Errors
    /// They cannot be read.
    pub async fn next_piece(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut piece = vec![0; PIECE];
        let length = self.output.read(&mut piece).await?;
        piece.truncate(length);
        Ok(Some(piece).filter(|piece| !piece.is_empty()))
    }
}

impl Content {
    /// The next bytes; `None` at the end.
    ///
    /// # Errors
    /// The process failed, or takes too long. What was passed on is then incomplete.
    pub async fn next_piece(&mut self) -> io::Result<Option<Vec<u8>>> {
        if self.left == 0 {
            return Ok(None);
        }
        let mut piece = vec![0; PIECE.min(usize::try_from(self.left).unwrap_or(PIECE))];
        let read = timeout(VALUE_PATIENCE, self.output.read(&mut piece)).await;
        match read.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?? {
            0 => {
                let why = self.process.errors().await;
                Err(io::Error::other(
                    why.unwrap_or_else(|| "the value could not be read to its end".to_owned()),
                ))
            }
            length => {
                piece.truncate(length);
                self.left -= length as u64;
                Ok(Some(piece))
            }
        }
    }
}

/// What a process gets of this process's environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Environment {
    Nothing,
    Ours,
}

/// A process that is killed when this is dropped, and keeps its place until it has ended.
#[derive(Debug)]
struct Guarded {
    running: Option<(Child, Place)>,
}

impl Guarded {
    fn start(place: Place, arguments: &[OsString], environment: Environment) -> Result<Self, Unanswered> {
        // The file itself: after an upgrade, its name may belong to another version.
        let program = PathBuf::from("/proc/self/exe");
        let mut command = Command::new(&program);
        if environment == Environment::Nothing {
            command.env_clear();
        }
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        match command.kill_on_drop(true).spawn() {
            Ok(child) => Ok(Guarded { running: Some((child, place)) }),
            Err(source) => Err(Unanswered::NotStarted { program, source }),
        }
    }

    fn child(&mut self) -> io::Result<&mut Child> {
        let running = self.running.as_mut().map(|(child, _)| child);
        running.ok_or_else(|| io::Error::other("the process has ended"))
    }

    fn output(&mut self) -> io::Result<ChildStdout> {
        self.child()?.stdout.take().ok_or_else(|| io::Error::other("the process has no output"))
    }

    /// What it wrote to its standard error, if anything.
    async fn errors(&mut self) -> Option<String> {
        let mut errors = Vec::new();
        let mut stderr = self.child().ok()?.stderr.take()?.take(PIECE as u64);
        let _ = timeout(LAST_WORDS, stderr.read_to_end(&mut errors)).await;
        let words = String::from_utf8_lossy(&errors).trim().to_owned();
        Some(words).filter(|words| !words.is_empty())
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        let Some((mut child, place)) = self.running.take() else { return };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let _ = child.kill().await;
                drop(place);
            });
        }
    }
}
