//! What Slurm answers: pure readers of its words.

use amore_model::JobId;

use super::{
    clusters::Clusters,
    reasons,
    refused::CODE,
    states::{self, Ended, Meaning},
};
use crate::coordinate::after_job::JobEnd;

/// What is told of a job that stands still.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advice {
    /// After "job 12": `waits: PartitionDown`.
    pub what: String,
    /// What it means, and what to do.
    pub hint: String,
}

/// How a job stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Slurm's word.
    pub state: String,
    /// Why it waits, or why it ended.
    pub reason: String,
    /// Its nodes.
    pub nodes: String,
    /// Its partition.
    pub partition: String,
    /// Its reservation.
    pub reservation: String,
    /// The tokens in its comment, where that is seen: a site's plugins may write more into it.
    pub tokens: Vec<String>,
    /// How it ended, if it has, or will never begin.
    pub end: Option<JobEnd>,
}

impl Seen {
    /// Does it wait for its start, as far as is known?
    pub fn waits(&self) -> bool {
        self.end.is_none()
            && matches!(states::meaning(&self.state), Meaning::Waits | Meaning::Held | Meaning::Unknown)
    }

    /// What to tell of it, and what to do, if it may stand still for long.
    pub fn advice(&self, job: &JobId) -> Option<Advice> {
        if self.end.is_some() {
            return None;
        }
        let (number, on) = (job.number, job.cluster_option());
        let waits = |hint: String| Advice { what: format!("waits: {}", self.reason), hint };
        match states::meaning(&self.state) {
            Meaning::Runs | Meaning::Over(_) => None,
            Meaning::Suspended => Some(Advice {
                what: format!("is {}", self.state),
                hint: format!(
                    "it stands still until Slurm or an administrator resumes it (`scontrol{on} resume {number}`); `amore cancel {job}` gives it up"
                ),
            }),
            Meaning::Unknown => Some(Advice {
                what: format!("is {}, a state that Amore does not know", self.state),
                hint: format!(
                    "it is followed as one that waits: `scontrol{on} show job {number}` shows it; `amore cancel {job}` gives it up"
                ),
            }),
            Meaning::Held => reasons::advice("job requeued in held state", job)
                .map(|hint| Advice { what: format!("is held ({}): {}", self.state, self.reason), hint }),
            // Of a partition these are the daily life, of a reservation they are not expected.
            Meaning::Waits
                if !self.reservation.is_empty()
                    && matches!(self.reason.as_str(), "Resources" | "Priority") =>
            {
                Some(waits(format!(
                    "the reservation {} is full: it begins when others in it have ended; `scontrol{on} update JobId={number} ReservationName=` lets it go to a partition",
                    self.reservation
                )))
            }
            Meaning::Waits => reasons::advice(&self.reason, job).map(waits),
        }
    }

    /// Is it the job of another attempt?
    pub fn is_of_another(&self, token: &str) -> bool {
        !self.tokens.is_empty() && !self.is_of(token)
    }

    /// Does it carry this token?
    pub fn is_of(&self, token: &str) -> bool {
        self.tokens.iter().any(|own| own == token)
    }

    /// Does it stay in the queue although it will never begin?
    pub fn lingers(&self) -> bool {
        self.end.is_some() && !states::is_final(&self.state)
    }
}

/// A line without the formula before it: `sbatch: error: `, `sbatch: fatal: `, `slurm_load_jobs error: `, `sbatch: `. A
/// wrapper may write its name or the time before the formula of sbatch.
pub fn bare(line: &str) -> &str {
    let line = line.trim();
    for formula in ["sbatch: error: ", "sbatch: fatal: "] {
        if let Some((_, words)) = line.split_once(formula) {
            return words.trim();
        }
    }
    for mark in ["error: ", "fatal: "] {
        if let Some((program, words)) = line.split_once(mark)
            && !program.trim_end().contains(' ')
        {
            return words.trim();
        }
    }
    line.strip_prefix("sbatch: ").unwrap_or(line).trim()
}

/// What stands before a token in a comment.
const MARK: &str = "amore:";

