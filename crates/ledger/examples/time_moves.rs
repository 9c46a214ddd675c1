//! Measures what a task's move costs with few and with many tasks in the ledger.
//!
//! Prints JSON: medians in microseconds, commit included, and the ratio of the largest ledger to the smallest. `move`
//! is one task's step with an event; `intent` is a step with an attempt's token; `bulk` is 100 steps in one write.
//! All but a hundred tasks of each size have ended, as in a ledger after months; `open` reads those that have not.
//!
//! `cargo run --release -p amore-ledger --example time_moves [PLACE]` (a temporary SQLite file by default)

use std::{
    error::Error,
    time::{Duration, Instant},
};

use amore_ledger::{
    Acquired, AttemptRow, Changes, Holder, Lease, Ledger, NewEvent, NewRequest, NewTask, OpenOptions, Phase,
    PhaseChange, Place,
};
use amore_model::{Proposal, Run};
use serde_json::{Value, json};

const SCOPE: &str = "/measure";
const SIZES: [usize; 3] = [100, 10_000, 100_000];
const OPEN: usize = 100;
const REPEATS: usize = 101;

fn task(number: usize) -> NewTask {
    NewTask {
        id: id(number),
        proposal: Proposal(1234),
        run: Run(number as u32 / 10),
        priority: 0,
        place: Place::Cluster,
        facts: json!({}),
        spec: json!({"variables": (0..20).map(|i| format!("variable_{i}")).collect::<Vec<_>>()}),
        waits_for: vec![],
    }
}

fn id(number: usize) -> String {
    format!("{number:08}")
}

fn step(number: usize, from: Phase, to: Phase) -> PhaseChange {
    PhaseChange { id: id(number), from, to, facts: Some(json!({"job": number})), attempt: None, event: None }
}

fn told(number: usize, from: Phase, to: Phase) -> PhaseChange {
    let event = NewEvent {
        proposal: Proposal(1234),
        run: Run(number as u32 / 10),
        task: Some(id(number)),
        at: 1.0,
        kind: "moved".into(),
        message: "it moved".into(),
        detail: Value::Null,
    };
    PhaseChange { event: Some(event), ..step(number, from, to) }
}

/// Fills up to `size` tasks, of which all but [`OPEN`] have ended.
async fn fill(ledger: &Ledger, lease: &Lease, from: usize, size: usize) -> Result<(), Box<dyn Error>> {
    let numbers: Vec<usize> = (from..size).collect();
    for batch in numbers.chunks(1000) {
        let request = NewRequest {
            id: id(batch[0]),
            created: 1.0,
            by_user: "me".into(),
            origin: "raw".into(),
            detail: Value::Null,
        };
        let tasks: Vec<NewTask> = batch.iter().map(|&number| task(number)).collect();
        ledger.add_request(lease, &request, &tasks).await?;
        let ended = batch.iter().filter(|&&number| number >= OPEN);
        let moves: Vec<PhaseChange> = ended.map(|&number| told(number, Phase::Ready, Phase::Ended)).collect();
        let attempts = batch.iter().map(|&number| AttemptRow {
            task: id(number),
            number: 1,
            token: format!("first-{number}"),
            cluster: "maxwell".into(),
            ended: Some(1.0),
            ..AttemptRow::default()
        });
        let changes = Changes { moves, attempts: attempts.collect(), events: vec![] };
        ledger.apply(lease, 1.0, &changes).await?;
    }
    Ok(())
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    (times[times.len() / 2].as_secs_f64() * 1e7).round() / 10.0
}

#[tokio::main(flavor = "current_thread")]
#[expect(clippy::print_stdout, reason = "the figures are the output")]
async fn main() -> Result<(), Box<dyn Error>> {
    let temporary = tempfile::tempdir()?;
    let place = std::env::args().nth(1).unwrap_or(temporary.path().display().to_string());
    let ledger = Ledger::open(&place, &OpenOptions::new("here", 0.0)).await?;
    let me = Holder {
        host: "here".into(),
        pid: std::process::id(),
        token: "measure".into(),
        user: "me".into(),
        address: None,
    };
    let Acquired::Mine(lease) = ledger.acquire(SCOPE, &me, 0.0, Duration::from_secs(60), None).await? else {
        return Err("somebody holds the lease".into());
    };
    ledger.forget_scope(&lease).await?;
    let mut report = serde_json::Map::new();
    let mut medians: Vec<[(&str, f64); 4]> = Vec::new();
    let mut present = 0;
    let mut tries = 0;
    for size in SIZES {
        fill(&ledger, &lease, present, size).await?;
        present = size;
        let (mut moves, mut intents, mut bulks, mut opens) = (vec![], vec![], vec![], vec![]);
        for repeat in 0..REPEATS {
            let number = repeat % OPEN;
            let start = Instant::now();
            ledger.move_tasks(&lease, 2.0, &[told(number, Phase::Ready, Phase::Running)]).await?;
            moves.push(start.elapsed());
            ledger.move_tasks(&lease, 2.0, &[step(number, Phase::Running, Phase::Ready)]).await?;

            tries += 1;
            let intent = Changes {
                moves: vec![step(number, Phase::Ready, Phase::Submitting)],
                attempts: vec![AttemptRow {
                    task: id(number),
                    number: 1 + tries,
                    token: format!("again-{tries}"),
                    cluster: "maxwell".into(),
                    ..AttemptRow::default()
                }],
                events: vec![],
            };
            let start = Instant::now();
            ledger.apply(&lease, 2.0, &intent).await?;
            intents.push(start.elapsed());
            ledger.move_tasks(&lease, 2.0, &[step(number, Phase::Submitting, Phase::Ready)]).await?;
        }
        for repeat in 0..REPEATS {
            let (from, to) =
                if repeat % 2 == 0 { (Phase::Ready, Phase::Running) } else { (Phase::Running, Phase::Ready) };
            let all: Vec<PhaseChange> = (0..OPEN).map(|number| step(number, from, to)).collect();
            let start = Instant::now();
            ledger.move_tasks(&lease, 2.0, &all).await?;
            bulks.push(start.elapsed());
            let start = Instant::now();
            assert_eq!(ledger.open_tasks(SCOPE).await?.len(), OPEN);
            opens.push(start.elapsed());
        }
        let back: Vec<PhaseChange> =
            (0..OPEN).map(|number| step(number, Phase::Running, Phase::Ready)).collect();
        ledger.move_tasks(&lease, 2.0, &back).await?;
        let start = Instant::now();
        ledger.counts(SCOPE).await?;
        report.insert(format!("counts_at_{size}_us"), (start.elapsed().as_micros() as u64).into());
        let measured = [
            ("move", median(moves)),
            ("intent", median(intents)),
            ("bulk", median(bulks)),
            ("open", median(opens)),
        ];
        for (name, value) in measured {
            report.insert(format!("{name}_at_{size}_us"), value.into());
        }
        medians.push(measured);
    }
    if let (Some(first), Some(last)) = (medians.first(), medians.last()) {
        for ((name, small), (_, large)) in first.iter().zip(last) {
            report.insert(format!("{name}_ratio"), ((large / small * 100.0).round() / 100.0).into());
        }
    }
    println!("{}", serde_json::to_string_pretty(&report)?);
    ledger.forget_scope(&lease).await?;
    ledger.release(lease).await?;
    Ok(())
}
