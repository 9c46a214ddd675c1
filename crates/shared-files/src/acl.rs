//! POSIX access control lists of files (`setfacl`), as the kernel stores them.

use std::{fs::File, io, path::Path};

use rustix::{
    fs::{XattrFlags, fremovexattr, fsetxattr, getxattr},
    io::Errno,
};

/// The extended attribute that holds the list.
const LIST: &str = "system.posix_acl_access";

/// The list of a file. `None`: it has none, or its file system has no lists.
///
/// # Errors
/// The file cannot be looked at.
pub fn of(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let mut list = vec![0_u8; 4096];
    loop {
        match getxattr(path, LIST, &mut list[..]) {
            Ok(length) => {
                list.truncate(length);
                return Ok(Some(list));
            }
            Err(Errno::RANGE) => list.resize(list.len() * 2, 0),
            Err(Errno::NODATA | Errno::OPNOTSUPP) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Gives an open file this list, or takes its list away. `false`: a list is wanted, and the file system has none.
///
/// # Errors
/// This process may not, or the list is invalid.
pub fn set(file: &File, list: Option<&[u8]>) -> io::Result<bool> {
    let answer = match list {
        Some(list) => fsetxattr(file, LIST, list, XattrFlags::empty()),
        None => fremovexattr(file, LIST),
    };
    match answer {
        Ok(()) => Ok(true),
        Err(Errno::NODATA | Errno::OPNOTSUPP) if list.is_none() => Ok(true),
        Err(Errno::OPNOTSUPP) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_list_has_none_and_none_can_be_taken_away() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(of(file.path()).unwrap(), None);
        assert!(set(file.as_file(), None).unwrap());
        assert!(of(Path::new("/nowhere")).is_err());
    }
}
