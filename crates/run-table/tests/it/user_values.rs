//! What users enter: no owner is needed, nobody's change is overwritten unseen, and results leave it alone.

use amore_model::{Proposal, Run};
use amore_run_table::{
    Cell, CellKind, CellVersion, NotChanged, Presence, RunTable, TableFilter, UserCellName, UserType,
    UserValue, UserVariable,
};

use crate::support::{column, number, owned, run_sql, stranger, update};

fn variable(name: &str, value_type: UserType) -> UserVariable {
    UserVariable { name: name.into(), title: name.to_uppercase(), value_type, description: "d".into() }
}

fn cell(variable: &str) -> UserCellName<'_> {
    UserCellName { proposal: Proposal(1234), run: Run(1), variable }
}

fn text(text: &str) -> UserValue {
    UserValue::String(text.into())
}

/// A table with run 1 and the text variable `note`, opened a second time by a user who does not own it.
async fn opened() -> (tempfile::TempDir, RunTable, RunTable, amore_run_table::Ownership) {
    let (dir, owners, mine) = owned().await;
    owners.store(&mine, &[update(1234, 1, vec![number("a", 1.0)])], 1000.0).await.unwrap();
    let users = RunTable::open(dir.path()).await.unwrap();
    users.add_user_variable(&variable("note", UserType::String)).await.unwrap();
    (dir, owners, users, mine)
}

#[tokio::test]
async fn a_change_is_made_only_to_the_version_that_was_seen() {
    let (_dir, _, users, _) = opened().await;
    let empty = users.user_cell(&cell("note")).await.unwrap();
    assert_eq!((empty.value, empty.version), (None, CellVersion::NEVER_WRITTEN));
    let first =
        users.set_user_cell(&cell("note"), Some(text("a")), Some(empty.version), 2000.0).await.unwrap();
    assert_eq!(users.user_cell(&cell("note")).await.unwrap(), first);
    let refused = users.set_user_cell(&cell("note"), Some(text("b")), Some(empty.version), 2001.0).await;
    let Err(NotChanged::Conflict { now }) = refused else { panic!("{refused:?}") };
    assert_eq!(*now, first);
    let second =
        users.set_user_cell(&cell("note"), Some(text("b")), Some(first.version), 2001.0).await.unwrap();
    assert_ne!(second.version, first.version);
    let emptied = users.set_user_cell(&cell("note"), None, Some(second.version), 2002.0).await.unwrap();
    assert_eq!(users.user_cell(&cell("note")).await.unwrap(), emptied);
    assert_eq!(emptied.value, None);
}

#[tokio::test]
async fn only_what_was_computed_says_when_a_run_was_processed() {
    let (_dir, owners, users, mine) = opened().await;
    let presence = async |run: u32| owners.presence(Proposal(1234), Run(run)).await.unwrap();
    assert_eq!(presence(1).await.computed, Some(1000.0));
    assert_eq!(presence(2).await, Presence::default());
    for variable in ["comment", "note"] {
        users.set_user_cell(&cell(variable), Some(text("a")), None, 2000.0).await.unwrap();
    }
    assert_eq!(presence(1).await.computed, Some(1000.0));
    let mut submitted = number("b", 1.0);
    if let CellKind::Value(value) = &mut submitted.kind {
        value.provenance = "amore submit".to_owned();
    }
    owners.store(&mine, &[update(1234, 2, vec![submitted])], 3000.0).await.unwrap();
    assert_eq!(presence(2).await, Presence { added: Some(3000.0), computed: None });
    owners.store(&mine, &[update(1234, 3, vec![])], 3000.0).await.unwrap();
    assert_eq!(presence(3).await.computed, Some(3000.0), "it has given no value");
}

#[tokio::test]
async fn two_changes_at_the_same_moment_have_two_versions() {
    let (_dir, _, users, _) = opened().await;
    let set =
        async |word: &str| users.set_user_cell(&cell("note"), Some(text(word)), None, 2000.0).await.unwrap();
    let versions = [set("a").await.version, set("b").await.version, set("c").await.version];
    assert!(versions[0] != versions[1] && versions[1] != versions[2] && versions[0] != versions[2]);
}

