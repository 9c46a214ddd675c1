//! The environment of Slurm's commands, by the rule in [`amore_slurm::environment`].
//!
//! The user's identity comes from the user database, as in a login.

use std::{env, ffi::OsString};

use amore_slurm::environment::{FOR_COMMANDS, FOR_JOBS_TOO, may_be_passed_on};

use crate::Slurm;

/// Names further variables, separated by commas, for users who cannot change the site's file.
pub const MORE: &str = "AMORE_SLURM_ENVIRONMENT";

/// What is wrong with names in [`MORE`] that are not passed on.
pub fn wrong_names() -> Vec<String> {
    let named = env::var(MORE).unwrap_or_default();
    named
        .split([',', ' '])
        .filter(|name| !name.is_empty())
        .filter_map(|name| may_be_passed_on(name).err())
        .collect()
}

impl Slurm {
    fn more(&self) -> Vec<String> {
        let named = env::var(MORE).unwrap_or_default();
        let named = named.split([',', ' ']).filter(|name| !name.is_empty()).map(str::to_owned);
        let all = self.0.site.environment.iter().cloned().chain(named);
        all.filter(|name| may_be_passed_on(name).is_ok()).collect()
    }

    /// The environment of a Slurm command.
    pub(crate) fn environment(&self) -> Vec<(String, OsString)> {
        let more = self.more();
        let names = FOR_JOBS_TOO.iter().chain(&FOR_COMMANDS).copied().chain(more.iter().map(String::as_str));
        let mut given: Vec<(String, OsString)> =
            names.filter_map(|name| Some((name.to_owned(), env::var_os(name)?))).collect();
        given.extend(identity());
        given
    }

    /// Those variables that a job must not see: `sbatch --export=ALL` passes on its own environment.
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

/// All variables of the shell that may be passed on: `amore doctor` tries them if a command does not start.
pub fn of_the_shell() -> Vec<(String, OsString)> {
    let text = |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value));
    env::vars_os().filter_map(text).filter(|(name, _)| may_be_passed_on(name).is_ok()).collect()
}

/// The user's identity as a login would set it: a service may have been started without it.
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
