//! Phases of a task, and the allowed moves between them. No I/O.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// An unknown word in the ledger.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{word:?} is not a {what}")]
pub struct UnknownWord {
    /// What was expected: "phase", "place".
    pub what: &'static str,
    /// The word that was found.
    pub word: String,
}

/// The phase of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// It waits for other tasks.
    Waiting,
    /// It can start.
    Ready,
    /// The intent to submit it is on disk; whether Slurm has it is not known.
    Submitting,
    /// Slurm has its job.
    Submitted,
    /// A worker executes it.
    Running,
    /// It is over, successfully or not. It never changes again.
    Ended,
}

impl Phase {
    /// All phases, in the order of a life without failures.
    pub const ALL: [Phase; 6] =
        [Phase::Waiting, Phase::Ready, Phase::Submitting, Phase::Submitted, Phase::Running, Phase::Ended];

    /// The word in the ledger.
    pub fn word(self) -> &'static str {
        match self {
            Phase::Waiting => "waiting",
            Phase::Ready => "ready",
            Phase::Submitting => "submitting",
            Phase::Submitted => "submitted",
            Phase::Running => "running",
            Phase::Ended => "ended",
        }
    }

    /// Whether a task may move from this phase to `to`. A move to the same phase only changes its facts.
    ///
    /// The schema's table `task_move` has the same moves.
    pub fn may_become(self, to: Phase) -> bool {
        use Phase::*;
        match self {
            Waiting => matches!(to, Waiting | Ready | Ended),
            Ready => matches!(to, Ready | Submitting | Running | Ended),
            Submitting => matches!(to, Submitting | Submitted | Running | Ready | Ended),
            Submitted => matches!(to, Submitted | Running | Ready | Ended),
            Running => matches!(to, Running | Submitted | Ready | Ended),
            Ended => false,
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Phase {
    type Err = UnknownWord;
    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        let known = Phase::ALL.into_iter().find(|phase| phase.word() == word);
        known.ok_or_else(|| UnknownWord { what: "phase", word: word.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_phase_is_known_by_its_word() {
        for phase in Phase::ALL {
            assert_eq!(phase.word().parse(), Ok(phase));
        }
        assert!("done".parse::<Phase>().is_err());
    }

    #[test]
    fn nothing_follows_the_end_and_everything_leads_there() {
        for phase in Phase::ALL {
            assert!(!Phase::Ended.may_become(phase));
            assert_eq!(phase.may_become(Phase::Ended), phase != Phase::Ended);
        }
    }
}