#[tokio::test]
async fn a_change_of_damnit_is_seen() {
    let (dir, _, users, _) = opened().await;
    let seen = users.set_user_cell(&cell("note"), Some(text("a")), None, 2000.0).await.unwrap();
    let mut damnit = stranger(&dir.path().join("runs.sqlite")).await;
    let statement = "UPDATE run_variables SET value = 'theirs', timestamp = 2003.5 WHERE name = 'note'";
    run_sql(&mut damnit, statement).await;
    let refused = users.set_user_cell(&cell("note"), Some(text("b")), Some(seen.version), 2004.0).await;
    let Err(NotChanged::Conflict { now }) = refused else { panic!("{refused:?}") };
    assert_eq!(now.value, Some(text("theirs")));
}

#[tokio::test]
async fn the_views_show_a_new_variable_and_forget_a_removed_one() {
    let (dir, owners, users, mine) = opened().await;
    users.set_user_cell(&cell("note"), Some(text("a")), None, 2000.0).await.unwrap();
    let mut reader = stranger(&dir.path().join("runs.sqlite")).await;
    assert_eq!(column(&mut reader, "SELECT quote(note) FROM runs").await, ["'a'"]);
    // The owner knows other views: it notices.
    owners.store(&mine, &[update(1234, 1, vec![number("b", 2.0)])], 2001.0).await.unwrap();
    assert_eq!(column(&mut reader, "SELECT note || b FROM runs").await, ["a2.0"]);
    users.remove_user_variable("note", true).await.unwrap();
    let names = column(&mut reader, "SELECT name FROM pragma_table_info('runs')").await;
    assert_eq!(names, ["proposal", "run", "start_time", "added_at", "a", "b"]);
}

#[tokio::test]
async fn only_what_users_edit_can_be_changed() {
    let (_dir, owners, users, mine) = opened().await;
    let set =
        async |name: &'static str, value| users.set_user_cell(&cell(name), Some(value), None, 1.0).await;
    let computed = set("a", text("x")).await.unwrap_err();
    assert!(matches!(computed, NotChanged::NoSuchVariable { .. }), "{computed}");
    let other_type = set("note", UserValue::Integer(1)).await.unwrap_err();
    assert!(matches!(other_type, NotChanged::NotOfType { .. }), "{other_type}");
    let elsewhere = UserCellName { run: Run(2), ..cell("note") };
    let missing = users.set_user_cell(&elsewhere, Some(text("x")), None, 1.0).await.unwrap_err();
    assert!(matches!(missing, NotChanged::NoSuchRun { .. }), "{missing}");
    let taken = users.add_user_variable(&variable("a", UserType::Number)).await.unwrap_err();
    assert!(matches!(taken, NotChanged::NameTaken { is_computed: true, .. }), "{taken}");
    // Comments need no declaration. Results under both names are refused.
    set("comment", text("good")).await.unwrap();
    let stored = owners
        .store(&mine, &[update(1234, 1, vec![number("comment", 1.0), number("note", 1.0)])], 2000.0)
        .await
        .unwrap();
    assert_eq!(stored.refused.len(), 2);
    assert_eq!(users.user_cell(&cell("comment")).await.unwrap().value, Some(text("good")));
}

