//! Permissions of run files and their array files: whoever can read a run file must be able to read its arrays, because an
//! unreadable array reads as its fill value, without an error from HDF5.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt, fchown},
    path::{Path, PathBuf},
};

use amore_shared_files::acl;

use crate::error::{DoingTo, ResultsError};

const READ: u32 = 0o444;
/// The permission bits of a mode; set-id bits and the like are not changed.
const RIGHTS: u32 = 0o777;

/// Permissions of a file or directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Readers {
    user: u32,
    group: u32,
    mode: u32,
    acl: Option<Vec<u8>>,
}

impl Readers {
    pub(crate) fn of(path: &Path) -> io::Result<Readers> {
        let metadata = fs::metadata(path)?;
        Ok(Readers {
            user: metadata.uid(),
            group: metadata.gid(),
            mode: metadata.mode() & RIGHTS,
            acl: acl_of(path),
        })
    }

    /// Whether everybody who can read a file with the permissions `other` can also read one with these.
    fn cover(&self, other: &Readers) -> bool {
        let missing = other.mode & !self.mode & READ;
        if self.acl != other.acl {
            // Entries for single users are not compared: without a list on this side, the mode decides.
            return self.acl.is_none() && self.mode & READ == READ;
        }
        if self.group == other.group {
            // The other file's owner is a member of the group, or of others, for this one.
            let owners = self.user == other.user || self.mode & 0o044 != 0 || other.mode & 0o400 == 0;
            return missing & !0o400 == 0 && owners;
        }
        let everybody = self.mode & 0o044 == 0o044;
        everybody || other.mode & 0o044 == 0
    }

    /// Whether all can read the file who could read a new one of a process with this umask. An access control list is the site's
    /// own rule.
    pub(crate) fn include_those_of(&self, umask: u32) -> bool {
        self.acl.is_some() || !umask & !self.mode & READ == 0
    }

    /// Applies these permissions to a file, as far as this process may.
    pub(crate) fn give_to(&self, path: &Path) -> io::Result<()> {
        let file = fs::File::open(path)?;
        let metadata = file.metadata()?;
        if metadata.gid() != self.group {
            // Only possible for the user's own groups.
            let _ = fchown(&file, None, Some(self.group));
        }
        if metadata.uid() != self.user {
            // Only possible for root.
            let _ = fchown(&file, Some(self.user), None);
        }
        // Changing the owner clears the set-id bits, which these files do not have.
        file.set_permissions(fs::Permissions::from_mode(metadata.mode() & 0o7000 | self.mode))?;
        set_acl(&file, self.acl.as_deref())
    }

    /// `rw-r----- alice:users`, with a `+` where there is an access control list.
    pub(crate) fn in_words(&self) -> String {
        let bits = (0..9).rev().map(|bit| {
            let letter = ['x', 'w', 'r'][bit % 3];
            if self.mode >> bit & 1 == 1 { letter } else { '-' }
        });
        let list = if self.acl.is_some() { "+" } else { "" };
        let user = nix::unistd::User::from_uid(self.user.into()).ok().flatten();
        let user = user.map_or_else(|| self.user.to_string(), |user| user.name);
        let group = nix::unistd::Group::from_gid(self.group.into()).ok().flatten();
        let group = group.map_or_else(|| self.group.to_string(), |group| group.name);
        format!("{}{list} {user}:{group}", bits.collect::<String>())
    }
}

/// The access control list of a file, if it has one that can be read.
fn acl_of(path: &Path) -> Option<Vec<u8>> {
    acl::of(path).ok().flatten()
}

fn set_acl(file: &fs::File, list: Option<&[u8]>) -> io::Result<()> {
    if acl::set(file, list)? { Ok(()) } else { Err(io::ErrorKind::Unsupported.into()) }
}

/// An array file with fewer readers than its run file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Narrow {
    /// The array file, or a directory on the way to it.
    pub(crate) path: PathBuf,
    /// Its permissions.
    pub(crate) readers: Readers,
}

/// The first file or directory that prevents a reader of the run file from reading an array.
pub(crate) fn narrow(extracted_data: &Path, run_file: &Readers, source: &str) -> io::Result<Option<Narrow>> {
    let path = extracted_data.join(source);
    let top = Readers::of(extracted_data)?;
    // Users who cannot enter the directory of the run files cannot read any of them.
    let pass = |mode: u32| (mode & 0o111) << 2;
    let arriving = Readers { mode: run_file.mode & pass(top.mode), ..run_file.clone() };
    for directory in directories(extracted_data, &path) {
        let readers = Readers::of(&directory)?;
        let same_list = readers.acl == top.acl;
        let passing = Readers { mode: pass(readers.mode), ..readers.clone() };
        let wanted = Readers {
            acl: if same_list { passing.acl.clone() } else { arriving.acl.clone() },
            group: if readers.group == top.group { readers.group } else { arriving.group },
            ..arriving.clone()
        };
        if !passing.cover(&wanted) {
            return Ok(Some(Narrow { path: directory, readers }));
        }
    }
    let readers = Readers::of(&path)?;
    Ok((!readers.cover(&arriving)).then_some(Narrow { path, readers }))
}

