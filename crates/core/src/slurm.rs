//! What is known of Slurm: whether there are jobs at all, its settings, and the partitions and nodes of the site.

use std::{sync::Arc, time::Duration};

use amore_slurm::{
    settings::{DEFAULT_CONCURRENT_JOBS, SlurmSettings},
    site_facts::SiteFacts,
    submission::JobOptions,
};

/// How often the settings are read while there are jobs.
const SETTINGS_POLL: Duration = Duration::from_secs(3);

#[derive(Debug)]
pub(crate) struct Slurm {
    /// `None`: everything is computed here.
    settings: Option<SlurmSettings>,
    site: Option<Arc<SiteFacts>>,
    /// Settings can be changed while jobs wait (the throttle, the reservation): they are read again once there was a job.
    had_jobs: bool,
    read_settings_at: Option<Duration>,
}

impl Slurm {
    /// `None`: there is no Slurm, or no jobs are wanted.
    pub(crate) fn new(settings: Option<SlurmSettings>) -> Self {
        Slurm { settings, site: None, had_jobs: false, read_settings_at: None }
    }

    /// The settings, if there can be new jobs.
    pub(crate) fn settings(&self) -> Option<&SlurmSettings> {
        self.settings.as_ref()
    }

    /// The settings; of jobs of earlier commands those that stand for none.
    pub(crate) fn settings_or_default(&self) -> SlurmSettings {
        self.settings.clone().unwrap_or_default()
    }

    /// How many jobs may be in Slurm's queue at once.
    pub(crate) fn concurrent_jobs(&self) -> usize {
        self.settings().and_then(|settings| settings.concurrent_jobs).unwrap_or(DEFAULT_CONCURRENT_JOBS)
    }

    /// The settings have been read again.
    pub(crate) fn set_settings(&mut self, settings: SlurmSettings) {
        if self.settings.is_some() {
            self.settings = Some(settings);
        }
    }

    pub(crate) fn set_site(&mut self, site: Arc<SiteFacts>) {
        self.site = Some(site);
    }

    /// The most memory that such a job can have on one node, if that is known.
    pub(crate) fn most_memory(&self, asked: &JobOptions) -> Option<u64> {
        self.site.as_ref()?.most_memory(asked)
    }

    /// There is a job.
    pub(crate) fn has_job(&mut self) {
        self.had_jobs = true;
    }

    /// Is it time to read the settings?
    pub(crate) fn settings_are_due(&mut self, now: Duration) -> bool {
        let is_due =
            self.settings.is_some() && self.had_jobs && self.read_settings_at.is_none_or(|at| at <= now);
        if is_due {
            self.read_settings_at = Some(now + SETTINGS_POLL);
        }
        is_due
    }

    /// When the settings are read again.
    pub(crate) fn next_poll(&self) -> Option<Duration> {
        self.read_settings_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_from_the_first_job_on_now_and_then() {
        let seconds = Duration::from_secs;
        let mut slurm = Slurm::new(Some(SlurmSettings::default()));
        assert!(!slurm.settings_are_due(seconds(1)) && slurm.next_poll().is_none());
        slurm.has_job();
        assert!(slurm.settings_are_due(seconds(1)));
        assert!(!slurm.settings_are_due(seconds(2)));
        assert_eq!(slurm.next_poll(), Some(seconds(4)));
        assert!(slurm.settings_are_due(seconds(4)));
    }

    #[test]
    fn new_settings_apply_and_bring_no_slurm_where_there_is_none() {
        let three = SlurmSettings { concurrent_jobs: Some(3), ..SlurmSettings::default() };
        let mut slurm = Slurm::new(Some(SlurmSettings::default()));
        assert_eq!(slurm.concurrent_jobs(), DEFAULT_CONCURRENT_JOBS);
        slurm.set_settings(three.clone());
        assert_eq!(slurm.concurrent_jobs(), 3);
        let mut none = Slurm::new(None);
        none.set_settings(three);
        none.has_job();
        assert!(none.settings().is_none() && !none.settings_are_due(Duration::ZERO));
    }
}
