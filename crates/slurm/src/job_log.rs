//! What Slurm writes to the log of a job.

use crate::job_end::JobEnd;

/// Determines how a job ended from Slurm's line in its log: `*** JOB 17 ON n1 CANCELLED AT 2026-11-28T14:00:00 DUE TO TIME
/// LIMIT ***`. The last such line counts: the log of a requeued job has several.
pub fn end_in_log(log: &str) -> Option<JobEnd> {
    let line = log.lines().rev().find(|line| line.contains("*** JOB ") && line.contains(" CANCELLED AT "))?;
    let upper = line.to_uppercase();
    let due_to = |what: &str| upper.contains(&format!("DUE TO {what}"));
    Some(match () {
        () if due_to("TIME LIMIT") => JobEnd::TimeLimit,
        () if due_to("PREEMPTION") => JobEnd::Preempted,
        () if due_to("NODE FAILURE") => JobEnd::NodeFailed,
        () if due_to("JOB REQUEUE") => return None,
        () => JobEnd::Cancelled { by: None },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_slurm_wrote_into_the_log_tells_how_the_job_ended() {
        let line = |rest: &str| {
            format!("x\nslurmstepd: error: *** JOB 17 ON n1 CANCELLED AT 2026-11-28T14:00:00{rest} ***\ny\n")
        };
        assert_eq!(end_in_log(&line("")), Some(JobEnd::Cancelled { by: None }));
        assert_eq!(end_in_log(&line(" DUE to SIGNAL Terminated")), Some(JobEnd::Cancelled { by: None }));
        assert_eq!(end_in_log(&line(" DUE TO TIME LIMIT")), Some(JobEnd::TimeLimit));
        assert_eq!(end_in_log(&line(" DUE TO PREEMPTION")), Some(JobEnd::Preempted));
        assert_eq!(end_in_log(&line(" DUE TO JOB REQUEUE")), None);
        assert_eq!(end_in_log("a user prints CANCELLED AT once"), None);
    }
}
