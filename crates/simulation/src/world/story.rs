//! What happens in a simulation, as text for people.

use std::fmt;

use crate::Moment;

/// The lines of a story, if they are wanted.
#[derive(Debug)]
pub(super) struct Story {
    begin: Moment,
    lines: Option<Vec<String>>,
}

impl Story {
    /// Creates a story that begins now.
    pub(super) fn new(begin: Moment, wanted: bool) -> Self {
        Story { begin, lines: wanted.then(Vec::new) }
    }

    /// Adds a line: who does what at this moment.
    pub(super) fn tell(&mut self, now: Moment, who: impl fmt::Display, what: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines {
            let seconds = (now - self.begin).as_secs_f64();
            lines.push(format!("{seconds:>9.3} s  {:<12} {}", who.to_string(), what()));
        }
    }

    /// Whether the story is recorded.
    pub(super) fn is_wanted(&self) -> bool {
        self.lines.is_some()
    }

    /// Returns the lines.
    pub(super) fn into_lines(self) -> Vec<String> {
        self.lines.unwrap_or_default()
    }
}