/// The comment of a job with this token.
pub fn comment_of(token: &str) -> String {
    format!("{MARK}{token}")
}

/// The tokens in a comment or a command line. A site's plugins may write something before and behind them: each is a word
/// of its own, and compared as a whole.
pub fn tokens_in(text: &str) -> Vec<String> {
    let of_word = |sign: char| sign.is_alphanumeric() || sign == '-';
    let groups_of_digits = |word: &str| {
        word.split('-').all(|group| !group.is_empty() && group.bytes().all(|b| b.is_ascii_hexdigit()))
    };
    text.match_indices(MARK)
        .filter(|(at, _)| !text[..*at].ends_with(of_word))
        .map(|(at, _)| &text[at + MARK.len()..])
        .map(|rest| rest.split(|sign| !of_word(sign)).next().unwrap_or_default())
        .filter(|word| groups_of_digits(word))
        .map(str::to_owned)
        .collect()
}

/// A text without what is meant for a terminal: colours, and other control characters. Lines stay.
pub fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut signs = text.chars().peekable();
    while let Some(sign) = signs.next() {
        match sign {
            // A control sequence ends with a letter or one of a few signs (ECMA-48, 5.4).
            '\u{1b}' if signs.next_if_eq(&'[').is_some() => {
                for sign in signs.by_ref() {
                    if ('@'..='~').contains(&sign) {
                        break;
                    }
                }
            }
            '\n' | '\t' => plain.push(sign),
            _ if sign.is_control() => {}
            _ => plain.push(sign),
        }
    }
    plain
}

/// What Slurm says on standard error, without its formulas.
pub fn words_of(text: &str) -> String {
    let text = plain(text);
    let lines: Vec<&str> = text
        .lines()
        .map(bare)
        .map(|line| line.strip_prefix(CODE).unwrap_or(line))
        .filter(|line| !line.is_empty())
        .collect();
    lines.join("; ")
}

/// What an answer of sbatch says of the job's number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Number {
    /// This is it.
    Said(JobId),
    /// It is the only one that stands alone in a line, among words that are not Slurm's: to be checked.
    Likely(JobId),
    /// None that can be told from other numbers.
    Unclear,
}

/// What `sbatch --parsable` says: `JOBID`, or `JOBID;CLUSTER` where clusters were named. A site's wrapper may print more
/// around it, or Slurm's other words for it (`Submitted batch job 17 on cluster lab`).
pub fn parse_submitted(out: &str, error: &str, clusters: &Clusters) -> Number {
    let (out, error) = (plain(out), plain(error));
    let lines: Vec<&str> = out.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let alone = only(lines.iter().filter(|line| !line.contains('@')).filter_map(|line| line.parse().ok()));
    let (announced, also) =
        (only(lines.iter().filter_map(|line| announced(line))), only(error.lines().filter_map(announced)));
    match (announced, alone) {
        (Some(job), _) => on_one_of(clusters, job).map_or(Number::Unclear, Number::Said),
        (None, Some(job)) => match on_one_of(clusters, job) {
            Some(job) if lines.len() == 1 => Number::Said(job),
            Some(job) => Number::Likely(job),
            None => Number::Unclear,
        },
        (None, None) => also.and_then(|job| on_one_of(clusters, job)).map_or(Number::Unclear, Number::Said),
    }
}

/// The job that all of these are.
fn only(mut jobs: impl Iterator<Item = JobId>) -> Option<JobId> {
    let first = jobs.next()?;
    jobs.all(|job| job == first).then_some(first)
}

/// `… Submitted batch job 17 on cluster lab`.
fn announced(line: &str) -> Option<JobId> {
    let (_, rest) = line.split_once("Submitted batch job ")?;
    let mut words = rest.split_whitespace();
    let number = words.next()?.trim_end_matches(['.', ',', '!']);
    let number: u64 = number.bytes().all(|byte| byte.is_ascii_digit()).then(|| number.parse().ok())??;
    let cluster = match (words.next(), words.next(), words.next()) {
        (Some("on"), Some("cluster"), Some(name)) => Some(name),
        _ => None,
    };
    Some(JobId::on(cluster, number))
}

