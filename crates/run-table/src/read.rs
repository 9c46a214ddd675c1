//! Reading the table, for users (`amore table`) and for plans (which runs exist).

use std::collections::{BTreeSet, HashMap};

use amore_model::{COMMENT, Proposal, Run};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::{
    AssertSqlSafe,
    sqlite::{SqliteConnection, SqliteRow},
};

use crate::{
    RunTable, RunTableError, sql,
    user_value::UserType,
    value::{SqlValue, Stored},
};

/// Which part of the table to read; by default all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableFilter {
    /// Only this proposal.
    pub proposal: Option<Proposal>,
    /// Only these runs.
    pub runs: Option<BTreeSet<Run>>,
    /// Only these variables, by name.
    pub variables: Option<Vec<String>>,
}

/// The run table.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TableData {
    /// Variables in the order of their declaration, then those that only have values, by name. Without the comment.
    pub columns: Vec<Column>,
    /// Ordered by proposal and run.
    pub rows: Vec<RunRow>,
    /// Of each cell whose content is not read (images, curves, arrays), by run and name: a text that changes when its content is
    /// written.
    #[serde(skip)]
    pub unread: Vec<String>,
}

/// A variable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its title; the name where it has none.
    pub title: String,
    /// Edited by users, not computed.
    pub user_editable: bool,
}

/// What a table has of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Presence {
    /// When the run was added, in seconds since 1970, by whatever.
    pub added: Option<f64>,
    /// When something of it was computed last. What users enter or submit does not count.
    pub computed: Option<f64>,
}

/// A run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunRow {
    /// The proposal.
    pub proposal: Proposal,
    /// The run.
    pub run: Run,
    /// Start time (seconds since 1970).
    pub start_time: Option<f64>,
    /// The start time's text, if it is not a number.
    pub start_text: Option<String>,
    /// When it was added to the table (seconds since 1970).
    pub added_at: Option<f64>,
    /// The users' comment.
    pub comment: Option<String>,
    /// One per column; `None` if empty.
    pub cells: Vec<Option<Cell>>,
}

/// Content of a cell.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Cell {
    /// True or false, of a variable that users edit. What the context file computes is stored as an integer.
    Boolean {
        /// The value.
        value: bool,
    },
    /// An integer or boolean.
    Integer {
        /// The number.
        value: i64,
    },
    /// A floating-point number; NaN too.
    Number {
        /// The number.
        value: f64,
    },
    /// Text.
    Text {
        /// The text.
        value: String,
    },
    /// A complex number.
    Complex {
        /// Real part.
        re: f64,
        /// Imaginary part.
        im: f64,
    },
    /// A point in time.
    Timestamp {
        /// Seconds since 1970.
        value: f64,
    },
    /// A thumbnail.
    Image,
    /// A small curve.
    Trendline,
    /// A small array.
    Array,
    /// Bytes of another kind.
    Bytes,
    /// The variable failed or was skipped (class `Skip`).
    Error {
        /// Exception class.
        class: String,
        /// Message.
        message: String,
    },
}

impl Cell {
    /// Of a value that is stored with this `summary_type`.
    pub(crate) fn of(value: &SqlValue, summary_type: Option<&str>) -> Self {
        let is_time = summary_type == Some("timestamp");
        match value {
            SqlValue::Int(value) if is_time => Cell::Timestamp { value: *value as f64 },
            SqlValue::Real(value) if is_time => Cell::Timestamp { value: *value },
            SqlValue::Int(value) => Cell::Integer { value: *value },
            SqlValue::Real(value) => Cell::Number { value: *value },
            SqlValue::Text(value) => Cell::Text { value: value.clone() },
            SqlValue::Blob(bytes) => match summary_type {
                Some("complex") => complex(bytes).unwrap_or(Cell::Bytes),
                Some("trendline") => Cell::Trendline,
                Some("numpy") => Cell::Array,
                _ if bytes.starts_with(b"\x89PNG\r\n\x1a\n") => Cell::Image,
                _ => complex(bytes).unwrap_or(Cell::Bytes),
            },
        }
    }

