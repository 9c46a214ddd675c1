//! The output of Slurm's commands, field by field.

mod accounting;
mod scontrol;
mod sinfo;
mod squeue;

use std::time::Duration;

pub(super) use accounting::{no_database, sacct, sacctmgr};
pub(super) use scontrol::scontrol;
pub(super) use sinfo::sinfo;
pub(super) use squeue::squeue;

use super::{
    Caller,
    cluster::{Cluster, Controller},
    words::{DEAD, HUNG, Refusal},
};
use crate::Moment;

/// What a command prints if the controller does not answer, and after how long.
pub(super) fn reach(cluster: &Cluster, program: &str, argv: &[String]) -> Result<(), (Refusal, Duration)> {
    let timeout = cluster.times.message_timeout;
    let (words, patience) = match cluster.seems() {
        Controller::Up => return Ok(()),
        Controller::Dead => (DEAD, timeout.saturating_sub(Duration::from_secs(1))),
        Controller::Hung => (HUNG, timeout),
    };
    let shows = |what: &str| argv.iter().any(|word| word == what);
    let refusal = match program {
        "scontrol" if shows("ping") => {
            // A failure that is printed on standard output; to a closed port, without waiting.
            let refusal =
                Refusal { stdout: "Slurmctld(primary) at slurmctld is DOWN".to_owned(), ..Refusal::new("") };
            let patience = if words == DEAD { Duration::ZERO } else { patience };
            return Err((refusal, patience));
        }
        "scontrol" if shows("config") => Refusal::new(format!("slurm_load_ctl_conf error: {words}")),
        "scontrol" if shows("partition") => Refusal::new(format!("slurm_load_partitions error: {words}")),
        "scontrol" if shows("reservation") => Refusal::new(format!("slurm_load_reservations error: {words}")),
        "scontrol" if shows("node") => Refusal::new(format!("slurm_load_node error: {words}")),
        "scontrol" if shows("batch_script") => Refusal::new(format!("job script retrieval failed: {words}")),
        "sinfo" => Refusal::new(format!("slurm_load_partitions: {words}")),
        "scancel" => {
            let job = argv.last().map_or("", String::as_str);
            let code = if words == DEAD { 8 } else { 140 };
            Refusal::new(format!("scancel: error: Kill job error on job id {job}: {words}")).code(code)
        }
        _ => Refusal::new(format!("slurm_load_jobs error: {words}")),
    };
    Err((refusal, patience))
}

/// Cancels a job; prints nothing about unknown ones.
pub(super) fn scancel(cluster: &mut Cluster, caller: &Caller, argv: &[String]) -> Result<String, Refusal> {
    let [number] = argv else { return Err(Refusal::not_known(format_args!("scancel {}", argv.join(" ")))) };
    let number: u64 = number.parse().map_err(|_| Refusal::not_known(format_args!("scancel {number}")))?;
    let Some(job) = cluster.numbered(number) else { return Ok(String::new()) };
    if caller.uid != 0 && caller.uid != job.uid {
        let words = format!("scancel: error: Kill job error on job id {number}: Access/permission denied");
        return Err(Refusal::new(words).code(210));
    }
    cluster.cancel(number, caller.uid);
    Ok(String::new())
}

/// Formats a time for the caller.
fn printed(moment: Moment, caller: &Caller) -> String {
    if caller.seconds { moment.seconds().to_string() } else { moment.to_string() }
}
