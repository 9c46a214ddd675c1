//! Queries of accounting.

use std::{collections::BTreeMap, sync::PoisonError};

use amore_model::JobId;
use amore_slurm::{
    command_failure::unknown_field,
    job_status::JobStatus,
    sacct::{ACCOUNTED, parse_accounting},
    submission::SlurmUnavailable,
    token::tokens_in,
};

use crate::{Slurm, queue::by_job, users};

impl Slurm {
    /// Which of these fields the installed sacct does not support, as far as is known.
    pub fn unknown_fields(&self, fields: &[&str]) -> Vec<String> {
        let unknown = self.0.no_fields.lock().unwrap_or_else(PoisonError::into_inner);
        fields.iter().filter(|field| unknown.contains(**field)).map(|field| (*field).to_owned()).collect()
    }

    /// Queries accounting for those of the fields that it supports, without steps and headings. Returns these fields and the lines.
    async fn sacct<'a>(
        &self,
        cluster: Option<&str>,
        arguments: &[&str],
        fields: &[&'a str],
    ) -> Result<(Vec<&'a str>, Vec<String>), SlurmUnavailable> {
        loop {
            let unknown = self.unknown_fields(fields);
            let known: Vec<&str> =
                fields.iter().copied().filter(|field| !unknown.iter().any(|no| no == field)).collect();
            let list = known.join(",");
            let arguments: Vec<&str> = ["-X", "-n", "-P"]
                .into_iter()
                .chain(arguments.iter().copied())
                .chain(["-o", &list])
                .collect();
            match self.lines("sacct", cluster, &arguments).await {
                Ok(lines) => return Ok((known, lines)),
                Err(SlurmUnavailable(words)) => match unknown_field(&words) {
                    Some(field) if known.contains(&field) => {
                        tracing::info!(field, "sacct of this version does not have a field");
                        self.0
                            .no_fields
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .insert(field.to_owned());
                    }
                    _ => return Err(SlurmUnavailable(words)),
                },
            }
        }
    }

    /// What accounting knows about these jobs of a cluster.
    ///
    /// # Errors
    /// There is no accounting, or it does not answer.
    pub async fn accounting(
        &self,
        cluster: Option<&str>,
        jobs: &[JobId],
    ) -> Result<BTreeMap<JobId, JobStatus>, SlurmUnavailable> {
        let mut found = BTreeMap::new();
        let numbers: Vec<String> = jobs.iter().map(|job| job.number.to_string()).collect();
        for some in numbers.chunks(500) {
            let (fields, answer) = self.sacct(cluster, &["-j", &some.join(",")], &ACCOUNTED).await?;
            found.extend(by_job(
                cluster,
                answer.iter().filter_map(|line| parse_accounting(line, &fields, &users::name_of)),
            ));
        }
        Ok(found)
    }

    /// The tokens of the user's latest jobs in accounting: in the command line, or in the comment for versions that do not keep
    /// the command line (before 21.08).
    ///
    /// # Errors
    /// There is no accounting, or it does not answer.
    pub async fn kept_tokens(
        &self,
        cluster: Option<&str>,
    ) -> Result<Vec<(u64, Vec<String>)>, SlurmUnavailable> {
        let me = users::uid();
        let latest = ["-u", me.as_str(), "-S", "now-2days"];
        let (fields, mut answer) = self.sacct(cluster, &latest, &["JobID", "SubmitLine"]).await?;
        if fields == ["JobID"] {
            (_, answer) = self.sacct(cluster, &latest, &["JobID", "Comment"]).await?;
        }
        let of_line = |line: &String| {
            let (job, text) = line.split_once('|')?;
            Some((job.parse().ok()?, tokens_in(text)))
        };
        Ok(answer.iter().filter_map(of_line).collect())
    }
}
