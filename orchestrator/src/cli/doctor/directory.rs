//! Checks that the directory can hold a database that several users and nodes work on.

use std::{
    fs::{self, File},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
    sys::{statfs::statfs, statvfs::statvfs},
    unistd::{AccessFlags, Group, access},
};

use super::{Check, Checks};
use crate::{coordinate::ledger_place, database_dir::DatabaseDir};

/// With less free space, results of a few runs fill the disk.
const LITTLE_SPACE: u64 = 5 << 30;
/// With less free space, nothing can be stored.
const NO_SPACE: u64 = 100 << 20;
/// The mode bit that gives new files the group of their directory.
const SETGID: u32 = 0o2000;

/// File systems by their number in statfs(2).
const KINDS: &[(i64, &str)] = &[
    (0x4750_4653, "GPFS"),
    (0x0bd0_0bd0, "Lustre"),
    (0x1983_0326, "BeeGFS"),
    (0x00c3_6400, "CephFS"),
    (0x6969, "NFS"),
    (0xef53, "ext4"),
    (0x5846_5342, "XFS"),
    (0x9123_683e, "Btrfs"),
    (0x2fc1_2fc1, "ZFS"),
    (0x0102_1994, "tmpfs"),
    (0x794c_7630, "overlay"),
    (0x6573_5546, "FUSE"),
];

pub(super) fn check(dir: &DatabaseDir) -> Vec<Check> {
    let mut checks = Checks::of("directory");
    let path = dir.path();
    checks.ok("database", dir.run_table().display().to_string());
    let writable = may_write(path);
    if writable {
        group(&mut checks, path);
    } else {
        let hint = "you can read the table but not compute: ask its owner for write permission (chmod g+w)";
        checks.problem("writable", format!("you have no write permission in {}", path.display()), hint);
    }
    let places = [dir.extracted_data(), dir.slurm_logs(), path.join("process_logs"), path.join(".amore")];
    let files = [
        dir.run_table(),
        path.join("runs.sqlite-wal"),
        path.join("runs.sqlite-shm"),
        ledger_place::file(dir),
    ];
    let closed: Vec<String> = places
        .iter()
        .chain(&files)
        .filter(|place| place.exists() && !may_write(place))
        .map(|place| place.display().to_string())
        .collect();
    if closed.is_empty() {
        if writable {
            let made = if dir.slurm_logs().is_dir() { "exists" } else { "can be created" };
            checks.ok("slurm_logs", format!("{made}: jobs can write their logs"));
        }
    } else {
        let hint = "ask the owner to make it group-writable: chmod g+rw FILE, chmod g+rwxs DIR";
        checks.problem("files", format!("you have no write permission for {}", closed.join("\n")), hint);
    }
    space(&mut checks, path);
    file_system(&mut checks, path, writable);
    checks.done
}

fn may_write(path: &Path) -> bool {
    let wanted = if path.is_dir() { AccessFlags::W_OK | AccessFlags::X_OK } else { AccessFlags::W_OK };
    access(path, wanted).is_ok()
}

fn group(checks: &mut Checks, path: &Path) {
    let Ok(data) = fs::metadata(path) else { return };
    let name = Group::from_gid(data.gid().into()).ok().flatten();
    let name = name.map_or_else(|| data.gid().to_string(), |group| group.name);
    let mode = data.permissions().mode();
    let (shared, kept) = (mode & 0o020 != 0, mode & SETGID != 0);
    let found = format!("mode {:04o}, group {name}", mode & 0o7777);
    if shared && kept {
        checks.ok("writable", format!("by the group too, and new files belong to the group ({found})"));
    } else {
        let lacks =
            if shared { "new files may belong to another group" } else { "only by you, not by the group" };
        let hint = format!("to work here with others: chmod g+rwxs {}", path.display());
        checks.warn("writable", format!("{lacks} ({found})"), hint);
    }
}

fn space(checks: &mut Checks, path: &Path) {
    let Ok(facts) = statvfs(path) else { return };
    let free = facts.blocks_available().saturating_mul(facts.fragment_size());
    let words = format!("{:.1} GiB free", free as f64 / f64::from(1 << 30));
    let hint = "free some space, or ask for a larger quota (quotas are not checked)";
    if free < NO_SPACE {
        checks.problem("space", words, hint);
    } else if free < LITTLE_SPACE {
        checks.warn("space", words, hint);
    } else {
        checks.ok("space", words);
    }
}

fn file_system(checks: &mut Checks, path: &Path, writable: bool) {
    let kind = statfs(path).map(|facts| facts.filesystem_type().0);
    let name = kind.ok().and_then(|kind| KINDS.iter().find(|(number, _)| *number == kind));
    let name = name.map_or("unknown", |(_, name)| name);
    if matches!(name, "tmpfs" | "overlay") {
        let hint = "compute nodes cannot see it: put the database on a shared file system";
        checks.warn("file system", format!("{name} is local to this machine"), hint);
        return;
    }
    if !writable {
        return checks.ok("file system", name);
    }
    match locks_work(path) {
        Ok(true) => checks.ok("file system", format!("{name}; locks work")),
        Ok(false) => checks.problem(
            "file system",
            format!("{name}: locks do not exclude other processes"),
            "two processes could write to the table at once: ask for the file system to be mounted with locks",
        ),
        Err(words) => checks.problem(
            "file system",
            format!("{name}: locks are not available: {words}"),
            "ask for the file system to be mounted with locks (NFS: without nolock)",
        ),
    }
}

/// Whether a second lock on a file waits for the first.
fn locks_work(path: &Path) -> Result<bool, String> {
    let file = tempfile::Builder::new().prefix(".amore-doctor-").tempfile_in(path);
    let file = file.map_err(|error| error.to_string())?;
    let open = || File::options().read(true).write(true).open(file.path()).map_err(|error| error.to_string());
    let first =
        Flock::lock(open()?, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| errno.to_string())?;
    let second = Flock::lock(open()?, FlockArg::LockExclusiveNonblock);
    let kept_out = match second {
        Ok(_) => false,
        Err((_, Errno::EWOULDBLOCK)) => true,
        Err((_, errno)) => return Err(errno.to_string()),
    };
    drop(first);
    Ok(kept_out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locks_of_this_machine_work() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(locks_work(folder.path()), Ok(true));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
