//! What each reason means for which a job waits (Slurm's page "Job Reason Codes"), and what to do about it.

use amore_model::JobId;

/// What becomes of a job that waits for a reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// It begins by itself, as any job in a queue.
    Passes,
    /// It begins by itself, but that may take long.
    MayLast,
    /// It begins when a person has done something.
    NeedsPerson,
    /// As it is it never begins.
    Never,
    /// Said of jobs that have ended, and for a while of those that were requeued.
    OfAnEnd,
    /// None of the reasons that are known here.
    Unknown,
}

impl Meaning {
    /// As `amore jobs --json` has it.
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

/// What reasons are about: all of one kind are told in the same words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum About {
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

impl About {
    fn meaning(self) -> Meaning {
        match self {
            About::Queue => Meaning::Passes,
            About::End => Meaning::OfAnEnd,
            About::BeginTime
            | About::Dependency
            | About::Licenses
            | About::NodesAway
            | About::OtherJobs
            | About::Reservation
            | About::Threshold => Meaning::MayLast,
            About::AdminHolds
            | About::Budget
            | About::BurstBuffer
            | About::Held
            | About::HeldAfterRequeue
            | About::PartitionClosed
            | About::System => Meaning::NeedsPerson,
            About::Account
            | About::Deadline
            | About::DependencyNever
            | About::PartitionLacks
            | About::Qos
            | About::ReservationGone
            | About::TimeLimit
            | About::TooMuch => Meaning::Never,
        }
    }
}

/// Each reason, or how it begins (`…*`). The first that fits counts.
const REASONS: [(&str, About); 88] = [
    ("None", About::Queue),
    ("Priority", About::Queue),
    ("Resources", About::Queue),
    ("Prolog", About::Queue),
    ("Cleaning", About::Queue),
    ("WaitingForScheduling", About::Queue),
    ("SchedDefer", About::Queue),
    ("JobArrayTaskLimit", About::Queue),
    ("FedJobLock", About::Queue),
    ("BurstBufferResources", About::Queue),
    ("BurstBufferStageIn", About::Queue),
    ("Licenses", About::Licenses),
    ("Dependency", About::Dependency),
    ("DependencyNeverSatisfied", About::DependencyNever),
    ("BeginTime", About::BeginTime),
    ("DeadLine", About::Deadline),
    ("Reservation", About::Reservation),
    ("ReservationDeleted", About::ReservationGone),
    ("ReservationInvalid", About::ReservationGone),
    // `Reservation upex_001234 was deleted`.
    ("Reservation *", About::ReservationGone),
    ("ReqNodeNotAvail*", About::NodesAway),
    ("Nodes required for job are DOWN*", About::NodesAway),
    ("NodeDown", About::NodesAway),
    ("FrontEndDown", About::NodesAway),
    ("PowerNotAvail", About::NodesAway),
    ("PowerReserved", About::NodesAway),
    ("Constraints", About::NodesAway),
    ("PartitionDown", About::PartitionClosed),
    ("PartitionInactive", About::PartitionClosed),
    ("PartitionNodeLimit", About::PartitionLacks),
    ("PartitionConfig", About::PartitionLacks),
    ("BadConstraints", About::PartitionLacks),
    ("MaxMemPerLimit", About::PartitionLacks),
    ("PartitionTimeLimit", About::TimeLimit),
    ("AccountNotAllowed", About::Account),
    ("InvalidAccount", About::Account),
    ("Job's account not permitted*", About::Account),
    ("QOSNotAllowed", About::Qos),
    ("InvalidQOS", About::Qos),
    ("Job's QOS not permitted*", About::Qos),
    ("JobHeldAdmin", About::AdminHolds),
    ("JobHeldUser", About::Held),
    ("JobHoldMaxRequeue", About::HeldAfterRequeue),
    ("job requeued in held state*", About::HeldAfterRequeue),
    ("launch failed requeued held*", About::HeldAfterRequeue),
    ("BurstBufferOperation", About::BurstBuffer),
    ("burst_buffer/*", About::BurstBuffer),
    ("SystemFailure", About::System),
    ("JobLaunchFailure", About::End),
    ("NonZeroExitCode", About::End),
    ("RaisedSignal*", About::End),
    ("TimeLimit", About::End),
    ("InactiveLimit", About::End),
    ("OutOfMemory", About::End),
    ("AccountingPolicy", About::OtherJobs),
    ("QOSUsageThreshold", About::Threshold),
    // What one job may have never changes while it waits. These go before the limits of many jobs.
    ("AssocMaxWallDurationPerJobLimit", About::TimeLimit),
    ("QOSMaxWallDurationPerJobLimit", About::TimeLimit),
    ("AssocMax*PerJob", About::TooMuch),
    ("AssocMax*PerJobLimit", About::TooMuch),
    ("AssocMax*PerNode", About::TooMuch),
    ("AssocMax*PerNodeLimit", About::TooMuch),
    ("QOSMax*PerJob", About::TooMuch),
    ("QOSMax*PerJobLimit", About::TooMuch),
    ("QOSMax*PerNode", About::TooMuch),
    ("QOSMax*PerNodeLimit", About::TooMuch),
    ("QOSMin*", About::TooMuch),
    // Minutes of running jobs come back when these end; others are used up.
    ("AssocGrp*RunMinutes", About::OtherJobs),
    ("AssocGrp*RunMinutesLimit", About::OtherJobs),
    ("QOSGrp*RunMinutes", About::OtherJobs),
    ("QOSGrp*RunMinutesLimit", About::OtherJobs),
    ("AssocGrp*Minutes", About::Budget),
    ("AssocGrp*MinutesLimit", About::Budget),
    ("QOSGrp*Minutes", About::Budget),
    ("QOSGrp*MinutesLimit", About::Budget),
    ("AssocGrpWallLimit", About::Budget),
    ("QOSGrpWallLimit", About::Budget),
    ("AssociationTimeLimit", About::Budget),
    ("QOSTimeLimit", About::Budget),
    ("AssocGrp*", About::OtherJobs),
    ("QOSGrp*", About::OtherJobs),
    ("AssocMax*", About::OtherJobs),
    ("QOSMax*", About::OtherJobs),
    ("Max*PerAccount", About::OtherJobs),
    ("AssociationJobLimit", About::OtherJobs),
    ("AssociationResourceLimit", About::OtherJobs),
    ("QOSJobLimit", About::OtherJobs),
    ("QOSResourceLimit", About::OtherJobs),
];

fn fits(pattern: &str, reason: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == reason,
        Some((begin, end)) => {
            reason.len() >= begin.len() + end.len() && reason.starts_with(begin) && reason.ends_with(end)
        }
    }
}

