//! Whoever can read a run file can read its arrays, and a missing array is noticed.

use std::{fs, os::unix::fs::PermissionsExt};

use amore_results::{Finding, verify};

use super::{large_arrays::store_large, *};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// The array file of the only array.
fn array_of(directory: &Path) -> PathBuf {
    let arrays = directory.join("arrays/p1234_r42");
    let [only] = names(&arrays).try_into().unwrap();
    arrays.join(only)
}

#[test]
fn arrays_get_the_rights_of_their_run_file() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    set_mode(directory, 0o755);
    merge(directory, &[fragment(directory, "small", 1.0, 1)]);
    let file = run_file(directory);
    let cases = [(0o644, 0o755), (0o640, 0o2750), (0o600, 0o700), (0o664, 0o2775)];
    for (number, (rights, top)) in cases.into_iter().enumerate() {
        set_mode(&file, rights);
        set_mode(directory, top);
        let big = store_large(directory, "big", &[1.0; 4], 2 + number as u64);
        let arrays = directory.join("arrays");
        // The permissions that a job with another umask, or a command of an earlier version, leaves.
        for path in [&arrays.join("p1234_r42"), &arrays] {
            set_mode(path, 0o700);
        }
        for name in names(&arrays.join("p1234_r42")) {
            set_mode(&arrays.join("p1234_r42").join(name), 0o600);
        }
        let report = merge(directory, &[big]);
        assert_eq!(report.fewer_readers, None);
        // A new result does not change the permissions of the file.
        assert_eq!(mode(&file), rights);
        assert_eq!(verify(&file).unwrap(), [], "{rights:o}");
    }
}

#[test]
fn a_closed_array_of_the_only_fragment_is_opened_before_it_becomes_the_run_file() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    set_mode(directory, 0o755);
    let big = store_large(directory, "big", &[1.0; 4], 1);
    set_mode(&big, 0o644);
    set_mode(&array_of(directory), 0o660);
    merge(directory, &[big]);
    assert_eq!(mode(&run_file(directory)) & 0o444, 0o444);
    assert_eq!(mode(&array_of(directory)) & 0o444, 0o444);
}

#[test]
fn rights_that_were_changed_later_are_told() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    set_mode(directory, 0o755);
    merge(directory, &[store_large(directory, "big", &[1.0; 4], 1)]);
    let (file, array) = (run_file(directory), array_of(directory));
    set_mode(&file, 0o644);
    set_mode(&array, 0o644);
    assert_eq!(verify(&file).unwrap(), []);
    set_mode(&array, 0o640);
    let found = verify(&file).unwrap();
    let [Finding::FewerReaders { path, .. }] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!(*path, array);
    assert!(!found[0].is_note() && found[0].to_string().contains("rw-r-----"), "{}", found[0]);
    set_mode(&array, 0o644);
    let arrays = directory.join("arrays");
    set_mode(&arrays, 0o750);
    let found = verify(&file).unwrap();
    assert!(matches!(found.as_slice(), [Finding::FewerReaders { path, .. }] if *path == arrays), "{found:?}");
    // The next result repairs it.
    merge(directory, &[fragment(directory, "small", 1.0, 2)]);
    assert_eq!(verify(&file).unwrap(), []);
}

#[test]
fn a_lost_array_is_not_a_number() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    merge(directory, &[store_large(directory, "big", &[1.0; 4], 1)]);
    fs::remove_file(array_of(directory)).unwrap();
    assert!(read(&run_file(directory), "big/v").iter().all(|value| value.is_nan()));
    // This also holds when the run file is rewritten.
    merge(directory, &[fragment(directory, "small", 1.0, 2)]);
    assert!(read(&run_file(directory), "big/v").iter().all(|value| value.is_nan()));
}
