//! Which events does an inbox have? For users, who look at some of them, and forget old ones.

use std::collections::BTreeSet;

use amore_model::{Proposal, Run};

use crate::{
    ArrivalRow, ArrivalState, Lease, Ledger, LedgerError,
    arrival::arrival_columns,
    engine::Mode,
    statement::{Rows, Statement},
};

/// Which events somebody wants to see. What is not set does not restrict them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ArrivalFilter {
    /// Events in one of these states; empty: in any.
    pub states: BTreeSet<ArrivalState>,
    /// Events about this proposal.
    pub proposal: Option<Proposal>,
    /// Events about this run.
    pub run: Option<Run>,
    /// Events of this source.
    pub source: Option<String>,
    /// Events with a smaller number.
    pub before: Option<i64>,
}

/// How many events an inbox has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ArrivalCounts {
    /// Those that are being processed, or will be.
    pub open: u64,
    /// Those that were processed and are not forgotten yet.
    pub done: u64,
    /// Those that a user has to look at.
    pub failed: u64,
    /// Those that a user has dropped, and that are not forgotten yet.
    pub dropped: u64,
}

const LIST: &str = concat!(
    "SELECT ",
    arrival_columns!(),
    " FROM arrival WHERE scope = $1 AND id < $2 AND state IN (SELECT wanted FROM given) \
     AND ($3 < 0 OR proposal = $3) AND ($4 < 0 OR run = $4) AND ($5 = '' OR source = $5) ORDER BY id DESC LIMIT $6"
);
const COUNT: &str = "SELECT state, count(*) FROM arrival WHERE scope = $1 GROUP BY state";
// The last data of each run that were processed or dropped stay known: they are not processed again.
const FORGET: &str = "\
DELETE FROM arrival WHERE scope = $1 AND id IN (
    SELECT old.id FROM arrival AS old
    WHERE old.scope = $1 AND old.state IN ('done', 'dropped') AND old.changed < $2
    AND NOT (CAST(old.detail AS TEXT) LIKE '%\"generation\"%' AND NOT EXISTS (
        SELECT 1 FROM arrival AS later WHERE later.scope = old.scope AND later.proposal = old.proposal
        AND later.run = old.run AND later.data = old.data AND later.id > old.id AND later.state IN ('done', 'dropped')
        AND CAST(later.detail AS TEXT) LIKE '%\"generation\"%'))
    LIMIT $3)";
/// How many events are removed in one transaction.
const FORGOTTEN_AT_ONCE: i64 = 1000;

impl Ledger {
    /// The latest events of a scope that pass the filter, the newest first.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub async fn arrivals(
        &self,
        scope: &str,
        filter: &ArrivalFilter,
        limit: u32,
    ) -> Result<Vec<ArrivalRow>, LedgerError> {
        let wanted: Vec<ArrivalState> = match filter.states.is_empty() {
            true => ArrivalState::ALL.to_vec(),
            false => filter.states.iter().copied().collect(),
        };
        let given = Rows::of(&wanted).text("wanted", |state| state.word()).end();
        let statement = Statement::new(LIST)
            .text(scope)
            .int(filter.before.unwrap_or(i64::MAX))
            .int(filter.proposal.map_or(-1, |proposal| i64::from(proposal.0)))
            .int(filter.run.map_or(-1, |run| i64::from(run.0)))
            .text(filter.source.as_deref().unwrap_or_default())
            .int(i64::from(limit));
        self.read_arrivals(statement.given(given)).await
    }

    /// How many events a scope has.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub async fn arrival_counts(&self, scope: &str) -> Result<ArrivalCounts, LedgerError> {
        let mut work = self.engine.begin(Mode::Read, "count events").await?;
        let rows = work.fetch(&Statement::new(COUNT).text(scope)).await?;
        work.commit().await?;
        let mut counts = ArrivalCounts::default();
        for mut row in rows {
            let (state, number) = (row.word("state of an event")?, row.number()?);
            match state {
                ArrivalState::Open => counts.open = number,
                ArrivalState::Done => counts.done = number,
                ArrivalState::Failed => counts.failed = number,
                ArrivalState::Dropped => counts.dropped = number,
            }
        }
        Ok(counts)
    }

    /// Removes events that were done or dropped before `older_than` (seconds since 1970), and returns how many. Of each run,
    /// the last event with which its raw and with which its calibrated data were processed or dropped is kept.
    ///
    /// Uses several short transactions, so that other writers get their turn.
    ///
    /// # Errors
    /// [`LedgerError::Deposed`], or the ledger cannot be written; what was removed before stays removed.
    pub async fn forget_arrivals(&self, lease: &Lease, older_than: f64) -> Result<u64, LedgerError> {
        let mut forgotten = 0;
        loop {
            let mut work = self.write(lease, "forget old events").await?;
            let statement = Statement::new(FORGET).text(&lease.scope).real(older_than);
            let removed = work.execute(&statement.int(FORGOTTEN_AT_ONCE)).await?;
            work.commit().await?;
            forgotten += removed;
            if removed < FORGOTTEN_AT_ONCE as u64 {
                return Ok(forgotten);
            }
        }
    }
}
