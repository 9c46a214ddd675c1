//! The loop that drives the [`Poller`]: it runs what the poller wants run, and hands in what comes of it.

use std::{
    collections::{HashMap, VecDeque},
    path::PathBuf,
    time::Instant,
};

use amore_model::{JobId, Urgency};
use amore_slurm::{
    clusters::Clusters,
    exchange::{Action, Adoption, Answer, Command, Input, JobEvent, Submission, WorkerMessage},
    poll::{Question, Reply},
    poller::Poller,
    refused::Refused,
    submission::JobAsked,
};
use amore_wire::{
    sheet::{self, JobSheet},
    task::FromWorker,
};
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::{JoinHandle, JoinSet},
    time::sleep_until,
};

use crate::{
    Slurm,
    event_tail::{EventTail, about_job},
    log_tail, manifest,
};

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

/// What becomes of jobs.
pub type TrackerEvent = JobEvent<FromWorker>;

/// What the loop is told.
enum Told {
    Submit(Box<Order>),
    Input(Box<Input<FromWorker>>),
}

/// The way to Slurm: submits jobs, and follows them to their ends.
#[derive(Debug)]
pub struct Tracker {
    inbox: UnboundedSender<Told>,
    events: UnboundedReceiver<TrackerEvent>,
    task: JoinHandle<()>,
}

impl Tracker {
    /// Starts the loop.
    pub fn start(slurm: Slurm) -> Self {
        let (told, inbox) = unbounded_channel();
        let (outbox, events) = unbounded_channel();
        let driver = Driver {
            slurm,
            outbox,
            work: JoinSet::new(),
            tails: HashMap::new(),
            wake: None,
            inputs: VecDeque::new(),
        };
        let task = tokio::spawn(driver.run(inbox));
        Tracker { inbox: told, events, task }
    }

    fn input(&self, input: Input<FromWorker>) {
        let _ = self.inbox.send(Told::Input(Box::new(input)));
    }

    /// Submits a job. Its manifest is written first.
    pub fn submit(&self, order: Order) {
        let _ = self.inbox.send(Told::Submit(Box::new(order)));
    }

    /// Follows a job of an earlier owner; `None`: it is not known whether there is one, on any of `clusters`.
    pub fn adopt(
        &self,
        token: String,
        directory: PathBuf,
        job: Option<JobId>,
        (name, log): (String, String),
        clusters: Clusters,
    ) {
        self.input(Input::Adopt(Adoption { token, directory, job, name, log, clusters }));
    }

    /// Nothing more is wanted of this job: it finds its manifest gone, should it still run.
    pub fn forget(&self, token: String) {
        self.input(Input::Forget { token });
    }

    /// Ends a job; [`JobEvent::Cancelled`] says when Slurm shows that it has.
    pub fn cancel(&self, token: String) {
        self.input(Input::Cancel { token });
    }

    /// The next event. Can be cancelled without losing any.
    pub async fn next(&mut self) -> Option<TrackerEvent> {
        self.events.recv().await
    }

    /// Ends the loop; what it was told before is done first. Jobs go on.
    pub async fn stop(self) {
        let Tracker { inbox, events, task } = self;
        drop((inbox, events));
        let _ = task.await;
    }
}

struct Driver {
    slurm: Slurm,
    outbox: UnboundedSender<TrackerEvent>,
    work: JoinSet<Answer>,
    /// What workers write, by token.
    tails: HashMap<String, EventTail>,
    /// When the poller wants to be woken.
    wake: Option<Instant>,
    /// What came of actions that take no time.
    inputs: VecDeque<Input<FromWorker>>,
}

impl Driver {
    async fn run(mut self, mut inbox: UnboundedReceiver<Told>) {
        let mut poller = Poller::default();
        let mut open = true;
        loop {
            tokio::select! {
                told = inbox.recv(), if open => match told {
                    Some(Told::Input(input)) => self.inputs.push_back(*input),
                    Some(Told::Submit(order)) => self.take(*order),
                    None => open = false,
                },
                Some(answer) = self.work.join_next() => {
                    if let Ok(answer) = answer {
                        self.inputs.push_back(Input::Answered(answer));
                    }
                }
                () = at(self.wake), if self.wake.is_some() => {
                    self.wake = None;
                    self.inputs.push_back(Input::Timer);
                }
            }
            while let Some(input) = self.inputs.pop_front() {
                for action in poller.on(Instant::now(), input) {
                    self.perform(action);
                }
            }
            // Submissions and cancellations under way are waited for: their answer is worth more than a moment.
            if !open && !poller.is_busy() {
                return;
            }
        }
    }

