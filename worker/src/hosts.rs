//! Warm context hosts: one interpreter per environment and context file, from which children are forked.

use std::{
    collections::HashMap,
    env, io,
    os::fd::{AsRawFd, OwnedFd},
    os::unix::process::{CommandExt, ExitStatusExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, Sender, channel},
    },
    time::{Duration, Instant},
};

use amore_wire::{
    VERSION,
    host::{FromHost, ToHost},
    task::ContextSource,
};
use nix::{
    fcntl::{FcntlArg, FdFlag, fcntl},
    sys::{
        signal::{SigSet, Signal},
        socket::{AddressFamily, SockFlag, SockType, socketpair},
    },
};

use crate::lines::{Lines, Received, send_with_descriptors};

/// How long a Python may take to import what a context file imports (a cold network file system is slow).
const START_TIMEOUT: Duration = Duration::from_secs(300);
/// How often a host is started that is killed before it is ready.
const START_ATTEMPTS: u32 = 3;
/// Hosts kept warm; the one unused for longest goes first.
const MAX_HOSTS: usize = 8;

/// A Python that cannot be a host; said to the user.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct HostError {
    /// What happened.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
    /// It was killed from outside before it could say anything.
    pub killed: bool,
}

/// What the host says of one child.
#[derive(Debug)]
pub enum ChildEvent {
    /// It runs.
    Forked {
        /// Process and process group.
        pid: i32,
    },
    /// It was reaped.
    Exited {
        /// Exit code.
        code: Option<i32>,
        /// Signal.
        signal: Option<i32>,
    },
    /// The host itself is gone, and its children with it.
    HostGone,
}

/// A running host.
#[derive(Debug)]
pub struct Host {
    control: OwnedFd,
    children: Arc<Mutex<HashMap<String, Sender<ChildEvent>>>>,
    /// `sys.version` of the interpreter.
    pub python_version: String,
    /// Digest of the environment.
    pub environment: String,
    gone: Arc<Mutex<bool>>,
    purpose: Purpose,
}

impl Host {
    /// Asks for a child with these descriptors; the events of its life come through the channel.
    ///
    /// # Errors
    /// The control socket's.
    pub fn fork(&self, id: &str, fds: &[&OwnedFd]) -> io::Result<Receiver<ChildEvent>> {
        let (sender, receiver) = channel();
        lock(&self.children).insert(id.to_owned(), sender.clone());
        if *lock(&self.gone) {
            let _ = sender.send(ChildEvent::HostGone);
            return Ok(receiver);
        }
        // One writer at a time: the descriptors must travel with their own line.
        let _one_at_a_time = lock(&self.children);
        match send_with_descriptors(&self.control, &ToHost::Fork { id: id.to_owned() }, fds) {
            // Dead, and not yet noticed by who listens to it.
            Err(error)
                if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) =>
            {
                *lock(&self.gone) = true;
                let _ = sender.send(ChildEvent::HostGone);
            }
            sent => sent?,
        }
        Ok(receiver)
    }

    /// Imports in the host what children had to import themselves, if there will be more of them.
    pub fn preload(&self, modules: Vec<String>) {
        if self.purpose == Purpose::OneTask {
            return;
        }
        let _one_at_a_time = lock(&self.children);
        // A host that is gone says so by its children.
        let _ = send_with_descriptors(&self.control, &ToHost::Preload { modules }, &[]);
    }

    fn is_gone(&self) -> bool {
        *lock(&self.gone)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug, PartialEq, Eq, Hash, Clone)]
struct Key {
    python: PathBuf,
    context: PathBuf,
    /// A new text may have new imports; then the host is replaced.
    sha256: String,
}

/// What hosts are started for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// As many tasks as may come: what they use is imported beforehand.
    ManyTasks,
    /// One, as in most Slurm jobs: what it does not use is not imported.
    OneTask,
}

/// All hosts of this worker.
#[derive(Debug)]
pub struct Hosts {
    purpose: Purpose,
    running: Mutex<HashMap<Key, (Instant, Arc<Host>)>>,
}

impl Hosts {
    /// None is started yet.
    pub fn new(purpose: Purpose) -> Self {
        Hosts { purpose, running: Mutex::default() }
    }

