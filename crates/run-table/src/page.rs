//! Reading the table in pages, and single cells completely, for programs that show it.

use std::collections::BTreeSet;

use amore_model::{COMMENT, Proposal, Run};
use serde::Serialize;
use serde_json::{Map, Value as Json};
use sqlx::{Connection, Row, sqlite::SqliteConnection};

use crate::{
    Cell, RunTable, RunTableError, TableData, TableFilter,
    read::{ids, read_table, read_values},
    sql,
    user_values::{self, Declared},
    value::Stored,
};

/// Which runs and variables a page shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRequest {
    /// Runs of this proposal.
    pub proposal: Proposal,
    /// The first and the last run.
    pub range: (Run, Run),
    /// Runs after this one, in the order of the pages.
    pub after: Option<Run>,
    /// The latest run first.
    pub latest_first: bool,
    /// Number of runs.
    pub limit: usize,
    /// Only these variables.
    pub variables: Option<Vec<String>>,
    /// Only variables with one of these tags; empty: with any or none.
    pub tags: Vec<String>,
    /// Only runs in which one of these variables has an error (a skip is none).
    pub with_error: bool,
}

/// A page.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// Version of the table; see [`RunTable::page`].
    pub version: i64,
    /// The runs and their cells.
    pub data: TableData,
    /// Number of runs on all pages.
    pub total: usize,
    /// The run after which the next page begins; `None`: this is the last one.
    pub next: Option<Run>,
}

/// A variable of the table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeclaredVariable {
    /// Its name.
    pub name: String,
    /// Its title; the name where it has none.
    pub title: String,
    /// Its description.
    pub description: Option<String>,
    /// Its type, if users edit it: boolean, integer, number or string.
    #[serde(rename = "type")]
    pub edited_as: Option<String>,
    /// Its tags.
    pub tags: Vec<String>,
}

/// Everything that the table has about a variable of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredCell {
    /// Its content; `None` if it is empty.
    pub cell: Option<Cell>,
    /// A thumbnail, a curve or an array: the bytes of a PNG or `.npy` file.
    pub file: Option<Vec<u8>>,
    /// Largest difference within the value.
    pub max_diff: Option<f64>,
    /// Name of the function that made the summary.
    pub summary_method: Option<String>,
    /// When it was stored (seconds since 1970).
    pub stored_at: Option<f64>,
    /// The context file, or the program that submitted it.
    pub provenance: Option<String>,
    /// `units`, `bold`, `background`; for errors `error` and `error_cls`.
    pub attributes: Map<String, Json>,
}

impl RunTable {
    /// A page of the table; `None` if its version is `known`.
    ///
    /// The version is a number that changes whenever anybody else changes anything in the table. It is comparable as long as
    /// this table is open, and has no meaning for another one.
    ///
    /// # Errors
    /// The table cannot be read.
    pub async fn page(
        &self,
        request: &PageRequest,
        known: Option<i64>,
    ) -> Result<Option<Page>, RunTableError> {
        let mut connection = self.connection.lock().await;
        let done = async {
            self.settle(&mut connection).await?;
            // One transaction, so that the version is that of what is read.
            let mut transaction = Connection::begin(&mut *connection).await?;
            let version = data_version(&mut transaction).await?;
            let page = if known == Some(version) {
                None
            } else {
                Some(read_page(&mut transaction, request, version, self.version).await?)
            };
            transaction.rollback().await?;
            Ok(page)
        };
        done.await.map_err(|e| self.explain("read the run table", e))
    }

    /// The version of the table, as [`RunTable::page`] gives it.
    ///
    /// # Errors
    /// The table cannot be read.
    pub async fn content_version(&self) -> Result<i64, RunTableError> {
        let mut connection = self.connection.lock().await;
        data_version(&mut connection).await.map_err(|e| self.explain("read the run table", e))
    }

    /// Whether the file is still the one that was opened: it was not deleted or replaced. A hanging file system blocks this call.
    pub fn is_in_place(&self) -> bool {
        self.must_be_in_place().is_ok()
    }

    /// All variables, those of the context file and those that users edit, in the order of their declaration.
    ///
    /// # Errors
    /// The table cannot be read.
    pub async fn variables(&self) -> Result<Vec<DeclaredVariable>, RunTableError> {
        let mut connection = self.connection.lock().await;
        let read = async {
            let mut variables = Vec::new();
            for row in sqlx::query(sql::ALL_VARIABLES).fetch_all(&mut *connection).await? {
                let Some(name) = Stored::get(&row, 0)?.text() else { continue };
                variables.push(DeclaredVariable {
                    title: Stored::get(&row, 1)?.text().unwrap_or_else(|| name.clone()),
                    description: Stored::get(&row, 2)?.text(),
                    edited_as: Stored::get(&row, 3)?.text(),
                    tags: Vec::new(),
                    name,
                });
            }
            if self.version >= TAGS_SINCE {
                for row in sqlx::query(sql::ALL_TAGS).fetch_all(&mut *connection).await? {
                    let (name, tag): (String, String) = (row.try_get(0)?, row.try_get(1)?);
                    if let Some(variable) = variables.iter_mut().find(|variable| variable.name == name) {
                        variable.tags.push(tag);
                    }
                }
            }
            Ok(variables)
        };
        read.await.map_err(|e| self.explain("read the variables", e))
    }

