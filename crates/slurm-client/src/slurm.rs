//! The handle to Slurm.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use amore_slurm::{handed_on::OfSite, reservation::Reservation, site_facts::SiteFacts};

use crate::site_facts::Remembered;

/// Slurm, as this program may ask it. Clones share what is remembered.
#[derive(Clone, Debug, Default)]
pub struct Slurm(pub(crate) Arc<Known>);

/// What is known of it.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// What the site's file says of its commands.
    pub(crate) of_site: OfSite,
    /// Fields that the installed sacct does not have, as it has said itself: not asked for again.
    pub(crate) no_fields: Mutex<BTreeSet<String>>,
    pub(crate) facts: Remembered<SiteFacts>,
    pub(crate) reservations: Remembered<Vec<Reservation>>,
}

impl Slurm {
    /// With what the site's file says of its commands.
    pub fn new(of_site: OfSite) -> Self {
        Slurm(Arc::new(Known { of_site, ..Known::default() }))
    }
}
