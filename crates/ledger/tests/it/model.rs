//! Any sequence of writes leaves what a map in memory would hold.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU32, Ordering},
};

use amore_ledger::{Acquired, Lease, Ledger, LedgerError, NewTask, Phase, PhaseChange};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use serde_json::json;
use tokio::runtime::Runtime;

use crate::bench::*;

#[derive(Clone, Debug)]
enum Op {
    Add(usize, bool),
    Move(Vec<(usize, usize, usize)>),
    Depose,
    MoveDeposed(usize, usize, usize),
    Forget,
}

fn op() -> impl Strategy<Value = Op> {
    let a_move = || (0..12usize, 0..6usize, 0..6usize);
    prop_oneof![
        3 => (1..4usize, any::<bool>()).prop_map(|(count, wait)| Op::Add(count, wait)),
        12 => prop::collection::vec(a_move(), 1..3).prop_map(Op::Move),
        1 => Just(Op::Depose),
        2 => a_move().prop_map(|(task, from, to)| Op::MoveDeposed(task, from, to)),
        1 => Just(Op::Forget),
    ]
}

struct World<'a> {
    ledger: &'a Ledger,
    scope: String,
    lease: Lease,
    deposed: Option<Lease>,
    tasks: BTreeMap<String, (Phase, u64)>,
    counter: u64,
}

impl World<'_> {
    async fn take(&mut self) {
        self.counter += 1;
        let now = self.counter as f64 * 1e3;
        match self.ledger.acquire(&self.scope, &holder(self.counter as u32), now, TERM, None).await.unwrap() {
            Acquired::Mine(lease) => self.deposed = Some(std::mem::replace(&mut self.lease, lease)),
            Acquired::HeldBy(claim) => panic!("held by {}", claim.holder),
        }
    }

    fn a_move(&self, (task, from, to): (usize, usize, usize), n: u64) -> PhaseChange {
        let id = self.tasks.keys().nth(task).cloned().unwrap_or_else(|| "nobody".into());
        // Mostly from where the task is, so that much is legal.
        let at = self.tasks.get(&id).map(|(phase, _)| *phase);
        let from = if from < 4 { at.unwrap_or(Phase::Ready) } else { Phase::ALL[from] };
        PhaseChange { facts: Some(json!({"n": n})), ..step(&id, from, Phase::ALL[to]) }
    }

    async fn make(&mut self, op: &Op) {
        self.counter += 1;
        let n = self.counter;
        match op {
            Op::Add(count, wait) => {
                let ids: Vec<String> = (0..*count).map(|i| format!("{}-{n}-{i}", self.scope)).collect();
                let tasks: Vec<NewTask> = ids
                    .iter()
                    .enumerate()
                    .map(|(i, id)| {
                        let waits: &[&str] = if *wait && i > 0 { &[ids[0].as_str()] } else { &[] };
                        NewTask { facts: json!({"n": n}), ..task(id, waits) }
                    })
                    .collect();
                self.ledger.add_request(&self.lease, &request(&ids[0]), &tasks).await.unwrap();
                for (i, id) in ids.into_iter().enumerate() {
                    let phase = if *wait && i > 0 { Phase::Waiting } else { Phase::Ready };
                    self.tasks.insert(id, (phase, n));
                }
            }
            Op::Move(moves) => {
                let moves: Vec<PhaseChange> = moves.iter().map(|&step| self.a_move(step, n)).collect();
                let answer = self.ledger.move_tasks(&self.lease, 1.0, &moves).await;
                let twice = moves.len() == 2 && moves[0].id == moves[1].id;
                let illegal = moves.iter().any(|step| !step.from.may_become(step.to));
                let missed: Vec<&str> = moves
                    .iter()
                    .filter(|step| self.tasks.get(&step.id).map(|(phase, _)| *phase) != Some(step.from))
                    .map(|step| step.id.as_str())
                    .collect();
                match answer {
                    Err(LedgerError::IllegalMove { .. }) => assert!(illegal),
                    Err(LedgerError::Misuse { .. }) => assert!(twice),
                    Err(LedgerError::Conflict { tasks }) => {
                        assert_eq!(tasks.iter().map(|task| task.task.as_str()).collect::<Vec<_>>(), missed);
                    }
                    Err(error) => panic!("{error:?}"),
                    Ok(()) => {
                        assert!(!twice && !illegal && missed.is_empty());
                        for step in moves {
                            self.tasks.insert(step.id, (step.to, n));
                        }
                    }
                }
            }
            Op::Depose => self.take().await,
            Op::MoveDeposed(task, from, to) => {
                let Some(deposed) = &self.deposed else { return };
                let step = self.a_move((*task, *from, *to), n);
                let legal = step.from.may_become(step.to);
                let answer = self.ledger.move_tasks(deposed, 1.0, &[step]).await;
                assert!(!legal || matches!(answer, Err(LedgerError::Deposed { .. })), "{answer:?}");
                assert!(answer.is_err());
            }
            Op::Forget => {
                self.ledger.forget_scope(&self.lease).await.unwrap();
                self.tasks.clear();
            }
        }
    }

    async fn compare(&self) {
        let open: BTreeMap<String, (Phase, u64)> = self
            .ledger
            .open_tasks(&self.scope)
            .await
            .unwrap()
            .into_iter()
            .map(|row| (row.id, (row.phase, row.facts["n"].as_u64().unwrap())))
            .collect();
        let expected = self.tasks.iter().filter(|(_, (phase, _))| *phase != Phase::Ended);
        assert_eq!(open, expected.map(|(id, state)| (id.clone(), *state)).collect());
        let counts = self.ledger.counts(&self.scope).await.unwrap();
        for phase in Phase::ALL {
            let expected = self.tasks.values().filter(|(found, _)| *found == phase).count() as u64;
            assert_eq!(counts.of(phase), expected, "{phase}");
        }
    }
}

fn any_sequence(kind: Kind) {
    static CASE: AtomicU32 = AtomicU32::new(0);
    let runtime = Runtime::new().unwrap();
    let Some((_bench, ledger)) = runtime.block_on(async {
        let bench = Bench::new(kind).await?;
        let ledger = bench.open().await;
        Some((bench, ledger))
    }) else {
        return;
    };
    let mut runner = TestRunner::new(Config { cases: 40, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&prop::collection::vec(op(), 1..30), |ops| {
        runtime.block_on(async {
            let scope = format!("/scope/{}", CASE.fetch_add(1, Ordering::Relaxed));
            let Acquired::Mine(lease) = ledger.acquire(&scope, &holder(0), 0.0, TERM, None).await.unwrap()
            else {
                panic!("held");
            };
            let mut world =
                World { ledger: &ledger, scope, lease, deposed: None, tasks: BTreeMap::new(), counter: 1 };
            for op in &ops {
                world.make(op).await;
            }
            world.compare().await;
        });
        Ok(())
    });
    outcome.unwrap();
    runtime.block_on(ledger.close()).unwrap();
}

#[test]
fn any_sequence_of_writes_equals_the_model_sqlite() {
    any_sequence(Kind::Sqlite);
}

#[test]
fn any_sequence_of_writes_equals_the_model_postgres() {
    any_sequence(Kind::Postgres);
}
