//! Old events are forgotten, so that the ledger does not grow for ever. What is open or has failed never is.

use std::time::Duration;

use amore_ledger::{Lease, Ledger};
use tokio::{sync::watch, time::sleep};

use crate::clock::now;

/// How often to look for old events.
const POLL: Duration = Duration::from_secs(3600);
const SECONDS_PER_DAY: f64 = 86_400.0;

/// Forgets events that ended so many days ago, at the start, when that number changes, and every hour.
pub async fn forget(ledger: Ledger, lease: Lease, mut days: watch::Receiver<f64>) {
    loop {
        let older_than = now() - *days.borrow_and_update() * SECONDS_PER_DAY;
        match ledger.forget_arrivals(&lease, older_than).await {
            Ok(0) => {}
            Ok(events) => tracing::info!(events, "old events are forgotten"),
            Err(error) => tracing::debug!(%error, "old events are not forgotten now"),
        }
        tokio::select! {
            changed = days.changed() => if changed.is_err() { return },
            () = sleep(POLL) => {}
        }
    }
}
