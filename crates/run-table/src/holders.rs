//! Processes of this host that hold a lock on a file, according to the kernel. For messages only: other hosts are not visible.

use std::{fmt, fs, os::unix::fs::MetadataExt, path::Path};

use nix::unistd::{Uid, User, gethostname};

/// Maximum length of a command line in a message.
const COMMAND_WIDTH: usize = 60;

/// A process of this host that holds a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockHolder {
    /// Process id.
    pub pid: u32,
    /// Its user, if known.
    pub user: Option<String>,
    /// This host.
    pub host: String,
    /// Its command line, if known.
    pub command: Option<String>,
    /// Whether it is suspended (Ctrl-Z, SIGSTOP, a debugger). It keeps its locks until it resumes or ends.
    pub stopped: bool,
    /// Whether this process has started it, directly or through others.
    pub ours: bool,
}

impl fmt::Display for LockHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {}", self.pid)?;
        if let Some(user) = &self.user {
            write!(f, " of {user}")?;
        }
        write!(f, " on {}", self.host)?;
        if let Some(command) = &self.command {
            write!(f, " ({command})")?;
        }
        Ok(())
    }
}

/// Processes of this host with a lock on the file, except this process.
///
/// The file is not opened: closing a second handle would drop SQLite's own locks on it.
pub(crate) fn lock_holders(path: &Path) -> Vec<LockHolder> {
    let Ok(meta) = fs::metadata(path) else { return Vec::new() };
    let Ok(locks) = fs::read_to_string("/proc/locks") else { return Vec::new() };
    let mut pids: Vec<u32> = locks.lines().filter_map(|line| holder(line, meta.ino())).collect();
    pids.sort_unstable();
    pids.dedup();
    pids.into_iter().filter(|&pid| pid != std::process::id()).map(look_up).collect()
}

fn look_up(pid: u32) -> LockHolder {
    let folder = Path::new("/proc").join(pid.to_string());
    let user = fs::metadata(&folder).ok().and_then(|meta| User::from_uid(Uid::from_raw(meta.uid())).ok()?);
    let stat = fs::read_to_string(folder.join("stat")).unwrap_or_default();
    LockHolder {
        pid,
        user: user.map(|user| user.name),
        host: gethostname()
            .map_or_else(|_| "this host".to_owned(), |name| name.to_string_lossy().into_owned()),
        command: command(&fs::read(folder.join("cmdline")).unwrap_or_default()),
        stopped: matches!(state(&stat), Some('T' | 't')),
        ours: is_descendant(pid, std::process::id(), parent_of),
    }
}

