//! The HTTP API of the service.
//!
//! Each resource has a file with its handlers, and [`routes`] merges them. A request passes [`guard`] first. The type of a
//! handler's argument says what it needs: [`caller::InDirectory`] a right in a directory of the path's proposal,
//! [`caller::AtService`] one at the service, [`caller::Caller`] only that the caller is known.
//!
//! It runs on threads of its own, so that clients never delay the processing of runs.

pub mod caller;
mod context;
mod database_settings;
mod events;
mod extract;
mod guard;
mod health;
mod inbox;
mod json;
mod ledger_link;
pub mod listen;
mod metrics;
mod openapi;
mod patient;
mod problem;
mod proposals;
mod rate;
mod requests;
mod runs;
pub mod settings;
mod table;
mod tables;
mod token_list;
pub mod tokens;
mod triggers;
mod user_values;
mod values;

use std::{
    collections::BTreeMap,
    fmt, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use amore_ledger::Holder;
use amore_model::DatabaseDir;
use axum::{Json, Router, extract::DefaultBodyLimit, middleware, routing::get};
use tokio::{
    sync::{Semaphore, watch},
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa_axum::router::OpenApiRouter;

pub use self::listen::TlsError;
use self::{
    caller::{Caller, FileRights},
    ledger_link::LedgerLink,
    listen::{Listening, SOCKET, Users},
    metrics::Metrics,
    problem::{Kind, Problem},
    rate::Rates,
    requests::Requests,
    settings::HttpSettings,
    tables::Tables,
    tokens::Tokens,
};
use crate::{
    dispatch::slurm::Slurm,
    service::{Inbox, Overview, event_stream::EventStream},
    values::ask::Asking,
};

/// How many requests of the API use the files of one directory at the same time: a file system that hangs must not use up all
/// threads.
const DISK_SLOTS: usize = 4;
/// How long the files of a directory may take to answer.
const DISK_PATIENCE: Duration = Duration::from_secs(20);
/// How long answers that have begun may take at the end.
const LAST_PATIENCE: Duration = Duration::from_secs(1);

/// What the service gives to the API.
#[derive(Clone, Debug)]
pub struct Parts {
    /// The directory of the service.
    pub directory: PathBuf,
    /// Its directories.
    pub overview: Overview,
    /// Its inbox.
    pub inbox: Inbox,
    /// The key of the inbox in the ledger.
    pub inbox_scope: String,
    /// What happens.
    pub events: EventStream,
    /// Who serves, and since which take-over.
    pub owner: Holder,
    /// See [`Parts::owner`].
    pub epoch: u64,
    /// Its commands are counted.
    pub slurm: Slurm,
}

/// The state that all handlers share.
#[derive(Clone, Debug)]
pub struct Api(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    parts: Parts,
    checked: watch::Receiver<Checked>,
    ledger: Arc<LedgerLink>,
    tokens: Tokens,
    file_rights: FileRights,
    rates: Mutex<Rates>,
    requests: Arc<Requests>,
    metrics: Arc<Metrics>,
    disks: Mutex<BTreeMap<PathBuf, Arc<Semaphore>>>,
    asking: Asking,
    tables: Tables,
    started: Instant,
    ends: watch::Receiver<bool>,
}

impl Api {
    /// The directory of the service.
    pub fn directory(&self) -> &Path {
        &self.0.parts.directory
    }

    /// The directories that it serves.
    pub fn overview(&self) -> &Overview {
        &self.0.parts.overview
    }

    /// Its inbox.
    pub fn inbox(&self) -> &Inbox {
        &self.0.parts.inbox
    }

    /// The key of the inbox in the ledger.
    pub fn inbox_scope(&self) -> &str {
        &self.0.parts.inbox_scope
    }

    /// The ledger of the service, to read.
    pub fn ledger(&self) -> &LedgerLink {
        &self.0.ledger
    }

    /// The settings as they are now.
    pub fn settings(&self) -> Arc<HttpSettings> {
        Arc::clone(&self.0.checked.borrow().settings)
    }

    fn requests(&self) -> &Arc<Requests> {
        &self.0.requests
    }

    fn tokens(&self) -> &Tokens {
        &self.0.tokens
    }

    fn file_rights(&self) -> &FileRights {
        &self.0.file_rights
    }

    /// Asks processes about directories.
    fn asking(&self) -> &Asking {
        &self.0.asking
    }

    /// The open run tables.
    fn tables(&self) -> &Tables {
        &self.0.tables
    }

    /// What happens in the service.
    pub fn events(&self) -> &EventStream {
        &self.0.parts.events
    }

    fn metrics(&self) -> &Arc<Metrics> {
        &self.0.metrics
    }

    /// Whether a caller who was known is still known: his token may have been revoked.
    async fn still_knows(&self, caller: &Caller) -> bool {
        match caller {
            Caller::Holder(token) => self.tokens().still_has(token).await,
            Caller::Unknown | Caller::User { .. } => true,
        }
    }

    /// Says when the service ends.
    fn ending(&self) -> watch::Receiver<bool> {
        self.0.ends.clone()
    }

    /// Whether the service ends.
    fn ends(&self) -> bool {
        *self.0.ends.borrow()
    }

    /// Counts a request of a client.
    fn take_turn(&self, client: &str, per_second: f64) -> Result<(), Problem> {
        let mut rates = self.0.rates.lock().unwrap_or_else(PoisonError::into_inner);
        rates.take(client, per_second, self.0.started.elapsed()).map_err(|wait| {
            Problem::new(Kind::TooMany, format!("more than {per_second} requests per second"))
                .at(client)
                .retry_after(wait.as_secs_f64().ceil() as u64)
        })
    }

    /// Does something with the files of a directory, on a thread that may wait.
    ///
    /// # Errors
    /// The file system does not answer, or too many requests wait for it.
    pub async fn on_disk<T: Send + 'static>(
        &self,
        dir: &Path,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let slots = {
            let mut disks = self.0.disks.lock().unwrap_or_else(PoisonError::into_inner);
            let slots = disks.entry(dir.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(DISK_SLOTS)));
            Arc::clone(slots)
        };
        let done = timeout(DISK_PATIENCE, async {
            let slot = slots.acquire_owned().await;
            tokio::task::spawn_blocking(move || {
                let _slot = slot;
                work()
            })
            .await
        });
        match done.await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) => Err(Problem::new(Kind::Internal, error.to_string())),
            Err(_) => Err(Problem::new(Kind::NoAnswer, "the file system does not answer")
                .at(dir.display().to_string())
                .retry_after(10)),
        }
    }
}

