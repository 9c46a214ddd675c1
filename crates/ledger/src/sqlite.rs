//! The ledger in a SQLite file.
//!
//! It uses a rollback journal instead of a write-ahead log, which needs memory shared by all readers; network file systems
//! do not provide that. There is one connection, used by one caller at a time.

use std::{
    fs,
    io::{self, Read},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use nix::{
    fcntl::{AT_FDCWD, AtFlags},
    unistd::{AccessFlags, Gid, faccessat},
};
use sqlx::{
    AssertSqlSafe, Column as _, ConnectOptions as _, Row as _, Sqlite, TypeInfo, ValueRef,
    pool::PoolConnection,
    query::Query,
    sqlite::{
        SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow,
        SqliteSynchronous,
    },
};

use crate::{
    LedgerError, OpenOptions,
    engine::{Engine, Mode, Pending, Work},
    migrate::{self, Step, steps},
    statement::{Cell, Column, Given, Row, Statement},
};

pub(crate) const STEPS: &[Step] = steps!("sqlite": 1 "tasks", 2 "waits_and_story", 3 "inbox", 4 "tokens");

/// "AMLE" in the file's header distinguishes a ledger from other SQLite databases.
const APPLICATION_ID: i64 = 0x414d_4c45;
const MARK: &str = "PRAGMA application_id = 1095584837";
/// Number of rows of `given` in one statement.
const ROWS: usize = 100;

/// An open file.
#[derive(Clone, Debug)]
pub(crate) struct SqliteEngine(Arc<File>);

#[derive(Debug)]
struct File {
    pool: SqlitePool,
    path: PathBuf,
    device: u64,
    inode: u64,
    options: OpenOptions,
}

/// Opens a ledger; creates one if there is no file.
pub(crate) async fn open(path: &Path, options: &OpenOptions) -> Result<SqliteEngine, LedgerError> {
    let path = std::path::absolute(path).map_err(io_error("find", path))?;
    make_or_look_at(&path)?;
    let engine = engine(path, options, |connect| {
        connect.journal_mode(SqliteJournalMode::Truncate).synchronous(SqliteSynchronous::Full)
    })?;
    let mut work = engine.begin_anyhow(Mode::Write, "open it").await?;
    match prepare(&mut work, &engine.0).await {
        Ok(()) => Box::new(work).commit().await?,
        Err(error) => {
            drop(work);
            engine.0.pool.close().await;
            return Err(error);
        }
    }
    Ok(engine)
}

/// Opens an existing ledger without writing. `None`: it has to be written first, or is not a ledger.
pub(crate) async fn open_to_read(
    path: &Path,
    options: &OpenOptions,
) -> Result<Option<SqliteEngine>, LedgerError> {
    let path = std::path::absolute(path).map_err(io_error("find", path))?;
    if !accessible(&path, AccessFlags::R_OK) {
        return Ok(None);
    }
    let engine = engine(path, options, |connect| connect.read_only(true))?;
    match is_current(&engine).await {
        Ok(true) => Ok(Some(engine)),
        // Opening it for writing reports what is wrong, and repairs what can be repaired.
        Ok(false) => {
            engine.0.pool.close().await;
            Ok(None)
        }
        Err(error @ LedgerError::Busy { .. }) => Err(error),
        Err(_) => {
            engine.0.pool.close().await;
            Ok(None)
        }
    }
}

/// Whether it is a ledger with the current schema.
async fn is_current(engine: &SqliteEngine) -> Result<bool, LedgerError> {
    let mut work = engine.begin_anyhow(Mode::Read, "open it").await?;
    let id = number(&mut work, &Statement::new("PRAGMA application_id")).await?;
    let current = id == APPLICATION_ID
        && migrate::applied(&mut work, &engine.place(), STEPS).await? == migrate::SCHEMA_VERSION;
    Box::new(work).rollback().await?;
    Ok(current)
}

fn engine(
    path: PathBuf,
    options: &OpenOptions,
    how: impl FnOnce(SqliteConnectOptions) -> SqliteConnectOptions,
) -> Result<SqliteEngine, LedgerError> {
    let meta = fs::metadata(&path).map_err(io_error("inspect", &path))?;
    let connect = SqliteConnectOptions::new()
        .filename(&path)
        .create_if_missing(false)
        .foreign_keys(true)
        .busy_timeout(options.patience)
        .disable_statement_logging();
    let connect = how(connect);
    let pool = SqlitePoolOptions::new()
        .max_connections(1)
        .acquire_timeout(options.patience * 2)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .connect_lazy_with(connect);
    let file = File { pool, path, device: meta.dev(), inode: meta.ino(), options: options.clone() };
    Ok(SqliteEngine(Arc::new(file)))
}

/// Creates an empty file, or refuses a file that cannot be a ledger.
fn make_or_look_at(path: &Path) -> Result<(), LedgerError> {
    let dir = path.parent().unwrap_or(path);
    let dir_meta = match fs::metadata(dir) {
        Ok(meta) if meta.is_dir() => meta,
        _ => return Err(LedgerError::NoDirectory { dir: dir.to_owned() }),
    };
    let foreign = |what| Err(LedgerError::Foreign { place: path.display().to_string(), what });
    let not_writable = |path: &Path| LedgerError::NotWritable { path: path.to_owned() };
    if !accessible(dir, AccessFlags::W_OK | AccessFlags::X_OK) {
        return Err(not_writable(dir));
    }
    match fs::metadata(path) {
        Ok(meta) if !meta.is_file() => {
            return foreign(if meta.is_dir() { "a directory" } else { "not a regular file" });
        }
        Ok(meta) => {
            if !accessible(path, AccessFlags::R_OK | AccessFlags::W_OK) {
                return Err(not_writable(path));
            }
            let mut start = Vec::new();
            let opened = fs::File::open(path).map_err(io_error("open", path))?;
            opened.take(16).read_to_end(&mut start).map_err(io_error("read", path))?;
            if meta.len() > 0 && start != b"SQLite format 3\0" {
                return foreign("a file of another kind");
            }
            return Ok(());
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(io_error("inspect", path)(e)),
    }
    // A file that was removed after a crash leaves its journal: SQLite would roll the new file back with it.
    for suffix in ["-journal", "-wal", "-shm"] {
        let mut left = path.as_os_str().to_owned();
        left.push(suffix);
        match fs::remove_file(&left) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                return Err(io_error("remove", Path::new(&left))(e));
            }
            _ => {}
        }
    }
    // Created here and not by SQLite, which would not grant write permission to the group. An empty file is a new ledger.
    match fs::OpenOptions::new().write(true).create_new(true).mode(0o660).open(path) {
        Ok(file) => {
            let share = fs::Permissions::from_mode(0o660);
            file.set_permissions(share).map_err(io_error("share with the group", path))?;
            if file.metadata().map_err(io_error("inspect", path))?.gid() != dir_meta.gid() {
                // Only a member of the group may change the group; otherwise the file keeps the user's own group.
                let _ = nix::unistd::chown(path, None, Some(Gid::from_raw(dir_meta.gid())));
            }
            file.sync_all().map_err(io_error("sync", path))?;
            fs::File::open(dir).and_then(|dir| dir.sync_all()).map_err(io_error("sync", dir))
        }
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(e) => Err(io_error("create", path)(e)),
    }
}