/// The directories between `extracted_data` and a file below it, from above.
fn directories(extracted_data: &Path, file: &Path) -> Vec<PathBuf> {
    let mut between: Vec<PathBuf> = file
        .ancestors()
        .skip(1)
        .take_while(|directory| *directory != extracted_data)
        .map(Path::to_owned)
        .collect();
    between.reverse();
    between
}

/// Creates directories with the permissions of their parent, independent of the umask.
pub(crate) fn open_like(extracted_data: &Path, directory: &Path) -> io::Result<()> {
    let top = fs::metadata(extracted_data)?;
    let list = acl_of(extracted_data);
    let file = fs::File::open(directory)?;
    if file.metadata()?.gid() != top.gid() {
        let _ = fchown(&file, None, Some(top.gid()));
    }
    file.set_permissions(fs::Permissions::from_mode(top.mode() & 0o7777))?;
    set_acl(&file, list.as_deref())
}

/// Result of [`settle`].
#[derive(Debug)]
pub(crate) enum Settled {
    /// Everybody who can read the run file can read its arrays.
    Same,
    /// The run file was restricted, because this array belongs to another user.
    Narrowed(Narrow),
}

/// Ensures that a run file and its array files have the same readers, before the run file is renamed to its final name.
///
/// `wanted`: the permissions of the run file that it replaces, if any. Array files of this user get the permissions of the run
/// file. If an array file belongs to another user and has fewer readers, the run file is restricted to them.
///
/// # Errors
/// The new run file belongs to another user, or its permissions cannot be read.
pub(crate) fn settle<'a>(
    extracted_data: &Path,
    run_file: &Path,
    wanted: Option<&Readers>,
    sources: impl Iterator<Item = &'a str> + Clone,
) -> Result<Settled, ResultsError> {
    let path = run_file;
    if let Some(wanted) = wanted
        && Readers::of(path).doing("cannot look at", path)? != *wanted
    {
        // A file system without such permissions keeps those that the file was created with.
        let _ = wanted.give_to(path);
    }
    let own = Readers::of(path).doing("cannot look at", path)?;
    for source in sources.clone() {
        let array = extracted_data.join(source);
        let Ok(readers) = Readers::of(&array) else { continue };
        if readers != own {
            let rights = Readers { user: readers.user, ..own.clone() };
            // The array belongs to another user; the effect is determined below.
            let _ = rights.give_to(&array);
        }
        if narrow(extracted_data, &own, source).is_ok_and(|narrow| narrow.is_some()) {
            for directory in directories(extracted_data, &array) {
                let _ = open_like(extracted_data, &directory);
            }
        }
    }
    let first_narrow = |readers: &Readers| -> Option<Narrow> {
        // A missing file has no permissions to compare; `verify` reports it.
        sources.clone().find_map(|source| narrow(extracted_data, readers, source).ok().flatten())
    };
    let Some(found) = first_narrow(&own) else { return Ok(Settled::Same) };
    for without in [0o007, 0o077] {
        let fewer = Readers { mode: own.mode & !without, acl: None, ..own.clone() };
        if without == 0o077 || first_narrow(&fewer).is_none() {
            fewer.give_to(path).doing("cannot change the rights of", path)?;
            break;
        }
    }
    Ok(Settled::Narrowed(found))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readers(mode: u32, group: u32) -> Readers {
        Readers { user: 1, group, mode, acl: None }
    }

    #[test]
    fn who_can_read_one_can_read_the_other() {
        let run_file = readers(0o644, 7);
        for (mode, group, covers) in [
            (0o644, 7, true),
            (0o664, 7, true),
            (0o640, 7, false),
            (0o600, 7, false),
            (0o644, 8, true),
            (0o640, 8, false),
        ] {
            assert_eq!(readers(mode, group).cover(&run_file), covers, "{mode:o} {group}");
        }
        assert!(readers(0o640, 7).cover(&readers(0o640, 7)));
        assert!(readers(0o600, 8).cover(&readers(0o600, 7)));
        // An array file of another user that only its owner can read.
        assert!(!readers(0o600, 7).cover(&Readers { user: 2, ..readers(0o600, 7) }));
        // An access control list on the run file allows readers that its mode does not show.
        let listed = Readers { acl: Some(vec![1]), ..readers(0o640, 7) };
        assert!(!readers(0o640, 7).cover(&listed));
        assert!(readers(0o644, 7).cover(&listed));
        assert!(listed.cover(&listed));
        assert!(!listed.cover(&readers(0o640, 7)));
        assert!(listed.in_words().starts_with("rw-r-----+ "), "{}", listed.in_words());
    }
}