    /// As a variable shows it that users edit: DAMNIT stores truth values as integers, and a whole number may be one of
    /// another type.
    pub(crate) fn entered_as(self, wanted: UserType) -> Self {
        match (self, wanted) {
            (Cell::Integer { value }, UserType::Boolean) => Cell::Boolean { value: value != 0 },
            (Cell::Integer { value }, UserType::Number) => Cell::Number { value: value as f64 },
            (cell, _) => cell,
        }
    }

    /// The word for its kind.
    pub fn kind(&self) -> &'static str {
        match self {
            Cell::Boolean { .. } => "boolean",
            Cell::Integer { .. } => "integer",
            Cell::Number { .. } => "number",
            Cell::Text { .. } => "text",
            Cell::Complex { .. } => "complex",
            Cell::Timestamp { .. } => "timestamp",
            Cell::Image => "image",
            Cell::Trendline => "trendline",
            Cell::Array => "array",
            Cell::Bytes => "bytes",
            Cell::Error { .. } => "error",
        }
    }

    /// For programs. What is too large to be shown is an object that says what it is.
    pub fn json(&self) -> serde_json::Value {
        match self {
            Cell::Boolean { value } => json!(value),
            Cell::Integer { value } => json!(value),
            Cell::Number { value } | Cell::Timestamp { value } if value.is_finite() => json!(value),
            Cell::Number { value } | Cell::Timestamp { value } => json!(value.to_string()),
            Cell::Complex { re, im } => json!({"re": re, "im": im}),
            Cell::Text { value } => json!(value),
            Cell::Image => json!({"kind": "image"}),
            Cell::Trendline => json!({"kind": "trendline"}),
            Cell::Array | Cell::Bytes => json!({"kind": "array"}),
            Cell::Error { class, message } => json!({"error": {"class": class, "message": message}}),
        }
    }
}

impl std::fmt::Display for Cell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Cell::Boolean { value } => value.fmt(f),
            Cell::Integer { value } => value.fmt(f),
            Cell::Number { value } | Cell::Timestamp { value } => value.fmt(f),
            Cell::Text { value } => f.write_str(value),
            Cell::Complex { re, im } => write!(f, "{re}{im:+}j"),
            Cell::Image => f.write_str("<image>"),
            Cell::Trendline => f.write_str("<trendline>"),
            Cell::Array => f.write_str("<array>"),
            Cell::Bytes => f.write_str("<bytes>"),
            Cell::Error { class, message } => write!(f, "{class}: {message}"),
        }
    }
}

impl RunTable {
    /// Reads the table, or a part of it, in one pass. Thumbnails and arrays are indicated, not read.
    ///
    /// # Errors
    /// The table cannot be read.
    pub async fn table(&self, filter: &TableFilter) -> Result<TableData, RunTableError> {
        let mut connection = self.connection.lock().await;
        let done = async {
            self.settle(&mut connection).await?;
            // One transaction, so that rows and columns are consistent.
            let mut transaction = sqlx::Connection::begin(&mut *connection).await?;
            let data = read_table(&mut transaction, filter, self.version).await?;
            transaction.rollback().await?;
            Ok(data)
        };
        done.await.map_err(|e| self.explain("read the run table", e))
    }

    /// The runs that the table knows, in order.
    ///
    /// # Errors
    /// The table cannot be read.
    pub async fn runs(&self) -> Result<Vec<(Proposal, Run)>, RunTableError> {
        let mut connection = self.connection.lock().await;
        let read = async {
            let mut found = BTreeSet::new();
            for text in [sql::RUNS, sql::RUNS_WITH_VALUES] {
                for row in sqlx::query(text).fetch_all(&mut *connection).await? {
                    found.extend(ids(&row)?);
                }
            }
            Ok(found.into_iter().collect())
        };
        read.await.map_err(|e| self.explain("read the runs", e))
    }

