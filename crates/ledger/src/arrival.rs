//! The inbox of a service: events about runs, each stored once.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    str::FromStr,
};

use amore_model::{Proposal, Run};
use serde_json::Value;

use crate::{
    Lease, Ledger, LedgerError, UnknownWord,
    engine::Mode,
    statement::{Row, Rows, Statement, clean},
};

/// What has become of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ArrivalState {
    /// It is being processed, or will be.
    Open,
    /// It was processed, or there was nothing to do.
    Done,
    /// It cannot be understood, or failed again and again. A user has to look at it.
    Failed,
    /// A user has dropped it.
    Dropped,
}

impl ArrivalState {
    /// All states.
    pub const ALL: [ArrivalState; 4] =
        [ArrivalState::Open, ArrivalState::Done, ArrivalState::Failed, ArrivalState::Dropped];

    /// Its name in the ledger.
    pub fn word(self) -> &'static str {
        match self {
            ArrivalState::Open => "open",
            ArrivalState::Done => "done",
            ArrivalState::Failed => "failed",
            ArrivalState::Dropped => "dropped",
        }
    }
}

impl FromStr for ArrivalState {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        ArrivalState::ALL
            .into_iter()
            .find(|state| state.word() == word)
            .ok_or_else(|| UnknownWord { what: "state of an event", word: word.to_owned() })
    }
}

impl fmt::Display for ArrivalState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// An event to be stored.
#[derive(Clone, Debug, PartialEq)]
pub struct NewArrival {
    /// Where it comes from: `kafka`, `http`, `command`, `folders`.
    pub source: String,
    /// Identifies it at its source. The same event is stored once; without an identifier each one is new.
    pub source_id: Option<String>,
    /// Its proposal, if it was understood.
    pub proposal: Option<Proposal>,
    /// Its run.
    pub run: Option<Run>,
    /// `raw` or `proc`.
    pub data: Option<String>,
    /// Its sender says that no more files follow.
    pub complete: bool,
    /// The data are processed whether they have changed or not.
    pub forced: bool,
    /// When it was received, in seconds since 1970.
    pub received: f64,
    /// The event as it was received.
    pub payload: String,
    /// [`ArrivalState::Open`], or [`ArrivalState::Failed`] if it cannot be understood.
    pub state: ArrivalState,
    /// What is known of it.
    pub detail: Value,
}

/// An event that is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Its number: later events have greater ones.
    pub id: i64,
    /// It was stored before.
    pub known: bool,
}

/// An event as the ledger has it.
#[derive(Clone, Debug, PartialEq)]
pub struct ArrivalRow {
    /// Its number.
    pub id: i64,
    /// The event.
    pub arrival: NewArrival,
    /// When it was changed last, in seconds since 1970.
    pub changed: f64,
}

/// A change of an event.
#[derive(Clone, Debug, PartialEq)]
pub struct ArrivalChange {
    /// Its number.
    pub id: i64,
    /// Its state from now on.
    pub state: ArrivalState,
    /// What is known of it.
    pub detail: Value,
    /// When, in seconds since 1970.
    pub at: f64,
}

macro_rules! arrival_columns {
    () => {
        "id, source, source_id, proposal, run, data, complete, forced, received, payload, state, \
         CAST(detail AS TEXT), changed"
    };
}
pub(crate) use arrival_columns;
// In the given order, so that later events have greater numbers.
const ADD: &str = "\
INSERT INTO arrival (scope, source, source_id, proposal, run, data, complete, forced, received, payload, state, detail,
    changed)
