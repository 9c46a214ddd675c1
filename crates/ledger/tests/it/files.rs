//! What is special about a ledger in a file: rights, hosts, and what else may stand in its place.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::Path,
};

use amore_ledger::{FILE_NAME, Ledger, LedgerError, OpenOptions};
use sqlx::{ConnectOptions, Row, sqlite::SqliteConnectOptions};

use crate::bench::*;

async fn refused(path: &Path) -> LedgerError {
    let error = Ledger::open(path.to_str().unwrap(), &OpenOptions::new(HOST, 0.0)).await.unwrap_err();
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    assert!(error.hint().is_some(), "{error}");
    error
}

#[tokio::test]
async fn the_file_belongs_to_the_group_of_its_directory() {
    let dir = tempfile::tempdir().unwrap();
    let group = if nix::unistd::geteuid().is_root() { 4242 } else { fs::metadata(dir.path()).unwrap().gid() };
    chown(dir.path(), None, Some(group)).unwrap();
    let ledger = Ledger::open(dir.path().to_str().unwrap(), &OpenOptions::new(HOST, 0.0)).await.unwrap();
    let path = dir.path().join(FILE_NAME);
    let meta = fs::metadata(&path).unwrap();
    assert_eq!((meta.permissions().mode() & 0o777, meta.gid()), (0o660, group));
    assert_eq!(ledger.place(), path.display().to_string());
    let mut raw = SqliteConnectOptions::new().filename(&path).connect().await.unwrap();
    let mode = sqlx::query("PRAGMA journal_mode").fetch_one(&mut raw).await.unwrap();
    assert_eq!(mode.get::<String, _>(0), "delete");
    assert!(!dir.path().join(format!("{FILE_NAME}-wal")).exists());
}

#[tokio::test]
async fn another_host_may_look_at_any_time_and_changes_nothing() {
    let bench = Bench::new(Kind::Sqlite).await.unwrap();
    let (here, lease) = bench.owned().await;
    here.add_request(&lease, &request("r"), &[]).await.unwrap();
    let there = Ledger::open_to_read(&bench.place, &OpenOptions::new("max-exfl002", 59.0)).await.unwrap();
    assert_eq!(there.requests(&lease.scope, true).await.unwrap().len(), 1);
    // It sees what comes later, and keeps nobody from writing.
    here.add_request(&lease, &request("s"), &[]).await.unwrap();
    assert_eq!(there.requests(&lease.scope, true).await.unwrap().len(), 2);
    assert!(there.acquire("elsewhere", &holder(2), 59.0, TERM, None).await.is_err());
    there.close().await.unwrap();
    assert_eq!(here.requests(&lease.scope, true).await.unwrap().len(), 2);
    // What is no ledger is told as ever.
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("other.sqlite");
    fs::write(&other, "text").unwrap();
    let error =
        Ledger::open_to_read(&other.display().to_string(), &OpenOptions::new(HOST, 0.0)).await.unwrap_err();
    assert!(matches!(error, LedgerError::Foreign { .. }), "{error:?}");
}

#[tokio::test]
async fn another_host_waits_until_the_leases_have_run_out_and_then_shuts_out_the_first() {
    let bench = Bench::new(Kind::Sqlite).await.unwrap();
    let (here, lease) = bench.owned().await;
    let open_there = |now| {
        let place = bench.place.clone();
        async move { Ledger::open(&place, &OpenOptions::new("max-exfl002", now)).await }
    };
    let error = open_there(59.0).await.unwrap_err();
    assert!(matches!(&error, LedgerError::OtherHost { host, .. } if host == HOST), "{error:?}");
    assert!(error.to_string().ends_with("is in use on max-exfl001, for another 1 s"), "{error}");
    assert!(error.hint().unwrap().contains("work on max-exfl001"), "{:?}", error.hint());
    here.add_request(&lease, &request("r"), &[]).await.unwrap();

    let there = open_there(61.0).await.unwrap();
    let error = here.add_request(&lease, &request("s"), &[]).await.unwrap_err();
    assert!(matches!(&error, LedgerError::OtherHost { host, .. } if host == "max-exfl002"), "{error:?}");
    let theirs = acquire(&there, 2, 61.0).await;
    there.add_request(&theirs, &request("t"), &[]).await.unwrap();
    there.release(theirs).await.unwrap();
    bench.open().await;
}

