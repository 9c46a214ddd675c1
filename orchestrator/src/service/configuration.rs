//! The configuration of a service: `service.toml` in its directory, if there is one. SIGHUP reads it again.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use amore_intake::SettleRule;
use serde::Deserialize;

use super::kafka::KafkaSettings;
use crate::{advice::Advice, api::settings::HttpSettings};

/// What can be configured.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Configuration {
    /// `[runs]`: when data that are found in a folder are complete.
    pub runs: SettleRule,
    /// `[http]`: where the API listens, and its limits.
    pub http: HttpSettings,
    /// `[kafka]`: where events about runs come from, and updates go to.
    pub kafka: KafkaSettings,
    /// `[inbox]`: how long events are kept.
    pub inbox: InboxRule,
}

/// How long events are kept.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct InboxRule {
    /// Days after which events that were processed or dropped are forgotten.
    pub keep_days: f64,
}

impl Default for InboxRule {
    fn default() -> Self {
        InboxRule { keep_days: 30.0 }
    }
}

/// The configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigurationError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    /// It is not TOML, or has an unknown or invalid key.
    #[error("{}: {why}", path.display())]
    Invalid { path: PathBuf, why: String },
}

impl Advice for ConfigurationError {
    fn hint(&self) -> Option<String> {
        Some("docs/service.md lists the keys".to_owned())
    }
}

/// Reads the configuration of the service in this directory.
///
/// # Errors
/// The file cannot be read, or is invalid.
pub fn read(directory: &Path) -> Result<Configuration, ConfigurationError> {
    let path = directory.join("service.toml");
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Configuration::default()),
        Err(source) => return Err(ConfigurationError::Unreadable { path, source }),
    };
    parse(&text).map_err(|why| ConfigurationError::Invalid { path, why })
}

fn parse(text: &str) -> Result<Configuration, String> {
    let configuration: Configuration =
        toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())?;
    let quiet = configuration.runs.quiet_seconds;
    if !(quiet.is_finite() && quiet >= 0.0) {
        return Err(format!("runs.quiet_seconds must be a number of seconds, not {quiet}"));
    }
    configuration.http.check()?;
    let days = configuration.inbox.keep_days;
    if !(days.is_finite() && days >= 0.0) {
        return Err(format!("inbox.keep_days must be a number of days, not {days}"));
    }
    match configuration.kafka.problem() {
        Some(problem) => Err(problem),
        None => Ok(configuration),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_defaults_and_unknown_ones_are_refused_with_their_line() {
        assert_eq!(parse("").unwrap(), Configuration::default());
        let set = parse("[runs]\nquiet_seconds = 5\nmarker = \"done\"").unwrap();
        assert_eq!((set.runs.quiet_seconds, set.runs.marker.as_deref()), (5.0, Some("done")));
        assert_eq!(set.runs.min_files, 1);
        let refused = parse("[runs]\nquiet = 5").unwrap_err();
        assert!(refused.contains("line 2") && refused.contains("quiet"), "{refused}");
        assert_eq!(parse("[inbox]\nkeep_days = 7").unwrap().inbox.keep_days, 7.0);
        assert!(parse("[inbox]\nkeep_days = -1").is_err());
        assert!(
            parse("[runs]\nquiet_seconds = -1.0").is_err() && parse("[runs]\nquiet_seconds = nan").is_err()
        );
    }
}
