//! Why Slurm did not accept a job, and what the user can do: looked up by its messages in [`TABLE`], which a site can extend.

use std::{collections::BTreeMap, sync::LazyLock};

use serde::Deserialize;

use crate::{printed::bare, reasons};

/// What Slurm's own messages mean.
const TABLE: &str = include_str!("refusals.toml");

/// Why Slurm did not accept a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The messages of Slurm and of the site.
    pub words: String,
    /// What kind of refusal it is.
    pub kind: RefusalKind,
    /// What the user can do.
    pub hint: String,
}

/// What kind of refusal it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalKind {
    /// Because of the reservation: the job may be accepted without it.
    Reservation,
    /// Because of a limit on jobs in the queue: it may be accepted later.
    Limit,
    /// Because of a temporary shortage, in Slurm or on this machine.
    Passes,
    /// It is not known whether the refusal is permanent: the job is submitted again a few times.
    Unknown,
    /// Because of a rule of the site, or something that it does not have.
    Rule,
    /// Nothing was refused: the command did not start.
    NotExecuted,
}

/// What an output of sbatch means that does not announce a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SbatchFailure {
    /// The outcome is unknown: the job may have been accepted.
    Unknown {
        /// Slurm's messages.
        words: String,
    },
    /// The job was not accepted.
    Refused(Refused),
}

/// What a message means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Means {
    Silence,
    Passes,
    Limit,
    Reservation,
    Rule,
}

/// What a site may say about its own messages. Only Slurm itself can say whether a job was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SiteMeans {
    /// Temporary.
    Passes,
    /// Until other jobs have ended.
    Limit,
    /// Permanent.
    Rule,
}

impl SiteMeans {
    /// Parses the word in the site's file.
    pub fn of(word: &str) -> Option<Self> {
        Some(match word {
            "passes" => SiteMeans::Passes,
            "limit" => SiteMeans::Limit,
            "rule" => SiteMeans::Rule,
            _ => return None,
        })
    }
}

/// One of the site's own messages, from its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiteRefusal {
    /// Text that one of the lines contains.
    pub text: String,
    /// What it means.
    pub means: SiteMeans,
    /// What the user can do.
    pub hint: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    hints: BTreeMap<String, String>,
    refusal: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    text: Vec<String>,
    means: Means,
    hint: Option<String>,
}

impl Table {
    fn built_in() -> &'static Self {
        #[expect(clippy::expect_used, reason = "the table is part of the program, and read by a test")]
        static TABLE_READ: LazyLock<Table> =
            LazyLock::new(|| toml::from_str(TABLE).expect("refusals.toml can be read"));
        &TABLE_READ
    }

    /// What one of Slurm's messages means, and the key of its hint.
    fn find(&self, message: &str) -> Option<(Means, Option<&str>)> {
        let entry = self.refusal.iter().find(|entry| {
            entry.text.iter().any(|text| {
                message.len() >= text.len()
                    && message.is_char_boundary(text.len())
                    && message[..text.len()].eq_ignore_ascii_case(text)
            })
        })?;
        Some((entry.means, entry.hint.as_deref()))
    }

    fn hint(&self, key: &str) -> String {
        self.hints.get(key).cloned().unwrap_or_default()
    }
}

const LATER: &str = "Amore submits it again in a while";
const AFTER_OTHERS: &str = "Amore submits it again when other jobs of yours have ended";
/// The prefix of Slurm's own message.
pub const CODE: &str = "Batch job submission failed: ";

impl Refused {
    /// A temporary refusal.
    pub fn temporary(words: String) -> Self {
        Refused { words, kind: RefusalKind::Passes, hint: "Amore tries again".to_owned() }
    }

    /// The command could not be started.
    pub fn not_executed(words: String) -> Self {
        Refused {
            words,
            kind: RefusalKind::NotExecuted,
            hint: "if it works in your shell, it needs an environment variable that Amore does not pass on: export \
                   AMORE_SLURM_ENVIRONMENT=NAME, or set environment = [\"NAME\"] in the site's file; `amore doctor` looks for it"
                .to_owned(),
        }
    }

