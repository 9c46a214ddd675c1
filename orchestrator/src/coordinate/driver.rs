//! The driver of the core: waits for events, passes them to the core, and carries out its effects. It makes no decisions.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use amore_core::{
    Core, Input, Moment, RunKey,
    events::{Event, Summary},
    local_work::LocalWork,
    request::{Listener, Request},
    task_state::WorkerNo,
};
use amore_model::{DatabaseDir, Notice, Severity};
use amore_slurm::site_facts::SiteFacts;
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};

use super::{
    CoordinateError,
    effects::for_core,
    hand_over::{self, Taken},
    ledger_place,
    ledger_writer::LedgerWriter,
    listeners::Listeners,
    local_work_file,
    logged::Logged,
    mymdc::Catalogue,
    owner::Owner,
    questions,
    setup::Setup,
};
use crate::{
    clock,
    collect::{Collector, stale},
    dispatch::{slurm::tracker::Tracker, worker_link::WorkerLink},
    signals::Signals,
};

/// How often the owner polls for requests of other processes.
const REQUEST_POLL: Duration = Duration::from_millis(250);
/// How long to wait for a collector that is not expected to finish all of its work.
const COLLECTOR_PATIENCE: Duration = Duration::from_secs(2);
/// How often to look whether what is computed here has changed, for those who ask.
const SHOW_EVERY: Duration = Duration::from_secs(1);
/// How often to remove request files of dead processes.
const CLEAN_EVERY: Duration = Duration::from_secs(60);

/// The result of a background task: an input for the core, or the error that ends the driver.
pub(super) type Answer = Result<Input, CoordinateError>;

/// The core and everything that it acts on.
pub struct Driver<'a> {
    pub(super) setup: &'a Setup,
    pub(super) core: Core,
    started: Instant,
    pub(super) owner: Owner,
    pub(super) worker: WorkerLink,
    pub(super) worker_number: WorkerNo,
    pub(super) collector: Collector,
    /// The loop that submits jobs; started with the first job.
    pub(super) tracker: Option<Tracker>,
    pub(super) ledger: LedgerWriter,
    pub(super) listeners: Listeners,
    pub(super) catalogue: Arc<Catalogue>,
    display: &'a mut dyn FnMut(&Event),
    pub(super) answer: UnboundedSender<Answer>,
    answers: UnboundedReceiver<Answer>,
    /// Whether a scan for requests of other processes is under way.
    pub(super) looking: bool,
    pub(super) taken: UnboundedSender<Vec<Taken>>,
    requests: UnboundedReceiver<Vec<Taken>>,
    /// The site facts that were last passed to the core.
    pub(super) site: Option<Arc<SiteFacts>>,
    /// What others see of the work here, and whether that is being written.
    shown: LocalWork,
    showing: Option<JoinHandle<()>>,
    /// What a service has logged.
    logged: Logged,
    /// Runs whose unused array files are removed at the end.
    pub(super) runs: BTreeSet<RunKey>,
    /// Requests of this process, if it is a service.
    orders: Option<&'a mut UnboundedReceiver<Order>>,
}

/// A request of another part of this process, and where its events go. The last event is [`Event::Finished`] or
/// [`Event::Refused`]; if there is none, the directory was lost before.
#[derive(Debug)]
pub struct Order {
    pub request: Request,
    pub events: UnboundedSender<Event>,
}

impl<'a> Driver<'a> {
    /// Creates the driver. The worker must have been greeted.
    pub fn new(
        setup: &'a Setup,
        owner: Owner,
        worker: WorkerLink,
        display: &'a mut dyn FnMut(&Event),
    ) -> Self {
        let core = Core::new(setup.for_core(owner.ownership().epoch));
        let collector = Collector::start(setup.dir.clone(), owner.table(), owner.ownership());
        let (answer, answers) = unbounded_channel();
        let (taken, requests) = unbounded_channel();
        let ledger = LedgerWriter::start(setup.dir.clone(), &owner, answer.clone());
        Driver {
            setup,
            core,
            started: Instant::now(),
            owner,
            worker,
            worker_number: WorkerNo(0),
            collector,
            tracker: None,
            ledger,
            listeners: Listeners::start(),
            catalogue: Catalogue::new(),
            display,
            answer,
            answers,
            looking: false,
            taken,
            requests,
            site: None,
            shown: LocalWork::default(),
            showing: None,
            logged: Logged::default(),
            runs: BTreeSet::new(),
            orders: None,
        }
    }

