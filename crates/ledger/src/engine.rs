//! What the ledger requires from a database engine.

use std::{fmt, future::Future, pin::Pin};

use crate::{
    LedgerError,
    statement::{Row, Statement},
};

/// A boxed future: the engine is chosen at run time.
pub(crate) type Pending<'a, T> = Pin<Box<dyn Future<Output = Result<T, LedgerError>> + Send + 'a>>;

/// The kind of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Everything is read from one snapshot.
    Read,
    /// Rows that are read and locked stay the same until the commit.
    Write,
}

/// An open database.
pub(crate) trait Engine: fmt::Debug + Send + Sync {
    /// Begins a transaction. `doing` is its purpose, for errors: "add a request".
    fn begin(&self, mode: Mode, doing: &'static str) -> Pending<'_, Box<dyn Work>>;
    /// Its address without secrets.
    fn place(&self) -> String;
    /// The query for the database's own time, in seconds since 1970, if other hosts use it as well.
    fn time(&self) -> Option<&'static str>;
    /// Closes all connections.
    fn close(&self) -> Pending<'_, ()>;
}

/// A transaction. It is rolled back if it is dropped without [`Work::commit`].
pub(crate) trait Work: Send {
    /// Runs a statement and returns its rows.
    fn fetch<'a>(&'a mut self, statement: &'a Statement) -> Pending<'a, Vec<Row>>;
    /// Runs a statement and returns how many rows it changed.
    fn execute<'a>(&'a mut self, statement: &'a Statement) -> Pending<'a, u64>;
    /// Runs a script of several statements.
    fn script<'a>(&'a mut self, text: &'static str) -> Pending<'a, ()>;
    /// Commits; afterwards everything is on disk.
    fn commit(self: Box<Self>) -> Pending<'static, ()>;
    /// Rolls back at once.
    fn rollback(self: Box<Self>) -> Pending<'static, ()>;
}
