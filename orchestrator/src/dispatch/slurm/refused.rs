//! Why Slurm did not take a job, and what the user can do: from its words.

use super::answers::NO_CLUSTER;

/// Why Slurm did not take a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Slurm's words.
    pub words: String,
    /// What they are about.
    pub about: About,
}

/// What a refusal is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// The reservation: without it the job may be taken.
    Reservation,
    /// A limit on jobs in the queue: later it may be taken.
    Limit,
    /// Something on this side.
    ForNow,
    /// Anything else that stays as it is.
    Request,
}

impl Refused {
    /// A refusal that may be over soon.
    pub fn for_now(words: String) -> Self {
        Refused { words, about: About::ForNow }
    }

    /// From Slurm's words. `reservation`: the job asked for one.
    pub fn of(words: &str, reservation: bool) -> Self {
        let says = |text: &str| words.contains(text);
        let about = if says("Requested reservation is invalid")
            || says("Access denied to requested reservation")
            || says("Problem using reservation")
            // The text for a reservation in its last seconds, and for nodes that it does not have.
            || (reservation && says("Requested node configuration is not available"))
        {
            About::Reservation
        } else if says("MaxSubmit") || says("GrpSubmit") || says("MaxJobCount") || says("try again") {
            About::Limit
        } else if says("job submit limit") && !names_a_limit(words) {
            // The general text speaks of submissions and of sizes; a line before it names the limit. Without that line it
            // is not known which it is: those of submissions pass.
            About::Limit
        } else {
            About::Request
        };
        Refused { words: words.to_owned(), about }
    }

    /// What the user can do.
    pub fn hint(&self) -> &'static str {
        let says = |text: &str| self.words.contains(text);
        match self.about {
            About::Reservation => {
                "amore-proto db-config slurm_reservation --delete, or reservation= of the variable"
            }
            About::Limit => "the job is submitted again when others of yours have ended",
            About::ForNow => "it is tried again",
            About::Request if says(NO_CLUSTER) => {
                "`sacctmgr show cluster` lists clusters; amore-proto db-config slurm_clusters NAME, or --delete"
            }
            About::Request if says("partition") && !says("account/partition") => {
                "`sinfo -s` lists partitions; amore-proto db-config slurm_partition NAME, or partition= of the variable"
            }
            About::Request if says("MaxWall") => "amore-proto db-config slurm_time 1:00:00",
            About::Request if says("accounting/QOS policy") => {
                "it asks for more than the account or QOS ever allows: `sacctmgr show qos`, `sacctmgr show assoc` say what that is"
            }
            About::Request if says("account") => {
                "amore-proto db-config slurm_account NAME, or account= of the variable; `sacctmgr show assoc user=$USER` lists yours"
            }
            About::Request if says("qos") => {
                "amore-proto db-config slurm_qos NAME, or qos= of the variable; `sacctmgr show assoc user=$USER` lists yours"
            }
            About::Request if says("time limit") => "amore-proto db-config slurm_time 1:00:00",
            About::Request => {
                "`sinfo -Nel` shows what nodes have; what is asked for stands at the variable (cpus, mem, gpus, constraint), \
                 or for those that need no cluster in amore-proto db-config noncluster_cpus and noncluster_mem (25G if not set)"
            }
        }
    }
}

/// Is there the name of a limit, like `QOSMaxWallDurationPerJobLimit`?
fn names_a_limit(words: &str) -> bool {
    words
        .split(|c: char| !c.is_ascii_alphanumeric())
        .any(|word| (word.starts_with("QOS") || word.starts_with("Assoc")) && word.ends_with("Limit"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::slurm::answers::{is_silence, tests::recorded, words_of};

    /// What sbatch said on standard error, in each version.
    fn refusals(name: &str) -> Vec<String> {
        let texts = recorded(&format!("sbatch/{name}.txt"));
        texts.iter().map(|(_, text)| words_of(text.split_once("# stderr\n").unwrap().1)).collect()
    }

    #[test]
    fn refusals_are_about_what_they_are_about_in_each_version() {
        for (name, reservation, about) in [
            ("reservation-unknown", true, About::Reservation),
            ("reservation-not-permitted", true, About::Reservation),
            ("limit-of-submitted-jobs", false, About::Limit),
            ("partition-unknown", false, About::Request),
            ("account-unknown", false, About::Request),
            ("qos-unknown", false, About::Request),
            ("memory-too-much", false, About::Request),
            ("gres-unknown", false, About::Request),
        ] {
            for words in refusals(name) {
                let refused = Refused::of(&words, reservation);
                assert_eq!(refused.about, about, "{name}: {words}");
                assert!(!is_silence(&words), "{name}: {words}");
                assert!(!words.contains("sbatch: error"), "{words}");
            }
        }
    }

    #[test]
    fn hints_name_the_setting() {
        for (name, setting) in [
            ("partition-unknown", "slurm_partition"),
            ("account-unknown", "slurm_account"),
            ("qos-unknown", "slurm_qos"),
        ] {
            for words in refusals(name) {
                assert!(Refused::of(&words, false).hint().contains(setting), "{name}: {words}");
            }
        }
    }

    #[test]
    fn a_job_that_is_too_large_for_its_qos_is_not_submitted_for_ever() {
        let general = "sbatch: error: Batch job submission failed: Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)";
        let named = |limit: &str| Refused::of(&format!("sbatch: error: {limit}\n{general}"), false);
        for limit in ["QOSMaxSubmitJobPerUserLimit", "AssocMaxSubmitJobLimit", "QOSGrpSubmitJobsLimit"] {
            assert_eq!(named(limit).about, About::Limit, "{limit}");
        }
        for limit in ["QOSMaxCpuPerJobLimit", "AssocMaxNodePerJobLimit"] {
            let refused = named(limit);
            assert_eq!(refused.about, About::Request, "{limit}");
            assert!(refused.hint().contains("sacctmgr show qos"), "{limit}");
        }
        let wall = named("QOSMaxWallDurationPerJobLimit");
        assert!(wall.about == About::Request && wall.hint().contains("slurm_time"));
        assert_eq!(Refused::of(general, false).about, About::Limit);
    }

    #[test]
    fn a_cluster_that_there_is_not_is_refused_and_one_without_address_is_silence() {
        let words = words_of("sbatch: error: No cluster 'nosuch' known by database.\n");
        assert!(!is_silence(&words));
        let refused = Refused::of(&words, false);
        assert_eq!(refused.about, About::Request);
        assert!(refused.hint().contains("db-config slurm_clusters"), "{}", refused.hint());
        let both = "No cluster 'nosuch' known by database.; 'nosuch' can't be reached now, or it is an invalid entry";
        assert!(!is_silence(both));
        assert!(is_silence("'lab2' can't be reached now, or it is an invalid entry for --cluster."));
        assert!(is_silence(
            "There is a problem talking to the database: Connection refused.  Only local cluster"
        ));
    }
}
