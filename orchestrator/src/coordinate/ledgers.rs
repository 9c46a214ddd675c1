//! How this process opens ledgers. The directories of a service share one pool of connections to a server; otherwise each one is
//! opened for itself.
//!
//! The work on a shared ledger runs on a thread of its own: that of a directory may hang in a file system, and must not keep a
//! connection that others wait for. Therefore that work itself must not block on a file system.

use std::{collections::BTreeMap, io, panic::resume_unwind, sync::Arc, thread};

use amore_ledger::{Ledger, LedgerError, OpenOptions};
use tokio::{
    runtime::{Builder, Handle},
    sync::{Mutex, oneshot},
    task::JoinHandle,
};

/// The most connections of a service to a server.
const SHARED_CONNECTIONS: u32 = 8;

/// How ledgers are opened. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Ledgers(Option<Arc<Shared>>);

#[derive(Debug)]
struct Shared {
    runtime: Handle,
    /// By place.
    open: Mutex<BTreeMap<String, Ledger>>,
    /// The thread ends with this.
    _end: oneshot::Sender<()>,
}

impl Ledgers {
    /// A ledger is opened once, for whoever uses this. For ledgers on servers.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn shared() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (end, ended) = oneshot::channel();
        thread::Builder::new().name("ledger".to_owned()).spawn(move || {
            let _ = runtime.block_on(ended);
            runtime.shutdown_background();
        })?;
        Ok(Ledgers(Some(Arc::new(Shared { runtime: handle, open: Mutex::default(), _end: end }))))
    }

    /// Opens a ledger, or gives the one that is open.
    ///
    /// # Errors
    /// Those of the ledger.
    pub async fn open(&self, place: &str, options: &OpenOptions) -> Result<Ledger, LedgerError> {
        let Some(shared) = self.0.clone() else { return Ledger::open(place, options).await };
        let place = place.to_owned();
        let options = OpenOptions { connections: SHARED_CONNECTIONS, ..options.clone() };
        self.run(async move {
            let mut open = shared.open.lock().await;
            if let Some(ledger) = open.get(&place) {
                return Ok(ledger.for_one_of_many());
            }
            let ledger = Ledger::open(&place, &options).await?;
            let one = ledger.for_one_of_many();
            open.insert(place, ledger);
            Ok(one)
        })
        .await
    }

    /// Does some work on ledgers. If this is dropped, the work is done nevertheless.
    pub async fn run<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> T {
        if self.0.is_none() {
            return work.await;
        }
        match self.spawn(work).await {
            Ok(done) => done,
            Err(error) if error.is_panic() => resume_unwind(error.into_panic()),
            // The process ends.
            Err(_) => std::future::pending().await,
        }
    }

    /// Begins some work on ledgers.
    pub fn spawn<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        match &self.0 {
            Some(shared) => shared.runtime.spawn(work),
            None => tokio::spawn(work),
        }
    }
}