    /// Serves requests of this process and of others until it is told to stop: first these, then those that arrive.
    ///
    /// # Errors
    /// The directory is lost, or something else happened after which the work has to begin anew.
    pub async fn serve(
        mut self,
        early: impl IntoIterator<Item = Order>,
        orders: &'a mut UnboundedReceiver<Order>,
        signals: &mut Signals,
    ) -> Result<Summary, CoordinateError> {
        self.orders = Some(orders);
        for order in early {
            let input = self.take_order(order);
            self.feed(input).await?;
        }
        self.finish(Input::Serve, signals).await
    }

    /// Serves one request of this process, and those of other processes that arrive meanwhile. Without a request, it
    /// finishes the work of earlier owners.
    ///
    /// # Errors
    /// The request cannot be served at all, or the ownership is lost.
    pub async fn run(
        self,
        request: Option<&Request>,
        signals: &mut Signals,
    ) -> Result<Summary, CoordinateError> {
        let first = match request {
            Some(request) => Input::Request { listener: Listener::Here, request: request.clone() },
            None => Input::Follow,
        };
        self.finish(first, signals).await
    }

    async fn finish(mut self, first: Input, signals: &mut Signals) -> Result<Summary, CoordinateError> {
        let ended = self.work(first, signals).await;
        let outcome = self.core.outcome();
        // All results are in the table, and no work was abandoned.
        let complete = ended.is_ok() && outcome.is_ok() && self.core.is_settled();
        let last = self.core.close();
        self.show(LocalWork::default());
        let Driver { setup, owner, worker, collector, tracker, ledger, listeners, runs, .. } = self;
        worker.stop().await;
        if let Some(tracker) = tracker {
            tracker.stop().await;
        }
        if complete {
            collector.stop().await;
        } else {
            // Fragments that it does not collect are kept for the next command.
            tokio::select! {
                biased;
                () = signals.next() => {}
                () = collector.stop() => {}
                () = tokio::time::sleep(COLLECTOR_PATIENCE) => {}
            }
        }
        let mut dropped = Ok(());
        if complete {
            let dir = setup.dir.clone();
            let _ = tokio::task::spawn_blocking(move || stale::remove(&dir, &runs)).await;
            // Variables that are neither in the context file nor, by now, in any run.
            dropped = owner.drop_unused_variables().await;
        }
        ledger.release().await;
        let released = owner.release().await;
        listeners.stop(last).await;
        hand_over::clean(&setup.dir, SystemTime::now());
        ended?;
        let summary = outcome?;
        dropped?;
        released?;
        Ok(summary)
    }

