//! What a job asks Slurm for, from the settings of the database and of the site.

use std::collections::BTreeMap;

use amore_model::Resources;
use amore_run_table::SettingValue;
use serde::Deserialize;

use super::clusters::{Clusters, unfit_name};
use crate::failure::Failure;

pub use amore_slurm::amounts::{memory_bytes, memory_mib, minutes};

/// The settings that concern Slurm (`amore db-config --known`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SlurmSettings {
    /// `slurm_reservation`: rules over the partition.
    pub reservation: Option<String>,
    /// `slurm_partition`.
    pub partition: Option<String>,
    /// `slurm_account`.
    pub account: Option<String>,
    /// `slurm_qos`.
    pub qos: Option<String>,
    /// `slurm_clusters`.
    pub clusters: Option<String>,
    /// `slurm_time`, as Slurm writes it (`2:00:00`).
    pub time: Option<String>,
    /// `concurrent_jobs`: jobs in the queue at once.
    pub concurrent_jobs: Option<usize>,
    /// `noncluster`: where variables are computed that need no cluster.
    pub noncluster: Option<NonCluster>,
    /// `noncluster_cpus`: of the job for those, if they go into one.
    pub noncluster_cpus: Option<Amount<u32>>,
    /// `noncluster_mem`: the same, in MiB.
    pub noncluster_mem_mib: Option<Amount<u64>>,
    /// `slurm_cpus`: `none`, where the site takes no `--cpus-per-task`.
    pub cpus: Option<LeftOut>,
    /// `slurm_mem`: `none`, where the site takes no `--mem`.
    pub mem: Option<LeftOut>,
}

/// How much is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount<T> {
    /// Nothing: the option is left out (`none`).
    LeftOut,
    /// So much.
    Of(T),
}

impl<T> Amount<T> {
    fn of(self) -> Option<T> {
        match self {
            Amount::LeftOut => None,
            Amount::Of(amount) => Some(amount),
        }
    }
}

/// An option that no job has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeftOut;

/// The word for an option that is left out.
pub const NONE: &str = "none";

/// Where variables are computed that need no cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NonCluster {
    /// Where the command runs.
    Local,
    /// In a small Slurm job of the run, as DAMNIT does.
    Slurm,
}

impl NonCluster {
    /// As it is written in settings.
    pub fn word(self) -> &'static str {
        match self {
            NonCluster::Local => "local",
            NonCluster::Slurm => "slurm",
        }
    }
}

/// Jobs in the queue at once, where nothing else is set: DAMNIT's default.
pub const CONCURRENT_JOBS: usize = 15;
/// CPUs of a job without cluster variables, where nothing else is set: DAMNIT's default.
const NONCLUSTER_CPUS: u32 = 4;
/// Its memory in MiB: DAMNIT's default of 25 GiB.
const NONCLUSTER_MEM_MIB: u64 = 25 * 1024;
/// Time limit in minutes, where nothing else is set: DAMNIT's default.
pub const TIME_MINUTES: u32 = 120;

impl SlurmSettings {
    /// From the settings of a database.
    ///
    /// # Errors
    /// A value that cannot be meant.
    pub fn of(settings: &BTreeMap<String, SettingValue>) -> Result<Self, Failure> {
        let text = |key: &str| match settings.get(key) {
            Some(SettingValue::Text(text)) if !text.trim().is_empty() => Some(text.trim().to_owned()),
            Some(SettingValue::Integer(number)) => Some(number.to_string()),
            _ => None,
        };
        let time = text("slurm_time");
        if let Some(time) = &time
            && minutes(time).is_none()
        {
            return Err(Failure::new(format!("slurm_time must be a time as Slurm writes it, not {time:?}"))
                .hint("amore-proto db-config slurm_time 2:00:00"));
        }
        let concurrent_jobs = match text("concurrent_jobs") {
            None => None,
            Some(text) => match text.parse::<i64>() {
                Ok(number) if number > 0 => usize::try_from(number).ok(),
                // As the peer has it: zero or less is no limit.
                Ok(_) => Some(usize::MAX),
                Err(_) => {
                    return Err(Failure::new(format!("concurrent_jobs must be a number, not {text:?}"))
                        .hint("amore-proto db-config concurrent_jobs 30 --num"));
                }
            },
        };
        let noncluster = match text("noncluster").as_deref() {
            None => None,
            Some("local") => Some(NonCluster::Local),
            Some("slurm") => Some(NonCluster::Slurm),
            Some(other) => {
                return Err(Failure::new(format!("noncluster must be local or slurm, not {other:?}"))
                    .hint("amore-proto db-config noncluster slurm"));
            }
        };
        let noncluster_cpus = text("noncluster_cpus")
            .map(|text| {
                cpus(&text).ok_or_else(|| {
                    Failure::new(format!("noncluster_cpus must be a number of CPUs or none, not {text:?}"))
                        .hint(
                            "amore-proto db-config noncluster_cpus 4 --num; none leaves --cpus-per-task out",
                        )
                })
            })
            .transpose()?;
        let noncluster_mem_mib = text("noncluster_mem")
            .map(|text| {
                memory(&text).ok_or_else(|| {
                    Failure::new(format!("noncluster_mem must be an amount of memory or none, not {text:?}"))
                        .hint("amore-proto db-config noncluster_mem 25G; none leaves --mem out")
                })
            })
            .transpose()?;
        let left_out = |key: &str| {
            match text(key) {
            None => Ok(None),
            Some(text) if text.eq_ignore_ascii_case(NONE) => Ok(Some(LeftOut)),
            Some(other) => Err(Failure::new(format!("{key} can only be none, not {other:?}")).hint(format!(
                "amore-proto db-config {key} none leaves the option out of every job, --delete lets it in; how much it is stands at the variable"
            ))),
        }
        };
        let (without_cpus, without_mem) = (left_out("slurm_cpus")?, left_out("slurm_mem")?);
        let clusters = text("slurm_clusters");
        if let Some(name) = clusters.as_deref().and_then(unfit_name) {
            return Err(Failure::new(format!(
                "slurm_clusters must be names of clusters with commas between them, and {name:?} is none"
            ))
            .hint("`sacctmgr show cluster` lists them; amore-proto db-config slurm_clusters NAME"));
        }
        Ok(SlurmSettings {
            noncluster,
            noncluster_cpus,
            noncluster_mem_mib,
            cpus: without_cpus,
            mem: without_mem,
            reservation: text("slurm_reservation"),
            partition: text("slurm_partition"),
            account: text("slurm_account"),
            qos: text("slurm_qos"),
            clusters,
            time,
            concurrent_jobs,
        })
    }

