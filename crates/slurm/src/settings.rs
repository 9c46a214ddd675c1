//! The settings that concern Slurm: one table, for the settings of a database and for the site's file.
//!
//! A new setting is a row in [`ALL`] and a field of [`SlurmSettings`], filled in [`Resolved::settings`](crate::sourced::Resolved::settings).

use std::fmt;

use amore_model::Resources;

use crate::{
    amounts::{memory_mib, minutes},
    clusters::{Clusters, unfit_name},
};

/// A setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Its name in a database.
    pub key: &'static str,
    /// Its name in the site's file.
    pub in_file: &'static str,
    /// What it can be.
    pub kind: Kind,
}

/// What a setting can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A name, or several with commas between them.
    Name,
    /// Names of clusters.
    Clusters,
    /// A time, as Slurm writes it.
    Time,
    /// A number of jobs; zero or less is no limit, as DAMNIT has it.
    Jobs,
    /// [`NonCluster`].
    Place,
    /// A number of CPUs, or `none`.
    Cpus,
    /// An amount of memory, or `none`.
    Memory,
    /// `none`: an option that no job has.
    LeftOut,
}

const fn setting(key: &'static str, in_file: &'static str, kind: Kind) -> Setting {
    Setting { key, in_file, kind }
}

/// Rules over the partition.
pub const RESERVATION: Setting = setting("slurm_reservation", "reservation", Kind::Name);
/// The partition.
pub const PARTITION: Setting = setting("slurm_partition", "partition", Kind::Name);
/// The account.
pub const ACCOUNT: Setting = setting("slurm_account", "account", Kind::Name);
/// The QOS.
pub const QOS: Setting = setting("slurm_qos", "qos", Kind::Name);
/// The clusters.
pub const CLUSTERS: Setting = setting("slurm_clusters", "clusters", Kind::Clusters);
/// The time limit of jobs.
pub const TIME: Setting = setting("slurm_time", "time", Kind::Time);
/// Jobs in the queue at once.
pub const CONCURRENT_JOBS: Setting = setting("concurrent_jobs", "concurrent_jobs", Kind::Jobs);
/// Where variables are computed that need no cluster.
pub const NONCLUSTER: Setting = setting("noncluster", "noncluster", Kind::Place);
/// CPUs of the job for those, if they go into one.
pub const NONCLUSTER_CPUS: Setting = setting("noncluster_cpus", "noncluster_cpus", Kind::Cpus);
/// Its memory.
pub const NONCLUSTER_MEM: Setting = setting("noncluster_mem", "noncluster_mem", Kind::Memory);
/// `none`, where the site takes no `--cpus-per-task`.
pub const CPUS: Setting = setting("slurm_cpus", "cpus", Kind::LeftOut);
/// `none`, where the site takes no `--mem`.
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

/// Jobs in the queue at once, where nothing else is set: DAMNIT's default.
pub const DEFAULT_CONCURRENT_JOBS: usize = 15;
/// Time limit in minutes, where nothing else is set: DAMNIT's default.
pub const DEFAULT_TIME_MINUTES: u32 = 120;
/// CPUs of a job without cluster variables, where nothing else is set: DAMNIT's default.
const DEFAULT_NONCLUSTER_CPUS: u32 = 4;
/// Its memory in MiB: DAMNIT's default of 25 GiB.
const DEFAULT_NONCLUSTER_MEM_MIB: u64 = 25 * 1024;

/// The word for an option that is left out.
const NONE: &str = "none";

/// What a setting is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Of [`Kind::Name`], [`Kind::Clusters`] and [`Kind::Time`].
    Text(String),
    /// A number of jobs; `usize::MAX`: no limit.
    Jobs(usize),
    /// Where variables are computed that need no cluster.
    Place(NonCluster),
    /// CPUs.
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

/// A value that a setting cannot have: what it must be, after its name (`must be a number, not "many"`).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unfit(pub String);

impl Kind {
    /// Reads a value.
    ///
    /// # Errors
    /// What it must be.
    pub fn read(self, text: &str) -> Result<Value, Unfit> {
        let text = text.trim();
        let (value, must) = match self {
            Kind::Name => {
                let names: Vec<&str> = text.split(',').map(str::trim).collect();
                let fits = names.iter().all(|name| !name.contains(char::is_whitespace));
                let value = (fits && !text.is_empty()).then(|| Value::Text(names.join(",")));
                (value, "must be a name without spaces")
            }
            Kind::Clusters => match unfit_name(text) {
                Some(name) => {
                    return Err(Unfit(format!(
                        "must be names of clusters with commas between them, and {name:?} is none"
                    )));
                }
                None => (Some(Value::Text(text.to_owned())), "must be names of clusters"),
            },
            Kind::Time => {
                (minutes(text).map(|_| Value::Text(text.to_owned())), "must be a time as Slurm writes it")
            }
            Kind::Jobs => {
                let jobs =
                    |number| usize::try_from(number).ok().filter(|jobs| *jobs > 0).unwrap_or(usize::MAX);
                (text.parse::<i64>().ok().map(|number| Value::Jobs(jobs(number))), "must be a number")
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
        value.ok_or_else(|| Unfit(format!("{must}, not {text:?}")))
    }

    /// A value that it can have, and whether `amore db-config` needs `--num` for it.
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
    /// The one of this name in a database.
    pub fn of_key(key: &str) -> Option<Setting> {
        ALL.into_iter().find(|setting| setting.key == key)
    }

    /// How it is set in a database.
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
                "{set} leaves the option out of every job, --delete lets it in; how much it is stands at the variable"
            ),
            Kind::Time | Kind::Jobs | Kind::Place => set,
        }
    }

    /// How it is set in the site's file.
    pub fn hint_in_file(&self) -> String {
        let name = self.in_file;
        match (self.kind, self.kind.sample()) {
            (Kind::Name, _) => "delete the line if nothing is to be set".to_owned(),
            (Kind::LeftOut, _) => "delete the line: how much it is stands at the variable".to_owned(),
            (_, (sample, true)) => format!("{name} = {sample}"),
            (_, (sample, false)) => format!("{name} = \"{sample}\""),
        }
    }
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

/// Where variables are computed that need no cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// [`TIME`], as Slurm writes it (`2:00:00`).
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
    /// On which clusters jobs are.
    pub fn on(&self) -> Clusters {
        Clusters::of(self.clusters.as_deref())
    }

    /// What the job of a run asks for in which variables are computed that need no cluster; `None`: no job is wanted.
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
