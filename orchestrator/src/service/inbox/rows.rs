//! Events as rows of the ledger.

use amore_intake::{Arrival, ArrivalNo, ArrivedData, Facts, Last, OpenArrival, Settled, Subject};
use amore_ledger::{ArrivalRow, ArrivalState, LedgerError, NewArrival};

use super::{Report, Store};
use crate::clock::now;

impl Store {
    /// What became of these data last.
    pub(super) async fn last_known(
        &self,
        Subject { proposal, run, data }: Subject,
    ) -> Result<Option<Last>, LedgerError> {
        let row = self.ledger.last_known(&self.lease.scope, proposal, run, data.word()).await?;
        Ok(row.and_then(|row| {
            let state = match row.arrival.state {
                ArrivalState::Open => Settled::Open,
                ArrivalState::Done => Settled::Done,
                ArrivalState::Failed => Settled::Failed,
                ArrivalState::Dropped => Settled::Dropped,
            };
            Last::of(ArrivalNo(row.id), row.changed, state, facts(row.arrival.detail))
        }))
    }
}

/// An event as it is stored first.
pub(super) fn row(report: Report, at: f64) -> NewArrival {
    let Subject { proposal, run, data } = report.subject;
    NewArrival {
        source: report.source.to_owned(),
        source_id: report.source_id,
        proposal: Some(proposal),
        run: Some(run),
        data: Some(data.word().to_owned()),
        received: at,
        payload: report.payload,
        complete: report.is_complete,
        forced: report.is_forced,
        state: ArrivalState::Open,
        detail: serde_json::json!({}),
    }
}

/// An event that was not understood.
pub(super) fn failed_row(
    source: &str,
    source_id: Option<String>,
    payload: String,
    why: String,
) -> NewArrival {
    NewArrival {
        source: source.to_owned(),
        source_id,
        proposal: None,
        run: None,
        data: None,
        complete: false,
        forced: false,
        received: now(),
        payload,
        state: ArrivalState::Failed,
        detail: serde_json::json!({ "why": why }),
    }
}

/// What an event is about, if it was understood.
pub(in crate::service) fn subject_of(arrival: &NewArrival) -> Option<Subject> {
    let data = ArrivedData::of_word(arrival.data.as_deref()?)?;
    Some(Subject { proposal: arrival.proposal?, run: arrival.run?, data })
}

pub(super) fn facts(detail: serde_json::Value) -> Facts {
    serde_json::from_value(detail).unwrap_or_default()
}

/// An event that is open.
pub(super) fn opened(row: ArrivalRow) -> Option<OpenArrival> {
    let ArrivalRow { id, arrival: stored, .. } = row;
    let facts = facts(stored.detail.clone());
    let arrival = Arrival {
        number: ArrivalNo(id),
        subject: subject_of(&stored)?,
        is_complete: stored.complete,
        is_forced: stored.forced,
        only: facts.only.clone(),
        received: stored.received,
    };
    Some(OpenArrival { arrival, facts })
}
