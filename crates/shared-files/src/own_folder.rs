//! Opens a folder of a directory in which others can write.
//!
//! Whoever can write there can put a symbolic link in the place of a folder. A process that may do more than he may must not
//! follow it: it would read or write for him where he cannot. A link is followed if it leads to a folder of the one who made
//! it, and if root or the account of this process made it: the rule of the kernel's `protected_symlinks`, and of
//! `SymLinksIfOwnerMatch` of Apache.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt,
    path::Path,
};

/// Opens the folder.
///
/// # Errors
/// It cannot be opened, is no folder, or is a link of one user to a folder of another.
pub fn open(path: &Path) -> io::Result<File> {
    let folder = File::open(path)?;
    let (found, named) = (folder.metadata()?, fs::symlink_metadata(path)?);
    if !found.is_dir() {
        return Err(io::Error::from(io::ErrorKind::NotADirectory));
    }
    if named.is_symlink() {
        if !may_follow(named.uid(), found.uid(), own_uid()?) {
            let why = "it is a symbolic link to a folder of another user";
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
        }
    } else if (named.dev(), named.ino()) != (found.dev(), found.ino()) {
        // It was replaced in between.
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "it is being replaced by another one"));
    }
    Ok(folder)
}

fn may_follow(who_made_it: u32, whose_folder: u32, own: u32) -> bool {
    who_made_it == whose_folder || who_made_it == 0 || who_made_it == own
}

fn own_uid() -> io::Result<u32> {
    fs::metadata("/proc/self").map(|own| own.uid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_followed_to_what_its_maker_owns() {
        let (alice, bob, service) = (1000, 1001, 500);
        assert!(may_follow(alice, alice, service));
        assert!(!may_follow(alice, bob, service) && !may_follow(alice, 0, service));
        assert!(may_follow(0, bob, service) && may_follow(service, bob, service));
    }

    #[test]
    fn a_folder_and_a_link_of_ones_own_are_opened() {
        let place = tempfile::tempdir().unwrap();
        let (folder, link, file) =
            (place.path().join("folder"), place.path().join("link"), place.path().join("file"));
        fs::create_dir(&folder).unwrap();
        std::os::unix::fs::symlink(&folder, &link).unwrap();
        fs::write(&file, "").unwrap();
        assert!(open(&folder).unwrap().metadata().unwrap().is_dir());
        assert!(open(&link).is_ok());
        assert_eq!(open(&file).unwrap_err().kind(), io::ErrorKind::NotADirectory);
        assert_eq!(open(&place.path().join("none")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
