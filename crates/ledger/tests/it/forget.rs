//! What is forgotten and what is kept.

use amore_ledger::{Acquired, Phase};
use amore_model::{Proposal, Run};
use serde_json::json;

use crate::bench::*;

on_both! {
    async fn starting_from_scratch_forgets_one_proposal_and_keeps_its_epoch(bench: Bench) {
        let (ledger, lease) = bench.owned().await;
        let Acquired::Mine(other) = ledger.acquire("/other", &holder(1), 0.0, TERM, None).await.unwrap() else {
            panic!("held")
        };
        for (lease, id) in [(&lease, "a"), (&other, "b")] {
            ledger.add_request(lease, &request(id), &[task(id, &[])]).await.unwrap();
            ledger.upsert_attempts(lease, &[attempt(id, 1)]).await.unwrap();
            ledger.add_events(lease, &[event("queued", 1.0)]).await.unwrap();
            ledger.set_fact(lease, "results_generation", &json!(3)).await.unwrap();
        }
        ledger.forget_scope(&lease).await.unwrap();
        assert_eq!(ledger.requests(SCOPE, false).await.unwrap(), []);
        assert_eq!(ledger.open_tasks(SCOPE).await.unwrap(), []);
        assert_eq!(ledger.open_attempts(SCOPE).await.unwrap(), []);
        assert_eq!(ledger.find_token("a-1").await.unwrap(), None);
        assert_eq!(ledger.events_of_run(SCOPE, Proposal(1234), Run(42)).await.unwrap(), []);
        assert_eq!(ledger.fact(SCOPE, "results_generation").await.unwrap(), None);
        assert_eq!(ledger.lease(SCOPE).await.unwrap().epoch, 1);
        assert_eq!(ledger.open_tasks("/other").await.unwrap().len(), 1);
        assert_eq!(ledger.events_of_run("/other", Proposal(1234), Run(42)).await.unwrap().len(), 1);
        ledger.add_request(&lease, &request("a"), &[task("a", &[])]).await.unwrap();
    }

    async fn what_ended_long_ago_goes_and_nothing_else(bench: Bench) {
        let (ledger, lease) = bench.owned().await;
        let old = |id: &str| amore_ledger::NewRequest { created: 1.0, ..request(id) };
        for id in ["gone", "open", "unfinished", "awaited", "recent"] {
            ledger.add_request(&lease, &old(id), &[task(id, &[])]).await.unwrap();
        }
        ledger.add_request(&lease, &old("waiter"), &[task("waiter", &["awaited"])]).await.unwrap();
        for id in ["gone", "unfinished", "awaited"] {
            lead(&ledger, &lease, id, Phase::Ready, Phase::Ended).await;
        }
        ledger.move_tasks(&lease, 50.0, &[step("recent", Phase::Ready, Phase::Ended)]).await.unwrap();
        for id in ["gone", "open", "awaited", "recent"] {
            ledger.finish_request(&lease, id, 2.0).await.unwrap();
        }
        let about = |id: &str, at| amore_ledger::NewEvent { task: Some(id.into()), ..event("told", at) };
        let events = [about("gone", 1.0), about("open", 1.0), event("old", 1.0), event("new", 20.0)];
        ledger.add_events(&lease, &events).await.unwrap();
        ledger.upsert_attempts(&lease, &[attempt("gone", 1)]).await.unwrap();

        let pruned = ledger.prune(&lease, 10.0).await.unwrap();
        assert_eq!((pruned.requests, pruned.tasks, pruned.events), (1, 1, 2));
        assert_eq!(ledger.task(SCOPE, "gone").await.unwrap(), None);
        assert_eq!(ledger.find_token("gone-1").await.unwrap(), None);
        assert_eq!(ledger.requests(SCOPE, false).await.unwrap().len(), 5);
        let waiter = ledger.task(SCOPE, "waiter").await.unwrap().unwrap();
        assert_eq!(waiter.waits_for, ["awaited"]);
        let told = ledger.events_of_run(SCOPE, Proposal(1234), Run(42)).await.unwrap();
        assert_eq!(told.len(), 2);
    }
}
