//! Submitting a job.

use amore_model::{
    JobId,
    planted::{Fault, is_on},
};

use super::{Commands, NoAnswer, queue};
use crate::{
    clusters::Clusters,
    command_failure::is_not_reached,
    printed::plain,
    refused::{self, Refused, SbatchFailure},
    sbatch::{Number, parse_submitted},
    submission::{Doubt, JobOptions, Submitted, arguments},
};

/// Submits a job.
pub async fn submit<C: Commands>(commands: &C, asked: &JobOptions, token: &str) -> Submitted {
    let script = match commands.script(asked) {
        Ok(script) => script,
        Err(error) => return Submitted::Refused(Refused::invalid_script(error)),
    };
    let output = match commands.run("sbatch", &arguments(asked, token), Some(&script)).await {
        Ok(output) => output,
        Err(NoAnswer::Unknown(words)) => return Submitted::Unsure { words, doubt: Doubt::Unanswered },
        Err(NoAnswer::NotExecuted(words)) => return Submitted::Refused(Refused::not_executed(words)),
    };
    if output.success() {
        let clusters = Clusters::of(asked.clusters.as_deref());
        let words = format!("sbatch printed {:?}", shortened(plain(&output.stdout).trim()));
        let unclear = Submitted::Unsure { words, doubt: Doubt::Unnumbered };
        return match parse_submitted(&output.stdout, &output.stderr, &clusters) {
            Number::Certain(job) => Submitted::Accepted { job },
            Number::Likely(job) => match checked(commands, job, token).await {
                Some(job) => Submitted::Accepted { job },
                None => unclear,
            },
            Number::Unclear => unclear,
        };
    }
    let unsure = |words: String| {
        let doubt = if is_not_reached(&words) { Doubt::NotReached } else { Doubt::Unanswered };
        Submitted::Unsure { words, doubt }
    };
    match refused::read(&plain(&output.stderr), asked.reservation.is_some(), &commands.site().refusals) {
        SbatchFailure::Unknown { words } if is_on(Fault::LostAnswerIsRefusal) => {
            Submitted::Refused(Refused::temporary(words))
        }
        SbatchFailure::Unknown { words } => unsure(words),
        SbatchFailure::Refused(Refused { words, .. }) if output.code.is_none() => unsure(words),
        SbatchFailure::Refused(refused) => Submitted::Refused(refused),
    }
}

/// The job that was submitted just now, where its number stood among other words: the queue has it under its token. If the
/// queue shows no token of ours, the number is believed when it is one of the user's jobs.
async fn checked<C: Commands>(commands: &C, likely: JobId, token: &str) -> Option<JobId> {
    let queue = queue(commands, likely.cluster.as_deref()).await.ok()?;
    let by_token = queue.iter().find(|(_, seen)| seen.is_of(token)).map(|(job, _)| job.clone());
    by_token.or_else(|| queue.get(&likely).is_some_and(|seen| seen.tokens.is_empty()).then_some(likely))
}

/// As much of a text as a message has room for.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(200) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
