//! Warm context hosts: one interpreter per environment and context file, from which children are forked.

use std::{
    collections::{BTreeMap, HashMap},
    env,
    ffi::OsStr,
    io,
    os::fd::{AsRawFd, OwnedFd},
    os::unix::process::{CommandExt, ExitStatusExt},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

use amore_model::python_environment::{LEFT_OUT, PYTHONPATH, absolute_search_path, package_candidates};
use amore_wire::{
    VERSION,
    host::{FromHost, ToHost},
    is_understood,
    task::ContextSource,
};
use nix::sys::{
    signal::{SigSet, Signal},
    socket::{AddressFamily, Shutdown, SockFlag, SockType, shutdown, socketpair},
};

use crate::{
    lines::{Lines, Received, send_with_descriptors},
    sandboxed::{self, Confinement, Lifeline},
    slurm_environment,
};

/// Passes to the host the variables that functions may read but programs started by them do not inherit
/// (`damnit_ctx/job_variables.py`).
const JOB_VARIABLES: &str = "AMORE_JOB_VARIABLES";
/// Time limit for importing what a context file imports (a cold network file system is slow).
const START_TIMEOUT: Duration = Duration::from_secs(300);
/// How often to start a host that is killed before it is ready.
const START_ATTEMPTS: u32 = 3;
/// How often a task that waits for a host checks whether it was cancelled.
const CANCEL_POLL: Duration = Duration::from_millis(50);
/// Number of warm hosts; the least recently used one is stopped first.
const MAX_HOSTS: usize = 8;

/// A Python that cannot be used as a host; shown to the user.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct HostError {
    pub message: String,
    pub hint: Option<String>,
    /// Whether it was killed from outside before it could report anything.
    pub killed: bool,
}

/// What the host reports about one child.
#[derive(Debug)]
pub enum ChildEvent {
    Forked {
        /// Process id, and process group id.
        pid: i32,
    },
    Exited {
        code: Option<i32>,
        signal: Option<i32>,
    },
    /// The host is gone, and its children with it.
    HostGone,
}

#[derive(Debug)]
pub struct Host {
    control: OwnedFd,
    children: Arc<Mutex<HashMap<String, Sender<ChildEvent>>>>,
    /// In a sandbox: ends all of its processes when the host is dropped.
    lifeline: Option<Lifeline>,
    /// `sys.version` of the interpreter.
    pub python_version: String,
    /// Digest of the environment.
    pub environment: String,
    gone: Arc<Mutex<bool>>,
    purpose: Purpose,
}

