//! What Slurm's commands are given of our environment: one rule for all of them, `amore doctor` included.
//!
//! Handed on is what they need to start and to find and convince their controller; nothing that changes what they answer
//! ([`CHANGES_ANSWERS`]) or would leak into jobs. Who the user is says the user database, as a login would.

use std::{env, ffi::OsString, sync::LazyLock};

use super::{refused::SiteRefusal, site_file::SiteFile};

/// Handed on, and left in the environment of jobs.
const FOR_JOBS_TOO: [&str; 12] = [
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
const FOR_COMMANDS: [&str; 5] =
    ["LD_LIBRARY_PATH", "SLURM_JWT", "SLURM_SACK_KEY", "SLURM_SACK_JWKS", "SLURM_SACK_SOCKET"];
/// More names, with commas, for who cannot write the site's file.
pub const MORE: &str = "AMORE_SLURM_ENVIRONMENT";
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
#[derive(Debug, Default)]
struct OfSite {
    environment: Vec<String>,
    refusals: Vec<SiteRefusal>,
}

// Read once: a command lasts no longer. What is wrong with the file is told where settings are read.
static OF_SITE: LazyLock<OfSite> = LazyLock::new(|| match SiteFile::load() {
    Ok(Some(site)) => OfSite { environment: site.environment().to_vec(), refusals: site.refusals().to_vec() },
    Ok(None) | Err(_) => OfSite::default(),
});

/// What the site says of messages of its own.
pub fn site_refusals() -> &'static [SiteRefusal] {
    &OF_SITE.refusals
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

fn more() -> Vec<String> {
    let named = env::var(MORE).unwrap_or_default();
    let named = named.split([',', ' ']).filter(|name| !name.is_empty()).map(str::to_owned);
    let all = OF_SITE.environment.iter().cloned().chain(named);
    all.filter(|name| may_be_handed_on(name).is_ok()).collect()
}

/// Names in [`MORE`] that are not handed on, and why.
pub fn wrong_names() -> Vec<String> {
    let named = env::var(MORE).unwrap_or_default();
    named
        .split([',', ' '])
        .filter(|name| !name.is_empty())
        .filter_map(|name| may_be_handed_on(name).err())
        .collect()
}

/// The environment of a command of Slurm's.
pub fn of_commands() -> Vec<(String, OsString)> {
    let more = more();
    let names = FOR_JOBS_TOO.iter().chain(&FOR_COMMANDS).copied().chain(more.iter().map(String::as_str));
    let mut given: Vec<(String, OsString)> =
        names.filter_map(|name| Some((name.to_owned(), env::var_os(name)?))).collect();
    given.extend(identity());
    given
}

/// Those of them that a job is not to see: `sbatch --export=ALL` hands on what `sbatch` is given.
pub fn not_for_jobs() -> Vec<String> {
    let more = more();
    FOR_COMMANDS
        .iter()
        .map(|name| (*name).to_owned())
        .chain(more)
        .filter(|name| env::var_os(name).is_some())
        .collect()
}

/// All that the shell has and that could be handed on: what `amore doctor` tries where a command does not start.
pub fn of_the_shell() -> Vec<(String, OsString)> {
    let text = |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value));
    env::vars_os().filter_map(text).filter(|(name, _)| may_be_handed_on(name).is_ok()).collect()
}

/// Who the user is, as a login would tell: a service may have been started without.
fn identity() -> Vec<(String, OsString)> {
    let Ok(Some(user)) = nix::unistd::User::from_uid(nix::unistd::geteuid()) else {
        let kept = ["HOME", "USER", "LOGNAME", "SHELL"];
        return kept.into_iter().filter_map(|name| Some((name.to_owned(), env::var_os(name)?))).collect();
    };
    let name = OsString::from(user.name);
    let identity: [(&str, OsString); 4] =
        [("HOME", user.dir.into()), ("USER", name.clone()), ("LOGNAME", name), ("SHELL", user.shell.into())];
    identity.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
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
