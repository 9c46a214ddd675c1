//! The file itself: when it is created, who may write it, and what happens if something else is in its place.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, time::Duration};

use amore_listener_db::{Added, Database, ListenerDb, ListenerDbError, Settings};
use amore_model::{Proposal, SettingValue};
use sqlx::{ConnectOptions, sqlite::SqliteConnectOptions};

fn database(proposal: u32, dir: &Path, official: bool) -> Database {
    Database { proposal: Proposal(proposal), dir: dir.to_owned(), official }
}

/// Runs SQL as another program would.
async fn as_other_program(dir: &Path, sql: &'static str) -> sqlx::sqlite::SqliteConnection {
    let options = SqliteConnectOptions::new().filename(dir.join("listener.sqlite")).create_if_missing(true);
    let mut connection = options.connect().await.unwrap();
    sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
    connection
}

#[tokio::test]
async fn reading_gives_defaults_and_creates_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let db = ListenerDb::at(dir.path());
    assert_eq!(db.settings().await.unwrap(), Settings::default());
    let all = db.all_settings().await.unwrap();
    let expected = [("allow_local_processing", 0), ("static_mode", 1)];
    assert_eq!(all, expected.map(|(key, value)| (key.to_owned(), SettingValue::Integer(value))));
    assert!(db.databases().await.unwrap().databases.is_empty());
    assert!(!db.delete_setting("static_mode").await.unwrap());
    assert_eq!(db.remove(dir.path()).await.unwrap(), None);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn the_file_is_never_writable_for_others() {
    let dir = tempfile::tempdir().unwrap();
    let db = ListenerDb::at(dir.path());
    db.set_setting("sandbox_args", &"run --in".into()).await.unwrap();
    let mode = fs::metadata(db.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o002, 0, "{mode:o}");
    assert_eq!(mode & 0o600, 0o600, "{mode:o}");
    assert_eq!(db.settings().await.unwrap().sandbox_args.unwrap().to_string(), "run --in");
    // The settings that DAMNIT always sets are there for its own commands.
    let mut connection = as_other_program(dir.path(), "SELECT 1").await;
    let rows = sqlx::query("SELECT key FROM settings").fetch_all(&mut connection).await.unwrap();
    assert_eq!(rows.len(), 3);
}

#[tokio::test]
async fn databases_are_added_found_by_any_path_and_removed() {
    let dir = tempfile::tempdir().unwrap();
    let (real, link) = (dir.path().join("real"), dir.path().join("link"));
    fs::create_dir(&real).unwrap();
    std::os::unix::fs::symlink(&real, &link).unwrap();
    let db = ListenerDb::at(dir.path());
    let first = database(1234, &real, true);
    assert_eq!(db.add(&first).await.unwrap(), Added::New);
    let gone = database(1234, &dir.path().join("gone"), false);
    assert_eq!(db.add(&gone).await.unwrap(), Added::New);
    // Neither twice, nor by another path, nor for another proposal.
    for again in [first.clone(), database(1234, &link, false), database(77, &real, true)] {
        assert_eq!(db.add(&again).await.unwrap(), Added::AlreadyThere(first.clone()));
    }
    let found = db.databases().await.unwrap();
    assert_eq!(found.of(Proposal(1234)).cloned().collect::<Vec<_>>(), [first.clone(), gone.clone()]);
    assert_eq!(found.of(Proposal(77)).count(), 0);
    assert_eq!(db.remove(&link).await.unwrap(), Some(first));
    assert_eq!(db.remove(&gone.dir).await.unwrap(), Some(gone.clone()));
    assert_eq!(db.remove(&gone.dir).await.unwrap(), None);
}

