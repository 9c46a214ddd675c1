//! Why Slurm did not take a job, and what the user can do: from its words, by a table ([`TABLE`]) that a site can add to.

use std::{collections::BTreeMap, sync::LazyLock};

use serde::Deserialize;

use crate::{printed::bare, reasons};

/// What Slurm's own messages mean.
const TABLE: &str = include_str!("refusals.toml");

/// Why Slurm did not take a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Its words, the site's too.
    pub words: String,
    /// What they are about.
    pub about: About,
    /// What the user can do.
    pub hint: String,
}

/// What a refusal is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// The reservation: without it the job may be taken.
    Reservation,
    /// A limit on jobs in the queue: later it may be taken.
    Limit,
    /// A shortage of the moment, of Slurm's or on this side.
    Passes,
    /// It is not known whether it stays: tried again some times.
    Unknown,
    /// A rule of the site, or something that it does not have.
    Rule,
    /// Nobody has refused anything: the command did not start.
    NotExecuted,
}

/// What an answer of sbatch's means that is not a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// Nothing is known: the job may have been taken.
    Silence {
        /// Slurm's words.
        words: String,
    },
    /// It was not taken.
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

/// What a site may say of its own messages. Whether a job was taken is Slurm's to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SiteMeans {
    /// Over in a while.
    Passes,
    /// Until other jobs have ended.
    Limit,
    /// It stays so.
    Rule,
}

impl SiteMeans {
    /// From its word in the site's file.
    pub fn of(word: &str) -> Option<Self> {
        Some(match word {
            "passes" => SiteMeans::Passes,
            "limit" => SiteMeans::Limit,
            "rule" => SiteMeans::Rule,
            _ => return None,
        })
    }
}

/// A message of the site's own, from its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiteRefusal {
    /// A part of one of the lines.
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

    /// What a message of Slurm's means, and the key of its hint.
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

const LATER: &str = "it is submitted again in a while";
const AFTER_OTHERS: &str = "the job is submitted again when others of yours have ended";
/// Before what Slurm itself says.
pub const CODE: &str = "Batch job submission failed: ";

impl Refused {
    /// A refusal that may be over soon.
    pub fn for_now(words: String) -> Self {
        Refused { words, about: About::Passes, hint: "it is tried again".to_owned() }
    }

    /// The command could not be executed.
    pub fn not_executed(words: String) -> Self {
        Refused {
            words,
            about: About::NotExecuted,
            hint: "if it works in your shell, it needs a variable of it that Slurm's commands are not given: export \
                   AMORE_SLURM_ENVIRONMENT=NAME, or environment = [\"NAME\"] in the site's file; `amore doctor` looks for it"
                .to_owned(),
        }
    }

    /// Is it about what nodes have, or about how much memory may be asked for?
    pub fn is_about_resources(&self) -> bool {
        self.words.contains("node configuration")
            || self.words.contains("emory")
            || self.words.contains("Mem")
            || self.hint == Table::built_in().hint("resources")
    }

    /// Something of ours that sbatch was not even asked about.
    pub fn of_ours(words: String) -> Self {
        Refused { words, about: About::Rule, hint: Table::built_in().hint("script") }
    }
}