/// The job as it is known here. Of several clusters only Slurm knows which took it.
fn on_one_of(clusters: &Clusters, job: JobId) -> Option<JobId> {
    match (clusters, job.cluster) {
        (Clusters::Ours, _) => Some(JobId { cluster: None, ..job }),
        (Clusters::One(name), None) => Some(JobId::on(Some(name), job.number)),
        (_, Some(cluster)) => Some(JobId { cluster: Some(cluster), ..job }),
        (Clusters::Several(_) | Clusters::All, None) => None,
    }
}

/// Was the controller not even reached, so that it cannot have taken anything?
pub fn is_not_reached(words: &str) -> bool {
    ["connect failure", "Connection refused"].iter().any(|text| words.contains(text))
}

/// A line of `squeue -o '%i|%T|%N|%P|%v|%k|%r'`: job and how it stands.
pub fn parse_queue(line: &str) -> Option<(String, Seen)> {
    let mut parts = line.splitn(6, '|');
    let mut next = || parts.next().map(str::trim);
    let (job, state, nodes, partition, reservation, rest) =
        (next()?, next()?, next()?, next()?, next()?, next()?);
    // A comment may hold the separator; a reason does where there is no comment.
    let (comment, reason) = match rest.strip_prefix("(null)|") {
        Some(reason) => ("", reason),
        None => rest.rsplit_once('|').unwrap_or((rest, "")),
    };
    let reservation = if reservation == "(null)" || reservation == "N/A" { "" } else { reservation };
    let tokens = tokens_in(comment);
    Some((job.to_owned(), Seen { tokens, ..seen(state, "", nodes, partition, reservation, reason) }))
}

fn seen(state: &str, exit: &str, nodes: &str, partition: &str, reservation: &str, reason: &str) -> Seen {
    Seen {
        state: state.split(' ').next().unwrap_or_default().to_owned(),
        reason: reason.to_owned(),
        nodes: nodes.to_owned(),
        partition: partition.to_owned(),
        reservation: reservation.to_owned(),
        tokens: Vec::new(),
        end: end_of(state, exit, reason, reservation),
    }
}

/// How a job ended, from Slurm's state (squeue(1), "JOB STATE CODES"; `CANCELLED by UID` in sacct).
fn end_of(state: &str, exit: &str, reason: &str, reservation: &str) -> Option<JobEnd> {
    let (word, rest) = state.split_once(' ').unwrap_or((state, ""));
    let code =
        exit.split_once(':').and_then(|(code, signal)| Some((code.parse().ok()?, signal.parse().ok()?)));
    let gone = || {
        let from_reason = reason.strip_prefix("Reservation ").and_then(|text| text.split(' ').next());
        let name = from_reason.filter(|name| !name.is_empty()).unwrap_or(reservation);
        JobEnd::ReservationGone { reservation: name.to_owned() }
    };
    let not_started = JobEnd::Failed { code: (0, 53), launch: true };
    Some(match states::meaning(word) {
        Meaning::Over(Ended::Completed) => JobEnd::Completed,
        // Without the code only the reason is left, which is the same for some scripts that were killed.
        Meaning::Over(Ended::Failed) => JobEnd::Failed {
            code: code.unwrap_or((1, 0)),
            launch: match code {
                Some(code) => code == (0, 53),
                None => reason.starts_with("JobLaunchFailure") || reason.starts_with("RaisedSignal:53"),
            },
        },
        Meaning::Over(Ended::NotStarted) => not_started,
        Meaning::Over(Ended::TimeLimit) => JobEnd::TimeLimit,
        Meaning::Over(Ended::OutOfMemory) => JobEnd::OutOfMemory,
        Meaning::Over(Ended::Preempted) => JobEnd::Preempted,
        Meaning::Over(Ended::NodeFailed) => JobEnd::NodeFailed,
        Meaning::Over(Ended::Cancelled) => {
            JobEnd::Cancelled { by: rest.strip_prefix("by ").and_then(|uid| uid.parse().ok()).map(user_name) }
        }
        Meaning::Over(Ended::ReservationGone) => gone(),
        // Nobody starts it again.
        _ if reason.starts_with("launch failed requeued held") => not_started,
        Meaning::Over(Ended::Otherwise) => JobEnd::Other(word.to_owned()),
        // Some versions let it wait without a state of its own.
        Meaning::Waits | Meaning::Held if reasons::is_reservation_gone(reason) => gone(),
        Meaning::Waits | Meaning::Held | Meaning::Runs | Meaning::Suspended | Meaning::Unknown => {
            return None;
        }
    })
}

