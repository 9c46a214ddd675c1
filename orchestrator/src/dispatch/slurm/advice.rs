//! What to do about a job that waits, by Slurm's reason.

use amore_model::JobId;

/// What to do about a reason for which a job may wait for ever (squeue(1), "JOB REASON CODES"). A setting is for the jobs
/// to come; the one that waits is changed, or ended, by its number.
pub fn advice(reason: &str, job: &JobId) -> Option<String> {
    let (number, on) = (job.number, job.cluster_option());
    let is = |names: &[&str]| names.iter().any(|name| reason.starts_with(name));
    let of_limits = is(&["QOS", "InvalidQOS", "Assoc"]);
    let has = |parts: &[&str]| of_limits && parts.iter().any(|part| reason.contains(part));
    let shorter = format!(
        "`scontrol{on} update JobId={number} TimeLimit=1:00:00` lets it begin, if that is allowed (`sinfo{on} -o '%P %l'` shows what is); for later ones: amore-proto db-config slurm_time 1:00:00, or time= of the variable"
    );
    let elsewhere = format!(
        "`scontrol{on} update JobId={number} Partition=NAME` moves it (`sinfo{on} -s` lists them); for later ones: amore-proto db-config slurm_partition NAME"
    );
    let give_up = format!("`amore cancel {job}` gives it up");
    Some(if is(&["PartitionTimeLimit"]) {
        format!("its time limit is longer than the partition allows, it never begins: {shorter}")
    } else if is(&["PartitionNodeLimit", "PartitionConfig", "BadConstraints"]) {
        format!(
            "the partition has no node for what it asks (cpus, mem, nodes, time): see `sinfo{on} -Nel` and the variable; {elsewhere}"
        )
    } else if is(&["PartitionDown", "PartitionInactive"]) {
        format!("the partition is down: wait, or {elsewhere}")
    } else if is(&["Job's account not permitted", "InvalidAccount", "AccountNotAllowed"]) {
        format!(
            "the account may not use this partition: {elsewhere}, or another account: amore-proto db-config slurm_account NAME"
        )
    } else if has(&["MaxWall"]) {
        format!("its time limit is longer than the account or QOS allows, it never begins: {shorter}")
    } else if has(&["PerJob", "NotSatisfied", "InvalidQOS"]) || is(&["QOSMin"]) {
        format!(
            "the account or QOS does not allow what it asks, it never begins: see `sacctmgr show qos` and the variable; {give_up}"
        )
    } else if (has(&["MinutesLimit"]) && !has(&["RunMinutes"])) || has(&["GrpWallLimit"]) {
        format!(
            "the account's budget is used up: ask for more, or take another account: amore-proto db-config slurm_account NAME; {give_up}"
        )
    } else if of_limits {
        "a limit of the account or QOS; it begins when other jobs have ended (`sacctmgr show assoc user=$USER`)"
            .to_owned()
    } else if is(&["JobHeldAdmin"]) {
        format!("an administrator holds it: ask for its release; {give_up}")
    } else if is(&["JobHeld", "job requeued in held state"]) {
        format!("it is held: scontrol{on} release {number}")
    } else if is(&["Reservation"]) {
        format!(
            "the reservation has not begun, or is over: wait, or `scontrol{on} update JobId={number} ReservationName=` lets it go without; for later ones: amore-proto db-config slurm_reservation --delete"
        )
    } else if is(&["ReqNodeNotAvail", "Nodes required for job are DOWN"]) {
        format!(
            "nodes that it could use are down, drained or reserved (`sinfo{on} -R`); it begins when they are back"
        )
    } else if is(&["BeginTime"]) {
        format!(
            "it was requeued, and Slurm lets it wait for two minutes: `scontrol{on} update JobId={number} StartTime=now` is faster"
        )
    } else {
        return None;
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_that_pass_are_told_from_those_that_do_not() {
        for (reason, word) in [
            ("QOSMaxWallDurationPerJobLimit", "TimeLimit=1:00:00"),
            ("AssocMaxWallDurationPerJobLimit", "TimeLimit=1:00:00"),
            ("PartitionTimeLimit", "TimeLimit=1:00:00"),
            ("QOSMaxCpuPerJobLimit", "never begins"),
            ("QOSMinCpuNotSatisfied", "never begins"),
            ("QOSMinMemory", "never begins"),
            ("AssocGrpCPUMinutesLimit", "budget"),
            ("AssocGrpWallLimit", "budget"),
            ("AssocGrpCPURunMinutesLimit", "when other jobs have ended"),
            ("AssocGrpJobsLimit", "when other jobs have ended"),
            ("QOSMaxJobsPerUserLimit", "when other jobs have ended"),
            ("AssocMaxJobsLimit", "when other jobs have ended"),
            ("JobHeldUser", "scontrol release 12"),
            ("JobHeldAdmin", "amore cancel 12"),
            ("PartitionDown", "JobId=12 Partition=NAME"),
            (
                "Nodes required for job are DOWN, DRAINED or reserved for jobs in higher priority partitions",
                "sinfo -R",
            ),
        ] {
            let words = advice(reason, &JobId::on(None, 12)).unwrap();
            assert!(words.contains(word), "{reason}: {words}");
        }
        for reason in ["None", "Resources", "Priority", "Dependency"] {
            assert_eq!(advice(reason, &JobId::on(None, 12)), None);
        }
    }
}
