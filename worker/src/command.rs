//! The command of a variable (`job=`): executed as a child of this worker, in its Slurm job, or on this machine if there is
//! no Slurm.

use std::{
    ffi::{CString, OsString},
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::{
        ffi::OsStrExt,
        process::{CommandExt, ExitStatusExt},
    },
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, ExitStatus, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use amore_model::{JobOutcome, JobState};
use amore_wire::task::{self, CutShort, FromWorker, Task};
use nix::{
    sys::{
        prctl,
        signal::{SigSet, SigmaskHow, Signal, kill, killpg, sigprocmask},
    },
    unistd::{Pid, execvp, getppid},
};

use crate::{
    in_job::InJob,
    log_line,
    report::Report,
    run_task::confinement,
    sandboxed::{self, Lifeline, hide_service_environment},
    slurm_environment::taken_away_here,
};

/// How often to check whether the command has ended.
const POLL: Duration = Duration::from_millis(50);
/// How long a command has to end after SIGTERM before it is killed. Slurm's own limit is usually shorter.
const PATIENCE: Duration = Duration::from_secs(30);
/// Number of its last output lines to report.
const TAIL_LINES: usize = 20;
/// Maximum number of bytes of these lines.
const TAIL_BYTES: u64 = 8 * 1024;
/// Exit code of a program that cannot be executed, as in a shell.
pub const CANNOT_EXECUTE: u8 = 127;

enum CommandEnd {
    Alone(ExitStatus),
    /// It was told to end.
    Told,
}

/// Executes the command of a task and reports its outcome.
pub fn run_command(
    task: &Task,
    command: &task::UserCommand,
    report: &Report,
    cancelled: &AtomicBool,
    job: Option<&InJob>,
) {
    report.say(&FromWorker::VariableStarted { of: task.attempt_id(), name: command.variable.clone() });
    let since = Instant::now();
    let mut problem = None;
    let mut cut_short = None;
    match execute_and_wait(task, command, cancelled, job) {
        Ok((CommandEnd::Told, _)) => {
            problem = Some("cancelled".to_owned());
            cut_short = job.map(|_| CutShort::ToldToEnd);
        }
        Ok((CommandEnd::Alone(status), begins_at)) => {
            let outcome = outcome(task, command, status, since.elapsed(), begins_at, job);
            if let Some(job) = job {
                // As in a shell, for a command ended by a signal.
                let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
                job.exit_code.store(code as u8, Ordering::Relaxed);
            }
            report.say(&FromWorker::CommandEnded { of: task.attempt_id(), outcome: Box::new(outcome) });
        }
        Err(error) => {
            if let Some(job) = job {
                job.exit_code.store(CANNOT_EXECUTE, Ordering::Relaxed);
            }
            let outcome = JobOutcome {
                id: job_id(job),
                cluster: None,
                state: JobState::Failed,
                reason: format!("it could not be started: {error}"),
                exit_code: None,
                signal: None,
                directory: command.own_directory.clone(),
                log: Some(task.log.clone()),
                elapsed: 0.0,
                tail: String::new(),
            };
            report.say(&FromWorker::CommandEnded { of: task.attempt_id(), outcome: Box::new(outcome) });
        }
    }
    report.say(&FromWorker::TaskEnded { of: task.attempt_id(), problem, cut_short });
}

/// Also returns the offset of its output in the log.
fn execute_and_wait(
    task: &Task,
    command: &task::UserCommand,
    cancelled: &AtomicBool,
    job: Option<&InJob>,
) -> io::Result<(CommandEnd, u64)> {
    make_empty(&command.own_directory)?;
    let log = log_line::open(&task.log)?;
    let begins_at = log.metadata()?.len();
    let (mut child, mut lifeline) = start(task, command, &log, job)?;
    let is_sandboxed = lifeline.is_some();
    let pid = Pid::from_raw(child.id() as i32);
    let mut told: Option<Instant> = None;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        match told {
            None if cancelled.load(Ordering::Relaxed) => {
                // To all processes that it started. A sandbox's guard forwards it.
                let _ = if is_sandboxed { kill(pid, Signal::SIGTERM) } else { killpg(pid, Signal::SIGTERM) };
                told = Some(Instant::now());
            }
            Some(since) if since.elapsed() > PATIENCE => {
                // The guard must live to kill the others.
                drop(lifeline.take());
                let _ = if is_sandboxed { Ok(()) } else { killpg(pid, Signal::SIGKILL) };
            }
            _ => {}
        }
        thread::sleep(POLL);
    };
    // Processes that it left behind would otherwise continue unnoticed.
    if !is_sandboxed {
        let _ = killpg(pid, Signal::SIGKILL);
    }
    if let Some(job) = job {
        // Slurm signals all processes of a job at the same time, and the command may end first, with exit code 0.
        job.wait_whether_told_to_end(cancelled);
    }
    if told.is_some() || cancelled.load(Ordering::Relaxed) {
        return Ok((CommandEnd::Told, begins_at));
    }
    Ok((CommandEnd::Alone(status), begins_at))
}