fn user_name(uid: u32) -> String {
    let user = nix::unistd::User::from_uid(uid.into()).ok().flatten();
    user.map_or_else(|| format!("user {uid}"), |user| user.name)
}

/// What accounting is asked for. The command line comes last: it may hold the separator.
pub const ACCOUNTED: [&str; 8] =
    ["JobID", "State", "ExitCode", "NodeList", "Partition", "Reservation", "Reason", "SubmitLine"];

/// A line of `sacct -P -o FIELDS`. A field that is not among them is one that this version of Slurm does not have.
pub fn parse_accounting(line: &str, fields: &[&str]) -> Option<(String, Seen)> {
    let parts: Vec<&str> = line.splitn(fields.len(), '|').map(str::trim).collect();
    if parts.len() < fields.len() {
        return None;
    }
    let value = |name: &str| fields.iter().position(|field| *field == name).map_or("", |at| parts[at]);
    let nodes = Some(value("NodeList")).filter(|nodes| *nodes != "None assigned").unwrap_or_default();
    let seen = seen(
        value("State"),
        value("ExitCode"),
        nodes,
        value("Partition"),
        value("Reservation"),
        value("Reason"),
    );
    let tokens = tokens_in(value("SubmitLine"));
    Some((value("JobID").to_owned(), Seen { tokens, ..seen }))
}

/// The field that this version of sacct does not have, if that is what it says.
pub fn unknown_field(words: &str) -> Option<&str> {
    let (_, rest) = words.split_once("Invalid field requested: \"")?;
    Some(rest.split_once('"')?.0)
}

/// A line of `scontrol -o show job NUMBER`: how the controller itself says that a job stands.
pub fn parse_shown(line: &str) -> Option<(String, Seen)> {
    let line = format!(" {line}");
    let value = |name: &str| {
        let (_, rest) = line.split_once(&format!(" {name}="))?;
        Some(rest.split(' ').next().unwrap_or_default().to_owned())
    };
    let none = |text: String| if text == "(null)" { String::new() } else { text };
    let state = value("JobState")?;
    let (nodes, partition) =
        (none(value("NodeList").unwrap_or_default()), value("Partition").unwrap_or_default());
    let (reservation, exit) =
        (none(value("Reservation").unwrap_or_default()), value("ExitCode").unwrap_or_default());
    let seen = seen(&state, &exit, &nodes, &partition, &reservation, &value("Reason").unwrap_or_default());
    let tokens = line.split_once(" Comment=").map(|(_, rest)| tokens_in(rest)).unwrap_or_default();
    Some((value("JobId")?, Seen { tokens, ..seen }))
}

/// How a job ended, from what Slurm itself writes into its log: `*** JOB 17 ON n1 CANCELLED AT 2026-11-28T14:00:00 DUE TO TIME
/// LIMIT ***`. The last word counts: a job that was requeued has several.
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

/// A line of `squeue -O 'JobArrayID:|,exit_code:|'`: job, exit code and signal. squeue prints the status as wait(2) gives it
/// (22.05), or both with a colon (26.05).
pub fn parse_exit_code(line: &str) -> Option<(String, (i32, i32))> {
    let (job, status) = line.trim().trim_end_matches('|').split_once('|')?;
    let code = match status.trim().split_once(':') {
        Some((code, signal)) => (code.parse().ok()?, signal.parse().ok()?),
        None => {
            let status: i32 = status.trim().parse().ok()?;
            let signal = status & 0x7f;
            (if signal == 0 { (status >> 8) & 0xff } else { 0 }, signal)
        }
    };
    Some((job.trim().to_owned(), code))
}

