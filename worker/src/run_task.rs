//! A task from its first child to its last fragment.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use amore_model::RunData;
use amore_results as results;
use amore_wire::{
    host::{ChildTask, Ended, FromChild, ToChild, ValueMessage},
    task::{CutShort, FromWorker, NOT_STORED, Outcome, Task},
};
use nix::sys::signal::Signal;

use crate::{
    child::{ChildProcess, Death},
    command::run_command,
    crash_report,
    fragments::{Call, Fragments, make_folder, unix_now},
    hosts::{Host, HostError, Hosts},
    job::InJob,
    lines::Received,
    report::Report,
    shared_memory::{SLOT_BYTES, SLOTS},
    task_progress::{Remaining, TaskProgress},
    values::{TakeError, assemble, take_streams},
};

/// How often a waiting conversation looks whether the task was cancelled.
const CANCEL_POLL: Duration = Duration::from_millis(250);

/// Why a task ended before its steps were done.
#[derive(Debug, thiserror::Error)]
enum Stop {
    #[error("{0}")]
    Host(HostError),
    #[error("cancelled")]
    Cancelled,
    /// The run or the context file could not be opened: nothing was called.
    #[error("{0}")]
    CannotStart(String),
    #[error("results cannot be stored: {0}")]
    Storage(#[from] results::ResultsError),
    #[error("the log {0} cannot be written: {1}")]
    Log(String, #[source] io::Error),
    #[error("the conversation with the child failed: {0}")]
    Io(#[from] io::Error),
    #[error("the job was out of memory while {variable} was computed")]
    OutOfMemory { variable: String },
}

/// How one child ended.
enum ChildEnd {
    /// It did all it was told.
    Done,
    /// It died, or was killed for taking too long; what its running variable is told.
    Died { class: String, message: String, traceback: Option<String> },
    /// Its host went away, and it with its host.
    HostGone,
}

/// Runs a task and reports its end. `job` tells of the Slurm job that we are in, if any.
pub fn run_task(task: &Task, hosts: &Hosts, report: &Report, cancelled: &AtomicBool, job: Option<&InJob>) {
    report.say(&FromWorker::Started { id: task.id.clone() });
    if let Some(command) = &task.command {
        run_command(task, command, report, cancelled, job);
        return;
    }
    let mut cut_short = None;
    let problem = match execute(task, hosts, report, cancelled, job) {
        Ok(()) => None,
        Err(Stop::Host(error)) => {
            let HostError { message, hint, .. } = error;
            report.say(&FromWorker::HostFailed { id: task.id.clone(), message: message.clone(), hint });
            Some(message)
        }
        Err(stop) => {
            let words = stop.to_string();
            cut_short = match stop {
                Stop::OutOfMemory { variable } => Some(CutShort::OutOfMemory { variable }),
                Stop::Cancelled if job.is_some() => Some(CutShort::ToldToEnd),
                _ => None,
            };
            Some(words)
        }
    };
    report.say(&FromWorker::TaskEnded { id: task.id.clone(), problem, cut_short });
}

fn execute(
    task: &Task,
    hosts: &Hosts,
    report: &Report,
    cancelled: &AtomicBool,
    job: Option<&InJob>,
) -> Result<(), Stop> {
    let log = open_log(task)?;
    let mut progress = TaskProgress::new(task.steps.clone());
    let answers = if job.is_some() { answers(task)? } else { Vec::new() };
    if !answers.is_empty() {
        take_answers(&answers, &mut progress, task, report);
        if progress.remaining().is_none() {
            return Ok(());
        }
    }
    let host = hosts.get(&task.python, &task.context).map_err(Stop::Host)?;
    let mut fragments = Fragments::new(task, report, &host.python_version, &host.environment);
    for (name, answer) in &answers {
        fragments.stands_in(name, answer.path.clone());
    }
    let ended = call_steps(task, hosts, report, (cancelled, job), &log, host, &mut progress, &mut fragments);
    if let Err(Stop::Storage(error)) = &ended {
        for name in fragments.lost() {
            // The log may be on the same disk.
            let _ = writeln!(&log, "{name} could not be stored: {error}");
            let outcome = Outcome::Error { class: NOT_STORED.to_owned(), message: error.to_string() };
            report.say(&FromWorker::VariableEnded { id: task.id.clone(), name, outcome, seconds: 0.0 });
        }
    }
    ended
}

/// Has one child after the other call the steps, until none is left.
#[expect(clippy::too_many_arguments, reason = "they are what a task is executed with")]
fn call_steps<'a>(
    task: &'a Task,
    hosts: &Hosts,
    report: &'a Report,
    (cancelled, job): (&AtomicBool, Option<&InJob>),
    log: &File,
    host: Arc<Host>,
    progress: &mut TaskProgress,
    fragments: &mut Fragments<'a>,
) -> Result<(), Stop> {
    fragments.forget()?;
    give_up(task, progress, fragments, report)?;
    let mut host = Some(host);
    let mut children = 0;
    while let Some(remaining) = progress.remaining() {
        let host = match host.take() {
            Some(host) => host,
            None => hosts.get(&task.python, &task.context).map_err(Stop::Host)?,
        };
        // What earlier children stored must be readable before the next one starts.
        fragments.flush()?;
        children += 1;
        let id = format!("{}.{}.{children}", task.id, task.attempt);
        let first = ToChild::Run(Box::new(child_task(task, remaining, fragments)));
        let log_before = log.metadata().map(|data| data.len()).unwrap_or(0);
        let child = ChildProcess::fork(&host, &id, log, &first)?;
        let end =
            Conversation { task, report, cancelled, job, log, log_before, host: &host, fragments, progress }
                .hold(child);
        match end {
            Ok(ChildEnd::Done) => break,
            Ok(ChildEnd::Died { class, message, traceback }) => {
                let how = Ended::Error { class, message };
                bury(&how, traceback, progress, fragments, task, report)?;
            }
            Ok(ChildEnd::HostGone) if progress.on_host_gone() => {}
            Ok(ChildEnd::HostGone) => {
                let (class, message) = Death::HostGone.in_words();
                bury(&Ended::Error { class, message }, None, progress, fragments, task, report)?;
            }
            Err(stop) => {
                // What was finished before stays.
                fragments.flush()?;
                return Err(stop);
            }
        }
    }
    fragments.flush()?;
    Ok(())
}

/// Records a child's death at the variable that it was computing.
fn bury(
    how: &Ended,
    traceback: Option<String>,
    progress: &mut TaskProgress,
    fragments: &mut Fragments<'_>,
    task: &Task,
    report: &Report,
) -> Result<(), Stop> {
    let Ended::Error { class, message } = how else { return Ok(()) };
    let mut lost: Vec<String> = progress.on_child_died(how).into_iter().collect();
    if progress.is_hopeless() {
        lost.extend(progress.give_up(how));
    }
    for name in lost {
        let transient = progress.step(&name).is_some_and(|step| step.transient);
        if !transient {
            let call = Call { started_at: unix_now(), traceback: traceback.clone(), ..Call::default() };
            unless_about_its_name(fragments.error(&name, class, message, call))?;
        }
        let outcome = Outcome::Error { class: class.clone(), message: message.clone() };
        report.say(&FromWorker::VariableEnded { id: task.id.clone(), name, outcome, seconds: 0.0 });
    }
    Ok(())
}

/// What earlier workers have stored for this plan.
fn answers(task: &Task) -> Result<Vec<(String, results::Answer)>, Stop> {
    let folder = task.directory.join("extracted_data");
    let found = results::answered(&folder, task.proposal, task.run, task.stamp)?;
    Ok(found.into_iter().filter(|(name, _)| task.steps.iter().any(|step| step.name == *name)).collect())
}

/// Says of each what its first worker may not have lived to say.
fn take_answers(
    answers: &[(String, results::Answer)],
    progress: &mut TaskProgress,
    task: &Task,
    report: &Report,
) {
    for (name, answer) in answers {
        let (class, message) = answer.error.clone().unwrap_or_default();
        let (ended, outcome) = match answer.outcome {
            results::StoredOutcome::Value => (None, Outcome::Value),
            results::StoredOutcome::Nothing | results::StoredOutcome::Removed => {
                (Some(Ended::Nothing), Outcome::Nothing)
            }
            results::StoredOutcome::Skipped => (
                Some(Ended::Error { class: "Skip".to_owned(), message: message.clone() }),
                Outcome::Skipped { message },
            ),
            results::StoredOutcome::Error => (
                Some(Ended::Error { class: class.clone(), message: message.clone() }),
                Outcome::Error { class, message },
            ),
        };
        progress.on_answered(name, ended);
        let (id, name) = (task.id.clone(), name.clone());
        report.say(&FromWorker::VariableEnded { id, name, outcome, seconds: 0.0 });
    }
}

/// Stores the outcome of steps that are not called any more.
fn give_up(
    task: &Task,
    progress: &mut TaskProgress,
    fragments: &mut Fragments<'_>,
    report: &Report,
) -> Result<(), Stop> {
    for (name, how) in &task.give_up {
        let Ended::Error { class, message } = how else { continue };
        if progress.step(name).is_none_or(|step| step.transient) {
            continue;
        }
        fragments.error(name, class, message, Call { started_at: unix_now(), ..Call::default() })?;
        progress.on_answered(name, Some(how.clone()));
        let (class, message) = (class.clone(), message.clone());
        let outcome =
            if class == "Skip" { Outcome::Skipped { message } } else { Outcome::Error { class, message } };
        report.say(&FromWorker::VariableEnded {
            id: task.id.clone(),
            name: name.clone(),
            outcome,
            seconds: 0.0,
        });
    }
    Ok(())
}

fn open_log(task: &Task) -> Result<File, Stop> {
    let open = || {
        if let Some(folder) = task.log.parent() {
            fs::create_dir_all(folder)?;
        }
        OpenOptions::new().create(true).append(true).open(&task.log)
    };
    open().map_err(|cause| Stop::Log(task.log.display().to_string(), cause))
}

fn child_task(task: &Task, remaining: Remaining, fragments: &Fragments<'_>) -> ChildTask {
    let mut given: std::collections::BTreeMap<String, String> =
        task.given.iter().map(|(name, path)| (name.clone(), path.display().to_string())).collect();
    for name in remaining.stored {
        if let Some(place) = fragments.place(&name) {
            given.insert(name, place.display().to_string());
        }
    }
    let mut ended = task.ended.clone();
    ended.extend(remaining.ended);
    ChildTask {
        proposal: task.proposal.0,
        run: task.run.0,
        data: if task.data == RunData::Raw { "raw" } else { "all" }.to_owned(),
        mock: task.mock,
        directory: task.directory.display().to_string(),
        context: task.context.clone(),
        steps: remaining.steps,
        given,
        ended,
        outcomes: task.outcomes.clone(),
        parameters: task.parameters.clone(),
        memory_bytes: task.limits.memory_bytes,
        slots: SLOTS,
        slot_bytes: SLOT_BYTES,
    }
}

/// The conversation with one child.
struct Conversation<'a, 'b> {
    task: &'a Task,
    report: &'a Report,
    cancelled: &'b AtomicBool,
    job: Option<&'b InJob>,
    log: &'b File,
    /// Length of the log when the child began.
    log_before: u64,
    host: &'b Arc<Host>,
    fragments: &'b mut Fragments<'a>,
    progress: &'b mut TaskProgress,
}

/// The call that is under way.
struct Running {
    started_at: f64,
    since: Instant,
}

impl Conversation<'_, '_> {
    fn hold(mut self, mut child: ChildProcess) -> Result<ChildEnd, Stop> {
        let mut running: Option<Running> = None;
        let mut opened = false;
        loop {
            if self.cancelled.load(Ordering::Relaxed) {
                child.kill();
                return Err(Stop::Cancelled);
            }
            let time_is_up = running.as_ref().and_then(|running| {
                let limit = self.task.limits.variable_seconds?;
                Some(running.since + Duration::try_from_secs_f64(limit).ok()?)
            });
            let soon = Some(Instant::now() + CANCEL_POLL);
            let deadline = [soon, self.fragments.due(), time_is_up].into_iter().flatten().min();
            let message = match child.listen(deadline)? {
                Received::Message(message) => message,
                Received::TimedOut => {
                    let now = Instant::now();
                    if self.fragments.due().is_some_and(|due| due <= now) {
                        self.fragments.flush()?;
                    }
                    if time_is_up.is_some_and(|due| due <= now) {
                        return Ok(self.stop_for_time(child));
                    }
                    continue;
                }
                Received::Closed => return self.autopsy(&mut child, opened),
            };
            match message {
                FromChild::Opened { start_time } => {
                    opened = true;
                    for file in crash_report::skipped_files(&self.task.log, self.log_before) {
                        let message = format!(
                            "run {}: {file} could not be read and was left out; values are of the other files",
                            self.task.run
                        );
                        self.report.say(&FromWorker::Notice { id: self.task.id.clone(), message });
                    }
                    self.fragments.set_start_time(start_time);
                }
                FromChild::CannotStart { class, message, traceback } => {
                    let _ = child.death();
                    // Libraries name the files that they could not open here, not in the exception.
                    let printed = crash_report::printed_before_start(&self.task.log, self.log_before);
                    let more: String =
                        printed.into_iter().chain(traceback).map(|text| format!("\n{text}")).collect();
                    return Err(Stop::CannotStart(format!("{class}: {message}{more}")));
                }
                FromChild::Started { name } => {
                    self.progress.on_started(&name).map_err(io::Error::other)?;
                    running = Some(Running { started_at: unix_now(), since: Instant::now() });
                    self.report.say(&FromWorker::VariableStarted { id: self.task.id.clone(), name });
                }
                FromChild::Value(value) => {
                    let started_at = running.as_ref().map_or_else(unix_now, |running| running.started_at);
                    if !self.take(&mut child, &value, started_at, time_is_up)? {
                        return if time_is_up.is_some_and(|due| due <= Instant::now()) {
                            Ok(self.stop_for_time(child))
                        } else {
                            self.autopsy(&mut child, opened)
                        };
                    }
                    running = None;
                }
                FromChild::Kept { name, seconds } => {
                    self.progress.on_kept(&name).map_err(io::Error::other)?;
                    running = None;
                    self.ended(name, Outcome::Value, seconds);
                }
                FromChild::Nothing { name, seconds } => {
                    let call = self.call(running.take(), seconds, None);
                    if !self.is_transient(&name) {
                        unless_about_its_name(self.fragments.nothing(&name, call))?;
                    }
                    self.progress.on_ended(&name, Ended::Nothing).map_err(io::Error::other)?;
                    self.ended(name, Outcome::Nothing, seconds);
                }
                FromChild::Failed { name, class, message, traceback, seconds } => {
                    let call = self.call(running.take(), seconds, traceback);
                    if !self.is_transient(&name) {
                        unless_about_its_name(self.fragments.error(&name, &class, &message, call))?;
                    }
                    let how = Ended::Error { class: class.clone(), message: message.clone() };
                    self.progress.on_ended(&name, how).map_err(io::Error::other)?;
                    let outcome = if class == "Skip" {
                        Outcome::Skipped { message }
                    } else {
                        Outcome::Error { class, message }
                    };
                    self.ended(name, outcome, seconds);
                }
                FromChild::Done { imported } => {
                    if !imported.is_empty() {
                        self.host.preload(imported);
                    }
                    self.fragments.flush()?;
                    // The process ends by itself; waiting for it keeps no zombie and no surprise.
                    let _ = child.death();
                    return Ok(ChildEnd::Done);
                }
                FromChild::Chunk { .. } | FromChild::Described { .. } => {
                    return Err(Stop::Io(io::Error::new(
                        io::ErrorKind::InvalidData,
                        "a message out of place",
                    )));
                }
            }
        }
    }

    fn is_transient(&self, name: &str) -> bool {
        self.progress.step(name).is_some_and(|step| step.transient)
    }

    fn ended(&self, name: String, outcome: Outcome, seconds: f64) {
        self.report.say(&FromWorker::VariableEnded { id: self.task.id.clone(), name, outcome, seconds });
    }

    #[expect(clippy::unused_self, reason = "reads like its neighbours")]
    fn call(&self, running: Option<Running>, seconds: f64, traceback: Option<String>) -> Call {
        let started_at = running.map_or_else(unix_now, |running| running.started_at);
        Call { started_at, seconds, traceback, ..Call::default() }
    }

    /// Takes one value into the open fragment. `false`: the child is gone or out of time.
    fn take(
        &mut self,
        child: &mut ChildProcess,
        value: &ValueMessage,
        started_at: f64,
        deadline: Option<Instant>,
    ) -> Result<bool, Stop> {
        let call = Call {
            started_at,
            seconds: value.seconds,
            cpu_seconds: value.cpu_seconds,
            max_rss_kib: value.max_rss_kib,
            traceback: None,
        };
        let folder = self.fragments.extracted_data();
        let taken = make_folder(&folder)
            .map_err(TakeError::Storage)
            .and_then(|()| take_streams(child, value, &folder, self.task.proposal, self.task.run, deadline))
            .and_then(|streamed| {
                let assembled = assemble(value, &child.memory, &streamed)?;
                Ok(self.fragments.value(&value.name, &assembled, call.clone())?)
            });
        let outcome = match taken {
            Ok(()) => {
                self.progress.on_stored(&value.name).map_err(io::Error::other)?;
                Outcome::Value
            }
            Err(TakeError::Child(_) | TakeError::TimedOut) => return Ok(false),
            // A full disk stops the task: the next variable would not fare better.
            Err(TakeError::Storage(error)) if is_about_the_file_system(&error) => {
                self.fragments.lose(&value.name);
                return Err(error.into());
            }
            Err(TakeError::Storage(error)) => {
                let (class, message) = (NOT_STORED.to_owned(), error.to_string());
                unless_about_its_name(self.fragments.error(&value.name, &class, &message, call))?;
                let how = Ended::Error { class: class.clone(), message: message.clone() };
                self.progress.on_ended(&value.name, how).map_err(io::Error::other)?;
                Outcome::Error { class, message }
            }
        };
        child.say(&ToChild::Taken)?;
        self.ended(value.name.clone(), outcome, value.seconds);
        Ok(true)
    }

    /// Kills a child whose variable ran out of time; its last traceback goes to the log first.
    fn stop_for_time(&self, mut child: ChildProcess) -> ChildEnd {
        let limit = self.task.limits.variable_seconds.unwrap_or_default();
        child.ask_for_traceback();
        child.kill();
        let _ = child.death();
        let traceback = self.fatal_traceback(&child);
        ChildEnd::Died {
            class: "TimeoutError".to_owned(),
            message: self.with_place(
                format!("stopped: it ran longer than its limit of {limit} s"),
                traceback.as_deref(),
            ),
            traceback,
        }
    }

    fn autopsy(&self, child: &mut ChildProcess, opened: bool) -> Result<ChildEnd, Stop> {
        let death = child.death();
        if let Some(job) = self.job {
            // Slurm tells all processes of a job to end at once; the child may be the first to obey.
            if matches!(death, Death::HostGone) || death == Death::Signal(Signal::SIGTERM as i32) {
                job.wait_whether_told_to_end(self.cancelled);
                if self.cancelled.load(Ordering::Relaxed) {
                    return Err(Stop::Cancelled);
                }
            }
            if death == Death::Signal(Signal::SIGKILL as i32)
                && job.memory.was_exceeded()
                && !self.task.last_attempt
                && let Some(variable) = self.progress.running()
            {
                return Err(Stop::OutOfMemory { variable: variable.to_owned() });
            }
        }
        if death == Death::HostGone {
            return Ok(ChildEnd::HostGone);
        }
        let (class, message) = death.in_words();
        // What ends a process at once leaves no traceback: one would be of a process that it had started.
        let traceback = match death {
            Death::Signal(number) if number != Signal::SIGKILL as i32 => self.fatal_traceback(child),
            _ => None,
        };
        if !opened {
            let when = "while the context file was executed and the run opened";
            let traceback = traceback.map(|text| format!("\n{text}")).unwrap_or_default();
            return Err(Stop::CannotStart(format!("{message} ({when}){traceback}")));
        }
        Ok(ChildEnd::Died { class, message: self.with_place(message, traceback.as_deref()), traceback })
    }

    /// What the child said when it died; all of it goes to the log too.
    fn fatal_traceback(&self, child: &ChildProcess) -> Option<String> {
        let words = child.last_words();
        if !words.is_empty() {
            let variable = self.progress.running().map(|name| format!(" while it computed {name}"));
            let whole = format!("a process ended{}:\n{}\n", variable.unwrap_or_default(), words.trim_end());
            // The log is for reading only: that it is full or gone costs no more than these lines.
            let _ = (&mut &*self.log).write_all(whole.as_bytes());
        }
        crash_report::fatal_traceback(&words)
    }

    fn with_place(&self, message: String, traceback: Option<&str>) -> String {
        let place = traceback.and_then(|text| crash_report::innermost_frame(text, &self.task.context.path));
        match place {
            Some(place) => format!("{message}\nat {} {place}", self.task.context.path.display()),
            None => message,
        }
    }
}

/// A name under which nothing can be stored costs that variable, and is said; the others go on.
fn unless_about_its_name(stored: Result<(), results::ResultsError>) -> Result<(), results::ResultsError> {
    match stored {
        Err(results::ResultsError::Name(_)) => Ok(()),
        other => other,
    }
}

/// Is the error about the disk, and not about the value?
fn is_about_the_file_system(error: &results::ResultsError) -> bool {
    use results::ResultsError as E;
    matches!(error, E::NoSpace { .. } | E::Io { .. } | E::Damaged { .. } | E::Write { .. })
}
