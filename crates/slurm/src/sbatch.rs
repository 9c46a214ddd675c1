//! Finds the job's number in the output of `sbatch`, among other text of the site.

use amore_model::JobId;

use crate::{clusters::Clusters, printed::plain};

/// What the output of sbatch says about the job's number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Number {
    /// This is it.
    Certain(JobId),
    /// The only number on a line of its own, among text that is not Slurm's: needs to be verified.
    Likely(JobId),
    /// No number that can be distinguished from others.
    Unclear,
}

/// Parses the output of `sbatch --parsable`: `JOBID`, or `JOBID;CLUSTER` if clusters were named. A site's wrapper may print
/// more around it, or Slurm's other form (`Submitted batch job 17 on cluster lab`).
pub fn parse_submitted(out: &str, error: &str, clusters: &Clusters) -> Number {
    let (out, error) = (plain(out), plain(error));
    let lines: Vec<&str> = out.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let alone = only(lines.iter().filter(|line| !line.contains('@')).filter_map(|line| line.parse().ok()));
    let (announced, also) =
        (only(lines.iter().filter_map(|line| announced(line))), only(error.lines().filter_map(announced)));
    match (announced, alone) {
        (Some(job), _) => on_one_of(clusters, job).map_or(Number::Unclear, Number::Certain),
        (None, Some(job)) => match on_one_of(clusters, job) {
            Some(job) if lines.len() == 1 => Number::Certain(job),
            Some(job) => Number::Likely(job),
            None => Number::Unclear,
        },
        (None, None) => {
            also.and_then(|job| on_one_of(clusters, job)).map_or(Number::Unclear, Number::Certain)
        }
    }
}

/// The job, if all of these are the same.
fn only(mut jobs: impl Iterator<Item = JobId>) -> Option<JobId> {
    let first = jobs.next()?;
    jobs.all(|job| job == first).then_some(first)
}

/// `… Submitted batch job 17 on cluster lab`.
fn announced(line: &str) -> Option<JobId> {
    let (_, rest) = line.split_once("Submitted batch job ")?;
    let mut words = rest.split_whitespace();
    let number = words.next()?.trim_end_matches(['.', ',', '!']);
    let number: u64 = number.bytes().all(|byte| byte.is_ascii_digit()).then(|| number.parse().ok())??;
    let cluster = match (words.next(), words.next(), words.next()) {
        (Some("on"), Some("cluster"), Some(name)) => Some(name),
        _ => None,
    };
    Some(JobId::on(cluster, number))
}

/// The job's ID as Amore uses it. With several clusters, only Slurm knows which one accepted the job.
fn on_one_of(clusters: &Clusters, job: JobId) -> Option<JobId> {
    match (clusters, job.cluster) {
        (Clusters::Ours, _) => Some(JobId { cluster: None, ..job }),
        (Clusters::One(name), None) => Some(JobId::on(Some(name), job.number)),
        (_, Some(cluster)) => Some(JobId { cluster: Some(cluster), ..job }),
        (Clusters::Several(_) | Clusters::All, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_of_the_cluster_that_took_it() {
        let lab = Clusters::of(Some("lab"));
        let two = Clusters::of(Some("lab,maxwell"));
        let said = |cluster: Option<&str>| Number::Certain(JobId::on(cluster, 17));
        for (answer, clusters, found) in [
            ("17", &Clusters::Ours, said(None)),
            // In a federation the cluster is always given.
            ("17;lab", &Clusters::Ours, said(None)),
            ("17;lab", &lab, said(Some("lab"))),
            ("17", &lab, said(Some("lab"))),
            ("17;maxwell", &two, said(Some("maxwell"))),
            // The job is looked up by its token.
            ("17", &two, Number::Unclear),
            ("", &lab, Number::Unclear),
            ("Submitted batch job 17", &Clusters::Ours, said(None)),
            ("Submitted batch job 17 on cluster maxwell\n", &two, said(Some("maxwell"))),
        ] {
            assert_eq!(parse_submitted(answer, "", clusters), found, "{answer:?} {clusters:?}");
        }
    }

    #[test]
    fn a_number_is_told_from_what_a_site_prints_around_it() {
        let of = |answer: &str| parse_submitted(answer, "", &Clusters::Ours);
        let (said, likely) = (Number::Certain(JobId::on(None, 4201)), Number::Likely(JobId::on(None, 4201)));
        assert_eq!(of("\n  Hello at the machine of 2031\n--> queue ... OK\n4201\n"), likely);
        assert_eq!(of("4201\nYou have 17.5 hours left\n"), likely);
        assert_eq!(of("4201;lab\r\n17 nodes are down\r\n"), likely);
        assert_eq!(of("\u{1b}[1m4201\u{1b}[0m\n"), said);
        assert_eq!(of("\u{1b}[32mSubmitted batch job 4201\u{1b}[0m, 17 are before it\n2031\n"), said);
        assert_eq!(parse_submitted("", "sbatch: Submitted batch job 4201", &Clusters::Ours), said);
        for unclear in ["2031\n4201\n", "job 4201 of 17", "4201@lab", "17.5", "Submitted batch job\n", ""] {
            assert_eq!(of(unclear), Number::Unclear, "{unclear:?}");
        }
    }
}
