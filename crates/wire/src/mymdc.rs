//! What the metadata catalogue MyMdC says about a run: the values of `mymdc#` arguments.

use std::collections::BTreeMap;

use amore_model::MymdcField;
use serde::{Deserialize, Serialize};

/// A value, or why there is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum MymdcValue {
    /// The catalogue has one.
    Value {
        /// The JSON text of the catalogue: what Python reads from it is what it would have read from the server.
        json: String,
    },
    /// The variable gets this error, unless its argument has a default.
    Error {
        /// Class of the error.
        class: String,
        /// Its message, which says what to do.
        message: String,
    },
}

/// The values by field.
pub type MymdcValues = BTreeMap<MymdcField, MymdcValue>;
