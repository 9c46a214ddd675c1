//! One look at the jobs of a cluster: what its queue says, and accounting where the queue is not enough.

use std::collections::{HashMap, HashSet};

use amore_model::JobId;

use super::{
    answers::Seen,
    client::{self, SlurmSilent},
    states,
};
use crate::coordinate::after_job::JobEnd;

/// One look at everything that a cluster has.
#[derive(Debug, Default)]
pub struct Poll {
    /// The user's jobs that the controller knows.
    pub queue: HashMap<JobId, Seen>,
    /// Of those that it does not, or not well enough, what accounting says.
    pub accounting: HashMap<JobId, Seen>,
    /// Those that the controller says not to know when it is asked for them by number. What `squeue` shows may come from a
    /// site's cache, or through its filter.
    pub unknown: HashSet<JobId>,
}

/// Jobs that are asked for one by one in a look; the others have their turn in the next.
const ONE_BY_ONE: usize = 20;

/// Who knows more of a job: accounting, once it knows the end (it tells who cancelled, and the exit code); else the queue.
///
/// A job that the queue does not have does not wait or run, whatever accounting says: a controller that was killed forgets
/// jobs, and accounting then shows them as running for ever (`sacctmgr show runawayjobs`).
pub fn best<'a>(queue: Option<&'a Seen>, accounting: Option<&'a Seen>) -> Option<&'a Seen> {
    let over = accounting.filter(|seen| seen.end.is_some());
    match (queue, over) {
        (Some(queue), Some(over)) if queue.end.is_some() => Some(over),
        (Some(queue), _) => Some(queue),
        (None, over) => over,
    }
}

/// Looks at `jobs`; the queue did not show the `doubtful` ones for a while.
///
/// # Errors
/// The controller does not answer. Accounting may be silent.
pub async fn poll(cluster: Option<&str>, jobs: &[JobId], doubtful: &[JobId]) -> Result<Poll, SlurmSilent> {
    let mut queue = client::queue(cluster).await?;
    let wants_more = |job: &&JobId| match queue.get(*job) {
        None => true,
        Some(seen) => failed(seen) || matches!(seen.end, Some(JobEnd::Cancelled { .. })),
    };
    let missing: Vec<JobId> = jobs.iter().filter(wants_more).cloned().collect();
    let accounting = if missing.is_empty() {
        HashMap::new()
    } else {
        client::accounting(cluster, &missing).await.unwrap_or_else(|SlurmSilent(words)| {
            // A site may have none, or it is down for a while: the queue is enough for most.
            tracing::debug!(words, "accounting does not answer");
            HashMap::new()
        })
    };
    // The queue's reason for a failed job is the same for a script that was killed and for one that never began.
    let without_code = |job: &&JobId| {
        let told = |seen: &Seen| seen.end.is_some();
        queue.get(*job).is_some_and(failed) && !accounting.get(*job).is_some_and(told)
    };
    if missing.iter().any(|job| without_code(&job)) {
        let codes = client::exit_codes(cluster).await?;
        for (job, code) in codes {
            if let Some(seen) = queue.get_mut(&job)
                && failed(seen)
            {
                seen.end = Some(JobEnd::Failed { code, launch: code == (0, 53) });
            }
        }
    }
    let (mut unknown, mut shown) = (HashSet::new(), HashMap::new());
    let over = |job: &JobId| accounting.get(job).is_some_and(|seen| seen.end.is_some());
    for job in doubtful.iter().filter(|job| !queue.contains_key(*job) && !over(job)).take(ONE_BY_ONE) {
        match client::show(job).await {
            Ok(Some(seen)) => {
                shown.insert(job.clone(), seen);
            }
            Ok(None) => {
                unknown.insert(job.clone());
            }
            // Not found and could not ask are different answers.
            Err(SlurmSilent(words)) => tracing::debug!(%job, words, "the controller does not say"),
        }
    }
    queue.extend(shown);
    Ok(Poll { queue, accounting, unknown })
}

/// Did its script fail? What the queue says of a job that never began (`LAUNCH_FAILED`) is enough.
fn failed(seen: &Seen) -> bool {
    states::meaning(&seen.state) == states::Meaning::Over(states::Ended::Failed)
        && matches!(seen.end, Some(JobEnd::Failed { .. }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::slurm::answers::{ACCOUNTED, parse_accounting, parse_queue};

    #[test]
    fn a_job_that_only_accounting_holds_to_be_running_is_missing() {
        let queue = |state: &str| parse_queue(&format!("44|{state}|n1|main|||None")).map(|(_, seen)| seen);
        let accounting = |state: &str| {
            parse_accounting(&format!("44|{state}|0:0|n1|main||None|sbatch"), &ACCOUNTED)
                .map(|(_, seen)| seen)
        };
        assert_eq!(best(None, accounting("RUNNING").as_ref()), None);
        assert_eq!(best(None, accounting("PENDING").as_ref()), None);
        assert_eq!(best(None, accounting("TIMEOUT").as_ref()), accounting("TIMEOUT").as_ref());
        // Accounting lags behind the queue.
        assert_eq!(
            best(queue("RUNNING").as_ref(), accounting("TIMEOUT").as_ref()),
            queue("RUNNING").as_ref()
        );
        let cancelled = accounting("CANCELLED by 0");
        assert_eq!(best(queue("CANCELLED").as_ref(), cancelled.as_ref()), cancelled.as_ref());
        assert_eq!(
            best(queue("CANCELLED").as_ref(), accounting("RUNNING").as_ref()),
            queue("CANCELLED").as_ref()
        );
    }
}
