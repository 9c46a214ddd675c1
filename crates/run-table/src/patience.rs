//! Writing although others read: how long a lock of theirs is waited for, and how new readers get in meanwhile.

use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, sqlite::SqliteConnection};

use crate::{RunTable, RunTableError};

/// One try to write. While it waits for readers that are there, SQLite lets no new ones in: they wait in turn, most of
/// them for five seconds (Python's default).
const ATTEMPT: Duration = Duration::from_secs(2);
/// Between two tries readers get in.
const PAUSE: Duration = Duration::from_millis(400);
/// When it is told that something waits: a reader of a moment is nobody's concern.
const TELL_AFTER: [Duration; 3] = [Duration::from_secs(5), Duration::from_secs(60), Duration::from_secs(600)];

/// What has come of waiting so far.
pub(crate) struct Patience {
    begun: Instant,
    tell_at: Duration,
}

impl Patience {
    pub(crate) fn new() -> Self {
        Patience { begun: Instant::now(), tell_at: TELL_AFTER[0] }
    }

    /// Before each try.
    pub(crate) async fn try_now(&self, table: &RunTable) -> Result<(), RunTableError> {
        if table.options.waits.is_some() { table.set_busy_timeout(ATTEMPT).await } else { Ok(()) }
    }

    /// After it: what it came to, or nothing if it is to be tried again. Nothing of a try that failed stays.
    pub(crate) async fn after<T>(
        &mut self,
        table: &RunTable,
        done: Result<T, RunTableError>,
    ) -> Result<Option<T>, RunTableError> {
        let Some(tell) = table.options.waits else { return done.map(Some) };
        table.set_busy_timeout(table.options.busy_timeout).await?;
        let Err(RunTableError::Busy { path, holders, .. }) = done else { return done.map(Some) };
        let waited = self.begun.elapsed();
        if waited >= self.tell_at {
            tell(&RunTableError::Busy { path, waited, holders });
            let later = TELL_AFTER.into_iter().find(|after| *after > waited);
            self.tell_at = later.unwrap_or(waited + TELL_AFTER[2]);
        }
        tokio::time::sleep(PAUSE).await;
        Ok(None)
    }
}

impl RunTable {
    async fn set_busy_timeout(&self, timeout: Duration) -> Result<(), RunTableError> {
        const DOING: &str = "set how long locks are waited for";
        let mut connection = self.connection.lock().await;
        self.settle(&mut connection).await.map_err(|e| self.explain(DOING, e))?;
        set(&mut connection, timeout).await.map_err(|e| self.explain(DOING, e))
    }
}

async fn set(connection: &mut SqliteConnection, timeout: Duration) -> Result<(), sqlx::Error> {
    let text = format!("-- patience::set\nPRAGMA busy_timeout = {}", timeout.as_millis());
    sqlx::query(AssertSqlSafe(text)).fetch_optional(connection).await.map(drop)
}