    /// The warm host for this Python and context file, started if need be.
    ///
    /// # Errors
    /// Why the Python cannot be used.
    pub fn get(&self, python: &Path, context: &ContextSource) -> Result<Arc<Host>, HostError> {
        let key =
            Key { python: python.to_owned(), context: context.path.clone(), sha256: context.sha256.clone() };
        // Held while starting: two tasks that need the same host wait for one.
        let mut running = lock(&self.running);
        if let Some((used, host)) = running.get_mut(&key)
            && !host.is_gone()
        {
            *used = Instant::now();
            return Ok(Arc::clone(host));
        }
        running.retain(|_, (_, host)| !host.is_gone());
        if running.len() >= MAX_HOSTS
            && let Some(oldest) =
                running.iter().min_by_key(|(_, (used, _))| *used).map(|(key, _)| key.clone())
        {
            running.remove(&oldest);
        }
        let mut attempts = 1;
        let host = loop {
            match start(python, &context.path, self.purpose) {
                // Somebody killed it; that says nothing of the Python.
                Err(error) if error.killed && attempts < START_ATTEMPTS => attempts += 1,
                started => break Arc::new(started?),
            }
        };
        running.insert(key, (Instant::now(), Arc::clone(&host)));
        Ok(host)
    }
}

/// Where the Python package stands: `AMORE_PYTHONPATH`, or beside the installed or built program.
fn package_directory() -> Result<PathBuf, HostError> {
    let error = |message: String| HostError {
        message,
        killed: false,
        hint: Some(
            "install Amore again (make install), or set AMORE_PYTHONPATH to the folder of damnit_ctx"
                .to_owned(),
        ),
    };
    if let Some(given) = env::var_os("AMORE_PYTHONPATH") {
        return Ok(PathBuf::from(given));
    }
    let program =
        env::current_exe().map_err(|cause| error(format!("cannot find my own program file: {cause}")))?;
    let folder = program.parent().unwrap_or(Path::new("/"));
    let candidates = [folder.join("../lib/amore/python"), folder.join("../../context")];
    candidates
        .iter()
        .find(|candidate| candidate.join("damnit_ctx").is_dir())
        .and_then(|found| found.canonicalize().ok())
        .ok_or_else(|| error(format!("the Python package damnit_ctx is not beside {}", program.display())))
}

