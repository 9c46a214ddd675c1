//! Ownership: being the one process that may write to a directory's run table.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, SystemTime},
};

use amore_model::{DatabaseDir, VariableSpec, lease::Holder};
use amore_run_table::{Acquired, Ownership, RunTable, RunTableError, VariableChanges, VariableRow};

use super::{
    CoordinateError,
    keeper::{Held, Keeper, LedgerLeases},
    ledgers::Ledgers,
};
use crate::clock::{now, unix};

/// How long the ownership lasts without a renewal. Long enough for a file system that hangs for a moment.
const TERM: Duration = Duration::from_secs(15);
/// How long to wait for a lock when releasing the ownership. If the release fails, other processes wait for the end of the
/// term, or find that this process is gone.
const RELEASE_PATIENCE: Duration = Duration::from_secs(3);
/// For how long after a renewal this process is sure to be the owner, even of a service's directory: a service that is stopped or
/// cut off is deposed before its term has expired, but not earlier than this after its last renewal.
const SURE: Duration = Duration::from_secs(2);
/// How long a process that is not sure waits for the table before it submits a job.
const CONFIRM_PATIENCE: Duration = Duration::from_secs(3);
/// How long a process that finds an expired term waits for its holder. A lock that blocked everybody may have kept the
/// holder from renewing, and it may be about to renew.
const GRACE: Duration = Duration::from_secs(2);

/// Result of an attempt to become the owner.
#[derive(Debug)]
pub enum TakenOwner {
    /// This process is the owner.
    Ours(Box<Owner>),
    /// Another process is the owner.
    Held {
        /// Description of the owner.
        by: String,
    },
}

/// Who takes a directory: a command, or the service after others.
#[derive(Clone, Debug, Default)]
pub struct Claimant {
    /// How it opens ledgers.
    pub ledgers: Ledgers,
    /// Processes that were the service before, and are deposed: their term does not have to end.
    pub deposed: Arc<[Holder]>,
}

impl Claimant {
    /// Whether this holder need not be waited for.
    fn may_follow(&self, holder: &Holder) -> bool {
        known_dead(holder) || self.deposed.iter().any(|deposed| deposed.is_same_process(holder))
    }
}

/// The ownership of a directory, with its table.
#[derive(Debug)]
pub struct Owner {
    table: Arc<RunTable>,
    ownership: Ownership,
    keeper: Keeper,
    /// Names in the context file, once it has been read.
    listed: Option<HashSet<String>>,
}

/// Length of a term. `AMORE_OWNER_TERM` (seconds) is for tests and for slow file systems.
fn term() -> Duration {
    std::env::var("AMORE_OWNER_TERM")
        .ok()
        .and_then(|text| text.parse().ok())
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .unwrap_or(TERM)
}

/// This process as a holder of leases.
pub fn this_process() -> Holder {
    let host = nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let pid = std::process::id();
    let uid = nix::unistd::getuid();
    let user =
        nix::unistd::User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name);
    Holder { host, pid, token: process_token(pid).unwrap_or_default(), user, address: None }
}

/// Distinguishes a process on this host from a later one with the same ID: the boot, and the clock tick at which it
/// started.
pub(super) fn process_token(pid: u32) -> Option<String> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may contain anything, so fields are counted from its end.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    // A zombie process does not write any more.
    if state == "Z" {
        return None;
    }
    Some(format!("{}-{}", boot.trim(), fields.nth(18)?))
}

/// Whether the holder is a process on this host that is gone.
pub fn known_dead(holder: &Holder) -> bool {
    let mine = this_process();
    holder.host == mine.host && process_token(holder.pid).as_ref() != Some(&holder.token)
}

/// If the term of a living holder has expired: waits a moment for a renewal.
async fn leave_time_to_renew(
    table: &RunTable,
    claimant: &Claimant,
    grace: Duration,
) -> Result<(), CoordinateError> {
    let run_out = async || {
        let row = table.owner().await?;
        Ok::<_, CoordinateError>(
            row.claim.is_some_and(|claim| claim.until <= now() && !claimant.may_follow(&claim.holder)),
        )
    };
    let until = tokio::time::Instant::now() + grace;
    while run_out().await? && tokio::time::Instant::now() < until {
        tokio::time::sleep(grace / 8).await;
    }
    Ok(())
}