    /// What the table has of a run.
    ///
    /// # Errors
    /// The table cannot be read.
    pub async fn presence(&self, proposal: Proposal, run: Run) -> Result<Presence, RunTableError> {
        let mut connection = self.connection.lock().await;
        let query = sqlx::query_as::<_, (Option<f64>, i64, Option<f64>)>(sql::PRESENCE);
        let found =
            query.bind(i64::from(proposal.0)).bind(i64::from(run.0)).fetch_one(&mut *connection).await;
        let (added, values, computed) = found.map_err(|e| self.explain("read the runs", e))?;
        // A run may be processed without giving any value.
        let computed = computed.or(added.filter(|_| values == 0));
        Ok(Presence { added, computed })
    }

    /// For each run, the names for which a context file has stored values or errors. Values submitted by other programs or
    /// entered by users are not included.
    ///
    /// # Errors
    /// The table cannot be read.
    pub async fn context_names(&self) -> Result<HashMap<(Proposal, Run), Vec<String>>, RunTableError> {
        let mut connection = self.connection.lock().await;
        let rows = sqlx::query(sql::CONTEXT_NAMES).fetch_all(&mut *connection).await;
        let rows = rows.map_err(|e| self.explain("read the stored names", e))?;
        let mut names: HashMap<(Proposal, Run), Vec<String>> = HashMap::new();
        for row in &rows {
            let read = || Ok((ids(row)?, Stored::get(row, 2)?.text()));
            if let (Some(run), Some(name)) = read().map_err(|e| self.explain("read the stored names", e))? {
                names.entry(run).or_default().push(name);
            }
        }
        Ok(names)
    }

    /// The cells of one run, by name, including the comment; without empty cells.
    ///
    /// # Errors
    /// The table cannot be read.
    pub async fn run_values(
        &self,
        proposal: Proposal,
        run: Run,
    ) -> Result<Vec<(String, Cell)>, RunTableError> {
        let filter = TableFilter { proposal: Some(proposal), runs: Some([run].into()), variables: None };
        let mut connection = self.connection.lock().await;
        let values = read_values(&mut connection, &filter, self.version).await;
        let values = values.map_err(|e| self.explain("read a run's values", e))?;
        Ok(values.into_iter().filter_map(|v| Some((v.name, v.cell?))).collect())
    }
}

/// One row of `run_variables`.
pub(crate) struct Value {
    run: (Proposal, Run),
    name: String,
    pub(crate) cell: Option<Cell>,
    /// As in [`TableData::unread`].
    unread: Option<String>,
}