impl Host {
    /// Requests a child with these descriptors; its events arrive through the channel.
    pub fn fork(&self, id: &str, fds: &[&OwnedFd]) -> io::Result<Receiver<ChildEvent>> {
        let (sender, receiver) = channel();
        lock(&self.children).insert(id.to_owned(), sender.clone());
        if *lock(&self.gone) {
            let _ = sender.send(ChildEvent::HostGone);
            return Ok(receiver);
        }
        // One writer at a time: descriptors must be sent together with their line.
        let _one_at_a_time = lock(&self.children);
        match send_with_descriptors(&self.control, &ToHost::Fork { id: id.to_owned() }, fds) {
            // The host is dead; the listening thread has not noticed yet.
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

    /// Imports in the host what children had to import themselves, if more children will follow.
    pub fn preload(&self, modules: Vec<String>) {
        if self.purpose == Purpose::OneTask {
            return;
        }
        let _one_at_a_time = lock(&self.children);
        // A lost host is noticed through its children.
        let _ = send_with_descriptors(&self.control, &ToHost::Preload { modules }, &[]);
    }

    /// Whether it runs in a sandbox. Its processes may then have other numbers there than here, or another account.
    pub fn is_sandboxed(&self) -> bool {
        self.lifeline.is_some()
    }

    /// Sends a signal to a child's process group, by way of the host.
    pub fn signal(&self, id: &str, signal: Signal) {
        let _one_at_a_time = lock(&self.children);
        let message = ToHost::Signal { id: id.to_owned(), signal: signal as i32 };
        // The children of a lost host are lost too.
        let _ = send_with_descriptors(&self.control, &message, &[]);
    }

    fn is_gone(&self) -> bool {
        *lock(&self.gone)
    }
}

impl Drop for Host {
    /// Ends the process: the listening thread still has the socket open.
    fn drop(&mut self) {
        let _ = shutdown(self.control.as_raw_fd(), Shutdown::Write);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug, PartialEq, Eq, Hash, Clone)]
struct Key {
    python: PathBuf,
    context: PathBuf,
    /// If the file is a link, its target may change, and with it the directories of the user's own modules.
    folders: Vec<PathBuf>,
    /// A new text may have new imports, so the host is then replaced.
    sha256: String,
    /// No host serves two sandboxes, or two proposals in one.
    confinement: Option<Confinement>,
}

/// How many tasks a host is started for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Any number of tasks: what they use is imported beforehand.
    ManyTasks,
    /// One task, as in most Slurm jobs: only what it uses is imported.
    OneTask,
}

/// A slot for one host. Only tasks that need this host wait for its start.
#[derive(Debug)]
struct Slot {
    state: Mutex<SlotState>,
    changed: Condvar,
    used: Mutex<Instant>,
}

#[derive(Debug)]
enum SlotState {
    Starting,
    Started(Result<Arc<Host>, HostError>),
}

impl Slot {
    fn starting() -> Self {
        Slot {
            state: Mutex::new(SlotState::Starting),
            changed: Condvar::new(),
            used: Mutex::new(Instant::now()),
        }
    }

    /// Whether the slot can be used. A host that is starting can: the caller waits for it.
    fn is_usable(&self) -> bool {
        match &*lock(&self.state) {
            SlotState::Starting => true,
            SlotState::Started(Ok(host)) => !host.is_gone(),
            SlotState::Started(Err(_)) => false,
        }
    }

    fn is_starting(&self) -> bool {
        matches!(*lock(&self.state), SlotState::Starting)
    }

    fn set(&self, started: Result<Arc<Host>, HostError>) {
        *lock(&self.state) = SlotState::Started(started);
        self.changed.notify_all();
    }

