//! Writing while others read: how long to wait for their locks, and how to let new readers in during that time.

use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, sqlite::SqliteConnection};

use crate::{OpenOptions, RunTable, RunTableError};

/// Duration of one try. While it waits for existing readers, SQLite blocks new ones, most of which wait for five seconds
/// (Python's default).
const ATTEMPT: Duration = Duration::from_secs(2);
/// Pause between two tries, which lets readers in.
const PAUSE: Duration = Duration::from_millis(400);
/// When to report waiting: short readers are not worth a message.
const TELL_AFTER: [Duration; 3] = [Duration::from_secs(5), Duration::from_secs(60), Duration::from_secs(600)];

/// Progress of waiting.
pub(crate) struct Patience {
    begun: Instant,
    tell_at: Duration,
}

impl Patience {
    pub(crate) fn new() -> Self {
        Patience { begun: Instant::now(), tell_at: TELL_AFTER[0] }
    }

    /// Call before each try.
    pub(crate) async fn try_now(&self, table: &RunTable) -> Result<(), RunTableError> {
        if table.options.waits.is_some() { table.set_busy_timeout(ATTEMPT).await } else { Ok(()) }
    }

    /// Call after each try. Returns its result, or `None` to try again. A failed try has no effect.
    pub(crate) async fn after<T>(
        &mut self,
        table: &RunTable,
        done: Result<T, RunTableError>,
    ) -> Result<Option<T>, RunTableError> {
        let Some(tell) = table.options.waits else { return done.map(Some) };
        table.set_busy_timeout(table.options.busy_timeout).await?;
        self.wait(tell, Duration::MAX, done).await
    }

    /// The same for operations that give up after the timeout of the options.
    pub(crate) async fn until_timeout<T>(
        &mut self,
        options: OpenOptions,
        done: Result<T, RunTableError>,
    ) -> Result<Option<T>, RunTableError> {
        match options.waits {
            Some(tell) => self.wait(tell, options.busy_timeout, done).await,
            None => done.map(Some),
        }
    }

    async fn wait<T>(
        &mut self,
        tell: fn(&RunTableError),
        limit: Duration,
        done: Result<T, RunTableError>,
    ) -> Result<Option<T>, RunTableError> {
        let Err(RunTableError::Busy { path, holders, .. }) = done else { return done.map(Some) };
        let waited = self.begun.elapsed();
        let busy = RunTableError::Busy { path, waited, holders };
        if waited >= limit {
            return Err(busy);
        }
        if waited >= self.tell_at {
            tell(&busy);
            let later = TELL_AFTER.into_iter().find(|after| *after > waited);
            self.tell_at = later.unwrap_or(waited + TELL_AFTER[2]);
        }
        tokio::time::sleep(PAUSE).await;
        Ok(None)
    }
}

/// The options of one try: a short one if waiting is to be reported.
pub(crate) fn one_try(options: OpenOptions) -> OpenOptions {
    let busy_timeout =
        if options.waits.is_some() { ATTEMPT.min(options.busy_timeout) } else { options.busy_timeout };
    OpenOptions { busy_timeout, ..options }
}

impl RunTable {
    async fn set_busy_timeout(&self, timeout: Duration) -> Result<(), RunTableError> {
        const DOING: &str = "set how long locks are waited for";
        let mut connection = self.connection.lock().await;
        self.settle(&mut connection).await.map_err(|e| self.explain(DOING, e))?;
        set(&mut connection, timeout).await.map_err(|e| self.explain(DOING, e))
    }
}

pub(crate) async fn set(connection: &mut SqliteConnection, timeout: Duration) -> Result<(), sqlx::Error> {
    let text = format!("-- patience::set\nPRAGMA busy_timeout = {}", timeout.as_millis());
    sqlx::query(AssertSqlSafe(text)).fetch_optional(connection).await.map(drop)
}