/// The parent of a process; none if the process is gone.
fn parent_of(pid: u32) -> Option<u32> {
    parent(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Whether one process is a descendant of the other.
fn is_descendant(pid: u32, ancestor: u32, parent_of: impl Fn(u32) -> Option<u32>) -> bool {
    let mut next = pid;
    // Process IDs may be reused while we look: more steps than any process tree is deep mean a cycle.
    for _ in 0..100 {
        match parent_of(next) {
            Some(parent) if parent == ancestor => return true,
            Some(parent) if parent > 1 => next = parent,
            _ => return false,
        }
    }
    false
}

/// `/proc/PID/cmdline` as one line of limited length.
fn command(cmdline: &[u8]) -> Option<String> {
    let words = String::from_utf8_lossy(cmdline);
    let line: String = words.trim_end_matches('\0').replace(char::is_control, " ");
    match line.char_indices().nth(COMMAND_WIDTH) {
        _ if line.is_empty() => None,
        Some((end, _)) => Some(format!("{}…", &line[..end])),
        None => Some(line),
    }
}

/// The state in `/proc/PID/stat`: it follows the program's name, which may contain parentheses.
fn state(stat: &str) -> Option<char> {
    stat.rsplit_once(") ")?.1.chars().next()
}

/// The parent in `/proc/PID/stat`: the field after the state.
fn parent(stat: &str) -> Option<u32> {
    stat.rsplit_once(") ")?.1.split_whitespace().nth(1)?.parse().ok()
}

/// The process in one line of `/proc/locks`, if the line is about this inode:
/// `3: POSIX  ADVISORY  WRITE 4242 fe:01:131094 1073741825 1073741825`. Lines of waiting processes have `->`; the number
/// is not positive if the process is in another namespace.
fn holder(line: &str, inode: u64) -> Option<u32> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let place = words.iter().find(|word| word.split(':').count() == 3)?;
    let found: u64 = place.rsplit(':').next()?.parse().ok()?;
    if found != inode || words.contains(&"->") {
        return None;
    }
    words.get(4)?.parse().ok().filter(|pid| *pid > 0)
}

/// What to do about processes that hold a lock.
pub(crate) fn advice(holders: &[LockHolder]) -> String {
    let all: Vec<String> = holders.iter().map(ToString::to_string).collect();
    let stopped: Vec<String> =
        holders.iter().filter(|holder| holder.stopped).map(|holder| holder.pid.to_string()).collect();
    let held = format!("held by {}", all.join(", "));
    if stopped.is_empty() && holders.iter().all(|holder| holder.ours) {
        return format!("{held}; the variable must end its transaction (commit), or close its connection");
    }
    match (stopped.join(" "), holders.len()) {
        (pids, _) if pids.is_empty() => format!("{held}; wait for it to finish, or end it"),
        (pids, 1) => {
            format!("{held}, which is suspended; resume it: kill -CONT {pids}, or end it: kill -KILL {pids}")
        }
        (pids, _) => format!(
            "{held}, of which suspended: {pids}; resume them: kill -CONT {pids}, or end them: kill -KILL {pids}"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_kernels_lines() {
        let line = "3: POSIX  ADVISORY  WRITE 4242 fe:01:131094 1073741825 1073741825";
        assert_eq!(holder(line, 131_094), Some(4242));
        assert_eq!(holder(line, 1), None);
        assert_eq!(holder("3: -> POSIX  ADVISORY  WRITE 4243 fe:01:131094 0 EOF", 131_094), None);
        assert_eq!(holder("3: OFDLCK ADVISORY  WRITE -1 fe:01:131094 0 EOF", 131_094), None);
        assert_eq!(holder("", 131_094), None);
        assert_eq!(state("42 (a) b) T 1 42"), Some('T'));
        assert_eq!(state(""), None);
        assert_eq!(parent("42 (a) b) T 1 42"), Some(1));
    }

    #[test]
    fn what_this_process_has_started_is_its_own() {
        // 10 has started 20, and 20 has started 30.
        let parents = |pid| match pid {
            30 => Some(20),
            20 => Some(10),
            10 | 40 => Some(1),
            _ => None,
        };
        assert!(is_descendant(30, 10, parents) && is_descendant(20, 10, parents));
        assert!(!is_descendant(40, 10, parents) && !is_descendant(10, 10, parents));
        assert!(!is_descendant(50, 10, parents));
        assert!(!is_descendant(60, 10, Some));
        assert_eq!(parent_of(std::process::id()), Some(std::os::unix::process::parent_id()));
    }

    #[test]
    fn commands_are_one_short_line() {
        assert_eq!(command(b"python3\0-c\0a\nb\0").as_deref(), Some("python3 -c a b"));
        assert_eq!(command(b""), None);
        assert_eq!(command("ä".repeat(61).as_bytes()), Some(format!("{}…", "ä".repeat(60))));
    }

    #[test]
    fn says_who_it_is_and_what_to_do() {
        let one = LockHolder {
            pid: 42,
            user: Some("alice".into()),
            host: "max-1".into(),
            command: Some("python3 watch.py".into()),
            stopped: false,
            ours: false,
        };
        assert_eq!(
            advice(std::slice::from_ref(&one)),
            "held by process 42 of alice on max-1 (python3 watch.py); wait for it to finish, or end it"
        );
        let own = LockHolder { ours: true, ..one.clone() };
        assert_eq!(
            advice(&[own]),
            "held by process 42 of alice on max-1 (python3 watch.py); the variable must end its transaction (commit), or \
             close its connection"
        );
        let two = LockHolder { pid: 43, user: None, command: None, stopped: true, ..one.clone() };
        assert_eq!(
            advice(std::slice::from_ref(&two)),
            "held by process 43 on max-1, which is suspended; resume it: kill -CONT 43, or end it: kill -KILL 43"
        );
        assert_eq!(
            advice(&[one, two]),
            "held by process 42 of alice on max-1 (python3 watch.py), process 43 on max-1, of which suspended: 43; \
             resume them: kill -CONT 43, or end them: kill -KILL 43"
        );
    }
}
