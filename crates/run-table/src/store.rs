//! Storing results in the table: one transaction for any number of runs.

use std::collections::{HashMap, HashSet};

use amore_model::{COLUMNS_OF_RUNS, COMMENT, Proposal, Run};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::{
    Arguments, AssertSqlSafe, Row,
    sqlite::{SqliteArguments, SqliteConnection},
};

use crate::{
    Cell, Ownership, RunTable, RunTableError, SqlValue, ViewTruncated, patience::Patience, sql,
    value::bind_value, views,
};

/// Rows per INSERT: 11 parameters each, far below SQLite's limit of 32766.
const ROWS_AT_ONCE: usize = 100;

/// Update of one run.
#[derive(Clone, Debug, PartialEq)]
pub struct RunUpdate {
    /// The proposal.
    pub proposal: Proposal,
    /// The run; its row is created if necessary.
    pub run: Run,
    /// Start time of the run (seconds since 1970), if known; otherwise an earlier value is kept.
    pub start_time: Option<f64>,
    /// Whether this is the start time of a mock run, which does not replace an existing one.
    pub mock_start: bool,
    /// If a name occurs twice, the last one counts.
    pub values: Vec<CellUpdate>,
}

/// Update of one variable of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct CellUpdate {
    /// The variable.
    pub name: String,
    /// Its new content.
    pub kind: CellKind,
}

/// New content of a cell.
#[derive(Clone, Debug, PartialEq)]
pub enum CellKind {
    /// A value.
    Value(CellValue),
    /// An error, shown in place of the value.
    Error {
        /// Exception class.
        class: String,
        /// Message.
        message: String,
        /// Its origin: the context file.
        provenance: String,
        /// When (seconds since 1970).
        timestamp: f64,
    },
    /// Nothing: the row is removed.
    Remove,
}

/// A value with its metadata.
#[derive(Clone, Debug, PartialEq)]
pub struct CellValue {
    /// The summary.
    pub value: SqlValue,
    /// Largest difference within the data.
    pub max_diff: Option<f64>,
    /// `trendline`, `numpy`, `complex`, `timestamp`, or none.
    pub summary_type: Option<String>,
    /// Name of the function that reduced the data; stored as empty text if there is none.
    pub summary_method: Option<String>,
    /// JSON object with units, bold, background; none rather than an empty one.
    pub attributes: Option<String>,
    /// Its origin: the context file.
    pub provenance: String,
    /// When (seconds since 1970).
    pub timestamp: f64,
}

/// Result of [`RunTable::store`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stored {
    /// Results that were not stored; all others were.
    pub refused: Vec<Refused>,
    /// Set if the views were recreated and cannot show all variables.
    pub truncated: Option<ViewTruncated>,
}

/// A refused result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "because", rename_all = "snake_case")]
pub enum Refused {
    /// Users edit a variable of this name.
    UserEditable {
        /// The name.
        name: String,
    },
    /// The name is empty or contains a NUL character.
    BadName {
        /// The name.
        name: String,
    },
    /// Each run has a column of this name: DAMNIT could not read the table any more.
    ColumnOfRuns {
        /// The name.
        name: String,
    },
}

impl Refused {
    /// The name of the result.
    pub fn name(&self) -> &str {
        let (Refused::UserEditable { name } | Refused::BadName { name } | Refused::ColumnOfRuns { name }) =
            self;
        name
    }
}

impl CellValue {
    /// The value as a reader of the table sees it.
    pub fn as_cell(&self) -> Cell {
        Cell::of(&self.value, self.summary_type.as_deref())
    }
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Refused::UserEditable { name } => {
                write!(f, "{name} is edited by users; rename the variable in the context file")
            }
            Refused::BadName { name } => write!(f, "{name:?} is not a valid variable name"),
            Refused::ColumnOfRuns { name } => {
                write!(
                    f,
                    "{name} is a column of every run: a value of that name is only in the run's file; choose another name"
                )
            }
        }
    }
}

/// A new row of `run_variables`.
struct NewRow<'a> {
    run: &'a RunUpdate,
    cell: &'a CellUpdate,
}

impl RunTable {
    /// Stores results of any number of runs: all of them, or none if there is an error.
    ///
    /// Comments and user-editable variables are never touched: results under their names, and under those of the other columns
    /// of a run, are refused and listed.
    ///
    /// # Errors
    /// [`RunTableError::Deposed`] if the writer is no longer the owner; the table cannot be written.
    pub async fn store(
        &self,
        mine: &Ownership,
        batch: &[RunUpdate],
        now: f64,
    ) -> Result<Stored, RunTableError> {
        let mut patience = Patience::new();
        loop {
            patience.try_now(self).await?;
            let done = self.store_once(mine, batch, now).await;
            if let Some(done) = patience.after(self, done).await? {
                return Ok(done);
            }
        }
    }

