//! What controllers say of jobs.

use std::collections::BTreeMap;

use amore_model::JobId;

use super::{Commands, lines};
use crate::{
    clusters::Clusters,
    command_failure::is_unknown_job,
    job_status::JobStatus,
    scontrol::parse_shown,
    squeue::{parse_exit_code, parse_queue},
    submission::SlurmUnavailable,
};

/// The names of the clusters that are meant; `None`: the one that is asked by itself.
///
/// # Errors
/// All are meant, and accounting does not say which there are.
pub async fn names<C: Commands>(
    commands: &C,
    clusters: &Clusters,
) -> Result<Vec<Option<String>>, SlurmUnavailable> {
    Ok(match clusters {
        Clusters::Ours => vec![None],
        Clusters::One(name) => vec![Some(name.clone())],
        Clusters::Several(names) => names.iter().cloned().map(Some).collect(),
        Clusters::All => known_clusters(commands).await?.into_iter().map(Some).collect(),
    })
}

/// The clusters that accounting knows.
///
/// # Errors
/// It does not answer.
pub async fn known_clusters<C: Commands>(commands: &C) -> Result<Vec<String>, SlurmUnavailable> {
    lines(commands, "sacctmgr", None, &["-nP", "show", "cluster", "format=cluster"]).await
}

/// All jobs of this user that the controller of a cluster knows, by id.
///
/// # Errors
/// It does not answer.
pub async fn queue<C: Commands>(
    commands: &C,
    cluster: Option<&str>,
) -> Result<BTreeMap<JobId, JobStatus>, SlurmUnavailable> {
    let me = commands.uid();
    // -a: the owner of a job in a partition that he may not use would not see it (24.11). The reason comes last: it may
    // hold the separator.
    let arguments = ["-h", "-a", "-r", "-t", "all", "-u", &me, "-o", "%i|%T|%N|%P|%v|%k|%r"];
    let lines = lines(commands, "squeue", cluster, &arguments).await?;
    Ok(by_job(cluster, lines.iter().filter_map(|line| parse_queue(line))))
}

/// Exit code and signal of each job of this user that the controller of a cluster still knows.
///
/// # Errors
/// It does not answer.
pub async fn exit_codes<C: Commands>(
    commands: &C,
    cluster: Option<&str>,
) -> Result<BTreeMap<JobId, (i32, i32)>, SlurmUnavailable> {
    let me = commands.uid();
    let fields = "JobArrayID:|,exit_code:|";
    let lines =
        lines(commands, "squeue", cluster, &["-h", "-a", "-r", "-t", "all", "-u", &me, "-O", fields]).await?;
    Ok(by_job(cluster, lines.iter().filter_map(|line| parse_exit_code(line))))
}

/// How the controller itself says that a job stands; `None`: it knows no such job.
///
/// # Errors
/// It does not answer.
pub async fn show<C: Commands>(commands: &C, job: &JobId) -> Result<Option<JobStatus>, SlurmUnavailable> {
    let number = job.number.to_string();
    match lines(commands, "scontrol", job.cluster.as_deref(), &["-o", "show", "job", &number]).await {
        Ok(lines) => match lines.iter().filter_map(|line| parse_shown(line)).find(|(id, _)| *id == number) {
            Some((_, seen)) => Ok(Some(seen)),
            None => Err(SlurmUnavailable(format!("scontrol shows nothing about job {job}"))),
        },
        Err(SlurmUnavailable(words)) if is_unknown_job(&words) => Ok(None),
        Err(silent) => Err(silent),
    }
}

/// Lines of a cluster by the jobs that they are about. Those about elements of job arrays are none of ours, and what a
/// site's wrapper prints is no line about a job.
pub(super) fn by_job<T>(
    cluster: Option<&str>,
    lines: impl Iterator<Item = (String, T)>,
) -> BTreeMap<JobId, T> {
    lines.filter_map(|(job, what)| Some((JobId::on(cluster, job.parse().ok()?), what))).collect()
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
        // A heading, an element of an array.
        assert!(of("lab", "CLUSTER: lab").is_empty());
        assert!(of("lab", "7_3|RUNNING|n1|main|(null)||None").is_empty());
    }
}
