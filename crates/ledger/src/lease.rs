//! The lease of a scope: who may write. Part of every write transaction. The rules are in [`amore_model::lease`].

use std::time::Duration;

use amore_model::lease::{Claim, Decision, Epochs, Holder, LeaseState, decide};

use crate::{
    Ledger, LedgerError,
    engine::{Mode, Work},
    statement::{RowLock, Statement},
};

/// The right to write to a scope, valid until another process takes it over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The path of the proposal's database directory.
    pub scope: String,
    /// The term.
    pub epoch: u64,
    /// This process. A changed address is written by the next [`Ledger::renew`].
    pub holder: Holder,
}

/// Result of [`Ledger::acquire`].
#[derive(Clone, Debug, PartialEq)]
pub enum Acquired {
    /// The caller holds the lease.
    Mine(Lease),
    /// Another process holds it.
    HeldBy(Claim),
}

const MAKE: &str = "INSERT INTO lease (scope, epoch) VALUES ($1, 0) ON CONFLICT (scope) DO NOTHING";
const READ: &str = "SELECT epoch, CAST(holder AS TEXT), until FROM lease WHERE scope = $1";
const WRITE: &str = "UPDATE lease SET epoch = given.epoch, holder = given.holder, until = given.until \
                     FROM given WHERE lease.scope = given.scope";
const RELEASE: &str = "UPDATE lease SET holder = NULL, until = NULL WHERE scope = $1";

impl Ledger {
    /// Takes the lease of `scope` for `term` from `now` (seconds since 1970), if the rule ([`decide`]) allows it.
    ///
    /// `over`: a holder that the caller knows to be dead, for example because it has no process on this host.
    /// The new epoch is the last one plus one; no epoch is given twice.
    ///
    /// # Errors
    /// The ledger cannot be written. It is not an error if another process holds the lease.
    pub async fn acquire(
        &self,
        scope: &str,
        holder: &Holder,
        now: f64,
        term: Duration,
        over: Option<&Holder>,
    ) -> Result<Acquired, LedgerError> {
        let mut work = self.engine.begin(Mode::Write, "take the lease").await?;
        work.execute(&Statement::new(MAKE).text(scope)).await?;
        let row = read(&mut *work, scope, Some(RowLock::Change)).await?;
        let epoch = match decide(&row, holder, now, over, Epochs::Counted) {
            Decision::Take { epoch } => epoch,
            Decision::Held(claim) => {
                work.rollback().await?;
                return Ok(Acquired::HeldBy(claim));
            }
        };
        let lease = Lease { scope: scope.to_owned(), epoch, holder: holder.clone() };
        write(&mut *work, &lease, now + term.as_secs_f64()).await?;
        work.commit().await?;
        Ok(Acquired::Mine(lease))
    }

    /// Extends the lease until `term` after `now`.
    ///
    /// # Errors
    /// [`LedgerError::Deposed`] if another process took it.
    pub async fn renew(&self, lease: &Lease, now: f64, term: Duration) -> Result<(), LedgerError> {
        let mut work = self.engine.begin(Mode::Write, "renew the lease").await?;
        check(&mut *work, lease, RowLock::Change).await?;
        write(&mut *work, lease, now + term.as_secs_f64()).await?;
        work.commit().await
    }

    /// Releases the lease, so that others need not wait until it expires. The epoch is kept.
    ///
    /// # Errors
    /// [`LedgerError::Deposed`] if another process took it; then nothing is changed.
    pub async fn release(&self, lease: Lease) -> Result<(), LedgerError> {
        let mut work = self.engine.begin(Mode::Write, "release the lease").await?;
        check(&mut *work, &lease, RowLock::Change).await?;
        work.execute(&Statement::new(RELEASE).text(&lease.scope)).await?;
        work.commit().await
    }

    /// The current state of a scope's lease.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub async fn lease(&self, scope: &str) -> Result<LeaseState, LedgerError> {
        let mut work = self.engine.begin(Mode::Read, "read the lease").await?;
        let row = read(&mut *work, scope, None).await?;
        work.commit().await?;
        Ok(row)
    }

    /// Begins a transaction of the lease's holder. Until it ends, no other process can take the lease.
    pub(crate) async fn write(
        &self,
        lease: &Lease,
        doing: &'static str,
    ) -> Result<Box<dyn Work>, LedgerError> {
        let mut work = self.engine.begin(Mode::Write, doing).await?;
        match check(&mut *work, lease, RowLock::Stay).await {
            Ok(()) => Ok(work),
            Err(error) => {
                work.rollback().await?;
                Err(error)
            }
        }
    }
}

async fn check(work: &mut dyn Work, lease: &Lease, lock: RowLock) -> Result<(), LedgerError> {
    let state = read(work, &lease.scope, Some(lock)).await?;
    let epoch = state.epoch;
    state.check(&lease.holder, lease.epoch).map_err(|by| LedgerError::Deposed {
        scope: lease.scope.clone(),
        by: by.map(Box::new),
        epoch,
    })
}

async fn read(work: &mut dyn Work, scope: &str, lock: Option<RowLock>) -> Result<LeaseState, LedgerError> {
    let mut statement = Statement::new(READ).text(scope);
    if let Some(lock) = lock {
        statement = statement.lock(lock);
    }
    let Some(mut row) = work.fetch(&statement).await?.pop() else { return Ok(LeaseState::default()) };
    let epoch = row.number()?;
    let Some(holder) = row.maybe_text()? else { return Ok(LeaseState { epoch, claim: None }) };
    let holder = serde_json::from_str(&holder)
        .map_err(|_| LedgerError::BadRow { wanted: "holder of a lease", found: holder })?;
    Ok(LeaseState { epoch, claim: Some(Claim { holder, until: row.real()? }) })
}

async fn write(work: &mut dyn Work, lease: &Lease, until: f64) -> Result<(), LedgerError> {
    let holder = serde_json::json!(lease.holder);
    let rows = [(lease, holder)];
    let given = crate::statement::Rows::of(&rows)
        .text("scope", |(lease, _)| lease.scope.as_str())
        .int("epoch", |(lease, _)| lease.epoch as i64)
        .json("holder", |(_, holder)| holder)
        .real("until", |_| until)
        .end();
    work.execute(&Statement::new(WRITE).given(given)).await.map(drop)
}
