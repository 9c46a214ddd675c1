//! What a service tells others about itself: it stores this in its ledger, where every host can read it, also when the service
//! has ended.

use std::path::PathBuf;

use amore_ledger::{Lease, Ledger, LedgerError};
use serde::{Deserialize, Serialize};

use super::served::State;

const KEY: &str = "service";
const VERSION: u32 = 1;

/// What a service tells about itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Published {
    version: u32,
    /// When it became the service, in seconds since 1970.
    pub since: f64,
    /// Its databases.
    pub databases: Vec<PublishedDatabase>,
}

/// A database of a service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PublishedDatabase {
    /// Its directory.
    pub directory: PathBuf,
    /// What the service does with it.
    pub state: State,
    /// Since when, in seconds since 1970.
    pub since: f64,
}

/// Stores what has changed.
#[derive(Debug)]
pub struct Publisher {
    ledger: Ledger,
    lease: Lease,
    since: f64,
    stored: Option<Published>,
}

impl Publisher {
    /// For the service that has this lease, since this time.
    pub fn new(ledger: Ledger, lease: Lease, since: f64) -> Self {
        Publisher { ledger, lease, since, stored: None }
    }

    /// Stores the states of the databases, if they have changed.
    ///
    /// # Errors
    /// The ledger cannot be written. It is to be tried again.
    pub async fn publish(&mut self, databases: Vec<PublishedDatabase>) -> Result<(), LedgerError> {
        let published = Published { version: VERSION, since: self.since, databases };
        if self.stored.as_ref() == Some(&published) {
            return Ok(());
        }
        let value = serde_json::to_value(&published).unwrap_or_default();
        self.ledger.set_fact(&self.lease, KEY, &value).await?;
        self.stored = Some(published);
        Ok(())
    }
}

/// What the service of this scope has told last; `None`: nothing, or another version of Amore has told it.
///
/// # Errors
/// The ledger cannot be read.
pub async fn read(ledger: &Ledger, scope: &str) -> Result<Option<Published>, LedgerError> {
    let value = ledger.fact(scope, KEY).await?;
    Ok(value.and_then(|value| serde_json::from_value(value).ok()))
}
