//! What a user may do with files, by their owner, group, mode and POSIX access control list: the rule of the kernel, for a
//! process that is not the user's.

use std::{
    ffi::CString,
    fs::{self, File},
    io,
    os::unix::fs::{MetadataExt, PermissionsExt, fchown},
    path::Path,
};

use nix::unistd::{Gid, Uid, User, getgrouplist};

use crate::acl;

/// Rights to read, write and execute, as in a file's mode.
pub const READ: u32 = 4;
/// See [`READ`].
pub const WRITE: u32 = 2;
/// See [`READ`]. For a directory: to use what is in it.
pub const EXECUTE: u32 = 1;

/// A user, with all groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// The user's number.
    pub uid: u32,
    /// The numbers of the groups.
    pub groups: Vec<u32>,
}

impl Person {
    /// The user with this number, with the groups that the system knows, and this one.
    pub fn of(uid: u32, group: Option<u32>) -> Self {
        let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
        let group = group.or_else(|| user.as_ref().map(|user| user.gid.as_raw()));
        let mut groups: Vec<u32> = group.into_iter().collect();
        if let Some(user) = user
            && let Ok(name) = CString::new(user.name)
            && let Ok(all) = getgrouplist(&name, group.map_or(user.gid, Gid::from_raw))
        {
            groups.extend(all.into_iter().map(Gid::as_raw));
        }
        Person { uid, groups }
    }
}

/// Who may do what with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rules {
    uid: u32,
    gid: u32,
    mode: u32,
    acl: Vec<Entry>,
}

/// An entry of an access control list, as the kernel stores it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    tag: u16,
    rights: u32,
    id: u32,
}

const USER_OBJ: u16 = 0x01;
const USER: u16 = 0x02;
const GROUP_OBJ: u16 = 0x04;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;
/// The id of entries that have none.
const NO_ID: u32 = u32::MAX;
/// Version of the format of lists.
const VERSION: u32 = 2;

/// Whether this person may do this with the file: it has all of these rights, and all directories above can be entered.
///
/// # Errors
/// The file does not exist, or cannot be looked at.
pub fn may(person: &Person, path: &Path, rights: u32) -> io::Result<bool> {
    let path = path.canonicalize()?;
    for above in path.ancestors().skip(1) {
        if !allows(&rules(above)?, person, EXECUTE) {
            return Ok(false);
        }
    }
    Ok(allows(&rules(&path)?, person, rights))
}

fn rules(path: &Path) -> io::Result<Rules> {
    let meta = fs::metadata(path)?;
    Ok(Rules { uid: meta.uid(), gid: meta.gid(), mode: meta.mode(), acl: entries(path)? })
}

/// The access control list of a file; empty if there is none.
fn entries(path: &Path) -> io::Result<Vec<Entry>> {
    let Some(list) = acl::of(path)? else { return Ok(Vec::new()) };
    parse(&list).ok_or_else(|| io::Error::other("its access control list has an unknown format"))
}

fn parse(bytes: &[u8]) -> Option<Vec<Entry>> {
    let (version, entries) = bytes.split_first_chunk::<4>()?;
    if u32::from_le_bytes(*version) != VERSION || entries.len() % 8 != 0 {
        return None;
    }
    let entries = entries.chunks_exact(8).map(|entry| Entry {
        tag: u16::from_le_bytes([entry[0], entry[1]]),
        rights: u32::from(u16::from_le_bytes([entry[2], entry[3]])),
        id: u32::from_le_bytes([entry[4], entry[5], entry[6], entry[7]]),
    });
    Some(entries.collect())
}

fn allows(rules: &Rules, person: &Person, wanted: u32) -> bool {
    let has = |rights: u32| rights & wanted == wanted;
    if person.uid == 0 {
        return true;
    }
    if person.uid == rules.uid {
        return has(rules.mode >> 6);
    }
    // With a list, the group's bits of the mode are its mask.
    let mask = rules.acl.iter().find(|entry| entry.tag == MASK).map_or(7, |entry| entry.rights);
    if let Some(entry) = rules.acl.iter().find(|entry| entry.tag == USER && entry.id == person.uid) {
        return has(entry.rights & mask);
    }
    let of_group =
        rules.acl.iter().find(|entry| entry.tag == GROUP_OBJ).map_or(rules.mode >> 3, |e| e.rights);
    let own = person.groups.contains(&rules.gid).then_some(of_group);
    let named = rules.acl.iter().filter(|entry| entry.tag == GROUP && person.groups.contains(&entry.id));
    let mut groups = own.into_iter().chain(named.map(|entry| entry.rights)).peekable();
    if groups.peek().is_some() {
        return groups.any(|rights| has(rights & mask));
    }
    has(rules.mode)
}

/// Gives a file that will replace another one the owner, group, permissions and access control list of that. Where this process
/// may not give the owner or the group, they get their rights by the list. `false`: that would be necessary, and the file system
/// has no lists.
///
/// # Errors
/// A file cannot be looked at or changed.
pub fn hand_on(from: &Path, to: &File) -> io::Result<bool> {
    let before = rules(from)?;
    // Only root may give a file to another user, and only members to a group.
    let _ = fchown(to, None, Some(before.gid));
    let _ = fchown(to, Some(before.uid), None);
    let now = to.metadata()?;
    to.set_permissions(fs::Permissions::from_mode(before.mode & 0o777))?;
    let list = list_after(&before, now.uid(), now.gid());
    if list.is_empty() {
        return Ok(true);
    }
    acl::set(to, Some(&written(&list)))
}