pub(crate) async fn read_table(
    connection: &mut SqliteConnection,
    filter: &TableFilter,
    version: i64,
) -> Result<TableData, sqlx::Error> {
    let wanted = |name: &str| filter.variables.as_ref().is_none_or(|names| names.iter().any(|n| n == name));
    let mut data = TableData::default();
    let mut column_of: HashMap<String, usize> = HashMap::new();
    let mut entered_as: HashMap<usize, UserType> = HashMap::new();
    for row in sqlx::query(sql::TITLES).fetch_all(&mut *connection).await? {
        let Some(name) = Stored::get(&row, 0)?.text() else { continue };
        if !wanted(&name) || name == COMMENT {
            continue;
        }
        column_of.insert(name.clone(), data.columns.len());
        let edited_as = Stored::get(&row, 2)?;
        let user_editable = edited_as != Stored::Null;
        if let Some(wanted) = edited_as.text().and_then(|word| UserType::of_word(&word)) {
            entered_as.insert(data.columns.len(), wanted);
        }
        data.columns.push(Column {
            title: Stored::get(&row, 1)?.text().unwrap_or_else(|| name.clone()),
            user_editable,
            name,
        });
    }
    let mut row_of: HashMap<(Proposal, Run), usize> = HashMap::new();
    for row in sqlx::query(sql::RUN_ROWS).fetch_all(&mut *connection).await? {
        let Some((proposal, run)) = ids(&row)? else { continue };
        if !filter.admits(proposal, run) {
            continue;
        }
        row_of.insert((proposal, run), data.rows.len());
        let (start, added_at) = (Stored::get(&row, 2)?, Stored::get(&row, 3)?.number());
        let (start_time, start_text) = (start.number(), start.text());
        let cells = Vec::new();
        data.rows.push(RunRow { proposal, run, start_time, start_text, added_at, comment: None, cells });
    }
    let values = read_values(connection, filter, version).await?;
    // Other programs and users write values without adding the run.
    for value in &values {
        let (proposal, run) = value.run;
        if filter.admits(proposal, run) && !row_of.contains_key(&value.run) {
            row_of.insert(value.run, data.rows.len());
            data.rows.push(RunRow {
                proposal,
                run,
                start_time: None,
                start_text: None,
                added_at: None,
                comment: None,
                cells: Vec::new(),
            });
        }
    }
    if data.rows.len() > 1 {
        data.rows.sort_by_key(|row| (row.proposal, row.run));
        row_of = data.rows.iter().enumerate().map(|(at, row)| ((row.proposal, row.run), at)).collect();
    }
    let undeclared: BTreeSet<&str> = values
        .iter()
        .map(|v| v.name.as_str())
        .filter(|n| !column_of.contains_key(*n) && *n != COMMENT)
        .collect();
    let undeclared: Vec<String> = undeclared.into_iter().map(str::to_owned).collect();
    for name in undeclared {
        column_of.insert(name.clone(), data.columns.len());
        data.columns.push(Column { title: name.clone(), user_editable: false, name });
    }
    for row in &mut data.rows {
        row.cells = vec![None; data.columns.len()];
    }
    for value in values {
        let Some(row) = row_of.get(&value.run).map(|&index| &mut data.rows[index]) else { continue };
        data.unread.extend(value.unread);
        match column_of.get(&value.name) {
            Some(column) => {
                row.cells[*column] = match entered_as.get(column) {
                    Some(wanted) => value.cell.map(|cell| cell.entered_as(*wanted)),
                    None => value.cell,
                }
            }
            None => row.comment = value.cell.map(|cell| cell.to_string()),
        }
    }
    Ok(data)
}

impl TableFilter {
    fn admits(&self, proposal: Proposal, run: Run) -> bool {
        self.proposal.is_none_or(|only| only == proposal)
            && self.runs.as_ref().is_none_or(|runs| runs.contains(&run))
    }
}

/// Before the summary type of a value that is not read.
const BLOB: &str = "blob ";

