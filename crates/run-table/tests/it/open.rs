//! Creating, opening and migrating run tables, and other files in place of one.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use amore_model::{Proposal, Run};
use amore_run_table::{
    Acquired, Cell, FILE_NAME, OpenOptions, RunTable, RunTableError, SettingValue, TableFilter,
};
use tempfile::TempDir;

use crate::support::*;

#[tokio::test]
async fn a_new_table_has_its_settings_and_leaves_nothing_beside_it() {
    let dir = TempDir::new().unwrap();
    let extra = [("context_python", SettingValue::from("/usr/bin/python3"))];
    let table = RunTable::create(dir.path(), Proposal(1234), [0xab; 20], &extra).await.unwrap();
    assert_eq!(
        table.settings().await.unwrap(),
        [
            ("concurrent_jobs".to_owned(), SettingValue::Integer(15)),
            ("context_python".to_owned(), "/usr/bin/python3".into()),
            ("data_format_version".to_owned(), SettingValue::Integer(4)),
            ("db_id".to_owned(), SettingValue::Text("ab".repeat(20))),
            ("proposal".to_owned(), SettingValue::Integer(1234)),
        ]
    );
    assert_eq!(names(dir.path()), [FILE_NAME]);
    let mut other = stranger(table.path()).await;
    assert_eq!(column(&mut other, "PRAGMA journal_mode").await, ["delete"]);
    assert_eq!(column(&mut other, "SELECT quote(page_size) FROM pragma_page_size").await, ["4096"]);

    let again = RunTable::create(dir.path(), Proposal(1), [1; 20], &[]).await.unwrap_err();
    assert!(matches!(again, RunTableError::AlreadyExists { .. }));
    assert_eq!(names(dir.path()), [FILE_NAME]);
}

#[tokio::test]
async fn settings_keep_their_types() {
    let (_dir, table, _mine) = owned().await;
    let values = [
        SettingValue::Integer(-3),
        SettingValue::Real(2.5),
        SettingValue::Text("15".into()),
        SettingValue::Null,
    ];
    for value in values {
        table.set_setting("slurm_time", &value).await.unwrap();
        assert_eq!(table.setting("slurm_time").await.unwrap(), Some(value));
    }
    assert!(table.delete_setting("slurm_time").await.unwrap());
    assert!(!table.delete_setting("slurm_time").await.unwrap());
    assert_eq!(table.setting("slurm_time").await.unwrap(), None);
    let kept = table.set_setting("data_format_version", &SettingValue::Integer(1)).await;
    assert!(matches!(kept, Err(RunTableError::ProtectedSetting { .. })));
}

#[tokio::test]
async fn settings_are_changed_together_and_only_if_they_are_as_expected() {
    let (_dir, table, _mine) = owned().await;
    let before = table.settings().await.unwrap();
    let text = |text: &str| Some(SettingValue::from(text));
    let changes = [("slurm_account".to_owned(), text("a")), ("concurrent_jobs".to_owned(), None)];
    let refused = table.change_settings(&changes, |_| false).await.unwrap().unwrap_err();
    assert_eq!(refused.0, before);
    assert_eq!(table.settings().await.unwrap(), before);
    let after = table.change_settings(&changes, |present| present == before).await.unwrap().unwrap();
    assert_eq!(table.settings().await.unwrap(), after);
    assert!(after.contains(&("slurm_account".to_owned(), SettingValue::from("a"))));
    assert!(!after.iter().any(|(key, _)| key == "concurrent_jobs"));
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Opening must fail, with a hint, and change nothing.
async fn refused(dir: &Path, words: &str) -> RunTableError {
    let path = dir.join(FILE_NAME);
    let before = fs::read(&path).ok();
    for read_only in [false, true] {
        let options = OpenOptions { read_only, busy_timeout: Duration::from_millis(100), waits: None };
        let error = RunTable::open_with(dir, options).await.unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
        assert!(error.hint().is_some(), "{error:?}");
    }
    let create = RunTable::create(dir, Proposal(1), [1; 20], &[]).await;
    if path.symlink_metadata().is_ok() {
        assert!(matches!(create, Err(RunTableError::AlreadyExists { .. })));
        assert_eq!(fs::read(&path).ok(), before);
        assert_eq!(names(dir), [FILE_NAME]);
    }
    RunTable::open(dir).await.err().unwrap_or(RunTableError::OpenedReadOnly)
}

#[tokio::test]
async fn what_is_no_run_table_is_told_apart_and_left_alone() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join(FILE_NAME);
    assert!(matches!(
        RunTable::open(&dir.path().join("nowhere")).await,
        Err(RunTableError::NoDirectory { .. })
    ));
    let error = RunTable::open(dir.path()).await.unwrap_err();
    assert!(matches!(error, RunTableError::NotADatabaseDirectory { .. }));
    assert!(error.hint().unwrap().contains("amore proposal"));

    fs::create_dir(&path).unwrap();
    refused(dir.path(), "is a directory, not a file").await;
    fs::remove_dir(&path).unwrap();
    fs::write(&path, "").unwrap();
    refused(dir.path(), "is empty").await;
    fs::write(&path, "a,b,c\n".repeat(1000)).unwrap();
    refused(dir.path(), "is not a SQLite database").await;
    fs::remove_file(&path).unwrap();
    run_sql(&mut stranger(&path).await, "CREATE TABLE films (title); DROP TABLE films").await;
    refused(dir.path(), "is empty").await;
    fs::remove_file(&path).unwrap();
    run_sql(&mut stranger(&path).await, "CREATE TABLE films (title)").await;
    refused(dir.path(), "it has no table metameta").await;
    run_sql(&mut stranger(&path).await, "CREATE TABLE metameta (key PRIMARY KEY NOT NULL, value)").await;
    refused(dir.path(), "it has no table run_info").await;
    run_sql(&mut stranger(&path).await, "CREATE TABLE runs (proposal, runnr, start_time, added_at, comment)")
        .await;
    refused(dir.path(), "has the legacy format (version 0)").await;
}

