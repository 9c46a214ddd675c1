//! How a variable ended without a value.

use serde::{Deserialize, Serialize};

use crate::task::Outcome;

/// Why a variable has no value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub enum Ended {
    /// It returned `None`.
    Nothing,
    /// It raised an exception, or its child died.
    Error {
        /// Exception class; may have any name.
        class: String,
        /// Message.
        message: String,
    },
    /// It skipped itself, or a dependency did.
    Skipped {
        /// The reason.
        message: String,
    },
}

/// The class name of a skip in messages to older versions, which know it by this name only, and in files, as in DAMNIT.
pub const SKIP: &str = "Skip";

impl Ended {
    /// Interprets a failure. `skipped` is `None` if an older version reports it: then every class with that name is a skip.
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

/// The form in messages: a reader of the first version sees a skip as an error of the class [`SKIP`], which it treats the
/// same way.
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
                // Needed only for this name: otherwise it would be taken for a skip.
                let skipped = (class == SKIP).then_some(false);
                Written::Error { class, message, skipped }
            }
            Ended::Skipped { message } => {
                Written::Error { class: SKIP.to_owned(), message, skipped: Some(true) }
            }
        }
    }
}
