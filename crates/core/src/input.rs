//! What happens: the inputs of the core.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
};

use amore_model::{Notice, PlanStamp, Run};
use amore_plan::Availability;
use amore_slurm::{clusters::Clusters, settings::SlurmSettings, site_facts::SiteFacts};
use amore_wire::{
    mymdc::MymdcValues,
    task::{ContextSource, FromWorker, Limits, UserCommand},
};

use crate::{
    activity::{ListedVariable, StoredCell},
    effect::Fragment,
    incoming::IncomingNo,
    journal::{AttemptRecord, Phase, RequestDetail, TaskFacts, TaskSpec},
    refusal::Refusal,
    request::{Listener, Request, RequestNo},
    results::TaskResults,
    task::TaskNo,
    task_state::WorkerNo,
    tasks::RunKey,
};

/// Events of jobs, from the poller of Slurm and from workers.
pub type JobEvent = amore_slurm::exchange::JobEvent<FromWorker>;

/// Something that happened.
#[derive(Debug)]
pub enum Input {
    /// The driver is ready. These fragments are left of earlier commands.
    Started {
        /// The fragments.
        fragments: Vec<Fragment>,
        /// There is a ledger, in which something may be open.
        ledger_exists: bool,
    },
    /// A request.
    Request {
        /// Who gets the events of this request.
        listener: Listener,
        /// What.
        request: Request,
    },
    /// The command only waits for what earlier commands left open.
    Follow,
    /// This is a service: it waits for requests until it is told to stop.
    Serve,
    /// The text of the context file.
    ContextRead {
        /// For which request.
        incoming: IncomingNo,
        /// The text, and how it is executed.
        context: Result<ContextRead, Refusal>,
    },
    /// The runs of a request were looked up.
    Surveyed {
        /// Which request.
        incoming: IncomingNo,
        /// What was found.
        survey: Result<Box<Survey>, Refusal>,
    },
    /// The ledger is open, or cannot be opened.
    LedgerOpened {
        /// For which request.
        incoming: IncomingNo,
        /// Why not.
        opened: Result<(), Refusal>,
    },
    /// What earlier owners have left open.
    LedgerLoaded(Box<LeftOpen>),
    /// So many of the writes are done.
    LedgerWritten {
        /// How many.
        done: usize,
        /// Why the next one could not be written now: it may be tried again.
        silent: Option<String>,
    },
    /// A message of a worker on this machine.
    Worker {
        /// Which worker.
        worker: WorkerNo,
        /// What.
        message: FromWorker,
    },
    /// A worker on this machine is dead.
    WorkerLost {
        /// Which.
        worker: WorkerNo,
    },
    /// Fragments that a scan has found.
    Scanned {
        /// Of which run.
        key: Option<RunKey>,
        /// The fragments.
        fragments: Vec<Fragment>,
    },
    /// Fragments of a run were put into its file and the table.
    Collected(Collected),
    /// An event of a job.
    Job(JobEvent),
    /// What is known of the site now.
    Site(Arc<SiteFacts>),
    /// The settings of Slurm, as they are now.
    Settings(SlurmSettings),
    /// An answer to [`crate::Effect::Ask`].
    Answer {
        /// The task.
        task: TaskNo,
        /// The answer.
        answer: Answer,
    },
    /// The answer of the metadata catalogue.
    Mymdc {
        /// For which request.
        request: RequestNo,
        /// The run.
        key: RunKey,
        /// A value or an error for each field.
        values: MymdcValues,
    },
    /// The user wants this command to stop: running variables are stopped, jobs continue.
    Stop,
    /// Time has passed.
    Tick,
}

/// A context file, and the settings of the database about its execution: both as they are when a request begins.
#[derive(Clone, Debug)]
pub struct ContextRead {
    /// The file.
    pub source: ContextSource,
    /// The user's Python.
    pub python: PathBuf,
    /// Bounds on each variable.
    pub limits: Limits,
}