    /// On which clusters jobs are.
    pub fn on(&self) -> Clusters {
        Clusters::of(self.clusters.as_deref())
    }

    /// What the job of a run asks for in which variables are computed that need no cluster; `None`: no job is wanted.
    pub fn noncluster_job(&self) -> Option<Resources> {
        (self.noncluster == Some(NonCluster::Slurm)).then(|| Resources {
            cpus: self.noncluster_cpus.unwrap_or(Amount::Of(NONCLUSTER_CPUS)).of(),
            mem_mib: self.noncluster_mem_mib.unwrap_or(Amount::Of(NONCLUSTER_MEM_MIB)).of(),
            ..Resources::default()
        })
    }
}

/// A number of CPUs, or `none`.
pub fn cpus(text: &str) -> Option<Amount<u32>> {
    if text.trim().eq_ignore_ascii_case(NONE) {
        return Some(Amount::LeftOut);
    }
    text.trim().parse().ok().filter(|cpus| *cpus > 0).map(Amount::Of)
}

/// An amount of memory in MiB, or `none`.
pub fn memory(text: &str) -> Option<Amount<u64>> {
    if text.trim().eq_ignore_ascii_case(NONE) {
        return Some(Amount::LeftOut);
    }
    memory_mib(text).map(Amount::Of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_without_cluster_variables_has_damnits_resources_unless_told_otherwise() {
        let of = |settings: &[(&str, &str)]| {
            let settings = settings
                .iter()
                .map(|(key, value)| ((*key).to_owned(), SettingValue::Text((*value).to_owned())))
                .collect();
            SlurmSettings::of(&settings).map(|settings| settings.noncluster_job())
        };
        let words = |settings: &[(&str, &str)]| of(settings).unwrap().map(|asked| asked.to_string());
        assert_eq!(words(&[]), None);
        assert_eq!(words(&[("noncluster", "local"), ("noncluster_cpus", "8")]), None);
        assert_eq!(words(&[("noncluster", "slurm")]).as_deref(), Some("--cpus-per-task=4 --mem=25G"));
        let own = [("noncluster", "slurm"), ("noncluster_cpus", "2"), ("noncluster_mem", "500M")];
        assert_eq!(words(&own).as_deref(), Some("--cpus-per-task=2 --mem=500M"));
        let without = [("noncluster", "slurm"), ("noncluster_cpus", "none"), ("noncluster_mem", "None")];
        assert_eq!(of(&without).unwrap(), Some(Resources::default()));
        for bad in [
            ("slurm_mem", "4G"),
            ("noncluster", "cluster"),
            ("noncluster_cpus", "0"),
            ("noncluster_mem", "much"),
        ] {
            assert!(of(&[bad]).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn settings_that_cannot_be_meant_are_refused() {
        let one = |key: &str, value: &str| {
            SlurmSettings::of(&[(key.to_owned(), SettingValue::Text(value.to_owned()))].into())
        };
        assert!(one("slurm_time", "soon").is_err());
        assert!(one("concurrent_jobs", "many").is_err());
        assert_eq!(one("concurrent_jobs", "0").unwrap().concurrent_jobs, Some(usize::MAX));
        assert_eq!(
            one("slurm_reservation", " upex_001234 ").unwrap().reservation.as_deref(),
            Some("upex_001234")
        );
    }
}
