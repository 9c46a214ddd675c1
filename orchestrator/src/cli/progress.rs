//! The live display of `reprocess`: a bar on a terminal, JSON lines with `--json`, otherwise only important messages.

use std::{
    collections::BTreeSet,
    io::{IsTerminal, stderr, stdout},
    sync::mpsc::{Sender, channel},
    thread::{self, JoinHandle},
    time::Duration,
};

use amore_model::{Proposal, Run};
use amore_wire::task::Outcome;
use indicatif::{ProgressBar, ProgressStyle};

use super::{
    failure::Failure,
    open::Following,
    output::{as_text, say_if_possible},
};
use crate::coordinate::events::{Event, Summary, count, missing_words};

/// Number of failures that are shown; the rest is counted, and `amore table` shows them all.
const MAX_FAILURES_SHOWN: usize = 20;

/// Shows events in its own thread, so that a pager that waits or a stopped terminal blocks nothing else.
#[derive(Debug)]
pub struct Display {
    events: Option<Sender<Event>>,
    thread: Option<JoinHandle<()>>,
}

impl Display {
    /// Chooses the display by the type of standard error, unless JSON is requested. If `output` is given, it is shown too.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn start(json: bool, mut output: Option<Following>) -> Result<Self, Failure> {
        let (events, inbox) = channel::<Event>();
        let show = move || {
            let mut screen = Screen::new(json);
            for event in inbox {
                if let Some(output) = &mut output {
                    output.show(&event);
                }
                screen.show(&event);
            }
        };
        let thread = thread::Builder::new().name("display".to_owned()).spawn(show);
        let thread = thread.map_err(|error| Failure::new(format!("cannot start a thread: {error}")))?;
        Ok(Display { events: Some(events), thread: Some(thread) })
    }

    /// Shows an event, after earlier ones.
    pub fn show(&self, event: &Event) {
        if let Some(events) = &self.events {
            // The thread ends only after this sender is dropped.
            let _ = events.send(event.clone());
        }
    }
}

