//! What can be seen of a service from outside: who serves, who waits, its databases and its inbox. All of it is in its ledger,
//! so it can be read on any host, also when no service runs.

use std::path::{Path, PathBuf};

pub use amore_ledger::{ArrivalCounts, ArrivalFilter, ArrivalRow, ArrivalState};
use amore_ledger::{Claim, LeaseState, Ledger};
use amore_model::{DatabaseDir, lease::Holder};

use super::{
    lease,
    published::{self, Published},
    standing_by,
};
use crate::{
    clock::now,
    coordinate::{CoordinateError, ledger_place, owner},
};

/// Whether a service runs.
#[derive(Clone, Debug, PartialEq)]
pub enum Life {
    /// There was none yet.
    Never,
    /// None runs; the last one has ended.
    Stopped,
    /// The last one was killed, or has lost its host or its ledger.
    Lost {
        /// Which process it was.
        holder: Holder,
    },
    /// One runs.
    Serving {
        /// Which process.
        holder: Holder,
    },
}

impl Life {
    fn of(lease: LeaseState, now: f64, is_dead: impl Fn(&Holder) -> bool) -> Self {
        match lease.claim {
            None if lease.epoch == 0 => Life::Never,
            None => Life::Stopped,
            Some(Claim { holder, until }) if until <= now || is_dead(&holder) => Life::Lost { holder },
            Some(Claim { holder, .. }) => Life::Serving { holder },
        }
    }
}

/// A service, as others see it.
#[derive(Clone, Debug, PartialEq)]
pub struct OutsideView {
    /// Where its ledger is, without passwords.
    pub ledger: String,
    /// Whether it runs.
    pub life: Life,
    /// How often a process has become the service.
    pub epoch: u64,
    /// Who waits to take over, as far as known.
    pub stand_bys: Vec<Holder>,
    /// How many events it has.
    pub inbox: ArrivalCounts,
    /// What it has told about itself last.
    pub published: Option<Published>,
}

/// Reads the ledger of a service.
#[derive(Debug)]
pub struct InboxReader {
    ledger: Ledger,
    directory: PathBuf,
    scope: String,
}

impl InboxReader {
    /// For the service of this directory; `None`: there was none yet.
    ///
    /// # Errors
    /// Its ledger cannot be opened.
    pub async fn open(directory: &Path) -> Result<Option<Self>, CoordinateError> {
        let dir = DatabaseDir::at(directory.to_owned());
        let Some(ledger) = ledger_place::open_of_service(&dir).await? else { return Ok(None) };
        let scope = lease::scope(directory);
        Ok(Some(InboxReader { ledger, directory: directory.to_owned(), scope }))
    }

    /// The latest events that pass the filter, the newest first.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub async fn list(&self, filter: &ArrivalFilter, limit: u32) -> Result<Vec<ArrivalRow>, CoordinateError> {
        Ok(self.ledger.arrivals(&self.scope, filter, limit).await?)
    }

    /// One event.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub async fn event(&self, number: i64) -> Result<Option<ArrivalRow>, CoordinateError> {
        Ok(self.ledger.arrival(&self.scope, number).await?)
    }

    /// How many events there are.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub async fn counts(&self) -> Result<ArrivalCounts, CoordinateError> {
        Ok(self.ledger.arrival_counts(&self.scope).await?)
    }

    /// Whether the service runs.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub async fn life(&self) -> Result<Life, CoordinateError> {
        let at = self.ledger.time(now()).await?;
        Ok(Life::of(self.ledger.lease(&self.scope).await?, at, owner::known_dead))
    }

    /// All that can be seen.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub async fn overview(&self) -> Result<OutsideView, CoordinateError> {
        let at = self.ledger.time(now()).await?;
        let lease = self.ledger.lease(&self.scope).await?;
        let waiting = standing_by::all(&self.ledger, &self.directory).await?;
        Ok(OutsideView {
            ledger: self.ledger.place(),
            epoch: lease.epoch,
            life: Life::of(lease, at, owner::known_dead),
            stand_bys: waiting.into_iter().map(|claim| claim.holder).collect(),
            inbox: self.counts().await?,
            published: published::read(&self.ledger, &self.scope).await?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_runs_while_its_term_does_and_its_process_is_there() {
        let holder = Holder {
            host: "a".to_owned(),
            pid: 7,
            token: "t".to_owned(),
            user: "alice".to_owned(),
            address: None,
        };
        let held = |epoch| LeaseState { epoch, claim: Some(Claim { holder: holder.clone(), until: 10.0 }) };
        let free = |epoch| LeaseState { epoch, claim: None };
        let lost = Life::Lost { holder: holder.clone() };
        assert_eq!(Life::of(free(0), 9.0, |_| false), Life::Never);
        assert_eq!(Life::of(free(3), 9.0, |_| false), Life::Stopped);
        assert_eq!(Life::of(held(3), 9.0, |_| false), Life::Serving { holder: holder.clone() });
        assert_eq!(Life::of(held(3), 10.0, |_| false), lost);
        assert_eq!(Life::of(held(3), 9.0, |_| true), lost);
    }
}
