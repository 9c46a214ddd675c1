//! What a stand-by does before it takes over: it has the context files of its directories imported, so that their Python processes
//! are warm.
//!
//! It runs on a thread of its own: a file system that hangs must not keep the stand-by from taking over.

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use amore_listener_db::ListenerDb;
use amore_model::DatabaseDir;
use amore_run_table::RunTable;
use amore_wire::task::{FromWorker, ToWorker};
use tokio::{
    sync::oneshot,
    time::{sleep, timeout},
};

use super::open::{self, NotServed};
use crate::{
    context_file,
    coordinate::CoordinateError,
    dispatch::shared::{Client, SharedWorkers},
    execution::Execution,
};

/// How many directories are kept warm: the worker keeps no more Python processes.
const MOST: usize = 8;
/// How often to look whether a context file has changed.
const LOOK: Duration = Duration::from_secs(30);
/// How long an import may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// Keeps directories warm until it is dropped.
#[derive(Debug)]
pub struct Warm {
    _end: oneshot::Sender<()>,
}

impl Warm {
    /// Starts the thread.
    ///
    /// # Errors
    /// The operating system refuses it.
    pub fn start(directory: &Path, workers: &SharedWorkers) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (end, ended) = oneshot::channel();
        let keeping = Keeping {
            own: directory.to_owned(),
            settings: ListenerDb::at(directory),
            client: workers.client(),
            seen: HashMap::new(),
            asked: 0,
        };
        thread::Builder::new().name("warm".to_owned()).spawn(move || {
            runtime.block_on(async move {
                tokio::select! {
                    _ = ended => {}
                    () = keeping.run() => {}
                }
            });
            runtime.shutdown_background();
        })?;
        Ok(Warm { _end: end })
    }
}

struct Keeping {
    own: PathBuf,
    settings: ListenerDb,
    client: Client,
    /// The context files that were imported, by directory: the digest of their text.
    seen: HashMap<PathBuf, String>,
    asked: u64,
}

impl Keeping {
    async fn run(mut self) {
        loop {
            let listed = self.settings.databases().await.map(|listed| listed.databases).unwrap_or_default();
            let mut directories: Vec<PathBuf> = listed.into_iter().map(|database| database.dir).collect();
            directories.insert(0, self.own.clone());
            directories.dedup();
            for directory in directories.into_iter().take(MOST) {
                if let Err(error) = self.import(&directory).await {
                    tracing::debug!(directory = %directory.display(), %error, "a context file is not imported ahead");
                }
            }
            sleep(LOOK).await;
        }
    }

    /// Has the context file imported, if it has changed since the last time.
    async fn import(&mut self, directory: &Path) -> Result<(), NotServed> {
        let dir = open::existing(DatabaseDir::at(directory.to_owned())).await?;
        let context = match context_file::read(&dir.context_file()) {
            Ok(context) => context,
            // Whoever processes a run reports it.
            Err(_) => return Ok(()),
        };
        if self.seen.get(directory) == Some(&context.sha256) {
            return Ok(());
        }
        self.seen.insert(directory.to_owned(), context.sha256.clone());
        let table = RunTable::open_read_only(dir.path()).await?;
        let proposal = open::proposal(&table.settings().await?.into_iter().collect())?;
        let python = Execution::read(&table).await?.python;
        let _ = table.close().await;
        self.asked += 1;
        let id = format!("warm{}", self.asked);
        let sandbox = open::sandbox(&self.settings.settings().await?).await?;
        self.client.send(vec![ToWorker::Describe {
            id: id.clone(),
            context,
            python,
            proposal: Some(proposal),
            sandbox,
        }]);
        let imported = async {
            loop {
                match self.client.next().await {
                    Some(FromWorker::Described { id: of, .. }) if of == id => return Ok(()),
                    Some(FromWorker::HostFailed { message, hint, .. }) => {
                        return Err(CoordinateError::Python { message, hint }.into());
                    }
                    Some(_) => {}
                    None => return Ok(()),
                }
            }
        };
        timeout(PATIENCE, imported).await.unwrap_or(Ok(()))
    }
}
