//! Handles one child: its messages, its values, and its end.

use std::{
    fs::File,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use amore_results as results;
use amore_wire::{
    ended::Ended,
    host::{FromChild, ToChild, ValueMessage},
    task::{FromWorker, NOT_STORED, Outcome, Task},
};
use nix::sys::signal::Signal;

use crate::{
    child::{ChildProcess, Death},
    crash_report,
    fragments::{Call, Fragments, make_folder, unix_now},
    hosts::Host,
    in_job::InJob,
    lines::Received,
    log_line,
    report::Report,
    stop::Stop,
    task_progress::TaskProgress,
    values::{TakeError, assemble, take_streams},
};

/// How often to check whether the task was cancelled while waiting for the child.
const CANCEL_POLL: Duration = Duration::from_millis(250);

/// A child ends itself after ten seconds (damnit_ctx/end_of_process.py); this limit is for one that no longer can.
const END_PATIENCE: Duration = Duration::from_secs(15);

/// How one child ended.
pub enum ChildEnd {
    /// It completed its instructions.
    Done,
    /// It died, or was killed because of its time limit; the error of its running variable.
    Died {
        /// Class of the exception, or a substitute.
        class: String,
        /// The message.
        message: String,
        /// Where it happened, if known.
        traceback: Option<String>,
    },
    /// Its host was lost, and the child with it.
    HostGone,
}

/// The communication with one child.
pub struct Conversation<'a, 'b> {
    pub task: &'a Task,
    /// Receives the events.
    pub report: &'a Report,
    /// Set when the task is to end.
    pub cancelled: &'b AtomicBool,
    /// The Slurm job that we run in, if any.
    pub job: Option<&'b InJob>,
    /// The child's log.
    pub log: &'b File,
    /// Length of the log when the child started.
    pub log_before: u64,
    /// The child's host.
    pub host: &'b Arc<Host>,
    /// Stores its values.
    pub fragments: &'b mut Fragments<'a>,
    /// The remaining steps.
    pub progress: &'b mut TaskProgress,
}

/// The call that is running.
struct Running {
    started_at: f64,
    since: Instant,
}

impl Conversation<'_, '_> {
    /// Handles the child's messages and values until it has ended.
    ///
    /// # Errors
    /// The task cannot continue with another child.
    pub fn hold(mut self, mut child: ChildProcess) -> Result<ChildEnd, Stop> {
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
                            "run {}: {file} could not be read and was skipped; values are computed from the other files",
                            self.task.run
                        );
                        self.report.say(&FromWorker::Notice { of: self.task.attempt_id(), message });
                    }
                    self.fragments.set_start_time(start_time);
                }
                FromChild::CannotStart { class, message, traceback } => {
                    let _ = child.death();
                    // Libraries print the files that they could not open here; the exception does not name them.
                    let printed = crash_report::printed_before_start(&self.task.log, self.log_before);
                    let more: String =
                        printed.into_iter().chain(traceback).map(|text| format!("\n{text}")).collect();
                    return Err(Stop::CannotStart { class, message, more });
                }
                FromChild::Started { name } => {
                    self.progress.on_started(&name).map_err(io::Error::other)?;
                    running = Some(Running { started_at: unix_now(), since: Instant::now() });
                    if self.progress.is_again(&name) {
                        continue;
                    }
                    self.report.say(&FromWorker::VariableStarted { of: self.task.attempt_id(), name });
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
                // Its value was not requested; the log records the failure.
                FromChild::Kept { name, .. }
                | FromChild::Nothing { name, .. }
                | FromChild::Failed { name, .. }
                    if self.progress.is_again(&name) =>
                {
                    self.progress.on_left(&name).map_err(io::Error::other)?;
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
                        unless_about_its_name(self.fragments.without_value(&name, &Ended::Nothing, call))?;
                    }
                    self.progress.on_ended(&name, Ended::Nothing).map_err(io::Error::other)?;
                    self.ended(name, Outcome::Nothing, seconds);
                }
                FromChild::Failed { name, class, skipped, message, traceback, seconds } => {
                    let call = self.call(running.take(), seconds, traceback);
                    let how = Ended::from_failure(class, message, skipped);
                    if !self.is_transient(&name) {
                        unless_about_its_name(self.fragments.without_value(&name, &how, call))?;
                    }
                    self.progress.on_ended(&name, how.clone()).map_err(io::Error::other)?;
                    self.ended(name, how.into(), seconds);
                }
                FromChild::Done { imported } => {
                    if !imported.is_empty() {
                        self.host.preload(imported);
                    }
                    self.fragments.flush()?;
                    self.see_off(&mut child);
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

    /// Waits until the child has ended: it closes its files and runs its exit handlers. All its values are stored.
    fn see_off(&self, child: &mut ChildProcess) {
        let patience = Instant::now() + END_PATIENCE;
        let death = loop {
            if let Some(death) = child.has_ended(CANCEL_POLL) {
                break death;
            }
            if self.cancelled.load(Ordering::Relaxed) || Instant::now() > patience {
                child.kill();
                break child.death();
            }
        };
        let what = match death {
            Death::Exited(0) | Death::HostGone => return,
            Death::Exited(_) => {
                "it did not end by itself within 10 s: threads, exit handlers (atexit) and open files are lost"
                    .to_owned()
            }
            Death::Signal(_) => death.in_words().1,
        };
        let words =
            format!("all values are stored, but the process of the variables did not end cleanly: {what}");
        log_line::write(self.log, &words);
    }

    fn is_transient(&self, name: &str) -> bool {
        self.progress.step(name).is_some_and(|step| step.transient)
    }

    fn ended(&self, name: String, outcome: Outcome, seconds: f64) {
        self.report.say(&FromWorker::VariableEnded { of: self.task.attempt_id(), name, outcome, seconds });
    }

    #[expect(clippy::unused_self, reason = "reads like its neighbours")]
    fn call(&self, running: Option<Running>, seconds: f64, traceback: Option<String>) -> Call {
        let started_at = running.map_or_else(unix_now, |running| running.started_at);
        Call { started_at, seconds, traceback, ..Call::default() }
    }

    /// Writes one value into the open fragment. `false`: the child is gone or exceeded its time limit.
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
            differs: value.data.as_ref().and_then(|data| data.differs.clone()),
            traceback: None,
        };
        let folder = self.fragments.extracted_data();
        let taken = make_folder(&folder)
            .map_err(TakeError::Storage)
            .and_then(|()| {
                take_streams(&mut child.channel, value, &folder, self.task.proposal, self.task.run, deadline)
            })
            .and_then(|streamed| {
                let assembled = assemble(value, &child.channel.memory, &streamed)?;
                Ok(self.fragments.value(&value.name, &assembled, call.clone())?)
            });
        let outcome = match taken {
            Ok(()) => {
                self.progress.on_stored(&value.name).map_err(io::Error::other)?;
                Outcome::Value
            }
            Err(TakeError::Child(_) | TakeError::TimedOut) => return Ok(false),
            // A full disk stops the task: the next variable would fail too.
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

    /// Kills a child whose variable exceeded its time limit, after writing its traceback to the log.
    fn stop_for_time(&self, mut child: ChildProcess) -> ChildEnd {
        let limit = self.task.limits.variable_seconds.unwrap_or_default();
        child.ask_for_traceback();
        child.kill();
        let _ = child.death();
        let traceback = self.fatal_traceback(&child);
        ChildEnd::Died {
            class: "TimeoutError".to_owned(),
            message: self.with_place(
                format!("stopped: it exceeded its time limit of {limit} s"),
                traceback.as_deref(),
            ),
            traceback,
        }
    }

    fn autopsy(&self, child: &mut ChildProcess, opened: bool) -> Result<ChildEnd, Stop> {
        let death = child.death();
        if let Some(job) = self.job {
            // Slurm signals all processes of a job at the same time; the child may end first.
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
        // SIGKILL leaves no traceback: one in the file would belong to a process that the child started.
        let traceback = match death {
            Death::Signal(number) if number != Signal::SIGKILL as i32 => self.fatal_traceback(child),
            _ => None,
        };
        if !opened {
            let when = "while the context file was executed and the run opened";
            let traceback = traceback.map(|text| format!("\n{text}")).unwrap_or_default();
            let message = format!("{message} ({when})");
            return Err(Stop::CannotStart { class, message, more: traceback });
        }
        Ok(ChildEnd::Died { class, message: self.with_place(message, traceback.as_deref()), traceback })
    }

    /// The crash output of the child, which is also appended to the log.
    fn fatal_traceback(&self, child: &ChildProcess) -> Option<String> {
        let words = child.last_words();
        if !words.is_empty() {
            let variable = self.progress.running().map(|name| format!(" while it computed {name}"));
            let whole = format!("a process ended{}:\n{}", variable.unwrap_or_default(), words.trim_end());
            log_line::write(self.log, &whole);
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

/// A name that cannot be stored is an error of that variable, and is reported; the others continue.
pub fn unless_about_its_name(stored: Result<(), results::ResultsError>) -> Result<(), results::ResultsError> {
    match stored {
        Err(results::ResultsError::Name(_)) => Ok(()),
        other => other,
    }
}

/// Whether the error concerns the disk, not the value.
fn is_about_the_file_system(error: &results::ResultsError) -> bool {
    use results::ResultsError as E;
    matches!(error, E::NoSpace { .. } | E::Io { .. } | E::Damaged { .. } | E::Write { .. })
}
