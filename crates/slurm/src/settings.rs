//! The settings that concern Slurm: one table for the settings of a database and for the site's file.
//!
//! A new setting is a row in [`ALL`] and a field of [`SlurmSettings`], filled in [`Resolved::settings`](crate::sourced::Resolved::settings).

use std::fmt;

use amore_model::Resources;

use crate::{
    amounts::{memory_mib, minutes},
    clusters::{Clusters, invalid_name},
};

/// A setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Its name in a database.
    pub key: &'static str,
    /// Its name in the site's file.
    pub in_file: &'static str,
    /// Which values it accepts.
    pub kind: Kind,
}

/// Which values a setting accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A name, or several separated by commas.
    Name,
    /// Names of clusters.
    Clusters,
    /// A time in Slurm's notation.
    Time,
    /// A number of jobs; zero or less means no limit, as in DAMNIT.
    Jobs,
    /// [`NonCluster`].
    Place,
    /// A number of CPUs, or `none`.
    Cpus,
    /// An amount of memory, or `none`.
    Memory,
    /// Only `none`: leaves an option out of all jobs.
    LeftOut,
}

const fn setting(key: &'static str, in_file: &'static str, kind: Kind) -> Setting {
    Setting { key, in_file, kind }
}

/// Reservation of jobs. Takes precedence over the partition.
pub const RESERVATION: Setting = setting("slurm_reservation", "reservation", Kind::Name);
/// Partition of jobs.
pub const PARTITION: Setting = setting("slurm_partition", "partition", Kind::Name);
/// Account of jobs.
pub const ACCOUNT: Setting = setting("slurm_account", "account", Kind::Name);
/// QOS of jobs.
pub const QOS: Setting = setting("slurm_qos", "qos", Kind::Name);
/// Clusters that jobs are submitted to.
pub const CLUSTERS: Setting = setting("slurm_clusters", "clusters", Kind::Clusters);
/// Time limit of jobs.
pub const TIME: Setting = setting("slurm_time", "time", Kind::Time);
/// Largest number of jobs in the queue.
pub const CONCURRENT_JOBS: Setting = setting("concurrent_jobs", "concurrent_jobs", Kind::Jobs);
/// Where variables without `cluster=True` are computed.
pub const NONCLUSTER: Setting = setting("noncluster", "noncluster", Kind::Place);
/// CPUs of the job for those, if they are computed in a job.
pub const NONCLUSTER_CPUS: Setting = setting("noncluster_cpus", "noncluster_cpus", Kind::Cpus);
/// Memory of that job.
pub const NONCLUSTER_MEM: Setting = setting("noncluster_mem", "noncluster_mem", Kind::Memory);
/// `none` if the site accepts no `--cpus-per-task`.
pub const CPUS: Setting = setting("slurm_cpus", "cpus", Kind::LeftOut);
/// `none` if the site accepts no `--mem`.
pub const MEM: Setting = setting("slurm_mem", "mem", Kind::LeftOut);

/// All settings, in the order in which they are listed.
pub const ALL: [Setting; 12] = [
    RESERVATION,
    PARTITION,
    ACCOUNT,
    QOS,
    CLUSTERS,
    TIME,
    CONCURRENT_JOBS,
    NONCLUSTER,
    NONCLUSTER_CPUS,
    NONCLUSTER_MEM,
    CPUS,
    MEM,
];

/// Largest number of jobs in the queue if nothing else is set: DAMNIT's default.
pub const DEFAULT_CONCURRENT_JOBS: usize = 15;
/// Time limit in minutes if nothing else is set: DAMNIT's default.
pub const DEFAULT_TIME_MINUTES: u32 = 120;
/// CPUs of a job without cluster variables if nothing else is set: DAMNIT's default.
const DEFAULT_NONCLUSTER_CPUS: u32 = 4;
/// Its memory in MiB: DAMNIT's default of 25 GiB.
const DEFAULT_NONCLUSTER_MEM_MIB: u64 = 25 * 1024;

/// The word that leaves an option out.
const NONE: &str = "none";

/// The value of a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Of [`Kind::Name`], [`Kind::Clusters`] and [`Kind::Time`].
    Text(String),
    /// A number of jobs; `usize::MAX` means no limit.
    Jobs(usize),
    /// Where variables without `cluster=True` are computed.
    Place(NonCluster),
    /// Number of CPUs.
    Cpus(Amount<u32>),
    /// Memory in MiB.
    Memory(Amount<u64>),
    /// The option is left out.
    LeftOut,
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Text(text) => f.write_str(text),
            Value::Jobs(usize::MAX) => f.write_str("no limit"),
            Value::Jobs(jobs) => jobs.fmt(f),
            Value::Place(place) => f.write_str(place.word()),
            Value::Cpus(Amount::Of(cpus)) => cpus.fmt(f),
            Value::Memory(Amount::Of(mem)) => write!(f, "{mem}M"),
            Value::Cpus(Amount::LeftOut) | Value::Memory(Amount::LeftOut) | Value::LeftOut => {
                f.write_str(NONE)
            }
        }
    }
}

