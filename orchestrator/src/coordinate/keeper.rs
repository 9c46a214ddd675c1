//! Renews the owner's term and the ledger's lease in time, whatever else this process does.
//!
//! It runs in its own thread with its own connections. So it is not delayed by a context file that takes minutes to load, a
//! busy collector or a blocked event loop. Only a process that is stopped or dead loses its term.

use std::{
    os::unix::fs::MetadataExt,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, SystemTime},
};

use amore_ledger::{Lease, Ledger, LedgerError};
use amore_model::{DatabaseDir, lease::is_renewal_due};
use amore_run_table::{OpenOptions, Ownership, RunTable, RunTableError};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::{CoordinateError, ledger_place, ledgers::Ledgers};
use crate::clock::{now, unix};

/// How often to check whether the table still exists, and whether a renewal is due.
const CHECK: Duration = Duration::from_millis(250);
/// How long a renewal waits for a lock before it is tried again.
const PATIENCE: Duration = Duration::from_secs(1);

/// What is renewed.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) dir: DatabaseDir,
    pub(super) ownership: Ownership,
    pub(super) term: Duration,
    /// When the current term began.
    pub(super) begun: SystemTime,
    pub(super) ledgers: Ledgers,
}

/// The thread that renews.
#[derive(Debug)]
pub(super) struct Keeper {
    orders: Sender<Order>,
    lost: UnboundedReceiver<CoordinateError>,
    begun: Arc<Mutex<SystemTime>>,
    term: Duration,
    ledgers: Ledgers,
    thread: JoinHandle<()>,
}

/// A handle to have the ledger's lease renewed as well.
#[derive(Clone, Debug)]
pub(super) struct LedgerLeases {
    orders: Sender<Order>,
    begun: Arc<Mutex<SystemTime>>,
    term: Duration,
    ledgers: Ledgers,
}

impl LedgerLeases {
    /// How this process opens ledgers.
    pub(super) fn ledgers(&self) -> &Ledgers {
        &self.ledgers
    }

    /// When the current term of the directory began, in seconds since 1970, and its length. The ledger's term begins at the
    /// same time, not later: a process that finds the directory free must not find the ledger held.
    pub(super) fn term(&self) -> (f64, Duration) {
        (unix(*self.begun.lock().unwrap_or_else(PoisonError::into_inner)), self.term)
    }

    /// Renews this lease for as long as that of the directory.
    pub(super) fn keep(&self, lease: Lease) {
        // If the keeper has ended, it has already reported the reason.
        let _ = self.orders.send(Order::Ledger(lease));
    }
}

#[derive(Debug)]
enum Order {
    /// Renew this lease as well.
    Ledger(Lease),
    Stop,
}

impl Keeper {
    /// Starts the thread.
    ///
    /// # Errors
    /// No thread can be started.
    pub(super) fn start(held: Held) -> Result<Self, CoordinateError> {
        let cannot =
            |error: std::io::Error| CoordinateError::Fault(format!("cannot start a thread: {error}").into());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(cannot)?;
        let (orders, inbox) = channel();
        let (report, lost) = unbounded_channel();
        let begun = Arc::new(Mutex::new(held.begun));
        let term = held.term;
        let ledgers = held.ledgers.clone();
        let path = held.dir.run_table();
        let inode = inode(&path);
        let keeping = Keeping {
            path,
            inode,
            begun: Arc::clone(&begun),
            held,
            table: None,
            ledger: None,
            told: None,
            report,
        };
        let thread = thread::Builder::new()
            .name("keeper".to_owned())
            .spawn(move || keeping.run(&runtime, &inbox))
            .map_err(cannot)?;
        Ok(Keeper { orders, lost, begun, term, ledgers, thread })
    }

    /// A handle that keeps the ledger's lease for as long as that of the directory.
    pub(super) fn ledger_leases(&self) -> LedgerLeases {
        let Keeper { orders, begun, term, ledgers, .. } = self;
        LedgerLeases {
            orders: orders.clone(),
            begun: Arc::clone(begun),
            term: *term,
            ledgers: ledgers.clone(),
        }
    }

    /// Waits until the ownership is lost, and returns the reason. Cancel-safe.
    pub(super) async fn lost(&mut self) -> CoordinateError {
        match self.lost.recv().await {
            Some(error) => error,
            None => std::future::pending().await,
        }
    }

    /// Stops renewing.
    pub(super) fn stop(self) {
        let _ = self.orders.send(Order::Stop);
        let _ = self.thread.join();
    }
}

