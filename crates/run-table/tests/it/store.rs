//! Storing and reading back.

use amore_model::{Proposal, Run};
use amore_run_table::{
    Cell, CellKind, Refused, RunTable, RunUpdate, SqlValue, TableFilter, VIEW_COLUMNS, VariableRow,
};

use crate::support::*;

fn declared(name: &str, title: &str, tags: &[&str]) -> VariableRow {
    VariableRow {
        name: name.into(),
        title: title.into(),
        description: Some(format!("what {name} is")),
        tags: tags.iter().map(|&tag| tag.into()).collect(),
    }
}

#[tokio::test]
async fn results_never_have_the_names_of_columns_of_runs() {
    let (dir, table, mine) = owned().await;
    let names = ["run", "proposal", "added_at", "start_time"];
    let mut values: Vec<_> = names.into_iter().map(|name| number(name, 1.0)).collect();
    values.extend([number("a", 1.0), error("run", "ValueError", "bad")]);
    let stored = table.store(&mine, &[update(1234, 1, values)], 1.0).await.unwrap();
    let mut refused: Vec<_> = stored.refused.iter().map(Refused::name).collect();
    refused.sort_unstable();
    assert_eq!(refused, ["added_at", "proposal", "run", "start_time"]);
    assert!(stored.refused[0].to_string().contains("is a column of every run"), "{}", stored.refused[0]);
    let mut reader = stranger(&dir.path().join("runs.sqlite")).await;
    assert_eq!(column(&mut reader, "SELECT name FROM run_variables").await, ["a"]);
    // Another program may have stored one: it can be removed.
    run_sql(&mut reader, "UPDATE run_variables SET name = 'run'").await;
    let stored = table.store(&mine, &[update(1234, 1, vec![gone("run")])], 2.0).await.unwrap();
    assert_eq!(stored.refused, []);
    assert!(column(&mut reader, "SELECT name FROM run_variables").await.is_empty());
}

#[tokio::test]
async fn what_is_stored_is_read_back_by_title_and_kind() {
    let (dir, table, mine) = owned().await;
    table
        .update_variables(&mine, &[declared("b", "Beam", &[]), declared("a", "Aperture", &[])])
        .await
        .unwrap();
    let mut complex = cell("c", SqlValue::Blob([1.5f64.to_le_bytes(), (-2.0f64).to_le_bytes()].concat()));
    let CellKind::Value(value) = &mut complex.kind else { unreachable!() };
    value.summary_type = Some("complex".into());
    let mut curve = cell("t", SqlValue::Blob(b"\x93NUMPY....".into()));
    let CellKind::Value(value) = &mut curve.kind else { unreachable!() };
    value.summary_type = Some("trendline".into());
    let batch = [
        update(
            1234,
            2,
            vec![
                number("a", 1.25),
                cell("b", SqlValue::Int(7)),
                complex,
                curve,
                cell("image", SqlValue::Blob(b"\x89PNG\r\n\x1a\n".into())),
                cell("text", SqlValue::Text("it's".into())),
                number("nan", f64::NAN),
                error("e", "ValueError", "no \"beam\"\n"),
            ],
        ),
        update(1234, 1, vec![number("a", 0.5)]),
    ];
    let stored = table.store(&mine, &batch, 2000.0).await.unwrap();
    assert_eq!((stored.refused, stored.truncated), (vec![], None));
    table.close().await.unwrap();

    let table = RunTable::open_read_only(dir.path()).await.unwrap();
    let data = table.table(&TableFilter::default()).await.unwrap();
    let titles: Vec<_> = data.columns.iter().map(|c| c.title.as_str()).collect();
    assert_eq!(titles, ["Beam", "Aperture", "c", "e", "image", "nan", "t", "text"]);
    assert_eq!(data.rows.iter().map(|r| r.run.0).collect::<Vec<_>>(), [1, 2]);
    assert_eq!((data.rows[0].start_time, data.rows[0].added_at), (Some(900.0), Some(2000.0)));
    assert_eq!(data.rows[0].cells[..2], [None, Some(Cell::Number { value: 0.5 })]);
    let cells = &data.rows[1].cells;
    assert_eq!(cells[0], Some(Cell::Integer { value: 7 }));
    assert_eq!(cells[2], Some(Cell::Complex { re: 1.5, im: -2.0 }));
    assert_eq!(cells[3], Some(Cell::Error { class: "ValueError".into(), message: "no \"beam\"\n".into() }));
    assert_eq!(cells[4], Some(Cell::Image));
    assert!(matches!(cells[5], Some(Cell::Number { value }) if value.is_nan()));
    assert_eq!(cells[6], Some(Cell::Trendline));
    assert_eq!(cells[7], Some(Cell::Text { value: "it's".into() }));

    let filter = TableFilter {
        proposal: Some(Proposal(1234)),
        runs: Some([Run(1)].into()),
        variables: Some(vec!["a".into()]),
    };
    let data = table.table(&filter).await.unwrap();
    assert_eq!((data.columns.len(), data.rows.len()), (1, 1));
    assert_eq!(
        table.run_values(Proposal(1234), Run(1)).await.unwrap(),
        [("a".to_owned(), Cell::Number { value: 0.5 })]
    );
    assert_eq!(table.runs().await.unwrap(), [(Proposal(1234), Run(1)), (Proposal(1234), Run(2))]);
}

