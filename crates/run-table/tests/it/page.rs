//! Pages of the table, and single cells.

use amore_model::{Proposal, Run};
use amore_run_table::{Cell, CellKind, PageRequest, RunTable, SqlValue, VariableRow};

use crate::support::*;

fn request() -> PageRequest {
    PageRequest {
        proposal: Proposal(1234),
        range: (Run(0), Run(u32::MAX)),
        after: None,
        latest_first: false,
        limit: 100,
        variables: None,
        tags: Vec::new(),
        with_error: false,
    }
}

async fn runs(table: &RunTable, request: &PageRequest) -> (Vec<u32>, usize, Option<Run>) {
    let page = table.page(request, None).await.unwrap().unwrap();
    (page.data.rows.iter().map(|row| row.run.0).collect(), page.total, page.next)
}

#[tokio::test]
async fn pages_follow_each_other_in_both_orders_until_all_runs_are_shown() {
    let (dir, table, mine) = owned().await;
    let mut batch: Vec<_> = (1..=7).map(|run| update(1234, run * 10, vec![number("a", 1.0)])).collect();
    batch.push(update(99, 5, vec![number("a", 1.0)]));
    table.store(&mine, &batch, 2000.0).await.unwrap();
    let reader = RunTable::open_read_only(dir.path()).await.unwrap();
    let page = |after: Option<u32>, latest_first| PageRequest {
        after: after.map(Run),
        latest_first,
        limit: 3,
        ..request()
    };
    assert_eq!(runs(&reader, &page(None, false)).await, (vec![10, 20, 30], 7, Some(Run(30))));
    assert_eq!(runs(&reader, &page(Some(30), false)).await, (vec![40, 50, 60], 7, Some(Run(60))));
    assert_eq!(runs(&reader, &page(Some(60), false)).await, (vec![70], 7, None));
    assert_eq!(runs(&reader, &page(None, true)).await, (vec![70, 60, 50], 7, Some(Run(50))));
    assert_eq!(runs(&reader, &page(Some(20), true)).await, (vec![10], 7, None));
    let range = PageRequest { range: (Run(20), Run(40)), ..request() };
    assert_eq!(runs(&reader, &range).await, (vec![20, 30, 40], 3, None));
    // A comment of a run that was not processed makes a row, too.
    let mut user = stranger(reader.path()).await;
    run_sql(&mut user, "INSERT INTO run_variables (proposal, run, name, version, value) VALUES (1234, 80, 'comment', 1, 'x')").await;
    assert_eq!(runs(&reader, &page(Some(60), false)).await, (vec![70, 80], 8, None));
}

#[tokio::test]
async fn variables_tags_and_errors_filter() {
    let (dir, table, mine) = owned().await;
    let declared = |name: &str, tags: &[&str]| VariableRow {
        name: name.into(),
        title: name.to_uppercase(),
        description: None,
        tags: tags.iter().map(|&tag| tag.into()).collect(),
    };
    table
        .update_variables(
            &mine,
            &[declared("a", &["xgm"]), declared("b", &["xgm", "fast"]), declared("c", &[])],
        )
        .await
        .unwrap();
    let batch = [
        update(1234, 1, vec![number("a", 1.0), error("b", "ValueError", "bad"), number("c", f64::NAN)]),
        update(1234, 2, vec![number("a", 1.0), error("b", "Skip", "no data")]),
        update(1234, 3, vec![error("c", "KeyError", "x")]),
    ];
    table.store(&mine, &batch, 2000.0).await.unwrap();
    let reader = RunTable::open_read_only(dir.path()).await.unwrap();
    let names = |variables: &[&str]| Some(variables.iter().map(|&name| name.to_owned()).collect());
    let tags = |tags: &[&str]| tags.iter().map(|&tag| tag.to_owned()).collect();
    let columns = async |request: PageRequest| -> Vec<String> {
        let page = reader.page(&request, None).await.unwrap().unwrap();
        page.data.columns.into_iter().map(|column| column.name).collect()
    };
    assert_eq!(columns(request()).await, ["a", "b", "c"]);
    assert_eq!(columns(PageRequest { tags: tags(&["fast"]), ..request() }).await, ["b"]);
    assert_eq!(columns(PageRequest { variables: names(&["c", "a"]), ..request() }).await, ["a", "c"]);
    let both = PageRequest { variables: names(&["c", "a"]), tags: tags(&["xgm"]), ..request() };
    assert_eq!(columns(both).await, ["a"]);
    let failed = PageRequest { with_error: true, ..request() };
    assert_eq!(runs(&reader, &failed).await.0, [1, 3]);
    assert_eq!(runs(&reader, &PageRequest { tags: tags(&["xgm"]), ..failed }).await.0, [1]);
    let variables = reader.variables().await.unwrap();
    let with_tags: Vec<(&str, usize)> =
        variables.iter().map(|row| (row.title.as_str(), row.tags.len())).collect();
    assert_eq!(with_tags, [("A", 1), ("B", 2), ("C", 0)]);
}

