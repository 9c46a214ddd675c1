//! What the worker in a job reports, as far as it concerns the job.

/// What a worker's message says about its job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WorkerReport {
    /// It is alive; nothing else.
    Alive,
    /// It runs in the job of this number.
    InJob {
        /// The job's number.
        number: u64,
        /// The job's cluster, if the worker knows it.
        cluster: Option<String>,
    },
    /// It was told to end before its work was done.
    ToldToEnd,
    /// Its work is done, and no more messages follow.
    Done,
    /// Anything about its work.
    Work,
}