/// Checks access with the effective user ID; SQLite itself would silently fall back to reading.
fn accessible(path: &Path, rights: AccessFlags) -> bool {
    faccessat(AT_FDCWD, path, rights, AtFlags::AT_EACCESS).is_ok()
}

fn io_error(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> LedgerError {
    let path = path.to_owned();
    move |source| match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            LedgerError::Full { place: path.display().to_string() }
        }
        _ => LedgerError::Io { doing, path, source },
    }
}

/// In the opening transaction: checks that the file is a ledger, has a known schema and belongs to this host.
async fn prepare(work: &mut SqliteWork, file: &File) -> Result<(), LedgerError> {
    let place = file.path.display().to_string();
    let tables = Statement::new("SELECT count(*) FROM sqlite_master");
    let fresh = number(work, &tables).await? == 0;
    if fresh {
        work.script(MARK).await?;
    } else if number(work, &Statement::new("PRAGMA application_id")).await? != APPLICATION_ID {
        return Err(LedgerError::Foreign { place, what: "another SQLite database" });
    }
    migrate::migrate(work, &place, STEPS, fresh, file.options.now).await?;

    let OpenOptions { host, now, .. } = &file.options;
    match work.fetch(&Statement::new(HOME)).await?.pop() {
        None => {
            let insert = "INSERT INTO home (id, host, since) VALUES (1, $1, $2)";
            work.execute(&Statement::new(insert).text(host).real(*now)).await?;
        }
        Some(mut row) => {
            let home = row.text()?;
            if home != *host {
                let running = Statement::new("SELECT max(until) FROM lease WHERE until > $1").real(*now);
                let until = work.fetch(&running).await?.pop().map(|mut row| row.maybe_real()).transpose()?;
                if let Some(until) = until.flatten() {
                    let left = std::time::Duration::try_from_secs_f64(until - now).unwrap_or_default();
                    return Err(LedgerError::OtherHost {
                        path: file.path.clone(),
                        host: home,
                        left: Some(left),
                    });
                }
                let update = "UPDATE home SET host = $1, since = $2";
                work.execute(&Statement::new(update).text(host).real(*now)).await?;
            }
        }
    }
    Ok(())
}

