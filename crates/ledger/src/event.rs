//! The history of a run.

use amore_model::{Proposal, Run};
use serde_json::Value;

use crate::{
    Changes, Lease, Ledger, LedgerError,
    engine::{Mode, Work},
    statement::{Rows, Statement},
};

/// An event in the history of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct NewEvent {
    /// The proposal.
    pub proposal: Proposal,
    /// The run.
    pub run: Run,
    /// The task, if the event concerns one.
    pub task: Option<String>,
    /// When, in seconds since 1970.
    pub at: f64,
    /// The kind of event, for programs: "submitted".
    pub kind: String,
    /// A message for people.
    pub message: String,
    /// Further details.
    pub detail: Value,
}

/// An event as the ledger has it.
#[derive(Clone, Debug, PartialEq)]
pub struct EventRow {
    /// Increases with time.
    pub id: i64,
    /// What happened.
    pub event: NewEvent,
}

const ADD: &str = "INSERT INTO event (scope, proposal, run, task, at, kind, message, detail) \
                   SELECT $1, proposal, run, task, at, kind, message, detail FROM given WHERE true";
const OF_RUN: &str = "SELECT id, proposal, run, task, at, kind, message, CAST(detail AS TEXT) FROM event \
                      WHERE scope = $1 AND proposal = $2 AND run = $3 ORDER BY id";

impl Ledger {
    /// Adds events to the history.
    ///
    /// # Errors
    /// [`LedgerError::Deposed`], or the ledger cannot be written.
    pub async fn add_events(&self, lease: &Lease, events: &[NewEvent]) -> Result<(), LedgerError> {
        self.apply(lease, 0.0, &Changes { events: events.to_vec(), ..Changes::default() }).await
    }

    /// The complete history of a run, in order.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub async fn events_of_run(
        &self,
        scope: &str,
        proposal: Proposal,
        run: Run,
    ) -> Result<Vec<EventRow>, LedgerError> {
        let mut work = self.engine.begin(Mode::Read, "read the history of a run").await?;
        let statement = Statement::new(OF_RUN).text(scope).int(proposal.0.into()).int(run.0.into());
        let rows = work.fetch(&statement).await?;
        work.commit().await?;
        rows.into_iter()
            .map(|mut row| {
                Ok(EventRow {
                    id: row.int()?,
                    event: NewEvent {
                        proposal: row.proposal()?,
                        run: row.run()?,
                        task: row.maybe_text()?,
                        at: row.real()?,
                        kind: row.text()?,
                        message: row.text()?,
                        detail: row.json()?,
                    },
                })
            })
            .collect()
    }
}

pub(crate) async fn add(work: &mut dyn Work, scope: &str, events: &[&NewEvent]) -> Result<(), LedgerError> {
    if events.is_empty() {
        return Ok(());
    }
    let given = Rows::of(events)
        .int("proposal", |event| i64::from(event.proposal.0))
        .int("run", |event| i64::from(event.run.0))
        .text("task", |event| event.task.as_deref())
        .real("at", |event| event.at)
        .text("kind", |event| event.kind.as_str())
        .text("message", |event| event.message.as_str())
        .json("detail", |event| &event.detail)
        .end();
    work.execute(&Statement::new(ADD).text(scope).given(given)).await.map(drop)
}