    async fn store_once(
        &self,
        mine: &Ownership,
        batch: &[RunUpdate],
        now: f64,
    ) -> Result<Stored, RunTableError> {
        const DOING: &str = "store results";
        let mut connection = self.connection.lock().await;
        let mut transaction = self.begin(&mut connection, DOING).await?;
        self.check(&mut transaction, mine).await?;
        let known = self.known_views.lock().unwrap_or_else(|e| e.into_inner()).take();
        let done = async {
            let by_hand = user_variables(&mut transaction).await?;
            let (rows, removed, refused) = sort_out(batch, &by_hand);
            for update in batch {
                upsert_run(&mut transaction, update, now).await?;
            }
            for rows in rows.chunks(ROWS_AT_ONCE) {
                insert(&mut transaction, rows).await?;
            }
            for (update, names) in removed {
                remove(&mut transaction, update, &names).await?;
            }
            let names = rows.iter().map(|row| row.cell.name.as_str());
            let ensured = views::ensure(&mut transaction, known, names).await?;
            transaction.commit().await?;
            Ok((Stored { refused, truncated: ensured.truncated }, ensured.known))
        };
        let (stored, known) = done.await.map_err(|e| self.explain(DOING, e))?;
        *self.known_views.lock().unwrap_or_else(|e| e.into_inner()) = Some(known);
        Ok(stored)
    }
}

/// Names that users edit, including the comment.
pub(crate) async fn user_variables(
    connection: &mut SqliteConnection,
) -> Result<HashSet<String>, sqlx::Error> {
    let rows = sqlx::query(sql::USER_VARIABLES).fetch_all(connection).await?;
    let mut names: HashSet<String> = rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
    names.insert(COMMENT.to_owned());
    Ok(names)
}

/// The names of one run that lose their rows.
type Removed<'a> = (&'a RunUpdate, Vec<&'a str>);

/// Splits a batch into rows to write, rows to remove, and refused results; of several updates of a cell the last one counts.
fn sort_out<'a>(
    batch: &'a [RunUpdate],
    by_hand: &HashSet<String>,
) -> (Vec<NewRow<'a>>, Vec<Removed<'a>>, Vec<Refused>) {
    let mut last: HashMap<(Proposal, Run, &str), (usize, usize)> = HashMap::new();
    for (i, run) in batch.iter().enumerate() {
        for (j, cell) in run.values.iter().enumerate() {
            last.insert((run.proposal, run.run, &cell.name), (i, j));
        }
    }
    let (mut rows, mut removed, mut refused) = (Vec::new(), Vec::new(), Vec::new());
    for (i, run) in batch.iter().enumerate() {
        let mut gone = Vec::new();
        for (j, cell) in run.values.iter().enumerate() {
            if last[&(run.proposal, run.run, cell.name.as_str())] != (i, j) {
                continue;
            }
            let name = || cell.name.clone();
            if by_hand.contains(&cell.name) {
                // Removal is not refused: the users' value stays.
                if cell.kind != CellKind::Remove {
                    refused.push(Refused::UserEditable { name: name() });
                }
            } else if cell.kind == CellKind::Remove {
                gone.push(cell.name.as_str());
            } else if cell.name.is_empty() || cell.name.contains('\0') {
                refused.push(Refused::BadName { name: name() });
            } else if COLUMNS_OF_RUNS.contains(&cell.name.as_str()) {
                refused.push(Refused::ColumnOfRuns { name: name() });
            } else {
                rows.push(NewRow { run, cell });
            }
        }
        if !gone.is_empty() {
            removed.push((run, gone));
        }
    }
    (rows, removed, refused)
}

async fn upsert_run(connection: &mut SqliteConnection, run: &RunUpdate, now: f64) -> Result<(), sqlx::Error> {
    sqlx::query(sql::UPSERT_RUN)
        .bind(i64::from(run.proposal.0))
        .bind(i64::from(run.run.0))
        .bind(run.start_time)
        .bind(now)
        .bind(run.mock_start)
        .execute(connection)
        .await
        .map(drop)
}

async fn remove(
    connection: &mut SqliteConnection,
    run: &RunUpdate,
    names: &[&str],
) -> Result<(), sqlx::Error> {
    sqlx::query(sql::REMOVE_VALUES)
        .bind(i64::from(run.proposal.0))
        .bind(i64::from(run.run.0))
        .bind(json!(names).to_string())
        .execute(connection)
        .await
        .map(drop)
}