impl Drop for Display {
    /// Waits until everything is shown.
    fn drop(&mut self) {
        self.events = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Where progress is shown.
enum Screen {
    /// A terminal.
    Bar(Box<Bar>),
    Json,
    /// A file or a pipe: messages only.
    Quiet {
        /// Failures shown so far.
        failures: usize,
    },
}

/// State of the bar.
struct Bar {
    bar: ProgressBar,
    runs: usize,
    runs_done: usize,
    counted: Summary,
    failures: usize,
    /// Summary of Slurm jobs.
    jobs: String,
    running: BTreeSet<(Proposal, Run)>,
}

impl Screen {
    fn new(json: bool) -> Self {
        if json {
            Screen::Json
        } else if stderr().is_terminal() {
            let bar = ProgressBar::new(0).with_style(
                ProgressStyle::with_template("{bar:28} {msg}")
                    .unwrap_or_else(|_| ProgressStyle::default_bar())
                    .progress_chars("━╸─"),
            );
            bar.enable_steady_tick(Duration::from_millis(500));
            Screen::Bar(Box::new(Bar {
                bar,
                runs: 0,
                runs_done: 0,
                counted: Summary::default(),
                failures: 0,
                jobs: String::new(),
                running: BTreeSet::new(),
            }))
        } else {
            Screen::Quiet { failures: 0 }
        }
    }

    fn show(&mut self, event: &Event) {
        match self {
            Screen::Json => {
                if let Ok(line) = serde_json::to_string(event) {
                    say_if_possible(stdout(), &line);
                }
            }
            Screen::Quiet { failures } => {
                if let Some(line) = line_of(event, failures) {
                    say_if_possible(stderr(), &line);
                }
                if let Event::Finished(summary) = event {
                    say_if_possible(stdout(), &summary.in_words());
                }
            }
            Screen::Bar(bar) => bar.show(event),
        }
    }
}

impl Bar {
    fn show(&mut self, event: &Event) {
        if let Some(line) = line_of(event, &mut self.failures) {
            self.bar.println(as_text(&line));
        }
        match event {
            Event::Planned { runs, variables, .. } => {
                self.runs += runs;
                self.bar.inc_length(*variables as u64);
            }
            Event::RunStarted { proposal, run } => {
                self.running.insert((*proposal, *run));
            }
            Event::VariableEnded { outcome, .. } => {
                self.counted.count(outcome);
                self.bar.inc(1);
            }
            Event::RunEnded { proposal, run, .. } => {
                self.runs_done += 1;
                self.running.remove(&(*proposal, *run));
            }
            Event::Finished(summary) => {
                self.bar.finish_and_clear();
                say_if_possible(stdout(), &summary.in_words());
                return;
            }
            Event::Jobs { submitted, waiting, reason } => {
                self.jobs = match (submitted, waiting) {
                    (0, _) => String::new(),
                    (all, 0) => format!(" · {}", count(*all, "job")),
                    (all, waiting) => {
                        let reason =
                            reason.as_deref().filter(|reason| *reason != "None").unwrap_or("Priority");
                        format!(" · {}, {waiting} waiting ({reason})", count(*all, "job"))
                    }
                };
            }
            Event::Notice(_) | Event::Refused { .. } => {}
        }
        self.bar.set_message(self.message());
    }

    fn message(&self) -> String {
        let left = self.bar.eta().as_secs();
        let now: Vec<String> = self.running.iter().take(4).map(|(_, run)| format!("r{run}")).collect();
        let mut words = format!(
            "runs {}/{} · variables {}/{} · failed {} · skipped {}",
            self.runs_done,
            self.runs,
            self.counted.variables(),
            self.bar.length().unwrap_or(0),
            self.counted.failed,
            self.counted.skipped
        );
        words.push_str(&self.jobs);
        if self.counted.variables() > 0 && self.runs_done < self.runs {
            words.push_str(&format!(" · {left} s left"));
        }
        if !now.is_empty() {
            words.push_str(&format!(" · now {}", now.join(" ")));
        }
        words
    }
}

/// The message for an event, if it gets its own line.
fn line_of(event: &Event, failures: &mut usize) -> Option<String> {
    match event {
        Event::Planned { missing, .. } if !missing.is_empty() => {
            Some(format!("warning: left out {}: {}", missing_words(missing.len()), in_ranges(missing)))
        }
        Event::Notice(notice) => Some(notice.to_string()),
        Event::VariableEnded { run, name, outcome: Outcome::Error { class, message }, .. } => {
            *failures += 1;
            match (*failures).cmp(&MAX_FAILURES_SHOWN) {
                std::cmp::Ordering::Less => {
                    Some(format!("run {run}: {name} failed: {class}: {}", in_a_line(message)))
                }
                std::cmp::Ordering::Equal => {
                    Some("more failures are not listed here; `amore log RUN` has the tracebacks".to_owned())
                }
                std::cmp::Ordering::Greater => None,
            }
        }
        Event::RunEnded { run, problem: Some(problem), .. } => {
            Some(format!("run {run} could not be processed: {problem}"))
        }
        Event::Refused { message, hint, .. } => Some(match hint {
            Some(hint) => format!("error: {message}\n  hint: {hint}"),
            None => format!("error: {message}"),
        }),
        _ => None,
    }
}

/// `1, 7-99, 120`
fn in_ranges(runs: &[Run]) -> String {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for run in runs {
        match ranges.last_mut() {
            Some((_, last)) if run.0 == *last + 1 => *last = run.0,
            _ => ranges.push((run.0, run.0)),
        }
    }
    let words = ranges.iter().map(|(first, last)| match last - first {
        0 => first.to_string(),
        1 => format!("{first}, {last}"),
        _ => format!("{first}-{last}"),
    });
    words.collect::<Vec<_>>().join(", ")
}

/// Maximum length of an error message; the full message is in the table and in the run's log.
const MAX_MESSAGE: usize = 300;

/// Shortens a message to one line.
fn in_a_line(message: &str) -> String {
    let mut lines = message.lines();
    let mut line = lines.next().unwrap_or_default().to_owned();
    // A line like "… are missing:" needs the next one.
    if let Some(next) = lines.next().filter(|_| line.ends_with(':')) {
        line.push(' ');
        line.push_str(next.trim_start_matches([' ', '└', '├', '─']));
    }
    match line.char_indices().nth(MAX_MESSAGE) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_runs_are_named_in_few_words() {
        assert_eq!(in_ranges(&[1, 3, 4, 7, 8, 9].map(Run)), "1, 3, 4, 7-9");
    }

    #[test]
    fn a_message_of_any_size_is_shown_in_one_line() {
        assert_eq!(in_a_line("first\nsecond"), "first");
        assert_eq!(in_a_line("missing:\n└ (a) failed\n└ (b)"), "missing: (a) failed");
        assert_eq!(in_a_line(""), "");
        let long = "ä".repeat(1_000_000);
        assert_eq!(in_a_line(&long), format!("{}…", "ä".repeat(MAX_MESSAGE)));
    }
}
