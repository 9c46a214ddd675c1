//! What Slurm's commands are given of our environment, by the rule of [`amore_slurm::handed_on`].
//!
//! Who the user is says the user database, as a login would.

use std::{env, ffi::OsString};

use amore_slurm::handed_on::{FOR_COMMANDS, FOR_JOBS_TOO, may_be_handed_on};

use crate::Slurm;

/// More names, with commas, for who cannot write the site's file.
pub const MORE: &str = "AMORE_SLURM_ENVIRONMENT";

/// Names in [`MORE`] that are not handed on, and why.
pub fn wrong_names() -> Vec<String> {
    let named = env::var(MORE).unwrap_or_default();
    named
        .split([',', ' '])
        .filter(|name| !name.is_empty())
        .filter_map(|name| may_be_handed_on(name).err())
        .collect()
}

impl Slurm {
    fn more(&self) -> Vec<String> {
        let named = env::var(MORE).unwrap_or_default();
        let named = named.split([',', ' ']).filter(|name| !name.is_empty()).map(str::to_owned);
        let all = self.0.of_site.environment.iter().cloned().chain(named);
        all.filter(|name| may_be_handed_on(name).is_ok()).collect()
    }

    /// The environment of a command of Slurm's.
    pub(crate) fn environment(&self) -> Vec<(String, OsString)> {
        let more = self.more();
        let names = FOR_JOBS_TOO.iter().chain(&FOR_COMMANDS).copied().chain(more.iter().map(String::as_str));
        let mut given: Vec<(String, OsString)> =
            names.filter_map(|name| Some((name.to_owned(), env::var_os(name)?))).collect();
        given.extend(identity());
        given
    }

    /// Those of them that a job is not to see: `sbatch --export=ALL` hands on what `sbatch` is given.
    pub fn not_for_jobs(&self) -> Vec<String> {
        let more = self.more();
        FOR_COMMANDS
            .iter()
            .map(|name| (*name).to_owned())
            .chain(more)
            .filter(|name| env::var_os(name).is_some())
            .collect()
    }
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
