//! What each reason for which a job waits means (Slurm's page "Job Reason Codes"), and what the user can do about it.

use amore_model::JobId;

/// What happens to a job that waits for a reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// It starts by itself, like any job in a queue.
    Passes,
    /// It starts by itself, but that may take long.
    MayLast,
    /// It starts after a person has done something.
    NeedsPerson,
    /// It never starts unless it is changed.
    Never,
    /// Given for jobs that have ended, and for a while for those that were requeued.
    OfAnEnd,
    /// A reason that Amore does not know.
    Unknown,
}

impl Meaning {
    /// The word in the output of `amore jobs --json`.
    pub fn word(self) -> &'static str {
        match self {
            Meaning::Passes => "passes",
            Meaning::MayLast => "may last",
            Meaning::NeedsPerson => "needs a person",
            Meaning::Never => "never begins",
            Meaning::OfAnEnd => "of an end",
            Meaning::Unknown => "unknown",
        }
    }
}

/// Reasons of one kind have the same meaning and advice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Queue,
    End,
    Account,
    AdminHolds,
    BeginTime,
    Budget,
    BurstBuffer,
    Deadline,
    Dependency,
    DependencyNever,
    Held,
    HeldAfterRequeue,
    Licenses,
    NodesAway,
    OtherJobs,
    PartitionClosed,
    PartitionLacks,
    Qos,
    Reservation,
    ReservationGone,
    System,
    Threshold,
    TimeLimit,
    TooMuch,
}

impl Kind {
    fn meaning(self) -> Meaning {
        match self {
            Kind::Queue => Meaning::Passes,
            Kind::End => Meaning::OfAnEnd,
            Kind::BeginTime
            | Kind::Dependency
            | Kind::Licenses
            | Kind::NodesAway
            | Kind::OtherJobs
            | Kind::Reservation
            | Kind::Threshold => Meaning::MayLast,
            Kind::AdminHolds
            | Kind::Budget
            | Kind::BurstBuffer
            | Kind::Held
            | Kind::HeldAfterRequeue
            | Kind::PartitionClosed
            | Kind::System => Meaning::NeedsPerson,
            Kind::Account
            | Kind::Deadline
            | Kind::DependencyNever
            | Kind::PartitionLacks
            | Kind::Qos
            | Kind::ReservationGone
            | Kind::TimeLimit
            | Kind::TooMuch => Meaning::Never,
        }
    }
}

