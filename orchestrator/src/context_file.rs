//! Reads the context file's text, without executing it.

use std::{
    fs::{self, File},
    io::{self, Read},
    os::{fd::AsRawFd, unix::fs::MetadataExt},
    path::{Path, PathBuf, absolute},
};

use amore_model::{Problem, ProblemKind};
use amore_shared_files::rights::{self, Person};
use amore_wire::task::ContextSource;
use sha2::{Digest, Sha256};

/// Larger files are rejected.
const MAX_BYTES: u64 = 16 << 20;

/// Reads the file as UTF-8.
///
/// # Errors
/// A problem that says what was found instead, and what to do.
pub fn read(path: &Path) -> Result<ContextSource, Problem> {
    let unreadable = |message: String, hint: &str| {
        let mut problem = Problem::error(ProblemKind::Unreadable, message);
        problem.hint = Some(hint.to_owned());
        problem
    };
    let shown = path.display();
    let missing = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound if path.is_symlink() => unreadable(
            format!("{shown} is a symbolic link to {}, which does not exist", last_target(path).display()),
            "fix the link (ln -sfn TARGET context.py), or replace it with a file",
        ),
        io::ErrorKind::NotFound => unreadable(
            format!("there is no context file {shown}"),
            "write one; docs/context-files.md shows how, and `amore init` copies one from another proposal",
        ),
        _ => unreadable(
            format!("{shown} cannot be read: {error}"),
            "check the permissions of the file and its folder",
        ),
    };
    let failed = |error: io::Error| {
        unreadable(format!("{shown} cannot be read: {error}"), "check the permissions of the file")
    };
    // Whoever opens a FIFO waits for its writer.
    let data = fs::metadata(path).map_err(missing)?;
    if !data.is_file() {
        let what = if data.is_dir() { "a directory" } else { "a device or a pipe" };
        return Err(unreadable(format!("{shown} is {what}, not a file"), "give the path of the Python file"));
    }
    let file = File::open(path).map_err(missing)?;
    if let Some(maker) = who_led_us_to_a_secret(path, &file).map_err(failed)? {
        return Err(unreadable(
            format!("{shown} is a symbolic link to a file that {maker}, who made the link, may not read"),
            "let those who use the link read the file, or replace the link with a file",
        ));
    }
    if data.len() > MAX_BYTES {
        return Err(unreadable(
            format!("{shown} has {} bytes: this is not a context file", data.len()),
            "give the path of the Python file",
        ));
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    from_bytes(path, bytes)
}

/// Who made a link to this file, and may not read it. A service may read more than its users: it must not read for them.
fn who_led_us_to_a_secret(path: &Path, opened: &File) -> io::Result<Option<String>> {
    let own = nix::unistd::geteuid().as_raw();
    let target = fs::read_link(format!("/proc/self/fd/{}", opened.as_raw_fd()))?;
    for hop in hops(path) {
        let Ok(link) = fs::symlink_metadata(&hop) else { continue };
        if !link.is_symlink() || [0, own].contains(&link.uid()) {
            continue;
        }
        if !rights::may(&Person::of(link.uid(), None), &target, rights::READ)? {
            let user = nix::unistd::User::from_uid(link.uid().into()).ok().flatten();
            return Ok(Some(user.map_or_else(|| format!("user {}", link.uid()), |user| user.name)));
        }
    }
    Ok(None)
}

/// A text as it would be read from the file at this path, which may not exist.
///
/// # Errors
/// It is too long, or not UTF-8.
pub fn from_bytes(path: &Path, bytes: Vec<u8>) -> Result<ContextSource, Problem> {
    let unreadable = |message: String, hint: &str| {
        let mut problem = Problem::error(ProblemKind::Unreadable, message);
        problem.hint = Some(hint.to_owned());
        problem
    };
    let shown = path.display();
    if bytes.len() as u64 > MAX_BYTES {
        return Err(unreadable(
            format!("{shown} has {} bytes: this is not a context file", bytes.len()),
            "give the path of the Python file",
        ));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let before = error.utf8_error().valid_up_to();
        let line = 1 + error.as_bytes()[..before].iter().filter(|&&byte| byte == b'\n').count();
        let mut problem =
            unreadable(format!("{shown} is not UTF-8 text"), "save the file as UTF-8 in your editor");
        problem.line = u32::try_from(line).ok();
        problem
    })?;
    // Some editors write a byte order mark; Python treats it as part of the encoding.
    let text = text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text);
    let path = in_real_folder(path);
    let sha256 = hex::encode(Sha256::digest(text.as_bytes()));
    let folders = folders(&path);
    let directory = path.parent().map(Path::to_owned);
    Ok(ContextSource { path, text, sha256, folders, directory })
}