#[tokio::test]
async fn other_versions_and_damage_are_refused() {
    let (dir, table, mine) = owned().await;
    let cells = (0..500).map(|i| number(&format!("v{i}"), 1.0)).collect();
    table.store(&mine, &[update(1234, 1, cells)], 1.0).await.unwrap();
    table.close().await.unwrap();
    let path = dir.path().join(FILE_NAME);
    let set = async |version: &str| {
        let mut other = stranger(&path).await;
        run_sql(
            &mut other,
            &format!("UPDATE metameta SET value = {version} WHERE key = 'data_format_version'"),
        )
        .await;
        sqlx::Connection::close(other).await.unwrap();
    };
    set("5").await;
    refused(dir.path(), "has format version 5").await;
    set("'four'").await;
    refused(dir.path(), "not a version number").await;
    set("0").await;
    refused(dir.path(), "legacy format").await;
    set("4").await;

    let mut bytes = fs::read(&path).unwrap();
    let end = bytes.len();
    for byte in &mut bytes[4096..end] {
        *byte ^= 0x5a;
    }
    fs::write(&path, bytes).unwrap();
    refused(dir.path(), "is damaged").await;
}

/// A table as DAMNIT created it with this format version, with two runs.
async fn old(dir: &Path, version: i64) {
    let mut other = stranger(&dir.join(FILE_NAME)).await;
    run_sql(
        &mut other,
        "CREATE TABLE run_info(proposal, run, start_time, added_at);
         CREATE UNIQUE INDEX proposal_run ON run_info (proposal, run);
         CREATE TABLE run_variables(proposal, run, name, version, value, timestamp, max_diff, provenance,
            summary_type, summary_method);
         CREATE UNIQUE INDEX variable_version ON run_variables (proposal, run, name, version);
         CREATE VIEW runs AS SELECT run_info.proposal, run_info.run, start_time, added_at,
            max(CASE WHEN name='a' THEN value END) AS 'a' FROM run_variables INNER JOIN run_info
            ON run_variables.proposal = run_info.proposal AND run_variables.run = run_info.run GROUP BY run_info.run;
         CREATE VIEW max_diffs AS SELECT proposal, run FROM run_info;
         CREATE TABLE metameta(key PRIMARY KEY NOT NULL, value);
         CREATE TABLE variables(name TEXT PRIMARY KEY NOT NULL, type TEXT, title TEXT, description TEXT,
            attributes TEXT);
         CREATE TABLE time_comments(timestamp, comment);
         INSERT INTO metameta VALUES ('proposal', 1234), ('context_python', '/env/bin/python');
         INSERT INTO variables VALUES ('a', NULL, 'Aperture', NULL, NULL), ('u', 'number', 'U', NULL, NULL);
         INSERT INTO run_info VALUES (1234, 1, 10.0, 11.0), (1234, 2, 20.0, 21.0);
         INSERT INTO time_comments VALUES (1.0, 'coffee');
         INSERT INTO run_variables VALUES (1234, 1, 'a', 1, 1.5, 1.0, 0.1, 'context.py', NULL, 'mean'),
            (1234, 2, 'a', 1, 2.5, 1.0, 0.1, 'context.py', NULL, ''), (1234, 2, 'u', 1, 3, 1.0, NULL, NULL, NULL, NULL),
            (1234, 2, 'comment', 1, 'good', 1.0, NULL, '', NULL, NULL)",
    )
    .await;
    if version >= 2 {
        run_sql(&mut other, "ALTER TABLE run_variables ADD COLUMN attributes").await;
    }
    if version >= 3 {
        run_sql(
            &mut other,
            "CREATE TABLE tags(id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE NOT NULL);
             CREATE TABLE variable_tags(variable_name TEXT NOT NULL, tag_id INTEGER NOT NULL,
               FOREIGN KEY (variable_name) REFERENCES variables(name) ON DELETE CASCADE,
               FOREIGN KEY (tag_id) REFERENCES tags(id) ON DELETE CASCADE, PRIMARY KEY (variable_name, tag_id));
             INSERT INTO tags VALUES (1, 'xgm'); INSERT INTO variable_tags VALUES ('a', 1)",
        )
        .await;
    }
    run_sql(&mut other, &format!("INSERT INTO metameta VALUES ('data_format_version', {version})")).await;
}

