//! Executes a sandboxed command and ends with it (`amore-worker guard`).
//!
//! A sandbox may stay as the parent of the command, put it into another session or another process namespace, and survive
//! it. Process groups and the death signal of the parent then do not reach the command. This process is the reaper of
//! whatever it starts: it finds all descendants in `/proc`, and leaves none of them behind. It ends them when
//! the command has ended, and when the worker closes the lifeline or is killed, which closes it too.

use std::{
    collections::{HashMap, HashSet},
    ffi::OsString,
    fs,
    io::{self, Write},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd},
        unix::process::CommandExt,
    },
    process::{Command, ExitCode},
    thread,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        prctl,
        signal::{SigSet, Signal, kill, raise},
        signalfd::{SfdFlags, SignalFd},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::{Pid, dup2_stdin},
};

use crate::command::CANNOT_EXECUTE;

/// How long processes have to end after the lifeline was closed, before they are killed.
const GRACE: Duration = Duration::from_secs(3);
/// How long to try to kill descendants. Those of another account, and those that hang in the kernel, remain.
const KILL_PATIENCE: Duration = Duration::from_secs(10);
/// How often to look whether killed processes are gone.
const KILL_POLL: Duration = Duration::from_millis(5);

/// How the command ended.
#[derive(Clone, Copy)]
enum End {
    Exited(u8),
    Signal(Signal),
}

/// Executes the words until they have ended or the lifeline is closed. Ends as the command did, by the same signal too.
pub fn guard(lifeline: i32, words: &[OsString]) -> ExitCode {
    match execute(lifeline, words) {
        Ok(End::Exited(code)) => ExitCode::from(code),
        Ok(End::Signal(signal)) => {
            let _ = prctl::set_dumpable(false);
            let mut one = SigSet::empty();
            one.add(signal);
            let _ = one.thread_unblock();
            let _ = raise(signal);
            ExitCode::from(128 + signal as u8)
        }
        Err(error) => {
            let program = words.first().map(|word| word.to_string_lossy()).unwrap_or_default();
            let _ = writeln!(io::stderr(), "amore: cannot execute the sandbox {program}: {error}");
            ExitCode::from(CANNOT_EXECUTE)
        }
    }
}

fn execute(lifeline: i32, words: &[OsString]) -> io::Result<End> {
    prctl::set_child_subreaper(true)?;
    let mut watched = SigSet::empty();
    watched.add(Signal::SIGTERM);
    watched.add(Signal::SIGCHLD);
    watched.thread_set_mask()?;
    let signals = SignalFd::with_flags(&watched, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
    // SAFETY: the worker has opened it for this process, and nothing else uses it.
    let lifeline = unsafe { BorrowedFd::borrow_raw(lifeline) };

    let (program, arguments) = words.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut command = Command::new(program);
    command.args(arguments);
    // SAFETY: between fork and exec only pthread_sigmask and prctl are called, which are async-signal-safe.
    unsafe {
        command.pre_exec(|| {
            SigSet::empty().thread_set_mask()?;
            // Should this process be killed itself.
            prctl::set_pdeathsig(Signal::SIGKILL)?;
            Ok(())
        });
    }
    let main = Pid::from_raw(command.spawn()?.id() as i32);
    // The connection to the worker is the command's alone.
    dup2_stdin(fs::File::open("/dev/null")?)?;

    let mut told = false;
    let mut kill_at: Option<Instant> = None;
    let mut is_closed = false;
    let end = loop {
        let left = kill_at.map(|at| at.saturating_duration_since(Instant::now()).as_millis());
        let timeout = left.map_or(PollTimeout::NONE, |left| {
            PollTimeout::try_from(left as i32 + 1).unwrap_or(PollTimeout::MAX)
        });
        let mut ready =
            vec![PollFd::new(signals.as_fd(), PollFlags::POLLIN), PollFd::new(lifeline, PollFlags::POLLIN)];
        if is_closed {
            ready.truncate(1);
        }
        match poll(&mut ready, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let closed = ready.get(1).and_then(PollFd::any).unwrap_or(false);
        let mut terminate = false;
        while let Ok(Some(signal)) = signals.read_signal() {
            terminate |= signal.ssi_signo == Signal::SIGTERM as u32;
        }
        if closed {
            is_closed = true;
            terminate = true;
            kill_at = Some(Instant::now() + GRACE);
        }
        if terminate && !told {
            told = true;
            signal_descendants(Signal::SIGTERM);
        }
        if kill_at.is_some_and(|at| Instant::now() >= at) {
            signal_descendants(Signal::SIGKILL);
            kill_at = Some(Instant::now() + KILL_POLL);
        }
        if let Some(end) = reap(main) {
            break end;
        }
    };
    end_descendants();
    Ok(end)
}

/// Reaps what has ended, and returns how `main` did if it is among it.
fn reap(main: Pid) -> Option<End> {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) if pid == main => return Some(End::Exited(code as u8)),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == main => return Some(End::Signal(signal)),
            Ok(WaitStatus::StillAlive) | Err(_) => return None,
            Ok(_) => {}
        }
    }
}

