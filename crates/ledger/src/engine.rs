//! What the ledger asks of a database engine.

use std::{fmt, future::Future, pin::Pin};

use crate::{
    LedgerError,
    statement::{Row, Statement},
};

/// A future that can be sent and stored, since the engine is chosen when the program runs.
pub(crate) type Pending<'a, T> = Pin<Box<dyn Future<Output = Result<T, LedgerError>> + Send + 'a>>;

/// What a transaction is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Everything read in it is of one moment.
    Read,
    /// What is read in it still holds when it commits, as far as rows are locked.
    Write,
}

/// A database that is open.
pub(crate) trait Engine: fmt::Debug + Send + Sync {
    /// Begins a transaction. `doing` says what for, in errors: "add a request".
    fn begin(&self, mode: Mode, doing: &'static str) -> Pending<'_, Box<dyn Work>>;
    /// Where it is, without secrets.
    fn place(&self) -> String;
    /// Closes all connections.
    fn close(&self) -> Pending<'_, ()>;
}

/// A transaction. Dropped without [`Work::commit`], it leaves no trace.
pub(crate) trait Work: Send {
    /// Runs a statement and reads its answer.
    fn fetch<'a>(&'a mut self, statement: &'a Statement) -> Pending<'a, Vec<Row>>;
    /// Runs a statement; how many rows it changed.
    fn execute<'a>(&'a mut self, statement: &'a Statement) -> Pending<'a, u64>;
    /// Runs a text of several statements.
    fn script<'a>(&'a mut self, text: &'static str) -> Pending<'a, ()>;
    /// Ends it; what it wrote is on disk then.
    fn commit(self: Box<Self>) -> Pending<'static, ()>;
    /// Ends it without a trace, at once.
    fn rollback(self: Box<Self>) -> Pending<'static, ()>;
}
