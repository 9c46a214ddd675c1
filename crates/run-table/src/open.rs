//! Opening and creating run tables. Other files in place of one are identified and left unchanged.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Mutex as SyncMutex,
    time::Duration,
};

use amore_model::Proposal;
use amore_shared_files::umask;
use nix::{
    fcntl::{AT_FDCWD, AtFlags},
    unistd::{AccessFlags, faccessat},
};
use sqlx::{
    ConnectOptions, Connection, Row, Sqlite, Transaction,
    sqlite::{SqliteConnectOptions, SqliteConnection, SqliteSynchronous},
};
use tokio::sync::Mutex;

use crate::{
    RunTableError, SCHEMA_VERSION, SettingValue,
    holders::lock_holders,
    migrate,
    patience::{self, Patience},
    settings, sql,
    sync_directory::sync_directory,
    value::Stored,
    views,
    views::KnownViews,
};

/// The name of the run table in a database directory.
pub const FILE_NAME: &str = "runs.sqlite";

const PAGE_BYTES: u32 = 4096;

/// How to open a run table.
#[derive(Clone, Copy, Debug)]
pub struct OpenOptions {
    /// Open for reading only: works in read-only directories, and does not migrate.
    pub read_only: bool,
    /// How long to wait for a lock that another process holds.
    pub busy_timeout: Duration,
    /// Called from time to time with a [`RunTableError::Busy`] while another process's lock is waited for. With it, writes
    /// of results wait without a limit; without it they fail after `busy_timeout`, as everything else does.
    pub waits: Option<fn(&RunTableError)>,
}

impl Default for OpenOptions {
    fn default() -> Self {
        OpenOptions { read_only: false, busy_timeout: Duration::from_secs(30), waits: None }
    }
}

/// An open run table: one connection, used by one caller at a time.
///
/// No transaction outlives the call that started it. Dropping a call's future rolls its transaction back.
#[derive(Debug)]
pub struct RunTable {
    pub(crate) connection: Mutex<SqliteConnection>,
    /// The variables in the views, as far as known; avoids scanning all values on each store.
    pub(crate) known_views: SyncMutex<Option<KnownViews>>,
    /// Schema version, 1 to 4; less than 4 only when opened for reading.
    pub(crate) version: i64,
    path: PathBuf,
    file: FileId,
    pub(crate) options: OpenOptions,
}

/// Identity of the file, independent of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileId {
    device: u64,
    inode: u64,
}

impl From<&fs::Metadata> for FileId {
    fn from(meta: &fs::Metadata) -> Self {
        FileId { device: meta.dev(), inode: meta.ino() }
    }
}

/// SQLite lets nobody but the owner write what it creates. Here, as for other files, the umask says who may.
fn share(path: &Path) -> Result<(), RunTableError> {
    let mode = 0o666 & !umask::own();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(|source| RunTableError::Io {
        doing: "share",
        path: path.to_owned(),
        source,
    })
}

impl RunTable {
    /// Creates a new run table in an existing directory and opens it.
    ///
    /// `db_id` are 20 random bytes, `extra` further settings (`context_python`, …). The file appears under its name
    /// when it is complete; a journal left by an earlier, deleted run table is removed.
    ///
    /// # Errors
    /// [`RunTableError::AlreadyExists`] if there is any file of that name; the directory is missing or cannot be written.
    pub async fn create(
        dir: &Path,
        proposal: Proposal,
        db_id: [u8; 20],
        extra: &[(&str, SettingValue)],
    ) -> Result<RunTable, RunTableError> {
        let dir = existing_directory(dir)?;
        let path = dir.join(FILE_NAME);
        if fs::symlink_metadata(&path).is_ok() {
            return Err(RunTableError::AlreadyExists { path });
        }
        if !accessible(&dir, AccessFlags::W_OK | AccessFlags::X_OK) {
            return Err(RunTableError::NotWritable { path: dir });
        }
        let id = hex::encode(db_id);
        let draft = dir.join(format!(".{FILE_NAME}.{}.new", &id[..8]));
        let made = write_draft(&draft, proposal, id, extra)
            .await
            .and_then(|()| share(&draft))
            .and_then(|()| publish(&draft, &path));
        let removed = fs::remove_file(&draft);
        made?;
        removed.map_err(|source| RunTableError::Io { doing: "remove", path: draft, source })?;
        sync_directory(&dir)?;
        RunTable::open(&dir).await
    }

