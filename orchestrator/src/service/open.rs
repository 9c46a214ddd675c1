//! Opens a directory for a service: its run table, its settings, and what it shares with others.

use amore_listener_db::{ListenerDbError, Settings as ServiceSettings};
use amore_model::{DatabaseDir, Proposal, Sandbox};
use amore_run_table::{RunTable, RunTableError};

use super::served::Shared;
use crate::{
    advice::Advice,
    coordinate::{
        CoordinateError,
        setup::{Setup, Watcher},
    },
    dispatch::slurm::{
        client::installed,
        site_file::{self, SettingsError},
    },
    execution::{self, Execution, ExecutionError, Settings},
};

/// Why a directory cannot be served now. It is tried again.
#[derive(Debug, thiserror::Error)]
pub enum NotServed {
    /// It is not a database directory, or not any more.
    #[error("{} has no runs.sqlite", dir.path().display())]
    NoRunTable { dir: DatabaseDir },
    /// The run table cannot be opened.
    #[error(transparent)]
    Table(#[from] RunTableError),
    /// It has no proposal number.
    #[error("the database has no proposal number")]
    NoProposal,
    /// It is listed for another proposal than its table says.
    #[error("its table belongs to proposal {own}, and it is listed for proposal {listed}")]
    OtherProposal { own: Proposal, listed: Proposal },
    /// Its settings are invalid.
    #[error(transparent)]
    Execution(#[from] ExecutionError),
    /// Its settings for Slurm are invalid.
    #[error(transparent)]
    Slurm(#[from] SettingsError),
    /// The service's own settings cannot be read or are invalid.
    #[error(transparent)]
    Service(#[from] ListenerDbError),
    /// It was lost, or something failed in a way after which the work has to begin anew.
    #[error(transparent)]
    Coordinate(#[from] CoordinateError),
}

impl Advice for NotServed {
    fn hint(&self) -> Option<String> {
        match self {
            NotServed::NoRunTable { .. } => Some("amore-proto proposal <number> creates it".to_owned()),
            NotServed::NoProposal => Some("set it with: amore-proto proposal <number>".to_owned()),
            NotServed::OtherProposal { own, .. } => Some(format!(
                "if it is right, list it again: amore listener rm DIR && amore listener add {own} DIR, in the service's directory"
            )),
            NotServed::Table(error) => error.hint(),
            NotServed::Execution(error) => error.hint(),
            NotServed::Slurm(error) => error.hint(),
            NotServed::Service(error) => error.hint(),
            NotServed::Coordinate(error) => error.hint(),
        }
    }
}

/// The directory, if it has a run table.
///
/// # Errors
/// It has none. The service creates none: a table that was deleted ("starting from scratch") is created by its user.
pub async fn existing(dir: DatabaseDir) -> Result<DatabaseDir, NotServed> {
    let table = dir.run_table();
    let there = tokio::task::spawn_blocking(move || table.is_file()).await.map_err(CoordinateError::from)?;
    if there { Ok(dir) } else { Err(NotServed::NoRunTable { dir }) }
}

/// The proposal of a database.
///
/// # Errors
/// It has none.
pub fn proposal(settings: &Settings) -> Result<Proposal, NotServed> {
    execution::number(settings, "proposal")
        .filter(|number| *number > 0.0)
        .map(|number| Proposal(number as u32))
        .ok_or(NotServed::NoProposal)
}

/// What user code is executed in: as the site's file says, otherwise the service's own setting. The file goes first: the service
/// of one directory belongs to its users, who must not be able to leave the site's sandbox.
///
/// # Errors
/// The settings of the site are invalid.
pub async fn sandbox(settings: &ServiceSettings) -> Result<Option<Sandbox>, NotServed> {
    let of_site = tokio::task::spawn_blocking(site_file::sandbox).await.map_err(CoordinateError::from)?;
    match of_site.map_err(SettingsError::from)? {
        Some(sandbox) => Ok(Some(sandbox)),
        None => Ok(settings.sandbox_args.clone()),
    }
}

/// What the coordinator of a directory has to know.
///
/// # Errors
/// The settings cannot be read, or are invalid.
pub async fn setup(
    dir: &DatabaseDir,
    table: &RunTable,
    shared: &Shared,
    watcher: impl FnOnce(Proposal) -> Watcher,
) -> Result<Setup, NotServed> {
    let settings = table.settings().await?.into_iter().collect();
    let proposal = proposal(&settings)?;
    let own = dir.clone();
    let slurm_settings = tokio::task::spawn_blocking(move || {
        installed().then(|| site_file::settings(&settings, proposal, own.path())).transpose()
    });
    let of_service = shared.settings.settings().await?;
    Ok(Setup {
        dir: dir.clone(),
        proposal,
        execution: Execution::read(table).await?,
        processes: shared.processes,
        slurm: shared.slurm.clone(),
        takes_refused: of_service.allow_local_processing,
        sandbox: sandbox(&of_service).await?,
        watcher: Some(watcher(proposal)),
        slurm_settings: slurm_settings.await.map_err(CoordinateError::from)??,
    })
}
