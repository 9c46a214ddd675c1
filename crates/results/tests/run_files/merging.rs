use std::os::unix::fs::MetadataExt;

use amore_results::{MergeError, ReducedValue, ResultsError};

use super::*;

#[test]
fn the_first_fragment_becomes_the_run_file_by_its_second_name() {
    let directory = tempfile::tempdir().unwrap();
    let path = fragment(directory.path(), "a", 1.0, 1);
    let inode = std::fs::metadata(&path).unwrap().ino();
    for _ in 0..2 {
        let report = merge(directory.path(), std::slice::from_ref(&path));
        assert_eq!((report.stored, report.done), (vec!["a".to_owned()], vec![path.clone()]));
        assert_eq!(report.rows[0].value, ReducedValue::Real(1.0));
        assert_eq!(std::fs::metadata(run_file(directory.path())).unwrap().ino(), inode);
    }
}

#[test]
fn a_kill_between_merge_and_report_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    merge(directory.path(), &[fragment(directory.path(), "a", 1.0, 1)]);
    let second = fragment(directory.path(), "a", 2.0, 2);
    let first_try = merge(directory.path(), std::slice::from_ref(&second));
    let second_try = merge(directory.path(), std::slice::from_ref(&second));
    assert_eq!(first_try.rows, second_try.rows);
    assert_eq!(read(&run_file(directory.path()), "a/data"), [2.0]);
    assert_eq!(
        merge(directory.path(), &[directory.path().join("gone.ready.h5")]).done,
        [""; 0].map(PathBuf::from)
    );
}

#[test]
fn several_fragments_at_once_are_sorted_by_their_plans() {
    let directory = tempfile::tempdir().unwrap();
    let new = fragment(directory.path(), "a", 2.0, 2);
    let old = fragment(directory.path(), "a", 1.0, 1);
    let other = fragment(directory.path(), "b", 3.0, 1);
    let report = merge(directory.path(), &[new.clone(), old.clone(), other.clone(), new.clone()]);
    assert_eq!(report.stored, ["a", "b"]);
    assert_eq!(report.older, ["a"]);
    assert_eq!(report.done, [new, old, other]);
    assert_eq!(read(&run_file(directory.path()), "a/data"), [2.0]);
}

#[test]
fn a_mock_start_gives_way_to_a_real_one_and_never_replaces_it() {
    let directory = tempfile::tempdir().unwrap();
    let started = |seconds: f64, mock, micros| {
        let mut writer = writer(directory.path());
        writer.start_time(seconds, mock).unwrap();
        writer.value("a", &scalar(&1.0f64.to_le_bytes()), &provenance(micros)).unwrap();
        writer.finish().unwrap()
    };
    let file = run_file(directory.path());
    let of_file = || (read(&file, "start_time/data"), read(&file, ".reduced/start_time"));
    let report = merge(directory.path(), &[started(1.0, true, 1)]);
    assert_eq!((report.start_time, report.mock_start), (Some(1.0), true));
    let report = merge(directory.path(), &[started(2.0, true, 2)]);
    assert_eq!((report.start_time, report.mock_start), (Some(1.0), true));
    let report = merge(directory.path(), &[started(900.0, false, 3), started(3.0, true, 4)]);
    assert_eq!((report.start_time, report.mock_start), (Some(900.0), false));
    assert_eq!(of_file(), (vec![900.0], vec![900.0]));
    let report = merge(directory.path(), &[started(4.0, true, 5)]);
    assert_eq!((report.start_time, report.mock_start), (Some(900.0), false));
    assert_eq!(of_file(), (vec![900.0], vec![900.0]));
    let report = merge(directory.path(), &[started(901.0, false, 6)]);
    assert_eq!((report.start_time, report.mock_start), (Some(901.0), false));
}