fn about(reason: &str) -> Option<About> {
    // Where nothing is said.
    if matches!(reason, "" | "(null)" | "N/A") {
        return Some(About::Queue);
    }
    REASONS.iter().find(|(pattern, _)| fits(pattern, reason)).map(|(_, about)| *about)
}

/// What becomes of a job that waits for this reason.
pub fn meaning(reason: &str) -> Meaning {
    about(reason).map_or(Meaning::Unknown, About::meaning)
}

/// Is the reservation gone that it waited for?
pub fn is_reservation_gone(reason: &str) -> bool {
    about(reason) == Some(About::ReservationGone)
}

/// Is it about the time that is asked for?
pub fn is_time_limit(reason: &str) -> bool {
    about(reason) == Some(About::TimeLimit)
}

/// What to do about a reason for which a job may wait for long, or for ever. A setting is for the jobs to come; the one
/// that waits is changed, or ended, by its number.
pub fn advice(reason: &str, job: &JobId) -> Option<String> {
    let (number, on) = (job.number, job.cluster_option());
    let give_up = format!("`amore cancel {job}` gives it up");
    let Some(about) = about(reason) else {
        return Some(format!(
            "Amore does not know this reason, and the job is left in the queue: `scontrol{on} show job {number}` shows it; {give_up}"
        ));
    };
    let shorter = format!(
        "`scontrol{on} update JobId={number} TimeLimit=1:00:00` lets it begin, if that is allowed (`sinfo{on} -o '%P %l'` shows what is); for later ones: amore-proto db-config slurm_time 1:00:00, or time= of the variable"
    );
    let elsewhere = format!(
        "`scontrol{on} update JobId={number} Partition=NAME` moves it (`sinfo{on} -s` lists them); for later ones: amore-proto db-config slurm_partition NAME"
    );
    let without_reservation = format!(
        "`scontrol{on} update JobId={number} ReservationName=` lets it go without; for later ones: amore-proto db-config slurm_reservation --delete"
    );
    Some(match about {
        About::Queue | About::End => return None,
        About::TimeLimit if reason.starts_with("Partition") => {
            format!("its time limit is longer than the partition allows, it never begins: {shorter}")
        }
        About::TimeLimit => {
            format!("its time limit is longer than the account or QOS allows, it never begins: {shorter}")
        }
        About::PartitionLacks => format!(
            "the partition has no node for what it asks (cpus, mem, nodes, time): see `sinfo{on} -Nel` and the variable; {elsewhere}"
        ),
        About::PartitionClosed => format!("the partition is down: wait, or {elsewhere}"),
        About::Account => format!(
            "the account may not use this partition, it never begins there: {elsewhere}, or another account: amore-proto db-config slurm_account NAME"
        ),
        About::Qos => format!(
            "it never begins with this QOS, which its account or partition does not allow: `scontrol{on} update JobId={number} QOS=NAME` gives it another (`sacctmgr show assoc user=$USER format=account,qos` lists yours); for later ones: amore-proto db-config slurm_qos NAME; {give_up}"
        ),
        About::TooMuch => format!(
            "the account or QOS does not allow what it asks, it never begins: see `sacctmgr show qos` and the variable; {give_up}"
        ),
        About::Budget => format!(
            "the account's budget is used up: ask for more, or take another account: amore-proto db-config slurm_account NAME; {give_up}"
        ),
        About::Threshold => format!(
            "the account has used more than its share, and waits until that is less; another account may be faster: amore-proto db-config slurm_account NAME; {give_up}"
        ),
        About::OtherJobs => {
            "a limit of the account or QOS; it begins when other jobs have ended (`sacctmgr show assoc user=$USER`)"
                .to_owned()
        }
        About::AdminHolds => format!("an administrator holds it: ask for its release; {give_up}"),
        About::Held => format!("it is held: scontrol{on} release {number}"),
        About::HeldAfterRequeue => format!(
            "Slurm has requeued it and holds it, it never begins by itself: `scontrol{on} release {number}` lets it try again; {give_up}"
        ),
        About::Reservation => {
            format!("the reservation has not begun, or is over: wait, or {without_reservation}")
        }
        About::ReservationGone => {
            format!("the reservation is gone, it never begins in it: {without_reservation}")
        }
        About::NodesAway => format!(
            "nodes that it could use are down, drained or reserved (`sinfo{on} -R`); it begins when they are back"
        ),
        About::BeginTime => format!(
            "it was requeued, and Slurm lets it wait for two minutes: `scontrol{on} update JobId={number} StartTime=now` is faster"
        ),
        About::Licenses => {
            format!("all licenses that it asks for are in use (`scontrol{on} show licenses`); it begins when some are free")
        }
        About::Dependency => format!(
            "the site, or somebody, has made it wait for other jobs (`scontrol{on} show job {number}`); it begins after them"
        ),
        About::DependencyNever => format!(
            "it was made to wait for a job that will never end so, it never begins: `scontrol{on} update JobId={number} Dependency=` lets it go; {give_up}"
        ),
        About::Deadline => format!("its deadline cannot be met, it never begins; {give_up}"),
        About::BurstBuffer => {
            format!("its burst buffer failed: Slurm's administrators find the cause; {give_up}")
        }
        About::System => format!(
            "Slurm had a failure of its own: Slurm's administrators find the cause, `scontrol{on} release {number}` may let it try again; {give_up}"
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
                // The manuals write families with a star.
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
            ("JobHoldMaxRequeue", "scontrol release 12"),
            ("job requeued in held state", "scontrol release 12"),
            ("QOSNotAllowed", "never begins with this QOS"),
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
