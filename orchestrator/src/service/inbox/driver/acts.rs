//! Carries out what users want to be done with events.

use amore_intake::{ArrivalNo, Input};
use amore_ledger::{ArrivalChange, ArrivalRow, ArrivalState, LedgerError};

use super::Driver;
use crate::{
    clock::now,
    service::{
        inbox::rows::{facts, opened, subject_of},
        user_acts::{Act, Answer, UserAct, refusal},
    },
};

/// How many events are read at once, of those that have failed.
const AT_ONCE: u32 = 1000;

impl Driver {
    /// Does it, and stores that. Everything that has happened before must be stored: the store says what events are.
    pub(super) async fn act(&mut self, asked: &UserAct, by: &str) -> Result<Vec<Answer>, String> {
        let rows = self.chosen(asked).await.map_err(|error| error.to_string())?;
        let answers = rows.into_iter().map(|(number, row)| {
            let refused = match row {
                None => Some("there is no such event (any more)".to_owned()),
                Some(row) => refusal(asked.act, &row).or_else(|| {
                    tracing::info!(event = number, act = ?asked.act, by, "a user's wish about an event");
                    self.carry_out(asked.act, row, by);
                    None
                }),
            };
            Answer { number, refused }
        });
        let answers: Vec<Answer> = answers.collect();
        self.store_changes().await;
        match self.unwritten.is_empty() {
            true => Ok(answers),
            false => Err("it is done, but cannot be stored now; the service tries again".to_owned()),
        }
    }

    async fn chosen(&self, asked: &UserAct) -> Result<Vec<(i64, Option<ArrivalRow>)>, LedgerError> {
        let (ledger, scope) = (&self.store.ledger, &self.store.lease.scope);
        let mut rows = Vec::new();
        if let Some(mut filter) = asked.chosen.filter() {
            loop {
                let found = ledger.arrivals(scope, &filter, AT_ONCE).await?;
                let Some(last) = found.last() else { return Ok(rows) };
                filter.before = Some(last.id);
                // Those that are not understood are never meant to be tried again.
                let meant = found.into_iter().filter(|row| refusal(asked.act, row).is_none());
                rows.extend(meant.map(|row| (row.id, Some(row))));
            }
        }
        for number in asked.chosen.numbers() {
            rows.push((*number, ledger.arrival(scope, *number).await?));
        }
        Ok(rows)
    }

    fn carry_out(&mut self, act: Act, row: ArrivalRow, by: &str) {
        let number = row.id;
        let state = row.arrival.state;
        match (act, state) {
            (Act::Retry, _) => {
                if let Some(again) = opened(row) {
                    self.feed(Input::Retried(again));
                }
            }
            (Act::Drop, ArrivalState::Failed) => {
                let subject = subject_of(&row.arrival);
                let mut facts = facts(row.arrival.detail);
                facts.why = Some(match facts.why {
                    Some(why) => format!("dropped by {by}; before: {why}"),
                    None => format!("dropped by {by}"),
                });
                if let Some(subject) = subject {
                    self.unsettled.insert(ArrivalNo(number), subject);
                    self.publish_settled(ArrivalNo(number), ArrivalState::Dropped, &facts);
                }
                self.unwritten.push_back(ArrivalChange {
                    id: number,
                    state: ArrivalState::Dropped,
                    detail: serde_json::to_value(&facts).unwrap_or_default(),
                    at: now(),
                });
            }
            (Act::Drop, _) => self.feed(Input::Dropped(ArrivalNo(number), format!("dropped by {by}"))),
        }
    }
}
