//! Ten thousand tasks at once. No time is asserted: `examples/time_moves.rs` measures.

use amore_ledger::{AttemptRow, Phase, PhaseChange};

use crate::bench::*;

on_both! {
    async fn ten_thousand_tasks_come_in_move_and_end_in_bulk(bench: Bench) {
        const TASKS: usize = 10_000;
        let (ledger, lease) = bench.owned().await;
        let ids: Vec<String> = (0..TASKS).map(|number| format!("t{number:05}")).collect();
        let tasks: Vec<_> = ids
            .iter()
            .enumerate()
            .map(|(i, id)| task(id, if i % 2 == 1 { vec![ids[i - 1].as_str()] } else { vec![] }.as_slice()))
            .collect();
        ledger.add_request(&lease, &request("r"), &tasks).await.unwrap();
        assert_eq!(ledger.open_tasks(SCOPE).await.unwrap().len(), TASKS);
        let ready: Vec<&String> = ids.iter().step_by(2).collect();
        let all = |from, to| -> Vec<PhaseChange> { ready.iter().map(|id| step(id, from, to)).collect() };
        ledger.move_tasks(&lease, 1.0, &all(Phase::Ready, Phase::Submitting)).await.unwrap();
        let attempts: Vec<AttemptRow> = ready.iter().map(|id| attempt(id, 1)).collect();
        ledger.upsert_attempts(&lease, &attempts).await.unwrap();
        assert_eq!(ledger.open_attempts(SCOPE).await.unwrap(), attempts);
        ledger.move_tasks(&lease, 2.0, &all(Phase::Submitting, Phase::Ended)).await.unwrap();
        let counts = ledger.counts(SCOPE).await.unwrap();
        assert_eq!((counts.of(Phase::Ended), counts.of(Phase::Waiting)), (5_000, 5_000));
        assert_eq!(ledger.open_tasks(SCOPE).await.unwrap().len(), 5_000);
        ledger.forget_scope(&lease).await.unwrap();
        assert_eq!(ledger.counts(SCOPE).await.unwrap().open(), 0);
    }
}