#[tokio::test]
async fn names_that_are_one_column_for_sqlite_and_titles_that_are_taken_are_refused() {
    let (_dir, _, users, _) = opened().await;
    let add = async |name: &str, title: &str| {
        let new = UserVariable { title: title.into(), ..variable(name, UserType::Boolean) };
        users.add_user_variable(&new).await
    };
    for name in ["run", "RUN", "Start_Time", "added_at", "proposal", "Comment"] {
        let refused = add(name, "x").await.unwrap_err();
        assert!(matches!(refused, NotChanged::NameOfColumn { .. }), "{name}: {refused}");
    }
    let refused = add("Note", "x").await.unwrap_err();
    assert_eq!(refused.to_string(), "there is a variable note already");
    assert!(refused.hint().unwrap().contains("differ only in case"));
    assert!(matches!(add("A", "x").await, Err(NotChanged::NameTaken { is_computed: true, .. })));
    for title in ["Note", "Status", "run", "note", "a"] {
        let refused = add("other", title).await.unwrap_err();
        assert!(matches!(refused, NotChanged::TitleTaken { .. }), "{title}: {refused}");
    }
    assert!(matches!(add("other", "two\nlines").await, Err(NotChanged::BadTitle)));
    add("other", "Other").await.unwrap();
    add("status", "status").await.unwrap();
}

#[tokio::test]
async fn a_truth_value_is_one_in_the_table() {
    let (_dir, _, users, _) = opened().await;
    for (name, value_type, value, shown) in [
        ("dark", UserType::Boolean, UserValue::Boolean(true), Cell::Boolean { value: true }),
        ("count", UserType::Integer, UserValue::Integer(1), Cell::Integer { value: 1 }),
        ("energy", UserType::Number, UserValue::Integer(1), Cell::Number { value: 1.0 }),
    ] {
        users.add_user_variable(&variable(name, value_type)).await.unwrap();
        users.set_user_cell(&cell(name), Some(value), None, 1.0).await.unwrap();
        let data = users.table(&TableFilter::default()).await.unwrap();
        let column = data.columns.iter().position(|column| column.name == name).unwrap();
        assert_eq!(data.rows[0].cells[column], Some(shown.clone()), "{name}");
        let stored = users.stored_cell(Proposal(1234), Run(1), name).await.unwrap().unwrap();
        assert_eq!(stored.cell, Some(shown), "{name}");
    }
}

#[tokio::test]
async fn a_conflict_is_told_in_the_users_words() {
    let (_dir, _, users, _) = opened().await;
    let conflict = async |word: &str| {
        users.set_user_cell(&cell("note"), Some(text(word)), None, 1.0).await.unwrap();
        let never = Some(CellVersion::NEVER_WRITTEN);
        users.set_user_cell(&cell("note"), None, never, 1.0).await.unwrap_err().to_string()
    };
    assert_eq!(conflict("good beam").await, "it was changed meanwhile: it is \"good beam\" now");
    assert_eq!(conflict("").await, "it was changed meanwhile: it is \"\" now");
    assert!(conflict(&"x".repeat(100_000)).await.len() < 200);
}

#[tokio::test]
async fn a_table_opened_for_reading_is_not_changed() {
    let (dir, _, _, _) = opened().await;
    let reader = RunTable::open_read_only(dir.path()).await.unwrap();
    assert!(reader.user_cell(&cell("note")).await.is_ok());
    let refused = reader.set_user_cell(&cell("note"), Some(text("x")), None, 1.0).await;
    assert!(matches!(refused, Err(NotChanged::Table(_))), "{refused:?}");
}

#[tokio::test]
async fn comments_on_points_in_time_are_changed_if_they_are_as_they_were_seen() {
    let (_dir, _, users, _) = opened().await;
    let id = users.add_time_comment(5.0, "a").await.unwrap();
    let refused = users.change_time_comment(id, Some("b"), Some("other")).await;
    assert!(matches!(refused, Err(NotChanged::Conflict { .. })), "{refused:?}");
    users.change_time_comment(id, Some("b"), Some("a")).await.unwrap();
    let comments = users.time_comments().await.unwrap();
    assert_eq!((comments.len(), comments[0].comment.as_str(), comments[0].time), (1, "b", Some(5.0)));
    users.change_time_comment(id, None, None).await.unwrap();
    assert!(matches!(users.change_time_comment(id, None, None).await, Err(NotChanged::NoSuchComment { .. })));
}