/// An invalid value: says what it must be, to follow the name of the setting (`must be a number, not "many"`).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidValue(pub String);

impl Kind {
    /// Parses a value.
    ///
    /// # Errors
    /// What the value must be.
    pub fn read(self, text: &str) -> Result<Value, InvalidValue> {
        let text = text.trim();
        let (value, must) = match self {
            Kind::Name => {
                let names: Vec<&str> = text.split(',').map(str::trim).collect();
                let fits = names.iter().all(|name| !name.contains(char::is_whitespace));
                let value = (fits && !text.is_empty()).then(|| Value::Text(names.join(",")));
                (value, "must be a name without spaces")
            }
            Kind::Clusters => match invalid_name(text) {
                Some(name) => {
                    return Err(InvalidValue(format!(
                        "must be names of clusters separated by commas, and {name:?} is not a valid name"
                    )));
                }
                None => (Some(Value::Text(text.to_owned())), "must be names of clusters"),
            },
            Kind::Time => (
                minutes(text).map(|_| Value::Text(text.to_owned())),
                "must be a time in Slurm's notation, like 2:00:00",
            ),
            Kind::Jobs => {
                let jobs =
                    |number| usize::try_from(number).ok().filter(|jobs| *jobs > 0).unwrap_or(usize::MAX);
                (
                    text.parse::<i64>().ok().map(|number| Value::Jobs(jobs(number))),
                    "must be a whole number (0: no limit)",
                )
            }
            Kind::Place => {
                let places = [NonCluster::Local, NonCluster::Slurm];
                let place = places.into_iter().find(|place| place.word() == text);
                (place.map(Value::Place), "must be local or slurm")
            }
            Kind::Cpus => {
                let cpus = |text: &str| text.parse().ok().filter(|cpus| *cpus > 0);
                (amount(text, cpus).map(Value::Cpus), "must be a number of CPUs or none")
            }
            Kind::Memory => {
                (amount(text, memory_mib).map(Value::Memory), "must be an amount of memory or none")
            }
            Kind::LeftOut => (text.eq_ignore_ascii_case(NONE).then_some(Value::LeftOut), "can only be none"),
        };
        value.ok_or_else(|| InvalidValue(format!("{must}, not {text:?}")))
    }

    /// A valid value, and whether `amore db-config` needs `--num` for it.
    fn sample(self) -> (&'static str, bool) {
        match self {
            Kind::Name | Kind::Clusters => ("NAME", false),
            Kind::Time => ("2:00:00", false),
            Kind::Jobs => ("30", true),
            Kind::Place => ("slurm", false),
            Kind::Cpus => ("4", true),
            Kind::Memory => ("25G", false),
            Kind::LeftOut => (NONE, false),
        }
    }
}

fn amount<T>(text: &str, read: impl FnOnce(&str) -> Option<T>) -> Option<Amount<T>> {
    if text.eq_ignore_ascii_case(NONE) { Some(Amount::LeftOut) } else { read(text).map(Amount::Of) }
}

impl Setting {
    /// Finds a setting by its name in a database.
    pub fn of_key(key: &str) -> Option<Setting> {
        ALL.into_iter().find(|setting| setting.key == key)
    }

    /// How to set it in a database.
    pub fn hint(&self) -> String {
        let (sample, number) = self.kind.sample();
        let number = if number { " --num" } else { "" };
        let set = format!("amore-proto db-config {} {sample}{number}", self.key);
        match self.kind {
            Kind::Name => format!("{set}; to unset it: amore-proto db-config {} --delete", self.key),
            Kind::Clusters => format!("`sacctmgr show cluster` lists them; {set}"),
            Kind::Cpus => format!("{set}; none leaves --cpus-per-task out"),
            Kind::Memory => format!("{set}; none leaves --mem out"),
            Kind::LeftOut => format!(
                "{set} leaves the option out of every job, --delete includes it again; the amount is set for each variable"
            ),
            Kind::Time | Kind::Jobs | Kind::Place => set,
        }
    }

    /// How to set it in the site's file.
    pub fn hint_in_file(&self) -> String {
        let name = self.in_file;
        match (self.kind, self.kind.sample()) {
            (Kind::Name, _) => "delete the line to set nothing".to_owned(),
            (Kind::LeftOut, _) => "delete the line; the amount is set for each variable".to_owned(),
            (_, (sample, true)) => format!("{name} = {sample}"),
            (_, (sample, false)) => format!("{name} = \"{sample}\""),
        }
    }
}

/// An amount to request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount<T> {
    /// None: the option is left out (`none`).
    LeftOut,
    /// This amount.
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

/// Marks an option that is left out of all jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeftOut;

/// Where variables without `cluster=True` are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NonCluster {
    /// On the machine where the command runs.
    Local,
    /// In a small Slurm job for the run, as DAMNIT does.
    Slurm,
}

