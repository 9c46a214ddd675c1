//! Who may write: the lease of a scope, its rule, and the check that is part of every write.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    Ledger, LedgerError,
    engine::{Mode, Work},
    statement::{RowLock, Statement},
};

/// A process that holds, or wants to hold, a lease.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Holder {
    /// Host name.
    pub host: String,
    /// Process number on that host.
    pub pid: u32,
    /// The boot of the host and the clock tick at which the process started: tells it from a later process with the same
    /// number.
    pub token: String,
    /// User name, for messages.
    pub user: String,
    /// Where it takes requests (`http://host:port`), if it does.
    pub address: Option<String>,
}

impl Holder {
    /// The same process? (Its address may have become known since.)
    pub fn is_same_process(&self, other: &Holder) -> bool {
        self.host == other.host && self.pid == other.pid && self.token == other.token
    }
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "process {} of {} on {}", self.pid, self.user, self.host)
    }
}

/// The right to write in a scope, good as long as nobody has taken it over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The path of the proposal's database directory.
    pub scope: String,
    /// The term.
    pub epoch: u64,
    /// This process. A changed address is written at the next [`Ledger::renew`].
    pub holder: Holder,
}

/// A lease that somebody holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    /// Who.
    pub holder: Holder,
    /// Until when, in seconds since 1970. Past it others may take over; until they do, it still holds.
    pub until: f64,
}

/// What the ledger says of a scope's lease.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LeaseRow {
    /// The last epoch given away; 0 if none ever was. Kept when the holder releases.
    pub epoch: u64,
    /// Who holds it now, if anybody.
    pub claim: Option<Claim>,
}

/// Answer to one who wants the lease.
#[derive(Clone, Debug, PartialEq)]
pub enum Acquired {
    /// It is yours.
    Mine(Lease),
    /// Somebody holds it.
    HeldBy(Claim),
}

/// The epoch for `me`, or who stands in the way.
///
/// A lease is taken if nobody holds it, if its term is over, if `me` holds it already (under an older epoch then), or
/// if its holder is the process that the caller found dead: not one that came after that.
fn decide(row: LeaseRow, me: &Holder, now: f64, over: Option<&Holder>) -> Result<u64, Claim> {
    match row.claim {
        Some(claim)
            if claim.until > now
                && !claim.holder.is_same_process(me)
                && !over.is_some_and(|dead| claim.holder.is_same_process(dead)) =>
        {
            Err(claim)
        }
        _ => Ok(row.epoch + 1),
    }
}

const MAKE: &str = "INSERT INTO lease (scope, epoch) VALUES ($1, 0) ON CONFLICT (scope) DO NOTHING";
const READ: &str = "SELECT epoch, CAST(holder AS TEXT), until FROM lease WHERE scope = $1";
const WRITE: &str = "UPDATE lease SET epoch = given.epoch, holder = given.holder, until = given.until \
                     FROM given WHERE lease.scope = given.scope";
const RELEASE: &str = "UPDATE lease SET holder = NULL, until = NULL WHERE scope = $1";