/// One INSERT of many rows. Error rows are as in DAMNIT: everything is empty except provenance, time and attributes.
async fn insert(connection: &mut SqliteConnection, rows: &[NewRow<'_>]) -> Result<(), sqlx::Error> {
    const COLUMNS: &str = "proposal, run, name, version, value, timestamp, max_diff, provenance, summary_type, \
                           summary_method, attributes";
    let places = vec!["(?, ?, ?, 1, ?, ?, ?, ?, ?, ?, ?)"; rows.len()].join(", ");
    let text = format!(
        "-- store::insert\nINSERT INTO run_variables ({COLUMNS}) VALUES {places} \
         ON CONFLICT (proposal, run, name, version) DO UPDATE SET value = excluded.value, \
         timestamp = excluded.timestamp, max_diff = excluded.max_diff, provenance = excluded.provenance, \
         summary_type = excluded.summary_type, summary_method = excluded.summary_method, \
         attributes = excluded.attributes"
    );
    let mut arguments = SqliteArguments::default();
    for NewRow { run, cell } in rows {
        bind_row(&mut arguments, run, cell)?;
    }
    sqlx::query_with(AssertSqlSafe(text), arguments).execute(connection).await.map(drop)
}

fn bind_row(arguments: &mut SqliteArguments, run: &RunUpdate, cell: &CellUpdate) -> Result<(), sqlx::Error> {
    let encode = sqlx::Error::Encode;
    arguments.add(i64::from(run.proposal.0)).map_err(encode)?;
    arguments.add(i64::from(run.run.0)).map_err(encode)?;
    arguments.add(cell.name.clone()).map_err(encode)?;
    match &cell.kind {
        CellKind::Value(value) => {
            bind_value(arguments, &value.value)?;
            arguments.add(value.timestamp).map_err(encode)?;
            arguments.add(value.max_diff).map_err(encode)?;
            arguments.add(value.provenance.clone()).map_err(encode)?;
            arguments.add(value.summary_type.clone()).map_err(encode)?;
            arguments.add(value.summary_method.clone().unwrap_or_default()).map_err(encode)?;
            arguments.add(value.attributes.clone()).map_err(encode)
        }
        CellKind::Error { class, message, provenance, timestamp } => {
            arguments.add(None::<f64>).map_err(encode)?;
            arguments.add(*timestamp).map_err(encode)?;
            arguments.add(None::<f64>).map_err(encode)?;
            arguments.add(provenance.clone()).map_err(encode)?;
            arguments.add(None::<String>).map_err(encode)?;
            arguments.add(None::<String>).map_err(encode)?;
            arguments.add(json!({ "error": message, "error_cls": class }).to_string()).map_err(encode)
        }
        CellKind::Remove => unreachable!("removed rows are not inserted"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{Acquired, Holder};

    #[tokio::test]
    async fn a_full_disk_is_said_and_leaves_no_half_of_a_batch() {
        let dir = tempfile::tempdir().unwrap();
        let table = RunTable::create(dir.path(), Proposal(1), [1; 20], &[]).await.unwrap();
        let me = Holder { host: "h".into(), pid: 1, token: "t".into(), user: "u".into(), address: None };
        let got = table.acquire(&me, 0.0, Duration::from_secs(60), None).await.unwrap();
        let Acquired::Mine(mine) = got else { panic!("{got:?}") };
        let value = |bytes| CellValue {
            value: SqlValue::Blob(vec![0; bytes]),
            max_diff: None,
            summary_type: None,
            summary_method: None,
            attributes: None,
            provenance: "context.py".into(),
            timestamp: 1.0,
        };
        let cell = |bytes| CellUpdate { name: "a".into(), kind: CellKind::Value(value(bytes)) };
        let run = |run, bytes| RunUpdate {
            proposal: Proposal(1),
            run: Run(run),
            start_time: None,
            mock_start: false,
            values: vec![cell(bytes)],
        };
        let limit = "PRAGMA max_page_count = 100";
        sqlx::raw_sql(limit).execute(&mut *table.connection.lock().await).await.unwrap();
        let error = table.store(&mine, &[run(1, 10), run(2, 1_000_000)], 1.0).await.unwrap_err();
        assert!(matches!(error, RunTableError::Full { .. }), "{error}");
        assert_eq!(table.runs().await.unwrap(), []);
        assert_eq!(table.table(&Default::default()).await.unwrap().rows, []);
        table.store(&mine, &[run(1, 10)], 1.0).await.unwrap();
        assert_eq!(table.runs().await.unwrap(), [(Proposal(1), Run(1))]);
    }
}
