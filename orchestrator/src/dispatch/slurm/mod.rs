//! Slurm, as the coordinator and the command line use it. The decisions are in `amore-slurm`, the I/O in
//! `amore-slurm-client`.
//!
//! This module has the settings ([`asked`], [`site_file`]) and [`destination`], which shows where a job would go and why.
//! The rest are re-exports of the two crates.

pub mod asked;
pub mod destination;
pub mod site_file;

use amore_slurm::environment::SiteCommands;
pub use amore_slurm::{clusters, commands, partition, reasons, reservation, sourced};
pub use amore_slurm_client::Slurm;

/// A handle to Slurm, configured by the site's file. An error in that file is reported where settings are read.
///
/// A program creates one handle and passes it on, because the handle caches Slurm's answers.
pub fn connect() -> Slurm {
    Slurm::new(site_commands())
}

/// The same for the directories of a service, which ask together.
///
/// # Errors
/// No thread can be started.
pub fn connect_for_many() -> std::io::Result<Slurm> {
    Slurm::for_many(site_commands())
}

fn site_commands() -> SiteCommands {
    match site_file::load() {
        Ok(Some(site)) => site.commands().clone(),
        Ok(None) | Err(_) => SiteCommands::default(),
    }
}

/// Commands that have ended.
pub mod calls {
    pub use amore_slurm_client::calls::Call;
}

/// States and ends of jobs.
pub mod answers {
    pub use amore_slurm::{job_status::JobStatus, sacct::ACCOUNTED};
}

/// What can be requested for a job.
pub mod client {
    pub use amore_slurm::submission::{JobOptions, SlurmUnavailable, arguments};
    pub use amore_slurm_client::command::{has_configuration, installed, switched_off};
}

/// Environment variables of Slurm's commands.
pub mod environment {
    pub use amore_slurm_client::environment::{MORE, wrong_names};
}

/// The loop that submits and tracks jobs.
pub mod tracker {
    pub use amore_slurm_client::tracker::{JobToSubmit, Tracker};
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

    /// The facts that are known so far about the cluster that jobs go to, if there is only one.
    pub fn known_for(slurm: &Slurm, settings: &SlurmSettings) -> Option<Arc<SiteFacts>> {
        let clusters = settings.on();
        if clusters.chosen_by_slurm() { None } else { slurm.known(clusters.only()) }
    }
}