    /// Whether it is about what nodes have, or about the amount of memory.
    pub fn is_about_resources(&self) -> bool {
        self.words.contains("node configuration")
            || self.words.contains("emory")
            || self.words.contains("Mem")
            || self.hint == Table::built_in().hint("resources")
    }

    /// A problem on our side, found before sbatch was run.
    pub fn invalid_script(words: String) -> Self {
        Refused { words, kind: RefusalKind::Rule, hint: Table::built_in().hint("script") }
    }
}

/// Interprets what sbatch printed on standard error. `reservation`: the job requested one.
pub fn read(text: &str, reservation: bool, site: &[SiteRefusal]) -> SbatchFailure {
    let table = Table::built_in();
    let lines: Vec<&str> = text.lines().map(bare).filter(|line| !line.is_empty()).collect();
    let code = lines.iter().rev().find_map(|line| line.strip_prefix(CODE));
    let words: Vec<&str> = lines.iter().map(|line| line.strip_prefix(CODE).unwrap_or(line)).collect();
    let words = words.join("; ");
    let refused = |kind, hint: String| SbatchFailure::Refused(Refused { words: words.clone(), kind, hint });
    // The site knows its own messages.
    for SiteRefusal { text, means, hint } in site {
        if words.contains(text.as_str()) {
            let (kind, otherwise) = match means {
                SiteMeans::Passes => (RefusalKind::Passes, LATER.to_owned()),
                SiteMeans::Limit => (RefusalKind::Limit, AFTER_OTHERS.to_owned()),
                SiteMeans::Rule => (RefusalKind::Rule, table.hint("site")),
            };
            return refused(kind, hint.clone().unwrap_or(otherwise));
        }
    }
    // Lines before the code are Slurm's if they are the name of a limit, or if the table has them for a rule that the code
    // only states in general; all others are the site's, and decide nothing.
    let before: Vec<&str> = match code {
        Some(_) => lines.iter().copied().filter(|line| !line.starts_with(CODE)).collect(),
        None => Vec::new(),
    };
    let found = match code {
        Some(code) => table.find(code),
        None => lines.iter().rev().find_map(|line| table.find(line)),
    };
    if code.is_none() && words.contains("can't be reached now") && !words.contains("known by database") {
        // Naming a cluster requires slurmdbd, which knows its address.
        return SbatchFailure::Unknown { words };
    }
    let (means, hint) = match found {
        Some(found) => found,
        // Slurm's message says nothing; if the site printed something, it has a rule.
        None if code.is_some_and(|code| code.starts_with("Unspecified error"))
            && before.iter().any(|line| !is_about_retries(line)) =>
        {
            return refused(RefusalKind::Rule, table.hint("site"));
        }
        None => {
            let hint = "Amore does not know this message; the site's file can say what it means (docs/slurm.md, Refusals)";
            return refused(RefusalKind::Unknown, hint.to_owned());
        }
    };
    match means {
        Means::Silence => SbatchFailure::Unknown { words },
        Means::Passes => refused(RefusalKind::Passes, LATER.to_owned()),
        Means::Limit => refused(RefusalKind::Limit, AFTER_OTHERS.to_owned()),
        Means::Reservation => refused(RefusalKind::Reservation, table.hint("reservation")),
        Means::Rule if hint == Some("limits") => {
            let named = before.iter().find(|line| is_limit(line));
            match named {
                Some(name) if name.contains("Submit") => refused(RefusalKind::Limit, AFTER_OTHERS.to_owned()),
                Some(name) if reasons::is_time_limit(name) => refused(RefusalKind::Rule, table.hint("time")),
                Some(_) => refused(RefusalKind::Rule, table.hint("limits")),
                None if before.iter().any(|line| !is_about_retries(line)) => {
                    refused(RefusalKind::Rule, table.hint("policy"))
                }
                // The general text covers both the number of submissions and the size of jobs; without a name either is possible.
                None => refused(RefusalKind::Unknown, table.hint("policy")),
            }
        }
        // This text is used for a reservation in its last seconds, and for nodes that it does not have.
        Means::Rule
            if reservation
                && code.is_some_and(|code| {
                    code.starts_with("Requested node configuration is not available")
                })
                && !words.contains("can not be satisfied") =>
        {
            refused(RefusalKind::Reservation, table.hint("reservation"))
        }
        Means::Rule => {
            let more = hint.map(|key| table.hint(key)).unwrap_or_default();
            let site_says = before.iter().any(|line| !is_about_retries(line) && table.find(line).is_none());
            // The site's own lines may describe the problem better.
            if site_says && hint != Some("site") && hint != Some("resources") {
                refused(RefusalKind::Rule, format!("{}; {more}", table.hint("site")))
            } else {
                refused(RefusalKind::Rule, more)
            }
        }
    }
}