    fn wait(&self, cancelled: &AtomicBool) -> Result<Arc<Host>, NoHost> {
        let mut state = lock(&self.state);
        loop {
            if let SlotState::Started(started) = &*state {
                return started.clone().map_err(NoHost::Unusable);
            }
            if cancelled.load(Ordering::Relaxed) {
                return Err(NoHost::Cancelled);
            }
            let waited = self.changed.wait_timeout(state, CANCEL_POLL);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Why no host is available.
#[derive(Clone, Debug)]
pub enum NoHost {
    /// The Python cannot be used.
    Unusable(HostError),
    /// The task was cancelled while the host was starting.
    Cancelled,
}

/// All hosts of this worker.
#[derive(Debug)]
pub struct Hosts {
    purpose: Purpose,
    /// Environment variables that Python processes get in addition to those of the worker.
    environment: BTreeMap<String, String>,
    /// Variables of the worker's environment that they do not inherit.
    without: Vec<String>,
    /// Those of them that functions may still read.
    readable: BTreeMap<String, String>,
    /// Locked only briefly: a Python may take minutes to start.
    slots: Mutex<HashMap<Key, Arc<Slot>>>,
}

impl Hosts {
    /// Starts without hosts.
    pub fn new(purpose: Purpose, environment: BTreeMap<String, String>) -> Self {
        Hosts {
            purpose,
            environment,
            without: Vec::new(),
            readable: BTreeMap::new(),
            slots: Mutex::default(),
        }
    }

    /// For a Slurm job: variables that Slurm's commands would interpret as options can be read, but are not inherited.
    pub fn in_job(purpose: Purpose, environment: BTreeMap<String, String>) -> Self {
        let without = slurm_environment::taken_away_here(false);
        let readable = without
            .iter()
            .filter(|name| slurm_environment::is_readable(name))
            .filter_map(|name| Some((name.clone(), env::var(name).ok()?)))
            .collect();
        Hosts { without, readable, ..Hosts::new(purpose, environment) }
    }

    /// The warm host for this Python and context file; starts it if necessary. Tasks that need the same host wait for the
    /// same start.
    ///
    /// # Errors
    /// The Python cannot be used, or `cancelled` was set in the meantime.
    pub fn get(
        &self,
        python: &Path,
        context: &ContextSource,
        confinement: Option<&Confinement>,
        cancelled: &AtomicBool,
    ) -> Result<Arc<Host>, NoHost> {
        let (purpose, environment, without) = (self.purpose, self.environment.clone(), self.without.clone());
        let readable = self.readable.clone();
        let confined = confinement.cloned();
        self.get_by(python, context, confinement, cancelled, move |python, context| {
            start(python, context, confined.as_ref(), purpose, &environment, &without, &readable)
        })
    }

    fn get_by(
        &self,
        python: &Path,
        context: &ContextSource,
        confinement: Option<&Confinement>,
        cancelled: &AtomicBool,
        start: impl Fn(&Path, &ContextSource) -> Result<Host, HostError> + Send + 'static,
    ) -> Result<Arc<Host>, NoHost> {
        let key = Key {
            python: python.to_owned(),
            context: context.path.clone(),
            folders: context.folders.clone(),
            sha256: context.sha256.clone(),
            confinement: confinement.cloned(),
        };
        let slot = {
            let mut slots = lock(&self.slots);
            slots.retain(|_, slot| slot.is_usable());
            match slots.get(&key) {
                Some(slot) => Arc::clone(slot),
                None => {
                    make_room(&mut slots);
                    let slot = Arc::new(Slot::starting());
                    slots.insert(key, Arc::clone(&slot));
                    let (place, python, context) = (Arc::clone(&slot), python.to_owned(), context.clone());
                    // In a separate thread: the requesting task may be cancelled while others still wait for the host.
                    thread::spawn(move || place.set(start_again_if_killed(|| start(&python, &context))));
                    slot
                }
            }
        };
        *lock(&slot.used) = Instant::now();
        slot.wait(cancelled)
    }
}

/// Stops the least recently used host if there are too many. Those that are starting do not count: a start may hang in the file
/// system of one proposal, and the hosts of the others must stay warm.
fn make_room(slots: &mut HashMap<Key, Arc<Slot>>) {
    loop {
        let ready: Vec<_> = slots.iter().filter(|(_, slot)| !slot.is_starting()).collect();
        if ready.len() < MAX_HOSTS {
            return;
        }
        let oldest = ready.into_iter().min_by_key(|(_, slot)| *lock(&slot.used)).map(|(key, _)| key.clone());
        let Some(oldest) = oldest else { return };
        slots.remove(&oldest);
    }
}

fn start_again_if_killed(start: impl Fn() -> Result<Host, HostError>) -> Result<Arc<Host>, HostError> {
    let mut attempts = 1;
    loop {
        match start() {
            // It was killed from outside, which says nothing about the Python.
            Err(error) if error.killed && attempts < START_ATTEMPTS => attempts += 1,
            started => return started.map(Arc::new),
        }
    }
}

/// The directory of the Python package: `AMORE_PYTHONPATH`, or next to the installed or built program.
fn package_directory() -> Result<PathBuf, HostError> {
    let error = |message: String| HostError {
        message,
        killed: false,
        hint: Some(
            "reinstall Amore (make install), or set AMORE_PYTHONPATH to the directory of damnit_ctx"
                .to_owned(),
        ),
    };
    if let Some(given) = env::var_os("AMORE_PYTHONPATH") {
        return Ok(PathBuf::from(given));
    }
    let program = env::current_exe()
        .map_err(|cause| error(format!("cannot determine the path of this program: {cause}")))?;
    package_candidates(&program)
        .iter()
        .find(|candidate| candidate.join("damnit_ctx").is_dir())
        .and_then(|found| found.canonicalize().ok())
        .ok_or_else(|| error(format!("the Python package damnit_ctx is not next to {}", program.display())))
}

fn start(
    python: &Path,
    context: &ContextSource,
    confinement: Option<&Confinement>,
    purpose: Purpose,
    environment: &BTreeMap<String, String>,
    without: &[String],
    readable: &BTreeMap<String, String>,
) -> Result<Host, HostError> {
    let unusable = |what: String| match confinement {
        None => HostError {
            message: format!("the Python {} cannot be used: {what}", python.display()),
            hint: Some("choose another one with: amore db-config context_python /path/to/python".to_owned()),
            killed: false,
        },
        Some(Confinement { sandbox, .. }) => HostError {
            message: format!(
                "the Python {} cannot be used in the sandbox `{sandbox}`: {what}",
                python.display()
            ),
            hint: Some(sandboxed::HINT.to_owned()),
            killed: false,
        },
    };
    let package = package_directory()?;
    let mut search_path = package.into_os_string();
    let others = environment.get(PYTHONPATH).cloned().or_else(|| env::var(PYTHONPATH).ok());
    if let Some(others) = others.filter(|others| !others.is_empty()) {
        // The host starts in another directory.
        let here = env::current_dir().map_err(|cause| unusable(cause.to_string()))?;
        search_path.push(":");
        search_path.push(absolute_search_path(&others, &here));
    }
    let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC)
        .map_err(|cause| unusable(cause.to_string()))?;
    let folders = context.folders.iter().flat_map(|folder| [OsStr::new("--folder"), folder.as_os_str()]);
    let words = [python.as_os_str()]
        .into_iter()
        .chain(["-m", "damnit_ctx.host", "--context"].map(OsStr::new))
        .chain([context.path.as_os_str()])
        .chain(folders)
        .chain((purpose == Purpose::OneTask).then_some(OsStr::new("--one-task")));
    let (mut command, lifeline) = match confinement {
        None => {
            let mut command = Command::new(python);
            command.args(words.skip(1));
            (command, None)
        }
        Some(confinement) => {
            let wrapped = sandboxed::wrap(confinement, words).map_err(|cause| unusable(cause.to_string()))?;
            (wrapped.command, Some(wrapped.lifeline))
        }
    };
    sandboxed::hide_service_environment(&mut command, confinement.is_some());
    let (errors, their_errors) = io::pipe().map_err(|cause| unusable(cause.to_string()))?;
    // Standard output belongs to the coordinator; output of imports goes to standard error. A sandbox does not get the
    // user's terminal.
    let output = match confinement {
        None => stderr_again().map(Stdio::from),
        Some(_) => their_errors.try_clone().map(Stdio::from),
    };
    command
        .envs(environment)
        .env(PYTHONPATH, search_path)
        // Standard input is what every sandbox passes on; some close all other descriptors.
        .env("AMORE_CONTROL_FD", "0")
        // The working directory is first on Python's search path until the host removes it.
        .current_dir("/")
        .stdin(theirs)
        .stdout(output.map_err(|cause| unusable(cause.to_string()))?)
        .stderr(their_errors)
        .process_group(0);
    for name in LEFT_OUT.into_iter().chain(without.iter().map(String::as_str)) {
        command.env_remove(name);
    }
    if !readable.is_empty() {
        command.env(JOB_VARIABLES, serde_json::json!(readable).to_string());
    }
    // SAFETY: between fork and exec only pthread_sigmask is called, which is async-signal-safe.
    unsafe {
        command.pre_exec(move || {
            // A worker in a Slurm job blocks SIGTERM to wait for it; users' processes must not inherit that.
            SigSet::empty().thread_set_mask()?;
            Ok(())
        });
    }
    let mut process = command.spawn().map_err(|cause| unusable(cause.to_string()))?;
    // It holds the other ends of the connection and of the pipe.
    drop(command);
    let last_words = collect_stderr(errors);

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
                end(&mut process, lifeline);
                return Err(unusable(format!("it was not ready within {} s", START_TIMEOUT.as_secs())));
            }
            Ok(Received::Closed) => {
                let status = process.wait();
                let killed = status.as_ref().is_ok_and(|status| was_killed(*status, confinement.is_some()));
                let status = status.map(|status| status.to_string()).unwrap_or_default();
                let words = last_words.join().unwrap_or_default();
                let error = unusable(format!("it ended immediately ({status})\n{}", words.trim_end()));
                return Err(HostError { killed, ..error });
            }
            Err(cause) => {
                end(&mut process, lifeline);
                return Err(unusable(cause.to_string()));
            }
        }
    };
    let (version, python_version, environment) = ready;
    if !is_understood(version) {
        end(&mut process, lifeline);
        let words = format!(
            "the messages of its damnit_ctx are of version {version}, and this worker knows version {VERSION}"
        );
        let hint = "install damnit_ctx in this Python from the build of amore-worker";
        return Err(HostError { hint: Some(hint.to_owned()), ..unusable(words) });
    }
    let children = Arc::new(Mutex::new(HashMap::new()));
    let gone = Arc::new(Mutex::new(false));
    listen(lines, process, lifeline.is_some(), Arc::clone(&children), Arc::clone(&gone));
    Ok(Host { control: ours, children, lifeline, python_version, environment, gone, purpose })
}

