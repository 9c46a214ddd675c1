//! Queries of controllers about jobs.

use std::collections::BTreeMap;

use amore_model::JobId;
use amore_slurm::{
    clusters::Clusters,
    command_failure::is_unknown_job,
    job_status::JobStatus,
    scontrol::parse_shown,
    squeue::{parse_exit_code, parse_queue},
    submission::SlurmUnavailable,
};

use crate::{Slurm, users};

impl Slurm {
    /// The names of the clusters; `None`: the default one.
    ///
    /// # Errors
    /// All clusters are meant, and accounting does not answer which there are.
    pub async fn names(&self, clusters: &Clusters) -> Result<Vec<Option<String>>, SlurmUnavailable> {
        Ok(match clusters {
            Clusters::Ours => vec![None],
            Clusters::One(name) => vec![Some(name.clone())],
            Clusters::Several(names) => names.iter().cloned().map(Some).collect(),
            Clusters::All => self.known_clusters().await?.into_iter().map(Some).collect(),
        })
    }

    /// The clusters that accounting knows.
    ///
    /// # Errors
    /// Accounting does not answer.
    pub async fn known_clusters(&self) -> Result<Vec<String>, SlurmUnavailable> {
        self.lines("sacctmgr", None, &["-nP", "show", "cluster", "format=cluster"]).await
    }

    /// All jobs of this user that the controller of a cluster knows, by id.
    ///
    /// # Errors
    /// The controller does not answer.
    pub async fn queue(&self, cluster: Option<&str>) -> Result<BTreeMap<JobId, JobStatus>, SlurmUnavailable> {
        let me = users::uid();
        // -a: otherwise the owner of a job in a partition that they may not use would not see it (24.11). The reason comes last,
        // because it may contain the separator.
        let arguments = ["-h", "-a", "-r", "-t", "all", "-u", &me, "-o", "%i|%T|%N|%P|%v|%k|%r"];
        let lines = self.lines("squeue", cluster, &arguments).await?;
        Ok(by_job(cluster, lines.iter().filter_map(|line| parse_queue(line))))
    }

    /// Exit code and signal of each job of this user that the controller of a cluster still knows.
    ///
    /// # Errors
    /// The controller does not answer.
    pub async fn exit_codes(
        &self,
        cluster: Option<&str>,
    ) -> Result<BTreeMap<JobId, (i32, i32)>, SlurmUnavailable> {
        let me = users::uid();
        let fields = "JobArrayID:|,exit_code:|";
        let lines =
            self.lines("squeue", cluster, &["-h", "-a", "-r", "-t", "all", "-u", &me, "-O", fields]).await?;
        Ok(by_job(cluster, lines.iter().filter_map(|line| parse_exit_code(line))))
    }

    /// The status of a job according to the controller; `None` if the controller does not know it.
    ///
    /// # Errors
    /// The controller does not answer.
    pub async fn show(&self, job: &JobId) -> Result<Option<JobStatus>, SlurmUnavailable> {
        let number = job.number.to_string();
        match self.lines("scontrol", job.cluster.as_deref(), &["-o", "show", "job", &number]).await {
            Ok(lines) => {
                match lines.iter().filter_map(|line| parse_shown(line)).find(|(id, _)| *id == number) {
                    Some((_, seen)) => Ok(Some(seen)),
                    None => Err(SlurmUnavailable(format!("scontrol shows nothing about job {job}"))),
                }
            }
            Err(SlurmUnavailable(words)) if is_unknown_job(&words) => Ok(None),
            Err(silent) => Err(silent),
        }
    }
}

/// Groups a cluster's lines by job. Lines about elements of job arrays are not about Amore's jobs, and a site's wrapper may
/// print lines that are about no job at all.
pub(crate) fn by_job<T>(
    cluster: Option<&str>,
    lines: impl Iterator<Item = (String, T)>,
) -> BTreeMap<JobId, T> {
    lines
        .filter_map(|(job, what)| match job.parse() {
            Ok(number) => Some((JobId::on(cluster, number), what)),
            Err(_) => {
                tracing::debug!(job, "ignored a line that is about none of our jobs");
                None
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_numbers_of_two_clusters_are_told_apart() {
        let of = |cluster: &str, line: &str| by_job(Some(cluster), parse_queue(line).into_iter());
        let mut all = of("lab", "7|RUNNING|n1|main|(null)|amore:a-1|None");
        all.extend(of("maxwell", "7|PENDING||upex|(null)|amore:b-1|Priority"));
        assert_eq!(all[&JobId::on(Some("lab"), 7)].state.word(), "RUNNING");
        assert_eq!(all[&JobId::on(Some("maxwell"), 7)].state.word(), "PENDING");
        assert_eq!(all.len(), 2);
        // A heading, and an element of an array.
        assert!(of("lab", "CLUSTER: lab").is_empty());
        assert!(of("lab", "7_3|RUNNING|n1|main|(null)||None").is_empty());
    }
}