    async fn work(&mut self, first: Input, signals: &mut Signals) -> Result<(), CoordinateError> {
        let dir = self.setup.dir.clone();
        self.beside(async move {
            let fragments = questions::scan(&dir, None).await?;
            let ledger_exists = tokio::task::spawn_blocking(move || ledger_place::exists(&dir)).await?;
            Ok(Input::Started { fragments, ledger_exists })
        });
        self.feed(first).await?;
        let mut poll = interval(REQUEST_POLL);
        let mut clean = interval(CLEAN_EVERY);
        let mut show = interval(SHOW_EVERY);
        show.set_missed_tick_behavior(MissedTickBehavior::Delay);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !self.core.has_ended() {
            let wake = self.core.next_wakeup().map(|at| self.started + at);
            let input = tokio::select! {
                biased;
                () = signals.next() => Input::Stop,
                lost = self.owner.lost() => return Err(lost),
                Some(answer) = self.answers.recv() => answer?,
                collected = self.collector.next() => Input::Collected(for_core(collected?)),
                message = self.worker.next() => {
                    let worker = self.worker_number;
                    match message? {
                        Some(message) => Input::Worker { worker, message },
                        None => Input::WorkerLost { worker },
                    }
                }
                Some(event) = next_event(&mut self.tracker) => {
                    self.learn_of_site().await?;
                    Input::Job(event)
                }
                Some(taken) = self.requests.recv() => {
                    self.looking = false;
                    for one in taken {
                        let (listener, request) = self.listeners.add(one);
                        self.feed(Input::Request { listener, request }).await?;
                    }
                    continue;
                }
                Some(order) = next_order(&mut self.orders) => {
                    self.take_order(order)
                }
                _ = poll.tick() => {
                    self.look_for_requests();
                    Input::Tick
                }
                _ = show.tick() => {
                    self.show(self.core.local_work());
                    continue;
                }
                _ = clean.tick() => {
                    let dir = self.setup.dir.clone();
                    tokio::task::spawn_blocking(move || hand_over::clean(&dir, SystemTime::now()));
                    continue;
                }
                () = sleep_until(wake) => Input::Tick,
            };
            self.feed(input).await?;
        }
        Ok(())
    }

    /// Passes an input to the core, and carries out the effects.
    pub(super) async fn feed(&mut self, input: Input) -> Result<(), CoordinateError> {
        let now = Moment { steady: self.started.elapsed(), unix: clock::now() };
        for effect in self.core.on(now, input) {
            self.perform(effect).await?;
        }
        Ok(())
    }

    /// Leaves what is computed here in a file, if that has changed. While the file system hangs, it is not tried again.
    fn show(&mut self, work: LocalWork) {
        if self.shown == work || self.showing.as_ref().is_some_and(|showing| !showing.is_finished()) {
            return;
        }
        self.shown.clone_from(&work);
        let (dir, epoch) = (self.setup.dir.clone(), self.owner.ownership().epoch);
        self.showing = Some(tokio::task::spawn_blocking(move || {
            if let Err(error) = local_work_file::leave(&dir, epoch, work) {
                tracing::debug!(%error, "what is computed here cannot be shown");
            }
        }));
    }

    fn take_order(&mut self, order: Order) -> Input {
        let Order { request, events } = order;
        Input::Request { listener: self.listeners.add_here(events), request }
    }

    /// Passes an event to the listener.
    pub(super) fn tell(&mut self, listener: Listener, event: Event) {
        if let Event::RunEnded { proposal, run, .. } = &event {
            self.runs.insert((*proposal, *run));
        }
        if self.orders.is_some()
            && let Event::Notice(notice) = &event
            && self.logged.is_news(&notice.message, self.started.elapsed())
        {
            log_notice(&self.setup.dir, notice);
        }
        match listener {
            Listener::Here => (self.display)(&event),
            Listener::Elsewhere(id) => self.listeners.tell(id, event),
            Listener::Nobody => {}
        }
    }
}

/// A service has nobody who would see it.
fn log_notice(dir: &DatabaseDir, Notice { severity, message }: &Notice) {
    let directory = dir.path().display();
    match severity {
        Severity::Info | Severity::Note => tracing::info!(%directory, "{message}"),
        Severity::Warning => tracing::warn!(%directory, "{message}"),
        Severity::Error => tracing::error!(%directory, "{message}"),
    }
}

async fn next_event(tracker: &mut Option<Tracker>) -> Option<amore_core::JobEvent> {
    match tracker {
        Some(tracker) => tracker.next().await,
        None => std::future::pending().await,
    }
}

/// The next request of this process.
async fn next_order(orders: &mut Option<&mut UnboundedReceiver<Order>>) -> Option<Order> {
    match orders {
        Some(orders) => orders.recv().await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
