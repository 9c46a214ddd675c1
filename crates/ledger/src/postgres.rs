//! The ledger in a PostgreSQL database, in its own schema.

use std::{io, sync::Arc, time::Duration};

use sqlx::{
    AssertSqlSafe, Column as _, ConnectOptions as _, Executor, Postgres, Row as _, TypeInfo, ValueRef,
    pool::PoolConnection,
    postgres::{PgArguments, PgConnectOptions, PgPool, PgPoolOptions, PgRow},
    query::Query,
};
use tokio::{runtime::Handle, time::timeout};

use crate::{
    LedgerError, OpenOptions,
    address::without_secret,
    engine::{Engine, Mode, Pending, Work},
    migrate::{self, Step, steps},
    statement::{Cell, Column, Row, RowLock, Statement},
};

pub(crate) const STEPS: &[Step] = steps!("postgres": 1 "tasks", 2 "waits_and_story", 3 "inbox", 4 "tokens");

/// The longest that the server lets a session rest in the middle of a transaction, with the locks that it has: a successor must
/// not wait longer for a coordinator that was stopped there.
const LONGEST_REST: Duration = Duration::from_secs(2);
/// How much longer than the server's own limit an answer may take to arrive.
const ON_THE_WAY: Duration = Duration::from_secs(5);
/// If two programs open a new database at once, the second waits for the first.
const LOCK_MIGRATIONS: &str = "SELECT pg_advisory_xact_lock(4707205438206)";
const COUNT_TABLES: &str = "SELECT count(*), count(*) FILTER (WHERE tablename = 'migration') \
                            FROM pg_catalog.pg_tables WHERE schemaname = 'amore_ledger'";

/// An open database.
#[derive(Clone, Debug)]
pub(crate) struct PostgresEngine(Arc<Server>);

#[derive(Debug)]
struct Server {
    pool: PgPool,
    place: String,
    patience: Duration,
    /// Where it was opened. Connections are made there, whoever needs one: they live as long as that runtime is driven.
    home: Handle,
}

/// Opens a ledger; creates one if the database has none.
pub(crate) async fn open(url: &str, options: &OpenOptions) -> Result<PostgresEngine, LedgerError> {
    let connect: PgConnectOptions = url
        .parse()
        .map_err(|e: sqlx::Error| LedgerError::BadPlace { given: without_secret(url), why: e.to_string() })?;
    let place = without_secret(url);
    // A coordinator that is stopped in the middle of a transaction must not hold up its successor: the server ends such a
    // session sooner than a waiting one gives up.
    let idle = (options.patience / 2).min(LONGEST_REST).as_millis().max(1);
    // A ledger grows faster than the server gathers statistics: a plan made for the small tables of the first minute would scan
    // large ones later. Every statement can use an index, from few rows to few rows. A plain index scan, unlike a bitmap scan,
    // marks the entries of tasks that have ended, so that the next scan skips them.
    let settings = format!(
        "SET search_path TO amore_ledger, pg_catalog; SET idle_in_transaction_session_timeout = {idle}; \
         SET lock_timeout = {}; SET client_min_messages = warning; SET plan_cache_mode = force_custom_plan; \
         SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; SET jit = off",
        options.patience.as_millis().max(1)
    );
    let pool = PgPoolOptions::new()
        .max_connections(options.connections)
        .acquire_timeout(options.patience)
        .after_connect(move |connection, _| {
            let settings = settings.clone();
            Box::pin(
                async move { connection.execute(sqlx::raw_sql(AssertSqlSafe(settings))).await.map(drop) },
            )
        })
        .connect_lazy_with(connect.application_name("amore").disable_statement_logging());
    let home = Handle::current();
    let engine = PostgresEngine(Arc::new(Server { pool, place, patience: options.patience, home }));
    let mut work = engine.begin_any(Mode::Write, "open it").await?;
    match prepare(&mut work, options.now).await {
        Ok(()) => Box::new(work).commit().await?,
        Err(error) => {
            drop(work);
            engine.0.pool.close().await;
            return Err(error);
        }
    }
    Ok(engine)
}

