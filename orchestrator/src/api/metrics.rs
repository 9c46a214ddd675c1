//! `/metrics`, for Prometheus. Most numbers are counted from the events of the service; the rest is read when it is asked for.

use std::{
    collections::BTreeMap,
    fs, io,
    sync::{Arc, Mutex, PoisonError, atomic::AtomicU64},
    time::Duration,
};

use amore_core::activity::{Activity, CellContent, WaitsFor};
use amore_model::{Proposal, Run};
use axum::{
    extract::State,
    http::{HeaderName, header},
};
use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeVal,
};
use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
        info::Info,
    },
    registry::{Registry, Unit},
};
use tokio::sync::watch;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Api,
    caller::{AtService, Read},
    problem::{Kind, Problem, ProblemBody},
};
use crate::{
    dispatch::slurm::calls::Call,
    service::{
        State as DirectoryState,
        event_stream::{self, EventStream, Next},
        happening::{Happening, ServiceEvent, What},
    },
};

/// How many tasks and runs are followed from one event to another. More wait only if something is very wrong.
const FOLLOWED: usize = 100_000;

pub fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(show))
}

/// A label with an outcome.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

/// Where a task is executed.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Place {
    place: &'static str,
}

/// Where a task was executed, and how it ended.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct PlaceAndOutcome {
    place: &'static str,
    outcome: &'static str,
}

/// Where an event comes from.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Source {
    source: String,
}

/// A state.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct InState {
    state: &'static str,
}

/// A command of Slurm, and how it ended.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct SlurmCall {
    command: String,
    outcome: &'static str,
}

/// A request of a client.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct HttpCall {
    method: String,
    status: u32,
}

type Seconds<L> = Family<L, Histogram, fn() -> Histogram>;

/// From milliseconds to minutes.
fn short() -> Histogram {
    Histogram::new(exponential_buckets(0.005, 2.0, 16))
}

/// From tens of milliseconds to days.
fn long() -> Histogram {
    Histogram::new(exponential_buckets(0.025, 2.5, 18))
}

/// What is counted.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    runs: Family<Outcome, Counter>,
    variables: Family<Outcome, Counter>,
    tasks: Family<PlaceAndOutcome, Counter>,
    queue: Seconds<Place>,
    reports: Family<Source, Counter>,
    not_understood: Counter,
    event_to_value: Histogram,
    slurm: Seconds<SlurmCall>,
    http: Seconds<HttpCall>,
    directories: Family<InState, Gauge>,
    inbox: Family<InState, Gauge>,
    epoch: Gauge,
    resident: Gauge,
    open_files: Gauge,
    cpu: Counter<f64, AtomicU64>,
    followed: Mutex<Followed>,
}

/// What has begun and not ended.
#[derive(Debug, Default)]
struct Followed {
    /// Since when tasks wait.
    queued: BTreeMap<String, f64>,
    /// Reports of runs that are not settled, by their number, with the time at which they came.
    seen: BTreeMap<i64, (Proposal, Run, f64)>,
}

impl Followed {
    /// A run has a first value since it was reported. Returns when that was, once for each report.
    fn take_first(&mut self, proposal: Proposal, run: Run) -> Option<f64> {
        let of_it = |seen: &&(Proposal, Run, f64)| (seen.0, seen.1) == (proposal, run);
        let number = *self.seen.iter().find(|(_, seen)| of_it(seen))?.0;
        self.seen.remove(&number).map(|(_, _, time)| time)
    }
}