impl Owner {
    /// Takes the ownership if it is free or has expired, or if its holder is known to be dead.
    ///
    /// # Errors
    /// The table cannot be written.
    pub async fn take(dir: &DatabaseDir, table: RunTable) -> Result<TakenOwner, CoordinateError> {
        Owner::take_as(dir, table, &Claimant::default()).await
    }

    /// The same, for a claimant that may follow others before their term has ended.
    ///
    /// # Errors
    /// The table cannot be written.
    pub async fn take_as(
        dir: &DatabaseDir,
        table: RunTable,
        claimant: &Claimant,
    ) -> Result<TakenOwner, CoordinateError> {
        let term = term();
        leave_time_to_renew(&table, claimant, GRACE.min(term / 2)).await?;
        let mut begun = SystemTime::now();
        let mut acquired = table.acquire(&this_process(), unix(begun), term, None).await?;
        if let Acquired::HeldBy(claim) = &acquired
            && claimant.may_follow(&claim.holder)
        {
            let dead = claim.holder.clone();
            begun = SystemTime::now();
            acquired = table.acquire(&this_process(), unix(begun), term, Some(&dead)).await?;
        }
        let ownership = match acquired {
            Acquired::Mine(ownership) => ownership,
            Acquired::HeldBy(claim) => return Ok(TakenOwner::Held { by: claim.holder.to_string() }),
        };
        let ledgers = claimant.ledgers.clone();
        let held = Held { dir: dir.clone(), ownership: ownership.clone(), term, begun, ledgers };
        let keeper = Keeper::start(held)?;
        let table = Arc::new(table);
        Ok(TakenOwner::Ours(Box::new(Owner { table, ownership, keeper, listed: None })))
    }

    /// Whether the directory has an owner now. An owner whose term has just expired counts: it may be about to renew.
    ///
    /// # Errors
    /// The table cannot be read.
    pub async fn is_held(dir: &DatabaseDir) -> Result<bool, CoordinateError> {
        Ok(Owner::held_by(dir).await?.is_some())
    }

    /// The process that owns the directory now, in the words of [`TakenOwner::Held`].
    ///
    /// # Errors
    /// The table cannot be read.
    pub async fn held_by(dir: &DatabaseDir) -> Result<Option<String>, CoordinateError> {
        Ok(Owner::holder(dir).await?.map(|holder| holder.to_string()))
    }

    /// The process that owns the directory now.
    ///
    /// # Errors
    /// The table cannot be read.
    pub async fn holder(dir: &DatabaseDir) -> Result<Option<Holder>, CoordinateError> {
        Ok(Owner::claimed(dir).await?.map(|(_, holder)| holder))
    }

    /// The epoch of the owner, and who it is, if there is one now.
    ///
    /// # Errors
    /// The table cannot be read.
    pub(super) async fn now(dir: &DatabaseDir) -> Result<Option<(u64, String)>, CoordinateError> {
        Ok(Owner::claimed(dir).await?.map(|(epoch, holder)| (epoch, holder.to_string())))
    }

    async fn claimed(dir: &DatabaseDir) -> Result<Option<(u64, Holder)>, CoordinateError> {
        let table = RunTable::open_read_only(dir.path()).await?;
        let row = table.owner().await?;
        let grace = GRACE.min(term() / 2).as_secs_f64();
        let held = row.claim.filter(|claim| claim.until + grace > now() && !known_dead(&claim.holder));
        Ok(held.map(|claim| (row.epoch, claim.holder)))
    }

    /// The run table.
    pub fn table(&self) -> Arc<RunTable> {
        Arc::clone(&self.table)
    }

    /// The proof of ownership that every write needs.
    pub fn ownership(&self) -> Ownership {
        self.ownership.clone()
    }

    /// A handle that keeps the ledger's lease for as long as that of the directory.
    pub(super) fn ledger_leases(&self) -> LedgerLeases {
        self.keeper.ledger_leases()
    }

    /// Waits until the ownership is lost (another process has become the owner, or the table was deleted), and returns the
    /// reason. Cancel-safe.
    pub async fn lost(&mut self) -> CoordinateError {
        self.keeper.lost().await
    }

