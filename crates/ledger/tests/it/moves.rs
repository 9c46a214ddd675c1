//! Every move there is: the legal ones are made, the others refused by the program and by the database itself.

use amore_ledger::{Changes, LedgerError, Mismatch, Phase, PhaseChange};
use serde_json::json;

use crate::bench::*;

on_both! {
    async fn every_legal_move_is_made_and_every_other_is_refused_twice(bench: Bench) {
        let (ledger, lease) = bench.owned().await;
        ledger.add_request(&lease, &request("gate"), &[task("gate", &[])]).await.unwrap();
        let mut raw = bench.raw().await;
        for from in Phase::ALL {
            for to in Phase::ALL {
                let id = format!("{from}-{to}");
                let first = if from == Phase::Waiting { Phase::Waiting } else { Phase::Ready };
                let waits: &[&str] = if first == Phase::Waiting { &["gate"] } else { &[] };
                ledger.add_request(&lease, &request(&id), &[task(&id, waits)]).await.unwrap();
                lead(&ledger, &lease, &id, first, from).await;
                let step = PhaseChange { facts: Some(json!({"n": 1})), ..step(&id, from, to) };
                let moved = ledger.move_tasks(&lease, 5.0, std::slice::from_ref(&step)).await;
                let row = ledger.task(SCOPE, &id).await.unwrap().unwrap();
                if from.may_become(to) {
                    moved.unwrap();
                    assert_eq!((row.phase, row.facts, row.changed), (to, json!({"n": 1}), 5.0));
                } else {
                    assert!(matches!(moved, Err(LedgerError::IllegalMove { .. })), "{id}: {moved:?}");
                    assert_eq!(row.phase, from);
                    let update = format!("UPDATE task SET phase = '{to}' WHERE id = '{id}'");
                    let refused = raw.run(&update).await.unwrap_err().to_string();
                    assert!(refused.contains("illegal move"), "{id}: {refused}");
                    assert_eq!(ledger.task(SCOPE, &id).await.unwrap().unwrap().phase, from);
                }
            }
        }
        let unknown = raw.run("UPDATE task SET phase = 'lost' WHERE id = 'gate'").await;
        assert!(unknown.unwrap_err().to_string().contains("illegal move"));
    }

    async fn what_has_ended_never_changes_and_what_a_task_is_neither(bench: Bench) {
        let (ledger, lease) = bench.owned().await;
        ledger.add_request(&lease, &request("r"), &[task("a", &[]), task("b", &[])]).await.unwrap();
        lead(&ledger, &lease, "a", Phase::Ready, Phase::Ended).await;
        let mut raw = bench.raw().await;
        for text in [
            "UPDATE task SET facts = '{\"n\": 2}' WHERE id = 'a'",
            "UPDATE task SET attempt = 7 WHERE id = 'a'",
            "UPDATE task SET run = 43 WHERE id = 'b'",
            "INSERT INTO task SELECT 'c', scope, request, proposal, run, priority, place, 'running', facts, attempt, \
             created, changed, epoch, spec FROM task WHERE id = 'b'",
        ] {
            let refused = raw.run(text).await.unwrap_err().to_string();
            assert!(refused.contains("illegal move"), "{text}: {refused}");
        }
    }

    async fn moves_are_made_all_or_none_and_the_ones_that_did_not_match_are_named(bench: Bench) {
        let (ledger, lease) = bench.owned().await;
        let tasks = [task("a", &[]), task("b", &[]), task("c", &[])];
        ledger.add_request(&lease, &request("r"), &tasks).await.unwrap();
        lead(&ledger, &lease, "b", Phase::Ready, Phase::Running).await;
        let moves: Vec<PhaseChange> = ["a", "b", "c", "nobody"]
            .iter()
            .map(|id| PhaseChange {
                event: Some(event("submitting", 2.0)),
                ..step(id, Phase::Ready, Phase::Running)
            })
            .collect();
        let Err(LedgerError::Conflict { tasks }) = ledger.move_tasks(&lease, 2.0, &moves).await else {
            panic!("no conflict");
        };
        assert_eq!(tasks, [
            Mismatch { task: "b".into(), expected: Some(Phase::Ready), found: Some(Phase::Running) },
            Mismatch { task: "nobody".into(), expected: Some(Phase::Ready), found: None },
        ]);
        assert_eq!(ledger.task(SCOPE, "a").await.unwrap().unwrap().phase, Phase::Ready);
        let story = ledger.events_of_run(SCOPE, tasks_run().0, tasks_run().1).await.unwrap();
        assert!(story.is_empty());
        let twice = [moves[0].clone(), moves[0].clone()];
        assert!(matches!(ledger.move_tasks(&lease, 2.0, &twice).await, Err(LedgerError::Misuse { .. })));
    }

    async fn of_two_that_move_the_same_task_at_once_one_wins(bench: Bench) {
        let (ledger, lease) = bench.owned().await;
        let other = bench.open().await;
        for number in 0..20 {
            let id = format!("t{number}");
            ledger.add_request(&lease, &request(&id), &[task(&id, &[])]).await.unwrap();
            let submit = [step(&id, Phase::Ready, Phase::Submitting)];
            let end = [step(&id, Phase::Ready, Phase::Ended)];
            let (a, b) = tokio::join!(ledger.move_tasks(&lease, 1.0, &submit), other.move_tasks(&lease, 1.0, &end));
            assert!(a.is_ok() != b.is_ok(), "{a:?} {b:?}");
            let lost = a.and(b).unwrap_err();
            assert!(matches!(lost, LedgerError::Conflict { .. }), "{lost:?}");
        }
    }

    async fn the_intent_to_submit_is_one_write_with_its_token_and_its_story(bench: Bench) {
        let (ledger, lease) = bench.owned().await;
        ledger.add_request(&lease, &request("r"), &[task("a", &[])]).await.unwrap();
        let intent = Changes {
            moves: vec![PhaseChange { attempt: Some(1), ..step("a", Phase::Ready, Phase::Submitting) }],
            attempts: vec![attempt("a", 1)],
            events: vec![event("submitting", 3.0)],
        };
        ledger.apply(&lease, 3.0, &intent).await.unwrap();
        assert_eq!(ledger.find_token("a-1").await.unwrap(), Some(attempt("a", 1)));
        let row = ledger.task(SCOPE, "a").await.unwrap().unwrap();
        assert_eq!((row.phase, row.attempt, row.epoch), (Phase::Submitting, 1, lease.epoch));

        let again = Changes { attempts: vec![attempt("nobody", 1)], ..intent.clone() };
        assert!(matches!(ledger.apply(&lease, 4.0, &again).await, Err(LedgerError::Conflict { .. })));
        let half = Changes {
            moves: vec![step("a", Phase::Submitting, Phase::Submitted)],
            attempts: vec![attempt("nobody", 1)],
            events: vec![],
        };
        let Err(LedgerError::Conflict { tasks }) = ledger.apply(&lease, 4.0, &half).await else {
            panic!("no conflict")
        };
        assert_eq!(tasks, [Mismatch { task: "nobody".into(), expected: None, found: None }]);
        assert_eq!(ledger.task(SCOPE, "a").await.unwrap().unwrap().phase, Phase::Submitting);
    }
}

fn tasks_run() -> (amore_model::Proposal, amore_model::Run) {
    (amore_model::Proposal(1234), amore_model::Run(42))
}