async fn prepare(work: &mut PostgresWork, now: f64) -> Result<(), LedgerError> {
    let place = work.server.place.clone();
    work.script(LOCK_MIGRATIONS).await?;
    let counted = work.fetch(&Statement::new(COUNT_TABLES)).await?.pop();
    let (tables, migrations) = counted.map_or(Ok((0, 0)), |mut row| Ok((row.int()?, row.int()?)))?;
    let fresh = tables == 0;
    if fresh {
        work.script("CREATE SCHEMA IF NOT EXISTS amore_ledger").await?;
    } else if migrations == 0 {
        return Err(LedgerError::Foreign {
            place,
            what: "a database with another schema named amore_ledger",
        });
    }
    migrate::migrate(work, &place, STEPS, fresh, now).await
}

impl PostgresEngine {
    async fn begin_any(&self, mode: Mode, doing: &'static str) -> Result<PostgresWork, LedgerError> {
        let server = self.0.clone();
        let pool = server.pool.clone();
        let acquired = server.home.spawn(async move { pool.acquire().await }).await;
        let connection = acquired.unwrap_or(Err(sqlx::Error::PoolClosed));
        let connection = connection.map_err(|e| server.explain(doing, e))?;
        let mut work = PostgresWork { connection: Some(connection), server, doing };
        work.script(match mode {
            Mode::Read => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
            Mode::Write => "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE",
        })
        .await?;
        Ok(work)
    }
}

impl Engine for PostgresEngine {
    fn begin(&self, mode: Mode, doing: &'static str) -> Pending<'_, Box<dyn Work>> {
        Box::pin(async move { Ok(Box::new(self.begin_any(mode, doing).await?) as Box<dyn Work>) })
    }

    fn place(&self) -> String {
        self.0.place.clone()
    }

    fn time(&self) -> Option<&'static str> {
        Some("SELECT CAST(extract(epoch FROM clock_timestamp()) AS double precision)")
    }

    fn close(&self) -> Pending<'_, ()> {
        Box::pin(async {
            self.0.pool.close().await;
            Ok(())
        })
    }
}

impl Server {
    /// Waits for an answer of the server: a connection that is cut does not always tell.
    async fn answer<T>(
        &self,
        doing: &'static str,
        answer: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, LedgerError> {
        let answer = timeout(self.patience + ON_THE_WAY, answer).await;
        let silent = |_| Err(sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, "no answer")));
        answer.unwrap_or_else(silent).map_err(|e| self.explain(doing, e))
    }

    fn explain(&self, doing: &'static str, source: sqlx::Error) -> LedgerError {
        let place = self.place.clone();
        let code = match &source {
            sqlx::Error::Database(e) if e.is_unique_violation() => {
                return LedgerError::Misuse { what: e.message().to_owned() };
            }
            sqlx::Error::Database(e) => e.code().map(|code| code.into_owned()).unwrap_or_default(),
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => return LedgerError::Unreachable { place, doing, source },
            _ => return LedgerError::Other { place, doing, source },
        };
        match code.as_str() {
            "55P03" => LedgerError::Busy { place, doing, waited: self.patience },
            // The disk is full.
            "53100" => LedgerError::Full { place },
            // The server shuts down or recovers; the session was idle too long; a standby; deadlocks and the like.
            "57P01" | "57P02" | "57P03" | "25P03" | "25006" | "40001" | "40P01" => {
                LedgerError::Unreachable { place, doing, source }
            }
            // No such database; no permission to create or write.
            "3D000" | "42501" => LedgerError::Refused { place, source },
            code if code.starts_with("08") || code.starts_with("53") => {
                LedgerError::Unreachable { place, doing, source }
            }
            code if code.starts_with("28") => LedgerError::Refused { place, source },
            _ => LedgerError::Other { place, doing, source },
        }
    }
}

/// A transaction on a pooled connection. If it is dropped before the end, the connection is closed too, and the server
/// rolls it back.
struct PostgresWork {
    connection: Option<PoolConnection<Postgres>>,
    server: Arc<Server>,
    doing: &'static str,
}

impl Drop for PostgresWork {
    fn drop(&mut self) {
        if let Some(connection) = &mut self.connection {
            connection.close_on_drop();
        }
    }
}

impl PostgresWork {
    fn connection(&mut self) -> Result<&mut PoolConnection<Postgres>, LedgerError> {
        let server = &self.server;
        let doing = self.doing;
        self.connection.as_mut().ok_or_else(|| server.explain(doing, sqlx::Error::PoolClosed))
    }
}

