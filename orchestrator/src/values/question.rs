//! What a process that reads a value is asked, and how its answer begins. Both are one line of JSON; the content follows.

use std::path::PathBuf;

use amore_model::{Proposal, Run};
use serde::{Deserialize, Serialize};

/// A question about a value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Question {
    /// Directory of the run files.
    pub extracted_data: PathBuf,
    /// The proposal.
    pub proposal: Proposal,
    /// The run.
    pub run: Run,
    /// The variable.
    pub variable: String,
    /// Its preview instead of its value.
    pub preview: bool,
    /// What is asked.
    pub ask: Ask,
}

/// What is asked about a value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum Ask {
    /// Its description.
    Describe,
    /// A part of it.
    Read {
        /// The array; default: the only one.
        array: Option<String>,
        /// Which part of the array.
        slice: String,
        /// In which form.
        form: AskedForm,
        /// At most so many bytes.
        bytes: u64,
    },
}

/// A form for which is asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "form", rename_all = "snake_case")]
pub enum AskedForm {
    /// JSON with at most so many elements.
    Json { points: u64 },
    /// A `.npy` file.
    Npy,
    /// A PNG image. Whether numbers are gray: if nothing is said, they are not.
    Png { range: Option<(f64, f64)>, gray: Option<bool>, size: u64 },
    /// The file that is stored.
    File,
}

impl AskedForm {
    /// Its name, as in the query.
    pub fn name(&self) -> &'static str {
        match self {
            AskedForm::Json { .. } => "json",
            AskedForm::Npy => "npy",
            AskedForm::Png { .. } => "png",
            AskedForm::File => "file",
        }
    }
}

/// Beginning of the answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Head {
    /// The variable has no value.
    Nothing,
    /// Its description and its provenance, of what there is.
    Described { description: Option<serde_json::Value>, provenance: Option<serde_json::Value> },
    /// Content of this type and length follows.
    Content {
        /// Media type.
        media_type: String,
        /// Number of bytes.
        length: u64,
        /// For a picture of numbers: those of its first and last colour.
        range: Option<(f64, f64)>,
        /// Another text whenever the run file is another one.
        version: String,
    },
    /// It cannot be read.
    Refused(Refused),
}

/// Why a value cannot be read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Refused {
    /// What the caller can do.
    pub why: Why,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

/// Reasons, by what the caller can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// The run has no file.
    NoFile,
    /// The question is wrong.
    Question,
    /// The value exists, but not in this form.
    Form,
    /// Less has to be asked for.
    TooLarge,
    /// The file is damaged, lacks an array, or may not be read.
    File,
}