const HOME: &str = "SELECT host FROM home WHERE id = 1";

async fn number(work: &mut SqliteWork, statement: &Statement) -> Result<i64, LedgerError> {
    work.fetch(statement).await?.pop().map_or(Ok(0), |mut row| row.int())
}

impl SqliteEngine {
    async fn begin_anyhow(&self, mode: Mode, doing: &'static str) -> Result<SqliteWork, LedgerError> {
        let file = self.0.clone();
        // Writes to a deleted file would be lost.
        match fs::metadata(&file.path) {
            Ok(meta) if meta.dev() == file.device && meta.ino() == file.inode => {}
            Ok(_) => return Err(LedgerError::Replaced { path: file.path.clone() }),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Err(LedgerError::Replaced { path: file.path.clone() });
            }
            Err(e) => return Err(io_error("inspect", &file.path)(e)),
        }
        let connection = file.pool.acquire().await.map_err(|e| file.explain(doing, e))?;
        let mut work = SqliteWork { connection: Some(connection), file, doing };
        work.send(match mode {
            Mode::Read => "BEGIN",
            Mode::Write => "BEGIN IMMEDIATE",
        })
        .await?;
        Ok(work)
    }
}

impl Engine for SqliteEngine {
    fn begin(&self, mode: Mode, doing: &'static str) -> Pending<'_, Box<dyn Work>> {
        Box::pin(async move {
            let mut work = self.begin_anyhow(mode, doing).await?;
            if mode == Mode::Write {
                let home = work.fetch(&Statement::new(HOME)).await?.pop();
                let home = home.map_or_else(|| Ok(String::new()), |mut row| row.text())?;
                if home != self.0.options.host {
                    Box::new(work).rollback().await?;
                    return Err(LedgerError::OtherHost { path: self.0.path.clone(), host: home, left: None });
                }
            }
            Ok(Box::new(work) as Box<dyn Work>)
        })
    }

    fn place(&self) -> String {
        self.0.path.display().to_string()
    }

    fn time(&self) -> Option<&'static str> {
        None
    }

    fn close(&self) -> Pending<'_, ()> {
        Box::pin(async {
            self.0.pool.close().await;
            Ok(())
        })
    }
}