#[tokio::test]
async fn what_other_programs_wrote_is_read_or_reported() {
    let dir = tempfile::tempdir().unwrap();
    drop(
        as_other_program(
            dir.path(),
            "CREATE TABLE proposal_databases(proposal, db_dir UNIQUE, official);
             CREATE TABLE settings(key PRIMARY KEY NOT NULL, value);
             INSERT INTO proposal_databases VALUES (1234, 'here', 1), ('77', '/there', 0), ('x', '/a', 1), (5, NULL, 1);
             INSERT INTO settings VALUES ('static_mode', 0), ('allow_local_processing', '0'), ('colour', 1.5)",
        )
        .await,
    );
    let db = ListenerDb::at(dir.path());
    let found = db.databases().await.unwrap();
    assert_eq!(
        found.databases,
        [database(1234, Path::new("here"), true), database(77, Path::new("/there"), false)]
    );
    let words: Vec<_> = found.unusable.iter().map(|row| (row.row.as_str(), row.why)).collect();
    assert_eq!(
        words,
        [
            ("proposal x, db_dir /a", "the proposal is not a number"),
            ("proposal 5, db_dir (nothing)", "the path is not text")
        ]
    );
    // DAMNIT's own command stores the text "0".
    let settings = db.settings().await.unwrap();
    assert_eq!((settings.static_mode, settings.allow_local_processing), (false, false));
    assert!(db.all_settings().await.unwrap().contains(&("colour".to_owned(), SettingValue::Real(1.5))));
    assert!(db.delete_setting("colour").await.unwrap());
    db.set_setting("static_mode", &"perhaps".into()).await.unwrap();
    let error = db.settings().await.unwrap_err();
    assert!(matches!(&error, ListenerDbError::BadSetting { key, .. } if key == "static_mode"), "{error}");
    assert!(error.hint().is_some());
}

#[tokio::test]
async fn something_else_in_its_place_is_named_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let db = ListenerDb::at(dir.path());
    for content in ["no database at all, but longer than a header", "short"] {
        fs::write(db.path(), content).unwrap();
        for error in
            [db.settings().await.unwrap_err(), db.set_setting("static_mode", &true.into()).await.unwrap_err()]
        {
            assert!(matches!(error, ListenerDbError::NotAListenerDb { .. }), "{error}");
            assert!(error.to_string().contains(db.path().to_str().unwrap()));
        }
        assert_eq!(fs::read_to_string(db.path()).unwrap(), content);
    }
    fs::remove_file(db.path()).unwrap();
    drop(as_other_program(dir.path(), "CREATE TABLE mine(x)").await);
    let error = db.add(&database(1, dir.path(), true)).await.unwrap_err();
    assert!(error.to_string().contains("it has a table mine"), "{error}");
    fs::remove_file(db.path()).unwrap();
    fs::create_dir(db.path()).unwrap();
    assert!(db.databases().await.unwrap_err().to_string().contains("it is a directory"));
    let missing = ListenerDb::at(dir.path().join("nowhere")).databases().await.unwrap_err();
    assert!(matches!(missing, ListenerDbError::NoDirectory { .. }));
}

#[tokio::test]
async fn a_file_that_is_just_being_created_is_read_as_absent_and_completed_by_a_writer() {
    let dir = tempfile::tempdir().unwrap();
    let db = ListenerDb::at(dir.path());
    fs::write(db.path(), "").unwrap();
    assert!(db.databases().await.unwrap().databases.is_empty());
    // DAMNIT creates its tables one by one.
    drop(
        as_other_program(dir.path(), "CREATE TABLE proposal_databases(proposal, db_dir UNIQUE, official)")
            .await,
    );
    assert_eq!(db.settings().await.unwrap(), Settings::default());
    db.set_setting("static_mode", &false.into()).await.unwrap();
    assert!(!db.settings().await.unwrap().static_mode);
}

#[tokio::test]
async fn a_lock_is_waited_for_and_then_named() {
    let dir = tempfile::tempdir().unwrap();
    let db = ListenerDb::at(dir.path()).busy_timeout(Duration::from_millis(50));
    db.set_setting("static_mode", &true.into()).await.unwrap();
    let mut other = as_other_program(dir.path(), "BEGIN EXCLUSIVE").await;
    for error in [db.settings().await.unwrap_err(), db.add(&database(1, dir.path(), true)).await.unwrap_err()]
    {
        assert!(matches!(error, ListenerDbError::Busy { .. }), "{error}");
    }
    sqlx::raw_sql("COMMIT").execute(&mut other).await.unwrap();
    assert!(db.settings().await.unwrap().static_mode);
}

/// Root may write everywhere, so there this shows only that reading needs no permission to write.
#[tokio::test]
async fn without_permission_to_write_it_can_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let db = ListenerDb::at(dir.path());
    db.set_setting("static_mode", &false.into()).await.unwrap();
    fs::set_permissions(db.path(), fs::Permissions::from_mode(0o440)).unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o550)).unwrap();
    assert!(!db.settings().await.unwrap().static_mode);
    if !nix::unistd::geteuid().is_root() {
        let error = db.set_setting("static_mode", &true.into()).await.unwrap_err();
        assert!(matches!(error, ListenerDbError::NotWritable { .. }), "{error}");
    }
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o750)).unwrap();
}