#[tokio::test]
async fn the_version_changes_with_the_content_whoever_changes_it() {
    let (dir, table, mine) = owned().await;
    table.store(&mine, &[update(1234, 1, vec![number("a", 1.0)])], 2000.0).await.unwrap();
    let reader = RunTable::open_read_only(dir.path()).await.unwrap();
    let first = reader.page(&request(), None).await.unwrap().unwrap().version;
    assert_eq!(reader.page(&request(), Some(first)).await.unwrap(), None);
    assert_eq!(reader.content_version().await.unwrap(), first);

    // The same number of values, at the same time, with the same size.
    table.store(&mine, &[update(1234, 1, vec![number("a", 2.0)])], 2000.0).await.unwrap();
    let second = reader.page(&request(), Some(first)).await.unwrap().unwrap();
    assert_eq!(second.data.rows[0].cells, [Some(Cell::Number { value: 2.0 })]);
    let mut user = stranger(reader.path()).await;
    run_sql(&mut user, "UPDATE variables SET title = 'A'; INSERT INTO time_comments VALUES (1, 'x')").await;
    assert_ne!(reader.content_version().await.unwrap(), second.version);

    assert!(reader.is_in_place());
    std::fs::remove_file(reader.path()).unwrap();
    assert!(!reader.is_in_place());
}

#[tokio::test]
async fn what_is_not_read_is_told_apart() {
    let (_dir, table, mine) = owned().await;
    let image = |end: u8, at: f64| {
        let mut cell =
            cell("image", SqlValue::Blob([b"\x89PNG\r\n\x1a\n".as_slice(), &[end; 9000]].concat()));
        let CellKind::Value(value) = &mut cell.kind else { unreachable!() };
        value.timestamp = at;
        cell
    };
    let mut seen = Vec::new();
    for image in [image(1, 1.5), image(1, 2.5), image(2, 2.5)] {
        let values = vec![image, number("a", 1.0), cell("text", SqlValue::Text("x".into()))];
        table.store(&mine, &[update(1234, 1, values)], 1.0).await.unwrap();
        let page = table.page(&request(), None).await.unwrap().unwrap();
        let cells =
            [Some(Cell::Number { value: 1.0 }), Some(Cell::Image), Some(Cell::Text { value: "x".into() })];
        assert_eq!(page.data.rows[0].cells, cells);
        seen.push(page.data.unread);
    }
    assert!(seen.iter().all(|unread| unread.len() == 1), "{seen:?}");
    assert!(seen[0] != seen[1] && seen[1] != seen[2], "{seen:?}");
    let numbers = PageRequest { variables: Some(vec!["a".into()]), ..request() };
    assert_eq!(table.page(&numbers, None).await.unwrap().unwrap().data.unread, Vec::<String>::new());
}

#[tokio::test]
async fn a_cell_has_everything_that_is_stored() {
    let (dir, table, mine) = owned().await;
    let mut image = cell("image", SqlValue::Blob(b"\x89PNG\r\n\x1a\n".into()));
    let CellKind::Value(value) = &mut image.kind else { unreachable!() };
    value.attributes = Some(r#"{"units": "mm", "bold": true}"#.into());
    table
        .store(&mine, &[update(1234, 1, vec![image, number("a", 1.5), error("e", "KeyError", "x")])], 2000.0)
        .await
        .unwrap();
    let reader = RunTable::open_read_only(dir.path()).await.unwrap();
    let of = async |name: &str| reader.stored_cell(Proposal(1234), Run(1), name).await.unwrap();
    assert_eq!(of("none").await, None);
    let image = of("image").await.unwrap();
    assert_eq!((image.cell, image.file.as_deref()), (Some(Cell::Image), Some(&b"\x89PNG\r\n\x1a\n"[..])));
    assert_eq!(image.attributes["units"], "mm");
    let number = of("a").await.unwrap();
    assert_eq!(
        (number.cell, number.file, number.max_diff),
        (Some(Cell::Number { value: 1.5 }), None, Some(0.5))
    );
    assert_eq!((number.summary_method.as_deref(), number.stored_at), (Some("mean"), Some(1000.0)));
    let failed = of("e").await.unwrap();
    assert!(matches!(failed.cell, Some(Cell::Error { .. })) && failed.summary_method.is_none());
}