/// The values, ordered by run, name and version.
pub(crate) async fn read_values(
    connection: &mut SqliteConnection,
    filter: &TableFilter,
    version: i64,
) -> Result<Vec<Value>, sqlx::Error> {
    let mut conditions = vec!["true"];
    if filter.proposal.is_some() {
        conditions.push("proposal = ?1");
    }
    if filter.runs.is_some() {
        conditions.push("run IN (SELECT value FROM json_each(?2))");
    }
    if filter.variables.is_some() {
        conditions.push("name IN (SELECT value FROM json_each(?3))");
    }
    // Four columns instead of eight: most of the time is spent on passing values, one by one. In place of a blob, the third one
    // says when it was written, how long it is, and how it ends: the last bytes of a PNG file have the checksum of its pixels.
    let text = format!(
        "-- read::read_values\nSELECT (proposal << 32) + run, name, \
         CASE WHEN typeof(value) = 'blob' AND coalesce(summary_type, '') <> 'complex' \
              THEN coalesce(timestamp, '') || ' ' || length(value) || ' ' || hex(substr(value, -24)) ELSE value END, \
         CASE WHEN value IS NULL AND summary_method IS NULL THEN {} \
              WHEN value IS NULL THEN 'nan' \
              WHEN typeof(value) = 'blob' THEN '{BLOB}' || coalesce(summary_type, '') \
              WHEN summary_type = 'timestamp' THEN summary_type END \
         FROM run_variables WHERE {} ORDER BY proposal, run, name, version",
        if version >= 2 { "attributes" } else { "NULL" },
        conditions.join(" AND ")
    );
    let rows = sqlx::query(AssertSqlSafe(text))
        .bind(filter.proposal.map(|proposal| i64::from(proposal.0)))
        .bind(json!(filter.runs).to_string())
        .bind(json!(filter.variables).to_string())
        .fetch_all(connection)
        .await?;
    let mut values = Vec::with_capacity(rows.len());
    for row in &rows {
        let (Stored::Int(run), Some(name)) = (Stored::get(row, 0)?, Stored::get(row, 1)?.text()) else {
            continue;
        };
        // Two 32-bit numbers; anything else is not a run.
        let (Ok(proposal), run) = (u32::try_from(run >> 32), run as u32) else { continue };
        let (cell, unread) = cell(row)?;
        values.push(Value { run: (Proposal(proposal), Run(run)), name, cell, unread });
    }
    Ok(values)
}

/// The cell for a row of [`read_values`]: a value, or the kind of a value that was not read, and what stands for its content.
fn cell(row: &SqliteRow) -> Result<(Option<Cell>, Option<String>), sqlx::Error> {
    let about = Stored::get(row, 3)?.text();
    let about = about.as_deref();
    let stored = Stored::get(row, 2)?;
    if let (Some(summary_type), Stored::Text(unread)) =
        (about.and_then(|text| text.strip_prefix(BLOB)), &stored)
    {
        let cell = match summary_type {
            "" => Cell::Image,
            "trendline" => Cell::Trendline,
            "numpy" => Cell::Array,
            _ => Cell::Bytes,
        };
        return Ok((Some(cell), Some(unread.clone())));
    }
    let cell = match stored {
        Stored::Int(value) if about.is_some() => Cell::Timestamp { value: value as f64 },
        Stored::Real(value) if about.is_some() => Cell::Timestamp { value },
        Stored::Int(value) => Cell::Integer { value },
        Stored::Real(value) => Cell::Number { value },
        Stored::Text(value) => Cell::Text { value },
        Stored::Blob(bytes) => complex(&bytes).unwrap_or(Cell::Bytes),
        Stored::Null => match about {
            Some("nan") => Cell::Number { value: f64::NAN },
            Some(attributes) if attributes.starts_with('{') => return Ok((error(attributes), None)),
            Some(_) => Cell::Bytes,
            None => return Ok((None, None)),
        },
    };
    Ok((Some(cell), None))
}

fn complex(bytes: &[u8]) -> Option<Cell> {
    let half = |at| Some(f64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
    (bytes.len() == 16).then_some(Cell::Complex { re: half(0)?, im: half(8)? })
}

fn error(attributes: &str) -> Option<Cell> {
    let attributes: serde_json::Value = serde_json::from_str(attributes).ok()?;
    let text = |key| attributes.get(key).and_then(|text| text.as_str()).map(str::to_owned);
    Some(Cell::Error { message: text("error")?, class: text("error_cls").unwrap_or_default() })
}

/// Proposal and run; `None` for rows of other programs with other content.
pub(crate) fn ids(row: &SqliteRow) -> Result<Option<(Proposal, Run)>, sqlx::Error> {
    let number = |index| {
        Ok::<_, sqlx::Error>(match Stored::get(row, index)? {
            Stored::Int(number) => u32::try_from(number).ok(),
            Stored::Text(text) => text.parse().ok(),
            _ => None,
        })
    };
    Ok(number(0)?.zip(number(1)?).map(|(proposal, run)| (Proposal(proposal), Run(run))))
}
