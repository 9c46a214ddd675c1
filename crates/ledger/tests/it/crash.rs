//! Coordinators that are killed or stopped at any instant, for real.

use std::{collections::HashMap, thread::sleep, time::Duration};

use amore_ledger::{Acquired, Lease, Ledger, OpenOptions, Phase};
use amore_model::{Proposal, Run};
use nix::sys::signal::Signal;

use crate::{
    bench::*,
    child::{Process, TASKS},
};

fn instant(seed: u64) -> Duration {
    Duration::from_micros(seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695) >> 33 & 0xffff)
}

async fn take_over(ledger: &Ledger, pid: u32, now: f64) -> Option<Lease> {
    match ledger.acquire(SCOPE, &holder(pid), now, TERM, None).await {
        Ok(Acquired::Mine(lease)) => Some(lease),
        Ok(Acquired::HeldBy(claim)) => panic!("held by {}", claim.holder),
        Err(error) if error.is_temporary() => None,
        Err(error) => panic!("{error}"),
    }
}

on_both! {
    async fn a_coordinator_that_slept_past_its_term_is_refused(bench: Bench) {
        let mut child = Process::start(&bench.place, "wait");
        assert_eq!(child.says().unwrap(), "holds the lease");
        child.signal(Signal::SIGSTOP);
        let ledger = bench.open().await;
        let early = ledger.acquire(SCOPE, &holder(7), 59.0, TERM, None).await.unwrap();
        assert!(matches!(early, Acquired::HeldBy(_)));
        let lease = take_over(&ledger, 7, 61.0).await.unwrap();
        child.tell();
        child.signal(Signal::SIGCONT);
        assert_eq!(child.says().unwrap(), "deposed by Some(7) under 2");
        assert_eq!(ledger.requests(SCOPE, false).await.unwrap(), []);
        ledger.add_request(&lease, &request("r"), &[]).await.unwrap();
    }

    async fn one_that_is_stopped_in_the_middle_of_a_write_does_not_block_its_successor_for_ever(bench: Bench) {
        let ledger = bench.open().await;
        for seed in 0..6 {
            let mut child = Process::start(&bench.place, "write");
            assert_eq!(child.says().unwrap(), "holds the lease");
            sleep(instant(seed));
            child.signal(Signal::SIGSTOP);
            let patient = OpenOptions { patience: Duration::from_secs(4), ..OpenOptions::new(HOST, 0.0) };
            let successor = match (bench.kind, Ledger::open(&bench.place, &patient).await) {
                (_, Ok(ledger)) => Some(ledger),
                // A SQLite file stays locked: the caller is told, and tries again.
                (Kind::Sqlite, Err(error)) if error.is_temporary() => None,
                (_, Err(error)) => panic!("{error}"),
            };
            let mut lease = None;
            if let Some(successor) = &successor {
                lease = take_over(successor, 7, 61.0).await;
                assert!(lease.is_some() || bench.kind == Kind::Sqlite);
            }
            child.signal(Signal::SIGCONT);
            while lease.is_none() {
                lease = take_over(&ledger, 7, 61.0).await;
            }
            let last = std::iter::from_fn(|| child.says()).last().unwrap();
            assert!(last.starts_with("deposed by Some(7)"), "{last}");
            check(&ledger, &[]).await;
            ledger.release(lease.unwrap()).await.unwrap();
        }
    }

    async fn what_was_being_written_when_a_process_died_is_there_wholly_or_not_at_all(bench: Bench) {
        for seed in 0..12 {
            let mut child = Process::start(&bench.place, "write");
            assert_eq!(child.says().unwrap(), "holds the lease");
            sleep(instant(seed));
            child.signal(Signal::SIGKILL);
            let said: Vec<String> = std::iter::from_fn(|| child.says()).collect();
            let written: Vec<&str> = said.iter().filter_map(|words| words.strip_prefix("wrote ")).collect();
            assert!(!said.iter().any(|words| words.starts_with("failed")), "{said:?}");
            let ledger = bench.open().await;
            let Some(lease) = take_over(&ledger, 7, 61.0).await else { panic!("busy") };
            check(&ledger, &written).await;
            ledger.release(lease).await.unwrap();
        }
    }
}

/// Each request has all of its tasks with all that they wait for; `written` are there, and their first task has ended.
async fn check(ledger: &Ledger, written: &[&str]) {
    let tasks = ledger.tasks_of_run(SCOPE, Proposal(1234), Run(42), 1_000_000).await.unwrap();
    let mut of_request: HashMap<String, Vec<_>> = HashMap::new();
    for task in tasks {
        of_request.entry(task.request.clone()).or_default().push(task);
    }
    let requests = ledger.requests(SCOPE, false).await.unwrap();
    assert_eq!(requests.len(), of_request.len());
    let ended = ledger.events_of_run(SCOPE, Proposal(1234), Run(42)).await.unwrap().len() as u64;
    for tasks in of_request.values() {
        assert_eq!(tasks.len(), TASKS);
        assert_eq!(tasks.iter().filter(|task| task.waits_for.len() == 1).count(), TASKS - 1);
    }
    for id in written {
        let first = format!("{id}-0");
        assert!(of_request[*id].iter().any(|task| task.id == first && task.phase == Phase::Ended));
    }
    assert_eq!(ledger.counts(SCOPE).await.unwrap().of(Phase::Ended), ended);
}
