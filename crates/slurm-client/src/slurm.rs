//! The handle to Slurm.

use std::{
    collections::BTreeSet,
    io,
    sync::{Arc, Mutex},
};

use amore_slurm::{environment::SiteCommands, reservation::Reservation, site_facts::SiteFacts};

use crate::{
    background::Background,
    calls::{Call, Observer},
    site_facts::Remembered,
};

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
    /// If queries are shared.
    pub(crate) background: Option<Background>,
    pub(crate) observer: Observer,
}

impl Slurm {
    /// Creates a handle with what the site's file says about Slurm's commands.
    pub fn new(site: SiteCommands) -> Self {
        Slurm(Arc::new(Known { site, ..Known::default() }))
    }

    /// The same for several trackers: what they all want to know is asked once.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn for_many(site: SiteCommands) -> io::Result<Self> {
        let mut refused = None;
        let known = Arc::new_cyclic(|known| {
            let background = Background::start(known.clone()).map_err(|error| refused = Some(error)).ok();
            Known { site, background, ..Known::default() }
        });
        match refused {
            Some(error) => Err(error),
            None => Ok(Slurm(known)),
        }
    }

    /// From now on, this is told of each command that has ended.
    pub fn observe(&self, observe: impl Fn(Call<'_>) + Send + Sync + 'static) {
        self.0.observer.set(observe);
    }
}