/// All routes. A new resource is added here.
fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .merge(events::routes())
        .merge(health::routes())
        .merge(inbox::routes())
        .merge(metrics::routes())
        .merge(proposals::routes())
        .merge(requests::routes())
        .merge(token_list::routes())
        .merge(triggers::routes())
        .merge(table::routes())
        .merge(values::routes())
        .merge(runs::routes())
        .merge(database_settings::routes())
        .merge(context::routes())
        .merge(user_values::routes())
}

fn router(api: &Api, settings: &HttpSettings) -> Router {
    let (router, document) =
        OpenApiRouter::with_openapi(openapi::document(&settings.base_path)).merge(routes()).split_for_parts();
    let document = Arc::new(document);
    let shown = get(move || {
        let document = Arc::clone(&document);
        async move { Json(document.as_ref().clone()) }
    });
    let router = router.route("/openapi.json", shown);
    let router =
        if settings.base_path.is_empty() { router } else { Router::new().nest(&settings.base_path, router) };
    router
        .fallback(|| async {
            Problem::new(Kind::NotFound, "there is nothing at this path").hint("see /openapi.json")
        })
        .method_not_allowed_fallback(|| async {
            Problem::new(Kind::NotAMethod, "see /openapi.json for the methods of this path")
        })
        .layer(middleware::from_fn_with_state(api.clone(), guard::guard))
        .layer(DefaultBodyLimit::max(settings.max_body_bytes))
        .layer(CatchPanicLayer::custom(|_: Box<dyn std::any::Any + Send>| {
            axum::response::IntoResponse::into_response(Problem::new(
                Kind::Internal,
                "the request cannot be answered",
            ))
        }))
        .with_state(api.clone())
}

