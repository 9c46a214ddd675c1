//! What is special about a ledger on a server.

use std::time::Duration;

use amore_ledger::{Ledger, LedgerError, OpenOptions};

use crate::bench::*;

fn impatient() -> OpenOptions {
    OpenOptions { patience: Duration::from_millis(300), ..OpenOptions::new(HOST, 0.0) }
}

#[tokio::test]
async fn a_server_that_is_away_is_worth_another_try() {
    let place = "postgres://amore:secret@127.0.0.1:1/ledger";
    let error = Ledger::open(place, &impatient()).await.unwrap_err();
    assert!(matches!(error, LedgerError::Unreachable { .. }) && error.is_temporary(), "{error:?}");
    assert!(!error.to_string().contains("secret"));
}

#[tokio::test]
async fn a_database_that_is_not_there_or_not_ours_is_refused() {
    let Some(bench) = Bench::new(Kind::Postgres).await else { return };
    let missing = bench.place.replace("amore_test", "amore_missing");
    let error = Ledger::open(&missing, &impatient()).await.unwrap_err();
    assert!(matches!(error, LedgerError::Refused { .. }), "{error:?}");

    let mut raw = bench.raw().await;
    raw.run("CREATE SCHEMA amore_ledger; CREATE TABLE amore_ledger.task (x int)").await.unwrap();
    let error = Ledger::open(&bench.place, &impatient()).await.unwrap_err();
    assert!(matches!(error, LedgerError::Foreign { .. }), "{error:?}");
    assert_eq!(raw.number("SELECT count(*) FROM pg_tables WHERE schemaname = 'amore_ledger'").await, 1);
}

#[tokio::test]
async fn a_broken_connection_is_replaced() {
    let Some(bench) = Bench::new(Kind::Postgres).await else { return };
    let (ledger, lease) = bench.owned().await;
    let mut raw = bench.raw().await;
    for number in 0..3 {
        raw.number(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
             WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        .await;
        let id = format!("r{number}");
        let mut tries = 0;
        while let Err(error) = ledger.add_request(&lease, &request(&id), &[]).await {
            assert!(error.is_temporary(), "{error:?}");
            tries += 1;
            assert!(tries < 10);
        }
    }
    assert_eq!(ledger.requests(SCOPE, false).await.unwrap().len(), 3);
}
