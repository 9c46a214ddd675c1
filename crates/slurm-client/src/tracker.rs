//! The loop that drives the [`Poller`]: carries out its actions and passes the results back to it.

use std::{
    collections::{HashMap, VecDeque},
    path::PathBuf,
    time::Instant,
};

use amore_model::{JobId, Urgency};
use amore_slurm::{
    clusters::Clusters,
    exchange::{Action, Adoption, Answer, Input, JobEvent, Submission, WorkerMessage},
    poll::Reply,
    poller::Poller,
    refused::Refused,
    submission::JobOptions,
};
use amore_wire::{
    manifest::{JobManifest, SHA256, events},
    task::FromWorker,
};
use sha2::{Digest, Sha256};
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::{JoinHandle, JoinSet},
    time::sleep_until,
};

use crate::{Slurm, event_tail::EventTail, log_tail, manifest};

/// A job to submit.
#[derive(Clone, Debug)]
pub struct JobToSubmit {
    /// Identifies this attempt: part of the job's comment and of the names of its files.
    pub token: String,
    /// The database directory.
    pub directory: PathBuf,
    /// What to compute.
    pub manifest: JobManifest,
    /// The options of the job.
    pub asked: JobOptions,
    /// The more urgent job is submitted first.
    pub urgency: Urgency,
}

/// An event about a job.
pub type TrackerEvent = JobEvent<FromWorker>;

/// A message to the loop.
enum Message {
    Submit(Box<JobToSubmit>),
    Adopt(Box<Adoption>),
    Input(Box<Input<FromWorker>>),
}

/// Submits jobs, and tracks them until they end.
#[derive(Debug)]
pub struct Tracker {
    inbox: UnboundedSender<Message>,
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
        let _ = self.inbox.send(Message::Input(Box::new(input)));
    }

    /// Submits a job, after writing its manifest.
    pub fn submit(&self, job: JobToSubmit) {
        let _ = self.inbox.send(Message::Submit(Box::new(job)));
    }

    /// Tracks a job of an earlier owner. `job` is `None` if it is not known whether it exists, on any of `clusters`.
    pub fn adopt(
        &self,
        token: String,
        directory: PathBuf,
        job: Option<JobId>,
        (name, log): (String, String),
        clusters: Clusters,
    ) {
        // The loop looks whether there is a manifest: a file system may hang.
        let adoption = Adoption { token, directory, job, name, log, clusters, has_manifest: true };
        let _ = self.inbox.send(Message::Adopt(Box::new(adoption)));
    }

    /// Stops tracking a job and removes its manifest, so that it ends if it still runs.
    pub fn forget(&self, token: String) {
        self.input(Input::Forget { token });
    }

    /// Cancels a job; [`JobEvent::Cancelled`] follows when Slurm shows that it has ended.
    pub fn cancel(&self, token: String) {
        self.input(Input::Cancel { token });
    }

    /// The next event. Cancel-safe: no event is lost.
    pub async fn next(&mut self) -> Option<TrackerEvent> {
        self.events.recv().await
    }

    /// Stops the loop, after it has finished what was requested before. Jobs continue.
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
    /// When the poller's timer fires.
    wake: Option<Instant>,
    /// Results of actions that complete at once.
    inputs: VecDeque<Input<FromWorker>>,
}

impl Driver {
    async fn run(mut self, mut inbox: UnboundedReceiver<Message>) {
        let mut poller = Poller::default();
        let mut open = true;
        loop {
            tokio::select! {
                told = inbox.recv(), if open => match told {
                    Some(Message::Input(input)) => self.inputs.push_back(*input),
                    Some(Message::Submit(job)) => self.take(*job),
                    Some(Message::Adopt(adoption)) => {
                        let has_manifest = manifest::exists(&adoption.directory, &adoption.token);
                        self.inputs.push_back(Input::Adopt(Adoption { has_manifest, ..*adoption }));
                    }
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
            // Wait for submissions and cancellations under way: their results are worth the delay.
            if !open && !poller.is_busy() {
                return;
            }
        }
    }

    fn take(&mut self, job: JobToSubmit) {
        let JobToSubmit { token, directory, manifest, mut asked, urgency } = job;
        match serde_json::to_string(&manifest) {
            Ok(manifest) => {
                if asked.script.sandboxed {
                    // Users can write to the manifest's folder, but not to Slurm's copy of the script.
                    let digest = hex::encode(Sha256::digest(&manifest));
                    asked.script.environment.push((SHA256.to_owned(), digest));
                }
                let submission = Submission { token, directory, manifest, asked, urgency };
                self.inputs.push_back(Input::Submit(Box::new(submission)));
            }
            Err(error) => {
                let why = Refused::temporary(format!("cannot write the job's manifest: {error}"));
                let _ = self.outbox.send(JobEvent::Refused { token, why });
            }
        }
    }

    fn perform(&mut self, action: Action<FromWorker>) {
        match action {
            Action::Run(command) => {
                let slurm = self.slurm.clone();
                self.work.spawn(async move {
                    let answer = slurm.perform(command).await;
                    log_silence(&answer);
                    answer
                });
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
                        .or_insert_with(|| EventTail::of(&events(&directory, &token)));
                    let messages = tail.read().into_iter();
                    let messages =
                        messages.map(|message| WorkerMessage { report: message.about_job(), message });
                    (token, messages.collect())
                });
                let heard = heard.collect();
                self.inputs.push_back(Input::WorkersHeard(heard));
            }
            Action::ReadLog { token, path } => {
                let tail = log_tail::read(&path);
                self.inputs.push_back(Input::LogRead { token, tail });
            }
            Action::Emit(event) => {
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

fn log_silence(answer: &Answer) {
    let Answer::Replied { cluster, reply } = answer else { return };
    let silent = match reply {
        Reply::Queue(Err(silent))
        | Reply::Accounting(Err(silent))
        | Reply::ExitCodes(Err(silent))
        | Reply::Job(_, Err(silent)) => silent,
        Reply::Queue(Ok(_)) | Reply::Accounting(Ok(_)) | Reply::ExitCodes(Ok(_)) | Reply::Job(_, Ok(_)) => {
            return;
        }
    };
    tracing::debug!(cluster, %silent, "Slurm does not answer");
}
