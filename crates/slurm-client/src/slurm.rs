//! The handle to Slurm.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use amore_slurm::{environment::SiteCommands, reservation::Reservation, site_facts::SiteFacts};

use crate::site_facts::Remembered;

/// Slurm's commands with cached answers. Clones share the cache.
#[derive(Clone, Debug, Default)]
pub struct Slurm(pub(crate) Arc<Known>);

/// Configuration and cache.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// What the site's file says about Slurm's commands.
    pub(crate) site: SiteCommands,
    /// Fields that the installed sacct rejected; they are not requested again.
    pub(crate) no_fields: Mutex<BTreeSet<String>>,
    pub(crate) facts: Remembered<SiteFacts>,
    pub(crate) reservations: Remembered<Vec<Reservation>>,
}

impl Slurm {
    /// Creates a handle with what the site's file says about Slurm's commands.
    pub fn new(site: SiteCommands) -> Self {
        Slurm(Arc::new(Known { site, ..Known::default() }))
    }
}