/// Reads what sbatch said on standard error. `reservation`: the job asked for one.
pub fn read(text: &str, reservation: bool, site: &[SiteRefusal]) -> Reading {
    let table = Table::built_in();
    let lines: Vec<&str> = text.lines().map(bare).filter(|line| !line.is_empty()).collect();
    let code = lines.iter().rev().find_map(|line| line.strip_prefix(CODE));
    let words: Vec<&str> = lines.iter().map(|line| line.strip_prefix(CODE).unwrap_or(line)).collect();
    let words = words.join("; ");
    let refused = |about, hint: String| Reading::Refused(Refused { words: words.clone(), about, hint });
    // The site knows its own messages.
    for SiteRefusal { text, means, hint } in site {
        if words.contains(text.as_str()) {
            let (about, otherwise) = match means {
                SiteMeans::Passes => (About::Passes, LATER.to_owned()),
                SiteMeans::Limit => (About::Limit, AFTER_OTHERS.to_owned()),
                SiteMeans::Rule => (About::Rule, table.hint("site")),
            };
            return refused(about, hint.clone().unwrap_or(otherwise));
        }
    }
    // Lines before the code are Slurm's where they are the name of a limit, or stand in the table for a rule that the code
    // only knows in general; anything else is the site's, and decides nothing.
    let before: Vec<&str> = match code {
        Some(_) => lines.iter().copied().filter(|line| !line.starts_with(CODE)).collect(),
        None => Vec::new(),
    };
    let found = match code {
        Some(code) => table.find(code),
        None => lines.iter().rev().find_map(|line| table.find(line)),
    };
    if code.is_none() && words.contains("can't be reached now") && !words.contains("known by database") {
        // Who names a cluster needs slurmdbd for its address.
        return Reading::Silence { words };
    }
    let (means, hint) = match found {
        Some(found) => found,
        // Slurm says nothing by it; a site that says something has a rule.
        None if code.is_some_and(|code| code.starts_with("Unspecified error"))
            && before.iter().any(|line| !is_gossip(line)) =>
        {
            return refused(About::Rule, table.hint("site"));
        }
        None => {
            let hint = "Amore does not know these words; a site's file can say what they mean (docs/slurm.md, Refusals)";
            return refused(About::Unknown, hint.to_owned());
        }
    };
    match means {
        Means::Silence => Reading::Silence { words },
        Means::Passes => refused(About::Passes, LATER.to_owned()),
        Means::Limit => refused(About::Limit, AFTER_OTHERS.to_owned()),
        Means::Reservation => refused(About::Reservation, table.hint("reservation")),
        Means::Rule if hint == Some("limits") => {
            let named = before.iter().find(|line| is_limit(line));
            match named {
                Some(name) if name.contains("Submit") => refused(About::Limit, AFTER_OTHERS.to_owned()),
                Some(name) if reasons::is_time_limit(name) => refused(About::Rule, table.hint("time")),
                Some(_) => refused(About::Rule, table.hint("limits")),
                None if before.iter().any(|line| !is_gossip(line)) => {
                    refused(About::Rule, table.hint("policy"))
                }
                // The general text speaks of submissions and of sizes; without a name it is not known which it is.
                None => refused(About::Unknown, table.hint("policy")),
            }
        }
        // The text for a reservation in its last seconds, and for nodes that it does not have.
        Means::Rule
            if reservation
                && code.is_some_and(|code| {
                    code.starts_with("Requested node configuration is not available")
                })
                && !words.contains("can not be satisfied") =>
        {
            refused(About::Reservation, table.hint("reservation"))
        }
        Means::Rule => {
            let more = hint.map(|key| table.hint(key)).unwrap_or_default();
            let site_says = before.iter().any(|line| !is_gossip(line) && table.find(line).is_none());
            // What is wrong with the request the site's own lines may say better.
            if site_says && hint != Some("site") && hint != Some("resources") {
                refused(About::Rule, format!("{}; {more}", table.hint("site")))
            } else {
                refused(About::Rule, more)
            }
        }
    }
}

/// Is the line the name of a limit, like `QOSMaxWallDurationPerJobLimit` or `QOSMinNode`?
fn is_limit(line: &str) -> bool {
    let one_word = line.chars().all(|c| c.is_ascii_alphanumeric());
    one_word
        && (line.starts_with("QOS")
            || line.starts_with("Assoc")
            || (line.starts_with("Max") && line.ends_with("PerAccount")))
}

