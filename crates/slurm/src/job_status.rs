//! The status of a job, as one of Slurm's commands shows it.

use amore_model::{
    JobId, JobState,
    planted::{Fault, is_on},
};

use crate::{
    job_end::JobEnd,
    reasons,
    states::{Ending, Meaning, is_final},
};

/// Advice about a job that makes no progress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advice {
    /// Follows "job 12": `waits: PartitionDown`.
    pub what: String,
    /// What it means, and what to do.
    pub hint: String,
}

/// The status of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobStatus {
    /// Its state.
    pub state: JobState,
    /// Why it waits, or why it ended.
    pub reason: String,
    /// Its nodes.
    pub nodes: String,
    /// Its partition.
    pub partition: String,
    /// Its reservation.
    pub reservation: String,
    /// The tokens in its comment, if the comment is shown: a site's plugins may add text.
    pub tokens: Vec<String>,
    /// How it ended, if it has ended or will never start.
    pub end: Option<JobEnd>,
}

impl JobStatus {
    /// Whether it waits for its start, as far as is known.
    pub fn waits(&self) -> bool {
        self.end.is_none()
            && matches!(Meaning::of(&self.state), Meaning::Waits | Meaning::Held | Meaning::Unknown)
    }

    /// What to tell the user, if the job may make no progress for long.
    pub fn advice(&self, job: &JobId) -> Option<Advice> {
        if self.end.is_some() {
            return None;
        }
        let (number, on) = (job.number, job.cluster_option());
        let waits = |hint: String| Advice { what: format!("waits: {}", self.reason), hint };
        match Meaning::of(&self.state) {
            Meaning::Runs | Meaning::Over(_) => None,
            Meaning::Suspended => Some(Advice {
                what: format!("is {}", self.state),
                hint: format!(
                    "it is suspended until Slurm or an administrator resumes it (`scontrol{on} resume {number}`); `amore cancel {job}` cancels it"
                ),
            }),
            Meaning::Unknown => Some(Advice {
                what: format!("is {}, a state that Amore does not know", self.state),
                hint: format!(
                    "Amore treats it as waiting: `scontrol{on} show job {number}` shows details; `amore cancel {job}` cancels it"
                ),
            }),
            Meaning::Held => reasons::advice("job requeued in held state", job)
                .map(|hint| Advice { what: format!("is held ({}): {}", self.state, self.reason), hint }),
            // These reasons are normal in a partition, but unexpected in a reservation.
            Meaning::Waits
                if !self.reservation.is_empty()
                    && matches!(self.reason.as_str(), "Resources" | "Priority") =>
            {
                Some(waits(format!(
                    "the reservation {} is full: the job starts when others in it have ended; `scontrol{on} update JobId={number} ReservationName=` moves it to a partition",
                    self.reservation
                )))
            }
            Meaning::Waits => reasons::advice(&self.reason, job).map(waits),
        }
    }

    /// Whether the job belongs to another attempt.
    pub fn is_of_another(&self, token: &str) -> bool {
        !self.tokens.is_empty() && !self.is_of(token) && !is_on(Fault::TokenNotCompared)
    }

    /// Whether it carries this token.
    pub fn is_of(&self, token: &str) -> bool {
        self.tokens.iter().any(|own| own == token)
    }

    /// Whether it stays in the queue although it will never start.
    pub fn lingers(&self) -> bool {
        self.end.is_some() && !is_final(&self.state)
    }
}

/// The columns of a line about a job, as printed. Columns that a command does not have are empty.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Columns<'a> {
    /// Its state; in accounting, also who cancelled it.
    pub(crate) state: &'a str,
    /// Exit code and signal, `1:0`.
    pub(crate) exit: &'a str,
    /// Its nodes.
    pub(crate) nodes: &'a str,
    /// Its partition.
    pub(crate) partition: &'a str,
    /// Its reservation.
    pub(crate) reservation: &'a str,
    /// Why it waits, or why it ended.
    pub(crate) reason: &'a str,
}

/// Finds the name of a user by UID.
pub type UserNames<'a> = &'a dyn Fn(u32) -> Option<String>;