    /// Everything about a variable of a run; `None` if the table has nothing.
    ///
    /// # Errors
    /// The table cannot be read.
    pub async fn stored_cell(
        &self,
        proposal: Proposal,
        run: Run,
        name: &str,
    ) -> Result<Option<StoredCell>, RunTableError> {
        let mut connection = self.connection.lock().await;
        let read = async {
            let mut transaction = Connection::begin(&mut *connection).await?;
            let cell = read_cell(&mut transaction, proposal, run, name, self.version).await?;
            transaction.rollback().await?;
            Ok(cell)
        };
        read.await.map_err(|e| self.explain("read a value", e))
    }
}

/// Version of the format that has tags.
const TAGS_SINCE: i64 = 3;
/// Version of the format whose rows have attributes.
const ATTRIBUTES_SINCE: i64 = 2;

async fn data_version(connection: &mut SqliteConnection) -> Result<i64, sqlx::Error> {
    sqlx::query(sql::DATA_VERSION).fetch_one(connection).await?.try_get(0)
}

async fn read_page(
    connection: &mut SqliteConnection,
    request: &PageRequest,
    version: i64,
    format: i64,
) -> Result<Page, sqlx::Error> {
    let mut variables = request.variables.clone();
    if !request.tags.is_empty() {
        let mut tagged = BTreeSet::new();
        if format >= TAGS_SINCE {
            for row in sqlx::query(sql::ALL_TAGS).fetch_all(&mut *connection).await? {
                let (name, tag): (String, String) = (row.try_get(0)?, row.try_get(1)?);
                if request.tags.contains(&tag) {
                    tagged.insert(name);
                }
            }
        }
        variables = Some(match variables {
            Some(named) => named.into_iter().filter(|name| tagged.contains(name)).collect(),
            None => tagged.into_iter().collect(),
        });
    }
    let mut runs = BTreeSet::new();
    for text in [sql::RUNS, sql::RUNS_WITH_VALUES] {
        for row in sqlx::query(text).fetch_all(&mut *connection).await? {
            if let Some((proposal, run)) = ids(&row)?
                && proposal == request.proposal
                && (request.range.0..=request.range.1).contains(&run)
            {
                runs.insert(run);
            }
        }
    }
    if request.with_error {
        let failed = with_error(connection, request.proposal, variables.as_deref(), format).await?;
        runs.retain(|run| failed.contains(run));
    }
    let total = runs.len();
    let mut ordered: Vec<Run> = runs.into_iter().collect();
    if request.latest_first {
        ordered.reverse();
    }
    if let Some(after) = request.after {
        ordered.retain(|run| if request.latest_first { *run < after } else { *run > after });
    }
    let more = ordered.len() > request.limit;
    ordered.truncate(request.limit);
    let next = ordered.last().copied().filter(|_| more);
    let filter = TableFilter {
        proposal: Some(request.proposal),
        runs: Some(ordered.into_iter().collect()),
        variables: variables.map(|names| names.into_iter().chain([COMMENT.to_owned()]).collect()),
    };
    let mut data = read_table(connection, &filter, format).await?;
    if request.latest_first {
        data.rows.reverse();
    }
    Ok(Page { version, data, total, next })
}

async fn with_error(
    connection: &mut SqliteConnection,
    proposal: Proposal,
    variables: Option<&[String]>,
    format: i64,
) -> Result<BTreeSet<Run>, sqlx::Error> {
    if format < ATTRIBUTES_SINCE {
        return Ok(BTreeSet::new());
    }
    let names = serde_json::json!(variables).to_string();
    let query = sqlx::query(sql::RUNS_WITH_ERROR).bind(i64::from(proposal.0)).bind(names);
    let rows = query.fetch_all(connection).await?;
    let mut runs = BTreeSet::new();
    for row in &rows {
        runs.extend(ids(row)?.map(|(_, run)| run));
    }
    Ok(runs)
}

async fn read_cell(
    connection: &mut SqliteConnection,
    proposal: Proposal,
    run: Run,
    name: &str,
    format: i64,
) -> Result<Option<StoredCell>, sqlx::Error> {
    let statement = if format >= ATTRIBUTES_SINCE { sql::ONE_VALUE } else { sql::ONE_VALUE_OF_VERSION_1 };
    let query = sqlx::query(statement).bind(i64::from(proposal.0)).bind(i64::from(run.0)).bind(name);
    let Some(row) = query.fetch_optional(&mut *connection).await? else { return Ok(None) };
    let filter = TableFilter {
        proposal: Some(proposal),
        runs: Some([run].into()),
        variables: Some(vec![name.to_owned()]),
    };
    let cell = read_values(&mut *connection, &filter, format).await?.pop().and_then(|value| value.cell);
    let cell = match user_values::declared(connection, name).await? {
        Declared::Edited(wanted) => cell.map(|cell| cell.entered_as(wanted)),
        Declared::Computed | Declared::No => cell,
    };
    let file = match (&cell, Stored::get(&row, 0)?) {
        (Some(Cell::Image | Cell::Trendline | Cell::Array), Stored::Blob(bytes)) => Some(bytes),
        _ => None,
    };
    let attributes = Stored::get(&row, 5)?.text().and_then(|text| serde_json::from_str(&text).ok());
    Ok(Some(StoredCell {
        cell,
        file,
        max_diff: Stored::get(&row, 1)?.number(),
        summary_method: Stored::get(&row, 2)?.text().filter(|text| !text.is_empty()),
        stored_at: Stored::get(&row, 3)?.number(),
        provenance: Stored::get(&row, 4)?.text().filter(|text| !text.is_empty()),
        attributes: attributes.unwrap_or_default(),
    }))
}
