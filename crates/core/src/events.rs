//! What happens while runs are processed, for the display, for `--json`, and for a process that waits elsewhere.

use amore_model::{Notice, Proposal, Run};
use amore_wire::task::Outcome;
use serde::{Deserialize, Serialize};

/// One thing that happened. Written as a JSON line by `--json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The work is known.
    Planned {
        /// How many runs.
        runs: usize,
        /// How many variables in all of them.
        variables: usize,
        /// Runs that were asked for and do not exist.
        missing: Vec<Run>,
    },
    /// Something the user should know; work continues.
    Notice(Notice),
    /// The first variable of a run is being computed.
    RunStarted {
        /// The proposal.
        proposal: Proposal,
        /// The run.
        run: Run,
    },
    /// A variable's function ended.
    VariableEnded {
        /// The proposal.
        proposal: Proposal,
        /// The run.
        run: Run,
        /// The variable.
        name: String,
        /// How.
        #[serde(flatten)]
        outcome: Outcome,
        /// Wall seconds.
        seconds: f64,
    },
    /// The numbers of Slurm jobs.
    Jobs {
        /// Jobs that are submitted and not over.
        submitted: usize,
        /// Those of them that wait for their start.
        waiting: usize,
        /// Slurm's reason why one of them waits.
        reason: Option<String>,
    },
    /// Everything of a run is in the table.
    RunEnded {
        /// The proposal.
        proposal: Proposal,
        /// The run.
        run: Run,
        /// Why it could not be processed, if so.
        problem: Option<String>,
    },
    /// All is done.
    Finished(Summary),
    /// The request could not be served at all.
    Refused {
        /// Why.
        message: String,
        /// What to do.
        hint: Option<String>,
        /// The exit code that goes with it.
        exit: u8,
    },
}

impl Event {
    /// Reports what was done.
    pub fn info(message: impl Into<String>) -> Self {
        Event::Notice(Notice::info(message))
    }

    /// Explains something.
    pub fn note(message: impl Into<String>) -> Self {
        Event::Notice(Notice::note(message))
    }

    /// Warns of something that may be unintended.
    pub fn warning(message: impl Into<String>) -> Self {
        Event::Notice(Notice::warning(message))
    }

    /// Reports what could not be done.
    pub fn error(message: impl Into<String>) -> Self {
        Event::Notice(Notice::error(message))
    }
}

/// What became of a request, in numbers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Runs processed.
    pub runs: usize,
    /// Runs that could not be processed.
    pub runs_failed: usize,
    /// Runs asked for that do not exist.
    pub runs_missing: usize,
    /// Variables that returned a value.
    pub values: usize,
    /// Variables that returned `None`.
    pub nothing: usize,
    /// Variables that failed.
    pub failed: usize,
    /// Variables that were skipped.
    pub skipped: usize,
    /// Wall seconds.
    pub seconds: f64,
    /// Stopped before the end.
    pub interrupted: bool,
    /// Slurm jobs that continue after that.
    #[serde(default)]
    pub jobs_left: usize,
    /// Tasks of earlier commands that were resumed and have not ended.
    #[serde(default)]
    pub tasks_left: usize,
}

/// Why a run could not be processed of which a user has cancelled something.
pub const CANCELLED: &str = "cancelled";

impl Summary {
    /// Whether a user has cancelled the only run of a request. `problem`: that of the run.
    pub fn is_cancelled(&self, problem: Option<&str>) -> bool {
        // Before it was planned, the run is left out.
        let is_left_out = self.runs == 0 && self.runs_missing == 0;
        !self.interrupted && (is_left_out || (self.runs_failed > 0 && problem == Some(CANCELLED)))
    }

    /// Counts an ended variable.
    pub fn count(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Value => self.values += 1,
            Outcome::Nothing => self.nothing += 1,
            Outcome::Error { .. } => self.failed += 1,
            Outcome::Skipped { .. } => self.skipped += 1,
        }
    }

    /// Takes back what was counted of a variable.
    pub fn take_back(&mut self, outcome: &Outcome) {
        let counted = match outcome {
            Outcome::Value => &mut self.values,
            Outcome::Nothing => &mut self.nothing,
            Outcome::Error { .. } => &mut self.failed,
            Outcome::Skipped { .. } => &mut self.skipped,
        };
        *counted = counted.saturating_sub(1);
    }

    /// Variables that ended, however.
    pub fn variables(&self) -> usize {
        self.values + self.nothing + self.failed + self.skipped
    }

    /// One or two lines for people.
    pub fn in_words(&self) -> String {
        let mut words =
            format!("{} in {:.1} s: {}", count(self.runs, "run"), self.seconds, count(self.values, "value"));
        for (number, what) in
            [(self.nothing, "without a value"), (self.failed, "failed"), (self.skipped, "skipped")]
        {
            if number > 0 {
                words.push_str(&format!(", {number} {what}"));
            }
        }
        if self.runs_failed > 0 {
            words.push_str(&format!("; {} could not be processed", count(self.runs_failed, "run")));
        }
        if self.runs_missing > 0 {
            words.push_str(&format!("; left out {}", missing_words(self.runs_missing)));
        }
        if self.interrupted {
            words.push_str("; interrupted: computed results are stored; run the command again for the rest");
            if self.jobs_left > 0 {
                let (go_on, them) =
                    if self.jobs_left == 1 { ("continues", "it") } else { ("continue", "them") };
                words.push_str(&format!(
                    "; {} {go_on} (`amore follow` waits for {them}, `amore cancel` cancels {them})",
                    count(self.jobs_left, "Slurm job")
                ));
            }
        } else if self.tasks_left > 0 {
            let (is, them) = if self.tasks_left == 1 { ("is", "it") } else { ("are", "them") };
            words.push_str(&format!(
                "; {} from earlier commands {is} unfinished (`amore follow` waits for {them})",
                count(self.tasks_left, "task")
            ));
        }
        words
    }
}

/// `2 runs that do not exist`.
pub fn missing_words(number: usize) -> String {
    let verb = if number == 1 { "does" } else { "do" };
    format!("{} that {verb} not exist", count(number, "run"))
}

/// `1 run`, `2 runs`.
pub fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_says_what_happened_and_no_more() {
        let mut summary = Summary { runs: 1, seconds: 1.26, ..Summary::default() };
        summary.count(&Outcome::Value);
        assert_eq!(summary.in_words(), "1 run in 1.3 s: 1 value");
        summary.count(&Outcome::Value);
        summary.take_back(&Outcome::Value);
        assert_eq!(summary.in_words(), "1 run in 1.3 s: 1 value");
        summary.count(&Outcome::Error { class: "KeyError".to_owned(), message: String::new() });
        summary.runs_missing = 2;
        assert_eq!(
            summary.in_words(),
            "1 run in 1.3 s: 1 value, 1 failed; left out 2 runs that do not exist"
        );
        summary.runs_missing = 0;
        summary.tasks_left = 1;
        assert_eq!(
            summary.in_words(),
            "1 run in 1.3 s: 1 value, 1 failed; 1 task from earlier commands is unfinished (`amore follow` waits for it)"
        );
    }
}
