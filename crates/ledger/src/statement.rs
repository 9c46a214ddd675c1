//! A statement with its values, and the rows of its result, for every engine.

use amore_model::{Proposal, Run};
use serde_json::Value;

use crate::LedgerError;

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Cell {
    Null,
    Int(i64),
    Real(f64),
    Text(String),
}

/// The values of one column of `given`, one for each row.
#[derive(Clone, Debug)]
pub(crate) enum Column {
    Int(Vec<Option<i64>>),
    Real(Vec<Option<f64>>),
    Text(Vec<Option<String>>),
    Json(Vec<Option<String>>),
}

/// Rows that a statement works on; it sees them as a table named `given`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Given {
    pub(crate) rows: usize,
    pub(crate) columns: Vec<(&'static str, Column)>,
}

/// Builds a [`Given`], one column at a time.
pub(crate) struct Rows<'a, T> {
    rows: &'a [T],
    columns: Vec<(&'static str, Column)>,
}

impl<'a, T> Rows<'a, T> {
    pub(crate) fn of(rows: &'a [T]) -> Self {
        Rows { rows, columns: Vec::new() }
    }

    pub(crate) fn int<V: Into<Option<i64>>>(mut self, name: &'static str, of: impl Fn(&'a T) -> V) -> Self {
        let values = self.rows.iter().map(|row| of(row).into()).collect();
        self.columns.push((name, Column::Int(values)));
        self
    }

    pub(crate) fn real<V: Into<Option<f64>>>(mut self, name: &'static str, of: impl Fn(&'a T) -> V) -> Self {
        let values = self.rows.iter().map(|row| of(row).into()).collect();
        self.columns.push((name, Column::Real(values)));
        self
    }

    pub(crate) fn text<V: Into<Option<&'a str>>>(
        mut self,
        name: &'static str,
        of: impl Fn(&'a T) -> V,
    ) -> Self {
        let values = self.rows.iter().map(|row| of(row).into().map(clean)).collect();
        self.columns.push((name, Column::Text(values)));
        self
    }

    pub(crate) fn json<V: Into<Option<&'a Value>>>(
        mut self,
        name: &'static str,
        of: impl Fn(&'a T) -> V,
    ) -> Self {
        let values = self.rows.iter().map(|row| of(row).into().map(Value::to_string)).collect();
        self.columns.push((name, Column::Json(values)));
        self
    }

    pub(crate) fn end(self) -> Given {
        Given { rows: self.rows.len(), columns: self.columns }
    }
}

/// PostgreSQL cannot store the character NUL.
pub(crate) fn clean(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// A lock on the rows that a query reads, for engines that lock rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RowLock {
    /// They must not change until the transaction ends.
    Stay,
    /// This transaction is going to change them.
    Change,
}

/// A statement with its values. `$1`, `$2`, … are single values.
#[derive(Clone, Debug)]
pub(crate) struct Statement {
    pub(crate) text: &'static str,
    pub(crate) values: Vec<Cell>,
    pub(crate) given: Option<Given>,
    pub(crate) lock: Option<RowLock>,
}

impl Statement {
    pub(crate) fn new(text: &'static str) -> Self {
        Statement { text, values: Vec::new(), given: None, lock: None }
    }

    pub(crate) fn text(mut self, value: &str) -> Self {
        self.values.push(Cell::Text(clean(value)));
        self
    }

    pub(crate) fn int(mut self, value: i64) -> Self {
        self.values.push(Cell::Int(value));
        self
    }

    pub(crate) fn real(mut self, value: f64) -> Self {
        self.values.push(Cell::Real(value));
        self
    }

    pub(crate) fn given(mut self, given: Given) -> Self {
        self.given = Some(given);
        self
    }

    pub(crate) fn lock(mut self, lock: RowLock) -> Self {
        self.lock = Some(lock);
        self
    }
}

/// A row of a result, read from left to right.
#[derive(Debug)]
pub(crate) struct Row(std::vec::IntoIter<Cell>);

impl Row {
    pub(crate) fn new(cells: Vec<Cell>) -> Self {
        Row(cells.into_iter())
    }

    fn next(&mut self) -> Cell {
        self.0.next().unwrap_or(Cell::Null)
    }

    pub(crate) fn maybe_text(&mut self) -> Result<Option<String>, LedgerError> {
        match self.next() {
            Cell::Null => Ok(None),
            Cell::Text(text) => Ok(Some(text)),
            other => Err(unexpected("text", &other)),
        }
    }

    pub(crate) fn text(&mut self) -> Result<String, LedgerError> {
        self.maybe_text()?.ok_or_else(|| unexpected("text", &Cell::Null))
    }

    pub(crate) fn maybe_int(&mut self) -> Result<Option<i64>, LedgerError> {
        match self.next() {
            Cell::Null => Ok(None),
            Cell::Int(number) => Ok(Some(number)),
            other => Err(unexpected("whole number", &other)),
        }
    }

    pub(crate) fn int(&mut self) -> Result<i64, LedgerError> {
        self.maybe_int()?.ok_or_else(|| unexpected("whole number", &Cell::Null))
    }

    /// A number that is never negative.
    pub(crate) fn number<N: TryFrom<i64>>(&mut self) -> Result<N, LedgerError> {
        let number = self.int()?;
        N::try_from(number).map_err(|_| unexpected("number in range", &Cell::Int(number)))
    }

    pub(crate) fn maybe_number<N: TryFrom<i64>>(&mut self) -> Result<Option<N>, LedgerError> {
        let Some(number) = self.maybe_int()? else { return Ok(None) };
        N::try_from(number).map(Some).map_err(|_| unexpected("number in range", &Cell::Int(number)))
    }

    pub(crate) fn maybe_real(&mut self) -> Result<Option<f64>, LedgerError> {
        match self.next() {
            Cell::Null => Ok(None),
            Cell::Real(number) => Ok(Some(number)),
            other => Err(unexpected("number", &other)),
        }
    }

    pub(crate) fn real(&mut self) -> Result<f64, LedgerError> {
        self.maybe_real()?.ok_or_else(|| unexpected("number", &Cell::Null))
    }

    pub(crate) fn json(&mut self) -> Result<Value, LedgerError> {
        let text = self.text()?;
        serde_json::from_str(&text).map_err(|_| unexpected("JSON value", &Cell::Text(text)))
    }

    /// A value that is stored as a word.
    pub(crate) fn word<W: std::str::FromStr>(&mut self, what: &'static str) -> Result<W, LedgerError> {
        let word = self.text()?;
        word.parse().map_err(|_| unexpected(what, &Cell::Text(word)))
    }

    pub(crate) fn proposal(&mut self) -> Result<Proposal, LedgerError> {
        self.number().map(Proposal)
    }

    pub(crate) fn run(&mut self) -> Result<Run, LedgerError> {
        self.number().map(Run)
    }
}

fn unexpected(wanted: &'static str, found: &Cell) -> LedgerError {
    LedgerError::BadRow { wanted, found: format!("{found:?}") }
}
