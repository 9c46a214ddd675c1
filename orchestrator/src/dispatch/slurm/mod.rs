//! Slurm, for the coordinator and the command line: what it decides is in `amore-slurm`, the I/O in `amore-slurm-client`.
//!
//! Here are the settings ([`asked`], [`site_file`]) and [`destination`], which says beforehand where a job
//! would go, and why. The rest are the names under which the two crates are used.

pub mod asked;
pub mod destination;
pub mod site_file;

use std::sync::LazyLock;

use amore_slurm::environment::SiteCommands;
pub use amore_slurm::{clusters, partition, reasons, reservation, sourced};
use amore_slurm_client::Slurm;

/// The one handle of this program. Read once: a command lasts no longer. What is wrong with the site's file is told where
/// settings are read.
pub fn slurm() -> &'static Slurm {
    static SLURM: LazyLock<Slurm> = LazyLock::new(|| {
        Slurm::new(match site_file::load() {
            Ok(Some(site)) => site.commands().clone(),
            Ok(None) | Err(_) => SiteCommands::default(),
        })
    });
    &SLURM
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

    /// Those of them that a job is not to see.
    pub fn not_for_jobs() -> Vec<String> {
        super::slurm().not_for_jobs()
    }
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

    use super::{asked::SlurmSettings, slurm};

    /// What is known by now of the cluster that jobs go to, if there is only one.
    pub fn known_for(settings: &SlurmSettings) -> Option<Arc<SiteFacts>> {
        let clusters = settings.on();
        if clusters.chosen_by_slurm() { None } else { slurm().known(clusters.only()) }
    }

    /// Asks for what the first job will need, while the caller does something else.
    pub fn ask_ahead(settings: &SlurmSettings) {
        slurm().ask_ahead(settings.on());
    }
}
