//! Small facts about a scope.

use serde_json::Value;

use crate::{
    Lease, Ledger, LedgerError,
    engine::Mode,
    statement::{Rows, Statement},
};

const READ: &str = "SELECT CAST(value AS TEXT) FROM fact WHERE scope = $1 AND key = $2";
const WRITE: &str = "INSERT INTO fact (scope, key, value) SELECT $1, key, value FROM given WHERE true \
                     ON CONFLICT (scope, key) DO UPDATE SET value = excluded.value";

impl Ledger {
    /// The value stored under `key`.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub async fn fact(&self, scope: &str, key: &str) -> Result<Option<Value>, LedgerError> {
        let mut work = self.engine.begin(Mode::Read, "read a fact").await?;
        let rows = work.fetch(&Statement::new(READ).text(scope).text(key)).await?;
        work.commit().await?;
        rows.into_iter().next().map(|mut row| row.json()).transpose()
    }

    /// Stores `value` under `key`, replacing an earlier value.
    ///
    /// # Errors
    /// [`LedgerError::Deposed`], or the ledger cannot be written.
    pub async fn set_fact(&self, lease: &Lease, key: &str, value: &Value) -> Result<(), LedgerError> {
        let mut work = self.write(lease, "store a fact").await?;
        let rows = [(key, value)];
        let given = Rows::of(&rows).text("key", |row| row.0).json("value", |row| row.1).end();
        work.execute(&Statement::new(WRITE).text(&lease.scope).given(given)).await?;
        work.commit().await
    }
}