impl Work for PostgresWork {
    fn fetch<'a>(&'a mut self, statement: &'a Statement) -> Pending<'a, Vec<Row>> {
        Box::pin(async move {
            let Some(text) = text(statement) else { return Ok(Vec::new()) };
            let query = bind(sqlx::query(AssertSqlSafe(text)), statement);
            let (server, doing) = (Arc::clone(&self.server), self.doing);
            let rows = server.answer(doing, query.fetch_all(&mut **self.connection()?)).await?;
            rows.iter().map(|row| read(row).map_err(|e| self.server.explain(self.doing, e))).collect()
        })
    }

    fn execute<'a>(&'a mut self, statement: &'a Statement) -> Pending<'a, u64> {
        Box::pin(async move {
            let Some(text) = text(statement) else { return Ok(0) };
            let query = bind(sqlx::query(AssertSqlSafe(text)), statement);
            let (server, doing) = (Arc::clone(&self.server), self.doing);
            let done = server.answer(doing, query.execute(&mut **self.connection()?)).await?;
            Ok(done.rows_affected())
        })
    }

    fn script<'a>(&'a mut self, text: &'static str) -> Pending<'a, ()> {
        Box::pin(async move {
            let (server, doing) = (Arc::clone(&self.server), self.doing);
            let script = sqlx::raw_sql(text).execute(&mut **self.connection()?);
            server.answer(doing, script).await.map(drop)
        })
    }

    fn commit(mut self: Box<Self>) -> Pending<'static, ()> {
        Box::pin(async move {
            self.script("COMMIT").await?;
            self.connection = None;
            Ok(())
        })
    }

    fn rollback(mut self: Box<Self>) -> Pending<'static, ()> {
        Box::pin(async move {
            self.script("ROLLBACK").await?;
            self.connection = None;
            Ok(())
        })
    }
}

/// The text to send; `None` if there are no rows to work on.
fn text(statement: &Statement) -> Option<String> {
    let mut text = String::new();
    if let Some(given) = &statement.given {
        if given.rows == 0 {
            return None;
        }
        let names: Vec<&str> = given.columns.iter().map(|(name, _)| *name).collect();
        let first = statement.values.len() + 1;
        let arrays = given.columns.iter().enumerate().map(|(index, (_, column))| {
            let kind = match column {
                Column::Int(_) => "bigint[]",
                Column::Real(_) => "double precision[]",
                Column::Text(_) => "text[]",
                Column::Json(_) => "text[]::json[]",
            };
            format!("${}::{kind}", first + index)
        });
        let arrays: Vec<String> = arrays.collect();
        text = format!("WITH given ({}) AS (SELECT * FROM unnest({})) ", names.join(", "), arrays.join(", "));
    }
    text.push_str(statement.text);
    text.push_str(match statement.lock {
        None => "",
        Some(RowLock::Stay) => " FOR SHARE",
        Some(RowLock::Change) => " FOR UPDATE",
    });
    Some(text)
}

fn bind<'q>(
    mut query: Query<'q, Postgres, PgArguments>,
    statement: &'q Statement,
) -> Query<'q, Postgres, PgArguments> {
    for cell in &statement.values {
        query = match cell {
            Cell::Null => query.bind(None::<i64>),
            Cell::Int(number) => query.bind(*number),
            Cell::Real(number) => query.bind(*number),
            Cell::Text(text) => query.bind(text.as_str()),
        };
    }
    for (_, column) in statement.given.iter().flat_map(|given| &given.columns) {
        query = match column {
            Column::Int(values) => query.bind(values),
            Column::Real(values) => query.bind(values),
            Column::Text(values) | Column::Json(values) => query.bind(values),
        };
    }
    query
}

fn read(row: &PgRow) -> Result<Row, sqlx::Error> {
    let cells = row.columns().iter().map(|column| {
        let index = column.ordinal();
        let value = row.try_get_raw(index)?;
        if value.is_null() {
            return Ok(Cell::Null);
        }
        match value.type_info().name() {
            "INT8" => row.try_get(index).map(Cell::Int),
            "FLOAT8" => row.try_get(index).map(Cell::Real),
            _ => row.try_get(index).map(Cell::Text),
        }
    });
    cells.collect::<Result<Vec<Cell>, sqlx::Error>>().map(Row::new)
}