impl Metrics {
    /// Nothing is counted yet. `owner`: the process that serves, and its epoch.
    pub fn new(host: String, user: String, epoch: u64) -> Arc<Self> {
        let mut registry = Registry::with_prefix("amore");
        let metrics = Metrics {
            runs: Family::default(),
            variables: Family::default(),
            tasks: Family::default(),
            queue: Family::new_with_constructor(long),
            reports: Family::default(),
            not_understood: Counter::default(),
            event_to_value: long(),
            slurm: Family::new_with_constructor(short),
            http: Family::new_with_constructor(short),
            directories: Family::default(),
            inbox: Family::default(),
            epoch: Gauge::default(),
            resident: Gauge::default(),
            open_files: Gauge::default(),
            cpu: Counter::default(),
            followed: Mutex::default(),
            registry: Registry::default(),
        };
        let Metrics { runs, variables, tasks, queue, .. } = &metrics;
        registry.register("runs", "Runs whose processing ended", runs.clone());
        registry.register("variables", "Cells that were written to tables", variables.clone());
        registry.register("tasks", "Tasks that ended", tasks.clone());
        registry.register_with_unit(
            "task_queue",
            "Time from the queue to the start of a task",
            Unit::Seconds,
            queue.clone(),
        );
        registry.register(
            "run_events",
            "Events about runs that were stored in the inbox",
            metrics.reports.clone(),
        );
        registry.register(
            "run_events_not_understood",
            "Events that were not understood",
            metrics.not_understood.clone(),
        );
        registry.register_with_unit(
            "event_to_value",
            "Time from the first event about a run to its first value in the table",
            Unit::Seconds,
            metrics.event_to_value.clone(),
        );
        registry.register_with_unit(
            "slurm_call",
            "Commands of Slurm, and how long they took",
            Unit::Seconds,
            metrics.slurm.clone(),
        );
        registry.register_with_unit(
            "http_request",
            "Requests of clients, until the answer began",
            Unit::Seconds,
            metrics.http.clone(),
        );
        registry.register("directories", "Directories of the service by state", metrics.directories.clone());
        registry.register(
            "inbox_events",
            "Events in the inbox that are open, or have failed",
            metrics.inbox.clone(),
        );
        registry.register(
            "service_epoch",
            "The epoch of the right to serve: it grows with each take-over",
            metrics.epoch.clone(),
        );
        registry.register(
            "service_owner",
            "The process that serves",
            Info::new(vec![
                ("host", host),
                ("user", user),
                ("version", env!("CARGO_PKG_VERSION").to_owned()),
            ]),
        );
        registry.register_with_unit(
            "resident_memory",
            "Resident memory of the service",
            Unit::Bytes,
            metrics.resident.clone(),
        );
        registry.register("open_files", "Open file descriptors of the service", metrics.open_files.clone());
        registry.register_with_unit(
            "cpu",
            "Processor time of the service",
            Unit::Seconds,
            metrics.cpu.clone(),
        );
        metrics.epoch.set(i64::try_from(epoch).unwrap_or(i64::MAX));
        Arc::new(Metrics { registry, ..metrics })
    }

    /// A command of Slurm has ended.
    pub fn slurm_call(&self, call: Call<'_>) {
        let outcome = if call.succeeded { "success" } else { "failure" };
        let labels = SlurmCall { command: call.program.to_owned(), outcome };
        self.slurm.get_or_create(&labels).observe(call.took.as_secs_f64());
    }

    /// A request was answered.
    pub fn http_call(&self, method: &axum::http::Method, status: u16, took: Duration) {
        // A client can invent methods.
        let known = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
        let method = known.into_iter().find(|known| *known == method.as_str()).unwrap_or("other");
        let labels = HttpCall { method: method.to_owned(), status: u32::from(status) };
        self.http.get_or_create(&labels).observe(took.as_secs_f64());
    }

    /// Counts what happens until the service ends.
    pub async fn count(self: Arc<Self>, events: EventStream, mut ends: watch::Receiver<bool>) {
        let mut subscription = events.subscribe(event_stream::From::Now);
        loop {
            let next = tokio::select! {
                biased;
                _ = ends.wait_for(|ends| *ends) => return,
                next = subscription.next() => next,
            };
            match next {
                Next::Event(happening) => self.event(&happening),
                // What was followed may have ended meanwhile.
                Next::Reset(_) => *self.followed() = Followed::default(),
            }
        }
    }

