//! The long-running service: `amore listen`. It processes the runs of many directories as they arrive.
//!
//! [`run`] starts it. Each directory has a thread ([`served`]) that drives a core; they share one worker and its processes.

pub mod act_files;
mod configuration;
mod directories;
mod durable_file;
mod error;
pub mod event_stream;
mod folders;
mod forgetting;
pub mod happening;
mod inbox;
mod kafka;
mod lease;
mod log;
mod look;
mod notify;
mod official;
mod open;
pub mod other_service;
pub mod outside_view;
mod overview;
pub mod published;
pub mod served;
mod standing_by;
pub mod trigger_files;
pub mod user_acts;
mod warm;

use std::{path::Path, process::ExitCode, sync::Arc, time::Duration};

use amore_listener_db::ListenerDb;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
    time::{Instant, MissedTickBehavior, interval, sleep_until, timeout},
};

use self::{
    configuration::Configuration, directories::Directories, event_stream::EventStream, kafka::Kafka,
    published::Publisher, served::Shared, warm::Warm,
};
pub use self::{
    error::ServiceError,
    inbox::{Inbox, Report},
    open::sandbox,
    overview::{Overview, Seen},
    served::{Giver, State},
};
use crate::{
    api,
    clock::now,
    coordinate::{
        ledger_place,
        owner::{self, Claimant},
    },
    dispatch::{shared::SharedWorkers, slurm},
    signals::Signals,
};

/// How often to look for changes of the list of directories.
const LIST_POLL: Duration = Duration::from_secs(2);
/// How long directories may take to end their work after a signal. With what follows, the process ends within 10 seconds.
const STOP_PATIENCE: Duration = Duration::from_millis(7000);
/// How long the ledger may take to answer, and then the worker to end. The worker ends with its input anyway.
const LAST_PATIENCE: Duration = Duration::from_millis(500);
/// How often to look whether they have.
const STOP_POLL: Duration = Duration::from_millis(20);

