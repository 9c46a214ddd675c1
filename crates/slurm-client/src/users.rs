//! The user's identity in the user database.

use std::collections::BTreeSet;

/// The name of the user with this UID, if it exists.
pub(crate) fn name_of(uid: u32) -> Option<String> {
    let user = nix::unistd::User::from_uid(uid.into()).ok().flatten()?;
    Some(user.name)
}

/// The UID in the arguments of Slurm's commands.
pub(crate) fn uid() -> String {
    nix::unistd::getuid().to_string()
}

/// The name of the current user, or the UID if it has none.
pub(crate) fn own_name() -> String {
    let uid = nix::unistd::geteuid();
    name_of(uid.as_raw()).unwrap_or_else(|| uid.to_string())
}

/// The names of the current user's groups.
pub(crate) fn groups() -> BTreeSet<String> {
    let mut ids = nix::unistd::getgroups().unwrap_or_default();
    ids.push(nix::unistd::getegid());
    ids.into_iter()
        .filter_map(|id| nix::unistd::Group::from_gid(id).ok().flatten())
        .map(|group| group.name)
        .collect()
}
