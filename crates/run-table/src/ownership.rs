//! The owner row in `runs.sqlite`: acquiring, renewing and releasing the right to write. The rule: [`amore_model::lease`].

use std::time::Duration;

use amore_model::lease::{Claim, Decision, Epochs, Holder, LeaseState, decide};
use sqlx::{Row, sqlite::SqliteConnection};

use crate::{RunTable, RunTableError, patience::Patience, sql, value::Stored};

/// The right to write results, valid as long as nobody else has taken over the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ownership {
    /// This process. A changed address is written at the next [`RunTable::renew`].
    pub holder: Holder,
    /// The epoch.
    pub epoch: u64,
}

/// Result of trying to own the table.
#[derive(Clone, Debug, PartialEq)]
pub enum Acquired {
    /// The caller owns it.
    Mine(Ownership),
    /// Another process owns it.
    HeldBy(Claim),
}

impl RunTable {
    /// Takes the table for `term` from `now` (seconds since 1970), if the rule ([`decide`]) allows it.
    ///
    /// `dead`: the holder that the caller knows to be dead, for example because there is no such process on this host.
    ///
    /// # Errors
    /// The table cannot be written. It is not an error if another process owns it.
    pub async fn acquire(
        &self,
        me: &Holder,
        now: f64,
        term: Duration,
        dead: Option<&Holder>,
    ) -> Result<Acquired, RunTableError> {
        let mut patience = Patience::new();
        loop {
            patience.try_now(self).await?;
            let done = self.acquire_once(me, now, term, dead).await;
            if let Some(done) = patience.after(self, done).await? {
                return Ok(done);
            }
        }
    }

    async fn acquire_once(
        &self,
        me: &Holder,
        now: f64,
        term: Duration,
        dead: Option<&Holder>,
    ) -> Result<Acquired, RunTableError> {
        const DOING: &str = "take the run table";
        let mut connection = self.connection.lock().await;
        let mut transaction = self.begin(&mut connection, DOING).await?;
        let done = async {
            let row = read_row(&mut transaction).await?;
            match decide(&row, me, now, dead, Epochs::FromClock) {
                Decision::Held(claim) => {
                    transaction.rollback().await?;
                    Ok(Acquired::HeldBy(claim))
                }
                Decision::Take { epoch } => {
                    let create = include_str!("../../../schema/run-table/sqlite/amore_1_owner.sql");
                    sqlx::raw_sql(create).execute(&mut *transaction).await?;
                    write(&mut transaction, me, epoch, now + term.as_secs_f64()).await?;
                    transaction.commit().await?;
                    Ok(Acquired::Mine(Ownership { holder: me.clone(), epoch }))
                }
            }
        };
        done.await.map_err(|e| self.explain(DOING, e))
    }

    /// Extends the lease to `term` from `now`.
    ///
    /// # Errors
    /// [`RunTableError::Deposed`] if somebody else took the table over.
    pub async fn renew(&self, mine: &Ownership, now: f64, term: Duration) -> Result<(), RunTableError> {
        const DOING: &str = "stay owner of the run table";
        let mut connection = self.connection.lock().await;
        let mut transaction = self.begin(&mut connection, DOING).await?;
        self.check(&mut transaction, mine).await?;
        let done = async {
            write(&mut transaction, &mine.holder, mine.epoch, now + term.as_secs_f64()).await?;
            transaction.commit().await
        };
        done.await.map_err(|e| self.explain(DOING, e))
    }

    /// Releases the table, so that others need not wait for the end of the lease. The epoch is kept.
    ///
    /// # Errors
    /// [`RunTableError::Deposed`] if somebody else took the table over; nothing is changed then.
    pub async fn release(&self, mine: Ownership) -> Result<(), RunTableError> {
        const DOING: &str = "give up the run table";
        let mut connection = self.connection.lock().await;
        let mut transaction = self.begin(&mut connection, DOING).await?;
        self.check(&mut transaction, &mine).await?;
        let done = async {
            sqlx::query(sql::RELEASE_OWNER).execute(&mut *transaction).await?;
            transaction.commit().await
        };
        done.await.map_err(|e| self.explain(DOING, e))
    }

    /// The current owner row.
    ///
    /// # Errors
    /// The table cannot be read.
    pub async fn owner(&self) -> Result<LeaseState, RunTableError> {
        let mut connection = self.connection.lock().await;
        read_row(&mut connection).await.map_err(|e| self.explain("read the owner", e))
    }

    /// Checks, without writing, that `mine` is still the current ownership. Whether its lease has expired does not matter.
    ///
    /// # Errors
    /// [`RunTableError::Deposed`] if another process took the table over; the table cannot be read.
    pub async fn confirm(&self, mine: &Ownership) -> Result<(), RunTableError> {
        let mut connection = self.connection.lock().await;
        self.check(&mut connection, mine).await
    }

    /// Refuses a writer that is not the owner; part of every transaction that writes results.
    pub(crate) async fn check(
        &self,
        connection: &mut SqliteConnection,
        mine: &Ownership,
    ) -> Result<(), RunTableError> {
        let row = read_row(connection).await.map_err(|e| self.explain("read the owner", e))?;
        let epoch = row.epoch;
        row.check(&mine.holder, mine.epoch)
            .map_err(|by| RunTableError::Deposed { by: by.map(Box::new), epoch })
    }
}

async fn read_row(connection: &mut SqliteConnection) -> Result<LeaseState, sqlx::Error> {
    let exists: i64 = sqlx::query(sql::OWNER_TABLE_EXISTS).fetch_one(&mut *connection).await?.try_get(0)?;
    if exists == 0 {
        return Ok(LeaseState::default());
    }
    let Some(row) = sqlx::query(sql::READ_OWNER).fetch_optional(connection).await? else {
        return Ok(LeaseState::default());
    };
    let epoch: i64 = row.try_get(0)?;
    let pid: Option<i64> = row.try_get(2)?;
    let text = |index| Stored::get(&row, index).map(Stored::text);
    let claim = match (text(1)?, pid.and_then(|pid| u32::try_from(pid).ok()), Stored::get(&row, 6)?.number())
    {
        (Some(host), Some(pid), Some(until)) => Some(Claim {
            holder: Holder {
                host,
                pid,
                token: text(3)?.unwrap_or_default(),
                user: text(4)?.unwrap_or_default(),
                address: text(5)?,
            },
            until,
        }),
        _ => None,
    };
    Ok(LeaseState { epoch: epoch.max(0) as u64, claim })
}

async fn write(
    connection: &mut SqliteConnection,
    holder: &Holder,
    epoch: u64,
    until: f64,
) -> Result<(), sqlx::Error> {
    sqlx::query(sql::WRITE_OWNER)
        // The rule keeps epochs within SQLite's integers.
        .bind(epoch as i64)
        .bind(&holder.host)
        .bind(i64::from(holder.pid))
        .bind(&holder.token)
        .bind(&holder.user)
        .bind(&holder.address)
        .bind(until)
        .execute(connection)
        .await
        .map(drop)
}