impl NonCluster {
    /// The word in settings.
    pub fn word(self) -> &'static str {
        match self {
            NonCluster::Local => "local",
            NonCluster::Slurm => "slurm",
        }
    }
}

/// The settings that concern Slurm, as the coordinator needs them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SlurmSettings {
    /// [`RESERVATION`].
    pub reservation: Option<String>,
    /// [`PARTITION`].
    pub partition: Option<String>,
    /// [`ACCOUNT`].
    pub account: Option<String>,
    /// [`QOS`].
    pub qos: Option<String>,
    /// [`CLUSTERS`].
    pub clusters: Option<String>,
    /// [`TIME`] in Slurm's notation (`2:00:00`).
    pub time: Option<String>,
    /// [`CONCURRENT_JOBS`].
    pub concurrent_jobs: Option<usize>,
    /// [`NONCLUSTER`].
    pub noncluster: Option<NonCluster>,
    /// [`NONCLUSTER_CPUS`].
    pub noncluster_cpus: Option<Amount<u32>>,
    /// [`NONCLUSTER_MEM`], in MiB.
    pub noncluster_mem_mib: Option<Amount<u64>>,
    /// [`CPUS`].
    pub cpus: Option<LeftOut>,
    /// [`MEM`].
    pub mem: Option<LeftOut>,
}

impl SlurmSettings {
    /// The clusters that jobs are submitted to.
    pub fn on(&self) -> Clusters {
        Clusters::of(self.clusters.as_deref())
    }

    /// The resources of a run's job for variables without `cluster=True`; `None` if they are computed locally.
    pub fn noncluster_job(&self) -> Option<Resources> {
        (self.noncluster == Some(NonCluster::Slurm)).then(|| Resources {
            cpus: self.noncluster_cpus.unwrap_or(Amount::Of(DEFAULT_NONCLUSTER_CPUS)).of(),
            mem_mib: self.noncluster_mem_mib.unwrap_or(Amount::Of(DEFAULT_NONCLUSTER_MEM_MIB)).of(),
            ..Resources::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sourced::Resolved;

    fn of(settings: &[(&str, &str)]) -> Option<SlurmSettings> {
        let settings = settings.iter().map(|(key, value)| (*key, (*value).to_owned()));
        Resolved::of_database(settings).ok().map(|resolved| resolved.settings())
    }

    #[test]
    fn a_job_without_cluster_variables_has_damnits_resources_unless_told_otherwise() {
        let job = |settings: &[(&str, &str)]| of(settings).map(|settings| settings.noncluster_job());
        let words = |settings: &[(&str, &str)]| job(settings).unwrap().map(|asked| asked.to_string());
        assert_eq!(words(&[]), None);
        assert_eq!(words(&[("noncluster", "local"), ("noncluster_cpus", "8")]), None);
        assert_eq!(words(&[("noncluster", "slurm")]).as_deref(), Some("--cpus-per-task=4 --mem=25G"));
        let own = [("noncluster", "slurm"), ("noncluster_cpus", "2"), ("noncluster_mem", "500M")];
        assert_eq!(words(&own).as_deref(), Some("--cpus-per-task=2 --mem=500M"));
        let without = [("noncluster", "slurm"), ("noncluster_cpus", "none"), ("noncluster_mem", "None")];
        assert_eq!(job(&without).unwrap(), Some(Resources::default()));
        for bad in [
            ("slurm_mem", "4G"),
            ("noncluster", "cluster"),
            ("noncluster_cpus", "0"),
            ("noncluster_mem", "much"),
        ] {
            assert!(job(&[bad]).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn settings_that_cannot_be_meant_are_refused() {
        let one = |key: &str, value: &str| of(&[(key, value)]);
        for (key, value) in [
            ("slurm_time", "soon"),
            ("concurrent_jobs", "many"),
            ("slurm_clusters", "lab,-v"),
            ("slurm_partition", "two words"),
        ] {
            assert!(one(key, value).is_none(), "{key}");
        }
        assert_eq!(one("concurrent_jobs", "0").unwrap().concurrent_jobs, Some(usize::MAX));
        let reservation = |text| one("slurm_reservation", text).unwrap().reservation;
        assert_eq!(reservation(" upex_001234 ").as_deref(), Some("upex_001234"));
        assert_eq!(reservation("upex_1, upex_2").as_deref(), Some("upex_1,upex_2"));
        assert_eq!(reservation(" "), None);
    }

    #[test]
    fn each_setting_can_have_what_its_hint_says() {
        for setting in ALL {
            let (sample, _) = setting.kind.sample();
            assert!(setting.kind.read(sample).is_ok(), "{}", setting.key);
            assert!(setting.hint().contains(&format!("db-config {} {sample}", setting.key)));
            assert_eq!(Setting::of_key(setting.key), Some(setting));
        }
    }
}
