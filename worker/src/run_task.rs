//! A task from its first child to its last fragment.

use std::{
    collections::BTreeSet,
    fs::File,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use amore_model::{RunData, python_environment::PYTHONPATH};
use amore_results as results;
use amore_wire::{
    ended::Ended,
    host::{ChildTask, ToChild},
    task::{CutShort, FromWorker, NOT_STORED, Outcome, Task},
};

use crate::{
    child::{ChildProcess, Death},
    command::run_command,
    conversation::{ChildEnd, Conversation, unless_about_its_name},
    fragments::{Call, Fragments, unix_now},
    hosts::{Host, HostError, Hosts, NoHost},
    in_job::InJob,
    log_line,
    not_computed::{Cause, not_computed},
    report::Report,
    sandboxed::Confinement,
    shared_memory::{SLOT_BYTES, SLOTS},
    stop::Stop,
    task_progress::{Remaining, TaskProgress},
};

/// Error class of variables whose job had no usable Python.
const NO_PYTHON: &str = "PythonUnusable";

/// Runs a task and reports its end. `job` is the Slurm job that the worker runs in, if any.
pub fn run_task(task: &Task, hosts: &Hosts, report: &Report, cancelled: &AtomicBool, job: Option<&InJob>) {
    report.say(&FromWorker::Started { of: task.attempt_id() });
    if let Some(command) = &task.command {
        run_command(task, command, report, cancelled, job);
        return;
    }
    let mut cut_short = None;
    let problem = match execute(task, hosts, report, cancelled, job) {
        Ok(()) => None,
        Err(Stop::Host(error)) => {
            let HostError { message, hint, .. } = error;
            report.say(&FromWorker::HostFailed { of: task.attempt_id(), message: message.clone(), hint });
            Some(message)
        }
        Err(stop) => {
            let words = stop.to_string();
            cut_short = match stop {
                Stop::OutOfMemory { variable } => Some(CutShort::OutOfMemory { variable }),
                Stop::Cancelled if job.is_some() => Some(CutShort::ToldToEnd),
                Stop::Storage(results::ResultsError::NoSpace { .. }) => Some(CutShort::NoSpace),
                _ => None,
            };
            Some(words)
        }
    };
    report.say(&FromWorker::TaskEnded { of: task.attempt_id(), problem, cut_short });
}

/// What the task's user code is executed in.
pub fn confinement(task: &Task) -> Option<Confinement> {
    Confinement::of(task.sandbox.as_ref(), task.proposal)
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
    let host = match hosts.get(&task.python, &task.context, confinement(task).as_ref(), cancelled) {
        Ok(host) => host,
        Err(none) => {
            let none = unless_told_to_end(none, job, cancelled);
            if let (NoHost::Unusable(error), Some(job)) = (&none, job)
                && !error.killed
            {
                let mut fragments = Fragments::new(task, report, "", "");
                let message = in_job_words(NO_PYTHON, &error.message, job);
                let cause = Cause { class: NO_PYTHON, message: &message, traceback: "" };
                let stay = not_computed(cause, &mut progress, &mut fragments, task, &log)?;
                let error = HostError { message: format!("{}{stay}", error.message), ..error.clone() };
                return Err(Stop::Host(error));
            }
            return Err(none.into());
        }
    };
    let mut fragments = Fragments::new(task, report, &host.python_version, &host.environment);
    for (name, answer) in &answers {
        fragments.stands_in(name, answer.path.clone());
    }
    let ended = call_steps(task, hosts, report, (cancelled, job), &log, host, &mut progress, &mut fragments);
    if let Err(Stop::CannotStart { class, message, more }) = &ended {
        let in_job = job.map(|job| in_job_words(class, message, job));
        let cause = Cause { class, message: in_job.as_ref().unwrap_or(message), traceback: more };
        let stay = not_computed(cause, &mut progress, &mut fragments, task, &log)?;
        let place = job.map(|job| format!(" (in {})", job.place())).unwrap_or_default();
        let message = format!("{message}{place}{stay}");
        return Err(Stop::CannotStart { class: class.clone(), message, more: more.clone() });
    }
    if let Err(Stop::Storage(error)) = &ended {
        for name in fragments.lost() {
            // The log may be on the same disk.
            log_line::write(&log, &format!("{name} could not be stored: {error}"));
            // A full disk ends the command, which reports it once.
            if job.is_some() || !matches!(error, results::ResultsError::NoSpace { .. }) {
                let outcome = Outcome::Error { class: NOT_STORED.to_owned(), message: error.to_string() };
                report.say(&FromWorker::VariableEnded { of: task.attempt_id(), name, outcome, seconds: 0.0 });
            }
        }
    }
    ended
}

/// Slurm signals all processes of a job at the same time, so a Python that was just starting may end first. It is not
/// broken.
fn unless_told_to_end(none: NoHost, job: Option<&InJob>, cancelled: &AtomicBool) -> NoHost {
    if let (NoHost::Unusable(_), Some(job)) = (&none, job) {
        job.wait_whether_told_to_end(cancelled);
        if cancelled.load(Ordering::Relaxed) {
            return NoHost::Cancelled;
        }
    }
    none
}

/// Starts one child after another to call the steps, until none is left.
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
            None => hosts
                .get(&task.python, &task.context, confinement(task).as_ref(), cancelled)
                .map_err(|none| unless_told_to_end(none, job, cancelled))?,
        };
        // Results of earlier children must be readable before the next one starts.
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
                // Finished results are kept.
                fragments.flush()?;
                return Err(stop);
            }
        }
    }
    fragments.flush()?;
    Ok(())
}