/// Ends a host that is not ready. The guard of a sandbox ends what it has started; it must not be killed itself.
fn end(process: &mut Child, lifeline: Option<Lifeline>) {
    match lifeline {
        Some(lifeline) => drop(lifeline),
        None => drop(process.kill()),
    }
    let _ = process.wait();
}

/// Whether it was killed from outside. A sandbox reports the signal of its command as a shell does.
fn was_killed(status: ExitStatus, in_sandbox: bool) -> bool {
    let signal = Signal::SIGKILL as i32;
    status.signal() == Some(signal) || (in_sandbox && status.code() == Some(128 + signal))
}

/// Reads the host's standard error and keeps its last lines for a message.
fn collect_stderr(errors: io::PipeReader) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        use std::io::BufRead;
        let mut last = std::collections::VecDeque::new();
        for line in io::BufReader::new(errors).lines().map_while(Result::ok) {
            last.push_back(line);
            if last.len() > 12 {
                last.pop_front();
            }
        }
        last.into_iter().collect::<Vec<_>>().join("\n")
    })
}

/// Forwards the host's messages to their tasks until the host is gone.
fn listen(
    mut lines: Lines,
    mut process: Child,
    is_sandboxed: bool,
    children: Arc<Mutex<HashMap<String, Sender<ChildEvent>>>>,
    gone: Arc<Mutex<bool>>,
) {
    thread::spawn(move || {
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
        // The socket is closed: the host is dead or about to be; do not leave a zombie. A sandbox's guard ends after it.
        if !is_sandboxed {
            let _ = process.kill();
        }
        let _ = process.wait();
    });
}

