//! What was written to the table, for those who watch it.

use std::collections::BTreeSet;

use amore_core::activity::{CellContent, StoredCell};
use amore_run_table::{CellKind, CellUpdate, CellValue, RunUpdate};
use serde::Deserialize;

/// The cells of an update that was stored, without those that the table has refused.
pub fn of(update: RunUpdate, refused: &BTreeSet<&str>) -> Vec<StoredCell> {
    let is_stored = |cell: &CellUpdate| !refused.contains(cell.name.as_str());
    update
        .values
        .into_iter()
        .filter(is_stored)
        .map(|CellUpdate { name, kind }| StoredCell { name, content: content(kind) })
        .collect()
}

/// What a cell has after an update.
fn content(kind: CellKind) -> CellContent {
    match kind {
        CellKind::Remove => CellContent::Empty,
        CellKind::Error { class, message, provenance, .. } => {
            CellContent::Error { class, message, provenance }
        }
        CellKind::Value(value) => {
            let cell = value.as_cell();
            let CellValue { max_diff, summary_method, attributes, provenance, .. } = value;
            CellContent::Value {
                kind: cell.kind().to_owned(),
                value: cell.json(),
                summary_method: summary_method.filter(|name| !name.is_empty()),
                max_diff: max_diff.filter(|number| number.is_finite()),
                units: attributes.and_then(|text| units(&text)),
                provenance,
            }
        }
    }
}

/// The unit among the attributes of a cell.
fn units(attributes: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Attributes {
        units: Option<String>,
    }
    serde_json::from_str::<Attributes>(attributes).ok()?.units
}

#[cfg(test)]
mod tests {
    use amore_model::{Proposal, Run};
    use amore_run_table::SqlValue;
    use serde_json::json;

    use super::*;

    fn value(name: &str, value: SqlValue, summary_type: Option<&str>) -> CellUpdate {
        let kind = CellKind::Value(CellValue {
            value,
            max_diff: Some(f64::NAN),
            summary_type: summary_type.map(str::to_owned),
            summary_method: Some("mean".to_owned()),
            attributes: Some(r#"{"bold": true, "units": "mm"}"#.to_owned()),
            provenance: "context.py".to_owned(),
            timestamp: 1.0,
        });
        CellUpdate { name: name.to_owned(), kind }
    }

    #[test]
    fn a_value_is_shown_as_in_the_table_and_a_refused_one_is_not() {
        let png = SqlValue::Blob(b"\x89PNG\r\n\x1a\nrest".to_vec());
        let update = RunUpdate {
            proposal: Proposal(1),
            run: Run(2),
            start_time: None,
            mock_start: false,
            values: vec![
                value("number", SqlValue::Real(1.5), None),
                value("image", png, None),
                value("nan", SqlValue::Real(f64::NAN), None),
                value("comment", SqlValue::Text("x".to_owned()), None),
                CellUpdate { name: "gone".to_owned(), kind: CellKind::Remove },
            ],
        };
        let cells = serde_json::to_value(of(update, &["comment"].into())).unwrap();
        let cell = |name: &str, kind: &str, value: serde_json::Value| {
            json!({
                "name": name, "content": "value", "kind": kind, "value": value,
                "summary_method": "mean", "units": "mm", "provenance": "context.py",
            })
        };
        let expected = json!([
            cell("number", "number", json!(1.5)),
            cell("image", "image", json!({"kind": "image"})),
            cell("nan", "number", json!("NaN")),
            {"name": "gone", "content": "empty"},
        ]);
        assert_eq!(cells, expected);
    }
}
