//! Settings with their sources: a database, or a section of the site's file.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use crate::settings::{
    self, ALL, Amount, LeftOut, NonCluster, PARTITION, RESERVATION, Setting, SlurmSettings, Value,
};

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
        /// Line number, from 1.
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

/// An invalid setting of a database.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key} {problem}")]
pub struct InvalidSetting {
    /// Its name.
    pub key: &'static str,
    /// What it must be.
    pub problem: String,
    /// What to do.
    pub hint: String,
}

/// Settings of one level (a database, or a section of the site's file), or of several levels merged with [`Resolved::or`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolved {
    /// By name in a database.
    values: BTreeMap<&'static str, (Value, Source)>,
}

impl Resolved {
    /// Parses the settings of a database, given as name and text. Empty texts and names of other settings are ignored.
    ///
    /// # Errors
    /// The first invalid value.
    pub fn of_database<'a>(
        texts: impl IntoIterator<Item = (&'a str, String)>,
    ) -> Result<Self, InvalidSetting> {
        let mut resolved = Resolved::default();
        for (key, text) in texts {
            let Some(setting) = Setting::of_key(key).filter(|_| !text.trim().is_empty()) else { continue };
            let value = setting.kind.read(&text).map_err(|unfit| InvalidSetting {
                key: setting.key,
                problem: unfit.to_string(),
                hint: setting.hint(),
            })?;
            resolved.set(setting, value, Source::Database { key: setting.key });
        }
        Ok(resolved)
    }

    /// Sets a value.
    pub fn set(&mut self, setting: Setting, value: Value, source: Source) {
        self.values.insert(setting.key, (value, source));
    }

    /// Removes a value.
    pub fn unset(&mut self, setting: Setting) {
        self.values.remove(setting.key);
    }

    /// Adds the values of a more general level that are not set here. A partition that is set here hides a reservation of
    /// the general level: otherwise it would never be used.
    #[must_use]
    pub fn or(mut self, general: &Resolved) -> Self {
        let without_reservation = self.value(PARTITION).is_some();
        for (key, found) in &general.values {
            if !(without_reservation && *key == RESERVATION.key) {
                self.values.entry(key).or_insert_with(|| found.clone());
            }
        }
        self
    }

    /// The value of a setting.
    pub fn value(&self, setting: Setting) -> Option<&Value> {
        self.values.get(setting.key).map(|(value, _)| value)
    }

    /// Where a setting comes from.
    pub fn source(&self, setting: Setting) -> Option<&Source> {
        self.values.get(setting.key).map(|(_, source)| source)
    }

    /// All settings that have a value: name in the database, value, source.
    pub fn listed(&self) -> Vec<(&'static str, String, &Source)> {
        let one = |setting: Setting| {
            let (value, source) = self.values.get(setting.key)?;
            Some((setting.key, value.to_string(), source))
        };
        ALL.into_iter().filter_map(one).collect()
    }

    /// The values without their sources.
    pub fn settings(&self) -> SlurmSettings {
        SlurmSettings {
            reservation: self.text(settings::RESERVATION),
            partition: self.text(settings::PARTITION),
            account: self.text(settings::ACCOUNT),
            qos: self.text(settings::QOS),
            clusters: self.text(settings::CLUSTERS),
            time: self.text(settings::TIME),
            concurrent_jobs: match self.value(settings::CONCURRENT_JOBS) {
                Some(Value::Jobs(jobs)) => Some(*jobs),
                _ => None,
            },
            noncluster: self.place(settings::NONCLUSTER),
            noncluster_cpus: match self.value(settings::NONCLUSTER_CPUS) {
                Some(Value::Cpus(cpus)) => Some(*cpus),
                _ => None,
            },
            noncluster_mem_mib: self.memory(settings::NONCLUSTER_MEM),
            cpus: self.value(settings::CPUS).map(|_| LeftOut),
            mem: self.value(settings::MEM).map(|_| LeftOut),
        }
    }

    fn text(&self, setting: Setting) -> Option<String> {
        match self.value(setting) {
            Some(Value::Text(text)) => Some(text.clone()),
            _ => None,
        }
    }

    fn place(&self, setting: Setting) -> Option<NonCluster> {
        match self.value(setting) {
            Some(Value::Place(place)) => Some(*place),
            _ => None,
        }
    }

    fn memory(&self, setting: Setting) -> Option<Amount<u64>> {
        match self.value(setting) {
            Some(Value::Memory(mem)) => Some(*mem),
            _ => None,
        }
    }
}
