//! Inputs and actions of the [`Poller`](crate::poller::Poller).

use std::{path::PathBuf, time::Instant};

use amore_model::{JobId, Notice, Urgency, WorkerReport};

use crate::{
    adjust::Remark,
    clusters::Clusters,
    job_end::JobEnd,
    job_status::JobStatus,
    poll::{Question, Reply},
    refused::Refused,
    submission::{Cancelled, Doubt, Found, JobOptions, SlurmUnavailable, Submitted},
};

/// A job to submit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submission {
    /// Identifies this attempt: part of the job's comment and of the names of its files.
    pub token: String,
    /// The database directory.
    pub directory: PathBuf,
    /// The manifest: tells the worker what to do.
    pub manifest: String,
    /// The options of the job.
    pub asked: JobOptions,
    /// More urgent submissions go first.
    pub urgency: Urgency,
}

/// A job that an earlier owner submitted, or intended to submit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adoption {
    /// Token of the attempt.
    pub token: String,
    /// The database directory.
    pub directory: PathBuf,
    /// `None` if it is not known whether the job exists.
    pub job: Option<JobId>,
    /// Its name.
    pub name: String,
    /// The pattern of its log's path.
    pub log: String,
    /// The clusters that it was submitted to.
    pub clusters: Clusters,
    /// Whether its manifest is still there. An owner removes it when it has handled the end of the job, or cancels it.
    pub has_manifest: bool,
}

/// A message from the worker in a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerMessage<M> {
    /// What it reports about the job.
    pub report: WorkerReport,
    /// The whole message, which is passed on.
    pub message: M,
}

/// An event for the poller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input<M> {
    /// Submit a job.
    Submit(Box<Submission>),
    /// Track a job of an earlier owner.
    Adopt(Adoption),
    /// Stop tracking this job.
    Forget {
        /// Token of the attempt.
        token: String,
    },
    /// Cancel this job, and track it until Slurm shows that it has ended.
    Cancel {
        /// Token of the attempt.
        token: String,
    },
    /// Result of [`Action::WriteManifest`].
    ManifestWritten {
        /// Token of the attempt.
        token: String,
        /// `Err`: why it could not be written.
        result: Result<(), String>,
    },
    /// Result of [`Action::ReadWorkers`]: the new messages of each worker, by token.
    WorkersHeard(Vec<(String, Vec<WorkerMessage<M>>)>),
    /// Result of [`Action::ReadLog`].
    LogRead {
        /// Token of the attempt.
        token: String,
        /// The end of the log; `None` if it cannot be read.
        tail: Option<String>,
    },
    /// Result of a command.
    Answered(Answer),
    /// The time of [`Action::WakeAt`] has come.
    Timer,
}

/// What the driver has to do, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action<M> {
    /// Run a Slurm command; answered by [`Input::Answered`].
    Run(Command),
    /// Create the folder of logs and write the manifest durably; answered by [`Input::ManifestWritten`].
    WriteManifest {
        /// Token of the attempt.
        token: String,
        /// The database directory.
        directory: PathBuf,
        /// Its text.
        manifest: String,
    },
    /// Remove the manifest: a job that starts afterwards finds nothing to do.
    RemoveManifest {
        /// Token of the attempt.
        token: String,
        /// The database directory.
        directory: PathBuf,
    },
    /// Remove all files of the attempt.
    RemoveFiles {
        /// Token of the attempt.
        token: String,
        /// The database directory.
        directory: PathBuf,
    },
    /// Read the new messages of the workers of these attempts; answered by [`Input::WorkersHeard`].
    ReadWorkers {
        /// Token and database directory of each.
        attempts: Vec<(String, PathBuf)>,
    },
    /// Read the end of a job's log; answered by [`Input::LogRead`].
    ReadLog {
        /// Token of the attempt.
        token: String,
        /// Path of the log.
        path: PathBuf,
    },
    /// Pass this on to the coordinator.
    Emit(JobEvent<M>),
    /// Send [`Input::Timer`] at this time. There is one timer; it is set again only after it has fired.
    WakeAt(Instant),
}

/// A Slurm command, or a few that belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Adjust the options to what the site has, and submit the job.
    Submit {
        /// Token of the attempt.
        token: String,
        /// The options of the job.
        asked: Box<JobOptions>,
    },
    /// Look up the job of a token.
    LookUp {
        /// Token of the attempt.
        token: String,
        /// Name of the job.
        name: String,
        /// The clusters where it may be.
        clusters: Clusters,
    },
    /// Query a cluster.
    Ask {
        /// `None`: the default cluster.
        cluster: Option<String>,
        /// What to ask.
        question: Question,
    },
    /// Cancel a job, if it still belongs to this token.
    Cancel {
        /// The job.
        job: JobId,
        /// Token of the attempt.
        token: String,
    },
}

/// Result of a [`Command`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Of [`Command::Submit`].
    Submitted {
        /// Token of the attempt.
        token: String,
        /// What became of the submission.
        result: Submitted,
        /// Remarks about partitions and reservations.
        remarks: Vec<Remark>,
    },
    /// Of [`Command::LookUp`].
    LookedUp {
        /// Token of the attempt.
        token: String,
        /// `Err`: Slurm did not answer.
        result: Result<Found, SlurmUnavailable>,
    },
    /// Of [`Command::Ask`].
    Replied {
        /// The cluster; `None`: the default one.
        cluster: Option<String>,
        /// Its reply.
        reply: Reply,
    },
    /// Of [`Command::Cancel`].
    Cancelled {
        /// Token of the attempt.
        token: String,
        /// The job.
        job: JobId,
        /// What Slurm shows.
        answer: Cancelled,
    },
}

/// An event for the coordinator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobEvent<M> {
    /// Slurm accepted the job.
    Accepted {
        /// Token of the attempt.
        token: String,
        /// ID of the job.
        job: JobId,
    },
    /// Slurm refused the job.
    Refused {
        /// Token of the attempt.
        token: String,
        /// Why.
        why: Refused,
    },
    /// The answer to the submission was lost, and by now it is certain that there is no such job, or it cannot be found.
    NotFound {
        /// Token of the attempt.
        token: String,
        /// What was unknown about the submission.
        doubt: Doubt,
    },
    /// The job was cancelled, as Slurm shows.
    Cancelled {
        /// Token of the attempt.
        token: String,
        /// Its ID, if it had one.
        job: Option<JobId>,
    },
    /// The job is not cancelled yet; the poller keeps trying.
    NotCancelled {
        /// Token of the attempt.
        token: String,
        /// Its ID, if it is known.
        job: Option<JobId>,
        /// Why not.
        words: String,
    },
    /// A message from the worker in the job.
    Worker {
        /// Token of the attempt.
        token: String,
        /// The message.
        message: M,
    },
    /// The job's state in the queue changed.
    Changed {
        /// Token of the attempt.
        token: String,
        /// Its status.
        seen: JobStatus,
    },
    /// The job is over, and its worker did not report that the work is done.
    Ended {
        /// Token of the attempt.
        token: String,
        /// How it ended.
        end: JobEnd,
        /// Its ID, if it had one.
        job: Option<JobId>,
    },
    /// A message for the user.
    Notice(Notice),
}