fn inode(path: &std::path::Path) -> Option<u64> {
    std::fs::metadata(path).map(|data| data.ino()).ok()
}

/// Why the thread ends.
enum Over {
    Lost(CoordinateError),
    /// The command has ended.
    Unwanted,
}

struct Keeping {
    held: Held,
    path: PathBuf,
    inode: Option<u64>,
    begun: Arc<Mutex<SystemTime>>,
    /// Opened on first use.
    table: Option<RunTable>,
    ledger: Option<KeptLedger>,
    /// Why the term could not be renewed, if that is in the log.
    told: Option<String>,
    report: UnboundedSender<CoordinateError>,
}

struct KeptLedger {
    lease: Lease,
    open: Option<Ledger>,
}

impl Keeping {
    fn run(mut self, runtime: &tokio::runtime::Runtime, inbox: &Receiver<Order>) {
        loop {
            let step = match inbox.recv_timeout(CHECK) {
                Ok(Order::Ledger(lease)) => {
                    self.ledger = Some(KeptLedger { lease, open: None });
                    continue;
                }
                Ok(Order::Stop) | Err(RecvTimeoutError::Disconnected) => Err(Over::Unwanted),
                Err(RecvTimeoutError::Timeout) => runtime.block_on(self.renew_if_due()),
            };
            match step {
                Ok(()) => {}
                Err(Over::Unwanted) => break,
                Err(Over::Lost(error)) => {
                    let _ = self.report.send(error);
                    break;
                }
            }
        }
        runtime.block_on(self.close());
    }

    /// Renews the term when a third of it has passed.
    async fn renew_if_due(&mut self) -> Result<(), Over> {
        if inode(&self.path) != self.inode {
            return Err(Over::Lost(CoordinateError::TableReplaced { path: self.path.clone() }));
        }
        let last = *self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        if !is_renewal_due(now() - unix(last), self.held.term) {
            return Ok(());
        }
        let begun = SystemTime::now();
        match self.renew_table(begun).await {
            Ok(()) => {
                *self.begun.lock().unwrap_or_else(PoisonError::into_inner) = begun;
                self.told = None;
            }
            Err(error @ (RunTableError::Deposed { .. } | RunTableError::Replaced { .. })) => {
                return Err(Over::Lost(error.into()));
            }
            // The table is locked, the disk is full, or the file system hangs: other processes cannot take the table
            // either. Every write checks the epoch.
            Err(error) => {
                self.table = None;
                // Whoever stores results reports the lock to the user.
                let words = error.to_string();
                if matches!(error, RunTableError::Busy { .. }) || self.told.as_ref() == Some(&words) {
                    tracing::debug!(%error, "the term of this process could not be renewed; trying again");
                } else {
                    tracing::warn!(%error, "the term of this process could not be renewed; trying again");
                    self.told = Some(words);
                }
                return Ok(());
            }
        }
        match self.renew_ledger(begun).await {
            Err(error) if !error.is_temporary() => Err(Over::Lost(error.into())),
            Err(error) => {
                tracing::debug!(%error, "the lease of the ledger could not be renewed; trying again");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    async fn renew_table(&mut self, begun: SystemTime) -> Result<(), RunTableError> {
        let table = match self.table.take() {
            Some(table) => table,
            None => {
                let options = OpenOptions { busy_timeout: PATIENCE, ..OpenOptions::default() };
                RunTable::open_with(self.held.dir.path(), options).await?
            }
        };
        let table = self.table.insert(table);
        table.renew(&self.held.ownership, unix(begun), self.held.term).await
    }

    async fn renew_ledger(&mut self, begun: SystemTime) -> Result<(), LedgerError> {
        let Some(kept) = &mut self.ledger else { return Ok(()) };
        let ledger = match &kept.open {
            Some(ledger) => ledger,
            None => kept.open.insert(ledger_place::open_again(&self.held.dir, &self.held.ledgers).await?),
        };
        let (ledger, lease, term) = (ledger.clone(), kept.lease.clone(), self.held.term);
        self.held.ledgers.run(async move { ledger.renew(&lease, unix(begun), term).await }).await
    }

    async fn close(self) {
        if let Some(table) = self.table {
            let _ = table.close().await;
        }
        if let Some(ledger) = self.ledger.and_then(|kept| kept.open) {
            let _ = ledger.close().await;
        }
    }
}