    fn take(&mut self, order: Order) {
        let Order { token, directory, sheet, asked, urgency } = order;
        match serde_json::to_string(&sheet) {
            Ok(manifest) => {
                let submission = Submission { token, directory, manifest, asked, urgency };
                self.inputs.push_back(Input::Submit(Box::new(submission)));
            }
            Err(error) => {
                let why = Refused::for_now(format!("the job's sheet cannot be written: {error}"));
                let _ = self.outbox.send(JobEvent::Refused { token, why });
            }
        }
    }

    fn perform(&mut self, action: Action<FromWorker>) {
        match action {
            Action::Run(command) => {
                let slurm = self.slurm.clone();
                self.work.spawn(async move { run(&slurm, command).await });
            }
            Action::WriteManifest { token, directory, manifest } => {
                let result =
                    manifest::write(&directory, &token, &manifest).map_err(|error| error.to_string());
                self.inputs.push_back(Input::ManifestWritten { token, result });
            }
            Action::RemoveManifest { token, directory } => manifest::remove(&directory, &token),
            Action::RemoveFiles { token, directory } => {
                self.tails.remove(&token);
                manifest::remove_all(&directory, &token);
            }
            Action::ReadWorkers { attempts } => {
                let heard = attempts.into_iter().map(|(token, directory)| {
                    let tail = self
                        .tails
                        .entry(token.clone())
                        .or_insert_with(|| EventTail::of(&sheet::events(&directory, &token)));
                    let messages = tail.read().into_iter();
                    let messages =
                        messages.map(|message| WorkerMessage { said: about_job(&message), message });
                    (token, messages.collect())
                });
                let heard = heard.collect();
                self.inputs.push_back(Input::WorkersHeard(heard));
            }
            Action::ReadLog { token, path } => {
                let tail = log_tail::read(&path);
                self.inputs.push_back(Input::LogRead { token, tail });
            }
            Action::Tell(event) => {
                let _ = self.outbox.send(event);
            }
            Action::WakeAt(time) => self.wake = Some(time),
        }
    }
}

async fn at(time: Option<Instant>) {
    if let Some(time) = time {
        sleep_until(time.into()).await;
    }
}

async fn run(slurm: &Slurm, command: Command) -> Answer {
    match command {
        Command::Submit { token, asked } => {
            let (asked, remarks) = slurm.settle(*asked).await;
            let result = slurm.submit(&asked, &token).await;
            Answer::Submitted { token, result, remarks }
        }
        Command::LookUp { token, name, clusters } => {
            let result = slurm.find(&token, &name, &clusters).await;
            Answer::LookedUp { token, result }
        }
        Command::Ask { cluster, question } => {
            let reply = ask(slurm, cluster.as_deref(), question).await;
            Answer::Said { cluster, reply }
        }
        Command::Cancel { job, token } => {
            let answer = slurm.cancel(&job, &token).await;
            Answer::Cancelled { token, job, answer }
        }
    }
}

async fn ask(slurm: &Slurm, cluster: Option<&str>, question: Question) -> Reply {
    let reply = match question {
        Question::Queue => Reply::Queue(slurm.queue(cluster).await),
        Question::Accounting(jobs) => Reply::Accounting(slurm.accounting(cluster, &jobs).await),
        Question::ExitCodes => Reply::ExitCodes(slurm.exit_codes(cluster).await),
        Question::Job(job) => {
            let shown = slurm.show(&job).await;
            Reply::Job(job, shown)
        }
    };
    let silent = match &reply {
        Reply::Queue(Err(silent))
        | Reply::Accounting(Err(silent))
        | Reply::ExitCodes(Err(silent))
        | Reply::Job(_, Err(silent)) => silent,
        Reply::Queue(Ok(_)) | Reply::Accounting(Ok(_)) | Reply::ExitCodes(Ok(_)) | Reply::Job(_, Ok(_)) => {
            return reply;
        }
    };
    tracing::debug!(cluster, %silent, "Slurm does not say");
    reply
}
