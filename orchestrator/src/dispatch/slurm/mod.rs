//! Slurm, for the coordinator and the command line: what it decides is in `amore-slurm`, the I/O in `amore-slurm-client`.
//!
//! Here are the settings ([`asked`], [`site_file`]) and [`destination`], which says beforehand where a job
//! would go, and why. The rest are the names under which the two crates are used.

pub mod asked;
pub mod destination;
pub mod site_file;

use amore_slurm::environment::SiteCommands;
pub use amore_slurm::{clusters, commands, partition, reasons, reservation, sourced};
pub use amore_slurm_client::Slurm;

/// Slurm as the site's file says it is asked. An error in that file is reported where settings are read.
///
/// A program makes one handle and passes it on: the handle remembers what Slurm has answered.
pub fn connect() -> Slurm {
    Slurm::new(match site_file::load() {
        Ok(Some(site)) => site.commands().clone(),
        Ok(None) | Err(_) => SiteCommands::default(),
    })
}

/// How jobs stand.
pub mod answers {
    pub use amore_slurm::{job_status::JobStatus, sacct::ACCOUNTED};
}

/// What is asked of Slurm for a job.
pub mod client {
    pub use amore_slurm::submission::{JobOptions, SlurmUnavailable, arguments};
    pub use amore_slurm_client::command::{has_configuration, installed, switched_off};
}

/// The variables that Slurm's commands are given.
pub mod environment {
    pub use amore_slurm_client::environment::{MORE, wrong_names};
}

/// The loop that submits jobs and follows them.
pub mod lane {
    pub use amore_slurm_client::tracker::Tracker as Lane;
}

/// What the loop is given, and what it says.
pub mod order {
    pub use amore_slurm_client::tracker::Order;
}

/// The script of a job.
pub mod script {
    pub use amore_slurm_client::template::{TemplateError, check, render};
}

/// What the site offers to this user.
pub mod site_facts {
    pub use amore_slurm::site_facts::{SiteFacts, needs_of};
    pub use amore_slurm_client::site_facts::now;

    use std::sync::Arc;

    use super::{Slurm, asked::SlurmSettings};

    /// What is known by now of the cluster that jobs go to, if there is only one.
    pub fn known_for(slurm: &Slurm, settings: &SlurmSettings) -> Option<Arc<SiteFacts>> {
        let clusters = settings.on();
        if clusters.chosen_by_slurm() { None } else { slurm.known(clusters.only()) }
    }
}
