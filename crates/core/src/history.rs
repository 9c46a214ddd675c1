//! The history of a run, for `amore explain`.

use crate::tasks::RunKey;

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $word:literal,)*) => {
        /// What a line of a history is about. Stored as its word.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum HistoryKind {
            $($(#[$doc])* $name,)*
            /// Of another version, which has this word for it.
            Other(String),
        }

        impl HistoryKind {
            /// Its word.
            pub fn word(&self) -> &str {
                match self {
                    $(HistoryKind::$name => $word,)*
                    HistoryKind::Other(word) => word,
                }
            }
        }

        impl From<String> for HistoryKind {
            fn from(word: String) -> Self {
                match word.as_str() {
                    $($word => HistoryKind::$name,)*
                    _ => HistoryKind::Other(word),
                }
            }
        }
    };
}

kinds! {
    /// A task was planned.
    Planned = "planned",
    /// Slurm has accepted a job.
    Submitted = "submitted",
    /// Slurm has refused one.
    Refused = "refused",
    /// Nobody knows of a job that Slurm was asked for.
    NotFound = "not found",
    /// The queue shows a job in another state.
    State = "state",
    /// The worker in a job has begun.
    Began = "began",
    /// A job has ended before its task.
    JobOver = "job over",
    /// What became of the command of a variable.
    Command = "command",
    /// A task was cancelled.
    Cancelled = "cancelled",
    /// Slurm did not cancel a job.
    NotCancelled = "not cancelled",
    /// A task will not be tried again.
    GivenUp = "given up",
}

/// A line of a run's history.
#[derive(Clone, Debug, PartialEq)]
pub struct HistoryLine {
    /// The run.
    pub key: RunKey,
    /// The task's id.
    pub task: Option<String>,
    /// When (Unix time).
    pub at: f64,
    /// What it is about.
    pub kind: HistoryKind,
    /// A sentence for people.
    pub message: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_known_by_its_word_and_one_of_another_version_is_kept() {
        for kind in [HistoryKind::Refused, HistoryKind::JobOver, HistoryKind::Other("moved".to_owned())] {
            assert_eq!(HistoryKind::from(kind.word().to_owned()), kind);
        }
        assert_eq!(HistoryKind::from("refused".to_owned()), HistoryKind::Refused);
    }
}
