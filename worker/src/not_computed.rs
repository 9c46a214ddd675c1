//! A task that could not start: the run cannot be opened, or the file not be executed for it. One rule, here and in jobs.
//!
//! Nothing was computed: what could not be read today says nothing against what was read yesterday. Variables with a value
//! of an earlier command keep it; the others get the error.

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
    /// Class of the exception, or what stands for it.
    pub class: &'a str,
    pub message: &'a str,
    /// The user's traceback, if there is one.
    pub traceback: &'a str,
}

/// Stores the cause with each variable without an earlier value, and notes in the log which have kept theirs. Gives what
/// is to be added to the task's end: nothing if the run has no values.
///
/// # Errors
/// What is stored cannot be read, or the errors not be stored.
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
        log_line::write(log, &task.log, &note.to_line());
    }
    // Of a run's tasks the first that ends is heard: it speaks for all.
    let any_value = stored.values().any(|answer| answer.outcome == results::StoredOutcome::Value);
    Ok(if any_value { "; the earlier values stay" } else { "" }.to_owned())
}