SELECT $1, source, source_id, proposal, run, data, complete, forced, received, payload, state, detail, received
FROM given WHERE true ORDER BY place ON CONFLICT (scope, source, source_id) DO NOTHING RETURNING id, source, source_id";
const KNOWN: &str = "\
SELECT arrival.id, arrival.source, arrival.source_id FROM given
JOIN arrival ON arrival.scope = $1 AND arrival.source = given.source AND arrival.source_id = given.source_id";
const CHANGE: &str = "\
UPDATE arrival SET state = given.state, detail = given.detail, changed = given.changed FROM given
WHERE arrival.id = given.id AND arrival.scope = $1 AND arrival.state IN ('open', 'failed')";
const OPEN: &str =
    concat!("SELECT ", arrival_columns!(), " FROM arrival WHERE scope = $1 AND state = 'open' ORDER BY id");
const ONE: &str = concat!("SELECT ", arrival_columns!(), " FROM arrival WHERE scope = $1 AND id = $2");
// One that was processed, dropped or has failed has a generation, if the data were looked at, or one that found the data to be
// processed. Others have none.
const LAST_KNOWN: &str = concat!(
    "SELECT ",
    arrival_columns!(),
    " FROM arrival WHERE scope = $1 AND proposal = $2 AND run = $3 AND data = $4 AND state <> 'open' \
     AND CAST(detail AS TEXT) LIKE '%\"generation\"%' ORDER BY id DESC LIMIT 1"
);

impl Ledger {
    /// Stores events, all or none. When this returns, they are on disk. One that its source has sent before is not stored
    /// again.
    ///
    /// # Errors
    /// [`LedgerError::Deposed`], or the ledger cannot be written.
    pub async fn accept(&self, lease: &Lease, arrivals: &[NewArrival]) -> Result<Vec<Accepted>, LedgerError> {
        let placed: Vec<(i64, &NewArrival)> = (0..).zip(arrivals).collect();
        let given = Rows::of(&placed)
            .int("place", |(place, _)| *place)
            .text("source", |(_, arrival)| arrival.source.as_str())
            .text("source_id", |(_, arrival)| arrival.source_id.as_deref())
            .int("proposal", |(_, arrival)| arrival.proposal.map(|proposal| i64::from(proposal.0)))
            .int("run", |(_, arrival)| arrival.run.map(|run| i64::from(run.0)))
            .text("data", |(_, arrival)| arrival.data.as_deref())
            .int("complete", |(_, arrival)| i64::from(arrival.complete))
            .int("forced", |(_, arrival)| i64::from(arrival.forced))
            .real("received", |(_, arrival)| arrival.received)
            .text("payload", |(_, arrival)| arrival.payload.as_str())
            .text("state", |(_, arrival)| arrival.state.word())
            .json("detail", |(_, arrival)| &arrival.detail)
            .end();
        let mut work = self.write(lease, "store events").await?;
        let added = work.fetch(&Statement::new(ADD).text(&lease.scope).given(given)).await?;
        let mut numbers = Numbers::default();
        for row in added {
            numbers.add(row, false)?;
        }
        let known: Vec<&NewArrival> =
            arrivals.iter().filter(|arrival| arrival.source_id.is_some() && !numbers.have(arrival)).collect();
        if !known.is_empty() {
            let given = Rows::of(&known)
                .text("source", |arrival| arrival.source.as_str())
                .text("source_id", |arrival| arrival.source_id.as_deref())
                .end();
            for row in work.fetch(&Statement::new(KNOWN).text(&lease.scope).given(given)).await? {
                numbers.add(row, true)?;
            }
        }
        let accepted = arrivals.iter().map(|arrival| numbers.take(arrival)).collect::<Result<_, _>>()?;
        work.commit().await?;
        Ok(accepted)
    }

    /// Changes events, all or none.
    ///
    /// # Errors
    /// [`LedgerError::Deposed`]; [`LedgerError::Misuse`] if one has ended before or does not exist; or the ledger cannot be
    /// written.
    pub async fn change_arrivals(&self, lease: &Lease, changes: &[ArrivalChange]) -> Result<(), LedgerError> {
        let mut work = self.write(lease, "change events").await?;
        for change in changes {
            let given = Rows::of(std::slice::from_ref(change))
                .int("id", |change| change.id)
                .text("state", |change| change.state.word())
                .json("detail", |change| &change.detail)
                .real("changed", |change| change.at)
                .end();
            if work.execute(&Statement::new(CHANGE).text(&lease.scope).given(given)).await? == 0 {
                work.rollback().await?;
                let what = format!("the event {} does not exist, or has ended", change.id);
                return Err(LedgerError::Misuse { what });
            }
        }
        work.commit().await
    }