/// Does this say that a command did not even begin? So a shell says it (126, 127), or the loader of its libraries.
pub fn did_not_start(code: i32, words: &str) -> bool {
    let loader = [
        "error while loading shared libraries",
        "symbol lookup error",
        "cannot execute binary file",
        "Exec format error",
        "bad interpreter",
    ];
    matches!(code, 126 | 127)
        || (code != 0
            && (loader.iter().any(|text| words.contains(text))
                || words.lines().any(|line| line.contains("version `") && line.contains("not found"))))
}

/// Does the controller not know a job of this number (any more)?
pub fn is_unknown_job(words: &str) -> bool {
    words.contains("Invalid job id")
}

#[cfg(test)]
pub mod tests {
    use std::{fs, path::PathBuf};

    use super::*;
    use proptest::prelude::*;

    pub fn recorded(file: &str) -> Vec<(String, String)> {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../slurm-tests/recorded");
        ["22.05", "24.11", "26.05"]
            .iter()
            .map(|version| {
                let path = folder.join(format!("{version}-compose")).join(file);
                let text =
                    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                ((*version).to_owned(), text)
            })
            .collect()
    }

    /// The names in a list of Slurm's manual.
    pub fn manual(file: &str) -> Vec<String> {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../slurm-tests/manual").join(file);
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_controller_that_was_not_reached_has_taken_nothing() {
        assert!(is_not_reached("Unable to contact slurm controller (connect failure)"));
        assert!(!is_not_reached("Socket timed out on send/recv operation"));
    }

    #[test]
    fn jobs_of_the_accounting_end_as_their_states_say() {
        for (version, text) in recorded("sacct.txt") {
            let mut ends = Vec::new();
            for line in text.lines().filter(|line| !line.starts_with('#') && line.contains('|')) {
                let fields: Vec<&str> = line.split('|').collect();
                // One job was given a name with the separator in it; we do not ask for names.
                if fields.len() != 15 {
                    continue;
                }
                let (state, exit, reason) = (fields[4], fields[5], fields[13]);
                let end = end_of(state, exit, reason, fields[7]);
                let word = state.split(' ').next().unwrap();
                match word {
                    "PENDING" | "RUNNING" | "REQUEUED" => assert_eq!(end, None, "{version}: {line}"),
                    _ => assert!(end.is_some(), "{version}: {line}"),
                }
                ends.extend(end);
            }
            assert!(ends.contains(&JobEnd::Completed), "{version}");
            assert!(ends.contains(&JobEnd::TimeLimit), "{version}");
            assert!(ends.iter().any(|end| matches!(end, JobEnd::Cancelled { by: Some(_) })), "{version}");
        }
    }

    #[test]
    fn a_command_that_did_not_begin_is_told_from_one_that_says_no() {
        let lost =
            "sbatch: error while loading shared libraries: libslurmfull.so: cannot open shared object file";
        assert!(did_not_start(127, lost) && did_not_start(1, lost) && did_not_start(126, ""));
        assert!(did_not_start(
            1,
            "sbatch: /lib/libc.so.6: version `GLIBC_2.38' not found (required by sbatch)"
        ));
        assert!(!did_not_start(1, "sbatch: error: Batch job submission failed: Invalid qos specification"));
        assert!(!did_not_start(0, lost) && !did_not_start(255, "sbatch: unrecognized option '--x'"));
    }

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
            parse_accounting(&line, &ACCOUNTED).unwrap().1
        };
        assert!(kept("amore:b-1").is_of_another("a-1") && !kept("amore:a-1").is_of_another("a-1"));
        // A site may write comments of its own.
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
    fn a_reason_may_hold_anything() {
        let line = "7|PENDING||main|(null)|(null)|Nodes required for job are DOWN, DRAINED | or (odd)";
        let (job, seen) = parse_queue(line).unwrap();
        assert_eq!((job.as_str(), seen.waits()), ("7", true));
        assert!(seen.reason.ends_with("| or (odd)"));
    }