/// Each reason, or a pattern with one `*`. The first match counts.
const REASONS: [(&str, Kind); 88] = [
    ("None", Kind::Queue),
    ("Priority", Kind::Queue),
    ("Resources", Kind::Queue),
    ("Prolog", Kind::Queue),
    ("Cleaning", Kind::Queue),
    ("WaitingForScheduling", Kind::Queue),
    ("SchedDefer", Kind::Queue),
    ("JobArrayTaskLimit", Kind::Queue),
    ("FedJobLock", Kind::Queue),
    ("BurstBufferResources", Kind::Queue),
    ("BurstBufferStageIn", Kind::Queue),
    ("Licenses", Kind::Licenses),
    ("Dependency", Kind::Dependency),
    ("DependencyNeverSatisfied", Kind::DependencyNever),
    ("BeginTime", Kind::BeginTime),
    ("DeadLine", Kind::Deadline),
    ("Reservation", Kind::Reservation),
    ("ReservationDeleted", Kind::ReservationGone),
    ("ReservationInvalid", Kind::ReservationGone),
    // `Reservation upex_001234 was deleted`.
    ("Reservation *", Kind::ReservationGone),
    ("ReqNodeNotAvail*", Kind::NodesAway),
    ("Nodes required for job are DOWN*", Kind::NodesAway),
    ("NodeDown", Kind::NodesAway),
    ("FrontEndDown", Kind::NodesAway),
    ("PowerNotAvail", Kind::NodesAway),
    ("PowerReserved", Kind::NodesAway),
    ("Constraints", Kind::NodesAway),
    ("PartitionDown", Kind::PartitionClosed),
    ("PartitionInactive", Kind::PartitionClosed),
    ("PartitionNodeLimit", Kind::PartitionLacks),
    ("PartitionConfig", Kind::PartitionLacks),
    ("BadConstraints", Kind::PartitionLacks),
    ("MaxMemPerLimit", Kind::PartitionLacks),
    ("PartitionTimeLimit", Kind::TimeLimit),
    ("AccountNotAllowed", Kind::Account),
    ("InvalidAccount", Kind::Account),
    ("Job's account not permitted*", Kind::Account),
    ("QOSNotAllowed", Kind::Qos),
    ("InvalidQOS", Kind::Qos),
    ("Job's QOS not permitted*", Kind::Qos),
    ("JobHeldAdmin", Kind::AdminHolds),
    ("JobHeldUser", Kind::Held),
    ("JobHoldMaxRequeue", Kind::HeldAfterRequeue),
    ("job requeued in held state*", Kind::HeldAfterRequeue),
    ("launch failed requeued held*", Kind::HeldAfterRequeue),
    ("BurstBufferOperation", Kind::BurstBuffer),
    ("burst_buffer/*", Kind::BurstBuffer),
    ("SystemFailure", Kind::System),
    ("JobLaunchFailure", Kind::End),
    ("NonZeroExitCode", Kind::End),
    ("RaisedSignal*", Kind::End),
    ("TimeLimit", Kind::End),
    ("InactiveLimit", Kind::End),
    ("OutOfMemory", Kind::End),
    ("AccountingPolicy", Kind::OtherJobs),
    ("QOSUsageThreshold", Kind::Threshold),
    // Limits of one job do not change while it waits. They come before the limits of many jobs.
    ("AssocMaxWallDurationPerJobLimit", Kind::TimeLimit),
    ("QOSMaxWallDurationPerJobLimit", Kind::TimeLimit),
    ("AssocMax*PerJob", Kind::TooMuch),
    ("AssocMax*PerJobLimit", Kind::TooMuch),
    ("AssocMax*PerNode", Kind::TooMuch),
    ("AssocMax*PerNodeLimit", Kind::TooMuch),
    ("QOSMax*PerJob", Kind::TooMuch),
    ("QOSMax*PerJobLimit", Kind::TooMuch),
    ("QOSMax*PerNode", Kind::TooMuch),
    ("QOSMax*PerNodeLimit", Kind::TooMuch),
    ("QOSMin*", Kind::TooMuch),
    // Minutes of running jobs are returned when these end; others are used up.
    ("AssocGrp*RunMinutes", Kind::OtherJobs),
    ("AssocGrp*RunMinutesLimit", Kind::OtherJobs),
    ("QOSGrp*RunMinutes", Kind::OtherJobs),
    ("QOSGrp*RunMinutesLimit", Kind::OtherJobs),
    ("AssocGrp*Minutes", Kind::Budget),
    ("AssocGrp*MinutesLimit", Kind::Budget),
    ("QOSGrp*Minutes", Kind::Budget),
    ("QOSGrp*MinutesLimit", Kind::Budget),
    ("AssocGrpWallLimit", Kind::Budget),
    ("QOSGrpWallLimit", Kind::Budget),
    ("AssociationTimeLimit", Kind::Budget),
    ("QOSTimeLimit", Kind::Budget),
    ("AssocGrp*", Kind::OtherJobs),
    ("QOSGrp*", Kind::OtherJobs),
    ("AssocMax*", Kind::OtherJobs),
    ("QOSMax*", Kind::OtherJobs),
    ("Max*PerAccount", Kind::OtherJobs),
    ("AssociationJobLimit", Kind::OtherJobs),
    ("AssociationResourceLimit", Kind::OtherJobs),
    ("QOSJobLimit", Kind::OtherJobs),
    ("QOSResourceLimit", Kind::OtherJobs),
];

fn fits(pattern: &str, reason: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == reason,
        Some((begin, end)) => {
            reason.len() >= begin.len() + end.len() && reason.starts_with(begin) && reason.ends_with(end)
        }
    }
}

fn about(reason: &str) -> Option<Kind> {
    // No reason is given.
    if matches!(reason, "" | "(null)" | "N/A") {
        return Some(Kind::Queue);
    }
    REASONS.iter().find(|(pattern, _)| fits(pattern, reason)).map(|(_, about)| *about)
}

/// What happens to a job that waits for this reason.
pub fn meaning(reason: &str) -> Meaning {
    about(reason).map_or(Meaning::Unknown, Kind::meaning)
}

/// Whether the reservation that the job waited for is gone.
pub fn is_reservation_gone(reason: &str) -> bool {
    about(reason) == Some(Kind::ReservationGone)
}

/// Whether the reason is about the job's time limit.
pub fn is_time_limit(reason: &str) -> bool {
    about(reason) == Some(Kind::TimeLimit)
}