    /// The open events of a scope, the oldest first.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub async fn open_arrivals(&self, scope: &str) -> Result<Vec<ArrivalRow>, LedgerError> {
        self.read_arrivals(Statement::new(OPEN).text(scope)).await
    }

    /// One event.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub async fn arrival(&self, scope: &str, id: i64) -> Result<Option<ArrivalRow>, LedgerError> {
        Ok(self.read_arrivals(Statement::new(ONE).text(scope).int(id)).await?.pop())
    }

    /// The last event that has ended and says what became of data of this kind of a run: they were processed, dropped, or have
    /// failed.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub async fn last_known(
        &self,
        scope: &str,
        proposal: Proposal,
        run: Run,
        data: &str,
    ) -> Result<Option<ArrivalRow>, LedgerError> {
        let statement = Statement::new(LAST_KNOWN).text(scope).int(i64::from(proposal.0));
        Ok(self.read_arrivals(statement.int(i64::from(run.0)).text(data)).await?.pop())
    }

    pub(crate) async fn read_arrivals(&self, statement: Statement) -> Result<Vec<ArrivalRow>, LedgerError> {
        let mut work = self.engine.begin(Mode::Read, "read the inbox").await?;
        let rows = work.fetch(&statement).await?;
        work.commit().await?;
        rows.into_iter().map(read).collect()
    }
}

/// The numbers of the events of a batch.
#[derive(Default)]
struct Numbers {
    /// Of those that their source identifies.
    by_source: HashMap<(String, String), Accepted>,
    /// Of the others: they are numbered in the order of the batch.
    others: BTreeSet<i64>,
}

impl Numbers {
    fn add(&mut self, mut row: Row, known: bool) -> Result<(), LedgerError> {
        let (id, source, source_id) = (row.int()?, row.text()?, row.maybe_text()?);
        match source_id {
            Some(source_id) => drop(self.by_source.insert((source, source_id), Accepted { id, known })),
            None => drop(self.others.insert(id)),
        }
        Ok(())
    }

    fn key(arrival: &NewArrival) -> Option<(String, String)> {
        // As they are stored.
        Some((clean(&arrival.source), clean(arrival.source_id.as_deref()?)))
    }

    fn have(&self, arrival: &NewArrival) -> bool {
        Self::key(arrival).is_some_and(|key| self.by_source.contains_key(&key))
    }

    /// The number of the next event of the batch. If it comes again in the batch, it is known then.
    fn take(&mut self, arrival: &NewArrival) -> Result<Accepted, LedgerError> {
        let found = match Self::key(arrival) {
            Some(key) => self.by_source.get_mut(&key).map(|accepted| {
                let first = *accepted;
                accepted.known = true;
                first
            }),
            None => self.others.pop_first().map(|id| Accepted { id, known: false }),
        };
        found.ok_or_else(|| LedgerError::BadRow { wanted: "number of an event", found: "nothing".into() })
    }
}

pub(crate) fn read(mut row: Row) -> Result<ArrivalRow, LedgerError> {
    let id = row.int()?;
    let arrival = NewArrival {
        source: row.text()?,
        source_id: row.maybe_text()?,
        proposal: row.maybe_number()?.map(Proposal),
        run: row.maybe_number()?.map(Run),
        data: row.maybe_text()?,
        complete: row.int()? != 0,
        forced: row.int()? != 0,
        received: row.real()?,
        payload: row.text()?,
        state: row.word("state of an event")?,
        detail: row.json()?,
    };
    Ok(ArrivalRow { id, arrival, changed: row.real()? })
}