    /// Checks that this process still owns the directory, before it submits a job that a later owner would submit as well.
    /// The table is not read directly after a renewal: a process that was stopped may continue here before the keeper
    /// notices that another process has taken over, but that takes longer. If the table does not answer in time, the job is submitted: at worst it
    /// is computed twice, and the results of the later owner's attempt win.
    ///
    /// # Errors
    /// Another process has become the owner.
    pub(super) async fn confirm(&self) -> Result<(), CoordinateError> {
        let (begun, term) = self.keeper.ledger_leases().term();
        if (0.0..SURE.min(term).as_secs_f64()).contains(&(now() - begun)) {
            return Ok(());
        }
        match tokio::time::timeout(CONFIRM_PATIENCE, self.table.confirm(&self.ownership)).await {
            Ok(Ok(())) => {}
            Ok(Err(error @ RunTableError::Deposed { .. })) => return Err(error.into()),
            Ok(Err(error)) => {
                tracing::warn!(%error, "the owner of the directory cannot be read; the job is submitted")
            }
            Err(_) => tracing::warn!("the table does not say who the owner is; the job is submitted"),
        }
        Ok(())
    }

    /// Releases the ownership. If the table is gone or locked, this is not an error.
    ///
    /// # Errors
    /// Another process has become the owner meanwhile. This process may have been stopped for so long that its last results
    /// do not count.
    pub async fn release(self) -> Result<(), CoordinateError> {
        self.keeper.stop();
        match tokio::time::timeout(RELEASE_PATIENCE, self.table.release(self.ownership)).await {
            Ok(Err(error @ RunTableError::Deposed { .. })) => return Err(error.into()),
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "the ownership was not released"),
            Err(_) => tracing::debug!("the ownership was not released: the table is locked"),
        }
        Ok(())
    }

    /// Updates the list of variables in the table.
    ///
    /// # Errors
    /// The table cannot be written.
    pub async fn update_variables(
        &self,
        variables: &[VariableSpec],
    ) -> Result<VariableChanges, CoordinateError> {
        Ok(self.table.update_variables(&self.ownership, &rows(variables)).await?)
    }

    /// Records the variables of the context file.
    pub fn list(&mut self, variables: &[VariableSpec]) {
        self.listed = Some(rows(variables).into_iter().map(|row| row.name).collect());
    }

    /// Removes variables from the table's list that are not in the context file and have no results in any run.
    ///
    /// # Errors
    /// The table cannot be written.
    pub async fn drop_unused_variables(&self) -> Result<(), CoordinateError> {
        self.unused_variables().drop_them().await
    }

    /// The same, to be done beside other work.
    pub(super) fn unused_variables(&self) -> UnusedVariables {
        UnusedVariables { table: self.table(), ownership: self.ownership(), listed: self.listed.clone() }
    }
}

/// Variables of the table's list that are not in the context file, as it was read last.
#[derive(Debug)]
pub(super) struct UnusedVariables {
    table: Arc<RunTable>,
    ownership: Ownership,
    listed: Option<HashSet<String>>,
}

impl UnusedVariables {
    /// Removes those that have no results in any run.
    pub(super) async fn drop_them(self) -> Result<(), CoordinateError> {
        let Some(listed) = &self.listed else { return Ok(()) };
        let known = self.table.computed_variables().await?;
        let gone: Vec<String> =
            known.into_iter().map(|row| row.name).filter(|name| !listed.contains(name)).collect();
        if !gone.is_empty() {
            match self.table.drop_variables(&self.ownership, &gone).await {
                // All results are stored. A later command can remove the variables.
                Err(RunTableError::Busy { .. }) => {}
                dropped => drop(dropped?),
            }
        }
        Ok(())
    }
}

/// The rows of the table's list of variables. Transient variables have none.
pub(super) fn rows(variables: &[VariableSpec]) -> Vec<VariableRow> {
    variables
        .iter()
        .filter(|variable| !variable.transient)
        .map(|variable| VariableRow {
            name: variable.name.clone(),
            title: variable.title.clone(),
            description: variable.description.clone(),
            tags: variable.tags.clone(),
        })
        .collect()
}
