//! How a variable ended that has no value.

use serde::{Deserialize, Serialize};

use crate::task::Outcome;

/// A variable without a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub enum Ended {
    /// Returned `None`.
    Nothing,
    /// Raised, or its child died.
    Error {
        /// Exception class. It may be called as the user likes.
        class: String,
        /// Message.
        message: String,
    },
    /// It chose not to run, or a dependency did.
    Skipped {
        /// Why.
        message: String,
    },
}

/// The class under which a skip crosses to a version that knows it by this name alone, and is stored, as DAMNIT does.
pub const SKIP: &str = "Skip";

impl Ended {
    /// From the words for a failure. `skipped` is none where an older version tells of it: there every class of that
    /// name is a skip.
    pub fn from_failure(class: String, message: String, skipped: Option<bool>) -> Self {
        if skipped.unwrap_or(class == SKIP) {
            Ended::Skipped { message }
        } else {
            Ended::Error { class, message }
        }
    }
}

impl From<Ended> for Outcome {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Nothing => Outcome::Nothing,
            Ended::Error { class, message } => Outcome::Error { class, message },
            Ended::Skipped { message } => Outcome::Skipped { message },
        }
    }
}

/// As it crosses: a reader of the first version takes a skip for an error of the class [`SKIP`], which means the same to
/// it.
#[derive(Serialize, Deserialize)]
#[serde(tag = "how", rename_all = "snake_case")]
enum Written {
    Nothing,
    Error {
        class: String,
        message: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        skipped: Option<bool>,
    },
}

impl From<Written> for Ended {
    fn from(written: Written) -> Self {
        match written {
            Written::Nothing => Ended::Nothing,
            Written::Error { class, message, skipped } => Ended::from_failure(class, message, skipped),
        }
    }
}

impl From<Ended> for Written {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Nothing => Written::Nothing,
            Ended::Error { class, message } => {
                // Only of this name it would be misunderstood.
                let skipped = (class == SKIP).then_some(false);
                Written::Error { class, message, skipped }
            }
            Ended::Skipped { message } => {
                Written::Error { class: SKIP.to_owned(), message, skipped: Some(true) }
            }
        }
    }
}
