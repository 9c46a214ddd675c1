//! A place to try a ledger on each engine (no benchmark), and values in short.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use amore_ledger::{
    Acquired, AttemptRow, Holder, Lease, Ledger, NewEvent, NewRequest, NewTask, OpenOptions, Phase,
    PhaseChange, Place,
};
use amore_model::{Proposal, Run};
use serde_json::{Value, json};
use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, PgConnection, SqliteConnection, postgres::PgConnectOptions,
    sqlite::SqliteConnectOptions,
};
use tempfile::TempDir;

use crate::server::server;

/// Set by somebody who knows that there is no PostgreSQL.
const WITHOUT: &str = "AMORE_TEST_WITHOUT_POSTGRES";

pub const TERM: Duration = Duration::from_secs(60);
pub const SCOPE: &str = "/gpfs/exfel/exp/SPB/202631/p001234/usr/Shared/amore";
pub const HOST: &str = "max-exfl001";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Sqlite,
    Postgres,
}

/// A place for a ledger of its own.
pub struct Bench {
    pub kind: Kind,
    pub place: String,
    _dir: TempDir,
}

/// A connection beside the ledger's, as another program would make it.
pub enum Raw {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

/// Makes two tests of one function that takes a [`Bench`].
macro_rules! on_both {
    ($($(#[$meta:meta])* async fn $name:ident($bench:ident: Bench) $body:block)+) => {
        $(mod $name {
            use super::*;
            use $crate::bench::{Bench, Kind};

            async fn case($bench: Bench) $body

            $(#[$meta])*
            #[tokio::test]
            async fn sqlite() {
                case(Bench::new(Kind::Sqlite).await.expect("files can always be made")).await;
            }

            $(#[$meta])*
            #[tokio::test]
            async fn postgres() {
                if let Some(bench) = Bench::new(Kind::Postgres).await {
                    case(bench).await;
                }
            }
        })+
    };
}
pub(crate) use on_both;

impl Bench {
    /// `None` if there is no server and `AMORE_TEST_WITHOUT_POSTGRES` says that this is known.
    pub async fn new(kind: Kind) -> Option<Bench> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let dir = TempDir::new().unwrap();
        let place = match kind {
            Kind::Sqlite => dir.path().join("ledger.sqlite").to_str().unwrap().to_owned(),
            Kind::Postgres => {
                let started = tokio::task::spawn_blocking(server).await.unwrap();
                let url = match started {
                    Ok(url) => url,
                    // Not green by itself: a test that tried nothing must not look like one that passed.
                    Err(why) if std::env::var_os(WITHOUT).is_none() => panic!(
                        "there is no PostgreSQL for this test ({why}): `scripts/setup.sh postgres` installs one; \
                         AMORE_TEST_POSTGRES_URL names another; {WITHOUT}=1 leaves these tests out"
                    ),
                    Err(why) => {
                        eprintln!("left out, as {WITHOUT} says: {why}");
                        return None;
                    }
                };
                let number = NUMBER.fetch_add(1, Ordering::Relaxed);
                let name = format!("amore_test_{}_{number}", std::process::id());
                let options: PgConnectOptions = url.parse().unwrap();
                let mut connection = options.connect().await.unwrap();
                let make = format!("CREATE DATABASE {name} TEMPLATE template0");
                sqlx::raw_sql(AssertSqlSafe(make)).execute(&mut connection).await.unwrap();
                connection.close().await.unwrap();
                let (start, query) = url.split_once('?').map_or((url, ""), |(start, query)| (start, query));
                format!("{}/{name}?{query}", start.rsplit_once('/').unwrap().0)
            }
        };
        Some(Bench { kind, place, _dir: dir })
    }

    pub async fn open(&self) -> Ledger {
        Ledger::open(&self.place, &OpenOptions::new(HOST, 0.0)).await.unwrap()
    }

    /// A new ledger whose lease is process 1's from time 0.
    pub async fn owned(&self) -> (Ledger, Lease) {
        let ledger = self.open().await;
        let lease = acquire(&ledger, 1, 0.0).await;
        (ledger, lease)
    }

    pub async fn raw(&self) -> Raw {
        match self.kind {
            Kind::Sqlite => {
                let options = SqliteConnectOptions::new().filename(&self.place).foreign_keys(true);
                Raw::Sqlite(options.create_if_missing(true).connect().await.unwrap())
            }
            Kind::Postgres => {
                let options: PgConnectOptions = self.place.parse().unwrap();
                let options =
                    options.options([("search_path", "amore_ledger"), ("client_min_messages", "warning")]);
                Raw::Postgres(options.connect().await.unwrap())
            }
        }
    }
}

impl Raw {
    pub async fn run(&mut self, text: &str) -> Result<(), sqlx::Error> {
        let query = sqlx::raw_sql(AssertSqlSafe(text.to_owned()));
        match self {
            Raw::Sqlite(connection) => query.execute(connection).await.map(drop),
            Raw::Postgres(connection) => query.execute(connection).await.map(drop),
        }
    }

    pub async fn number(&mut self, text: &str) -> i64 {
        let query = sqlx::query_scalar(AssertSqlSafe(text.to_owned()));
        match self {
            Raw::Sqlite(connection) => query.fetch_one(connection).await.unwrap(),
            Raw::Postgres(connection) => {
                sqlx::query_scalar(AssertSqlSafe(text.to_owned())).fetch_one(connection).await.unwrap()
            }
        }
    }
}

pub fn holder(pid: u32) -> Holder {
    Holder {
        host: HOST.into(),
        pid,
        token: format!("t{pid}"),
        user: "xuser".into(),
        address: Some(format!("http://{HOST}:{pid}")),
    }
}

pub async fn acquire(ledger: &Ledger, pid: u32, now: f64) -> Lease {
    match ledger.acquire(SCOPE, &holder(pid), now, TERM, None).await.unwrap() {
        Acquired::Mine(lease) => lease,
        Acquired::HeldBy(claim) => panic!("held: {claim:?}"),
    }
}

pub fn request(id: &str) -> NewRequest {
    NewRequest {
        id: id.into(),
        created: 1_800_000_000.123_456,
        by_user: "xuser".into(),
        origin: "user".into(),
        detail: json!({"argv": ["amore", "reprocess", "42"]}),
    }
}

pub fn task(id: &str, waits_for: &[&str]) -> NewTask {
    NewTask {
        id: id.into(),
        proposal: Proposal(1234),
        run: Run(42),
        priority: 10,
        place: Place::Cluster,
        facts: json!({}),
        spec: json!({"variables": ["mean", "σ"], "n": 1.5}),
        waits_for: waits_for.iter().map(|&id| id.to_owned()).collect(),
    }
}

pub fn step(id: &str, from: Phase, to: Phase) -> PhaseChange {
    PhaseChange { id: id.into(), from, to, facts: None, attempt: None, event: None }
}

pub fn attempt(task: &str, number: u32) -> AttemptRow {
    AttemptRow {
        task: task.into(),
        number,
        token: format!("{task}-{number}"),
        cluster: "maxwell".into(),
        asked: json!({"cpus": 8}),
        ..AttemptRow::default()
    }
}

pub fn event(kind: &str, at: f64) -> NewEvent {
    NewEvent {
        proposal: Proposal(1234),
        run: Run(42),
        task: None,
        at,
        kind: kind.into(),
        message: format!("it {kind}"),
        detail: Value::Null,
    }
}

/// Leads a ready or waiting task to a phase by legal moves.
pub async fn lead(ledger: &Ledger, lease: &Lease, id: &str, from: Phase, to: Phase) {
    let way = match to {
        Phase::Waiting => return,
        Phase::Ready if from == Phase::Ready => return,
        Phase::Ready => vec![Phase::Ready],
        Phase::Submitting => vec![Phase::Submitting],
        Phase::Submitted => vec![Phase::Submitting, Phase::Submitted],
        Phase::Running => vec![Phase::Running],
        Phase::Ended => vec![Phase::Ended],
    };
    let mut at = from;
    for next in way {
        ledger.move_tasks(lease, 1.0, &[step(id, at, next)]).await.unwrap();
        at = next;
    }
}
