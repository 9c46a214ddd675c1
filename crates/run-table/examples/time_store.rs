//! Measures what it costs to bring 100 variables of one run into the table, with few and with many runs present.
//!
//! Prints JSON: medians in milliseconds, commit included. `first_*` is the first store after opening (what a new
//! process pays), `open_*` the opening and taking of the table before it. `fresh_ms` is the first run of a new table,
//! whose 100 columns it makes.
//!
//! `cargo run --release -p amore-run-table --example time_store [DIRECTORY]` (a temporary one by default)

use std::{
    error::Error,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use amore_model::{Proposal, Run};
use amore_run_table::{
    Acquired, CellKind, CellUpdate, CellValue, Holder, Ownership, RunTable, RunUpdate, SqlValue, TableFilter,
};

const VARIABLES: usize = 100;
const REPEATS: u32 = 51;

fn run(number: u32) -> RunUpdate {
    let value = |i: usize| CellValue {
        value: SqlValue::Real(i as f64 + f64::from(number)),
        max_diff: Some(1.0),
        summary_type: None,
        summary_method: Some("mean".into()),
        attributes: Some(r#"{"units": "mm"}"#.into()),
        provenance: "context.py".into(),
        timestamp: 1.8e9,
    };
    RunUpdate {
        proposal: Proposal(1234),
        run: Run(number),
        start_time: Some(1.8e9),
        mock_start: false,
        values: (0..VARIABLES)
            .map(|i| CellUpdate { name: format!("variable_{i:03}"), kind: CellKind::Value(value(i)) })
            .collect(),
    }
}

fn milliseconds(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1e3
}

async fn open(dir: &Path) -> Result<(RunTable, Ownership), Box<dyn Error>> {
    let me = Holder {
        host: "here".into(),
        pid: std::process::id(),
        token: "measure".into(),
        user: "me".into(),
        address: None,
    };
    let table = RunTable::open(dir).await?;
    match table.acquire(&me, 0.0, Duration::from_secs(60), None).await? {
        Acquired::Mine(mine) => Ok((table, mine)),
        Acquired::HeldBy(claim) => Err(format!("held by {}", claim.holder).into()),
    }
}

#[tokio::main(flavor = "current_thread")]
#[expect(clippy::print_stdout, reason = "the figures are the output")]
async fn main() -> Result<(), Box<dyn Error>> {
    let temporary = tempfile::tempdir()?;
    let dir = std::env::args().nth(1).map_or(temporary.path().to_owned(), PathBuf::from);
    RunTable::create(&dir, Proposal(1234), [1; 20], &[]).await?.close().await?;
    let mut report = serde_json::Map::new();
    let mut fresh = Vec::new();
    for number in 0..7 {
        let dir = dir.join(format!("fresh-{number}"));
        std::fs::create_dir(&dir)?;
        RunTable::create(&dir, Proposal(1234), [1; 20], &[]).await?.close().await?;
        let (table, mine) = open(&dir).await?;
        let update = run(1);
        let start = Instant::now();
        table.store(&mine, &[update], 0.0).await?;
        fresh.push(start.elapsed());
        table.close().await?;
    }
    report.insert("fresh_ms".into(), milliseconds(fresh).into());
    let mut present = 0;
    for runs in [0, 100, 10_000] {
        let (table, mine) = open(&dir).await?;
        let missing: Vec<RunUpdate> = (present + 1..=runs).map(run).collect();
        for batch in missing.chunks(200) {
            table.store(&mine, batch, 0.0).await?;
        }
        let (mut stores, mut opens, mut firsts) = (Vec::new(), Vec::new(), Vec::new());
        for number in 1..=REPEATS {
            let update = run(runs + number);
            let start = Instant::now();
            table.store(&mine, &[update], 0.0).await?;
            stores.push(start.elapsed());
        }
        for number in 1..=5 {
            let update = run(runs + REPEATS + number);
            let start = Instant::now();
            let (table, mine) = open(&dir).await?;
            opens.push(start.elapsed());
            let start = Instant::now();
            table.store(&mine, &[update], 0.0).await?;
            firsts.push(start.elapsed());
            table.close().await?;
        }
        present = runs + REPEATS + 5;
        report.insert(format!("store_at_{runs}_ms"), milliseconds(stores).into());
        report.insert(format!("open_at_{runs}_ms"), milliseconds(opens).into());
        report.insert(format!("first_at_{runs}_ms"), milliseconds(firsts).into());
    }
    let table = RunTable::open_read_only(&dir).await?;
    let start = Instant::now();
    let rows = table.table(&TableFilter::default()).await?.rows.len();
    report.insert("table_rows".into(), rows.into());
    report.insert("table_ms".into(), (start.elapsed().as_secs_f64() * 1e3).into());
    println!("{}", serde_json::to_string_pretty(&report)?);
    Ok(())
}
