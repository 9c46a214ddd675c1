//! What happens in the service, as DAMNIT's update messages.
//!
//! Messages follow the events of the service, so a value is in the table before its message is sent. Each directory has a
//! queue of its own: a file system that hangs delays no message of another directory.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use amore_core::activity::{Activity, ExecutedAt, ListedVariable, TaskFacts, WaitsFor};
use amore_kafka::{
    Connection, Publisher, Update,
    connection::ConnectionError,
    updates::{ProcessingStateSet, RunValuesUpdated, Status, VariableSet},
};
use amore_model::JobId;
use amore_run_table::{RunTable, SettingValue};
use tokio::{
    runtime::Handle,
    sync::mpsc::{Receiver, Sender, channel},
    task::JoinHandle,
    time::sleep,
};

use crate::service::{
    event_stream::{EventStream, From, Next},
    happening::{DirectoryState, ServiceEvent, What},
};

/// How many messages of a directory wait until its database has told its id.
const QUEUE: usize = 1000;
/// How long to wait before the database is asked again.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest of these pauses, which double.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Publishes what happens, until it is dropped.
#[derive(Debug)]
pub struct Publishing {
    publisher: Arc<Publisher>,
    task: JoinHandle<()>,
}

impl Publishing {
    /// Starts to publish what happens from now on.
    ///
    /// # Errors
    /// The connection cannot be set up.
    pub fn start(connection: &Connection, events: &EventStream) -> Result<Self, ConnectionError> {
        let publisher = Arc::new(Publisher::start(connection)?);
        let task = tokio::spawn(follow(events.clone(), Arc::clone(&publisher)));
        Ok(Publishing { publisher, task })
    }

    /// Sends what waits, but does not wait longer than this for a broker.
    pub async fn stop(self, patience: Duration) {
        self.task.abort();
        let publisher = Arc::clone(&self.publisher);
        let _ = tokio::task::spawn_blocking(move || publisher.flush(patience)).await;
    }
}

impl Drop for Publishing {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn follow(events: EventStream, publisher: Arc<Publisher>) {
    let mut news = events.subscribe(From::Now);
    let mut directories: BTreeMap<PathBuf, Sender<Update>> = BTreeMap::new();
    loop {
        let happening = match news.next().await {
            Next::Event(happening) => happening,
            Next::Reset(_) => {
                tracing::warn!("update messages for DAMNIT's interface are missing: too many events at once");
                continue;
            }
        };
        let Some(directory) = &happening.directory else { continue };
        if let What::Service(ServiceEvent::DirectoryChanged { state }) = &happening.what
            && matches!(state, DirectoryState::Serving | DirectoryState::Stopped)
        {
            // It may have another database now. What waits is still sent.
            directories.remove(directory);
        }
        for update in updates(&happening.what) {
            let queue = directories
                .entry(directory.clone())
                .or_insert_with(|| open(directory.clone(), Arc::clone(&publisher)));
            if queue.try_send(update).is_err() {
                publisher.count_dropped("the database does not tell its id");
            }
        }
    }
}

/// The queue of a directory.
fn open(directory: PathBuf, publisher: Arc<Publisher>) -> Sender<Update> {
    let (send, queue) = channel(QUEUE);
    tokio::spawn(send_all(directory, publisher, queue));
    send
}

async fn send_all(directory: PathBuf, publisher: Arc<Publisher>, mut queue: Receiver<Update>) {
    let Some(db_id) = db_id(&directory).await else { return };
    while let Some(update) = queue.recv().await {
        publisher.send(&db_id, &update);
    }
}

/// The id of a database; `None` if it has none.
async fn db_id(directory: &Path) -> Option<String> {
    let mut pause = FIRST_PAUSE;
    loop {
        let (dir, runtime) = (directory.to_owned(), Handle::current());
        // The file system may hang.
        let read = tokio::task::spawn_blocking(move || {
            runtime.block_on(async {
                let table = RunTable::open_read_only(&dir).await?;
                let id = table.setting("db_id").await;
                let _ = table.close().await;
                id
            })
        });
        match read.await {
            Ok(Ok(id)) => return id.and_then(text),
            Ok(Err(error)) => {
                tracing::debug!(directory = %directory.display(), %error, "the id of the database cannot be read");
            }
            Err(_) => return None,
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

fn text(id: SettingValue) -> Option<String> {
    match id {
        SettingValue::Text(id) => Some(id),
        _ => None,
    }
}

/// The messages that DAMNIT sends about this.
fn updates(what: &What) -> Vec<Update> {
    let What::Activity(activity) = what else { return Vec::new() };
    match activity {
        Activity::ValuesStored { proposal, run, values } if !values.is_empty() => {
            let names = values.iter().map(|cell| cell.name.clone());
            vec![Update::RunValuesUpdated(RunValuesUpdated::new(*proposal, *run, names))]
        }
        Activity::VariablesChanged { variables } => variables.iter().map(variable_set).collect(),
        Activity::TaskQueued { task, waits_for: WaitsFor::Slurm { job, .. } } => {
            vec![state(task, Status::Pending, Some(job), "", "")]
        }
        Activity::TaskStarted { task, at: ExecutedAt { host, job, user } } => {
            let (host, user) = (host.as_deref().unwrap_or_default(), user.as_deref().unwrap_or_default());
            vec![state(task, Status::Running, job.as_ref(), host, user)]
        }
        Activity::TaskEnded { task, .. } => {
            vec![Update::ProcessingFinished { processing_id: task.task.clone() }]
        }
        _ => Vec::new(),
    }
}

fn variable_set(variable: &ListedVariable) -> Update {
    let ListedVariable { name, title, description, tags, edited_as } = variable.clone();
    Update::VariableSet(VariableSet {
        name,
        title: Some(title),
        description,
        // DAMNIT sends them for computed variables only.
        tags: edited_as.is_none().then(|| Some(tags).filter(|tags| !tags.is_empty())),
        attributes: None,
        kind: edited_as,
    })
}

fn state(task: &TaskFacts, status: Status, job: Option<&JobId>, host: &str, user: &str) -> Update {
    Update::ProcessingStateSet(ProcessingStateSet {
        processing_id: task.task.clone(),
        proposal: task.proposal,
        run: task.run,
        data: task.data,
        status,
        hostname: host.to_owned(),
        username: user.to_owned(),
        slurm_cluster: job.and_then(|job| job.cluster.clone()),
        slurm_job_id: job.map_or_else(String::new, |job| job.number.to_string()),
    })
}