/// The list with which the same people have the same rights to a file that belongs to this user and group now. Empty: none is
/// needed.
fn list_after(before: &Rules, uid: u32, gid: u32) -> Vec<Entry> {
    if (uid, gid) == (before.uid, before.gid) {
        return before.acl.clone();
    }
    let entry = |tag, rights, id| Entry { tag, rights: rights & 7, id };
    let has = |tag| before.acl.iter().find(|entry| entry.tag == tag).map(|entry| entry.rights);
    let (owner, group) = (before.mode >> 6, has(GROUP_OBJ).unwrap_or(before.mode >> 3));
    let mut list: Vec<Entry> =
        before.acl.iter().filter(|entry| matches!(entry.tag, USER | GROUP)).copied().collect();
    list.push(entry(USER_OBJ, 6, NO_ID));
    list.push(entry(OTHER, before.mode, NO_ID));
    if uid != before.uid {
        list.retain(|entry| entry.tag != USER || entry.id != before.uid);
        list.push(entry(USER, owner, before.uid));
    }
    if gid == before.gid {
        list.push(entry(GROUP_OBJ, group, NO_ID));
    } else {
        list.push(entry(GROUP_OBJ, 0, NO_ID));
        list.push(entry(GROUP, group, before.gid));
    }
    let mask = has(MASK).unwrap_or(group) | owner;
    list.push(entry(MASK, mask, NO_ID));
    // The kernel wants them in this order.
    list.sort_by_key(|entry| (entry.tag, entry.id));
    list
}

/// A list as the kernel reads it.
fn written(list: &[Entry]) -> Vec<u8> {
    let mut bytes = VERSION.to_le_bytes().to_vec();
    for entry in list {
        bytes.extend(entry.tag.to_le_bytes());
        bytes.extend((entry.rights as u16).to_le_bytes());
        bytes.extend(entry.id.to_le_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn person(uid: u32, groups: &[u32]) -> Person {
        Person { uid, groups: groups.to_vec() }
    }

    #[test]
    fn owner_group_and_others_have_the_bits_of_the_mode() {
        let rules = Rules { uid: 10, gid: 20, mode: 0o100_640, acl: Vec::new() };
        assert!(allows(&rules, &person(10, &[]), READ | WRITE));
        assert!(allows(&rules, &person(11, &[1, 20]), READ));
        assert!(!allows(&rules, &person(11, &[1, 20]), WRITE));
        assert!(!allows(&rules, &person(12, &[21]), READ));
        assert!(allows(&rules, &person(0, &[]), READ | WRITE | EXECUTE));
        // The owner has the owner's rights only, as in the kernel.
        let locked = Rules { mode: 0o100_077, ..rules };
        assert!(!allows(&locked, &person(10, &[20]), READ));
    }

    #[test]
    fn a_list_grants_and_denies_within_its_mask() {
        let entry = |tag, rights, id| Entry { tag, rights, id };
        let none = u32::MAX;
        let acl = vec![
            entry(0x01, 7, none),
            entry(USER, 0, 11),
            entry(USER, 7, 12),
            entry(GROUP_OBJ, 4, none),
            entry(GROUP, 6, 30),
            entry(MASK, 6, none),
            entry(0x20, 0, none),
        ];
        let rules = Rules { uid: 10, gid: 20, mode: 0o100_760, acl };
        assert!(!allows(&rules, &person(11, &[20]), READ), "denied by name, although the group may");
        assert!(allows(&rules, &person(12, &[]), READ | WRITE));
        assert!(!allows(&rules, &person(12, &[]), EXECUTE), "the mask");
        assert!(allows(&rules, &person(13, &[20]), READ) && !allows(&rules, &person(13, &[20]), WRITE));
        assert!(allows(&rules, &person(13, &[20, 30]), WRITE));
        assert!(!allows(&rules, &person(14, &[]), READ));
    }

    #[test]
    fn a_list_is_read_as_the_kernel_writes_it() {
        let bytes = [2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 4, 0, 232, 3, 0, 0];
        let entries = parse(&bytes).unwrap();
        assert_eq!(entries[1], Entry { tag: USER, rights: 4, id: 1000 });
        assert!(parse(&bytes[..19]).is_none() && parse(&[3, 0, 0, 0]).is_none());
    }

    #[test]
    fn whoever_had_rights_keeps_them_when_a_file_gets_another_owner() {
        let before = Rules { uid: 10, gid: 20, mode: 0o100_640, acl: Vec::new() };
        let (service, group) = (500, 501);
        let after = |uid, gid| Rules { uid, gid, mode: 0o100_660, acl: list_after(&before, uid, gid) };
        assert!(after(10, 20).acl.is_empty(), "nothing has changed");
        for rules in [after(service, 20), after(service, group)] {
            assert!(allows(&rules, &person(10, &[20]), READ | WRITE), "the owner: {rules:?}");
            assert!(allows(&rules, &person(11, &[20]), READ) && !allows(&rules, &person(11, &[20]), WRITE));
            assert!(!allows(&rules, &person(12, &[group + 1]), READ));
            assert_eq!(parse(&written(&rules.acl)), Some(rules.acl.clone()));
            let tags: Vec<u16> = rules.acl.iter().map(|entry| entry.tag).collect();
            assert!(tags.is_sorted());
        }
        assert!(
            !allows(&after(service, group), &person(13, &[group]), READ),
            "the service's group gets nothing"
        );
    }

    #[test]
    fn directories_above_have_to_be_entered() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("inner");
        fs::create_dir(&inner).unwrap();
        fs::set_permissions(&inner, fs::Permissions::from_mode(0o777)).unwrap();
        let stranger = person(4_000_000, &[4_000_000]);
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
        assert!(!may(&stranger, &inner, READ).unwrap());
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o711)).unwrap();
        assert!(may(&stranger, &inner, READ | WRITE | EXECUTE).unwrap());
        assert!(may(&stranger, &folder.path().join("none"), READ).is_err());
    }
}
