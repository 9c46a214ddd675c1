//! Makes a run table with every kind of cell, for tests with other readers.
//!
//! `cargo run --release -p amore-run-table --example make_table DIRECTORY`

use std::{error::Error, path::PathBuf, time::Duration};

use amore_model::{Proposal, Run};
use amore_run_table::{
    Acquired, CellKind, CellUpdate, CellValue, Holder, RunTable, RunUpdate, SqlValue, VariableRow,
};

fn value(name: &str, value: SqlValue, summary_type: Option<&str>, attributes: Option<&str>) -> CellUpdate {
    let value = CellValue {
        value,
        max_diff: Some(0.5),
        summary_type: summary_type.map(str::to_owned),
        summary_method: Some("mean".into()),
        attributes: attributes.map(str::to_owned),
        provenance: "context.py".into(),
        timestamp: 1.8e9,
    };
    CellUpdate { name: name.into(), kind: CellKind::Value(value) }
}

/// A `.npy` file of doubles, shape (2, n).
fn npy(rows: [&[f64]; 2]) -> Vec<u8> {
    let mut header = format!("{{'descr': '<f8', 'fortran_order': False, 'shape': (2, {}), }}", rows[0].len());
    // The header ends at a multiple of 64 bytes with a line feed.
    header.push_str(&" ".repeat(63 - (10 + header.len()) % 64));
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(rows.iter().flat_map(|row| row.iter()).flat_map(|number| number.to_le_bytes()));
    bytes
}

fn run(proposal: u32, run: u32) -> RunUpdate {
    let error = CellKind::Error {
        class: "ValueError".into(),
        message: "no \"beam\"\nat all".into(),
        provenance: "context.py".into(),
        timestamp: 1.8e9,
    };
    let complex = [1.5f64, -2.0].iter().flat_map(|part| part.to_le_bytes()).collect();
    RunUpdate {
        proposal: Proposal(proposal),
        run: Run(run),
        start_time: Some(1.7e9 + f64::from(run)),
        mock_start: false,
        values: vec![
            value(
                "energy",
                SqlValue::Real(f64::from(run) + 0.25),
                None,
                Some(r#"{"units": "mJ", "bold": true}"#),
            ),
            value("trains", SqlValue::Int(200), None, None),
            value("sample", SqlValue::Text("it's \"Ünï\"".into()), None, None),
            value("image", SqlValue::Blob(b"\x89PNG\r\n\x1a\n and so on".into()), None, None),
            value(
                "trend",
                SqlValue::Blob(npy([&[0.0, 1.0, 2.0], &[5.0, 6.0, 7.0]])),
                Some("trendline"),
                None,
            ),
            value("amplitude", SqlValue::Blob(complex), Some("complex"), None),
            value("group.taken", SqlValue::Real(1.7e9), Some("timestamp"), None),
            CellUpdate { name: "broken".into(), kind: error },
        ],
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let dir = std::env::args_os().nth(1).map(PathBuf::from).ok_or("a directory is needed")?;
    let table = RunTable::create(&dir, Proposal(1234), [1; 20], &[]).await?;
    let me = Holder {
        host: "here".into(),
        pid: std::process::id(),
        token: "example".into(),
        user: "me".into(),
        address: None,
    };
    let Acquired::Mine(mine) = table.acquire(&me, 0.0, Duration::from_secs(60), None).await? else {
        return Err("somebody owns a table that was made just now".into());
    };
    let declared = ["energy", "trains", "sample", "image", "trend", "amplitude", "group.taken", "broken"];
    let variables: Vec<VariableRow> = declared
        .iter()
        .map(|name| VariableRow {
            name: (*name).into(),
            title: format!("The {name}"),
            description: Some(format!("What {name} is")),
            tags: vec!["all".into(), format!("tag of {name}")],
        })
        .collect();
    table.update_variables(&mine, &variables).await?;
    table.store(&mine, &[run(1234, 1), run(1234, 2), run(5678, 1)], 1.8e9).await?;
    // What is stored and taken back leaves no trace.
    let gone = CellUpdate { name: "energy".into(), kind: CellKind::Remove };
    let update = RunUpdate {
        proposal: Proposal(1234),
        run: Run(2),
        start_time: None,
        mock_start: false,
        values: vec![gone],
    };
    table.store(&mine, &[update], 1.8e9).await?;
    table.close().await?;
    Ok(())
}