    #[test]
    fn a_script_that_was_killed_is_no_launch_failure() {
        let line = "29|FAILED|0:9|n1|main||JobLaunchFailure|sbatch";
        let (_, seen) = parse_accounting(line, &ACCOUNTED).unwrap();
        assert_eq!(seen.end, Some(JobEnd::Failed { code: (0, 9), launch: false }));
        let line = "30|FAILED|0:53|n1|main||None|sbatch";
        assert_eq!(
            parse_accounting(line, &ACCOUNTED).unwrap().1.end,
            Some(JobEnd::Failed { code: (0, 53), launch: true })
        );
    }

    #[test]
    fn exit_codes_are_those_of_wait() {
        for (line, job, code) in [
            ("4|0|", "4", (0, 0)),
            ("1|10752|", "1", (42, 0)),
            ("2|9|", "2", (0, 9)),
            // As scontrol shows it: 0:53.
            ("3|4021|", "3", (0, 53)),
            ("12_7|256|", "12_7", (1, 0)),
            ("159|42:0|", "159", (42, 0)),
            ("161|0:53|", "161", (0, 53)),
        ] {
            assert_eq!(parse_exit_code(line), Some((job.to_owned(), code)), "{line}");
        }
        for line in ["", "|", "4", "4|N/A|"] {
            assert_eq!(parse_exit_code(line), None, "{line}");
        }
    }

    #[test]
    fn a_job_is_of_the_cluster_that_took_it() {
        let lab = Clusters::of(Some("lab"));
        let two = Clusters::of(Some("lab,maxwell"));
        let said = |cluster: Option<&str>| Number::Said(JobId::on(cluster, 17));
        for (answer, clusters, found) in [
            ("17", &Clusters::Ours, said(None)),
            // A federation says it unasked.
            ("17;lab", &Clusters::Ours, said(None)),
            ("17;lab", &lab, said(Some("lab"))),
            ("17", &lab, said(Some("lab"))),
            ("17;maxwell", &two, said(Some("maxwell"))),
            // It is looked up by its token.
            ("17", &two, Number::Unclear),
            ("", &lab, Number::Unclear),
            ("Submitted batch job 17", &Clusters::Ours, said(None)),
            ("Submitted batch job 17 on cluster maxwell\n", &two, said(Some("maxwell"))),
        ] {
            assert_eq!(parse_submitted(answer, "", clusters), found, "{answer:?} {clusters:?}");
        }
    }

    #[test]
    fn a_number_is_told_from_what_a_site_prints_around_it() {
        let of = |answer: &str| parse_submitted(answer, "", &Clusters::Ours);
        let (said, likely) = (Number::Said(JobId::on(None, 4201)), Number::Likely(JobId::on(None, 4201)));
        assert_eq!(of("\n  Hello at the machine of 2031\n--> queue ... OK\n4201\n"), likely);
        assert_eq!(of("4201\nYou have 17.5 hours left\n"), likely);
        assert_eq!(of("4201;lab\r\n17 nodes are down\r\n"), likely);
        assert_eq!(of("\u{1b}[1m4201\u{1b}[0m\n"), said);
        assert_eq!(of("\u{1b}[32mSubmitted batch job 4201\u{1b}[0m, 17 are before it\n2031\n"), said);
        assert_eq!(parse_submitted("", "sbatch: Submitted batch job 4201", &Clusters::Ours), said);
        for unclear in ["2031\n4201\n", "job 4201 of 17", "4201@lab", "17.5", "Submitted batch job\n", ""] {
            assert_eq!(of(unclear), Number::Unclear, "{unclear:?}");
        }
    }

