//! Schemas of yesterday and of tomorrow, with data in them.

use amore_ledger::{Ledger, LedgerError, OpenOptions, Phase, SCHEMA_VERSION};
use amore_model::{Proposal, Run};
use sha2::{Digest, Sha256};

use crate::bench::*;

fn first(kind: Kind) -> &'static str {
    match kind {
        Kind::Sqlite => include_str!("../../../../schema/ledger/sqlite/1_tasks.sql"),
        Kind::Postgres => include_str!("../../../../schema/ledger/postgres/1_tasks.sql"),
    }
}

/// A ledger as the first schema made it, with a task of its time.
async fn of_the_first_schema(bench: &Bench) -> Raw {
    let mut raw = bench.raw().await;
    raw.run(match bench.kind {
        Kind::Sqlite => "PRAGMA application_id = 1095584837",
        Kind::Postgres => "CREATE SCHEMA amore_ledger",
    })
    .await
    .unwrap();
    raw.run(first(bench.kind)).await.unwrap();
    let checksum: String =
        Sha256::digest(first(bench.kind)).iter().map(|byte| format!("{byte:02x}")).collect();
    for text in [
        "CREATE TABLE migration (number bigint PRIMARY KEY, name text NOT NULL, checksum text NOT NULL, \
         applied double precision NOT NULL)"
            .to_owned(),
        format!("INSERT INTO migration VALUES (1, 'tasks', '{checksum}', 1.0)"),
        format!("INSERT INTO lease (scope, epoch) VALUES ('{SCOPE}', 4)"),
        format!("INSERT INTO request VALUES ('r', '{SCOPE}', 1.5, 'xuser', 'raw', '{{}}', NULL)"),
        format!(
            "INSERT INTO task VALUES ('a', '{SCOPE}', 'r', 1234, 42, 5, 'local', 'ready', '{{}}', 0, 1.5, 2.5, 4, '[]')"
        ),
        format!(
            "INSERT INTO attempt (task, number, scope, token, cluster, asked) \
                 VALUES ('a', 1, '{SCOPE}', 'a-1', '', '{{}}')"
        ),
    ] {
        raw.run(&text).await.unwrap();
    }
    raw
}

on_both! {
    async fn the_first_schema_is_brought_up_to_date_with_what_is_in_it(bench: Bench) {
        drop(of_the_first_schema(&bench).await);
        let ledger = bench.open().await;
        let row = ledger.task(SCOPE, "a").await.unwrap().unwrap();
        assert_eq!((row.phase, row.priority, row.changed, row.epoch), (Phase::Ready, 5, 2.5, 4));
        assert_eq!(ledger.open_attempts(SCOPE).await.unwrap().len(), 1);
        let story = ledger.events_of_run(SCOPE, Proposal(1234), Run(42)).await.unwrap();
        assert_eq!((story[0].event.kind.as_str(), story[0].event.at, story.len()), ("migrated", 2.5, 1));
        let lease = acquire(&ledger, 1, 0.0).await;
        assert_eq!(lease.epoch, 5);
        ledger.add_request(&lease, &request("s"), &[task("b", &["a"])]).await.unwrap();
        ledger.close().await.unwrap();
        let again = bench.open().await;
        assert_eq!(again.events_of_run(SCOPE, Proposal(1234), Run(42)).await.unwrap().len(), 1);
        assert_eq!(bench.raw().await.number("SELECT count(*) FROM migration").await, SCHEMA_VERSION);
    }

    async fn a_migration_that_fails_leaves_the_schema_as_it_was(bench: Bench) {
        let mut raw = of_the_first_schema(&bench).await;
        // Stands in the way of the second step, near its end.
        raw.run("CREATE TABLE event (x bigint)").await.unwrap();
        let options = OpenOptions::new(HOST, 0.0);
        assert!(matches!(Ledger::open(&bench.place, &options).await, Err(LedgerError::Other { .. })));
        assert_eq!(raw.number("SELECT count(*) FROM migration").await, 1);
        raw.run("DROP TABLE event").await.unwrap();
        bench.open().await;
        assert_eq!(raw.number("SELECT count(*) FROM task_wait").await, 0);
    }

    async fn a_schema_from_the_future_and_one_that_was_altered_are_refused(bench: Bench) {
        bench.open().await.close().await.unwrap();
        let options = OpenOptions::new(HOST, 0.0);
        let mut raw = bench.raw().await;
        raw.run("INSERT INTO migration VALUES (99, 'tomorrow', 'x', 1.0)").await.unwrap();
        let newer = Ledger::open(&bench.place, &options).await.unwrap_err();
        assert!(matches!(newer, LedgerError::NewerSchema { found: 99, .. }), "{newer:?}");
        assert!(newer.to_string().contains("schema 99") && newer.hint().unwrap().contains("upgrade Amore"));
        raw.run("DELETE FROM migration WHERE number = 99; UPDATE migration SET checksum = 'x' WHERE number = 2")
            .await
            .unwrap();
        let altered = Ledger::open(&bench.place, &options).await.unwrap_err();
        assert!(matches!(altered, LedgerError::AlteredSchema { number: 2, .. }), "{altered:?}");
    }

    async fn several_that_open_a_new_ledger_at_once_make_it_once(bench: Bench) {
        let mut all = tokio::task::JoinSet::new();
        for _ in 0..6 {
            let place = bench.place.clone();
            all.spawn(async move { Ledger::open(&place, &OpenOptions::new(HOST, 0.0)).await.unwrap() });
        }
        all.join_all().await;
        assert_eq!(bench.raw().await.number("SELECT count(*) FROM migration").await, SCHEMA_VERSION);
    }
}
