//! Who the user is, to the user database.

use std::collections::BTreeSet;

/// The name of a user, where there is one of this number.
pub(crate) fn name_of(uid: u32) -> Option<String> {
    let user = nix::unistd::User::from_uid(uid.into()).ok().flatten()?;
    Some(user.name)
}

/// The number that Slurm's commands are given.
pub(crate) fn uid() -> String {
    nix::unistd::getuid().to_string()
}

/// Our name.
pub(crate) fn own_name() -> String {
    let uid = nix::unistd::geteuid();
    name_of(uid.as_raw()).unwrap_or_else(|| uid.to_string())
}

/// The names of our groups.
pub(crate) fn groups() -> BTreeSet<String> {
    let mut ids = nix::unistd::getgroups().unwrap_or_default();
    ids.push(nix::unistd::getegid());
    ids.into_iter()
        .filter_map(|id| nix::unistd::Group::from_gid(id).ok().flatten())
        .map(|group| group.name)
        .collect()
}
