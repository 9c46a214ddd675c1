//! Identifies a Slurm job by its number and cluster.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

/// Identifies a Slurm job. Each cluster has its own numbers, so a number alone identifies a job only within one cluster.
///
/// Written as `17` or `17@maxwell`; sbatch's form `17;maxwell` can be parsed too.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId {
    /// Its number.
    pub number: u64,
    /// Its cluster; `None`: the default cluster of Slurm's commands.
    pub cluster: Option<String>,
}

/// Text that is not a job id.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "{0:?} is not a job id: expected a number, like 1234567, or a number and a cluster, like 1234567@maxwell"
)]
pub struct NotAJob(pub String);

impl JobId {
    /// A job on a cluster.
    pub fn on(cluster: Option<&str>, number: u64) -> Self {
        JobId { number, cluster: cluster.map(str::to_owned) }
    }

    /// Whether a user's `named` refers to this job. Without a cluster it matches the number on any cluster.
    pub fn is_meant_by(&self, named: &JobId) -> bool {
        self.number == named.number && (named.cluster.is_none() || self.cluster == named.cluster)
    }

    /// The option to insert after the name of a Slurm command: ` -M maxwell`, or nothing.
    pub fn cluster_option(&self) -> String {
        self.cluster.as_ref().map(|cluster| format!(" -M {cluster}")).unwrap_or_default()
    }
}

/// Whether this is a valid cluster name: it must not look like an option, a list, or shell syntax.
pub fn is_cluster_name(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with('-')
        && text.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.number)?;
        match &self.cluster {
            Some(cluster) => write!(f, "@{cluster}"),
            None => Ok(()),
        }
    }
}

impl FromStr for JobId {
    type Err = NotAJob;
    fn from_str(text: &str) -> Result<Self, NotAJob> {
        let (number, cluster) = match text.split_once(['@', ';']) {
            Some((number, cluster)) => (number, Some(cluster)),
            None => (text, None),
        };
        // Rust parses `+17` as a number.
        let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        match number.parse() {
            Ok(number) if digits && cluster.is_none_or(is_cluster_name) => Ok(JobId::on(cluster, number)),
            _ => Err(NotAJob(text.to_owned())),
        }
    }
}

impl Serialize for JobId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

struct Words;

impl de::Visitor<'_> for Words {
    type Value = JobId;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the number of a job, or number@cluster")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<JobId, E> {
        text.parse().map_err(E::custom)
    }

    // The form in requests before clusters were supported.
    fn visit_u64<E: de::Error>(self, number: u64) -> Result<JobId, E> {
        Ok(JobId::on(None, number))
    }
}

impl<'de> Deserialize<'de> for JobId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_named_with_or_without_its_cluster() {
        for (text, number, cluster, written) in [
            ("17", 17, None, "17"),
            ("17@maxwell", 17, Some("maxwell"), "17@maxwell"),
            ("17;lab-2", 17, Some("lab-2"), "17@lab-2"),
        ] {
            let job: JobId = text.parse().unwrap();
            assert_eq!(job, JobId::on(cluster, number));
            assert_eq!(job.to_string(), written);
            assert_eq!(written.parse(), Ok(job.clone()));
            let json = serde_json::to_string(&job).unwrap();
            assert_eq!(json, format!("\"{written}\""));
            assert_eq!(serde_json::from_str::<JobId>(&json).unwrap(), job);
        }
        assert_eq!(serde_json::from_str::<JobId>("17").unwrap(), JobId::on(None, 17));
        for text in
            ["", "a", "17@", "@lab", "17;", "+17", "-1", "17_2", "17@-M", "17@a b", "17@a,b", "17@a@b"]
        {
            assert!(text.parse::<JobId>().is_err(), "{text}");
        }
    }

    #[test]
    fn equal_numbers_of_two_clusters_are_two_jobs() {
        let jobs: std::collections::BTreeSet<JobId> =
            ["7@a", "7@b", "7", "7;a"].iter().map(|text| text.parse().unwrap()).collect();
        assert_eq!(jobs.len(), 3);
        let meant = |named: &str| {
            let named = named.parse().unwrap();
            jobs.iter().filter(|job| job.is_meant_by(&named)).map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(meant("7"), ["7", "7@a", "7@b"]);
        assert_eq!(meant("7@b"), ["7@b"]);
        assert!(meant("7@c").is_empty());
    }
}