#[tokio::test]
async fn versions_1_to_3_are_read_as_they_are_and_migrated_with_a_copy() {
    for version in 1..=3 {
        let dir = TempDir::new().unwrap();
        old(dir.path(), version).await;
        let expect = async |table: &RunTable| {
            let data = table.table(&TableFilter::default()).await.unwrap();
            let columns: Vec<_> = data.columns.iter().map(|c| (c.title.as_str(), c.user_editable)).collect();
            assert_eq!(columns, [("Aperture", false), ("U", true)]);
            assert_eq!(data.rows[0].cells, [Some(Cell::Number { value: 1.5 }), None]);
            assert_eq!(
                data.rows[1].cells,
                [Some(Cell::Number { value: 2.5 }), Some(Cell::Number { value: 3.0 })]
            );
            assert_eq!(
                (data.rows[1].comment.as_deref(), data.rows[1].start_time),
                (Some("good"), Some(20.0))
            );
            let variables = table.computed_variables().await.unwrap();
            assert_eq!(variables[0].tags, if version == 3 { vec!["xgm".to_owned()] } else { vec![] });
        };
        let table = RunTable::open_read_only(dir.path()).await.unwrap();
        expect(&table).await;
        assert_eq!(names(dir.path()), [FILE_NAME]);
        table.close().await.unwrap();

        let table = RunTable::open(dir.path()).await.unwrap();
        expect(&table).await;
        let copy = format!("{FILE_NAME}.v{version}.backup");
        assert_eq!(names(dir.path()), [FILE_NAME.to_owned(), copy.clone()]);
        let found = |path: &str| {
            let path = dir.path().join(path);
            async move {
                let of = "SELECT quote(value) FROM metameta WHERE key = 'data_format_version'";
                column(&mut stranger(&path).await, of).await
            }
        };
        assert_eq!(found(FILE_NAME).await, ["4"]);
        assert_eq!(found(&copy).await, [version.to_string()]);

        // The trigger of version 4 works, and the table can be written.
        let mine = acquire(&table, 1, 0.0).await;
        table
            .store(&mine, &[update(1234, 3, vec![number("a", 3.5), error("b", "E", "m")])], 1.0)
            .await
            .unwrap();
        let mut other = stranger(table.path()).await;
        run_sql(&mut other, "PRAGMA foreign_keys = ON; DELETE FROM variables WHERE name = 'a'").await;
        assert_eq!(column(&mut other, "SELECT name FROM tags").await, Vec::<String>::new());
        assert_eq!(column(&mut other, "SELECT comment FROM time_comments").await, ["coffee"]);
        assert_eq!(column(&mut other, "PRAGMA integrity_check").await, ["ok"]);
    }
}

#[tokio::test]
async fn a_step_whose_version_was_not_noted_is_not_made_twice() {
    let dir = TempDir::new().unwrap();
    old(dir.path(), 3).await;
    let mut other = stranger(&dir.path().join(FILE_NAME)).await;
    run_sql(&mut other, "UPDATE metameta SET value = 1 WHERE key = 'data_format_version'").await;
    let table = RunTable::open(dir.path()).await.unwrap();
    assert_eq!(table.computed_variables().await.unwrap()[0].tags, ["xgm"]);
    table.close().await.unwrap();
    // A second copy does not replace the first.
    run_sql(&mut other, "UPDATE metameta SET value = 1 WHERE key = 'data_format_version'").await;
    RunTable::open(dir.path()).await.unwrap();
    assert_eq!(names(dir.path()).split_off(1), ["runs.sqlite.v1.backup", "runs.sqlite.v1.backup-2"]);
}

#[tokio::test]
async fn two_may_migrate_at_once() {
    let dir = TempDir::new().unwrap();
    old(dir.path(), 1).await;
    let (a, b) = tokio::join!(RunTable::open(dir.path()), RunTable::open(dir.path()));
    for table in [a.unwrap(), b.unwrap()] {
        assert_eq!(table.setting("data_format_version").await.unwrap(), Some(SettingValue::Integer(4)));
    }
    assert!(names(dir.path()).iter().all(|name| !name.ends_with(".new")));
}