    /// Opens for reading and writing. Versions 1 to 3 are migrated after a backup copy was made (`runs.sqlite.v3.backup`).
    ///
    /// # Errors
    /// See [`RunTableError`]; nothing was changed.
    pub async fn open(dir: &Path) -> Result<RunTable, RunTableError> {
        RunTable::open_with(dir, OpenOptions::default()).await
    }

    /// Opens for reading. Works on read-only directories, and on versions 1 to 3 without migrating them.
    ///
    /// # Errors
    /// See [`RunTableError`].
    pub async fn open_read_only(dir: &Path) -> Result<RunTable, RunTableError> {
        RunTable::open_with(dir, OpenOptions { read_only: true, ..OpenOptions::default() }).await
    }

    /// Opens with options.
    ///
    /// # Errors
    /// See [`RunTableError`].
    pub async fn open_with(dir: &Path, options: OpenOptions) -> Result<RunTable, RunTableError> {
        let dir = existing_directory(dir)?;
        let path = dir.join(FILE_NAME);
        let file = existing_file(&dir, &path)?;
        if !accessible(&path, AccessFlags::R_OK) {
            return Err(RunTableError::Unreadable { path });
        }
        let writable = |path: &Path, rights| {
            let denied = || RunTableError::NotWritable { path: path.to_owned() };
            accessible(path, rights).then_some(()).ok_or_else(denied)
        };
        if !options.read_only {
            writable(&path, AccessFlags::W_OK)?;
            writable(&dir, AccessFlags::W_OK | AccessFlags::X_OK)?;
        }
        let opened = open_and_migrate(&path, options).await;
        let (connection, version) = match opened {
            // A writer died in the middle of a transaction. Reading with write permission rolls it back.
            Err(RunTableError::Interrupted { .. }) if options.read_only => {
                let interrupted = |_| RunTableError::Interrupted { path: path.clone() };
                writable(&path, AccessFlags::W_OK).map_err(interrupted)?;
                writable(&dir, AccessFlags::W_OK | AccessFlags::X_OK).map_err(interrupted)?;
                let undo = connect_options(&path, OpenOptions { read_only: false, ..options });
                let undone = async {
                    let mut connection = undo.connect().await?;
                    inspect_tables(&mut connection).await?;
                    connection.close().await
                };
                undone.await.map_err(|e| explain(&path, options, "undo an interrupted transaction", e))?;
                open_and_migrate(&path, options).await?
            }
            opened => opened?,
        };
        if existing_file(&dir, &path)? != file {
            return Err(RunTableError::Replaced { path });
        }
        Ok(RunTable {
            connection: Mutex::new(connection),
            known_views: SyncMutex::new(None),
            version,
            path,
            file,
            options,
        })
    }

