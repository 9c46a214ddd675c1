//! The Slurm settings of a database, on top of those in the site's file.

use std::{collections::BTreeMap, path::Path};

use amore_model::{Proposal, Sandbox};
use amore_run_table::SettingValue;
use amore_slurm::site_file;
pub use amore_slurm::site_file::SiteFile;
use amore_slurm_client::site_file::SiteFileError;
pub use amore_slurm_client::site_file::load;

use super::{
    asked::{SlurmSettings, of_database},
    sourced::{InvalidSetting, Resolved},
};
use crate::advice::Advice;

/// Why the settings of jobs are not known: which of the two places has to be corrected.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    #[error(transparent)]
    Database(#[from] InvalidSetting),
    #[error(transparent)]
    SiteFile(#[from] SiteFileError),
}

impl Advice for SettingsError {
    fn hint(&self) -> Option<String> {
        match self {
            SettingsError::Database(error) => Advice::hint(error),
            SettingsError::SiteFile(error) => error.hint(),
        }
    }
}

impl Advice for SiteFileError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            SiteFileError::Unreadable { path, .. } => {
                format!(
                    "make it readable for everybody (chmod a+r {}), or unset AMORE_SITE_CONFIG",
                    path.display()
                )
            }
            SiteFileError::Invalid(wrong) => wrong.hint.clone(),
        })
    }
}

/// The sandbox that the site's file sets. A setting of a database cannot change it.
///
/// # Errors
/// The site's file cannot be read: user code is not executed, because it may need a sandbox.
pub fn sandbox() -> Result<Option<Sandbox>, SiteFileError> {
    Ok(load()?.as_ref().and_then(SiteFile::sandbox).map(|found| found.sandbox.clone()))
}

/// All settings of a database, each with its source. The database's own settings override those in the site's file.
///
/// # Errors
/// A setting of the database has an invalid value.
pub fn resolve(
    database: &BTreeMap<String, SettingValue>,
    site: Option<&SiteFile>,
    proposal: Option<Proposal>,
    directory: &Path,
) -> Result<Resolved, InvalidSetting> {
    Ok(site_file::resolve(of_database(database)?, site, proposal, directory))
}

/// The settings of a database's jobs.
///
/// # Errors
/// As for [`resolve`]; or the site's file cannot be read.
pub fn settings(
    database: &BTreeMap<String, SettingValue>,
    proposal: Proposal,
    directory: &Path,
) -> Result<SlurmSettings, SettingsError> {
    Ok(sourced(database, proposal, directory)?.settings())
}

/// The same, each with its source.
///
/// # Errors
/// As for [`settings`].
pub fn sourced(
    database: &BTreeMap<String, SettingValue>,
    proposal: Proposal,
    directory: &Path,
) -> Result<Resolved, SettingsError> {
    let site = load()?;
    Ok(resolve(database, site.as_ref(), Some(proposal), directory)?)
}
