//! What comes in is what is read: requests, tasks, attempts, events, facts.

use amore_ledger::{AttemptRow, LedgerError, NewEvent, NewTask, Phase, TaskRow};
use amore_model::{Proposal, Run};
use serde_json::json;

use crate::bench::*;

on_both! {
    async fn a_request_comes_in_with_its_tasks_and_is_read_as_it_was(bench: Bench) {
        let (ledger, lease) = bench.owned().await;
        let late = NewTask { priority: -3, run: Run(43), ..task("late", &["first", "first"]) };
        let tasks = [late, task("first", &[])];
        ledger.add_request(&lease, &request("r"), &tasks).await.unwrap();
        drop(ledger);
        let ledger = bench.open().await;
        let open = ledger.open_tasks(SCOPE).await.unwrap();
        let row = |new: &NewTask, phase| TaskRow {
            id: new.id.clone(),
            request: "r".into(),
            proposal: new.proposal,
            run: new.run,
            priority: new.priority,
            place: new.place,
            phase,
            facts: new.facts.clone(),
            spec: new.spec.clone(),
            waits_for: if new.id == "late" { vec!["first".into()] } else { vec![] },
            attempt: 0,
            created: request("r").created,
            changed: request("r").created,
            epoch: lease.epoch,
        };
        assert_eq!(open, [row(&tasks[1], Phase::Ready), row(&tasks[0], Phase::Waiting)]);
        assert_eq!(ledger.tasks_of_run(SCOPE, Proposal(1234), Run(43), 5).await.unwrap(), open[1..]);
        assert_eq!(ledger.tasks_of_run(SCOPE, Proposal(1234), Run(44), 5).await.unwrap(), []);
        assert_eq!(ledger.open_tasks("/elsewhere").await.unwrap(), []);
        let counts = ledger.counts(SCOPE).await.unwrap();
        assert_eq!((counts.of(Phase::Ready), counts.of(Phase::Waiting), counts.open()), (1, 1, 2));

        let known = ledger.requests(SCOPE, true).await.unwrap();
        assert_eq!(known.iter().map(|row| &row.request).collect::<Vec<_>>(), [&request("r")]);
        assert!(ledger.finish_request(&lease, "r", 7.5).await.unwrap());
        assert!(!ledger.finish_request(&lease, "r", 8.5).await.unwrap());
        assert!(!ledger.finish_request(&lease, "nobody", 8.5).await.unwrap());
        assert_eq!(ledger.requests(SCOPE, true).await.unwrap(), []);
        assert_eq!(ledger.requests(SCOPE, false).await.unwrap()[0].finished, Some(7.5));
    }

    async fn a_request_comes_in_once_and_wholly(bench: Bench) {
        let (ledger, lease) = bench.owned().await;
        ledger.add_request(&lease, &request("r"), &[task("a", &[])]).await.unwrap();
        let again = ledger.add_request(&lease, &request("r"), &[task("b", &[])]).await;
        assert!(matches!(again, Err(LedgerError::AlreadyThere { .. })), "{again:?}");
        for tasks in [
            vec![task("a", &[])],
            vec![task("b", &[]), task("b", &[])],
            vec![task("b", &[]), task("c", &["nobody"])],
            vec![task("b", &["b"])],
        ] {
            let refused = ledger.add_request(&lease, &request("s"), &tasks).await;
            assert!(matches!(refused, Err(LedgerError::Misuse { .. })), "{refused:?}");
        }
        assert_eq!(ledger.open_tasks(SCOPE).await.unwrap().len(), 1);
        assert_eq!(ledger.requests(SCOPE, false).await.unwrap().len(), 1);
        ledger.add_request(&lease, &request("empty"), &[]).await.unwrap();
    }

    async fn attempts_are_found_by_task_by_job_and_by_token(bench: Bench) {
        let (ledger, lease) = bench.owned().await;
        ledger.add_request(&lease, &request("r"), &[task("a", &[]), task("b", &[])]).await.unwrap();
        let whole = AttemptRow {
            job_id: Some(4_000_000_000),
            array_task: Some(3),
            slurm_state: Some("PENDING".into()),
            slurm_reason: Some("Resources".into()),
            partition: Some("upex".into()),
            reservation: Some("upex_001234".into()),
            nodes: Some("max-exfl[001-002]".into()),
            submitted: Some(1_800_000_000.000_001),
            started: Some(2.5),
            exit_code: Some(-9),
            outcome: Some("out of memory".into()),
            ..attempt("a", 1)
        };
        let other = AttemptRow { job_id: Some(4_000_000_000), array_task: Some(1), ..attempt("b", 1) };
        ledger.upsert_attempts(&lease, &[attempt("a", 1), whole.clone(), other.clone()]).await.unwrap();
        assert_eq!(ledger.attempts_of_task(SCOPE, "a").await.unwrap(), std::slice::from_ref(&whole));
        let by_job = ledger.attempts_by_job("maxwell", 4_000_000_000).await.unwrap();
        assert_eq!(by_job, [other.clone(), whole.clone()]);
        assert_eq!(ledger.attempts_by_job("solaris", 4_000_000_000).await.unwrap(), []);
        assert_eq!(ledger.find_token("nothing").await.unwrap(), None);

        let ended = AttemptRow { ended: Some(9.0), slurm_state: Some("COMPLETED".into()), ..whole.clone() };
        ledger.upsert_attempts(&lease, &[ended.clone(), attempt("a", 2)]).await.unwrap();
        assert_eq!(ledger.attempts_of_task(SCOPE, "a").await.unwrap(), [ended, attempt("a", 2)]);
        assert_eq!(ledger.open_attempts(SCOPE).await.unwrap(), [attempt("a", 2), other]);

        let forged = AttemptRow { token: "another".into(), ..attempt("a", 2) };
        let stolen = AttemptRow { token: "a-2".into(), ..attempt("b", 2) };
        for wrong in [forged, stolen] {
            let refused = ledger.upsert_attempts(&lease, &[wrong]).await;
            assert!(matches!(refused, Err(LedgerError::Misuse { .. })), "{refused:?}");
        }
    }

    async fn the_story_is_told_in_order_and_facts_are_remembered(bench: Bench) {
        let (ledger, lease) = bench.owned().await;
        let odd = NewEvent { message: "a\0b".into(), detail: json!({"a": ["\0", "'", "σ"]}), ..event("odd", 2.0) };
        let elsewhere = NewEvent { run: Run(7), ..event("elsewhere", 3.0) };
        ledger.add_events(&lease, &[event("started", 5.0), odd.clone(), elsewhere]).await.unwrap();
        ledger.add_events(&lease, &[event("ended", 1.0)]).await.unwrap();
        let story = ledger.events_of_run(SCOPE, Proposal(1234), Run(42)).await.unwrap();
        let told: Vec<NewEvent> = story.into_iter().map(|row| row.event).collect();
        let shown = NewEvent { message: "a\u{fffd}b".into(), ..odd };
        assert_eq!(told, [event("started", 5.0), shown, event("ended", 1.0)]);

        assert_eq!(ledger.fact(SCOPE, "results_generation").await.unwrap(), None);
        for value in [json!(1), json!({"at": 1_800_000_000.123_456, "none": null}), json!(null)] {
            ledger.set_fact(&lease, "results_generation", &value).await.unwrap();
            assert_eq!(ledger.fact(SCOPE, "results_generation").await.unwrap(), Some(value));
        }
        assert_eq!(ledger.fact("/elsewhere", "results_generation").await.unwrap(), None);
    }
}