    fn followed(&self) -> std::sync::MutexGuard<'_, Followed> {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn event(&self, happening: &Happening) {
        let Happening { time, what, .. } = happening;
        match what {
            What::Activity(activity) => self.activity(*time, activity),
            What::Service(ServiceEvent::RunSeen { proposal, run, source, arrival, .. }) => {
                self.reports.get_or_create(&Source { source: source.clone() }).inc();
                let mut followed = self.followed();
                if followed.seen.len() < FOLLOWED {
                    followed.seen.insert(*arrival, (*proposal, *run, *time));
                }
            }
            What::Service(ServiceEvent::EventSettled { arrival, .. }) => {
                self.followed().seen.remove(arrival);
            }
            What::Service(ServiceEvent::NotUnderstood { .. }) => {
                self.not_understood.inc();
            }
            What::Service(_) => {}
        }
    }

    fn activity(&self, time: f64, activity: &Activity) {
        let place = |in_job: bool| if in_job { "job" } else { "here" };
        match activity {
            Activity::TaskQueued { task, waits_for } => {
                let mut followed = self.followed();
                // Until the tasks before have ended it could not start.
                if !matches!(waits_for, WaitsFor::OtherTasks { .. }) && followed.queued.len() < FOLLOWED {
                    followed.queued.entry(task.task.clone()).or_insert(time);
                }
            }
            Activity::TaskStarted { task, .. } => {
                if let Some(since) = self.followed().queued.remove(&task.task) {
                    let place = Place { place: place(task.in_job) };
                    self.queue.get_or_create(&place).observe((time - since).max(0.0));
                }
            }
            Activity::TaskEnded { task, problem } => {
                self.followed().queued.remove(&task.task);
                let outcome = if problem.is_none() { "success" } else { "failure" };
                self.tasks.get_or_create(&PlaceAndOutcome { place: place(task.in_job), outcome }).inc();
            }
            Activity::ValuesStored { proposal, run, values } => {
                for cell in values {
                    let outcome = match cell.content {
                        CellContent::Value { .. } => "value",
                        CellContent::Error { .. } => "error",
                        CellContent::Empty => "nothing",
                    };
                    self.variables.get_or_create(&Outcome { outcome }).inc();
                }
                let has_value = values.iter().any(|cell| matches!(cell.content, CellContent::Value { .. }));
                if has_value && let Some(since) = self.followed().take_first(*proposal, *run) {
                    self.event_to_value.observe((time - since).max(0.0));
                }
            }
            Activity::RunFinished { problem, .. } => {
                let outcome = if problem.is_none() { "success" } else { "failure" };
                self.runs.get_or_create(&Outcome { outcome }).inc();
            }
            _ => {}
        }
    }

    /// Reads what is not counted: states, and what the process uses.
    async fn read(&self, api: &Api) -> Result<(), Problem> {
        let mut states: BTreeMap<&str, i64> = ["starting", "serving", "elsewhere", "failing", "stopped"]
            .into_iter()
            .map(|state| (state, 0))
            .collect();
        for seen in api.overview().all().values() {
            let state = match seen.state {
                DirectoryState::Starting => "starting",
                DirectoryState::Serving { .. } => "serving",
                DirectoryState::Elsewhere { .. } => "elsewhere",
                DirectoryState::Failing { .. } => "failing",
                DirectoryState::Stopped => "stopped",
            };
            *states.entry(state).or_default() += 1;
        }
        for (state, number) in states {
            self.directories.get_or_create(&InState { state }).set(number);
        }
        let scope = api.inbox_scope();
        // Metrics are wanted most of all when the ledger is away.
        match api.ledger().with(async |ledger| ledger.arrival_counts(scope).await).await {
            Ok(counts) => {
                for (state, number) in [("open", counts.open), ("failed", counts.failed)] {
                    self.inbox
                        .get_or_create(&InState { state })
                        .set(i64::try_from(number).unwrap_or(i64::MAX));
                }
            }
            Err(error) => tracing::debug!(%error, "the depth of the inbox is not known"),
        }
        let used = tokio::task::spawn_blocking(used).await;
        match used.map_err(io::Error::other).and_then(|used| used) {
            Ok(Used { resident, open_files, cpu }) => {
                self.resident.set(resident);
                self.open_files.set(open_files);
                self.cpu.inc_by((cpu - self.cpu.get()).max(0.0));
            }
            Err(error) => tracing::debug!(%error, "what the process uses is not known"),
        }
        Ok(())
    }
}

/// What the process uses.
struct Used {
    resident: i64,
    open_files: i64,
    cpu: f64,
}

fn used() -> io::Result<Used> {
    let status = fs::read_to_string("/proc/self/status")?;
    let kilobytes = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse::<i64>().ok());
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let seconds = |time: TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    Ok(Used {
        resident: 1024 * kilobytes.ok_or_else(|| io::Error::other("the resident memory is not known"))?,
        open_files: i64::try_from(fs::read_dir("/proc/self/fd")?.count()).map_err(io::Error::other)?,
        cpu: seconds(usage.user_time()) + seconds(usage.system_time()),
    })
}

/// Numbers about the service, in the text format of OpenMetrics.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "health",
    security(("token" = ["read"])),
    responses(
        (status = 200, description = "The numbers.", body = str, content_type = "application/openmetrics-text"),
        (status = "default", description = "An error.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn show(
    State(api): State<Api>,
    _: AtService<Read>,
) -> Result<([(HeaderName, &'static str); 1], String), Problem> {
    let metrics = api.metrics();
    metrics.read(&api).await?;
    let mut shown = String::new();
    text::encode(&mut shown, &metrics.registry)
        .map_err(|error| Problem::new(Kind::Internal, error.to_string()))?;
    Ok(([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], shown))
}
