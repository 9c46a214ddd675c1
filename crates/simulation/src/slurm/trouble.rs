//! Faults of the next submissions.

use std::{collections::VecDeque, time::Duration};

use super::job::Hold;

/// Faults of one submission.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NextSubmission {
    /// It is refused with this message on standard error.
    pub refused: Option<String>,
    /// It is accepted, but sbatch gets no answer (`Socket timed out on send/recv operation`).
    pub answer_lost: bool,
    /// It gets this number. An earlier job with this number is forgotten.
    pub number: Option<u64>,
    /// Its script will not start: `0:53`.
    pub launch_fails: bool,
    /// It is held.
    pub held: Option<Hold>,
}

/// Pending faults of a cluster.
#[derive(Clone, Debug, Default)]
pub(super) struct Trouble {
    pub submissions: VecDeque<NextSubmission>,
    /// Delay of each answer.
    pub slow: Duration,
}
