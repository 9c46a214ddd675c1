//! Why a value cannot be shown.

use crate::{error::ResultsError, names::NameError};

use super::SelectionError;

/// Why a value cannot be shown, by what the caller can do.
#[derive(Debug, thiserror::Error)]
pub enum DisplayError {
    /// The file cannot be read, or lacks the file of an array.
    #[error(transparent)]
    File(#[from] ResultsError),
    /// The variable's name is invalid.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The variable has no such array, or has several and none was named.
    #[error("{}", match given {
        Some(given) => format!("{variable} has no array {given:?}"),
        None => format!("{variable} has several arrays"),
    })]
    Array {
        /// The variable.
        variable: String,
        /// The name as given.
        given: Option<String>,
        /// The arrays that it has.
        known: Vec<String>,
    },
    /// The selection cannot be made.
    #[error(transparent)]
    Selection(#[from] SelectionError),
    /// The form does not fit the value. Others are possible.
    #[error("{variable} cannot be given as {form}: {why}")]
    Form {
        /// The variable.
        variable: String,
        /// What was asked for.
        form: &'static str,
        /// Why not.
        why: String,
    },
    /// The form is possible, but something that was asked for makes no sense for this value.
    #[error("{variable} cannot be drawn in this way: {why}")]
    Drawing {
        /// The variable.
        variable: String,
        /// Why not.
        why: &'static str,
    },
    /// Too much was selected.
    #[error("{bytes} bytes are selected; at most {most} are read at once")]
    TooLarge {
        /// What was selected.
        bytes: u64,
        /// The limit.
        most: u64,
    },
    /// The file refers to something outside of it that is not one of its arrays; it is not read.
    #[error("{dataset} is not read: {why}")]
    Outside {
        /// The dataset or link.
        dataset: String,
        /// What it is.
        why: &'static str,
    },
}

impl DisplayError {
    /// What the caller can do.
    pub fn hint(&self) -> Option<String> {
        match self {
            DisplayError::Array { known, .. } => Some(format!("name one of: {}", known.join(", "))),
            DisplayError::TooLarge { .. } => Some("select a part, for example slice=0:100,::10".to_owned()),
            DisplayError::Selection(_) => Some(
                "write one part for each axis: an index, or start:stop:step, for example 0:100,::10,5"
                    .to_owned(),
            ),
            DisplayError::File(ResultsError::MissingSource { .. }) => Some(
                "`amore verify` lists missing arrays; `amore reprocess` computes the variable again"
                    .to_owned(),
            ),
            DisplayError::Drawing { .. } => {
                Some("leave range and colors out, or select one channel, for example slice=:,:,0".to_owned())
            }
            DisplayError::File(_)
            | DisplayError::Name(_)
            | DisplayError::Form { .. }
            | DisplayError::Outside { .. } => None,
        }
    }
}
