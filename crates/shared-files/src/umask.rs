//! The umask of this process, and the one that suits a directory.

use std::fs;

/// Read from the kernel, without changing it. Linux before 4.7 does not report it; then a restrictive one is used.
pub fn own() -> u32 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let umask = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    umask.and_then(|octal| u32::from_str_radix(octal.trim(), 8).ok()).unwrap_or(0o007)
}

/// The umask for work in a directory. If its group can write there, the group can also write what is made in it, so that
/// another member can go on; `files_are_the_groups`: new files there belong to that group. Others read what the user lets them
/// read, and write nothing.
pub fn for_directory(own: u32, mode_of_directory: u32, files_are_the_groups: bool) -> u32 {
    let shared = files_are_the_groups && mode_of_directory & 0o020 != 0;
    (if shared { own & !0o070 } else { own }) | 0o002
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_shares_what_is_made_in_its_directory() {
        assert_eq!(for_directory(0o022, 0o2770, true), 0o002);
        assert_eq!(for_directory(0o077, 0o2775, true), 0o007);
        // Neither a group that is not the directory's, nor one that cannot write there.
        assert_eq!(for_directory(0o027, 0o770, false), 0o027);
        assert_eq!(for_directory(0o022, 0o2750, true), 0o022);
        assert_eq!(for_directory(0, 0o777, false), 0o002);
    }
}
