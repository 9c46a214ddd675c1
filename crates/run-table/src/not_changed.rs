//! Why what a user wanted to enter was not stored.

use amore_model::{Proposal, Run};

use crate::{
    RunTableError,
    user_value::{NotOfType, UserValue, quoted},
    user_values::UserCell,
};

/// A change that was not made.
#[derive(Debug, thiserror::Error)]
pub enum NotChanged {
    /// Somebody else has changed it since it was shown.
    #[error("it was changed meanwhile: it is {} now", in_words(.now.value.as_ref()))]
    Conflict {
        /// As it is now.
        now: Box<UserCell>,
    },
    /// The table does not have the run.
    #[error("run {run} of proposal {proposal} is not in the table")]
    NoSuchRun {
        /// Its proposal.
        proposal: Proposal,
        /// The run.
        run: Run,
    },
    /// No variable of this name is edited by users.
    #[error("users do not edit a variable {name}{}", if *.is_computed { ": the context file computes it" } else { "" })]
    NoSuchVariable {
        /// The name.
        name: String,
        /// There is one that is computed.
        is_computed: bool,
    },
    /// There is no such comment.
    #[error("there is no comment {id}")]
    NoSuchComment {
        /// Its number.
        id: i64,
    },
    /// There is a variable of this name, or of one that differs in the case of its letters only: as columns of a view they would
    /// be the same.
    #[error("there is a variable {name} already{}", if *.is_computed { ", which is computed" } else { "" })]
    NameTaken {
        /// The name of that variable.
        name: String,
        /// It is computed.
        is_computed: bool,
    },
    /// The table has a column of this name for every run.
    #[error("{name} is a column that the table has for every run")]
    NameOfColumn {
        /// The name of the column.
        name: &'static str,
    },
    /// The title is that of another column, or a name is a title: programs find columns by both.
    #[error("{text:?} is {of} already")]
    TitleTaken {
        /// What is taken.
        text: String,
        /// By what.
        of: String,
    },
    /// Not a title for a variable.
    #[error("a title is one line of text without control characters")]
    BadTitle,
    /// Not a name for a variable.
    #[error("{name:?} is not a valid variable name")]
    BadName {
        /// The name.
        name: String,
    },
    /// The variable has values, which are lost with it.
    #[error("{name} has a value in {}", runs_in_words(*.values))]
    HasValues {
        /// The name.
        name: String,
        /// In so many runs.
        values: u64,
    },
    /// The value is of another type.
    #[error("{name}: {source}")]
    NotOfType {
        /// The variable.
        name: String,
        /// Why.
        source: NotOfType,
    },
    /// The table cannot be read or written.
    #[error(transparent)]
    Table(#[from] RunTableError),
}

impl NotChanged {
    /// What a user can do about it, if known.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            NotChanged::Conflict { .. } => "look at the new value, then change it",
            NotChanged::NoSuchRun { .. } => "`amore table` shows the runs; `amore reprocess RUN` adds one",
            NotChanged::NoSuchVariable { .. } => {
                "`amore variable list` shows the variables that users edit, `amore variable add` adds one"
            }
            NotChanged::NoSuchComment { .. } => "`amore comment --list` shows the comments",
            NotChanged::NameTaken { is_computed: false, .. } => {
                "remove it first, or choose another name; names that differ only in case are the same column"
            }
            NotChanged::NameTaken { .. } => {
                "choose another name; names that differ only in case are the same column"
            }
            NotChanged::NameOfColumn { .. } => "choose another name",
            NotChanged::TitleTaken { .. } => {
                "choose another one; `amore table --columns` lists the names and titles that are taken"
            }
            NotChanged::BadTitle => return None,
            NotChanged::BadName { .. } => {
                "a name consists of letters, digits and _, does not begin with a digit, and is not `comment`"
            }
            NotChanged::HasValues { .. } => "add --with-values to remove the values, too",
            NotChanged::NotOfType { .. } => return None,
            NotChanged::Table(error) => return error.hint(),
        };
        Some(hint.to_owned())
    }
}

fn in_words(value: Option<&UserValue>) -> String {
    match value {
        None => "empty".to_owned(),
        Some(UserValue::String(text)) => quoted(text),
        Some(value) => value.to_string(),
    }
}

fn runs_in_words(number: u64) -> String {
    if number == 1 { "1 run".to_owned() } else { format!("{number} runs") }
}
