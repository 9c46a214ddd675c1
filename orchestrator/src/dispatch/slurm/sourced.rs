//! Slurm's settings, each with the place it comes from: a database, or a section of the site's file.

use std::{fmt, path::PathBuf};

use super::asked::{Amount, LeftOut, NONE, NonCluster, SlurmSettings};

/// Where a setting comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The settings of the database.
    Database {
        /// Its name there.
        key: &'static str,
    },
    /// The site's file.
    Site {
        /// The file.
        file: PathBuf,
        /// Counted from 1.
        line: usize,
        /// `[slurm]`, `[slurm.instrument.SPB]`…
        section: String,
    },
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Database { key } => write!(f, "amore db-config {key}"),
            Source::Site { file, line, section } => write!(f, "{}, line {line}, {section}", file.display()),
        }
    }
}

/// A setting, and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sourced<T> {
    /// The setting.
    pub value: T,
    /// Where from.
    pub source: Source,
}

/// Settings of one level: of a database, or of a section of the site's file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolved {
    /// Rules over the partition.
    pub reservation: Option<Sourced<String>>,
    /// Partition.
    pub partition: Option<Sourced<String>>,
    /// Account.
    pub account: Option<Sourced<String>>,
    /// QOS.
    pub qos: Option<Sourced<String>>,
    /// Clusters.
    pub clusters: Option<Sourced<String>>,
    /// Time limit, as Slurm writes it.
    pub time: Option<Sourced<String>>,
    /// Jobs in the queue at once.
    pub concurrent_jobs: Option<Sourced<usize>>,
    /// Where variables are computed that need no cluster.
    pub noncluster: Option<Sourced<NonCluster>>,
    /// CPUs of their job.
    pub noncluster_cpus: Option<Sourced<Amount<u32>>>,
    /// Memory of their job, in MiB.
    pub noncluster_mem_mib: Option<Sourced<Amount<u64>>>,
    /// No job has `--cpus-per-task`.
    pub cpus: Option<Sourced<LeftOut>>,
    /// No job has `--mem`.
    pub mem: Option<Sourced<LeftOut>>,
}

impl Resolved {
    /// Of a database.
    pub fn of_database(settings: SlurmSettings) -> Self {
        fn sourced<T>(value: Option<T>, key: &'static str) -> Option<Sourced<T>> {
            value.map(|value| Sourced { value, source: Source::Database { key } })
        }
        Resolved {
            reservation: sourced(settings.reservation, "slurm_reservation"),
            partition: sourced(settings.partition, "slurm_partition"),
            account: sourced(settings.account, "slurm_account"),
            qos: sourced(settings.qos, "slurm_qos"),
            clusters: sourced(settings.clusters, "slurm_clusters"),
            time: sourced(settings.time, "slurm_time"),
            concurrent_jobs: sourced(settings.concurrent_jobs, "concurrent_jobs"),
            noncluster: sourced(settings.noncluster, "noncluster"),
            noncluster_cpus: sourced(settings.noncluster_cpus, "noncluster_cpus"),
            noncluster_mem_mib: sourced(settings.noncluster_mem_mib, "noncluster_mem"),
            cpus: sourced(settings.cpus, "slurm_cpus"),
            mem: sourced(settings.mem, "slurm_mem"),
        }
    }

    /// What is not set here is taken from a more general level. A partition that is set here goes before a reservation
    /// that is set there: otherwise it would never be used.
    #[must_use]
    pub fn or(self, general: &Resolved) -> Self {
        let reservation = if self.partition.is_some() { None } else { general.reservation.clone() };
        Resolved {
            reservation: self.reservation.or(reservation),
            partition: self.partition.or_else(|| general.partition.clone()),
            account: self.account.or_else(|| general.account.clone()),
            qos: self.qos.or_else(|| general.qos.clone()),
            clusters: self.clusters.or_else(|| general.clusters.clone()),
            time: self.time.or_else(|| general.time.clone()),
            concurrent_jobs: self.concurrent_jobs.or_else(|| general.concurrent_jobs.clone()),
            noncluster: self.noncluster.or_else(|| general.noncluster.clone()),
            noncluster_cpus: self.noncluster_cpus.or_else(|| general.noncluster_cpus.clone()),
            noncluster_mem_mib: self.noncluster_mem_mib.or_else(|| general.noncluster_mem_mib.clone()),
            cpus: self.cpus.or_else(|| general.cpus.clone()),
            mem: self.mem.or_else(|| general.mem.clone()),
        }
    }

    /// The bare values.
    pub fn settings(&self) -> SlurmSettings {
        fn bare<T: Clone>(sourced: &Option<Sourced<T>>) -> Option<T> {
            sourced.as_ref().map(|sourced| sourced.value.clone())
        }
        SlurmSettings {
            reservation: bare(&self.reservation),
            partition: bare(&self.partition),
            account: bare(&self.account),
            qos: bare(&self.qos),
            clusters: bare(&self.clusters),
            time: bare(&self.time),
            concurrent_jobs: bare(&self.concurrent_jobs),
            noncluster: bare(&self.noncluster),
            noncluster_cpus: bare(&self.noncluster_cpus),
            noncluster_mem_mib: bare(&self.noncluster_mem_mib),
            cpus: bare(&self.cpus),
            mem: bare(&self.mem),
        }
    }

    /// Each that is set: its name in the database, its value, its source.
    pub fn listed(&self) -> Vec<(&'static str, String, &Source)> {
        let texts = [
            ("slurm_reservation", &self.reservation),
            ("slurm_partition", &self.partition),
            ("slurm_account", &self.account),
            ("slurm_qos", &self.qos),
            ("slurm_clusters", &self.clusters),
            ("slurm_time", &self.time),
        ];
        let texts = texts.into_iter().filter_map(|(key, sourced)| Some((key, sourced.as_ref()?)));
        let mut all: Vec<_> =
            texts.map(|(key, sourced)| (key, sourced.value.clone(), &sourced.source)).collect();
        if let Some(jobs) = &self.concurrent_jobs {
            let value = if jobs.value == usize::MAX { "no limit".to_owned() } else { jobs.value.to_string() };
            all.push(("concurrent_jobs", value, &jobs.source));
        }
        if let Some(place) = &self.noncluster {
            all.push(("noncluster", place.value.word().to_owned(), &place.source));
        }
        if let Some(cpus) = &self.noncluster_cpus {
            let value = match cpus.value {
                Amount::LeftOut => NONE.to_owned(),
                Amount::Of(cpus) => cpus.to_string(),
            };
            all.push(("noncluster_cpus", value, &cpus.source));
        }
        if let Some(mem) = &self.noncluster_mem_mib {
            let value = match mem.value {
                Amount::LeftOut => NONE.to_owned(),
                Amount::Of(mem) => format!("{mem}M"),
            };
            all.push(("noncluster_mem", value, &mem.source));
        }
        let left_out = [("slurm_cpus", &self.cpus), ("slurm_mem", &self.mem)];
        let left_out = left_out.into_iter().filter_map(|(key, sourced)| Some((key, sourced.as_ref()?)));
        all.extend(left_out.map(|(key, sourced)| (key, NONE.to_owned(), &sourced.source)));
        all
    }
}
