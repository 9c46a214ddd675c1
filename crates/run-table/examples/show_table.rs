//! Prints a run table as JSON, for tests with tables of other writers. The table is opened for reading only.
//!
//! `cargo run --release -p amore-run-table --example show_table DIRECTORY`

use std::{error::Error, path::PathBuf};

use amore_run_table::{RunTable, TableFilter};

#[tokio::main(flavor = "current_thread")]
#[expect(clippy::print_stdout, reason = "the table is the output")]
async fn main() -> Result<(), Box<dyn Error>> {
    let dir = std::env::args_os().nth(1).map(PathBuf::from).ok_or("a directory is needed")?;
    let table = RunTable::open_read_only(&dir).await?;
    let shown = serde_json::json!({
        "settings": table.settings().await?,
        "variables": table.computed_variables().await?,
        "table": table.table(&TableFilter::default()).await?,
    });
    println!("{shown}");
    Ok(())
}