    /// Its format version: less than [`crate::SCHEMA_VERSION`] only if it was opened for reading.
    pub fn format_version(&self) -> i64 {
        self.version
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The database directory.
    pub fn dir(&self) -> &Path {
        // The path was made by joining a file name to the directory.
        self.path.parent().unwrap_or(&self.path)
    }

    /// Closes the connection; otherwise this happens in the background when the table is dropped.
    ///
    /// # Errors
    /// SQLite could not close it.
    pub async fn close(self) -> Result<(), RunTableError> {
        let closed = self.connection.into_inner().close().await;
        closed.map_err(|e| explain(&self.path, self.options, "close the run table", e))
    }

    /// Begins a write transaction, so that what is read in it is still valid when it commits.
    pub(crate) async fn begin<'c>(
        &self,
        connection: &'c mut SqliteConnection,
        doing: &'static str,
    ) -> Result<Transaction<'c, Sqlite>, RunTableError> {
        self.must_be_writable()?;
        self.settle(connection).await.map_err(|e| self.explain(doing, e))?;
        self.must_be_in_place()?;
        connection.begin_with("BEGIN IMMEDIATE").await.map_err(|e| self.explain(doing, e))
    }

    /// Ensures that no earlier transaction is still open.
    ///
    /// If the disk is full, SQLite rolls the transaction back itself. The driver's own rollback then fails, and it considers the
    /// connection to be in a transaction forever. Only a new connection helps.
    pub(crate) async fn settle(&self, connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        if connection.is_in_transaction() {
            // An abandoned transaction may still have to be rolled back: wait for that.
            connection.ping().await?;
        }
        if connection.is_in_transaction() {
            *connection = connect_options(&self.path, self.options).connect().await?;
        }
        Ok(())
    }

    pub(crate) fn must_be_writable(&self) -> Result<(), RunTableError> {
        if self.options.read_only { Err(RunTableError::OpenedReadOnly) } else { Ok(()) }
    }

    /// Checks that the file was not deleted: nobody else would see our writes.
    pub(crate) fn must_be_in_place(&self) -> Result<(), RunTableError> {
        match fs::metadata(&self.path) {
            Ok(meta) if FileId::from(&meta) == self.file => Ok(()),
            Ok(_) => Err(RunTableError::Replaced { path: self.path.clone() }),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                Err(RunTableError::Replaced { path: self.path.clone() })
            }
            Err(source) => Err(RunTableError::Io { doing: "look at", path: self.path.clone(), source }),
        }
    }

    pub(crate) fn explain(&self, doing: &'static str, error: sqlx::Error) -> RunTableError {
        explain(&self.path, self.options, doing, error)
    }
}

fn existing_directory(dir: &Path) -> Result<PathBuf, RunTableError> {
    // Absolute, so that no name is interpreted as a `file:` URI, and a later chdir has no effect.
    let dir = std::path::absolute(dir).map_err(|source| RunTableError::Io {
        doing: "find",
        path: dir.to_owned(),
        source,
    })?;
    match fs::metadata(&dir) {
        Ok(meta) if meta.is_dir() => Ok(dir),
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => Err(RunTableError::Unreadable { path: dir }),
        _ => Err(RunTableError::NoDirectory { dir }),
    }
}

fn existing_file(dir: &Path, path: &Path) -> Result<FileId, RunTableError> {
    let path = path.to_owned();
    let meta = match fs::metadata(&path) {
        Ok(meta) => meta,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            return Err(RunTableError::NotADatabaseDirectory { dir: dir.to_owned() });
        }
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
            return Err(RunTableError::Unreadable { path });
        }
        Err(source) => return Err(RunTableError::Io { doing: "look at", path, source }),
    };
    let kind = meta.file_type();
    if kind.is_dir() {
        return Err(RunTableError::NotAFile { path, what: "a directory" });
    }
    if !kind.is_file() {
        let what = if kind.is_socket() {
            "a socket"
        } else if kind.is_fifo() {
            "a pipe"
        } else {
            "a device"
        };
        return Err(RunTableError::NotAFile { path, what });
    }
    if meta.len() == 0 {
        return Err(RunTableError::Empty { path });
    }
    Ok(FileId::from(&meta))
}

/// Checked with the effective permissions; SQLite itself would silently fall back to reading.
fn accessible(path: &Path, rights: AccessFlags) -> bool {
    faccessat(AT_FDCWD, path, rights, AtFlags::AT_EACCESS).is_ok()
}