fn stderr_again() -> io::Result<OwnedFd> {
    use std::os::fd::AsFd;
    io::stderr().as_fd().try_clone_to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(name: &str) -> ContextSource {
        ContextSource {
            path: PathBuf::from(name),
            text: String::new(),
            sha256: name.to_owned(),
            folders: Vec::new(),
            directory: None,
        }
    }

    fn unusable() -> HostError {
        HostError { message: "no Python".to_owned(), hint: None, killed: false }
    }

    #[test]
    fn a_host_that_takes_long_to_start_delays_nobody_who_needs_another() {
        let hosts = Arc::new(Hosts::new(Purpose::ManyTasks, BTreeMap::new()));
        let (begun, has_begun) = channel::<()>();
        let (go, may_go) = channel::<()>();
        let gate = Mutex::new((begun, may_go));
        let slow = {
            let hosts = Arc::clone(&hosts);
            thread::spawn(move || {
                hosts
                    .get_by(
                        Path::new("python"),
                        &context("slow"),
                        None,
                        &AtomicBool::new(false),
                        move |_, _| {
                            let gate = lock(&gate);
                            let _ = gate.0.send(());
                            let _ = gate.1.recv();
                            Err(unusable())
                        },
                    )
                    .is_err()
            })
        };
        has_begun.recv().unwrap();
        // The slow host has not started yet. It starts only after this one was answered.
        let other =
            hosts.get_by(Path::new("python"), &context("other"), None, &AtomicBool::new(false), |_, _| {
                Err(unusable())
            });
        assert!(matches!(other, Err(NoHost::Unusable(_))));
        // The task that waits for the slow host is cancelled, and does not wait for its start.
        let cancelled = AtomicBool::new(true);
        let same = hosts.get_by(Path::new("python"), &context("slow"), None, &cancelled, |_, _| {
            panic!("it is started once")
        });
        assert!(matches!(same, Err(NoHost::Cancelled)));
        go.send(()).unwrap();
        assert!(slow.join().unwrap());
    }

    #[test]
    fn a_python_that_could_not_start_is_tried_again_by_the_next_who_needs_it() {
        let hosts = Hosts::new(Purpose::ManyTasks, BTreeMap::new());
        let starts = Arc::new(Mutex::new(0));
        for expected in 1..3 {
            let count = Arc::clone(&starts);
            let got = hosts.get_by(
                Path::new("python"),
                &context("a"),
                None,
                &AtomicBool::new(false),
                move |_, _| {
                    *lock(&count) += 1;
                    Err(unusable())
                },
            );
            assert!(matches!(got, Err(NoHost::Unusable(_))));
            assert_eq!(*lock(&starts), expected);
        }
        let killed = Arc::clone(&starts);
        let _ =
            hosts.get_by(Path::new("python"), &context("b"), None, &AtomicBool::new(false), move |_, _| {
                *lock(&killed) += 1;
                Err(HostError { killed: true, ..unusable() })
            });
        assert_eq!(*lock(&starts), 2 + START_ATTEMPTS);
    }

    #[test]
    fn two_sandboxes_and_two_proposals_share_no_host() {
        let hosts = Hosts::new(Purpose::ManyTasks, BTreeMap::new());
        let confinement = |words: &str, proposal| Confinement {
            sandbox: amore_model::Sandbox::parse(words).unwrap(),
            proposal: amore_model::Proposal(proposal),
        };
        let starts = Arc::new(Mutex::new(Vec::new()));
        let (hold, held) = channel::<()>();
        let held = Arc::new(Mutex::new(held));
        for confined in
            [None, Some(confinement("a", 1)), Some(confinement("a", 2)), Some(confinement("b", 1))]
        {
            let (starts, held, name) = (Arc::clone(&starts), Arc::clone(&held), confined.clone());
            let cancelled = AtomicBool::new(true);
            // It starts while nobody waits for it, so its slot would be found by others.
            let got = hosts.get_by(
                Path::new("python"),
                &context("a"),
                confined.as_ref(),
                &cancelled,
                move |_, _| {
                    lock(&starts).push(name.clone());
                    let _ = lock(&held).recv();
                    Err(unusable())
                },
            );
            assert!(matches!(got, Err(NoHost::Cancelled | NoHost::Unusable(_))));
        }
        assert_eq!(lock(&hosts.slots).len(), 4);
        drop(hold);
    }
}