    #[test]
    fn a_token_is_a_word_of_a_comment() {
        for comment in [
            "amore:18a-1-1",
            "amore:18a-1-1;wg=7",
            "amore:18a-1-1|wg=7",
            "wg=7|amore:18a-1-1",
            "wg=7 amore:18a-1-1 checked",
            "\"amore:18a-1-1\"",
            "'amore:18a-1-1',x",
            "amore:18a-1-1_wg7",
            "amore:18a-1-2 amore:18a-1-1",
        ] {
            let line = format!("12|RUNNING|n1|main|(null)|{comment}|None");
            let (_, seen) = parse_queue(&line).unwrap();
            assert!(seen.is_of("18a-1-1") && !seen.is_of_another("18a-1-1"), "{comment}");
            assert_eq!((seen.state.as_str(), seen.reason.as_str()), ("RUNNING", "None"), "{comment}");
        }
        for other in ["amore:18a-1-12", "amore:18a-1-1-2", "amore:18a-1", "wg=7;amore:18a-1-2;x"] {
            let (_, seen) = parse_queue(&format!("12|RUNNING|n1|main|(null)|{other}|None")).unwrap();
            assert!(!seen.is_of("18a-1-1") && seen.is_of_another("18a-1-1"), "{other}");
        }
        // What no Amore writes says nothing.
        for nothing in ["amore:18a-1-1-wg7", "notamore:18a-1-1", "amore:", "amore", "amore:18a--1", "amore:x"]
        {
            assert_eq!(tokens_in(nothing), Vec::<String>::new(), "{nothing}");
        }
        // A comment with a line break in it: what follows is no job.
        assert!(parse_queue("12|RUNNING|n1|main|(null)|amore:18a-1-1").unwrap().1.is_of("18a-1-1"));
    }

    #[test]
    fn a_field_that_sacct_does_not_know_is_named() {
        for words in [
            "fatal: Invalid field requested: \"SubmitLine\"",
            "Invalid field requested: \"SubmitLine\"; more",
        ] {
            assert_eq!(unknown_field(words), Some("SubmitLine"));
        }
        assert_eq!(unknown_field("Slurm accounting storage is disabled"), None);
        let fields: Vec<&str> = ACCOUNTED.iter().copied().filter(|name| *name != "SubmitLine").collect();
        let (job, seen) = parse_accounting("17|CANCELLED by 0|0:0|n1|main||None", &fields).unwrap();
        assert_eq!((job.as_str(), seen.end), ("17", Some(JobEnd::Cancelled { by: Some("root".to_owned()) })));
        assert_eq!(seen.tokens, Vec::<String>::new());
    }

    #[test]
    fn the_controller_says_how_one_job_stands() {
        for (version, text) in recorded("scontrol-show-job.txt") {
            let shown: Vec<(String, Seen)> = text.lines().filter_map(parse_shown).collect();
            assert!(shown.len() > 5, "{version}");
            assert!(
                shown.iter().any(|(_, seen)| seen.state == "RUNNING" && !seen.nodes.is_empty()),
                "{version}"
            );
            assert!(shown.iter().any(|(_, seen)| seen.waits() && seen.nodes.is_empty()), "{version}");
            assert!(shown.iter().all(|(job, _)| job.parse::<u64>().is_ok()), "{version}");
        }
        let line = "JobId=7 JobName=x JobState=CANCELLED Reason=None ExitCode=0:15 Partition=main NodeList=n1 Comment=wg=7 amore:a-1 WorkDir=/";
        let (_, seen) = parse_shown(line).unwrap();
        assert_eq!((seen.is_of("a-1"), seen.end), (true, Some(JobEnd::Cancelled { by: None })));
    }

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

    #[test]
    fn what_to_do_names_the_cluster() {
        let (_, seen) = parse_queue("12|PENDING||main|(null)|amore:1|PartitionTimeLimit").unwrap();
        let advice = seen.advice(&JobId::on(Some("lab"), 12)).unwrap().hint;
        assert!(advice.contains("`scontrol -M lab update JobId=12 TimeLimit"), "{advice}");
        let (_, held) = parse_queue("12|PENDING||main|(null)|amore:1|JobHeldAdmin").unwrap();
        assert!(held.advice(&JobId::on(Some("lab"), 12)).unwrap().hint.contains("amore cancel 12@lab"));
    }

    proptest! {
        #[test]
        fn no_line_is_too_odd(line in "\\PC{0,80}") {
            let _ = (parse_queue(&line), parse_accounting(&line, &ACCOUNTED), parse_shown(&line), end_in_log(&line));
            let _ = (parse_exit_code(&line), words_of(&line), tokens_in(&line));
            let _ = parse_submitted(&line, &line, &Clusters::Ours);
        }
    }
}
