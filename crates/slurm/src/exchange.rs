//! What goes into the [`Poller`](crate::poller::Poller), and what it wants done.

use std::{path::PathBuf, time::Instant};

use amore_model::{JobId, Notice, Urgency};

use crate::{
    clusters::Clusters,
    job_end::JobEnd,
    poll::{Question, Reply},
    refused::Refused,
    seen::Seen,
    settle::Remark,
    submission::{Cancelled, Doubt, Found, JobAsked, SlurmSilent, Submitted},
    worker::WorkerSaid,
};

/// A job to submit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submission {
    /// Names this attempt: in the job's comment, and of its files.
    pub token: String,
    /// The database directory.
    pub directory: PathBuf,
    /// The text that tells its worker what to do.
    pub manifest: String,
    /// What Slurm is asked for.
    pub asked: JobAsked,
    /// The more urgent is submitted first.
    pub urgency: Urgency,
}

/// A job that an earlier owner submitted, or wanted to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adoption {
    /// Names the attempt.
    pub token: String,
    /// The database directory.
    pub directory: PathBuf,
    /// `None`: it is not known whether there is one.
    pub job: Option<JobId>,
    /// Its name.
    pub name: String,
    /// The pattern of its log.
    pub log: String,
    /// Where it was submitted to.
    pub clusters: Clusters,
}

/// A message of the worker in a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerMessage<M> {
    /// What it says of the job.
    pub said: WorkerSaid,
    /// All of it, which is handed on.
    pub message: M,
}

/// What happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input<M> {
    /// A job is to be submitted.
    Submit(Box<Submission>),
    /// A job of an earlier owner is to be tracked.
    Adopt(Adoption),
    /// Nothing more is wanted of this job.
    Forget {
        /// Which.
        token: String,
    },
    /// This job is to end: it is tracked until Slurm shows that it has.
    Cancel {
        /// Which.
        token: String,
    },
    /// What came of [`Action::WriteManifest`].
    ManifestWritten {
        /// Whose.
        token: String,
        /// `Err`: why it could not be written.
        result: Result<(), String>,
    },
    /// What came of [`Action::ReadWorkers`]: the new messages of each, by token.
    WorkersHeard(Vec<(String, Vec<WorkerMessage<M>>)>),
    /// What came of [`Action::ReadLog`].
    LogRead {
        /// Whose.
        token: String,
        /// The end of the log; `None`: it cannot be read.
        tail: Option<String>,
    },
    /// What a command said.
    Answered(Answer),
    /// The time of [`Action::WakeAt`] has come.
    Timer,
}

/// What is to be done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action<M> {
    /// Run a command of Slurm's; [`Input::Answered`] says what came of it.
    Run(Command),
    /// Make the folder of logs, and write the manifest durably; [`Input::ManifestWritten`] follows.
    WriteManifest {
        /// Whose.
        token: String,
        /// The database directory.
        directory: PathBuf,
        /// Its text.
        manifest: String,
    },
    /// Remove the manifest: a job that begins finds nothing to do.
    RemoveManifest {
        /// Whose.
        token: String,
        /// The database directory.
        directory: PathBuf,
    },
    /// Remove all files of the attempt.
    RemoveFiles {
        /// Whose.
        token: String,
        /// The database directory.
        directory: PathBuf,
    },
    /// Read what the workers of these attempts have written since; [`Input::WorkersHeard`] follows.
    ReadWorkers {
        /// Token and database directory of each.
        attempts: Vec<(String, PathBuf)>,
    },
    /// Read the end of a job's log; [`Input::LogRead`] follows.
    ReadLog {
        /// Whose.
        token: String,
        /// The log.
        path: PathBuf,
    },
    /// Tell the coordinator.
    Tell(JobEvent<M>),
    /// Give [`Input::Timer`] at this time. There is one timer: it is set again only when it has come.
    WakeAt(Instant),
}

/// A command of Slurm's, or a few that belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Settle what the job asks for by what the site has, and submit it.
    Submit {
        /// Names the attempt.
        token: String,
        /// What it asks for.
        asked: Box<JobAsked>,
    },
    /// Look for the job of a token.
    LookUp {
        /// The token.
        token: String,
        /// The name of the job.
        name: String,
        /// Where it may be.
        clusters: Clusters,
    },
    /// Ask a cluster.
    Ask {
        /// `None`: the one that is asked by itself.
        cluster: Option<String>,
        /// What.
        question: Question,
    },
    /// End a job, if it still is the one of this token.
    Cancel {
        /// The job.
        job: JobId,
        /// The token.
        token: String,
    },
}

/// What came of a [`Command`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Of a submission.
    Submitted {
        /// Which.
        token: String,
        /// What became of it.
        result: Submitted,
        /// What is to be said of partitions and reservations.
        remarks: Vec<Remark>,
    },
    /// Of looking for a job.
    LookedUp {
        /// Its token.
        token: String,
        /// `Err`: nothing is known.
        result: Result<Found, SlurmSilent>,
    },
    /// Of a question to a cluster.
    Said {
        /// Which.
        cluster: Option<String>,
        /// What it says.
        reply: Reply,
    },
    /// Of ending a job.
    Cancelled {
        /// Its token.
        token: String,
        /// The job.
        job: JobId,
        /// What Slurm shows.
        answer: Cancelled,
    },
}

/// What the coordinator is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobEvent<M> {
    /// Slurm has taken the job.
    Accepted {
        /// Which.
        token: String,
        /// Its id.
        job: JobId,
    },
    /// Slurm has refused it.
    Refused {
        /// Which.
        token: String,
        /// Why.
        why: Refused,
    },
    /// It was never taken, or cannot be found: the answer had been lost, and by now it is known that there is no such job.
    NotThere {
        /// Which.
        token: String,
        /// What was not known of its submission.
        doubt: Doubt,
    },
    /// It was to be cancelled, and Slurm shows that it is.
    Cancelled {
        /// Which.
        token: String,
        /// Its id, if it had one.
        job: Option<JobId>,
    },
    /// It was to be cancelled, and is not yet: it is tried again.
    NotCancelled {
        /// Which.
        token: String,
        /// Its id, if it is known.
        job: Option<JobId>,
        /// Why not.
        words: String,
    },
    /// The worker in the job says something.
    Worker {
        /// Which job's.
        token: String,
        /// What.
        message: M,
    },
    /// The queue shows it in another state.
    Changed {
        /// Which.
        token: String,
        /// How it stands.
        seen: Seen,
    },
    /// The job is over, and its worker has not said that the work is done.
    Ended {
        /// Which.
        token: String,
        /// How.
        end: JobEnd,
        /// Its id, if it got one.
        job: Option<JobId>,
    },
    /// For the user.
    Notice(Notice),
}
