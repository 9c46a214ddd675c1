//! Identifiers of proposals, runs and plans.

use std::{collections::BTreeSet, fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Text that is not a valid proposal or run number.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum IdError {
    /// Not an integer, or too large.
    #[error("{given:?} is not a {what} number")]
    NotANumber {
        /// What was expected: "run" or "proposal".
        what: &'static str,
        /// What the user wrote.
        given: String,
    },
    /// No run of the facility has this number.
    #[error("there is no run {0}: runs have the numbers 0 to {last}", last = Run::LAST)]
    NoSuchRun(u32),
    /// A range with more runs than a proposal can have.
    #[error("the run range {0:?} has more than {MAX_RANGE} runs")]
    TooMany(String),
    /// A range that ends before it starts.
    #[error("the run range {0:?} ends before it starts")]
    Backwards(String),
}

/// An experiment's number, `1234`. Directories call it `p001234`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Proposal(pub u32);

impl Proposal {
    /// The directory name at the facility: `p001234`.
    pub fn directory_name(self) -> String {
        format!("p{:06}", self.0)
    }
}

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Proposal {
    type Err = IdError;
    /// Accepts `1234` and `p001234`; there is no proposal 0.
    fn from_str(text: &str) -> Result<Self, IdError> {
        text.strip_prefix('p')
            .unwrap_or(text)
            .parse()
            .map(|number: std::num::NonZeroU32| Proposal(number.get()))
            .map_err(|_| IdError::NotANumber { what: "proposal", given: text.to_owned() })
    }
}

/// A run's number within its proposal, `42`. Directories call it `r0042`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Run(pub u32);

impl Run {
    /// The largest number that a run can have. Directories and files have four digits for it, one more is accepted; the facility
    /// has never come near.
    pub const LAST: u32 = 99_999;

    /// The run, if the facility can have one with this number. Nothing ever arrives of others. There is a run 0: `r0000` is
    /// a folder like any other.
    ///
    /// # Errors
    /// [`IdError::NoSuchRun`].
    pub fn possible(self) -> Result<Run, IdError> {
        if self.0 <= Run::LAST { Ok(self) } else { Err(IdError::NoSuchRun(self.0)) }
    }

    /// The directory name below `raw/` and `proc/`: `r0042`.
    pub fn directory_name(self) -> String {
        format!("r{:04}", self.0)
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Run {
    type Err = IdError;
    /// Accepts `42` and `r0042`.
    fn from_str(text: &str) -> Result<Self, IdError> {
        text.strip_prefix('r')
            .unwrap_or(text)
            .parse()
            .map(Run)
            .map_err(|_| IdError::NotANumber { what: "run", given: text.to_owned() })
    }
}

/// Maximum number of runs in a range: directory names have four digits, and no proposal has that many runs.
pub const MAX_RANGE: u32 = 100_000;

/// Parses run arguments such as `96`, `1-10` or `r0042`, in any order; returns each run once.
///
/// # Errors
/// The first argument that is neither a run nor a range of runs.
pub fn parse_runs<S: AsRef<str>>(arguments: &[S]) -> Result<BTreeSet<Run>, IdError> {
    let mut runs = BTreeSet::new();
    for argument in arguments {
        let text = argument.as_ref();
        match text.split_once('-') {
            Some((first, last)) => {
                let not_a_run = |_| IdError::NotANumber { what: "run", given: text.to_owned() };
                let first: Run = first.parse().map_err(not_a_run)?;
                let last: Run = last.parse().map_err(not_a_run)?;
                if last < first {
                    return Err(IdError::Backwards(text.to_owned()));
                }
                if last.0 - first.0 >= MAX_RANGE {
                    return Err(IdError::TooMany(text.to_owned()));
                }
                runs.extend((first.0..=last.0).map(Run));
            }
            None => {
                runs.insert(text.parse()?);
            }
        }
    }
    Ok(runs)
}

/// When the owner of a proposal made a plan. Of two results for the same variable, the one from the later plan is kept; of two
/// for the same plan, the one of the later attempt ([`crate::AttemptToken`]).
///
/// The epoch is compared first: a deposed owner cannot win over its successor because its clock is ahead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PlanStamp {
    /// The owner's epoch (see `owner` in the run table).
    pub epoch: u64,
    /// Unix time in microseconds; the owner makes it strictly increasing.
    pub micros: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_arguments_are_numbers_ranges_or_directory_names() {
        let runs = parse_runs(&["3", "1-2", "r0042", "2"]).unwrap();
        assert_eq!(runs.into_iter().map(|r| r.0).collect::<Vec<_>>(), [1, 2, 3, 42]);
    }

    #[test]
    fn runs_that_cannot_be_are_told() {
        assert_eq!(Run(0).possible(), Ok(Run(0)));
        assert_eq!(Run(99_999).possible(), Ok(Run(99_999)));
        for number in [100_000, u32::MAX] {
            let refused = Run(number).possible().unwrap_err();
            let words = format!("there is no run {number}: runs have the numbers 0 to 99999");
            assert_eq!(refused.to_string(), words);
        }
    }

    #[test]
    fn bad_run_arguments_say_what_was_wrong() {
        assert_eq!(
            parse_runs(&["10-1"]).unwrap_err().to_string(),
            r#"the run range "10-1" ends before it starts"#
        );
        assert_eq!(parse_runs(&["1-x"]).unwrap_err().to_string(), r#""1-x" is not a run number"#);
        assert_eq!(parse_runs(&["-5"]).unwrap_err().to_string(), r#""-5" is not a run number"#);
    }
}
