//! Shared helpers of the tests: a table with an owner, short forms of values, and foreign connections.

use std::{path::Path, time::Duration};

use amore_model::{Proposal, Run};
use amore_run_table::{
    Acquired, CellKind, CellUpdate, CellValue, Holder, OpenOptions, Ownership, RunTable, RunUpdate, SqlValue,
};
use sqlx::{
    AssertSqlSafe, ConnectOptions, Row,
    sqlite::{SqliteConnectOptions, SqliteConnection},
};
use tempfile::TempDir;

pub const TERM: Duration = Duration::from_secs(60);

pub fn owner(pid: u32) -> Holder {
    Holder {
        host: "max-exfl001".into(),
        pid,
        token: format!("t{pid}"),
        user: "xuser".into(),
        address: Some(format!("http://max-exfl001:{pid}")),
    }
}

pub async fn acquire(table: &RunTable, pid: u32, now: f64) -> Ownership {
    match table.acquire(&owner(pid), now, TERM, None).await.unwrap() {
        Acquired::Mine(mine) => mine,
        Acquired::HeldBy(claim) => panic!("held: {claim:?}"),
    }
}

/// A new table of proposal 1234, owned by process 1 from time 0.
pub async fn owned() -> (TempDir, RunTable, Ownership) {
    let dir = TempDir::new().unwrap();
    let table = RunTable::create(dir.path(), Proposal(1234), [7; 20], &[]).await.unwrap();
    let mine = acquire(&table, 1, 0.0).await;
    (dir, table, mine)
}

pub fn patient(milliseconds: u64) -> OpenOptions {
    OpenOptions { busy_timeout: Duration::from_millis(milliseconds), ..OpenOptions::default() }
}

pub fn number(name: &str, value: f64) -> CellUpdate {
    cell(name, SqlValue::Real(value))
}

pub fn cell(name: &str, value: SqlValue) -> CellUpdate {
    let value = CellValue {
        value,
        max_diff: Some(0.5),
        summary_type: None,
        summary_method: Some("mean".into()),
        attributes: None,
        provenance: "context.py".into(),
        timestamp: 1000.0,
    };
    CellUpdate { name: name.into(), kind: CellKind::Value(value) }
}

pub fn error(name: &str, class: &str, message: &str) -> CellUpdate {
    let kind = CellKind::Error {
        class: class.into(),
        message: message.into(),
        provenance: "context.py".into(),
        timestamp: 1000.0,
    };
    CellUpdate { name: name.into(), kind }
}

pub fn gone(name: &str) -> CellUpdate {
    CellUpdate { name: name.into(), kind: CellKind::Remove }
}

pub fn update(proposal: u32, run: u32, values: Vec<CellUpdate>) -> RunUpdate {
    RunUpdate {
        proposal: Proposal(proposal),
        run: Run(run),
        start_time: Some(900.0),
        mock_start: false,
        values,
    }
}

/// A connection of some other program.
pub async fn stranger(file: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(file).create_if_missing(true).connect().await.unwrap()
}

pub async fn run_sql(connection: &mut SqliteConnection, text: &str) {
    sqlx::raw_sql(AssertSqlSafe(text.to_owned())).execute(connection).await.unwrap();
}

/// The first column of all rows, formatted by SQLite's `quote()` if the statement uses it.
pub async fn column(connection: &mut SqliteConnection, text: &str) -> Vec<String> {
    let rows = sqlx::query(AssertSqlSafe(text.to_owned())).fetch_all(connection).await.unwrap();
    rows.iter().map(|row| row.try_get_unchecked(0).unwrap()).collect()
}