impl File {
    fn explain(&self, doing: &'static str, error: sqlx::Error) -> LedgerError {
        let place = self.path.display().to_string();
        let busy = || LedgerError::Busy { place: place.clone(), doing, waited: self.options.patience };
        let (code, words) = match &error {
            sqlx::Error::PoolTimedOut => return busy(),
            sqlx::Error::Database(e) if e.is_unique_violation() => {
                return LedgerError::Misuse { what: e.message().to_owned() };
            }
            sqlx::Error::Database(e) => {
                (e.code().and_then(|code| code.parse::<i32>().ok()).unwrap_or(0), e.message().to_owned())
            }
            _ => (0, String::new()),
        };
        // SQLite's result codes: the low byte is the category.
        match code & 0xff {
            5 | 6 => busy(),
            8 | 14 => LedgerError::NotWritable { path: self.path.clone() },
            11 => LedgerError::Corrupt { path: self.path.clone(), detail: words },
            13 => LedgerError::Full { place },
            26 => LedgerError::Foreign { place, what: "a file of another kind" },
            _ => LedgerError::Other { place, doing, source: error },
        }
    }
}

/// A transaction on a pooled connection. If it is dropped before the end, the connection is closed too, which rolls it
/// back, whatever state the driver assumes.
struct SqliteWork {
    connection: Option<PoolConnection<Sqlite>>,
    file: Arc<File>,
    doing: &'static str,
}

impl Drop for SqliteWork {
    fn drop(&mut self) {
        if let Some(connection) = &mut self.connection {
            connection.close_on_drop();
        }
    }
}

impl SqliteWork {
    fn connection(&mut self) -> Result<&mut PoolConnection<Sqlite>, LedgerError> {
        let file = &self.file;
        let doing = self.doing;
        self.connection.as_mut().ok_or_else(|| file.explain(doing, sqlx::Error::PoolClosed))
    }

    async fn send(&mut self, text: &'static str) -> Result<(), LedgerError> {
        let sent = sqlx::query(text).execute(&mut **self.connection()?).await;
        sent.map(drop).map_err(|e| self.file.explain(self.doing, e))
    }
}

impl Work for SqliteWork {
    fn fetch<'a>(&'a mut self, statement: &'a Statement) -> Pending<'a, Vec<Row>> {
        Box::pin(async move {
            let mut answer = Vec::new();
            for (text, cached, cells) in parts(statement) {
                let query = bind(sqlx::query(AssertSqlSafe(text)).persistent(cached), cells);
                let rows = query.fetch_all(&mut **self.connection()?).await;
                for row in rows.map_err(|e| self.file.explain(self.doing, e))? {
                    answer.push(read(&row).map_err(|e| self.file.explain(self.doing, e))?);
                }
            }
            Ok(answer)
        })
    }

    fn execute<'a>(&'a mut self, statement: &'a Statement) -> Pending<'a, u64> {
        Box::pin(async move {
            let mut changed = 0;
            for (text, cached, cells) in parts(statement) {
                let query = bind(sqlx::query(AssertSqlSafe(text)).persistent(cached), cells);
                let done = query.execute(&mut **self.connection()?).await;
                changed += done.map_err(|e| self.file.explain(self.doing, e))?.rows_affected();
            }
            Ok(changed)
        })
    }

    fn script<'a>(&'a mut self, text: &'static str) -> Pending<'a, ()> {
        Box::pin(async move {
            let done = sqlx::raw_sql(text).execute(&mut **self.connection()?).await;
            done.map(drop).map_err(|e| self.file.explain(self.doing, e))
        })
    }

    fn commit(mut self: Box<Self>) -> Pending<'static, ()> {
        Box::pin(async move {
            self.send("COMMIT").await?;
            self.connection = None;
            Ok(())
        })
    }

    fn rollback(mut self: Box<Self>) -> Pending<'static, ()> {
        Box::pin(async move {
            self.send("ROLLBACK").await?;
            self.connection = None;
            Ok(())
        })
    }
}

/// The texts to send, with their values. A statement on many rows is split into several.
fn parts(statement: &Statement) -> Vec<(String, bool, Vec<Cell>)> {
    let parts = cut(statement);
    #[cfg(test)]
    tests::SENT.lock().unwrap().extend(parts.iter().map(|(text, ..)| text.clone()));
    parts
}