impl ContextRead {
    /// A file that is executed without bounds.
    pub fn new(source: ContextSource, python: PathBuf) -> Self {
        ContextRead { source, python, limits: Limits::default() }
    }
}

/// What is known of the runs of a request.
#[derive(Debug, Default)]
pub struct Survey {
    /// Runs that exist, in order, and what they have.
    pub runs: Vec<(RunKey, Availability)>,
    /// Runs that were asked for and do not exist.
    pub missing: Vec<Run>,
    /// For each run, the names that a context file has stored for it.
    pub stored: BTreeMap<RunKey, Vec<String>>,
    /// Variables that are new in the table's list, or have changed there.
    pub listed: Vec<ListedVariable>,
    /// About the change of the table's list of variables.
    pub notices: Vec<TableNotice>,
    /// Why no jobs can be made, if so.
    pub no_jobs: Option<Refusal>,
}

/// Something the user should know about the table or a run's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableNotice {
    /// What it says.
    pub notice: Notice,
    /// It is about the `runs` view, and true until further notice.
    pub about_view: bool,
}

/// What was collected of one run.
#[derive(Clone, Debug)]
pub struct Collected {
    /// The run.
    pub key: RunKey,
    /// How many fragments.
    pub fragments: usize,
    /// Variables whose outcome is in the run's file now, with the plan it came from.
    pub stored: Vec<(String, PlanStamp)>,
    /// The cells of the table that were written, as they are now.
    pub cells: Vec<StoredCell>,
    /// For the user.
    pub notices: Vec<TableNotice>,
    /// Why the results could not be put into the run's file: they wait where they are.
    pub problem: Option<String>,
}

/// What earlier owners have left open in the ledger.
#[derive(Debug, Default)]
pub struct LeftOpen {
    /// Requests, earliest first.
    pub requests: Vec<OpenRequest>,
    /// Tasks that this version cannot read.
    pub unreadable: Vec<(Run, String)>,
}

/// A request that is not finished.
#[derive(Debug)]
pub struct OpenRequest {
    /// Its id in the ledger.
    pub id: String,
    /// What was asked.
    pub detail: RequestDetail,
    /// Its open tasks, earliest first.
    pub tasks: Vec<OpenTask>,
    /// All of its open tasks can be read.
    pub complete: bool,
}

/// A task that has not ended.
#[derive(Debug)]
pub struct OpenTask {
    /// Its id.
    pub id: String,
    /// Its run.
    pub key: RunKey,
    /// Its state before.
    pub phase: Phase,
    /// What it is.
    pub spec: TaskSpec,
    /// What was known of it.
    pub facts: TaskFacts,
    /// Ids of tasks that it waits for.
    pub waits_for: Vec<String>,
    /// A task that it waits for, directly or not, and that cannot be read.
    pub waits_in_vain: Option<String>,
    /// What is in the run's file and in fragments.
    pub results: TaskResults,
    /// Those fragments.
    pub fragments: BTreeSet<PathBuf>,
    /// The attempt in progress, and where its job was submitted to.
    pub attempt: Option<(AttemptRecord, Clusters)>,
}

/// The answer to a question about a task.
#[derive(Debug)]
pub enum Answer {
    /// Variables that have a value in the run's file.
    EarlierValues(BTreeSet<String>),
    /// The end of a log; `None` where there is no log.
    LogTail(Option<String>),
    /// The command, or why it is not executed.
    Command(Prepared),
}

/// A command that is to be executed, or why it is not.
#[derive(Clone, Debug)]
pub enum Prepared {
    /// It can be.
    Ready(Box<UserCommand>),
    /// A value that the function needs is missing: called without an outcome, it says which.
    NotNow,
    /// It cannot be.
    Refused {
        /// Class of the variable's error.
        class: &'static str,
        /// Its message.
        message: String,
    },
}