impl Ledger {
    /// Takes the lease of `scope` for `term` from `now` (seconds since 1970), if nobody else holds it.
    ///
    /// `over`: the holder that the caller knows to be dead, for example because there is no such process on this host.
    /// The epoch is the last one plus one; none is ever given twice.
    ///
    /// # Errors
    /// The ledger cannot be written. That somebody holds the lease is not an error.
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
        let epoch = match decide(row, holder, now, over) {
            Ok(epoch) => epoch,
            Err(claim) => {
                work.rollback().await?;
                return Ok(Acquired::HeldBy(claim));
            }
        };
        let lease = Lease { scope: scope.to_owned(), epoch, holder: holder.clone() };
        write(&mut *work, &lease, now + term.as_secs_f64()).await?;
        work.commit().await?;
        Ok(Acquired::Mine(lease))
    }

    /// Prolongs the lease to `term` from `now`.
    ///
    /// # Errors
    /// [`LedgerError::Deposed`] if somebody else took it.
    pub async fn renew(&self, lease: &Lease, now: f64, term: Duration) -> Result<(), LedgerError> {
        let mut work = self.engine.begin(Mode::Write, "keep the lease").await?;
        check(&mut *work, lease, RowLock::Change).await?;
        write(&mut *work, lease, now + term.as_secs_f64()).await?;
        work.commit().await
    }

    /// Gives the lease up, so that others need not wait for the end of its term. The epoch is kept.
    ///
    /// # Errors
    /// [`LedgerError::Deposed`] if somebody else took it; nothing is changed then.
    pub async fn release(&self, lease: Lease) -> Result<(), LedgerError> {
        let mut work = self.engine.begin(Mode::Write, "give up the lease").await?;
        check(&mut *work, &lease, RowLock::Change).await?;
        work.execute(&Statement::new(RELEASE).text(&lease.scope)).await?;
        work.commit().await
    }

    /// The lease of a scope as it is.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub async fn lease(&self, scope: &str) -> Result<LeaseRow, LedgerError> {
        let mut work = self.engine.begin(Mode::Read, "read the lease").await?;
        let row = read(&mut *work, scope, None).await?;
        work.commit().await?;
        Ok(row)
    }

    /// Begins a transaction of the lease's holder: until it ends, nobody can take the lease.
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
    let row = read(work, &lease.scope, Some(lock)).await?;
    match row.claim {
        Some(_) if row.epoch == lease.epoch => Ok(()),
        claim => {
            let by = claim.map(|claim| Box::new(claim.holder));
            Err(LedgerError::Deposed { scope: lease.scope.clone(), by, epoch: row.epoch })
        }
    }
}

async fn read(work: &mut dyn Work, scope: &str, lock: Option<RowLock>) -> Result<LeaseRow, LedgerError> {
    let mut statement = Statement::new(READ).text(scope);
    if let Some(lock) = lock {
        statement = statement.lock(lock);
    }
    let Some(mut row) = work.fetch(&statement).await?.pop() else { return Ok(LeaseRow::default()) };
    let epoch = row.number()?;
    let Some(holder) = row.maybe_text()? else { return Ok(LeaseRow { epoch, claim: None }) };
    let holder = serde_json::from_str(&holder)
        .map_err(|_| LedgerError::BadRow { wanted: "holder of a lease", found: holder })?;
    Ok(LeaseRow { epoch, claim: Some(Claim { holder, until: row.real()? }) })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn holder(pid: u32) -> Holder {
        Holder {
            host: "max-exfl001".into(),
            pid,
            token: format!("t{pid}"),
            user: "xuser".into(),
            address: None,
        }
    }

    fn held(pid: u32) -> LeaseRow {
        LeaseRow { epoch: 7, claim: Some(Claim { holder: holder(pid), until: 100.0 }) }
    }

    #[test]
    fn a_running_term_is_respected_and_one_that_is_over_is_not() {
        assert_eq!(decide(held(1), &holder(2), 99.9, None), Err(held(1).claim.unwrap()));
        assert_eq!(decide(held(1), &holder(2), 100.0, None), Ok(8));
        assert_eq!(decide(held(1), &holder(1), 5.0, None), Ok(8));
        assert_eq!(decide(LeaseRow::default(), &holder(1), 5.0, None), Ok(1));
    }

    #[test]
    fn death_counts_for_the_process_that_died_only() {
        assert_eq!(decide(held(1), &holder(2), 5.0, Some(&holder(1))), Ok(8));
        assert!(decide(held(1), &holder(2), 5.0, Some(&holder(3))).is_err());
        let reborn = Holder { token: "another".into(), ..holder(1) };
        assert!(decide(held(1), &holder(2), 5.0, Some(&reborn)).is_err());
    }
}