fn connect_options(path: &Path, options: OpenOptions) -> SqliteConnectOptions {
    let connect = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .read_only(options.read_only)
        .foreign_keys(true)
        .busy_timeout(options.busy_timeout)
        .row_buffer_size(1000)
        .disable_statement_logging();
    if options.read_only {
        connect
    } else {
        // Extra: the directory is also synced after the journal is deleted. With Full, a power failure could restore the
        // journal, which would undo a commit that we have reported.
        connect.page_size(PAGE_BYTES).synchronous(SqliteSynchronous::Extra)
    }
}

/// WAL does not work across hosts, so this mode is left as soon as nobody else has the table open. SQLite does not wait for
/// that, and as long as others use this mode, so can we.
async fn leave_wal(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    let mode: String = sqlx::query(sql::JOURNAL_MODE).fetch_one(&mut *connection).await?.try_get(0)?;
    if mode != "wal" {
        return Ok(());
    }
    match sqlx::query(sql::LEAVE_WAL).fetch_one(connection).await {
        Err(sqlx::Error::Database(error)) if is_busy(&*error) => Ok(()),
        other => other.map(drop),
    }
}

fn is_busy(error: &dyn sqlx::error::DatabaseError) -> bool {
    let code: i32 = error.code().and_then(|code| code.parse().ok()).unwrap_or(0);
    matches!(code & 0xff, 5 | 6)
}

/// Opens, and migrates an older version if it is opened for writing.
async fn open_and_migrate(
    path: &Path,
    options: OpenOptions,
) -> Result<(SqliteConnection, i64), RunTableError> {
    let mut patience = Patience::new();
    let (mut connection, version) = loop {
        let opened = open_file(path, patience::one_try(options)).await;
        if let Some(opened) = patience.until_timeout(options, opened).await? {
            break opened;
        }
    };
    let set = patience::set(&mut connection, options.busy_timeout).await;
    set.map_err(|e| explain(path, options, "open the run table", e))?;
    if version == SCHEMA_VERSION || options.read_only {
        return Ok((connection, version));
    }
    migrate::migrate(&mut connection, path, version, migrate::STEPS)
        .await
        .map_err(|e| e.into_table_error(path, |doing, e| explain(path, options, doing, e)))?;
    Ok((connection, SCHEMA_VERSION))
}

/// Opens a file that is a run table.
async fn open_file(path: &Path, options: OpenOptions) -> Result<(SqliteConnection, i64), RunTableError> {
    if path.to_str().is_none() {
        return Err(RunTableError::UnusablePath { path: path.to_owned() });
    }
    let failed = |e| explain(path, options, "open the run table", e);
    let mut connection = connect_options(path, options).connect().await.map_err(failed)?;
    if !options.read_only {
        leave_wal(&mut connection).await.map_err(failed)?;
    }
    let tables = inspect_tables(&mut connection).await.map_err(failed)?;
    let foreign = |missing| Err(RunTableError::Foreign { path: path.to_owned(), missing });
    let has = |name| tables.iter().any(|table| table == name);
    if tables.is_empty() {
        return Err(RunTableError::Empty { path: path.to_owned() });
    }
    if !has("metameta") {
        return foreign("metameta");
    }
    let version = read_version(&mut connection, path, options).await?;
    if version == 0 && (has("runs") || has("run_info")) {
        return Err(RunTableError::TooOld { path: path.to_owned() });
    }
    for name in ["run_info", "run_variables", "variables"] {
        if !has(name) {
            return foreign(name);
        }
    }
    match version {
        1..=SCHEMA_VERSION => Ok((connection, version)),
        0 => Err(RunTableError::TooOld { path: path.to_owned() }),
        version if version > SCHEMA_VERSION => Err(RunTableError::TooNew { path: path.to_owned(), version }),
        version => Err(RunTableError::BadVersion { path: path.to_owned(), found: version.to_string() }),
    }
}

async fn inspect_tables(connection: &mut SqliteConnection) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query(sql::TABLES).fetch_all(connection).await?.iter().map(|row| row.try_get(0)).collect()
}