fn start(python: &Path, context: &Path, purpose: Purpose) -> Result<Host, HostError> {
    let unusable = |what: String| HostError {
        message: format!("the Python {} cannot be used: {what}", python.display()),
        hint: Some("set the right one with: amore db-config context_python /path/to/python".to_owned()),
        killed: false,
    };
    let package = package_directory()?;
    let mut search_path = package.into_os_string();
    if let Some(others) = env::var_os("PYTHONPATH").filter(|others| !others.is_empty()) {
        search_path.push(":");
        search_path.push(others);
    }
    let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC)
        .map_err(|cause| unusable(cause.to_string()))?;
    let mut command = Command::new(python);
    command
        .args(["-m", "damnit_ctx.host", "--context"])
        .arg(context)
        .args((purpose == Purpose::OneTask).then_some("--one-task"))
        .env("PYTHONPATH", search_path)
        .env("AMORE_CONTROL_FD", theirs.as_raw_fd().to_string())
        // Python puts the working directory first on its search path until the host takes it off again.
        .current_dir("/")
        .stdin(Stdio::null())
        // Standard output is the coordinator's; what an import prints goes where errors go.
        .stdout(Stdio::from(stderr_again().map_err(|cause| unusable(cause.to_string()))?))
        .stderr(Stdio::piped())
        .process_group(0);
    let raw = theirs.as_raw_fd();
    // SAFETY: between fork and exec only fcntl and pthread_sigmask are called, which are async-signal-safe.
    unsafe {
        command.pre_exec(move || {
            let fd = std::os::fd::BorrowedFd::borrow_raw(raw);
            fcntl(fd, FcntlArg::F_SETFD(FdFlag::empty()))?;
            // A worker in a Slurm job waits for SIGTERM by blocking it; users' processes must not inherit that.
            SigSet::empty().thread_set_mask()?;
            Ok(())
        });
    }
    let mut process = command.spawn().map_err(|cause| unusable(cause.to_string()))?;
    drop(theirs);
    let last_words = collect_stderr(&mut process);

    let mut lines = Lines::new(ours.try_clone().map_err(|cause| unusable(cause.to_string()))?);
    let deadline = Some(Instant::now() + START_TIMEOUT);
    let ready = loop {
        match lines.receive::<FromHost>(deadline) {
            Ok(Received::Message(FromHost::Ready { version, python, environment })) => {
                break (version, python, environment);
            }
            Ok(Received::Message(FromHost::Unusable { message, hint })) => {
                let _ = process.wait();
                return Err(HostError { message, hint, killed: false });
            }
            Ok(Received::Message(_)) => {}
            Ok(Received::TimedOut) => {
                let _ = process.kill();
                let _ = process.wait();
                return Err(unusable(format!("it was not ready after {} s", START_TIMEOUT.as_secs())));
            }
            Ok(Received::Closed) => {
                let status = process.wait();
                let killed =
                    status.as_ref().is_ok_and(|status| status.signal() == Some(Signal::SIGKILL as i32));
                let status = status.map(|status| status.to_string()).unwrap_or_default();
                let words = last_words.join().unwrap_or_default();
                let error = unusable(format!("it ended at once ({status})\n{}", words.trim_end()));
                return Err(HostError { killed, ..error });
            }
            Err(cause) => {
                let _ = process.kill();
                let _ = process.wait();
                return Err(unusable(cause.to_string()));
            }
        }
    };
    let (version, python_version, environment) = ready;
    if version != VERSION {
        let _ = process.kill();
        let _ = process.wait();
        return Err(unusable(format!("its damnit_ctx speaks version {version}, this worker {VERSION}")));
    }
    let children = Arc::new(Mutex::new(HashMap::new()));
    let gone = Arc::new(Mutex::new(false));
    listen(lines, process, Arc::clone(&children), Arc::clone(&gone));
    Ok(Host { control: ours, children, python_version, environment, gone, purpose })
}

/// Passes on what the host writes to standard error and keeps the last of it for a message.
fn collect_stderr(process: &mut Child) -> std::thread::JoinHandle<String> {
    let stderr = process.stderr.take();
    std::thread::spawn(move || {
        use std::io::BufRead;
        let mut last = std::collections::VecDeque::new();
        if let Some(stderr) = stderr {
            for line in io::BufReader::new(stderr).lines().map_while(Result::ok) {
                last.push_back(line);
                if last.len() > 12 {
                    last.pop_front();
                }
            }
        }
        last.into_iter().collect::<Vec<_>>().join("\n")
    })
}

/// Hands the host's messages to the tasks they concern, until the host is gone.
fn listen(
    mut lines: Lines,
    mut process: Child,
    children: Arc<Mutex<HashMap<String, Sender<ChildEvent>>>>,
    gone: Arc<Mutex<bool>>,
) {
    std::thread::spawn(move || {
        loop {
            match lines.receive::<FromHost>(None) {
                Ok(Received::Message(FromHost::Forked { id, pid })) => {
                    if let Some(sender) = lock(&children).get(&id) {
                        let _ = sender.send(ChildEvent::Forked { pid });
                    }
                }
                Ok(Received::Message(FromHost::Exited { id, code, signal, .. })) => {
                    if let Some(sender) = lock(&children).remove(&id) {
                        let _ = sender.send(ChildEvent::Exited { code, signal });
                    }
                }
                Ok(Received::Message(_) | Received::TimedOut) => {}
                Ok(Received::Closed) | Err(_) => break,
            }
        }
        *lock(&gone) = true;
        for (_, sender) in lock(&children).drain() {
            let _ = sender.send(ChildEvent::HostGone);
        }
        // The socket is closed: the host is dead or about to be; do not leave a zombie.
        let _ = process.kill();
        let _ = process.wait();
    });
}

fn stderr_again() -> io::Result<OwnedFd> {
    use std::os::fd::AsFd;
    io::stderr().as_fd().try_clone_to_owned()
}
