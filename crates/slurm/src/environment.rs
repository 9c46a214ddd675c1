//! Which environment variables Slurm's commands get: one rule for all of them.
//!
//! They get what they need to start, and to find their controller and authenticate to it; never a variable that changes
//! their answers ([`CHANGES_ANSWERS`]) or would leak into jobs.

use crate::refused::SiteRefusal;

/// Passed on to commands, and kept in the environment of jobs.
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
/// Passed on to commands only, so that a job's environment does not depend on who submits it.
pub const FOR_COMMANDS: [&str; 5] =
    ["LD_LIBRARY_PATH", "SLURM_JWT", "SLURM_SACK_KEY", "SLURM_SACK_JWKS", "SLURM_SACK_SOCKET"];
/// Prefixes of variables that change what the commands do or answer. They are never passed on.
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

/// What the site's file says about Slurm's commands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SiteCommands {
    /// Names of further variables that the commands need.
    pub environment: Vec<String>,
    /// What the site's own messages mean.
    pub refusals: Vec<SiteRefusal>,
}

/// Checks whether a variable may be passed on.
///
/// # Errors
/// Why not: it is not a valid name of a variable, or the variable changes the answers of Slurm's commands.
pub fn may_be_passed_on(name: &str) -> Result<(), String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(fits) || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(format!("{name:?} is not a valid name of an environment variable"));
    }
    if changes_answers(name) {
        return Err(format!("{name} changes what Slurm's commands do or answer, and is never passed on"));
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
            assert!(may_be_passed_on(name).is_err(), "{name}");
        }
        for name in
            ["SLURM_CONF", "SLURM_JWT", "LD_LIBRARY_PATH", "SITE_TOKEN", "SSL_CERT_FILE", "SLURM_DEBUG_FLAGS"]
        {
            assert!(may_be_passed_on(name).is_ok(), "{name}");
        }
        for name in FOR_JOBS_TOO.iter().chain(&FOR_COMMANDS) {
            assert!(may_be_passed_on(name).is_ok(), "{name}");
        }
    }
}
