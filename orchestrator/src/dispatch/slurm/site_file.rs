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
    sourced::Resolved,
};
use crate::failure::Failure;

impl From<SiteFileError> for Failure {
    fn from(error: SiteFileError) -> Self {
        let hint = match &error {
            SiteFileError::Unreadable { path, .. } => {
                format!(
                    "make it readable for everybody (chmod a+r {}), or unset AMORE_SITE_CONFIG",
                    path.display()
                )
            }
            SiteFileError::Invalid(wrong) => wrong.hint.clone(),
        };
        Failure::from_error(&error).hint(hint)
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
) -> Result<Resolved, Failure> {
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
) -> Result<SlurmSettings, Failure> {
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
) -> Result<Resolved, Failure> {
    let site = load()?;
    resolve(database, site.as_ref(), Some(proposal), directory)
}