/// Kills all descendants, also those that are started meanwhile.
fn end_descendants() {
    let patience = Instant::now() + KILL_PATIENCE;
    while signal_descendants(Signal::SIGKILL) > 0 && Instant::now() < patience {
        while waitpid(None, Some(WaitPidFlag::WNOHANG)).is_ok_and(|status| status != WaitStatus::StillAlive) {
        }
        thread::sleep(KILL_POLL);
    }
}

/// Sends a signal to all descendants, and returns their number.
fn signal_descendants(signal: Signal) -> usize {
    let found = descendants(nix::unistd::getpid().as_raw(), &parents());
    for pid in &found {
        // It may have ended meanwhile.
        let _ = kill(Pid::from_raw(*pid), signal);
    }
    found.len()
}

/// The parent of each process. Processes of another namespace below this one are visible, with their numbers here.
fn parents() -> HashMap<i32, i32> {
    let Ok(entries) = fs::read_dir("/proc") else { return HashMap::new() };
    entries
        .filter_map(|entry| {
            let pid = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
            Some((pid, parent_in(&String::from_utf8_lossy(&stat))?))
        })
        .collect()
}

/// The parent in a line of `/proc/PID/stat`. The program's name, which is in parentheses, may contain any characters.
fn parent_in(stat: &str) -> Option<i32> {
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// All processes below `root`, parents first.
fn descendants(root: i32, parents: &HashMap<i32, i32>) -> Vec<i32> {
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    for (pid, parent) in parents {
        children.entry(*parent).or_default().push(*pid);
    }
    let mut found = Vec::new();
    let mut seen = HashSet::from([root]);
    let mut next = vec![root];
    while let Some(pid) = next.pop() {
        for child in children.get(&pid).into_iter().flatten() {
            if seen.insert(*child) {
                found.push(*child);
                next.push(*child);
            }
        }
    }
    found
}

/// Lets programs that this process starts inherit only the descriptors that are passed on deliberately. Those that this
/// process has inherited itself, from a shell or a service manager, are not meant for them.
pub fn close_descriptors_on_exec() {
    let Ok(entries) = fs::read_dir("/proc/self/fd") else { return };
    let numbers: Vec<i32> =
        entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    for number in numbers.into_iter().filter(|number| *number > io::stderr().as_raw_fd()) {
        // SAFETY: only flags are changed. The descriptor of the listing itself is closed by now: an error for it is ignored.
        let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
        let _ = nix::fcntl::fcntl(descriptor, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parent_is_found_behind_any_name() {
        assert_eq!(parent_in("7 (a b) c) S 5 7 7 0"), Some(5));
        assert_eq!(parent_in("7 (python) R 1 7 7 0"), Some(1));
        assert_eq!(parent_in(""), None);
    }

    #[test]
    fn descendants_are_found_at_any_depth() {
        let parents = HashMap::from([(2, 1), (3, 1), (4, 3), (5, 4), (6, 2), (1, 0), (9, 0)]);
        let mut found = descendants(3, &parents);
        assert_eq!(found, [4, 5]);
        found = descendants(1, &parents);
        found.sort_unstable();
        assert_eq!(found, [2, 3, 4, 5, 6]);
        assert!(descendants(9, &parents).is_empty());
    }
}