#[tokio::test]
async fn whatever_else_stands_there_is_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let text = dir.path().join("notes.txt");
    fs::write(&text, "twenty bytes of text").unwrap();
    assert!(matches!(refused(&text).await, LedgerError::Foreign { .. }));
    assert_eq!(fs::read(&text).unwrap(), b"twenty bytes of text");

    let other = dir.path().join("runs.sqlite");
    let options = SqliteConnectOptions::new().filename(&other).create_if_missing(true);
    let mut raw = options.connect().await.unwrap();
    sqlx::raw_sql("CREATE TABLE metameta (key, value)").execute(&mut raw).await.unwrap();
    drop(raw);
    let before = fs::read(&other).unwrap();
    assert!(matches!(refused(&other).await, LedgerError::Foreign { .. }));
    assert_eq!(fs::read(&other).unwrap(), before);

    let missing = dir.path().join("missing");
    let error = refused_anywhere(&missing.join("ledger.sqlite")).await.to_string();
    assert_eq!(error, format!("the directory {} does not exist", missing.display()));
    for place in ["mysql://user:secret@host/db", ""] {
        let error = Ledger::open(place, &OpenOptions::new(HOST, 0.0)).await.unwrap_err();
        assert!(matches!(error, LedgerError::BadPlace { .. }));
        assert!(!error.to_string().contains("secret"));
    }
}

async fn refused_anywhere(path: &Path) -> LedgerError {
    let options = OpenOptions::new(HOST, 0.0);
    let ledger = match Ledger::open(path.to_str().unwrap(), &options).await {
        Ok(ledger) => ledger,
        Err(error) => return error,
    };
    ledger.open_tasks(SCOPE).await.unwrap_err()
}

#[tokio::test]
async fn a_damaged_file_is_called_so() {
    let bench = Bench::new(Kind::Sqlite).await.unwrap();
    let (ledger, lease) = bench.owned().await;
    ledger.add_request(&lease, &request("r"), &[task("a", &[])]).await.unwrap();
    ledger.close().await.unwrap();
    let path = Path::new(&bench.place);
    let mut bytes = fs::read(path).unwrap();
    // All pages but the first.
    bytes[4096..].fill(0xa5);
    fs::write(path, &bytes).unwrap();
    let error = refused_anywhere(path).await;
    assert!(matches!(error, LedgerError::Corrupt { .. }), "{error:?}");
    assert!(error.to_string().contains(&bench.place) && error.hint().unwrap().contains(&bench.place));
}

#[tokio::test]
async fn a_file_that_was_deleted_takes_no_more_writes_and_a_new_one_starts_empty() {
    let bench = Bench::new(Kind::Sqlite).await.unwrap();
    let (ledger, lease) = bench.owned().await;
    fs::remove_file(&bench.place).unwrap();
    // As a crash in the middle of a transaction would have left it.
    fs::write(format!("{}-journal", bench.place), [0xd9, 0xd5, 0x05, 0xf9]).unwrap();
    let error = ledger.add_request(&lease, &request("r"), &[]).await.unwrap_err();
    assert!(matches!(error, LedgerError::Replaced { .. }), "{error:?}");
    let (fresh, lease) = bench.owned().await;
    assert_eq!(lease.epoch, 1);
    assert_eq!(fresh.requests(SCOPE, false).await.unwrap(), []);
    assert!(matches!(ledger.open_tasks(SCOPE).await, Err(LedgerError::Replaced { .. })));
}

#[tokio::test]
async fn a_lock_that_another_program_keeps_is_named_and_worth_another_try() {
    let bench = Bench::new(Kind::Sqlite).await.unwrap();
    let (ledger, lease) = bench.owned().await;
    ledger.close().await.unwrap();
    let options =
        OpenOptions { patience: std::time::Duration::from_millis(50), ..OpenOptions::new(HOST, 0.0) };
    let ledger = Ledger::open(&bench.place, &options).await.unwrap();
    let mut raw = bench.raw().await;
    raw.run("BEGIN IMMEDIATE").await.unwrap();
    let error = ledger.add_request(&lease, &request("r"), &[]).await.unwrap_err();
    assert!(matches!(error, LedgerError::Busy { .. }) && error.is_temporary(), "{error:?}");
    raw.run("ROLLBACK").await.unwrap();
    ledger.add_request(&lease, &request("r"), &[]).await.unwrap();
}

#[tokio::test]
async fn a_call_that_is_given_up_leaves_no_trace_and_nothing_locked() {
    for kind in [Kind::Sqlite, Kind::Postgres] {
        let Some(bench) = Bench::new(kind).await else { continue };
        let (ledger, lease) = bench.owned().await;
        for number in 0..40 {
            let id = format!("r{number}");
            let (request, tasks) = (request(&id), [task(&id, &[])]);
            let call = ledger.add_request(&lease, &request, &tasks);
            let limit = std::time::Duration::from_micros(50 * number);
            let given_up = tokio::time::timeout(limit, call).await.is_err();
            let there = ledger.task(SCOPE, &id).await.unwrap().is_some();
            assert!(there || given_up);
        }
        let requests = ledger.requests(SCOPE, false).await.unwrap().len();
        assert_eq!(ledger.open_tasks(SCOPE).await.unwrap().len(), requests);
    }
}