/// What to do about a reason for which a job may wait for long, or for ever. Settings apply to later jobs; the one
/// that waits is changed or cancelled by its ID.
pub fn advice(reason: &str, job: &JobId) -> Option<String> {
    let (number, on) = (job.number, job.cluster_option());
    let give_up = format!("`amore cancel {job}` cancels it");
    let Some(about) = about(reason) else {
        return Some(format!(
            "Amore does not know this reason and leaves the job in the queue: `scontrol{on} show job {number}` shows details; {give_up}"
        ));
    };
    let shorter = format!(
        "`scontrol{on} update JobId={number} TimeLimit=1:00:00` lets it start, if that is within the limit (`sinfo{on} -o '%P %l'` lists limits); for later jobs: amore-proto db-config slurm_time 1:00:00, or set time= for the variable"
    );
    let elsewhere = format!(
        "`scontrol{on} update JobId={number} Partition=NAME` moves it to another partition (`sinfo{on} -s` lists them); for later jobs: amore-proto db-config slurm_partition NAME"
    );
    let without_reservation = format!(
        "`scontrol{on} update JobId={number} ReservationName=` lets it start without it; for later jobs: amore-proto db-config slurm_reservation --delete"
    );
    Some(match about {
        Kind::Queue | Kind::End => return None,
        Kind::TimeLimit if reason.starts_with("Partition") => {
            format!("its time limit is longer than the partition allows, so it never starts: {shorter}")
        }
        Kind::TimeLimit => {
            format!("its time limit is longer than the account or QOS allows, so it never starts: {shorter}")
        }
        Kind::PartitionLacks => format!(
            "no node in the partition has what it requests (cpus, mem, nodes, time): compare `sinfo{on} -Nel` with the variable's settings; {elsewhere}"
        ),
        Kind::PartitionClosed => format!("the partition is down: wait, or {elsewhere}"),
        Kind::Account => format!(
            "the account may not use this partition, so it never starts there: {elsewhere}; or use another account: amore-proto db-config slurm_account NAME"
        ),
        Kind::Qos => format!(
            "it never starts with this QOS, which its account or partition does not allow: `scontrol{on} update JobId={number} QOS=NAME` changes it (`sacctmgr show assoc user=$USER format=account,qos` lists yours); for later jobs: amore-proto db-config slurm_qos NAME; {give_up}"
        ),
        Kind::TooMuch => format!(
            "it requests more than the account or QOS allows, so it never starts: compare `sacctmgr show qos` with the variable's settings; {give_up}"
        ),
        Kind::Budget => format!(
            "the account's budget is used up: ask for more, or use another account: amore-proto db-config slurm_account NAME; {give_up}"
        ),
        Kind::Threshold => format!(
            "the account has used more than its share, so the job waits until its usage has decayed; another account may be faster: amore-proto db-config slurm_account NAME; {give_up}"
        ),
        Kind::OtherJobs => {
            "it waits for a limit of the account or QOS and starts when other jobs have ended (`sacctmgr show assoc user=$USER`)"
                .to_owned()
        }
        Kind::AdminHolds => format!("an administrator holds it: ask them to release it; {give_up}"),
        Kind::Held => format!("it is held: `scontrol{on} release {number}` releases it"),
        Kind::HeldAfterRequeue => format!(
            "Slurm has requeued and held it, so it does not start by itself: `scontrol{on} release {number}` lets it try again; {give_up}"
        ),
        Kind::Reservation => {
            format!("the reservation has not started, or is over: wait, or {without_reservation}")
        }
        Kind::ReservationGone => {
            format!("the reservation no longer exists, so it never starts in it: {without_reservation}")
        }
        Kind::NodesAway => format!(
            "nodes that it could use are down, drained or reserved (`sinfo{on} -R`); it starts when they are back"
        ),
        Kind::BeginTime => format!(
            "it was requeued, and Slurm delays it for two minutes: `scontrol{on} update JobId={number} StartTime=now` starts it earlier"
        ),
        Kind::Licenses => {
            format!("all licenses that it requests are in use (`scontrol{on} show licenses`); it starts when some are free")
        }
        Kind::Dependency => format!(
            "it depends on other jobs (`scontrol{on} show job {number}`) and starts after them"
        ),
        Kind::DependencyNever => format!(
            "it depends on a job that can no longer end as required, so it never starts: `scontrol{on} update JobId={number} Dependency=` removes the dependency; {give_up}"
        ),
        Kind::Deadline => format!("its deadline cannot be met, so it never starts; {give_up}"),
        Kind::BurstBuffer => {
            format!("its burst buffer failed: ask Slurm's administrators for the cause; {give_up}")
        }
        Kind::System => format!(
            "Slurm had an internal failure: ask Slurm's administrators for the cause; `scontrol{on} release {number}` may let it try again; {give_up}"
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recorded::manual;

    #[test]
    fn every_reason_of_the_manuals_has_a_meaning() {
        for version in ["22.05", "24.11", "26.05", "all"] {
            let names = manual(&format!("reasons-{version}.txt"));
            assert!(names.len() > 30, "{version}");
            for name in names {
                // The manuals write families of reasons with a star.
                let name = name.replace('*', "Cpu");
                assert_ne!(meaning(&name), Meaning::Unknown, "{version}: {name}");
            }
        }
    }

    #[test]
    fn what_passes_is_told_from_what_does_not() {
        for (reason, expected) in [
            ("None", Meaning::Passes),
            ("Resources", Meaning::Passes),
            ("Priority", Meaning::Passes),
            ("(null)", Meaning::Passes),
            ("Dependency", Meaning::MayLast),
            ("Licenses", Meaning::MayLast),
            ("AssocGrpCPURunMinutesLimit", Meaning::MayLast),
            ("QOSMaxCpuPerUserLimit", Meaning::MayLast),
            ("QOSMaxSubmitJobPerUserLimit", Meaning::MayLast),
            ("MaxGRESPerAccount", Meaning::MayLast),
            ("ReqNodeNotAvail, UnavailableNodes:n1", Meaning::MayLast),
            ("JobHoldMaxRequeue", Meaning::NeedsPerson),
            ("PartitionDown", Meaning::NeedsPerson),
            ("AssocGrpGRESMinutes", Meaning::NeedsPerson),
            ("QOSNotAllowed", Meaning::Never),
            ("InvalidQOS", Meaning::Never),
            ("QOSMaxMemoryPerNode", Meaning::Never),
            ("AssocMaxCpuMinutesPerJobLimit", Meaning::Never),
            ("QOSMinGRES", Meaning::Never),
            ("DependencyNeverSatisfied", Meaning::Never),
            ("ReservationDeleted", Meaning::Never),
            ("NonZeroExitCode", Meaning::OfAnEnd),
            ("PhaseOfTheMoon", Meaning::Unknown),
        ] {
            assert_eq!(meaning(reason), expected, "{reason}");
            let told = advice(reason, &JobId::on(None, 12)).is_some();
            assert_eq!(told, !matches!(expected, Meaning::Passes | Meaning::OfAnEnd), "{reason}");
        }
    }

    #[test]
    fn advice_fits_the_reason() {
        for (reason, word) in [
            ("QOSMaxWallDurationPerJobLimit", "TimeLimit=1:00:00"),
            ("AssocMaxWallDurationPerJobLimit", "TimeLimit=1:00:00"),
            ("PartitionTimeLimit", "TimeLimit=1:00:00"),
            ("QOSMaxCpuPerJobLimit", "never starts"),
            ("QOSMinCpuNotSatisfied", "never starts"),
            ("QOSMinMemory", "never starts"),
            ("AssocGrpCPUMinutesLimit", "budget"),
            ("AssocGrpWallLimit", "budget"),
            ("AssocGrpCPURunMinutesLimit", "when other jobs have ended"),
            ("AssocGrpJobsLimit", "when other jobs have ended"),
            ("QOSMaxJobsPerUserLimit", "when other jobs have ended"),
            ("AssocMaxJobsLimit", "when other jobs have ended"),
            ("JobHeldUser", "scontrol release 12"),
            ("JobHoldMaxRequeue", "scontrol release 12"),
            ("job requeued in held state", "scontrol release 12"),
            ("QOSNotAllowed", "never starts with this QOS"),
            ("JobHeldAdmin", "amore cancel 12"),
            ("PartitionDown", "JobId=12 Partition=NAME"),
            ("PhaseOfTheMoon", "scontrol show job 12"),
            (
                "Nodes required for job are DOWN, DRAINED or reserved for jobs in higher priority partitions",
                "sinfo -R",
            ),
        ] {
            let words = advice(reason, &JobId::on(None, 12)).unwrap();
            assert!(words.contains(word), "{reason}: {words}");
        }
    }
}
