//! The store of the inbox: the arrivals, and who may write to it.

use std::collections::BTreeMap;

use amore_intake::{Arrival, ArrivalNo, Facts, Last, OpenArrival, Settled, Subject};
use amore_model::lease::LeaseState;

use super::sources::Message;

/// An arrival as it is stored.
#[derive(Clone, Debug)]
pub(super) struct Row {
    /// `None`: it is not understood.
    pub(super) subject: Option<Subject>,
    /// Identifies it at its source.
    pub(super) source: String,
    pub(super) complete: bool,
    pub(super) forced: bool,
    pub(super) state: Settled,
    pub(super) facts: Facts,
    /// When that was stored, in seconds since 1970.
    changed: f64,
}

/// The arrivals.
#[derive(Debug, Default)]
pub(super) struct Store {
    pub(super) lease: LeaseState,
    rows: BTreeMap<i64, Row>,
}

impl Store {
    /// Stores an event. One that its source has sent before is not stored again: `None`.
    pub(super) fn accept(&mut self, message: &Message, received: f64) -> Option<Arrival> {
        if self.rows.values().any(|row| row.source == message.id) {
            return None;
        }
        let number = self.rows.len() as i64 + 1;
        let row = Row {
            subject: message.subject,
            source: message.id.clone(),
            complete: message.complete,
            forced: message.forced,
            state: if message.subject.is_some() { Settled::Open } else { Settled::Failed },
            changed: received,
            facts: Facts { only: message.only.clone(), ..Facts::default() },
        };
        self.rows.insert(number, row.clone());
        arrival(number, &row, received)
    }

    /// Stores what has become of an arrival. An arrival that has ended does not change any more: `false`.
    pub(super) fn change(&mut self, number: ArrivalNo, state: Settled, facts: &Facts, now: f64) -> bool {
        let row =
            self.rows.get_mut(&number.0).filter(|row| matches!(row.state, Settled::Open | Settled::Failed));
        let Some(row) = row else { return false };
        row.state = state;
        row.facts = facts.clone();
        row.changed = now;
        true
    }

    /// The open arrivals.
    pub(super) fn open(&self, now: f64) -> Vec<OpenArrival> {
        let open = self.rows.iter().filter(|(_, row)| row.state == Settled::Open);
        open.filter_map(|(number, row)| {
            Some(OpenArrival { arrival: arrival(*number, row, now)?, facts: row.facts.clone() })
        })
        .collect()
    }

    /// The data that are known last: the ledger takes the arrival with the greatest number.
    pub(super) fn last_known(&self, subject: Subject) -> Option<Last> {
        let mut about_it = self.rows.iter().rev().filter(|(_, row)| row.subject == Some(subject));
        about_it
            .find_map(|(number, row)| Last::of(ArrivalNo(*number), row.changed, row.state, row.facts.clone()))
    }

    /// All arrivals.
    pub(super) fn rows(&self) -> impl Iterator<Item = (i64, &Row)> {
        self.rows.iter().map(|(number, row)| (*number, row))
    }
}

fn arrival(number: i64, row: &Row, received: f64) -> Option<Arrival> {
    let (is_complete, is_forced, only) = (row.complete, row.forced, row.facts.only.clone());
    Some(Arrival { number: ArrivalNo(number), subject: row.subject?, is_complete, is_forced, only, received })
}