/// More links than the kernel follows.
const MAX_LINKS: usize = 40;

/// The file's absolute path, with links in its directory resolved, but not in its own name.
fn in_real_folder(path: &Path) -> PathBuf {
    let path = absolute(path).unwrap_or_else(|_| path.to_owned());
    match (path.parent().and_then(|folder| folder.canonicalize().ok()), path.file_name()) {
        (Some(folder), Some(name)) => folder.join(name),
        _ => path,
    }
}

/// The chain of links, from the file itself to the final target (which may not exist).
fn hops(path: &Path) -> Vec<PathBuf> {
    let mut hops = vec![in_real_folder(path)];
    while hops.len() <= MAX_LINKS
        && let Some(last) = hops.last()
        && let Ok(target) = fs::read_link(last)
    {
        let folder = last.parent().unwrap_or(Path::new("/"));
        hops.push(in_real_folder(&folder.join(target)));
    }
    hops
}

fn last_target(path: &Path) -> PathBuf {
    hops(path).pop().unwrap_or_else(|| path.to_owned())
}

/// Directories whose modules the file may import: its own first, as for a file that is not a link.
fn folders(path: &Path) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = Vec::new();
    for hop in hops(path) {
        if let Some(folder) = hop.parent().filter(|folder| !folders.iter().any(|known| known == folder)) {
            folders.push(folder.to_owned());
        }
    }
    folders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_keeps_its_own_place_and_is_followed_for_modules() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        for folder in ["db", "between", "clone"] {
            fs::create_dir(root.join(folder)).unwrap();
        }
        fs::write(root.join("clone/context.py"), "x = 1\n").unwrap();
        std::os::unix::fs::symlink("../between/context.py", root.join("db/context.py")).unwrap();
        std::os::unix::fs::symlink(root.join("clone/context.py"), root.join("between/context.py")).unwrap();
        let context = read(&root.join("db/context.py")).unwrap();
        assert_eq!(context.path, root.join("db/context.py"));
        assert_eq!(context.folders, ["db", "between", "clone"].map(|folder| root.join(folder)));
        assert_eq!(context.directory, Some(root.join("db")));
        assert_eq!(read(&root.join("clone/context.py")).unwrap().folders, [root.join("clone")]);

        std::os::unix::fs::symlink("db", root.join("also_db")).unwrap();
        assert_eq!(read(&root.join("also_db/context.py")).unwrap().path, root.join("db/context.py"));

        fs::remove_file(root.join("clone/context.py")).unwrap();
        let problem = read(&root.join("db/context.py")).unwrap_err();
        let target = root.join("clone/context.py");
        assert!(problem.message.contains(&format!("link to {}, which", target.display())), "{problem:?}");
    }

    #[test]
    fn what_is_no_file_is_told_and_not_waited_for() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("context.py");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let problem = read(&path).unwrap_err();
        assert!(problem.message.contains("is a device or a pipe, not a file"), "{problem:?}");
    }

    #[test]
    fn a_link_is_followed_to_what_its_maker_may_read() {
        use std::os::unix::fs::{PermissionsExt, lchown, symlink};
        let root = tempfile::tempdir().unwrap();
        let (path, target) = (root.path().join("context.py"), root.path().join("other.py"));
        fs::write(&target, "x = 1\n").unwrap();
        symlink(&target, &path).unwrap();
        assert!(read(&path).is_ok());
        // Only root can make a link of somebody else.
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o711)).unwrap();
        fs::set_permissions(&target, fs::Permissions::from_mode(0o600)).unwrap();
        lchown(&path, Some(4_000_000), Some(4_000_000)).unwrap();
        let problem = read(&path).unwrap_err();
        assert!(problem.message.contains("user 4000000, who made the link, may not read"), "{problem:?}");
        fs::set_permissions(&target, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(read(&path).is_ok());
    }

    #[test]
    fn links_in_a_ring_are_told_and_not_followed_for_ever() {
        let root = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("context.py", root.path().join("context.py")).unwrap();
        assert!(read(&root.path().join("context.py")).is_err());
    }
}
