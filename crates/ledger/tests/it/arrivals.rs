//! The inbox: events are stored once, and none is lost or changed after its end.

use amore_ledger::{ArrivalChange, ArrivalCounts, ArrivalFilter, ArrivalState, LedgerError, NewArrival};
use amore_model::{Proposal, Run};
use serde_json::{Value, json};

use crate::bench::*;

fn arrival(run: u32, source_id: Option<&str>) -> NewArrival {
    NewArrival {
        source: "kafka".to_owned(),
        source_id: source_id.map(str::to_owned),
        proposal: Some(Proposal(1234)),
        run: Some(Run(run)),
        data: Some("raw".to_owned()),
        complete: true,
        forced: false,
        received: 10.0,
        payload: "{\"event\": \"migration_complete\"}".to_owned(),
        state: ArrivalState::Open,
        detail: json!({}),
    }
}

fn change(id: i64, state: ArrivalState, detail: Value) -> ArrivalChange {
    ArrivalChange { id, state, detail, at: 20.0 }
}

on_both! {
    async fn an_event_is_stored_once_however_often_it_comes(bench: Bench) {
        let (ledger, lease) = bench.owned().await;
        let batch = [arrival(1, Some("t/0/1")), arrival(2, None), arrival(1, Some("t/0/1"))];
        let first = ledger.accept(&lease, &batch).await.unwrap();
        assert_eq!(first.iter().map(|one| one.known).collect::<Vec<_>>(), [false, false, true]);
        assert_eq!(first[0].id, first[2].id);
        assert!(first[1].id > first[0].id);
        let again = ledger.accept(&lease, &batch[..2]).await.unwrap();
        assert_eq!((again[0].id, again[0].known), (first[0].id, true));
        assert!(!again[1].known, "without an identifier each one is new");
        let open = ledger.open_arrivals(SCOPE).await.unwrap();
        assert_eq!(open.iter().map(|row| row.id).collect::<Vec<_>>(), [first[0].id, first[1].id, again[1].id]);
        assert_eq!(open[0].arrival, batch[0]);
        assert!(ledger.open_arrivals("/other").await.unwrap().is_empty());
    }

    async fn what_has_ended_stays_so_and_a_failed_one_can_be_opened_again(bench: Bench) {
        let (ledger, lease) = bench.owned().await;
        let batch: Vec<_> = (1..=3).map(|run| arrival(run, None)).collect();
        let ids: Vec<i64> = ledger.accept(&lease, &batch).await.unwrap().iter().map(|one| one.id).collect();
        let ended = [
            change(ids[0], ArrivalState::Done, json!({"generation": {"number": 1, "digest": "d"}})),
            change(ids[1], ArrivalState::Failed, json!({"why": "no data"})),
        ];
        ledger.change_arrivals(&lease, &ended).await.unwrap();
        assert_eq!(ledger.open_arrivals(SCOPE).await.unwrap().len(), 1);
        let both = [change(ids[2], ArrivalState::Done, json!({})), change(ids[0], ArrivalState::Open, json!({}))];
        let refused = ledger.change_arrivals(&lease, &both).await.unwrap_err();
        assert!(matches!(refused, LedgerError::Misuse { .. }), "{refused:?}");
        assert_eq!(ledger.open_arrivals(SCOPE).await.unwrap().len(), 1, "all or none");
        ledger.change_arrivals(&lease, &[change(ids[1], ArrivalState::Open, json!({}))]).await.unwrap();
        assert_eq!(ledger.open_arrivals(SCOPE).await.unwrap().len(), 2);
        let latest = ledger.arrivals(SCOPE, &ArrivalFilter::default(), 2).await.unwrap();
        assert_eq!(latest.iter().map(|row| row.id).collect::<Vec<_>>(), [ids[2], ids[1]]);
        assert_eq!(ledger.arrival(SCOPE, ids[0]).await.unwrap().unwrap().arrival.state, ArrivalState::Done);
    }

    async fn the_data_that_were_processed_last_are_known(bench: Bench) {
        let (ledger, lease) = bench.owned().await;
        let batch: Vec<_> = (0..3).map(|_| arrival(1, None)).collect();
        let ids: Vec<i64> = ledger.accept(&lease, &batch).await.unwrap().iter().map(|one| one.id).collect();
        let done = [
            change(ids[0], ArrivalState::Done, json!({"generation": {"number": 1, "digest": "d"}})),
            change(ids[1], ArrivalState::Done, json!({"why": "a duplicate"})),
        ];
        ledger.change_arrivals(&lease, &done).await.unwrap();
        let last = ledger.last_known(SCOPE, Proposal(1234), Run(1), "raw").await.unwrap().unwrap();
        assert_eq!((last.id, last.changed), (ids[0], 20.0));
        assert_eq!(ledger.last_known(SCOPE, Proposal(1234), Run(1), "proc").await.unwrap(), None);
        let failed = change(ids[2], ArrivalState::Failed, json!({"generation": {"number": 2, "digest": "e"}}));
        ledger.change_arrivals(&lease, &[failed]).await.unwrap();
        let last = ledger.last_known(SCOPE, Proposal(1234), Run(1), "raw").await.unwrap().unwrap();
        assert_eq!(last.id, ids[2]);
        ledger.change_arrivals(&lease, &[change(ids[2], ArrivalState::Open, last.arrival.detail)]).await.unwrap();
        let last = ledger.last_known(SCOPE, Proposal(1234), Run(1), "raw").await.unwrap().unwrap();
        assert_eq!(last.id, ids[0], "it has not ended");
    }

    async fn events_of_a_large_batch_get_numbers_in_their_order(bench: Bench) {
        let (ledger, lease) = bench.owned().await;
        let id = |number: u32| format!("t/0/{}", number / 2);
        let batch: Vec<_> =
            (0..250).map(|number| arrival(number, (number % 3 == 0).then(|| id(number)).as_deref())).collect();
        let first = ledger.accept(&lease, &batch).await.unwrap();
        assert!(first.iter().all(|one| !one.known));
        assert!(first.is_sorted_by_key(|one| one.id));
        for (arrival, accepted) in batch.iter().zip(&first) {
            assert_eq!(ledger.arrival(SCOPE, accepted.id).await.unwrap().unwrap().arrival, *arrival);
        }
        let again = ledger.accept(&lease, &batch).await.unwrap();
        for ((arrival, first), again) in batch.iter().zip(&first).zip(&again) {
            assert_eq!((again.known, again.id == first.id), (arrival.source_id.is_some(), again.known));
        }
        let strange = arrival(1, Some("nul\0"));
        assert!(!ledger.accept(&lease, std::slice::from_ref(&strange)).await.unwrap()[0].known);
        assert!(ledger.accept(&lease, &[strange]).await.unwrap()[0].known);
        assert!(ledger.accept(&lease, &[]).await.unwrap().is_empty());
    }

    async fn events_are_listed_by_what_they_are_about_and_counted(bench: Bench) {
        let (ledger, lease) = bench.owned().await;
        let unknown = NewArrival {
            source: "http".to_owned(), proposal: None, run: None, data: None, state: ArrivalState::Failed,
            ..arrival(0, Some("x"))
        };
        let mut batch: Vec<_> = (1..=4).map(|run| arrival(run, None)).collect();
        batch.push(unknown);
        let ids: Vec<i64> = ledger.accept(&lease, &batch).await.unwrap().iter().map(|one| one.id).collect();
        let ended = [
            change(ids[0], ArrivalState::Done, json!({})),
            change(ids[1], ArrivalState::Failed, json!({})),
            change(ids[2], ArrivalState::Dropped, json!({})),
        ];
        ledger.change_arrivals(&lease, &ended).await.unwrap();
        let counts = ledger.arrival_counts(SCOPE).await.unwrap();
        assert_eq!(counts, ArrivalCounts { open: 1, done: 1, failed: 2, dropped: 1 });
        assert_eq!(ledger.arrival_counts("/other").await.unwrap(), ArrivalCounts::default());
        let all = ArrivalFilter::default();
        let wanted = [
            (ArrivalFilter { states: [ArrivalState::Failed, ArrivalState::Open].into(), ..all.clone() }, vec![4, 3, 1]),
            (ArrivalFilter { proposal: Some(Proposal(1234)), ..all.clone() }, vec![3, 2, 1, 0]),
            (ArrivalFilter { proposal: Some(Proposal(1)), ..all.clone() }, vec![]),
            (ArrivalFilter { run: Some(Run(2)), ..all.clone() }, vec![1]),
            (ArrivalFilter { source: Some("http".to_owned()), ..all.clone() }, vec![4]),
            (ArrivalFilter { before: Some(ids[2]), ..all.clone() }, vec![1, 0]),
        ];
        for (filter, places) in wanted {
            let found: Vec<i64> =
                ledger.arrivals(SCOPE, &filter, 9).await.unwrap().iter().map(|row| row.id).collect();
            assert_eq!(found, places.iter().map(|place| ids[*place]).collect::<Vec<_>>(), "{filter:?}");
        }
    }

    async fn old_events_are_forgotten_but_not_what_was_processed_last(bench: Bench) {
        let (ledger, lease) = bench.owned().await;
        let mut batch: Vec<_> = (0..5).map(|_| arrival(1, None)).collect();
        batch.extend([arrival(2, None), arrival(3, None), arrival(4, None)]);
        let ids: Vec<i64> = ledger.accept(&lease, &batch).await.unwrap().iter().map(|one| one.id).collect();
        let processed = |number: u32| json!({"generation": {"number": number, "digest": format!("d{number}")}});
        let late = |change: ArrivalChange| ArrivalChange { at: 90.0, ..change };
        let ended = [
            change(ids[0], ArrivalState::Done, processed(1)),
            change(ids[1], ArrivalState::Done, processed(2)),
            change(ids[2], ArrivalState::Done, json!({"why": "these data were processed"})),
            change(ids[3], ArrivalState::Dropped, processed(3)),
            late(change(ids[4], ArrivalState::Done, json!({"why": "these data were processed"}))),
            change(ids[5], ArrivalState::Failed, json!({"why": "no data"})),
            change(ids[6], ArrivalState::Done, processed(1)),
        ];
        ledger.change_arrivals(&lease, &ended).await.unwrap();
        assert_eq!(ledger.forget_arrivals(&lease, 50.0).await.unwrap(), 3);
        let left: Vec<i64> =
            ledger.arrivals(SCOPE, &ArrivalFilter::default(), 99).await.unwrap().iter().map(|row| row.id).collect();
        assert_eq!(left, [7, 6, 5, 4, 3].map(|place: usize| ids[place]));
        let last = ledger.last_known(SCOPE, Proposal(1234), Run(1), "raw").await.unwrap().unwrap();
        assert_eq!((last.id, last.arrival.state), (ids[3], ArrivalState::Dropped));
        assert_eq!(ledger.forget_arrivals(&lease, 50.0).await.unwrap(), 0);
    }

    async fn a_service_that_was_deposed_writes_no_event(bench: Bench) {
        let (ledger, lease) = bench.owned().await;
        ledger.acquire(SCOPE, &holder(2), 1e9, TERM, None).await.unwrap();
        let refused = ledger.accept(&lease, &[arrival(1, None)]).await.unwrap_err();
        assert!(matches!(refused, LedgerError::Deposed { .. }), "{refused:?}");
        assert!(ledger.open_arrivals(SCOPE).await.unwrap().is_empty());
    }
}
