//! Being the one process that may write a directory's run table.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, SystemTime},
};

use amore_model::{DatabaseDir, VariableSpec, lease::Holder};
use amore_run_table::{Acquired, Ownership, RunTable, RunTableError, VariableChanges, VariableRow};

use super::{
    CoordinateError,
    keeper::{Held, Keeper, LedgerLeases, seconds},
};

/// How long an ownership holds without being renewed. Long enough for a file system that hangs for a moment.
const TERM: Duration = Duration::from_secs(15);
/// How long giving the ownership back may wait for a lock. Without it others wait for the end of the term, or find that
/// this process is gone.
const RELEASE_PATIENCE: Duration = Duration::from_secs(3);
/// How long a process whose term has run out waits for the table before it submits a job.
const CONFIRM_PATIENCE: Duration = Duration::from_secs(3);
/// How long somebody who finds a term run out waits for its holder: it may have been kept from renewing by a lock that
/// kept everybody from the table, and is about to.
const GRACE: Duration = Duration::from_secs(2);

/// The outcome of wanting to be the owner.
#[derive(Debug)]
pub enum TakenOwner {
    /// We are.
    Ours(Box<Owner>),
    /// Somebody else is.
    Held {
        /// Who, in words.
        by: String,
    },
}

/// The ownership of a directory, with its table.
#[derive(Debug)]
pub struct Owner {
    table: Arc<RunTable>,
    ownership: Ownership,
    keeper: Keeper,
    /// Names in the context file, once it was read.
    listed: Option<HashSet<String>>,
}

fn now() -> f64 {
    seconds(SystemTime::now())
}

/// The term; `AMORE_OWNER_TERM` (seconds) is for tests and for file systems that are slower than ours.
fn term() -> Duration {
    std::env::var("AMORE_OWNER_TERM")
        .ok()
        .and_then(|text| text.parse().ok())
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .unwrap_or(TERM)
}

/// This process, as it holds leases.
pub(super) fn this_process() -> Holder {
    let host = nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let pid = std::process::id();
    let uid = nix::unistd::getuid();
    let user =
        nix::unistd::User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name);
    Holder { host, pid, token: process_token(pid).unwrap_or_default(), user, address: None }
}

/// Tells a process of this host from a later one with its number: the boot and the clock ticks at which it started.
pub(super) fn process_token(pid: u32) -> Option<String> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything; the fields count from its end.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    // A zombie writes nothing any more.
    if state == "Z" {
        return None;
    }
    Some(format!("{}-{}", boot.trim(), fields.nth(18)?))
}

/// Is the holder a process of this host that is gone?
fn known_dead(holder: &Holder) -> bool {
    let mine = this_process();
    holder.host == mine.host && process_token(holder.pid).as_ref() != Some(&holder.token)
}

/// If the term of a living holder has run out: waits a moment for it to be renewed.
async fn leave_time_to_renew(table: &RunTable, grace: Duration) -> Result<(), CoordinateError> {
    let run_out = async || {
        let row = table.owner().await?;
        Ok::<_, CoordinateError>(
            row.claim.is_some_and(|claim| claim.until <= now() && !known_dead(&claim.holder)),
        )
    };
    let until = tokio::time::Instant::now() + grace;
    while run_out().await? && tokio::time::Instant::now() < until {
        tokio::time::sleep(grace / 8).await;
    }
    Ok(())
}

impl Owner {
    /// Takes the ownership if it is free, has run out, or its holder is known to be dead.
    ///
    /// # Errors
    /// When the table cannot be written.
    pub async fn take(dir: &DatabaseDir, table: RunTable) -> Result<TakenOwner, CoordinateError> {
        let term = term();
        leave_time_to_renew(&table, GRACE.min(term / 2)).await?;
        let mut begun = SystemTime::now();
        let mut acquired = table.acquire(&this_process(), seconds(begun), term, None).await?;
        if let Acquired::HeldBy(claim) = &acquired
            && known_dead(&claim.holder)
        {
            let dead = claim.holder.clone();
            begun = SystemTime::now();
            acquired = table.acquire(&this_process(), seconds(begun), term, Some(&dead)).await?;
        }
        let ownership = match acquired {
            Acquired::Mine(ownership) => ownership,
            Acquired::HeldBy(claim) => return Ok(TakenOwner::Held { by: claim.holder.to_string() }),
        };
        let keeper = Keeper::start(Held { dir: dir.clone(), ownership: ownership.clone(), term, begun })?;
        let table = Arc::new(table);
        Ok(TakenOwner::Ours(Box::new(Owner { table, ownership, keeper, listed: None })))
    }