/// The API of a service that runs.
#[derive(Debug)]
pub struct Running {
    changes: watch::Sender<Checked>,
    ends: watch::Sender<bool>,
    thread: JoinHandle<()>,
}

/// Settings that can be used, with what was read from files for them.
#[derive(Clone)]
pub struct Checked {
    settings: Arc<HttpSettings>,
    acceptor: Option<TlsAcceptor>,
}

impl fmt::Debug for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The key stays out of it.
        f.debug_struct("Checked").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// Reads what the settings of the service in this directory need.
///
/// # Errors
/// Certificate or key cannot be used.
pub fn check(directory: &Path, settings: HttpSettings) -> Result<Checked, TlsError> {
    let acceptor = settings.tls().map(|files| listen::tls(&files.within(directory))).transpose()?;
    Ok(Checked { settings: Arc::new(settings), acceptor })
}

/// Starts the API.
///
/// # Errors
/// The operating system refuses a thread.
pub fn start(parts: Parts, checked: Checked) -> io::Result<Running> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("api")
        .enable_all()
        .build()?;
    let (changes, checked) = watch::channel(checked);
    let (ends, ended) = watch::channel(false);
    let ledger = Arc::new(LedgerLink::of(&parts.directory));
    let metrics = Metrics::new(parts.owner.host.clone(), parts.owner.user.clone(), parts.epoch);
    let measured = Arc::clone(&metrics);
    parts.slurm.observe(move |call| measured.slurm_call(call));
    let api = Api(Arc::new(Shared {
        metrics,
        tokens: Tokens::of(&parts.directory, Arc::clone(&ledger)),
        ledger,
        parts,
        checked,
        file_rights: FileRights::default(),
        rates: Mutex::default(),
        requests: Arc::default(),
        disks: Mutex::default(),
        asking: Asking::default(),
        tables: Tables::default(),
        started: Instant::now(),
        ends: ended,
    }));
    let thread = thread::Builder::new().name("api".to_owned()).spawn(move || {
        runtime.block_on(serve(api));
        runtime.shutdown_timeout(LAST_PATIENCE);
    })?;
    Ok(Running { changes, ends, thread })
}

/// Listens until the service ends. When the settings change, it begins anew with the new ones.
async fn serve(api: Api) {
    let folder = DatabaseDir::at(api.directory().to_owned()).own_files();
    tokio::spawn(Arc::clone(api.metrics()).count(api.events().clone(), api.ending()));
    let (mut changes, mut ends) = (api.0.checked.clone(), api.0.ends.clone());
    loop {
        let Checked { settings, acceptor } = changes.borrow_and_update().clone();
        let (stop, stopped) = watch::channel(false);
        let listening = Listening::of(settings.as_ref(), router(&api, &settings), stopped);
        let mut tasks = JoinSet::new();
        if settings.socket {
            tasks.spawn(listening.clone().on_socket(folder.join(SOCKET), Users::Group));
        }
        if let Some(path) = settings.public_socket.clone() {
            tasks.spawn(listening.clone().on_socket(path, Users::All));
        }
        if let Some(address) = settings.address() {
            tasks.spawn(listening.on_port(address, acceptor));
        }
        let is_last = tokio::select! {
            biased;
            _ = ends.wait_for(|ends| *ends) => true,
            changed = changes.changed() => changed.is_err(),
        };
        let _ = stop.send(true);
        while tasks.join_next().await.is_some() {}
        if is_last {
            return;
        }
        tracing::info!("the API begins anew with its new settings");
    }
}

impl Running {
    /// From now on, these settings count. Connections end after their present requests.
    pub fn change(&self, checked: Checked) {
        self.changes.send_replace(checked);
    }

    /// Ends it. Answers that have begun are finished, if that is soon.
    pub async fn stop(self) {
        let Running { changes, ends, thread } = self;
        let _ = ends.send(true);
        let ended = tokio::task::spawn_blocking(move || thread.join());
        let _ = timeout(2 * LAST_PATIENCE, ended).await;
        drop(changes);
    }
}
