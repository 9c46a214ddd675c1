//! Who may write.

use amore_ledger::{Acquired, Changes, Claim, Holder, Lease, LedgerError, Phase};
use serde_json::json;

use crate::bench::*;

on_both! {
    async fn a_lease_is_held_for_its_term_and_its_epochs_rise(bench: Bench) {
        let (ledger, first) = bench.owned().await;
        assert_eq!(first.epoch, 1);
        let held = ledger.acquire(SCOPE, &holder(2), 59.0, TERM, None).await.unwrap();
        assert_eq!(held, Acquired::HeldBy(Claim { holder: holder(1), until: 60.0 }));
        ledger.renew(&first, 50.0, TERM).await.unwrap();
        let held = ledger.acquire(SCOPE, &holder(2), 100.0, TERM, None).await.unwrap();
        assert!(matches!(held, Acquired::HeldBy(Claim { until: 110.0, .. })));
        let second = acquire(&ledger, 2, 110.0).await;
        assert_eq!(second.epoch, 2);
        ledger.release(second).await.unwrap();
        assert_eq!(ledger.lease(SCOPE).await.unwrap().claim, None);
        assert_eq!(acquire(&ledger, 1, 111.0).await.epoch, 3);

        let Acquired::Mine(other) = ledger.acquire("/other", &holder(2), 0.0, TERM, None).await.unwrap() else {
            panic!("held")
        };
        assert_eq!(other.epoch, 1);
    }

    async fn a_holder_known_dead_is_succeeded_at_once_but_not_its_own_successor(bench: Bench) {
        let (ledger, _) = bench.owned().await;
        let dead = holder(1);
        let taken = ledger.acquire(SCOPE, &holder(2), 1.0, TERM, Some(&dead)).await.unwrap();
        assert!(matches!(taken, Acquired::Mine(Lease { epoch: 2, .. })));
        let late = ledger.acquire(SCOPE, &holder(3), 1.0, TERM, Some(&dead)).await.unwrap();
        assert!(matches!(late, Acquired::HeldBy(_)));
    }

    async fn whoever_lost_the_lease_can_write_nothing(bench: Bench) {
        let (ledger, lost) = bench.owned().await;
        ledger.add_request(&lost, &request("r"), &[task("a", &[])]).await.unwrap();
        let held = acquire(&ledger, 2, 61.0).await;
        let value = json!(1);
        let moves = [step("a", Phase::Ready, Phase::Ended)];
        let refused = [
            ledger.add_request(&lost, &request("s"), &[]).await.err(),
            ledger.move_tasks(&lost, 1.0, &moves).await.err(),
            ledger.upsert_attempts(&lost, &[attempt("a", 1)]).await.err(),
            ledger.add_events(&lost, &[event("x", 1.0)]).await.err(),
            ledger.apply(&lost, 1.0, &Changes::default()).await.err(),
            ledger.set_fact(&lost, "k", &value).await.err(),
            ledger.finish_request(&lost, "r", 1.0).await.err(),
            ledger.forget_scope(&lost).await.err(),
            ledger.prune(&lost, 1.0).await.err(),
            ledger.renew(&lost, 62.0, TERM).await.err(),
            ledger.release(lost.clone()).await.err(),
        ];
        for error in refused {
            let Some(LedgerError::Deposed { by: Some(by), epoch: 2, .. }) = &error else {
                panic!("not deposed: {error:?}")
            };
            assert_eq!(**by, holder(2));
            assert!(error.unwrap().hint().unwrap().contains("http://max-exfl001:2"));
        }
        ledger.move_tasks(&held, 1.0, &moves).await.unwrap();
        ledger.release(held.clone()).await.unwrap();
        let released = ledger.move_tasks(&held, 1.0, &moves).await;
        assert!(matches!(released, Err(LedgerError::Deposed { by: None, .. })), "{released:?}");
    }

    async fn the_database_itself_refuses_the_epoch_of_a_former_holder(bench: Bench) {
        let (ledger, lost) = bench.owned().await;
        ledger.add_request(&lost, &request("r"), &[task("a", &[])]).await.unwrap();
        acquire(&ledger, 2, 61.0).await;
        let mut raw = bench.raw().await;
        for text in [
            "UPDATE task SET phase = 'running' WHERE id = 'a'",
            "UPDATE task SET phase = 'running', epoch = 1 WHERE id = 'a'",
            "UPDATE task SET phase = 'running', epoch = 3 WHERE id = 'a'",
            "INSERT INTO task SELECT 'b', scope, request, proposal, run, priority, place, phase, facts, attempt, \
             created, changed, 1, spec FROM task WHERE id = 'a'",
            "UPDATE lease SET epoch = 1",
        ] {
            let refused = raw.run(text).await.unwrap_err().to_string();
            assert!(refused.contains("deposed"), "{text}: {refused}");
        }
        raw.run("UPDATE task SET phase = 'running', epoch = 2 WHERE id = 'a'").await.unwrap();
    }

    async fn of_many_that_want_the_lease_at_once_one_gets_it(bench: Bench) {
        let mut tries = tokio::task::JoinSet::new();
        for pid in 0..8 {
            let ledger = bench.open().await;
            tries.spawn(async move { ledger.acquire(SCOPE, &holder(pid), 0.0, TERM, None).await.unwrap() });
        }
        let answers = tries.join_all().await;
        let winners: Vec<&Holder> = answers
            .iter()
            .filter_map(|answer| if let Acquired::Mine(lease) = answer { Some(&lease.holder) } else { None })
            .collect();
        assert_eq!(winners.len(), 1);
        let ledger = bench.open().await;
        let row = ledger.lease(SCOPE).await.unwrap();
        assert_eq!((row.epoch, &row.claim.unwrap().holder), (1, winners[0]));
    }
}