/// Runs the service whose directory this is, until it is told to end.
///
/// # Errors
/// It cannot be started.
pub async fn run(directory: &Path, debug: bool) -> Result<ExitCode, ServiceError> {
    let mut configured = Configured::read(directory)?;
    let log = log::start(directory, debug)?;
    let mut signals = Signals::new().map_err(ServiceError::Signals)?;
    let mut hangup: Signal = signal(SignalKind::hangup()).map_err(ServiceError::Signals)?;
    let processes = std::thread::available_parallelism().map_or(1, usize::from);
    // A stand-by has these already when it takes over.
    let workers = SharedWorkers::start(processes);
    let slurm = slurm::connect_for_many().map_err(ServiceError::Thread)?;
    let ledgers = ledger_place::ledgers_of_service().map_err(ServiceError::Thread)?;
    let taken = {
        let mut warm = None;
        let taking = lease::wait_for(directory, &ledgers, |by| {
            if warm.is_none() {
                notify::standing_by(by);
                warm = Some(Warm::start(directory, &workers));
            }
        });
        tokio::pin!(taking);
        loop {
            tokio::select! {
                biased;
                () = signals.next_end() => return Ok(ExitCode::SUCCESS),
                _ = hangup.recv() => {
                    log.reopen();
                    configured.read_again(directory);
                }
                taken = &mut taking => break taken?,
            }
        }
    };
    let lease::Taken { store, deposed } = taken;
    ledger_place::note_of_service(directory).await;
    let mut right = lease::keep(&store, &ledgers);
    let (ledger, its_lease) = (store.ledger.clone(), store.lease.clone());
    let claimant = Claimant { ledgers, deposed };
    let settings = ListenerDb::at(directory);
    let events = EventStream::new().map_err(ServiceError::Random)?;
    let overview = Overview::new();
    let (socket, public_socket) = watch::channel(configured.rules.http.public_socket.clone());
    let shared = Arc::new(Shared {
        socket: public_socket,
        slurm,
        workers,
        processes,
        settings,
        events,
        claimant,
        right: right.clone(),
        overview: overview.clone(),
    });
    let inbox = inbox::start(store, ListenerDb::at(directory), shared.events.clone());
    inbox.set_rule(configured.rules.runs.clone());
    let (keep_days, days) = watch::channel(configured.rules.inbox.keep_days);
    tokio::spawn(forgetting::forget(ledger.clone(), its_lease.clone(), days));
    let mut publisher = Publisher::new(ledger.clone(), its_lease.clone(), now());
    tokio::spawn(act_files::watch(directory.to_owned(), inbox.clone()));
    tokio::spawn(official::watch_triggers(inbox.clone()));
    let mut directories = Directories::new(directory, Arc::clone(&shared), inbox.clone());
    directories.update().await?;
    let mut kafka = Kafka::new(inbox.clone(), shared.events.clone());
    kafka.configure(&configured.rules.kafka, directory)?;
    let parts = api::Parts {
        directory: directory.to_owned(),
        overview,
        inbox: inbox.clone(),
        inbox_scope: its_lease.scope.clone(),
        events: shared.events.clone(),
        owner: its_lease.holder.clone(),
        epoch: its_lease.epoch,
        slurm: shared.slurm.clone(),
    };
    let api = api::start(parts, configured.http.clone()).map_err(ServiceError::Api)?;
    tracing::info!(directory = %directory.display(), by = %owner::this_process(), "the service has started");
    notify::ready();
    let mut poll = interval(LIST_POLL);
    poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            _ = hangup.recv() => {
                log.reopen();
                configured.read_again(directory);
                inbox.set_rule(configured.rules.runs.clone());
                keep_days.send_replace(configured.rules.inbox.keep_days);
                socket.send_replace(configured.rules.http.public_socket.clone());
                api.change(configured.http.clone());
                if let Err(error) = kafka.configure(&configured.rules.kafka, directory) {
                    tracing::error!("Kafka stays as it was: {error}");
                }
                directories.update().await?;
            }
            () = signals.next_end() => break,
            why = right.lost() => {
                tracing::error!("another process serves this directory now: {why}");
                directories.stop();
                return Err(ServiceError::Deposed { why });
            }
            _ = poll.tick() => {
                directories.update().await?;
                match timeout(LAST_PATIENCE, publisher.publish(directories.states())).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => tracing::debug!(%error, "the state of the service cannot be published now"),
                    Err(_) => tracing::debug!("the state of the service is not published: the ledger does not answer"),
                }
            }
        }
    }
    notify::stopping();
    tracing::info!("the service stops; jobs in Slurm continue");
    kafka.stop_listening();
    let ((), ()) = tokio::join!(stop(&directories, &mut signals), api.stop());
    kafka.stop(LAST_PATIENCE).await;
    drop(directories);
    drop(right);
    // A successor need not wait for the end of the term.
    match timeout(LAST_PATIENCE, ledger.release(its_lease)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "the right to serve was not released"),
        Err(_) => tracing::debug!("the right to serve was not released: the ledger does not answer"),
    }
    if let Some(shared) = Arc::into_inner(shared)
        && timeout(LAST_PATIENCE, shared.workers.stop()).await.is_err()
    {
        tracing::warn!("the worker does not end in time");
    }
    tracing::info!("the service has stopped");
    Ok(ExitCode::SUCCESS)
}

/// The configuration, of which everything can be used.
struct Configured {
    rules: Configuration,
    http: api::Checked,
}

impl Configured {
    fn read(directory: &Path) -> Result<Self, ServiceError> {
        let rules = configuration::read(directory)?;
        let http = api::check(directory, rules.http.clone())?;
        Ok(Configured { rules, http })
    }

    /// Reads it again. If it is invalid, it stays as it was.
    fn read_again(&mut self, directory: &Path) {
        match Configured::read(directory) {
            Ok(now) => *self = now,
            Err(error) => tracing::error!("the configuration stays as it was: {error}"),
        }
    }
}

/// Lets directories end their work. A second signal, or the end of the patience, ends the waiting.
async fn stop(directories: &Directories, signals: &mut Signals) {
    directories.stop();
    let until = Instant::now() + STOP_PATIENCE;
    while !directories.have_ended() {
        tokio::select! {
            biased;
            () = signals.next_end() => {
                directories.stop();
                tracing::warn!("told to stop at once");
                return;
            }
            () = sleep_until(until) => {
                tracing::warn!(left = ?directories.unfinished(), "directories do not end in time");
                return;
            }
            () = tokio::time::sleep(STOP_POLL) => {}
        }
    }
}
