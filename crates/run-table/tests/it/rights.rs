//! Without write permission, and after a writer was killed.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use amore_model::{Proposal, Run};
use amore_run_table::{Cell, FILE_NAME, RunTable, RunTableError, TableFilter};
use nix::unistd::{Uid, setfsuid};
use tempfile::TempDir;

use crate::support::*;

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Runs on a thread that has only the permissions of any user, even if the tests run as root.
fn as_anybody<T: Send>(work: impl AsyncFnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let run = || {
            if Uid::effective().is_root() {
                // Applies to this thread and those that it starts.
                setfsuid(Uid::from_raw(65534));
            }
            tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work())
        };
        scope.spawn(run).join().unwrap()
    })
}

#[tokio::test]
async fn a_directory_that_cannot_be_written_can_be_read() {
    let (dir, table, mine) = owned().await;
    table.store(&mine, &[update(1234, 1, vec![number("a", 1.5)])], 1.0).await.unwrap();
    table.close().await.unwrap();
    let (dir, path) = (dir.path(), dir.path().join(FILE_NAME));
    chmod(&path, 0o444);
    chmod(dir, 0o555);
    as_anybody(async || {
        let table = RunTable::open_read_only(dir).await.unwrap();
        let data = table.table(&TableFilter::default()).await.unwrap();
        assert_eq!(data.rows[0].cells, [Some(Cell::Number { value: 1.5 })]);
        let write = table.set_setting("slurm_time", &"1:00:00".into()).await;
        assert!(matches!(write, Err(RunTableError::OpenedReadOnly)));
        let store = table.store(&mine, &[], 1.0).await;
        assert!(matches!(store, Err(RunTableError::OpenedReadOnly)));
        let error = RunTable::open(dir).await.unwrap_err();
        assert!(
            matches!(&error, RunTableError::NotWritable { path } if path.ends_with(FILE_NAME)),
            "{error}"
        );
        assert!(error.hint().unwrap().contains("chmod g+w"));
    });
    // A writable file in a directory that is not writable: SQLite could not create its journal.
    chmod(&path, 0o666);
    as_anybody(async || {
        let error = RunTable::open(dir).await.unwrap_err();
        assert!(matches!(&error, RunTableError::NotWritable { path } if path == dir), "{error}");
    });
    chmod(&path, 0o000);
    as_anybody(async || {
        for error in [RunTable::open(dir).await, RunTable::open_read_only(dir).await] {
            assert!(matches!(error.unwrap_err(), RunTableError::Unreadable { .. }));
        }
    });
    chmod(dir, 0o755);
    fs::remove_file(&path).unwrap();
    chmod(dir, 0o555);
    as_anybody(async || {
        let create = RunTable::create(dir, Proposal(1), [1; 20], &[]).await;
        assert!(matches!(create, Err(RunTableError::NotWritable { .. })));
    });
    assert_eq!(fs::read_dir(dir).unwrap().count(), 0);
}

#[tokio::test]
async fn a_transaction_whose_writer_was_killed_is_undone_by_the_next_reader_or_writer() {
    let (dir, table, mine) = owned().await;
    let cells = |value| (0..300).map(|i| number(&format!("v{i:03}"), value)).collect();
    table.store(&mine, &[update(1234, 1, cells(1.0))], 1.0).await.unwrap();
    // The pages of an unfinished transaction are in the file, and their previous content in the journal, as after kill -9.
    let mut writer = stranger(table.path()).await;
    run_sql(
        &mut writer,
        "PRAGMA cache_size = 1; BEGIN; UPDATE run_variables SET value = 2.0, provenance = 'half'",
    )
    .await;
    let killed = || {
        let copy = TempDir::new().unwrap();
        for name in [FILE_NAME, "runs.sqlite-journal"] {
            fs::copy(dir.path().join(name), copy.path().join(name)).unwrap();
        }
        assert!(fs::read(copy.path().join(FILE_NAME)).unwrap().windows(4).any(|four| four == b"half"));
        copy
    };
    let whole = async |table: RunTable| {
        let values = table.run_values(Proposal(1234), Run(1)).await.unwrap();
        assert_eq!(values.len(), 300);
        assert!(values.iter().all(|(_, cell)| *cell == Cell::Number { value: 1.0 }));
    };
    for read_only in [true, false] {
        let copy = killed();
        let options = amore_run_table::OpenOptions { read_only, ..patient(100) };
        whole(RunTable::open_with(copy.path(), options).await.unwrap()).await;
    }
    let copy = killed();
    chmod(copy.path(), 0o555);
    chmod(&copy.path().join(FILE_NAME), 0o444);
    chmod(&copy.path().join("runs.sqlite-journal"), 0o444);
    let error = as_anybody(async || RunTable::open_read_only(copy.path()).await.unwrap_err());
    assert!(matches!(error, RunTableError::Interrupted { .. }), "{error:?}");
    chmod(copy.path(), 0o755);
}