/// What sbatch says of its own attempts before it gives up.
fn is_gossip(line: &str) -> bool {
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
            Reading::Refused(refused) => refused,
            Reading::Silence { words } => panic!("silence: {words}"),
        }
    }

    fn code(words: &str) -> String {
        format!("sbatch: error: Batch job submission failed: {words}")
    }

    /// What sbatch said on standard error, in each version.
    fn refusals(name: &str) -> Vec<String> {
        let texts = recorded(&format!("sbatch/{name}.txt"));
        texts.iter().map(|(_, text)| text.split_once("# stderr\n").unwrap().1.to_owned()).collect()
    }

    #[test]
    fn recorded_refusals_are_about_what_they_are_about_in_each_version() {
        for (name, reservation, about, hint) in [
            ("reservation-unknown", true, About::Reservation, "slurm_reservation"),
            ("reservation-not-permitted", true, About::Reservation, "slurm_reservation"),
            ("reservation-too-small", true, About::Reservation, "slurm_reservation"),
            ("limit-of-submitted-jobs", false, About::Limit, "when others of yours have ended"),
            ("qos-limit", false, About::Limit, "when others of yours have ended"),
            ("partition-unknown", false, About::Rule, "slurm_partition"),
            ("partition-of-a-group", false, About::Rule, "slurm_partition"),
            ("account-unknown", false, About::Rule, "slurm_account"),
            ("account-of-others", false, About::Rule, "slurm_account"),
            ("qos-unknown", false, About::Rule, "slurm_qos"),
            ("qos-not-permitted", false, About::Rule, "slurm_qos"),
            ("memory-too-much", false, About::Rule, "noncluster_mem"),
            ("gres-unknown", false, About::Rule, "gpus"),
            ("feature-unknown", false, About::Rule, "constraint"),
            ("node-unknown", false, About::Rule, "sinfo"),
            ("option-unknown", false, About::Rule, "template"),
            ("script-empty", false, About::Rule, "template"),
            ("script-without-interpreter", false, About::Rule, "template"),
            ("script-crlf", false, About::Rule, "template"),
            ("time-malformed", false, About::Rule, "slurm_time"),
        ] {
            // What one version refuses another may take.
            for text in refusals(name).into_iter().filter(|text| !text.trim().is_empty()) {
                let refused = of(&text, reservation);
                assert_eq!(refused.about, about, "{name}: {text}");
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
            assert!(matches!(read(&code(words), false, &[]), Reading::Silence { .. }), "{words}");
        }
        for text in [
            "sbatch: error: Munge encode failed: Failed to access \"/run/munge/munge.socket.2\"",
            "sbatch: error: 'lab2' can't be reached now, or it is an invalid entry for --cluster.",
            "sbatch: error: There is a problem talking to the database: Connection refused.  Only local cluster",
        ] {
            assert!(matches!(read(text, false, &[]), Reading::Silence { .. }), "{text}");
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
            assert_eq!(of(&text, false).about, About::Passes, "{text}");
        }
        assert_eq!(of(&code("MaxJobCount limit reached"), false).about, About::Limit);
    }

    #[test]
    fn a_site_s_own_lines_decide_nothing() {
        for line in [
            "Jobs need an account here: add one and try again",
            "Resource temporarily unavailable for your project, MaxSubmitJobs",
            "please try again: Socket timed out",
        ] {
            let refused = of(&format!("sbatch: error: {line}\n{POLICY}"), false);
            assert_eq!(refused.about, About::Rule, "{line}");
            assert!(refused.words.contains(line), "{}", refused.words);
            assert!(
                refused.hint.contains("slurm_account") && !refused.hint.contains("cpus"),
                "{}",
                refused.hint
            );
            let other = format!("sbatch: error: {line}\n{}", code("Unspecified error"));
            assert_eq!(of(&other, false).about, About::Rule, "{line}");
            let passes = format!("sbatch: error: {line}\n{}", code("Resource temporarily unavailable"));
            assert_eq!(of(&passes, false).about, About::Passes, "{line}");
        }
        // What a wrapper writes before each line hides neither a rule nor a limit.
        for before in ["slurmtools: ", "2026-11-28 15:20:01 [gateway] "] {
            let rule = format!("{before}{}", code("Invalid qos specification"));
            let refused = of(&rule, false);
            assert_eq!((refused.about, refused.words.as_str()), (About::Rule, "Invalid qos specification"));
            let limit = format!("{before}sbatch: error: QOSMaxSubmitJobPerUserLimit\n{before}{POLICY}");
            assert_eq!(of(&limit, false).about, About::Limit);
        }
        // A greeting hides no limit.
        let greeted = format!(
            "sbatch: error: Welcome to the cluster\nsbatch: error: QOSMaxSubmitJobPerUserLimit\n{POLICY}"
        );
        assert_eq!(of(&greeted, false).about, About::Limit);
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
            assert_eq!(named(limit).about, About::Limit, "{limit}");
        }
        for limit in [
            "QOSMaxCpuPerJobLimit",
            "AssocMaxNodePerJobLimit",
            "QOSMinNode",
            "QOSMinGRES",
            "MaxCpuPerAccount",
        ] {
            let refused = named(limit);
            assert_eq!(refused.about, About::Rule, "{limit}");
            assert!(refused.hint.contains("sacctmgr show qos"), "{limit}");
        }
        let wall = named("QOSMaxWallDurationPerJobLimit");
        assert!(wall.about == About::Rule && wall.hint.contains("slurm_time"));
        assert_eq!(of(POLICY, false).about, About::Unknown);
    }

    #[test]
    fn what_nobody_knows_is_tried_again_some_times() {
        assert_eq!(of(&code("The hamster is tired"), false).about, About::Unknown);
        assert_eq!(of(&code("Unspecified error"), false).about, About::Unknown);
        assert_eq!(of("", false).about, About::Unknown);
        assert_eq!(of("submission gateway: try later", false).about, About::Unknown);
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
            Reading::Refused(refused) => refused,
            Reading::Silence { words } => panic!("{words}"),
        };
        let window =
            read(&format!("sbatch: error: a maintenance window until noon\n{}", code("Unspecified error")));
        assert_eq!((window.about, window.hint.as_str()), (About::Passes, "see the calendar"));
        assert_eq!(read("gateway: no\n").about, About::Rule);
    }

    #[test]
    fn a_cluster_that_there_is_not_is_refused() {
        let refused = of("sbatch: error: No cluster 'nosuch' known by database.\n", false);
        assert_eq!(refused.about, About::Rule);
        assert!(refused.hint.contains("db-config slurm_clusters"), "{}", refused.hint);
        let both = "sbatch: error: No cluster 'nosuch' known by database.\nsbatch: error: 'nosuch' can't be reached now, or it is an invalid entry";
        assert_eq!(of(both, false).about, About::Rule);
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