#[tokio::test]
async fn a_lock_that_stays_is_named() {
    let (dir, table, mine) = owned().await;
    table.close().await.unwrap();
    let table = RunTable::open_with(dir.path(), patient(50)).await.unwrap();
    let mut other = stranger(table.path()).await;
    run_sql(&mut other, "BEGIN IMMEDIATE").await;
    let error = table.store(&mine, &[update(1234, 1, vec![number("a", 1.0)])], 1.0).await.unwrap_err();
    assert!(matches!(error, RunTableError::Busy { .. }), "{error}");
    run_sql(&mut other, "ROLLBACK").await;
    // A reader with an open transaction delays the commit, and nothing is lost.
    run_sql(&mut other, "BEGIN; SELECT * FROM run_info").await;
    let error = table.store(&mine, &[update(1234, 1, vec![number("a", 1.0)])], 1.0).await.unwrap_err();
    assert!(matches!(error, RunTableError::Busy { .. }), "{error}");
    run_sql(&mut other, "COMMIT").await;
    assert_eq!(table.runs().await.unwrap(), []);
    table.store(&mine, &[update(1234, 1, vec![number("a", 1.0)])], 1.0).await.unwrap();
    assert_eq!(table.runs().await.unwrap(), [(Proposal(1234), Run(1))]);
}

/// The process of the test below.
#[tokio::test]
#[ignore = "it is the other process of `a_stopped_process_with_a_lock_is_named`"]
#[expect(clippy::print_stdout, reason = "the test that starts it waits for the word")]
async fn holds_the_write_lock() {
    let mut connection = stranger(Path::new(&std::env::var_os("LOCKED_TABLE").unwrap())).await;
    run_sql(&mut connection, "BEGIN IMMEDIATE").await;
    println!("held");
    std::thread::sleep(Duration::from_secs(600));
}

#[tokio::test]
async fn a_stopped_process_with_a_lock_is_named() {
    struct Killed(Child);
    impl Drop for Killed {
        fn drop(&mut self) {
            self.0.kill().unwrap();
            self.0.wait().unwrap();
        }
    }
    let (dir, table, mine) = owned().await;
    table.close().await.unwrap();
    let mut holder = Killed(
        Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "--nocapture", "open::holds_the_write_lock"])
            .env("LOCKED_TABLE", dir.path().join(FILE_NAME))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let mut said = BufReader::new(holder.0.stdout.take().unwrap()).lines();
    assert!(said.any(|line| line.unwrap().contains("held")));
    let pid = holder.0.id();
    let table = RunTable::open_with(dir.path(), patient(50)).await.unwrap();
    let batch = [update(1234, 1, vec![number("a", 1.0)])];
    let running = table.store(&mine, &batch, 1.0).await.unwrap_err().hint().unwrap();
    assert!(running.starts_with(&format!("held by process {pid} of ")), "{running}");
    assert!(running.contains("open::holds") || running.contains('…'), "{running}");
    // A child of this process counts as one of its variables.
    assert!(running.ends_with("must end its transaction (commit), or close its connection"), "{running}");

    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid as i32), nix::sys::signal::SIGSTOP).unwrap();
    let stopped = table.store(&mine, &batch, 1.0).await.unwrap_err().hint().unwrap();
    let wanted = format!(", which is suspended; resume it: kill -CONT {pid}, or end it: kill -KILL {pid}");
    assert!(stopped.ends_with(&wanted), "{stopped}");
}

#[tokio::test]
async fn starting_from_scratch_under_an_open_table_is_noticed() {
    let (dir, table, mine) = owned().await;
    let path = dir.path().join(FILE_NAME);
    fs::remove_file(&path).unwrap();
    let batch = [update(1234, 1, vec![number("a", 1.0)])];
    let error = table.store(&mine, &batch, 1.0).await.unwrap_err();
    assert!(matches!(error, RunTableError::Replaced { .. }), "{error}");
    // Leftovers of a killed writer must not get into the new table.
    fs::write(dir.path().join("runs.sqlite-journal"), [0xd9; 5000]).unwrap();
    let new = RunTable::create(dir.path(), Proposal(1234), [8; 20], &[]).await.unwrap();
    assert_eq!(names(dir.path()), [FILE_NAME]);
    let error = table.store(&mine, &batch, 1.0).await.unwrap_err();
    assert!(matches!(error, RunTableError::Replaced { .. }), "{error}");
    // Epochs continue above those of the deleted table.
    let old_epoch = match table.owner().await {
        Ok(row) => row.epoch,
        Err(e) => panic!("{e}"),
    };
    let got = new.acquire(&owner(2), 1.8e9, TERM, None).await.unwrap();
    assert!(matches!(got, Acquired::Mine(ref mine) if mine.epoch > old_epoch));
}
