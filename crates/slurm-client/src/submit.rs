//! Submits a job.

use amore_model::JobId;
use amore_slurm::{
    clusters::Clusters,
    command_failure::is_not_reached,
    printed::plain,
    refused::{self, Refused, SbatchFailure},
    sbatch::{Number, parse_submitted},
    submission::{Doubt, JobOptions, Submitted, arguments},
};

use crate::{Slurm, command::NoAnswer, template};

impl Slurm {
    /// Submits a job.
    pub async fn submit(&self, asked: &JobOptions, token: &str) -> Submitted {
        let script = match template::render(&asked.directory, &asked.script) {
            Ok(script) => script,
            Err(error) => {
                return Submitted::Refused(Refused::invalid_script(error.to_string()));
            }
        };
        let output = match self.run("sbatch", &arguments(asked, token), Some(&script)).await {
            Ok(output) => output,
            Err(NoAnswer::Unknown(words)) => return Submitted::Unsure { words, doubt: Doubt::Unanswered },
            Err(NoAnswer::NotExecuted(words)) => return Submitted::Refused(Refused::not_executed(words)),
        };
        let (answer, said) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        if output.status.success() {
            let clusters = Clusters::of(asked.clusters.as_deref());
            let words = format!("sbatch printed {:?}", shortened(plain(&answer).trim()));
            let unclear = Submitted::Unsure { words, doubt: Doubt::Unnumbered };
            return match parse_submitted(&answer, &said, &clusters) {
                Number::Certain(job) => Submitted::Accepted { job },
                Number::Likely(job) => match self.checked(job, token).await {
                    Some(job) => Submitted::Accepted { job },
                    None => unclear,
                },
                Number::Unclear => unclear,
            };
        }
        let said = plain(&said);
        let unsure = |words: String| {
            let doubt = if is_not_reached(&words) { Doubt::NotReached } else { Doubt::Unanswered };
            Submitted::Unsure { words, doubt }
        };
        match refused::read(&said, asked.reservation.is_some(), &self.0.site.refusals) {
            SbatchFailure::Unknown { words } => unsure(words),
            SbatchFailure::Refused(Refused { words, .. }) if output.status.code().is_none() => unsure(words),
            SbatchFailure::Refused(refused) => Submitted::Refused(refused),
        }
    }

    /// Verifies a job number that was found among other text: the queue has the job under its token. If the queue shows no
    /// token, the number is accepted if it is one of the user's jobs.
    async fn checked(&self, likely: JobId, token: &str) -> Option<JobId> {
        let queue = self.queue(likely.cluster.as_deref()).await.ok()?;
        let by_token = queue.iter().find(|(_, seen)| seen.is_of(token)).map(|(job, _)| job.clone());
        by_token.or_else(|| queue.get(&likely).is_some_and(|seen| seen.tokens.is_empty()).then_some(likely))
    }
}

/// Shortens a text to what fits in a message.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(200) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
