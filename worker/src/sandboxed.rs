//! How this worker starts a command of users in a sandbox, and which environment user code gets.

use std::{
    env,
    ffi::{OsStr, OsString},
    io,
    os::{
        fd::{AsRawFd, BorrowedFd, OwnedFd},
        unix::process::CommandExt,
    },
    path::{Path, PathBuf},
    process::Command,
};

use amore_model::{Proposal, Sandbox, service_environment::is_hidden};
use nix::{
    errno::Errno,
    fcntl::{FcntlArg, FdFlag, OFlag, fcntl},
    unistd::{AccessFlags, access, pipe2},
};

/// A sandbox, and the proposal that it is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Confinement {
    pub sandbox: Sandbox,
    pub proposal: Proposal,
}

impl Confinement {
    /// The proposal's confinement, if there is a sandbox.
    pub fn of(sandbox: Option<&Sandbox>, proposal: Proposal) -> Option<Self> {
        sandbox.map(|sandbox| Confinement { sandbox: sandbox.clone(), proposal })
    }
}

/// What to do about a sandbox that does not work.
pub const HINT: &str = "ask the administrator to correct `sandbox_args` in the site's file (amore doctor shows it); \
                        user code is never executed without the sandbox";

/// Keeps sandboxed processes alive: when it is closed, `amore-worker guard` ends them. It is closed when this process is
/// killed, too.
#[derive(Debug)]
pub struct Lifeline {
    #[expect(dead_code, reason = "it is only held")]
    ours: OwnedFd,
}

/// A command of users, ready to be configured further and started.
#[derive(Debug)]
pub struct Wrapped {
    pub command: Command,
    pub lifeline: Lifeline,
}

/// Wraps a command of users.
///
/// # Errors
/// The sandbox's program cannot be executed.
pub fn wrap(
    confinement: &Confinement,
    words: impl IntoIterator<Item = impl Into<OsString>>,
) -> io::Result<Wrapped> {
    let Confinement { sandbox, proposal } = confinement;
    must_be_executable(sandbox.program())?;
    let (theirs, ours) = pipe2(OFlag::O_CLOEXEC)?;
    let mut command = Command::new(env::current_exe()?);
    command
        .args(["guard", "--lifeline", &theirs.as_raw_fd().to_string(), "--"])
        .args(sandbox.wrap(*proposal, words));
    // SAFETY: between fork and exec only fcntl is called, which is async-signal-safe. The closure owns the descriptor.
    unsafe {
        command.pre_exec(move || {
            let fd = BorrowedFd::borrow_raw(theirs.as_raw_fd());
            fcntl(fd, FcntlArg::F_SETFD(FdFlag::empty()))?;
            Ok(())
        });
    }
    Ok(Wrapped { command, lifeline: Lifeline { ours } })
}

fn must_be_executable(program: &str) -> io::Result<()> {
    let candidates: Vec<PathBuf> = if program.contains('/') {
        vec![PathBuf::from(program)]
    } else {
        let path = env::var_os("PATH").unwrap_or_default();
        env::split_paths(&path)
            .filter(|folder| folder.is_absolute())
            .map(|folder| folder.join(program))
            .collect()
    };
    let may_execute =
        |path: &Path| if path.is_dir() { Err(Errno::EISDIR) } else { access(path, AccessFlags::X_OK) };
    let mut why = Errno::ENOENT;
    for candidate in &candidates {
        match may_execute(candidate) {
            Ok(()) => return Ok(()),
            Err(Errno::ENOENT) => {}
            Err(error) => why = error,
        }
    }
    let place = if program.contains('/') { "" } else { " on PATH" };
    Err(io::Error::new(
        io::Error::from(why).kind(),
        format!("the sandbox program {program} cannot be executed{place}: {}", why.desc()),
    ))
}

/// Takes from a command the variables of this process's environment that user code must not see.
pub fn hide_service_environment(command: &mut Command, in_sandbox: bool) {
    for (name, _) in env::vars_os() {
        if is_hidden(&OsStr::to_string_lossy(&name), in_sandbox) {
            command.env_remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_cannot_be_executed_is_named() {
        assert!(must_be_executable("sh").is_ok() && must_be_executable("/bin/sh").is_ok());
        for (program, words) in [
            ("/no/sandbox", "the sandbox program /no/sandbox cannot be executed: No such file or directory"),
            (
                "no-such-sandbox",
                "the sandbox program no-such-sandbox cannot be executed on PATH: No such file or directory",
            ),
            ("/etc", "the sandbox program /etc cannot be executed: Is a directory"),
        ] {
            assert_eq!(must_be_executable(program).unwrap_err().to_string(), words);
        }
    }
}
