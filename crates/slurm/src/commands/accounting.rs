//! What accounting says of jobs.

use std::collections::BTreeMap;

use amore_model::JobId;

use super::{Commands, lines, queue::by_job};
use crate::{
    command_failure::unknown_field,
    job_status::JobStatus,
    sacct::{ACCOUNTED, parse_accounting},
    submission::SlurmUnavailable,
    token::tokens_in,
};

/// Asks accounting for those of these fields that it has, without steps and headings; gives which they are, and the lines.
async fn sacct<'a, C: Commands>(
    commands: &C,
    cluster: Option<&str>,
    arguments: &[&str],
    fields: &[&'a str],
) -> Result<(Vec<&'a str>, Vec<String>), SlurmUnavailable> {
    loop {
        let unknown = commands.unknown_fields();
        let known: Vec<&str> =
            fields.iter().copied().filter(|field| !unknown.iter().any(|no| no == field)).collect();
        let list = known.join(",");
        let arguments: Vec<&str> =
            ["-X", "-n", "-P"].into_iter().chain(arguments.iter().copied()).chain(["-o", &list]).collect();
        match lines(commands, "sacct", cluster, &arguments).await {
            Ok(lines) => return Ok((known, lines)),
            Err(SlurmUnavailable(words)) => match unknown_field(&words) {
                Some(field) if known.contains(&field) => commands.note_unknown_field(field),
                _ => return Err(SlurmUnavailable(words)),
            },
        }
    }
}

/// What accounting knows of these jobs of a cluster.
///
/// # Errors
/// There is none, or it does not answer.
pub async fn accounting<C: Commands>(
    commands: &C,
    cluster: Option<&str>,
    jobs: &[JobId],
) -> Result<BTreeMap<JobId, JobStatus>, SlurmUnavailable> {
    let mut found = BTreeMap::new();
    let numbers: Vec<String> = jobs.iter().map(|job| job.number.to_string()).collect();
    for some in numbers.chunks(500) {
        let (fields, answer) = sacct(commands, cluster, &["-j", &some.join(",")], &ACCOUNTED).await?;
        found.extend(by_job(
            cluster,
            answer.iter().filter_map(|line| parse_accounting(line, &fields, &|uid| commands.user_name(uid))),
        ));
    }
    Ok(found)
}

/// What accounting keeps of the user's latest jobs to find a token in: the command line, or where its version keeps none
/// (before 21.08) the comment.
///
/// # Errors
/// There is none, or it does not answer.
pub async fn kept_tokens<C: Commands>(
    commands: &C,
    cluster: Option<&str>,
) -> Result<Vec<(u64, Vec<String>)>, SlurmUnavailable> {
    let me = commands.uid();
    let latest = ["-u", me.as_str(), "-S", "now-2days"];
    let (fields, mut answer) = sacct(commands, cluster, &latest, &["JobID", "SubmitLine"]).await?;
    if fields == ["JobID"] {
        (_, answer) = sacct(commands, cluster, &latest, &["JobID", "Comment"]).await?;
    }
    let of_line = |line: &String| {
        let (job, text) = line.split_once('|')?;
        Some((job.parse().ok()?, tokens_in(text)))
    };
    Ok(answer.iter().filter_map(of_line).collect())
}
