//! Cancels a job.

use std::{process::Output, time::Duration};

use amore_model::{JobId, JobState};
use amore_slurm::{
    command_failure::is_unknown_job,
    printed::{plain, words_of},
    states::is_ending,
    submission::{Cancelled, SlurmUnavailable},
    token::tokens_in,
};

use crate::{Slurm, command::on_cluster};

/// How often to check whether a cancelled job has ended, and the pause between two checks.
const LOOKS: u32 = 6;
const BETWEEN_LOOKS: Duration = Duration::from_millis(300);

impl Slurm {
    /// Cancels a job if it still belongs to this token (its number may have been reused), and checks whether it has ended.
    pub async fn cancel(&self, job: &JobId, token: &str) -> Cancelled {
        let said = |output: &Output| words_of(&String::from_utf8_lossy(&output.stderr));
        let number = job.number.to_string();
        let cluster = job.cluster.as_deref();
        let ask = |fields: &str| on_cluster(cluster, &["-h", "-a", "-t", "all", "-j", &number, "-o", fields]);
        match self.run("squeue", &ask("%k"), None).await {
            Ok(output) if output.status.success() => {
                let tokens = tokens_in(&plain(&String::from_utf8_lossy(&output.stdout)));
                if !tokens.is_empty() && !tokens.iter().any(|own| own == token) {
                    return Cancelled::Over;
                }
            }
            Ok(output) if is_unknown_job(&said(&output)) => return Cancelled::Over,
            Ok(output) => return Cancelled::Failed { words: said(&output) },
            Err(no_answer) => return Cancelled::Failed { words: SlurmUnavailable::from(no_answer).0 },
        }
        match self.run("scancel", &on_cluster(cluster, &[&number]), None).await {
            Ok(output) if output.status.success() => {}
            // If it has ended in the meantime, the next query shows it.
            Ok(output) if is_unknown_job(&said(&output)) => {}
            Ok(output) => return Cancelled::Failed { words: said(&output) },
            Err(no_answer) => return Cancelled::Failed { words: SlurmUnavailable::from(no_answer).0 },
        }
        let mut state = String::new();
        for look in 0..LOOKS {
            if look > 0 {
                tokio::time::sleep(BETWEEN_LOOKS).await;
            }
            match self.run("squeue", &ask("%i|%T"), None).await {
                Ok(output) if output.status.success() => {
                    let text = plain(&String::from_utf8_lossy(&output.stdout));
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
                Ok(output) if is_unknown_job(&said(&output)) => return Cancelled::Over,
                Ok(output) => return Cancelled::Failed { words: said(&output) },
                Err(no_answer) => return Cancelled::Failed { words: SlurmUnavailable::from(no_answer).0 },
            }
        }
        Cancelled::NotYet { state }
    }
}