#[test]
fn what_ends_without_a_value_takes_the_old_value_away() {
    let directory = tempfile::tempdir().unwrap();
    let file = run_file(directory.path());
    type Store = fn(&mut FragmentWriter) -> Result<(), ResultsError>;
    let ends: [(Store, bool); 3] = [
        (|writer| writer.nothing("a", &provenance(20)), false),
        (|writer| writer.forget("a", &provenance(20)), false),
        (|writer| writer.error("a", "E", "m", &provenance(20)), true),
    ];
    for (store, has_row) in ends {
        drop(std::fs::remove_file(&file));
        merge(directory.path(), &[fragment(directory.path(), "a", 1.0, 10)]);
        let mut end = writer(directory.path());
        store(&mut end).unwrap();
        let report = merge(directory.path(), &[end.finish().unwrap()]);
        assert!(!has(&file, "a") && !has(&file, ".reduced/a"));
        assert_eq!(has(&file, ".errors/a"), has_row);
        assert_eq!(report.rows.len(), usize::from(has_row));
        assert_eq!(report.without_row.len(), usize::from(!has_row));
        assert_eq!(report.removed.len(), usize::from(!has_row));
        // A late result does not reappear, but a new one does.
        let late = merge(directory.path(), &[fragment(directory.path(), "a", 1.0, 15)]);
        assert_eq!(late.older, ["a"]);
        assert!(!has(&file, "a"));
        merge(directory.path(), &[fragment(directory.path(), "a", 3.0, 30)]);
        assert!(has(&file, "a") && !has(&file, ".errors/a"));
    }
}

#[test]
fn a_fragment_that_cannot_be_read_is_set_aside_and_the_others_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let good = fragment(directory.path(), "good", 1.0, 1);
    let cut = fragment(directory.path(), "cut", 1.0, 1);
    let length = std::fs::metadata(&cut).unwrap().len();
    std::fs::File::options().write(true).open(&cut).unwrap().set_len(length / 2).unwrap();
    let report = merge(directory.path(), &[cut.clone(), good.clone()]);
    assert_eq!(report.done, [good]);
    let [(aside, error)] = report.set_aside.as_slice() else { panic!("{report:?}") };
    assert!(aside.to_str().unwrap().ends_with(".broken.h5") && aside.exists() && !cut.exists());
    assert!(matches!(error, ResultsError::Damaged { path, .. } if *path == cut), "{error}");
}

#[test]
fn a_run_file_that_cannot_be_read_stays_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(run_file(directory.path()), "text").unwrap();
    let path = fragment(directory.path(), "a", 1.0, 1);
    let error =
        amore_results::merge(directory.path(), PROPOSAL, RUN, std::slice::from_ref(&path)).unwrap_err();
    assert!(matches!(error, MergeError::RunFile(_)), "{error}");
    assert!(path.exists());
    assert_eq!(std::fs::read(run_file(directory.path())).unwrap(), b"text");
}

#[test]
fn an_array_that_is_not_there_yet_is_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let path = super::large_arrays::store_large(directory.path(), "big", &[1.0; 100], 1);
    let arrays = directory.path().join("arrays");
    std::fs::rename(&arrays, directory.path().join("elsewhere")).unwrap();
    let report = merge(directory.path(), std::slice::from_ref(&path));
    assert!(report.done.is_empty());
    assert!(matches!(report.waiting.as_slice(), [(_, ResultsError::MissingSource { .. })]), "{report:?}");
    std::fs::rename(directory.path().join("elsewhere"), &arrays).unwrap();
    assert_eq!(merge(directory.path(), std::slice::from_ref(&path)).done, [path]);
}

#[test]
fn nothing_is_left_of_the_work() {
    let directory = tempfile::tempdir().unwrap();
    for n in 0..4u32 {
        let path = fragment(directory.path(), "a", f64::from(n), n.into());
        merge(directory.path(), std::slice::from_ref(&path));
        std::fs::remove_file(path).unwrap();
    }
    assert_eq!(names(directory.path()), ["p1234_r42.h5"]);
}

#[test]
fn merges_at_once_lose_nothing() {
    let directory = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let directory = directory.path();
            scope.spawn(move || {
                for n in 0..5 {
                    merge(directory, &[fragment(directory, &format!("v{thread}_{n}"), 1.0, 1)]);
                }
            });
        }
    });
    let rows = amore_results::read_reduced(&run_file(directory.path())).unwrap().rows;
    assert_eq!(rows.len(), 20);
}
