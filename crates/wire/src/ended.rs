//! How a variable ended that has no value.

use serde::{Deserialize, Serialize};

/// A dependency without a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "how", rename_all = "snake_case")]
pub enum Ended {
    /// Returned `None`.
    Nothing,
    /// Raised, or its child died.
    Error {
        /// Exception class.
        class: String,
        /// Message.
        message: String,
    },
}
