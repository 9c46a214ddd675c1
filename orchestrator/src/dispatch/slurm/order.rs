//! What a lane is given, a job to submit, and what it says of it.

use std::{
    fs,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use amore_model::{JobId, Notice, Urgency};
use amore_wire::{
    sheet::{self, JobSheet},
    task::FromWorker,
};

use super::{
    answers::Seen,
    client::{Doubt, JobAsked},
    refused::Refused,
};
use crate::coordinate::after_job::JobEnd;

/// A job to submit.
#[derive(Clone, Debug)]
pub struct Order {
    /// Names this attempt: in the job's comment, and of its files.
    pub token: String,
    /// The database directory.
    pub directory: PathBuf,
    /// What to compute.
    pub sheet: JobSheet,
    /// What Slurm is asked for.
    pub asked: JobAsked,
    /// The more urgent is submitted first.
    pub urgency: Urgency,
}

/// What the lane says.
#[derive(Debug)]
pub enum LaneEvent {
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
        message: FromWorker,
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

/// Durable before the job is submitted: a job that finds no sheet has nothing to do.
pub fn write_sheet(directory: &Path, sheet: &JobSheet) -> std::io::Result<()> {
    let path = sheet::sheet(directory, &sheet.token);
    let folder = sheet::folder(directory);
    fs::create_dir_all(&folder)?;
    let beside = path.with_extension("writing");
    let mut file =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o660).open(&beside)?;
    file.write_all(&serde_json::to_vec(sheet)?)?;
    file.sync_all()?;
    fs::rename(&beside, &path)?;
    fs::File::open(&folder)?.sync_all()
}
