//! How a stand-by shows that it waits: it holds a lease of its own beside that of the service. There are a few places for
//! stand-bys in the ledger; one that dies leaves its place when its term ends.

use std::{path::Path, time::Duration};

use amore_ledger::{Acquired, Claim, Lease, Ledger, LedgerError};
use tokio::time::Instant;

use super::lease;
use crate::{
    clock::now,
    coordinate::owner::{known_dead, this_process},
};

/// How long a place is kept without a renewal.
const TERM: Duration = Duration::from_secs(6);
/// Places for stand-bys of one service.
const PLACES: usize = 8;

fn scope(directory: &Path, place: usize) -> String {
    format!("stand-by {place} of {}", lease::scope(directory))
}

/// This process, as one that waits.
#[derive(Debug, Default)]
pub struct StandingBy {
    place: Option<Lease>,
    shown: Option<Instant>,
}

impl StandingBy {
    /// Shows that this process waits, if it is time to do so. It waits as well if that cannot be shown.
    pub async fn show(&mut self, ledger: &Ledger, directory: &Path) {
        if self.shown.is_some_and(|shown| shown.elapsed() < TERM / 3) {
            return;
        }
        self.shown = Some(Instant::now());
        if let Some(place) = &self.place {
            match renew(ledger, place).await {
                Ok(()) => return,
                Err(error) => tracing::debug!(%error, "the place of a stand-by is not renewed"),
            }
            self.place = None;
        }
        match take(ledger, directory).await {
            Ok(place) => self.place = place,
            Err(error) => tracing::debug!(%error, "a stand-by is not shown"),
        }
    }

    /// This process no longer waits.
    pub async fn end(self, ledger: &Ledger) {
        if let Some(place) = self.place
            && let Err(error) = ledger.release(place).await
        {
            tracing::debug!(%error, "the place of a stand-by is not released");
        }
    }
}

async fn renew(ledger: &Ledger, place: &Lease) -> Result<(), LedgerError> {
    let at = ledger.time(now()).await?;
    ledger.renew(place, at, TERM).await
}

async fn take(ledger: &Ledger, directory: &Path) -> Result<Option<Lease>, LedgerError> {
    let at = ledger.time(now()).await?;
    for place in 1..=PLACES {
        let scope = scope(directory, place);
        let mut taken = ledger.acquire(&scope, &this_process(), at, TERM, None).await?;
        if let Acquired::HeldBy(claim) = &taken
            && known_dead(&claim.holder)
        {
            let dead = claim.holder.clone();
            taken = ledger.acquire(&scope, &this_process(), at, TERM, Some(&dead)).await?;
        }
        if let Acquired::Mine(lease) = taken {
            return Ok(Some(lease));
        }
    }
    Ok(None)
}

/// Who waits now.
///
/// # Errors
/// The ledger cannot be read.
pub async fn all(ledger: &Ledger, directory: &Path) -> Result<Vec<Claim>, LedgerError> {
    let at = ledger.time(now()).await?;
    let mut waiting = Vec::new();
    for place in 1..=PLACES {
        let claim = ledger.lease(&scope(directory, place)).await?.claim;
        waiting.extend(claim.filter(|claim| claim.until > at && !known_dead(&claim.holder)));
    }
    Ok(waiting)
}
