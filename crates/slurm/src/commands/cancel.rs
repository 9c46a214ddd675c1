//! Ending a job.

use std::time::Duration;

use amore_model::{JobId, JobState};

use super::{Commands, on_cluster};
use crate::{
    command_failure::is_unknown_job,
    printed::plain,
    states::is_ending,
    submission::{Cancelled, SlurmUnavailable},
    token::tokens_in,
};

/// How often it is looked whether a job that Slurm was told to end has ended, and how long it is waited between.
const LOOKS: u32 = 6;
const BETWEEN_LOOKS: Duration = Duration::from_millis(300);

/// Ends a job, if it still is the one of this token (a number may be another's by now), and looks whether it has.
pub async fn cancel<C: Commands>(commands: &C, job: &JobId, token: &str) -> Cancelled {
    let number = job.number.to_string();
    let cluster = job.cluster.as_deref();
    let ask = |fields: &str| on_cluster(cluster, &["-h", "-a", "-t", "all", "-j", &number, "-o", fields]);
    match commands.run("squeue", &ask("%k"), None).await {
        Ok(output) if output.success() => {
            let tokens = tokens_in(&plain(&output.stdout));
            if !tokens.is_empty() && !tokens.iter().any(|own| own == token) {
                return Cancelled::Over;
            }
        }
        Ok(output) if is_unknown_job(&output.error_text()) => return Cancelled::Over,
        Ok(output) => return Cancelled::Failed { words: output.error_text() },
        Err(no_answer) => return Cancelled::Failed { words: SlurmUnavailable::from(no_answer).0 },
    }
    match commands.run("scancel", &on_cluster(cluster, &[&number]), None).await {
        Ok(output) if output.success() => {}
        // One that has ended meanwhile is shown as such.
        Ok(output) if is_unknown_job(&output.error_text()) => {}
        Ok(output) => return Cancelled::Failed { words: output.error_text() },
        Err(no_answer) => return Cancelled::Failed { words: SlurmUnavailable::from(no_answer).0 },
    }
    let mut state = String::new();
    for look in 0..LOOKS {
        if look > 0 {
            commands.pause(BETWEEN_LOOKS).await;
        }
        match commands.run("squeue", &ask("%i|%T"), None).await {
            Ok(output) if output.success() => {
                let text = plain(&output.stdout);
                let shown = text.lines().filter_map(|line| line.split_once('|'));
                match shown
                    .filter(|(id, _)| id.trim() == number)
                    .map(|(_, now)| JobState::of(now.trim()))
                    .next()
                {
                    Some(now) if !is_ending(&now) => state = now.to_string(),
                    _ => return Cancelled::Over,
                }
            }
            Ok(output) if is_unknown_job(&output.error_text()) => return Cancelled::Over,
            Ok(output) => return Cancelled::Failed { words: output.error_text() },
            Err(no_answer) => return Cancelled::Failed { words: SlurmUnavailable::from(no_answer).0 },
        }
    }
    Cancelled::NotYet { state }
}
