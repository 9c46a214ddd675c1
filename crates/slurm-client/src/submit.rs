//! Submitting a job.

use amore_model::JobId;
use amore_slurm::{
    clusters::Clusters,
    command_failure::is_not_reached,
    printed::plain,
    refused::{self, Reading, Refused},
    sbatch::{Number, parse_submitted},
    submission::{Doubt, JobAsked, Submitted, arguments},
};

use crate::{Slurm, command::NoAnswer, template};

impl Slurm {
    /// Submits a job.
    pub async fn submit(&self, asked: &JobAsked, token: &str) -> Submitted {
        let script = match template::render(&asked.directory, &asked.script) {
            Ok(script) => script,
            Err(error) => {
                return Submitted::Refused(Refused::of_ours(error.to_string()));
            }
        };
        let output = match self.run("sbatch", &arguments(asked, token), Some(&script)).await {
            Ok(output) => output,
            Err(NoAnswer::Silent(words)) => return Submitted::Unsure { words, doubt: Doubt::Unanswered },
            Err(NoAnswer::NotExecuted(words)) => return Submitted::Refused(Refused::not_executed(words)),
        };
        let (answer, said) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        if output.status.success() {
            let clusters = Clusters::of(asked.clusters.as_deref());
            let words = format!("sbatch said {:?}", shortened(plain(&answer).trim()));
            let unclear = Submitted::Unsure { words, doubt: Doubt::Unnumbered };
            return match parse_submitted(&answer, &said, &clusters) {
                Number::Said(job) => Submitted::Accepted { job },
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
        match refused::read(&said, asked.reservation.is_some(), &self.0.of_site.refusals) {
            Reading::Silence { words } => unsure(words),
            Reading::Refused(Refused { words, .. }) if output.status.code().is_none() => unsure(words),
            Reading::Refused(refused) => Submitted::Refused(refused),
        }
    }

    /// The job that was submitted just now, where its number stood among other words: the queue has it under its token. If the
    /// queue shows no token of ours, the number is believed when it is one of the user's jobs.
    async fn checked(&self, likely: JobId, token: &str) -> Option<JobId> {
        let queue = self.queue(likely.cluster.as_deref()).await.ok()?;
        let by_token = queue.iter().find(|(_, seen)| seen.is_of(token)).map(|(job, _)| job.clone());
        by_token.or_else(|| queue.get(&likely).is_some_and(|seen| seen.tokens.is_empty()).then_some(likely))
    }
}

/// As much of a text as a message has room for.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(200) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