/// Records a child's death as the error of the variable that it was computing.
fn bury(
    how: &Ended,
    traceback: Option<String>,
    progress: &mut TaskProgress,
    fragments: &mut Fragments<'_>,
    task: &Task,
    report: &Report,
) -> Result<(), Stop> {
    let mut lost = progress.on_child_died(how);
    if progress.is_hopeless() {
        lost.extend(progress.give_up(how).into_iter().map(|name| (name, how.clone())));
    }
    for (name, how) in lost {
        let Ended::Error { class, message } = &how else { continue };
        let transient = progress.step(&name).is_some_and(|step| step.transient);
        if !transient {
            let call = Call { started_at: unix_now(), traceback: traceback.clone(), ..Call::default() };
            unless_about_its_name(fragments.error(&name, class, message, call))?;
        }
        let outcome = Outcome::Error { class: class.clone(), message: message.clone() };
        report.say(&FromWorker::VariableEnded { of: task.attempt_id(), name, outcome, seconds: 0.0 });
    }
    Ok(())
}

/// The message about a task that could not start in a job, with job and node.
fn in_job_words(class: &str, message: &str, job: &InJob) -> String {
    let mut message = format!("{message}\nin {}, where the context file could not be executed", job.place());
    if class == "ModuleNotFoundError" {
        message.push_str(&match job.environment.get(PYTHONPATH) {
            Some(path) => format!("; its PYTHONPATH is that of the submitting command: {path}"),
            None => {
                "; PYTHONPATH is not set there, because it was not set for the submitting command".to_owned()
            }
        });
    }
    message
}

/// Results that earlier workers stored for this plan.
fn answers(task: &Task) -> Result<Vec<(String, results::StoredResult)>, Stop> {
    let folder = task.directory.join("extracted_data");
    let found = results::answered(&folder, task.proposal, task.run, task.stamp)?;
    let is_ours = |name: &String| task.steps.iter().any(|step| step.name == *name && !step.again);
    Ok(found.into_iter().filter(|(name, _)| is_ours(name)).collect())
}

/// Reports each of these results again: messages of an abandoned attempt are ignored, so the attempt that adopts its fragments
/// has to report them.
fn take_answers(
    answers: &[(String, results::StoredResult)],
    progress: &mut TaskProgress,
    task: &Task,
    report: &Report,
) {
    let fragments: BTreeSet<&PathBuf> = answers
        .iter()
        .filter(|(_, answer)| answer.is_in_fragment())
        .map(|(_, answer)| &answer.path)
        .collect();
    for path in fragments {
        report.say(&FromWorker::Fragment {
            of: task.attempt_id(),
            proposal: task.proposal,
            run: task.run,
            path: path.clone(),
        });
    }
    for (name, answer) in answers {
        let (class, message) = answer.error.clone().unwrap_or_default();
        let outcome = match answer.outcome {
            results::StoredOutcome::Value => Outcome::Value,
            results::StoredOutcome::Nothing | results::StoredOutcome::Removed => Outcome::Nothing,
            results::StoredOutcome::Skipped => Outcome::Skipped { message },
            results::StoredOutcome::Error => Outcome::Error { class, message },
        };
        progress.on_answered(name, outcome.without_value());
        let (of, name) = (task.attempt_id(), name.clone());
        report.say(&FromWorker::VariableEnded { of, name, outcome, seconds: 0.0 });
    }
}

/// Stores the outcome of steps that are no longer called.
fn give_up(
    task: &Task,
    progress: &mut TaskProgress,
    fragments: &mut Fragments<'_>,
    report: &Report,
) -> Result<(), Stop> {
    for (name, how) in &task.give_up {
        if *how == Ended::Nothing || progress.step(name).is_none_or(|step| step.transient) {
            continue;
        }
        fragments.without_value(name, how, Call { started_at: unix_now(), ..Call::default() })?;
        progress.on_answered(name, Some(how.clone()));
        report.say(&FromWorker::VariableEnded {
            of: task.attempt_id(),
            name: name.clone(),
            outcome: how.clone().into(),
            seconds: 0.0,
        });
    }
    Ok(())
}

fn open_log(task: &Task) -> Result<File, Stop> {
    let opened = log_line::open(&task.log);
    let log = opened.map_err(|cause| Stop::Log(task.log.display().to_string(), cause))?;
    log_line::end_open_line(&log);
    Ok(log)
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
        data: match task.data {
            RunData::Raw => "raw",
            RunData::Proc => "proc",
            RunData::All => "all",
        }
        .to_owned(),
        mock: task.mock,
        directory: task.directory.display().to_string(),
        context: task.context.clone(),
        steps: remaining.steps,
        given,
        ended,
        outcomes: task.outcomes.clone(),
        parameters: task.parameters.clone(),
        mymdc: task.mymdc.clone(),
        memory_bytes: task.limits.memory_bytes,
        slots: SLOTS,
        slot_bytes: SLOT_BYTES,
    }
}
