//! What has to be done: the effects of the core. The driver carries them out, and decides nothing.

use std::{collections::BTreeSet, path::PathBuf};

use amore_model::{JobId, MymdcField, Urgency, VariableSpec};
use amore_slurm::{clusters::Clusters, submission::JobOptions};
use amore_wire::{manifest::JobManifest, task::ToWorker};

use crate::{
    activity::Activity,
    command::CommandSpec,
    events::Event,
    incoming::IncomingNo,
    journal::Write,
    request::{Compute, Listener, RequestNo},
    task::TaskNo,
    task_state::WorkerNo,
    tasks::RunKey,
};

/// A file with results that waits in `extracted_data/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// Its run.
    pub key: RunKey,
    /// Where it is.
    pub path: PathBuf,
}

/// A job to submit.
#[derive(Clone, Debug)]
pub struct NewJob {
    /// The attempt's.
    pub token: String,
    /// What its worker is to compute.
    pub manifest: JobManifest,
    /// What Slurm is asked for.
    pub asked: JobOptions,
    /// The more urgent is submitted first.
    pub urgency: Urgency,
}

/// One thing to do.
#[derive(Debug)]
pub enum Effect {
    /// Send an event to a listener.
    Tell {
        /// The listener.
        listener: Listener,
        /// What.
        event: Event,
    },
    /// Publish what has happened, for those who watch the directory. Only if the setup says that it is watched.
    Publish(Activity),
    /// Read the text of the context file. Answer: [`crate::Input::ContextRead`].
    ReadContext {
        /// For which request.
        incoming: IncomingNo,
    },
    /// Jobs may be submitted soon: start the slow queries about the site.
    AskSite,
    /// Find the runs of a request, what they have and what is stored of them, and bring the table's list of variables up to
    /// date. Answer: [`crate::Input::Surveyed`].
    Survey {
        /// For which request.
        incoming: IncomingNo,
        /// What is asked for.
        compute: Compute,
        /// The variables of the context file.
        variables: Vec<VariableSpec>,
    },
    /// Open the ledger for writing. Answer: [`crate::Input::LedgerOpened`].
    OpenLedger {
        /// For which request.
        incoming: IncomingNo,
    },
    /// Read what earlier owners have left open in the ledger. Answer: [`crate::Input::LedgerLoaded`].
    LoadLedger,
    /// Write to the ledger, in this order, each all or nothing. Answer: [`crate::Input::LedgerWritten`].
    WriteLedger(Vec<Write>),
    /// Send messages to the worker here.
    ToWorker(Vec<ToWorker>),
    /// The worker here is dead: start another one, with this number.
    ReplaceWorker(WorkerNo),
    /// Put a fragment into its run's file. Answer: [`crate::Input::Collected`].
    Collect(Fragment),
    /// Collect the fragments given so far without waiting for more.
    HurryCollector,
    /// Look for fragments of a run, or of all runs. Answer: [`crate::Input::Scanned`].
    Scan {
        /// Which run.
        key: Option<RunKey>,
    },
    /// Everything that was asked for is in the table: remove array files that no run file uses any more, and variables that
    /// are neither in the context file nor in any run.
    Tidy,
    /// Read the settings of Slurm again. Answer: [`crate::Input::Settings`].
    ReadSettings,
    /// Submit a job.
    Submit(Box<NewJob>),
    /// Track a job of an earlier owner.
    Adopt {
        /// The attempt's token.
        token: String,
        /// The job; `None`: it is not known whether there is one.
        job: Option<JobId>,
        /// Its name.
        name: String,
        /// The pattern of its log.
        log: String,
        /// Where it was submitted to.
        clusters: Clusters,
    },
    /// Stop tracking this job.
    Forget {
        /// The attempt's token.
        token: String,
    },
    /// Cancel this job.
    Cancel {
        /// The attempt's token.
        token: String,
    },
    /// Look something up for a task. Answer: [`crate::Input::Answer`].
    Ask {
        /// The task.
        task: TaskNo,
        /// What.
        question: Question,
    },
    /// Ask the metadata catalogue about a run. Answer: [`crate::Input::Mymdc`], with a value or an error for each field.
    AskMymdc {
        /// For which request.
        request: RequestNo,
        /// The run.
        key: RunKey,
        /// What is needed.
        fields: BTreeSet<MymdcField>,
    },
    /// Write a line to the log: an inconsistency that users need not know.
    Log(String),
}

/// A question about a task that only files can answer.
#[derive(Debug)]
pub enum Question {
    /// Which variables have a value in the run's file, of whatever plan?
    EarlierValues {
        /// The run.
        key: RunKey,
    },
    /// What are the last lines of this log?
    LogTail {
        /// The log.
        path: PathBuf,
    },
    /// What are the arguments of the command?
    Command(Box<CommandSpec>),
}