    /// Does somebody own the directory now? One whose term has just run out may be about to renew it.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn is_held(dir: &DatabaseDir) -> Result<bool, CoordinateError> {
        let table = RunTable::open_read_only(dir.path()).await?;
        let row = table.owner().await?;
        let grace = GRACE.min(term() / 2).as_secs_f64();
        Ok(row.claim.is_some_and(|claim| claim.until + grace > now() && !known_dead(&claim.holder)))
    }

    /// The table.
    pub fn table(&self) -> Arc<RunTable> {
        Arc::clone(&self.table)
    }

    /// The proof that goes with every write.
    pub fn ownership(&self) -> Ownership {
        self.ownership.clone()
    }

    /// What keeps the ledger's lease as long as the directory.
    pub(super) fn ledger_leases(&self) -> LedgerLeases {
        self.keeper.ledger_leases()
    }

    /// Waits until the ownership is lost (somebody else has become the owner, or the table was deleted under us), and
    /// says so. Can be cancelled.
    pub async fn lost(&mut self) -> CoordinateError {
        self.keeper.lost().await
    }

    /// Makes sure that this process still owns the directory, before it does what a later owner would do as well. That costs
    /// something only if its term has run out: a process that was stopped may go on here before the keeper notices.
    ///
    /// # Errors
    /// Somebody else has become the owner.
    pub(super) async fn confirm(&self) -> Result<(), CoordinateError> {
        let (begun, term) = self.keeper.ledger_leases().term();
        if now() - begun < term.as_secs_f64() {
            return Ok(());
        }
        let renewal = self.table.renew(&self.ownership, now(), term);
        match tokio::time::timeout(CONFIRM_PATIENCE, renewal).await {
            Ok(Err(error @ (RunTableError::Deposed { .. } | RunTableError::Replaced { .. }))) => {
                return Err(error.into());
            }
            Ok(Ok(())) => {}
            // Nobody else can take a table that is locked or does not answer; the keeper goes on trying.
            Ok(Err(error)) => {
                tracing::warn!(%error, "the term of this process has run out, and could not be prolonged");
            }
            Err(_) => {
                tracing::warn!("the term of this process has run out, and the table does not answer");
            }
        }
        Ok(())
    }

    /// Gives the ownership back. A table that is gone or locked needs nothing.
    ///
    /// # Errors
    /// Somebody else has become the owner meanwhile: this process may have been stopped so long that its last results count
    /// for nothing.
    pub async fn release(self) -> Result<(), CoordinateError> {
        self.keeper.stop();
        match tokio::time::timeout(RELEASE_PATIENCE, self.table.release(self.ownership)).await {
            Ok(Err(error @ RunTableError::Deposed { .. })) => return Err(error.into()),
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "not released"),
            Err(_) => tracing::debug!("the table is locked: not released"),
        }
        Ok(())
    }

    /// Brings the list of variables in the table up to date.
    ///
    /// # Errors
    /// When the table cannot be written.
    pub async fn update_variables(
        &self,
        variables: &[VariableSpec],
    ) -> Result<VariableChanges, CoordinateError> {
        Ok(self.table.update_variables(&self.ownership, &rows(variables)).await?)
    }

    /// Notes which variables the context file has.
    pub fn list(&mut self, variables: &[VariableSpec]) {
        self.listed = Some(rows(variables).into_iter().map(|row| row.name).collect());
    }

    /// Drops from the table's list what is not in the context file and has nothing in any run.
    ///
    /// # Errors
    /// When the table cannot be written.
    pub async fn drop_unused_variables(&self) -> Result<(), CoordinateError> {
        let Some(listed) = &self.listed else { return Ok(()) };
        let known = self.table.computed_variables().await?;
        let gone: Vec<String> =
            known.into_iter().map(|row| row.name).filter(|name| !listed.contains(name)).collect();
        if !gone.is_empty() {
            match self.table.drop_variables(&self.ownership, &gone).await {
                // Everything is stored. A later command may find the table free.
                Err(RunTableError::Busy { .. }) => {}
                dropped => drop(dropped?),
            }
        }
        Ok(())
    }
}

/// The rows of the table's list of variables: transient ones are in no table.
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
