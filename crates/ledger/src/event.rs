//! What happened to a run, told in order.

use amore_model::{Proposal, Run};
use serde_json::Value;

use crate::{
    Changes, Lease, Ledger, LedgerError,
    engine::{Mode, Work},
    statement::{Rows, Statement},
};

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub struct NewEvent {
    /// The proposal.
    pub proposal: Proposal,
    /// The run.
    pub run: Run,
    /// The task, if it happened to one.
    pub task: Option<String>,
    /// When, in seconds since 1970.
    pub at: f64,
    /// One word for programs: "submitted".
    pub kind: String,
    /// A sentence for people.
    pub message: String,
    /// Whatever else is worth keeping.
    pub detail: Value,
}

/// A line of a run's story.
#[derive(Clone, Debug, PartialEq)]
pub struct EventRow {
    /// Rises with time.
    pub id: i64,
    /// What happened.
    pub event: NewEvent,
}

const ADD: &str = "INSERT INTO event (scope, proposal, run, task, at, kind, message, detail) \
                   SELECT $1, proposal, run, task, at, kind, message, detail FROM given WHERE true";
const OF_RUN: &str = "SELECT id, proposal, run, task, at, kind, message, CAST(detail AS TEXT) FROM event \
                      WHERE scope = $1 AND proposal = $2 AND run = $3 ORDER BY id";

impl Ledger {
    /// Adds lines to the story.
    ///
    /// # Errors
    /// [`LedgerError::Deposed`], or the ledger cannot be written.
    pub async fn add_events(&self, lease: &Lease, events: &[NewEvent]) -> Result<(), LedgerError> {
        self.apply(lease, 0.0, &Changes { events: events.to_vec(), ..Changes::default() }).await
    }

    /// The story of a run from its beginning.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub async fn events_of_run(
        &self,
        scope: &str,
        proposal: Proposal,
        run: Run,
    ) -> Result<Vec<EventRow>, LedgerError> {
        let mut work = self.engine.begin(Mode::Read, "read the story of a run").await?;
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
