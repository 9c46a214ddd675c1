use std::time::{Duration, SystemTime};

use amore_results::{Finding, ResultsError, export, sweep, verify};

use super::{large_arrays::store_large, *};

const HOUR: Duration = Duration::from_secs(3600);

fn array_files(directory: &Path) -> Vec<PathBuf> {
    let arrays = directory.join("arrays/p1234_r42");
    names(&arrays).into_iter().map(|name| arrays.join(name)).collect()
}

#[test]
fn an_exported_file_stands_alone() {
    let directory = tempfile::tempdir().unwrap();
    let values: Vec<f64> = (0..200_000).map(f64::from).collect();
    let fragments =
        [store_large(directory.path(), "big", &values, 1), fragment(directory.path(), "a", 1.0, 1)];
    merge(directory.path(), &fragments);
    let elsewhere = tempfile::tempdir().unwrap();
    let out = elsewhere.path().join("out.h5");
    export(&run_file(directory.path()), &out).unwrap();
    assert_eq!(names(elsewhere.path()), ["out.h5"]);
    assert!(read(&out, "big/v") == values);
    assert_eq!(read(&out, "a/data"), [1.0]);
    assert_eq!(verify(&out).unwrap(), []);

    std::fs::remove_dir_all(directory.path().join("arrays")).unwrap();
    let error = export(&run_file(directory.path()), &out).unwrap_err();
    assert!(matches!(error, ResultsError::MissingSource { .. }), "{error}");
    assert!(read(&out, "big/v") == values, "what was exported before stays");
}

#[test]
fn missing_and_wrong_array_files_are_found() {
    let directory = tempfile::tempdir().unwrap();
    merge(directory.path(), &[store_large(directory.path(), "big", &[1.0; 100], 1)]);
    let file = run_file(directory.path());
    assert_eq!(verify(&file).unwrap(), []);
    let [array] = array_files(directory.path()).try_into().unwrap();
    std::fs::remove_file(&array).unwrap();
    assert_eq!(
        verify(&file).unwrap(),
        [Finding::MissingSource { dataset: "/big/v".to_owned(), source: array.clone(), reads_as: "NaN" }]
    );
    let other = store_large(directory.path(), "other", &[1.0; 7], 1);
    let [found] = array_files(directory.path()).try_into().unwrap();
    std::fs::rename(found, &array).unwrap();
    let findings = verify(&file).unwrap();
    assert!(matches!(findings.as_slice(), [Finding::WrongSource { .. }]), "{findings:?}");
    assert!(matches!(verify(&other).unwrap().as_slice(), [Finding::MissingSource { .. }]));
}

#[test]
fn only_what_nobody_needs_is_swept() {
    let directory = tempfile::tempdir().unwrap();
    let now = SystemTime::now();
    let fragment = store_large(directory.path(), "big", &[1.0; 100], 1);
    let dead = directory.path().join("p1234_r42.00000000.writing.h5");
    let neighbour = directory.path().join("p1234_r421.00000000.writing.h5");
    std::fs::write(&dead, "").unwrap();
    std::fs::write(&neighbour, "").unwrap();
    let sweep_later = |later: Duration| sweep(directory.path(), PROPOSAL, RUN, now + later, HOUR).unwrap();

    assert_eq!(sweep_later(Duration::ZERO), [""; 0].map(PathBuf::from));
    assert_eq!(sweep_later(2 * HOUR), [dead]);
    assert!(neighbour.exists());
    merge(directory.path(), std::slice::from_ref(&fragment));
    std::fs::remove_file(&fragment).unwrap();
    assert_eq!(sweep_later(2 * HOUR), [""; 0].map(PathBuf::from));

    let old = array_files(directory.path());
    let new = store_large(directory.path(), "big", &[2.0; 100], 2);
    merge(directory.path(), std::slice::from_ref(&new));
    std::fs::remove_file(&new).unwrap();
    assert_eq!(sweep_later(HOUR / 2), [""; 0].map(PathBuf::from));
    assert_eq!(sweep_later(2 * HOUR), old);
    assert_eq!(read(&run_file(directory.path()), "big/v"), [2.0; 100]);
}

#[test]
fn nothing_is_swept_while_a_file_cannot_be_read() {
    let directory = tempfile::tempdir().unwrap();
    let fragment = store_large(directory.path(), "big", &[1.0; 100], 1);
    std::fs::write(&fragment, "text").unwrap();
    let later = SystemTime::now() + 2 * HOUR;
    assert!(matches!(
        sweep(directory.path(), PROPOSAL, RUN, later, HOUR),
        Err(ResultsError::Damaged { path, .. }) if path == fragment
    ));
    assert_eq!(array_files(directory.path()).len(), 1);
}