fn cut(statement: &Statement) -> Vec<(String, bool, Vec<Cell>)> {
    let Some(given) = &statement.given else {
        return vec![(statement.text.to_owned(), true, statement.values.clone())];
    };
    let starts = (0..given.rows).step_by(ROWS);
    starts.map(|start| part(statement, given, start..given.rows.min(start + ROWS))).collect()
}

fn part(statement: &Statement, given: &Given, rows: std::ops::Range<usize>) -> (String, bool, Vec<Cell>) {
    let names: Vec<&str> = given.columns.iter().map(|(name, _)| *name).collect();
    let mut cells = statement.values.clone();
    let mut tuples = Vec::with_capacity(rows.len());
    // Other numbers of rows would give too many different texts to cache.
    let cached = rows.len() == 1 || rows.len() == ROWS;
    for row in rows {
        let mut tuple = Vec::with_capacity(names.len());
        for (_, column) in &given.columns {
            cells.push(cell(column, row));
            tuple.push(format!("${}", cells.len()));
        }
        tuples.push(format!("({})", tuple.join(", ")));
    }
    let text =
        format!("WITH given ({}) AS (VALUES {}) {}", names.join(", "), tuples.join(", "), statement.text);
    (text, cached, cells)
}

fn cell(column: &Column, row: usize) -> Cell {
    match column {
        Column::Int(values) => values[row].map_or(Cell::Null, Cell::Int),
        Column::Real(values) => values[row].map_or(Cell::Null, Cell::Real),
        Column::Text(values) | Column::Json(values) => values[row].clone().map_or(Cell::Null, Cell::Text),
    }
}

fn bind<'q>(
    query: Query<'q, Sqlite, SqliteArguments>,
    cells: Vec<Cell>,
) -> Query<'q, Sqlite, SqliteArguments> {
    cells.into_iter().fold(query, |query, cell| match cell {
        Cell::Null => query.bind(None::<i64>),
        Cell::Int(number) => query.bind(number),
        Cell::Real(number) => query.bind(number),
        Cell::Text(text) => query.bind(text),
    })
}