impl Columns<'_> {
    pub(crate) fn status(&self, tokens: Vec<String>, names: UserNames<'_>) -> JobStatus {
        JobStatus {
            state: JobState::of(self.state),
            reason: self.reason.to_owned(),
            nodes: self.nodes.to_owned(),
            partition: self.partition.to_owned(),
            reservation: self.reservation.to_owned(),
            tokens,
            end: self.end(names),
        }
    }

    /// How the job ended, if it has ended or will never start.
    pub(crate) fn end(&self, names: UserNames<'_>) -> Option<JobEnd> {
        let Columns { exit, reason, reservation, .. } = *self;
        let state = JobState::of(self.state);
        let code =
            exit.split_once(':').and_then(|(code, signal)| Some((code.parse().ok()?, signal.parse().ok()?)));
        let gone = || {
            let from_reason = reason.strip_prefix("Reservation ").and_then(|text| text.split(' ').next());
            let name = from_reason.filter(|name| !name.is_empty()).unwrap_or(reservation);
            JobEnd::ReservationGone { reservation: name.to_owned() }
        };
        let not_started = JobEnd::Failed { code: (0, 53), launch: true };
        Some(match Meaning::of(&state) {
            Meaning::Over(Ending::Completed) => JobEnd::Completed,
            // Without the code, only the reason is left, which is the same for some scripts that were killed.
            Meaning::Over(Ending::Failed) => JobEnd::Failed {
                code: code.unwrap_or((1, 0)),
                launch: match code {
                    Some(code) => code == (0, 53),
                    None => reason.starts_with("JobLaunchFailure") || reason.starts_with("RaisedSignal:53"),
                },
            },
            Meaning::Over(Ending::NotStarted) => not_started,
            Meaning::Over(Ending::TimeLimit) => JobEnd::TimeLimit,
            Meaning::Over(Ending::OutOfMemory) => JobEnd::OutOfMemory,
            Meaning::Over(Ending::Preempted) => JobEnd::Preempted,
            Meaning::Over(Ending::NodeFailed) => JobEnd::NodeFailed,
            Meaning::Over(Ending::Cancelled) => JobEnd::Cancelled { by: self.cancelled_by(names) },
            Meaning::Over(Ending::ReservationGone) => gone(),
            // Nobody will start it again.
            _ if reason.starts_with("launch failed requeued held") => not_started,
            Meaning::Over(Ending::Otherwise) => JobEnd::Other(state),
            // Some versions keep it pending without a state of its own.
            Meaning::Waits | Meaning::Held if reasons::is_reservation_gone(reason) => gone(),
            Meaning::Waits | Meaning::Held | Meaning::Runs | Meaning::Suspended | Meaning::Unknown => {
                return None;
            }
        })
    }

    /// The user in `CANCELLED by 1000`.
    fn cancelled_by(&self, names: UserNames<'_>) -> Option<String> {
        let (_, by) = self.state.split_once(" by ")?;
        let uid = by.trim().parse().ok()?;
        Some(names(uid).unwrap_or_else(|| format!("user {uid}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        sacct::{ACCOUNTED, parse_accounting},
        squeue::parse_queue,
    };

    #[test]
    fn a_job_of_a_deleted_reservation_will_never_run() {
        let (_, seen) =
            parse_queue("12|RESV_DEL_HOLD||main|(null)|amore:1|Reservation upex_001234 was deleted").unwrap();
        let gone = JobEnd::ReservationGone { reservation: "upex_001234".to_owned() };
        assert_eq!(seen.end, Some(gone));
        assert!(!seen.waits() && seen.lingers());
    }

    #[test]
    fn a_job_that_was_held_because_it_could_not_be_started_is_over() {
        let (_, seen) = parse_queue("12|PENDING||main|(null)|amore:1|launch failed requeued held").unwrap();
        assert!(seen.lingers());
        assert_eq!(seen.end, Some(JobEnd::Failed { code: (0, 53), launch: true }));
    }

    #[test]
    fn a_number_that_was_given_away_is_seen() {
        let of = |comment: &str| parse_queue(&format!("12|RUNNING|n1|main|(null)|{comment}|None")).unwrap().1;
        assert!(of("amore:b-1").is_of_another("a-1") && !of("amore:a-1").is_of_another("a-1"));
        let kept = |comment: &str| {
            let line =
                format!("12|FAILED|0:1|n1|main||None|sbatch --parsable --comment={comment} --chdir=/a|b");
            parse_accounting(&line, &ACCOUNTED, &|_| None).unwrap().1
        };
        assert!(kept("amore:b-1").is_of_another("a-1") && !kept("amore:a-1").is_of_another("a-1"));
        // A site may write its own comments.
        assert!(!of("(null)").is_of_another("a-1") && !of("checked").is_of_another("a-1"));
    }

    #[test]
    fn a_state_that_nobody_knows_is_told_and_waited_for() {
        let of = |line: &str| parse_queue(line).unwrap().1;
        let job = JobId::on(None, 12);
        let odd = of("12|HIBERNATING|n1|main|(null)|amore:1|None");
        assert!(odd.end.is_none() && odd.waits());
        assert!(odd.advice(&job).unwrap().what.contains("does not know"));
        let stopped = of("12|SUSPENDED|n1|main|(null)|amore:1|None");
        assert!(!stopped.waits() && stopped.advice(&job).unwrap().hint.contains("scontrol resume 12"));
        let held = of("12|REQUEUE_HOLD||main|(null)|amore:1|JobHoldMaxRequeue");
        assert!(held.waits() && held.advice(&job).unwrap().hint.contains("scontrol release 12"));
        let failed = of("12|LAUNCH_FAILED|n1|main|(null)|amore:1|None");
        assert_eq!(failed.end, Some(JobEnd::Failed { code: (0, 53), launch: true }));
        assert!(failed.lingers());
        let deleted = of("12|PENDING||main|upex|amore:1|ReservationDeleted");
        assert_eq!(deleted.end, Some(JobEnd::ReservationGone { reservation: "upex".to_owned() }));
    }

    #[test]
    fn a_full_reservation_is_told() {
        let advice = |line: &str| parse_queue(line).unwrap().1.advice(&JobId::on(None, 12));
        assert!(
            advice("12|PENDING||main|upex|amore:1|Resources")
                .unwrap()
                .hint
                .contains("the reservation upex is full")
        );
        assert!(
            advice("12|PENDING||main|upex|amore:1|Priority")
                .unwrap()
                .hint
                .contains("JobId=12 ReservationName=")
        );
        assert_eq!(advice("12|PENDING||main|(null)|amore:1|Resources"), None);
        assert_eq!(advice("12|RUNNING|n1|main|upex|amore:1|None"), None);
    }

    #[test]
    fn what_to_do_names_the_cluster() {
        let (_, seen) = parse_queue("12|PENDING||main|(null)|amore:1|PartitionTimeLimit").unwrap();
        let advice = seen.advice(&JobId::on(Some("lab"), 12)).unwrap().hint;
        assert!(advice.contains("`scontrol -M lab update JobId=12 TimeLimit"), "{advice}");
        let (_, held) = parse_queue("12|PENDING||main|(null)|amore:1|JobHeldAdmin").unwrap();
        assert!(held.advice(&JobId::on(Some("lab"), 12)).unwrap().hint.contains("amore cancel 12@lab"));
    }
}
