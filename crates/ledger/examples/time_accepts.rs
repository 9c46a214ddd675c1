//! Measures how many events an inbox accepts durably per second.
//!
//! Many senders each have one event under way and wait until it is stored; one writer stores all that wait in one
//! transaction, as the service does. Prints JSON: events per second in each of several rounds.
//!
//! `cargo run --release -p amore-ledger --example time_accepts [PLACE]` (a temporary SQLite file by default)

use std::{
    error::Error,
    time::{Duration, Instant},
};

use amore_ledger::{Acquired, ArrivalState, Holder, Lease, Ledger, NewArrival, OpenOptions};
use amore_model::{Proposal, Run};
use serde_json::json;
use tokio::sync::{mpsc, oneshot};

const SCOPE: &str = "inbox:/measure";
const SENDERS: u32 = 64;
const ROUNDS: u32 = 5;
const EVENTS_PER_ROUND: u32 = 6400;

type Asked = (NewArrival, oneshot::Sender<()>);

fn arrival(number: u32) -> NewArrival {
    NewArrival {
        source: "kafka".into(),
        source_id: Some(format!("test.r2d2/0/{number}")),
        proposal: Some(Proposal(1234)),
        run: Some(Run(number % 500)),
        data: Some("raw".into()),
        complete: true,
        forced: false,
        received: 1.0,
        payload: json!({"event": "migration_complete", "proposal": 1234, "run": number % 500, "path": "/gpfs/exfel/exp"})
            .to_string(),
        state: ArrivalState::Open,
        detail: json!({}),
    }
}

/// Stores all that wait, until nobody sends any more.
async fn store(ledger: Ledger, lease: Lease, mut asked: mpsc::UnboundedReceiver<Asked>) {
    while let Some(first) = asked.recv().await {
        let mut batch = vec![first];
        while let Ok(next) = asked.try_recv() {
            batch.push(next);
        }
        let (arrivals, answers): (Vec<NewArrival>, Vec<_>) = batch.into_iter().unzip();
        ledger.accept(&lease, &arrivals).await.expect("the ledger can be written");
        for answer in answers {
            let _ = answer.send(());
        }
    }
}

async fn send(store: mpsc::UnboundedSender<Asked>, numbers: impl Iterator<Item = u32>) {
    for number in numbers {
        let (answer, stored) = oneshot::channel();
        let _ = store.send((arrival(number), answer));
        let _ = stored.await;
    }
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
    let (asked, waiting) = mpsc::unbounded_channel();
    let storing = tokio::spawn(store(ledger.clone(), lease, waiting));
    let mut per_second = Vec::new();
    for round in 0..ROUNDS {
        let start = Instant::now();
        let first = round * EVENTS_PER_ROUND;
        let senders: Vec<_> = (0..SENDERS)
            .map(|sender| {
                let numbers = (first + sender..first + EVENTS_PER_ROUND).step_by(SENDERS as usize);
                tokio::spawn(send(asked.clone(), numbers))
            })
            .collect();
        for sender in senders {
            sender.await?;
        }
        per_second.push((f64::from(EVENTS_PER_ROUND) / start.elapsed().as_secs_f64()).round());
    }
    drop(asked);
    storing.await?;
    let counts = ledger.arrival_counts(SCOPE).await?;
    println!(
        "{}",
        json!({"per_second": per_second, "senders": SENDERS, "stored": counts.open, "sent": ROUNDS * EVENTS_PER_ROUND})
    );
    Ok(())
}