/// The version; 0 if there is none, as in the legacy format.
async fn read_version(
    connection: &mut SqliteConnection,
    path: &Path,
    options: OpenOptions,
) -> Result<i64, RunTableError> {
    let found = settings::get(connection, "data_format_version").await;
    let bad = |found: String| RunTableError::BadVersion { path: path.to_owned(), found };
    match found.map_err(|e| explain(path, options, "open the run table", e))? {
        None => Ok(0),
        Some(Stored::Int(version)) => Ok(version),
        Some(Stored::Text(text)) => text.trim().parse().map_err(|_| bad(text)),
        Some(other) => Err(bad(format!("{other:?}"))),
    }
}

async fn write_draft(
    draft: &Path,
    proposal: Proposal,
    db_id: String,
    extra: &[(&str, SettingValue)],
) -> Result<(), RunTableError> {
    // Created by us, not by SQLite, which would omit the group's write permission.
    let made = fs::OpenOptions::new().write(true).create_new(true).mode(0o666).open(draft);
    made.map_err(|source| RunTableError::Io { doing: "create", path: draft.to_owned(), source })?;
    let written = async {
        let mut connection = connect_options(draft, OpenOptions::default()).connect().await?;
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        for step in migrate::STEPS {
            sqlx::raw_sql(step.sql).execute(&mut *transaction).await?;
        }
        let mut set = vec![
            ("data_format_version", SettingValue::Integer(SCHEMA_VERSION)),
            ("db_id", SettingValue::Text(db_id)),
            ("concurrent_jobs", SettingValue::Integer(15)),
            ("proposal", SettingValue::Integer(proposal.0.into())),
        ];
        set.extend(extra.iter().cloned());
        for (key, value) in &set {
            settings::set(&mut transaction, key, value).await?;
        }
        views::rebuild(&mut transaction).await?;
        transaction.commit().await?;
        connection.close().await
    };
    written.await.map_err(|e| explain(draft, OpenOptions::default(), "make a run table", e))
}

/// Gives the draft its final name, unless that exists.
fn publish(draft: &Path, path: &Path) -> Result<(), RunTableError> {
    // `rm runs.sqlite` after a crash leaves the journal; SQLite would restore the old table's pages into the new one.
    for suffix in ["-journal", "-wal", "-shm"] {
        let mut left = path.as_os_str().to_owned();
        left.push(suffix);
        match fs::remove_file(&left) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                return Err(RunTableError::Io { doing: "remove", path: left.into(), source: e });
            }
            _ => {}
        }
    }
    fs::hard_link(draft, path).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => RunTableError::AlreadyExists { path: path.to_owned() },
        _ => RunTableError::Io { doing: "create", path: path.to_owned(), source },
    })
}

/// Converts SQLite's error, by what the caller can do.
fn explain(path: &Path, options: OpenOptions, doing: &'static str, error: sqlx::Error) -> RunTableError {
    let path = path.to_owned();
    let sqlx::Error::Database(database) = &error else { return RunTableError::Sql { doing, source: error } };
    let code: i32 = database.code().and_then(|code| code.parse().ok()).unwrap_or(0);
    // SQLite's result codes: the low byte is the kind, the rest the detail.
    match (code & 0xff, code) {
        (5 | 6, _) => {
            RunTableError::Busy { holders: lock_holders(&path), path, waited: options.busy_timeout }
        }
        (8, 1032) => RunTableError::Replaced { path },
        (8, 264 | 520 | 776) => RunTableError::Interrupted { path },
        (8, _) => RunTableError::NotWritable { path },
        (11, _) => RunTableError::Corrupt { path, detail: database.message().to_owned() },
        (13, _) => RunTableError::Full { path },
        (14, _) if options.read_only => RunTableError::Unreadable { path },
        (14, _) => RunTableError::NotWritable { path },
        (26, _) => RunTableError::NotSqlite { path },
        _ => RunTableError::Sql { doing, source: error },
    }
}
