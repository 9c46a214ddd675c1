//! A task that could not start: the run cannot be opened, or the context file cannot be executed. The same rule applies
//! locally and in jobs.
//!
//! Nothing was computed, so earlier results remain valid: variables with a value from an earlier command keep it; the others
//! get the error.

use std::fs::File;

use amore_model::PlanStamp;
use amore_results as results;
use amore_wire::{
    ended::Ended,
    task::{NotComputed, Task},
};

use crate::{
    conversation::unless_about_its_name,
    fragments::{Call, Fragments, unix_now},
    log_line,
    stop::Stop,
    task_progress::TaskProgress,
};

/// Why nothing was computed.
#[derive(Clone, Copy, Debug)]
pub struct Cause<'a> {
    /// Class of the exception, or a substitute.
    pub class: &'a str,
    pub message: &'a str,
    /// The user's traceback, if any.
    pub traceback: &'a str,
}

/// Stores the cause for each variable without an earlier value, and records in the log which variables keep theirs. Returns
/// an addition to the task's final message: empty if the run has no values.
///
/// # Errors
/// Stored results cannot be read, or the errors cannot be stored.
pub fn not_computed(
    cause: Cause<'_>,
    progress: &mut TaskProgress,
    fragments: &mut Fragments<'_>,
    task: &Task,
    log: &File,
) -> Result<String, Stop> {
    let any = PlanStamp { epoch: 0, micros: 0 };
    let stored = results::answered(&fragments.extracted_data(), task.proposal, task.run, any)?;
    let has_value = |name: &String| {
        stored.get(name).is_some_and(|answer| answer.outcome == results::StoredOutcome::Value)
    };
    let Cause { class, message, traceback } = cause;
    let how = Ended::Error { class: class.to_owned(), message: message.to_owned() };
    let (kept, without): (Vec<String>, Vec<String>) = progress.give_up(&how).into_iter().partition(has_value);
    for name in &without {
        let traceback = Some(traceback.trim().to_owned()).filter(|text| !text.is_empty());
        let call = Call { started_at: unix_now(), traceback, ..Call::default() };
        unless_about_its_name(fragments.error(name, class, message, call))?;
    }
    fragments.flush()?;
    if !kept.is_empty() {
        let note = NotComputed { at: unix_now(), why: format!("{class}: {message}"), kept };
        log_line::write(log, &note.to_line());
    }
    // Only the first task of a run that ends is reported: its message covers the others.
    let any_value = stored.values().any(|answer| answer.outcome == results::StoredOutcome::Value);
    Ok(if any_value { "; earlier values are kept" } else { "" }.to_owned())
}