fn read(row: &SqliteRow) -> Result<Row, sqlx::Error> {
    let cells = row.columns().iter().map(|column| {
        let index = column.ordinal();
        let value = row.try_get_raw(index)?;
        if value.is_null() {
            return Ok(Cell::Null);
        }
        let kind = value.type_info().name().to_owned();
        match kind.as_str() {
            "INTEGER" => row.try_get_unchecked(index).map(Cell::Int),
            "REAL" => row.try_get_unchecked(index).map(Cell::Real),
            _ => row.try_get_unchecked(index).map(Cell::Text),
        }
    });
    cells.collect::<Result<Vec<Cell>, sqlx::Error>>().map(Row::new)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, sync::Mutex, time::Duration};

    use amore_model::{Proposal, Run};
    use serde_json::Value;

    use super::*;
    use crate::{
        Acquired, ArrivalChange, ArrivalFilter, ArrivalState, AttemptRow, Changes, Holder, Ledger,
        NewArrival, NewEvent, NewRequest, NewTask, Phase, PhaseChange, Place,
    };

    /// Every statement that was sent.
    pub(super) static SENT: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

    async fn use_everything(ledger: &Ledger) -> Result<(), LedgerError> {
        let (proposal, run) = (Proposal(1), Run(2));
        let text = || "x".to_owned();
        let me = Holder { host: text(), pid: 1, token: text(), user: text(), address: None };
        let Acquired::Mine(lease) = ledger.acquire("s", &me, 0.0, Duration::from_secs(9), None).await? else {
            panic!("held")
        };
        ledger.renew(&lease, 1.0, Duration::from_secs(9)).await?;
        ledger.set_fact(&lease, "k", &Value::Null).await?;
        ledger.fact("s", "k").await?;
        let request =
            NewRequest { id: text(), created: 0.0, by_user: text(), origin: text(), detail: Value::Null };
        let task = |id: &str, waits_for: &[&str]| NewTask {
            id: id.into(),
            proposal,
            run,
            priority: 0,
            place: Place::Local,
            facts: Value::Null,
            spec: Value::Null,
            waits_for: waits_for.iter().map(|&id| id.to_owned()).collect(),
        };
        ledger.add_request(&lease, &request, &[task("a", &[]), task("b", &["a"])]).await?;
        let event = NewEvent {
            proposal,
            run,
            task: None,
            at: 1.0,
            kind: text(),
            message: text(),
            detail: Value::Null,
        };
        let step = |id: &str| PhaseChange {
            id: id.into(),
            from: Phase::Ready,
            to: Phase::Ended,
            facts: None,
            attempt: None,
            event: Some(event.clone()),
        };
        let attempts = vec![AttemptRow { task: "a".into(), token: "t".into(), ..AttemptRow::default() }];
        let changes = Changes { moves: vec![step("a")], attempts, events: vec![] };
        ledger.apply(&lease, 1.0, &changes).await?;
        assert!(ledger.move_tasks(&lease, 1.0, &[step("a"), step("c")]).await.is_err());
        let unknown = AttemptRow { task: "c".into(), token: "u".into(), ..AttemptRow::default() };
        assert!(ledger.upsert_attempts(&lease, &[unknown]).await.is_err());
        ledger.open_tasks("s").await?;
        ledger.tasks_of_run("s", proposal, run, 5).await?;
        ledger.task("s", "a").await?;
        ledger.counts("s").await?;
        ledger.attempts_of_task("s", "a").await?;
        ledger.attempts_by_job("", 1).await?;
        ledger.open_attempts("s").await?;
        ledger.find_token("t").await?;
        ledger.events_of_run("s", proposal, run).await?;
        ledger.requests("s", true).await?;
        ledger.requests("s", false).await?;
        ledger.finish_request(&lease, "x", 1.0).await?;
        let arrival = NewArrival {
            source: text(),
            source_id: Some(text()),
            proposal: Some(proposal),
            run: Some(run),
            data: Some("raw".to_owned()),
            complete: true,
            forced: false,
            received: 0.0,
            payload: text(),
            state: ArrivalState::Open,
            detail: Value::Null,
        };
        let id = ledger.accept(&lease, &[arrival.clone(), arrival.clone()]).await?[0].id;
        ledger.accept(&lease, &[arrival]).await?;
        ledger.open_arrivals("s").await?;
        ledger.arrivals("s", &ArrivalFilter::default(), 5).await?;
        ledger.arrival("s", id).await?;
        ledger.arrival_counts("s").await?;
        ledger.last_known("s", proposal, run, "raw").await?;
        let done = ArrivalChange { id, state: ArrivalState::Done, detail: Value::Null, at: 1.0 };
        ledger.change_arrivals(&lease, &[done]).await?;
        ledger.forget_arrivals(&lease, 2.0).await?;
        ledger.prune(&lease, 0.0).await?;
        ledger.forget_scope(&lease).await?;
        ledger.release(lease).await
    }

    #[tokio::test]
    async fn no_statement_reads_more_rows_as_the_ledger_grows() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.sqlite");
        let ledger = Ledger::open(path.to_str().unwrap(), &OpenOptions::new("here", 0.0)).await.unwrap();
        SENT.lock().unwrap().clear();
        use_everything(&ledger).await.unwrap();
        let sent = SENT.lock().unwrap().clone();
        assert!(sent.len() > 30, "{sent:#?}");
        let mut raw = SqliteConnectOptions::new().filename(&path).connect().await.unwrap();
        let grows =
            ["task", "task_wait", "attempt", "event", "request", "waiting", "arrival", "old", "later"];
        let mut scans = Vec::new();
        for text in sent {
            let explain = format!("EXPLAIN QUERY PLAN {text}");
            for row in sqlx::query(AssertSqlSafe(explain)).fetch_all(&mut raw).await.unwrap() {
                let plan: String = row.get("detail");
                let scanned = plan.strip_prefix("SCAN ").and_then(|rest| rest.split(' ').next());
                if scanned.is_some_and(|table| grows.contains(&table)) {
                    scans.push(format!("{plan}: {text}"));
                }
            }
        }
        assert!(scans.is_empty(), "{scans:#?}");
    }
}