/// Whether the line is the name of a limit, like `QOSMaxWallDurationPerJobLimit` or `QOSMinNode`.
fn is_limit(line: &str) -> bool {
    let one_word = line.chars().all(|c| c.is_ascii_alphanumeric());
    one_word
        && (line.starts_with("QOS")
            || line.starts_with("Assoc")
            || (line.starts_with("Max") && line.ends_with("PerAccount")))
}

/// Whether the line is about sbatch's own retries before it gave up.
fn is_about_retries(line: &str) -> bool {
    line.contains("sleeping and retrying")
        || line.contains("disabled, retrying")
        || line.starts_with("slurm_")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recorded::recorded;

    const POLICY: &str = "sbatch: error: Batch job submission failed: Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)";

    fn of(text: &str, reservation: bool) -> Refused {
        match read(text, reservation, &[]) {
            SbatchFailure::Refused(refused) => refused,
            SbatchFailure::Unknown { words } => panic!("silence: {words}"),
        }
    }

    fn code(words: &str) -> String {
        format!("sbatch: error: Batch job submission failed: {words}")
    }

    /// What sbatch printed on standard error, in each version.
    fn refusals(name: &str) -> Vec<String> {
        let texts = recorded(&format!("sbatch/{name}.txt"));
        texts.iter().map(|(_, text)| text.split_once("# stderr\n").unwrap().1.to_owned()).collect()
    }

    #[test]
    fn recorded_refusals_are_about_what_they_are_about_in_each_version() {
        for (name, reservation, kind, hint) in [
            ("reservation-unknown", true, RefusalKind::Reservation, "slurm_reservation"),
            ("reservation-not-permitted", true, RefusalKind::Reservation, "slurm_reservation"),
            ("reservation-too-small", true, RefusalKind::Reservation, "slurm_reservation"),
            ("limit-of-submitted-jobs", false, RefusalKind::Limit, "when other jobs of yours have ended"),
            ("qos-limit", false, RefusalKind::Limit, "when other jobs of yours have ended"),
            ("partition-unknown", false, RefusalKind::Rule, "slurm_partition"),
            ("partition-of-a-group", false, RefusalKind::Rule, "slurm_partition"),
            ("account-unknown", false, RefusalKind::Rule, "slurm_account"),
            ("account-of-others", false, RefusalKind::Rule, "slurm_account"),
            ("qos-unknown", false, RefusalKind::Rule, "slurm_qos"),
            ("qos-not-permitted", false, RefusalKind::Rule, "slurm_qos"),
            ("memory-too-much", false, RefusalKind::Rule, "noncluster_mem"),
            ("gres-unknown", false, RefusalKind::Rule, "gpus"),
            ("feature-unknown", false, RefusalKind::Rule, "constraint"),
            ("node-unknown", false, RefusalKind::Rule, "sinfo"),
            ("option-unknown", false, RefusalKind::Rule, "template"),
            ("script-empty", false, RefusalKind::Rule, "template"),
            ("script-without-interpreter", false, RefusalKind::Rule, "template"),
            ("script-crlf", false, RefusalKind::Rule, "template"),
            ("time-malformed", false, RefusalKind::Rule, "slurm_time"),
        ] {
            // A newer version may accept what an older one refuses.
            for text in refusals(name).into_iter().filter(|text| !text.trim().is_empty()) {
                let refused = of(&text, reservation);
                assert_eq!(refused.kind, kind, "{name}: {text}");
                assert!(refused.hint.contains(hint), "{name}: {} of {text}", refused.hint);
                assert!(!refused.words.contains("sbatch: error"), "{text}");
            }
        }
    }

    #[test]
    fn what_leaves_open_whether_a_job_was_taken_is_silence() {
        for words in [
            "Unable to contact slurm controller (connect failure)",
            "Unable to contact slurm controller (receive failure)",
            "Socket timed out on send/recv operation",
            "Zero Bytes were transmitted or received",
            "Message receive failure",
            "Protocol authentication error",
        ] {
            assert!(matches!(read(&code(words), false, &[]), SbatchFailure::Unknown { .. }), "{words}");
        }
        for text in [
            "sbatch: error: Munge encode failed: Failed to access \"/run/munge/munge.socket.2\"",
            "sbatch: error: 'lab2' can't be reached now, or it is an invalid entry for --cluster.",
            "sbatch: error: There is a problem talking to the database: Connection refused.  Only local cluster",
        ] {
            assert!(matches!(read(text, false, &[]), SbatchFailure::Unknown { .. }), "{text}");
        }
    }

    #[test]
    fn shortages_of_the_moment_pass() {
        for text in [
            code("Resource temporarily unavailable"),
            format!(
                "sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying\n{}",
                code("Resource temporarily unavailable")
            ),
            code("Unable to create job record, try again"),
            code("Required partition not available (inactive or drain)"),
            "sbatch: fatal: Unable to process configuration file".to_owned(),
            "sbatch: error: fetch_config: DNS SRV lookup failed\nsbatch: fatal: Could not establish a configuration source".to_owned(),
        ] {
            assert_eq!(of(&text, false).kind, RefusalKind::Passes, "{text}");
        }
        assert_eq!(of(&code("MaxJobCount limit reached"), false).kind, RefusalKind::Limit);
    }

    #[test]
    fn a_site_s_own_lines_decide_nothing() {
        for line in [
            "Jobs need an account here: add one and try again",
            "Resource temporarily unavailable for your project, MaxSubmitJobs",
            "please try again: Socket timed out",
        ] {
            let refused = of(&format!("sbatch: error: {line}\n{POLICY}"), false);
            assert_eq!(refused.kind, RefusalKind::Rule, "{line}");
            assert!(refused.words.contains(line), "{}", refused.words);
            assert!(
                refused.hint.contains("slurm_account") && !refused.hint.contains("cpus"),
                "{}",
                refused.hint
            );
            let other = format!("sbatch: error: {line}\n{}", code("Unspecified error"));
            assert_eq!(of(&other, false).kind, RefusalKind::Rule, "{line}");
            let passes = format!("sbatch: error: {line}\n{}", code("Resource temporarily unavailable"));
            assert_eq!(of(&passes, false).kind, RefusalKind::Passes, "{line}");
        }
        // Prefixes of a wrapper hide neither a rule nor a limit.
        for before in ["slurmtools: ", "2026-11-28 15:20:01 [gateway] "] {
            let rule = format!("{before}{}", code("Invalid qos specification"));
            let refused = of(&rule, false);
            assert_eq!(
                (refused.kind, refused.words.as_str()),
                (RefusalKind::Rule, "Invalid qos specification")
            );
            let limit = format!("{before}sbatch: error: QOSMaxSubmitJobPerUserLimit\n{before}{POLICY}");
            assert_eq!(of(&limit, false).kind, RefusalKind::Limit);
        }
        // A greeting does not hide a limit.
        let greeted = format!(
            "sbatch: error: Welcome to the cluster\nsbatch: error: QOSMaxSubmitJobPerUserLimit\n{POLICY}"
        );
        assert_eq!(of(&greeted, false).kind, RefusalKind::Limit);
    }

    #[test]
    fn limits_of_submissions_pass_and_others_do_not() {
        let named = |limit: &str| of(&format!("sbatch: error: {limit}\n{POLICY}"), false);
        for limit in [
            "QOSMaxSubmitJobPerUserLimit",
            "AssocMaxSubmitJobLimit",
            "QOSGrpSubmitJobsLimit",
            "MaxSubmitJobsPerAccount",
        ] {
            assert_eq!(named(limit).kind, RefusalKind::Limit, "{limit}");
        }
        for limit in [
            "QOSMaxCpuPerJobLimit",
            "AssocMaxNodePerJobLimit",
            "QOSMinNode",
            "QOSMinGRES",
            "MaxCpuPerAccount",
        ] {
            let refused = named(limit);
            assert_eq!(refused.kind, RefusalKind::Rule, "{limit}");
            assert!(refused.hint.contains("sacctmgr show qos"), "{limit}");
        }
        let wall = named("QOSMaxWallDurationPerJobLimit");
        assert!(wall.kind == RefusalKind::Rule && wall.hint.contains("slurm_time"));
        assert_eq!(of(POLICY, false).kind, RefusalKind::Unknown);
    }

    #[test]
    fn what_nobody_knows_is_tried_again_some_times() {
        assert_eq!(of(&code("The hamster is tired"), false).kind, RefusalKind::Unknown);
        assert_eq!(of(&code("Unspecified error"), false).kind, RefusalKind::Unknown);
        assert_eq!(of("", false).kind, RefusalKind::Unknown);
        assert_eq!(of("submission gateway: try later", false).kind, RefusalKind::Unknown);
    }

    #[test]
    fn a_site_says_what_its_messages_mean() {
        let site = [
            SiteRefusal {
                text: "maintenance window".to_owned(),
                means: SiteMeans::Passes,
                hint: Some("see the calendar".to_owned()),
            },
            SiteRefusal { text: "gateway: no".to_owned(), means: SiteMeans::Rule, hint: None },
        ];
        let read = |text: &str| match read(text, false, &site) {
            SbatchFailure::Refused(refused) => refused,
            SbatchFailure::Unknown { words } => panic!("{words}"),
        };
        let window =
            read(&format!("sbatch: error: a maintenance window until noon\n{}", code("Unspecified error")));
        assert_eq!((window.kind, window.hint.as_str()), (RefusalKind::Passes, "see the calendar"));
        assert_eq!(read("gateway: no\n").kind, RefusalKind::Rule);
    }

    #[test]
    fn a_cluster_that_there_is_not_is_refused() {
        let refused = of("sbatch: error: No cluster 'nosuch' known by database.\n", false);
        assert_eq!(refused.kind, RefusalKind::Rule);
        assert!(refused.hint.contains("db-config slurm_clusters"), "{}", refused.hint);
        let both = "sbatch: error: No cluster 'nosuch' known by database.\nsbatch: error: 'nosuch' can't be reached now, or it is an invalid entry";
        assert_eq!(of(both, false).kind, RefusalKind::Rule);
    }

    #[test]
    fn each_hint_is_there_and_each_text_stands_once() {
        let table = Table::built_in();
        let mut texts = Vec::new();
        for entry in &table.refusal {
            assert!(entry.hint.as_ref().is_none_or(|key| table.hints.contains_key(key)), "{:?}", entry.hint);
            texts.extend(entry.text.iter().map(|text| text.to_lowercase()));
        }
        let all = texts.len();
        texts.sort();
        texts.dedup();
        assert_eq!(texts.len(), all);
    }
}
