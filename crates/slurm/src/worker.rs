//! What the worker in a job says, as far as it concerns the job.

/// What a message of the worker's says of its job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WorkerSaid {
    /// It is there, and nothing else.
    Alive,
    /// It works in the job of this number.
    InJob {
        /// The number.
        number: u64,
        /// The cluster that gave it, where the worker is told.
        cluster: Option<String>,
    },
    /// It was told to end before its work was done.
    ToldToEnd,
    /// Its work is over, and nothing more will come.
    Done,
    /// Something of its work.
    OfItsWork,
}
