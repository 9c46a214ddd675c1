//! The API's own connection to the ledger of the service, opened when it is first needed: the API has a runtime of its own, and
//! a ledger that does not answer holds up nobody else.

use std::{
    future::Future,
    path::{Path, PathBuf},
    time::Duration,
};

use amore_ledger::{Ledger, LedgerError};
use tokio::{sync::Mutex, time::timeout};

use super::tokens::TokenError;
use crate::coordinate::{ledger_place, ledgers::Ledgers};

/// How long the ledger may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The connection.
#[derive(Debug)]
pub struct LedgerLink {
    directory: PathBuf,
    ledger: Mutex<Option<Ledger>>,
}

impl LedgerLink {
    /// That of the service in this directory.
    pub fn of(directory: &Path) -> Self {
        LedgerLink { directory: directory.to_owned(), ledger: Mutex::default() }
    }

    /// Does something with the ledger.
    ///
    /// # Errors
    /// The ledger cannot be used, or does not answer.
    pub async fn with<T, F>(&self, work: impl FnOnce(Ledger) -> F) -> Result<T, TokenError>
    where
        F: Future<Output = Result<T, LedgerError>>,
    {
        timeout(PATIENCE, self.work(work)).await.map_err(|_| TokenError::NoAnswer)?
    }

    async fn work<T, F>(&self, work: impl FnOnce(Ledger) -> F) -> Result<T, TokenError>
    where
        F: Future<Output = Result<T, LedgerError>>,
    {
        let mut slot = self.ledger.lock().await;
        let ledger = match &*slot {
            Some(ledger) => ledger.clone(),
            None => {
                ledger_place::prepare_for_service(&self.directory).await?;
                slot.insert(ledger_place::open_for_service(&self.directory, &Ledgers::default()).await?)
                    .clone()
            }
        };
        drop(slot);
        let done = work(ledger).await;
        if let Err(LedgerError::Replaced { .. }) = done {
            // The file was deleted: there is a new one, or there will be.
            self.ledger.lock().await.take();
        }
        Ok(done?)
    }
}
