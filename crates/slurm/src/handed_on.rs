//! Which variables of our environment Slurm's commands are given: one rule for all of them.
//!
//! Handed on is what they need to start and to find and convince their controller; nothing that changes what they answer
//! ([`CHANGES_ANSWERS`]) or would leak into jobs.

use crate::refused::SiteRefusal;

/// Handed on, and left in the environment of jobs.
pub const FOR_JOBS_TOO: [&str; 12] = [
    "PATH",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "LC_MESSAGES",
    "SLURM_CONF",
    "KRB5CCNAME",
    "KRB5_CONFIG",
    "KRB5_KTNAME",
    "XDG_RUNTIME_DIR",
    "MUNGE_SOCKET",
    "SLURM_CONF_SERVER",
];
/// Handed on for the commands alone: jobs give the same whoever submits them.
pub const FOR_COMMANDS: [&str; 5] =
    ["LD_LIBRARY_PATH", "SLURM_JWT", "SLURM_SACK_KEY", "SLURM_SACK_JWKS", "SLURM_SACK_SOCKET"];
/// How the names of variables begin that change what the commands do or answer. They are never handed on.
const CHANGES_ANSWERS: [&str; 17] = [
    "SBATCH_",
    "SRUN_",
    "SALLOC_",
    "SQUEUE_",
    "SACCT_",
    "SACCTMGR_",
    "SCONTROL_",
    "SCANCEL_",
    "SINFO_",
    "SLURM_CLUSTERS",
    "SLURM_TIME_FORMAT",
    "SLURM_BITSTR_LEN",
    "SLURM_EXPORT_ENV",
    "SLURM_JOB",
    "SLURM_MEM_",
    "SLURM_NTASKS",
    "AMORE_",
];

/// What the site's file says of Slurm's commands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OfSite {
    /// Names of more variables that they need.
    pub environment: Vec<String>,
    /// What messages of the site's own mean.
    pub refusals: Vec<SiteRefusal>,
}

/// May this be handed on? Else why not.
///
/// # Errors
/// It is no name of a variable, or one that changes what Slurm's commands answer.
pub fn may_be_handed_on(name: &str) -> Result<(), String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(fits) || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(format!("{name:?} is no name of a variable"));
    }
    if changes_answers(name) {
        return Err(format!("{name} changes what Slurm's commands do or answer, and is never handed on"));
    }
    Ok(())
}

fn changes_answers(name: &str) -> bool {
    CHANGES_ANSWERS.iter().any(|begin| name.starts_with(begin)) || name.ends_with("_FORMAT")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_answers_is_never_handed_on() {
        for name in [
            "SBATCH_PARTITION",
            "SLURM_CLUSTERS",
            "SQUEUE_FORMAT",
            "SACCT_FORMAT",
            "SINFO_FORMAT",
            "SLURM_TIME_FORMAT",
            "SLURM_MEM_PER_CPU",
            "A B",
            "",
            "1A",
            "A=B",
        ] {
            assert!(may_be_handed_on(name).is_err(), "{name}");
        }
        for name in
            ["SLURM_CONF", "SLURM_JWT", "LD_LIBRARY_PATH", "SITE_TOKEN", "SSL_CERT_FILE", "SLURM_DEBUG_FLAGS"]
        {
            assert!(may_be_handed_on(name).is_ok(), "{name}");
        }
        for name in FOR_JOBS_TOO.iter().chain(&FOR_COMMANDS) {
            assert!(may_be_handed_on(name).is_ok(), "{name}");
        }
    }
}
