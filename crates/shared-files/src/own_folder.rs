//! Opens a folder of a directory in which others can write.
//!
//! Whoever can write there can put a symbolic link in the place of a folder. A process that may do more than he may must not
//! follow it: it would read or write for him where he cannot. A link is followed if it leads to a folder of the one who made
//! it, and if root or the account of this process made it: the rule of the kernel's `protected_symlinks`, and of
//! `SymLinksIfOwnerMatch` of Apache.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, File, OpenOptions},
    io::{self, Read},
    os::{
        fd::AsRawFd,
        unix::fs::{MetadataExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
};

use rustix::{fs::OFlags, io::Errno};

/// Opens the folder.
///
/// # Errors
/// It cannot be opened, is no folder, or is a link of one user to a folder of another.
pub fn open(path: &Path) -> io::Result<File> {
    // Whoever opens a FIFO would wait for its writer.
    let folder = File::options().read(true).custom_flags(flags(OFlags::DIRECTORY)).open(path)?;
    let (found, named) = (folder.metadata()?, fs::symlink_metadata(path)?);
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

/// An open folder, and what is in it. It stays the same folder when another one is put in its place. Files in it that are links,
/// FIFOs or the like are not opened.
#[derive(Debug)]
pub struct Folder(File);

impl Folder {
    /// Opens the folder, as [`open`] does.
    ///
    /// # Errors
    /// As [`open`].
    pub fn open(path: &Path) -> io::Result<Self> {
        open(path).map(Folder)
    }

    /// Opens a folder in this one.
    ///
    /// # Errors
    /// As [`open`].
    pub fn folder(&self, name: impl AsRef<Path>) -> io::Result<Self> {
        Folder::open(&self.path(name))
    }

    /// A path to what has this name in the folder, for as long as the folder is open.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        Path::new("/proc/self/fd").join(self.0.as_raw_fd().to_string()).join(name)
    }

    /// The names of all that is in the folder, in order.
    ///
    /// # Errors
    /// It cannot be listed.
    pub fn names(&self) -> io::Result<Vec<OsString>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.path(""))? {
            names.push(entry?.file_name());
        }
        names.sort();
        Ok(names)
    }

    /// Opens a file to read it.
    ///
    /// # Errors
    /// There is none, or it is no regular file.
    pub fn file(&self, name: impl AsRef<Path>) -> io::Result<File> {
        self.opened(name.as_ref(), File::options().read(true))
    }

    /// The content of a file of at most so many bytes.
    ///
    /// # Errors
    /// There is none, it is no regular file, or it is larger.
    pub fn read(&self, name: impl AsRef<Path>, most: u64) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        self.file(name)?.take(most + 1).read_to_end(&mut content)?;
        if content.len() as u64 > most {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("it has more than {most} bytes"),
            ));
        }
        Ok(content)
    }

    /// Opens a file to append to it; a new one has these permissions, less the umask.
    ///
    /// # Errors
    /// It cannot be written, or it is no regular file.
    pub fn append(&self, name: impl AsRef<Path>, mode: u32) -> io::Result<File> {
        self.opened(name.as_ref(), File::options().append(true).create(true).mode(mode))
    }

    /// Gives a file another name; a file that has it already is replaced.
    ///
    /// # Errors
    /// It cannot be renamed.
    pub fn rename(&self, from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    /// Removes a file, or a link itself.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn remove(&self, name: impl AsRef<Path>) -> io::Result<()> {
        fs::remove_file(self.path(name))
    }

    fn opened(&self, name: &Path, how: &mut OpenOptions) -> io::Result<File> {
        let opened = how.custom_flags(flags(OFlags::NOFOLLOW | OFlags::NONBLOCK)).open(self.path(name));
        match opened {
            // A file server has lent it to a client, and gets it back now.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                how.custom_flags(flags(OFlags::NOFOLLOW)).open(self.path(name))
            }
            Ok(file) if file.metadata()?.is_file() => Ok(file),
            Ok(_) => Err(no_regular_file()),
            // A link, and a FIFO that nobody reads.
            Err(error)
                if [Errno::LOOP, Errno::NXIO]
                    .map(Errno::raw_os_error)
                    .map(Some)
                    .contains(&error.raw_os_error()) =>
            {
                Err(no_regular_file())
            }
            Err(error) => Err(error),
        }
    }
}

/// Whether a file has this extension.
pub fn has_extension(name: &OsStr, extension: &str) -> bool {
    Path::new(name).extension().is_some_and(|kind| kind == extension)
}

fn no_regular_file() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file")
}

fn flags(flags: OFlags) -> i32 {
    flags.bits().cast_signed()
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

    #[test]
    fn neither_links_nor_fifos_are_opened_in_a_folder() {
        let place = tempfile::tempdir().unwrap();
        let inner = place.path().join("inner");
        fs::create_dir(&inner).unwrap();
        fs::write(place.path().join("secret"), "secret").unwrap();
        fs::write(inner.join("file"), "text").unwrap();
        std::os::unix::fs::symlink(place.path().join("secret"), inner.join("link")).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            inner.join("fifo"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RWXU,
            0,
        )
        .unwrap();
        let folder = Folder::open(place.path()).unwrap().folder("inner").unwrap();
        assert_eq!(folder.names().unwrap(), ["fifo", "file", "link"]);
        assert_eq!(folder.read("file", 4).unwrap(), b"text");
        assert!(folder.read("file", 3).is_err());
        for name in ["link", "fifo"] {
            assert!(folder.read(name, 100).is_err(), "{name}");
            assert!(folder.append(name, 0o600).is_err(), "{name}");
            assert!(folder.folder(name).is_err(), "{name}");
        }
        assert_eq!(fs::read_to_string(place.path().join("secret")).unwrap(), "secret");
        // Another folder in its place is another folder.
        fs::rename(&inner, place.path().join("moved")).unwrap();
        fs::create_dir(&inner).unwrap();
        folder.append("new", 0o600).unwrap();
        folder.remove("link").unwrap();
        assert!(place.path().join("moved/new").exists() && place.path().join("secret").exists());
    }
}
