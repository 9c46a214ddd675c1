//! What jobs of a database ask for: its settings, over the site's file.

use std::{collections::BTreeMap, path::Path};

use amore_model::Proposal;
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

/// Why it is not known what jobs ask for: which of the two places has to be corrected.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The database.
    #[error(transparent)]
    Database(#[from] InvalidSetting),
    /// The site's file.
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

/// All settings for a database, each with its source: its own, over what the site's file has for it.
///
/// # Errors
/// A value of the database that cannot be meant.
pub fn resolve(
    database: &BTreeMap<String, SettingValue>,
    site: Option<&SiteFile>,
    proposal: Option<Proposal>,
    directory: &Path,
) -> Result<Resolved, InvalidSetting> {
    Ok(site_file::resolve(of_database(database)?, site, proposal, directory))
}

/// What jobs of a database ask for.
///
/// # Errors
/// As [`resolve`], and a site's file that cannot be read.
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
/// As [`settings`].
pub fn sourced(
    database: &BTreeMap<String, SettingValue>,
    proposal: Proposal,
    directory: &Path,
) -> Result<Resolved, SettingsError> {
    let site = load()?;
    Ok(resolve(database, site.as_ref(), Some(proposal), directory)?)
}
