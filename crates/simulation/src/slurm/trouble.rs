//! What the next submissions meet.

use std::{collections::VecDeque, time::Duration};

use super::job::Hold;

/// What happens to one submission.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NextSubmission {
    /// It is refused with these words, as they stand on standard error.
    pub refused: Option<String>,
    /// It is taken, and sbatch has no answer (`Socket timed out on send/recv operation`).
    pub answer_lost: bool,
    /// It gets this number. A job that had it is forgotten.
    pub number: Option<u64>,
    /// Its script will not be started: `0:53`.
    pub launch_fails: bool,
    /// It is held.
    pub held: Option<Hold>,
}

/// What a cluster is told to do wrong.
#[derive(Clone, Debug, Default)]
pub(super) struct Trouble {
    pub submissions: VecDeque<NextSubmission>,
    /// Each answer takes longer by this.
    pub slow: Duration,
}