/// Creates an empty directory: files of an earlier execution must not be mistaken for results of this one.
fn make_empty(directory: &Path) -> io::Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(io::Error::new(error.kind(), format!("{} cannot be emptied: {error}", directory.display())))
        }
        _ => fs::create_dir_all(directory)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", directory.display()))),
    }
}

/// Also returns what keeps a sandboxed command alive.
fn start(
    task: &Task,
    command: &task::UserCommand,
    log: &File,
    job: Option<&InJob>,
) -> io::Result<(Child, Option<Lifeline>)> {
    let confinement = confinement(task);
    // Through this program, so that the command ends if the worker is killed.
    let (mut child, lifeline) = match &confinement {
        None => {
            let mut child = Command::new(std::env::current_exe()?);
            child.args(["exec", "--parent", &std::process::id().to_string(), "--"]).args(&command.words);
            (child, None)
        }
        Some(confinement) => {
            let wrapped = sandboxed::wrap(confinement, &command.words)?;
            (wrapped.command, Some(wrapped.lifeline))
        }
    };
    hide_service_environment(&mut child, confinement.is_some());
    child
        .envs(job.iter().flat_map(|job| &job.environment))
        .envs(&command.environment)
        .current_dir(&command.working_directory)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log.try_clone()?)
        .process_group(0);
    if job.is_some() {
        for name in taken_away_here(true) {
            child.env_remove(name);
        }
    }
    let started = child.spawn().map_err(|error| {
        io::Error::new(error.kind(), format!("{error} (in {})", command.working_directory.display()))
    })?;
    Ok((started, lifeline))
}

/// Replaces this process with the command (`amore-worker exec`). Returns only on failure.
pub fn execute(parent: i32, words: &[OsString]) -> ExitCode {
    let failed = |what: &str, error: &dyn std::fmt::Display| {
        let _ = writeln!(io::stderr(), "amore: {what}: {error}");
        ExitCode::from(CANNOT_EXECUTE)
    };
    // The worker in a job blocks SIGTERM for its own threads.
    if let Err(error) = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None) {
        return failed("signals", &error);
    }
    if let Err(error) = prctl::set_pdeathsig(Signal::SIGTERM) {
        return failed("prctl", &error);
    }
    if getppid().as_raw() != parent {
        return failed("exec", &"the worker is gone");
    }
    let words: Result<Vec<CString>, _> = words.iter().map(|word| CString::new(word.as_bytes())).collect();
    let words = match words {
        Ok(words) => words,
        Err(error) => return failed("a word of the command", &error),
    };
    let Some(program) = words.first() else { return failed("exec", &"no program") };
    match execvp(program, &words) {
        Err(error) => failed(&format!("cannot execute {}", program.to_string_lossy()), &error.desc()),
        Ok(never) => match never {},
    }
}

fn job_id(job: Option<&InJob>) -> Option<String> {
    job.and_then(|_| std::env::var("SLURM_JOB_ID").ok())
}

fn outcome(
    task: &Task,
    command: &task::UserCommand,
    status: ExitStatus,
    elapsed: Duration,
    begins_at: u64,
    job: Option<&InJob>,
) -> JobOutcome {
    let (exit_code, signal) = (status.code(), status.signal());
    // As in Slurm: an out-of-memory kill counts, whatever the command did afterwards.
    let out_of_memory = job.is_some_and(|job| job.memory.was_exceeded());
    let state = match exit_code {
        _ if out_of_memory => JobState::OutOfMemory,
        Some(0) => JobState::Completed,
        _ => JobState::Failed,
    };
    let tail = if status.success() && !out_of_memory { String::new() } else { tail(&task.log, begins_at) };
    JobOutcome {
        id: job_id(job),
        cluster: None,
        state,
        reason: signal.map(signal_name).unwrap_or_default(),
        exit_code,
        signal,
        directory: command.own_directory.clone(),
        log: Some(task.log.clone()),
        elapsed: elapsed.as_secs_f64(),
        tail,
    }
}

fn signal_name(number: i32) -> String {
    Signal::try_from(number).map(|signal| signal.as_str().to_owned()).unwrap_or_default()
}

/// The last lines of a log after offset `from`.
fn tail(log: &PathBuf, from: u64) -> String {
    let read = || -> io::Result<String> {
        let mut file = File::open(log)?;
        let end = file.metadata()?.len();
        file.seek(SeekFrom::Start(from.max(end.saturating_sub(TAIL_BYTES)).min(end)))?;
        let mut bytes = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    // If the log is gone, only these lines are lost.
    let text = read().unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}