#[tokio::test]
async fn a_value_is_replaced_by_an_error_and_by_nothing() {
    let (_dir, table, mine) = owned().await;
    let store = async |cell| table.store(&mine, &[update(1234, 1, vec![cell])], 1.0).await.unwrap();
    let values = async || table.run_values(Proposal(1234), Run(1)).await.unwrap();
    store(number("a", 1.0)).await;
    store(error("a", "KeyError", "x")).await;
    assert_eq!(values().await, [("a".into(), Cell::Error { class: "KeyError".into(), message: "x".into() })]);
    let mut other = stranger(table.path()).await;
    let row = "SELECT json_array(value, version, timestamp, max_diff, provenance, summary_type, summary_method, \
               attributes) FROM run_variables";
    assert_eq!(
        column(&mut other, row).await,
        [r#"[null,1,1000.0,null,"context.py",null,null,"{\"error\":\"x\",\"error_cls\":\"KeyError\"}"]"#]
    );
    store(gone("a")).await;
    assert_eq!(values().await, []);
    assert_eq!(column(&mut other, row).await, Vec::<String>::new());
    assert_eq!(table.runs().await.unwrap().len(), 1);
}

#[tokio::test]
async fn the_last_update_of_a_cell_counts_and_the_first_sight_of_a_run() {
    let (_dir, table, mine) = owned().await;
    let mut again = update(1234, 1, vec![gone("b"), number("a", 3.0)]);
    again.start_time = None;
    let first = update(1234, 1, vec![number("a", 1.0), number("b", 1.0), number("a", 2.0)]);
    table.store(&mine, &[first, again.clone()], 10.0).await.unwrap();
    table.store(&mine, &[again], 20.0).await.unwrap();
    let data = table.table(&TableFilter::default()).await.unwrap();
    assert_eq!((data.rows[0].start_time, data.rows[0].added_at), (Some(900.0), Some(10.0)));
    assert_eq!(data.rows[0].cells, [Some(Cell::Number { value: 3.0 })]);
}

#[tokio::test]
async fn a_mock_start_is_taken_only_where_there_is_none() {
    let (_dir, table, mine) = owned().await;
    let store = async |start, mock_start| {
        let run = RunUpdate { start_time: start, mock_start, ..update(1234, 1, vec![]) };
        table.store(&mine, &[run], 10.0).await.unwrap();
        table.table(&TableFilter::default()).await.unwrap().rows[0].start_time
    };
    assert_eq!(store(None, false).await, None);
    assert_eq!(store(Some(1.0), true).await, Some(1.0));
    assert_eq!(store(Some(900.0), false).await, Some(900.0));
    assert_eq!(store(Some(1.0), true).await, Some(900.0));
    assert_eq!(store(None, true).await, Some(900.0));
}

#[tokio::test]
async fn what_users_typed_is_never_touched() {
    let (_dir, table, mine) = owned().await;
    table.store(&mine, &[update(1234, 1, vec![])], 1.0).await.unwrap();
    let mut gui = stranger(table.path()).await;
    run_sql(
        &mut gui,
        "INSERT INTO variables (name, type, title) VALUES ('flag', 'boolean', 'Flag');
         INSERT INTO run_variables (proposal, run, name, version, value) VALUES
           (1234, 1, 'flag', 1, 1), (1234, 1, 'comment', 1, 'good run')",
    )
    .await;
    let batch = update(
        1234,
        1,
        vec![
            number("flag", 0.0),
            number("comment", 0.0),
            gone("comment"),
            number("ok", 1.0),
            number("", 1.0),
        ],
    );
    let stored = table.store(&mine, &[batch, update(1234, 1, vec![gone("flag")])], 1.0).await.unwrap();
    assert_eq!(stored.refused, [Refused::BadName { name: "".into() }]);
    let stored = table.store(&mine, &[update(1234, 1, vec![number("flag", 0.0)])], 1.0).await.unwrap();
    assert_eq!(stored.refused, [Refused::UserEditable { name: "flag".into() }]);
    let changes = table.update_variables(&mine, &[declared("flag", "Mine", &[])]).await.unwrap();
    assert_eq!(changes.refused, [Refused::UserEditable { name: "flag".into() }]);

    let data = table.table(&TableFilter::default()).await.unwrap();
    assert_eq!(data.rows[0].comment.as_deref(), Some("good run"));
    assert_eq!(data.rows[0].cells, [Some(Cell::Boolean { value: true }), Some(Cell::Number { value: 1.0 })]);
    assert!(data.columns[0].user_editable && data.columns[0].title == "Flag");
}

#[tokio::test]
async fn variables_change_with_their_tags() {
    let (_dir, table, mine) = owned().await;
    let update = async |rows: &[VariableRow]| table.update_variables(&mine, rows).await.unwrap();
    let first = update(&[declared("a", "A", &["xgm", "fast"]), declared("b", "B", &["xgm"])]).await;
    assert_eq!((first.added, first.changed), (vec!["a".into(), "b".into()], vec![]));
    let same = update(&[declared("a", "A", &["fast", "xgm"]), declared("b", "B", &["xgm"])]).await;
    assert_eq!((same.added.len(), same.changed.len()), (0, 0));
    let other = update(&[declared("a", "A", &["slow"]), declared("b", "New", &["xgm"])]).await;
    assert_eq!((other.added, other.changed), (vec![], vec!["a".into(), "b".into()]));
    let rows = table.computed_variables().await.unwrap();
    assert_eq!(rows, [declared("a", "A", &["slow"]), declared("b", "New", &["xgm"])]);
    let mut other = stranger(table.path()).await;
    assert_eq!(column(&mut other, "SELECT name FROM tags ORDER BY name").await, ["slow", "xgm"]);
}

#[tokio::test]
async fn variables_without_values_can_be_forgotten() {
    let (_dir, table, mine) = owned().await;
    table.update_variables(&mine, &[declared("a", "A", &["t"]), declared("b", "B", &[])]).await.unwrap();
    table.store(&mine, &[update(1234, 1, vec![number("b", 1.0)])], 1.0).await.unwrap();
    let names = ["a".to_owned(), "b".to_owned(), "c".to_owned()];
    assert_eq!(table.drop_variables(&mine, &names).await.unwrap(), ["a"]);
    let mut other = stranger(table.path()).await;
    assert_eq!(column(&mut other, "SELECT name FROM pragma_table_info('runs')").await.split_off(4), ["b"]);
    assert_eq!(column(&mut other, "SELECT name FROM tags").await, Vec::<String>::new());
    // The variable may come back.
    table.update_variables(&mine, &[declared("a", "A", &[])]).await.unwrap();
    assert_eq!(
        column(&mut other, "SELECT name FROM pragma_table_info('runs')").await.split_off(4),
        ["b", "a"]
    );
}

#[tokio::test]
async fn a_run_number_of_two_proposals_stays_two_rows() {
    let (_dir, table, mine) = owned().await;
    let batch = [update(1234, 1, vec![number("a", 1.0)]), update(5678, 1, vec![number("a", 2.0)])];
    table.store(&mine, &batch, 1.0).await.unwrap();
    let mut other = stranger(table.path()).await;
    for (view, what) in [("runs", "a"), ("max_diffs", "1.0")] {
        let rows = column(
            &mut other,
            &format!("SELECT json_array(proposal, run, {what}) FROM {view} ORDER BY proposal"),
        )
        .await;
        assert_eq!(rows.len(), 2, "{view}: {rows:?}");
    }
    // DAMNIT's views mix the proposals up; ours are restored at the next store.
    run_sql(
        &mut other,
        "DROP VIEW runs; CREATE VIEW runs AS SELECT run_info.proposal, run_info.run, start_time, added_at,
           max(CASE WHEN name='a' THEN value END) AS 'a'
         FROM run_variables INNER JOIN run_info ON run_variables.proposal = run_info.proposal
           AND run_variables.run = run_info.run GROUP BY run_info.run",
    )
    .await;
    assert_eq!(column(&mut other, "SELECT quote(a) FROM runs").await, ["2.0"]);
    table.store(&mine, &batch, 1.0).await.unwrap();
    assert_eq!(column(&mut other, "SELECT quote(a) FROM runs ORDER BY proposal").await, ["1.0", "2.0"]);
}

#[tokio::test]
async fn names_with_quotes_are_names() {
    let (_dir, table, mine) = owned().await;
    let names = ["it's", "say \"x\"", "a.b", "a/b\n", "'); DROP TABLE run_info; --", "Ünï", "x", "X"];
    let cells = names.iter().enumerate().map(|(i, name)| number(name, i as f64)).collect();
    table.store(&mine, &[update(1234, 1, cells)], 1.0).await.unwrap();
    let mut other = stranger(table.path()).await;
    let columns = column(&mut other, "SELECT name FROM pragma_table_info('runs')").await;
    assert_eq!(columns.len(), 4 + names.len());
    assert_eq!(column(&mut other, r#"SELECT quote("it's" + "say ""x""") FROM runs"#).await, ["1.0"]);
    let read: Vec<_> = table.run_values(Proposal(1234), Run(1)).await.unwrap();
    assert_eq!(read.len(), names.len());
}

#[tokio::test]
async fn more_variables_than_a_view_can_show_are_stored_and_this_is_said() {
    let (dir, table, mine) = owned().await;
    let name = |i: usize| format!("v{i:04}");
    let declared: Vec<_> = (0..2500).map(|i| declared(&name(i), &name(i), &[])).collect();
    let changes = table.update_variables(&mine, &declared).await.unwrap();
    let truncated = changes.truncated.unwrap();
    assert_eq!((truncated.shown, truncated.of), (VIEW_COLUMNS, 2500));
    let cells = (0..2500).map(|i| number(&name(i), i as f64)).collect();
    table.store(&mine, &[update(1234, 1, cells)], 1.0).await.unwrap();
    let mut other = stranger(table.path()).await;
    assert_eq!(column(&mut other, "SELECT quote(v1899) FROM runs").await, ["1899.0"]);
    assert_eq!(column(&mut other, "SELECT name FROM pragma_table_info('max_diffs')").await.len(), 1902);
    let values = table.run_values(Proposal(1234), Run(1)).await.unwrap();
    assert_eq!(values[2499], ("v2499".into(), Cell::Number { value: 2499.0 }));
    // As long as no name is new, nothing is recreated and nothing is reported again.
    let counter = column(&mut other, "SELECT quote(schema_version) FROM pragma_schema_version").await;
    let stored = table.store(&mine, &[update(1234, 2, vec![number("v2400", 1.0)])], 1.0).await.unwrap();
    assert_eq!(stored.truncated, None);
    let table = RunTable::open(dir.path()).await.unwrap();
    table.store(&mine, &[update(1234, 2, vec![number("v2400", 1.0)])], 1.0).await.unwrap();
    assert_eq!(column(&mut other, "SELECT quote(schema_version) FROM pragma_schema_version").await, counter);
}
