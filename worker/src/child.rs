//! One forked child: its socket, its shared memory, and how it ended.

use std::{
    fs::File,
    io,
    os::{fd::OwnedFd, unix::fs::FileExt},
    sync::{Arc, mpsc::Receiver},
    time::{Duration, Instant},
};

use amore_wire::host::{FromChild, ToChild};
use nix::{
    sys::{
        memfd::{MFdFlags, memfd_create},
        signal::{Signal, kill, killpg},
        socket::{AddressFamily, SockFlag, SockType, socketpair},
    },
    unistd::Pid,
};

use crate::{
    hosts::{ChildEvent, Host},
    lines::{Lines, Received},
    shared_memory::SharedMemory,
    value_channel::ValueChannel,
};

/// How long a host may take to fork or to reap.
const HOST_TIMEOUT: Duration = Duration::from_secs(60);

/// Maximum number of bytes to read of a dying child's crash output.
const MAX_LAST_WORDS: usize = 256 * 1024;

/// How a child ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Death {
    /// It exited by itself.
    Exited(i32),
    /// A signal killed it.
    Signal(i32),
    /// Its host was lost.
    HostGone,
}

impl Death {
    /// Exception class and message of the variable's error.
    pub fn in_words(&self) -> (String, String) {
        match self {
            Death::Exited(code) => (
                "ProcessExited".to_owned(),
                format!(
                    "the process of this variable exited with code {code} (os._exit or a library did that)"
                ),
            ),
            Death::Signal(number) => {
                let name = Signal::try_from(*number).map(Signal::as_str).unwrap_or("unknown signal");
                let why = match Signal::try_from(*number) {
                    Ok(Signal::SIGSEGV) => ": it accessed invalid memory (a bug in compiled code)",
                    Ok(Signal::SIGABRT) => ": it aborted itself (an assertion in compiled code)",
                    Ok(Signal::SIGKILL) => {
                        ": it was killed, most often by the kernel because of lack of memory"
                    }
                    Ok(Signal::SIGBUS) => {
                        ": a file it had mapped was truncated, or the disk or shared memory is full"
                    }
                    _ => "",
                };
                (
                    "ProcessKilled".to_owned(),
                    format!("the process of this variable was killed by {name} ({number}){why}"),
                )
            }
            Death::HostGone => (
                "ProcessKilled".to_owned(),
                "the Python host that ran this variable disappeared repeatedly".to_owned(),
            ),
        }
    }
}

/// A living child, and this side of the connection.
#[derive(Debug)]
pub struct ChildProcess {
    /// Transfers its values.
    pub channel: ValueChannel,
    /// The file for `faulthandler`: one per child, because several may share a log.
    last_words: File,
    events: Receiver<ChildEvent>,
    host: Arc<Host>,
    /// Its name for the host.
    id: String,
    pid: Option<i32>,
    death: Option<Death>,
}

impl ChildProcess {
    /// Forks a child whose output goes to `log`, and sends it its instructions.
    ///
    /// # Errors
    /// Errors of the kernel or the control socket.
    pub fn fork(host: &Arc<Host>, id: &str, log: &File, first: &ToChild) -> io::Result<Self> {
        let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC)?;
        let memory = SharedMemory::create()?;
        let log: OwnedFd = log.try_clone()?.into();
        let words = memfd_create("amore-last-words", MFdFlags::MFD_CLOEXEC)?;
        let events = host.fork(id, &[&theirs, &log, memory.descriptor(), &words])?;
        let child = ChildProcess {
            channel: ValueChannel::new(Lines::new(ours), memory),
            last_words: words.into(),
            events,
            host: Arc::clone(host),
            id: id.to_owned(),
            pid: None,
            death: None,
        };
        child.say(first)?;
        Ok(child)
    }

    /// Sends it a message. If the child is dead, this is not an error.
    ///
    /// # Errors
    /// Errors of the socket.
    pub fn say(&self, message: &ToChild) -> io::Result<()> {
        self.channel.say(message)
    }

    /// Waits for its next message.
    ///
    /// # Errors
    /// Errors of the socket, or an invalid message.
    pub fn listen(&mut self, deadline: Option<Instant>) -> io::Result<Received<FromChild>> {
        self.channel.listen(deadline)
    }

    /// Kills it and all processes that it started.
    pub fn kill(&mut self) {
        self.note_events(Duration::from_millis(200));
        self.signal(Signal::SIGKILL);
    }

    /// Makes it write a traceback (`faulthandler` handles SIGUSR2), and waits a moment.
    pub fn ask_for_traceback(&mut self) {
        self.note_events(Duration::from_millis(200));
        if self.signal(Signal::SIGUSR2) {
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Whether the signal was sent. SIGKILL is for all processes that it started.
    fn signal(&self, signal: Signal) -> bool {
        let Some(pid) = self.pid.filter(|_| self.death.is_none()) else { return false };
        if self.host.is_sandboxed() {
            self.host.signal(&self.id, signal);
            return true;
        }
        let pid = Pid::from_raw(pid);
        // It may have ended already.
        if signal == Signal::SIGKILL { killpg(pid, signal) } else { kill(pid, signal) }.is_ok()
    }

    fn note_events(&mut self, patience: Duration) {
        let deadline = Instant::now() + patience;
        while self.death.is_none() && (self.pid.is_none() || patience > Duration::from_secs(1)) {
            match self.events.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(event) => self.note(event),
                Err(_) => return,
            }
        }
    }

    fn note(&mut self, event: ChildEvent) {
        match event {
            ChildEvent::Forked { pid } => self.pid = Some(pid),
            ChildEvent::Exited { code: Some(code), .. } => self.death = Some(Death::Exited(code)),
            ChildEvent::Exited { signal, .. } => self.death = Some(Death::Signal(signal.unwrap_or(0))),
            ChildEvent::HostGone => self.death = Some(Death::HostGone),
        }
    }

    /// Waits at most this long for its end.
    pub fn has_ended(&mut self, patience: Duration) -> Option<Death> {
        let deadline = Instant::now() + patience;
        while self.death.is_none() {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(event) = self.events.recv_timeout(left) else { break };
            self.note(event);
        }
        self.death.clone()
    }

    /// Waits until it is reaped (its socket is already closed) and returns how it ended.
    pub fn death(&mut self) -> Death {
        self.note_events(HOST_TIMEOUT);
        if self.death.is_none() {
            self.kill();
            self.note_events(HOST_TIMEOUT);
        }
        self.death.clone().unwrap_or(Death::HostGone)
    }

    /// What `faulthandler` wrote when the child died or a traceback was requested.
    pub fn last_words(&self) -> String {
        let mut words = vec![0; MAX_LAST_WORDS];
        let mut length = 0;
        // This is memory, so only an interruption can fail. What was read until then is used.
        while let Some(rest) = words.get_mut(length..).filter(|rest| !rest.is_empty()) {
            match self.last_words.read_at(rest, length as u64) {
                Ok(0) | Err(_) => break,
                Ok(read) => length += read,
            }
        }
        String::from_utf8_lossy(&words[..length]).into_owned()
    }
}

impl Drop for ChildProcess {
    /// Ensures that a child does not outlive the task it was forked for.
    fn drop(&mut self) {
        self.kill();
    }
}
