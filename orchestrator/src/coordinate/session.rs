//! The owner at work: takes requests, has their tasks executed, collects what comes of them.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque},
    path::PathBuf,
    time::{Duration, Instant, SystemTime},
};

use amore_model::{Notice, Proposal, Run, Urgency};
use amore_wire::task::{Limits, ToWorker};
use tokio::time::{MissedTickBehavior, interval};

use super::{
    accept::Incoming,
    cancel::Cancellation,
    events::{Event, Summary},
    hand_over::{self, Taken},
    jobs_under_way::Jobs,
    memory::Memory,
    owner::Owner,
    queue::Queue,
    tasks::{Common, TaskRecord},
    tracker::{TaskMove, TaskState},
    worker_crashes::WorkerCrashes,
};
use crate::{
    collect::{Collector, FragmentNote, stale},
    database_dir::DatabaseDir,
    dispatch::{
        local::LocalWorker,
        slurm::{asked::SlurmSettings, order::Order},
    },
    failure::{Exit, Failure},
    signals::Signals,
    trigger::user_request::UserRequest,
};

/// How often the owner looks for requests of other processes.
const REQUEST_POLL: Duration = Duration::from_millis(250);
/// How long running variables may take to be stopped after Ctrl-C.
const STOP_PATIENCE: Duration = Duration::from_secs(5);
/// How long a collector that was not to be waited for may take to end.
const COLLECTOR_PATIENCE: Duration = Duration::from_secs(2);
/// How often what dead processes have left among the requests is removed.
const CLEAN_EVERY: Duration = Duration::from_secs(60);

/// What the session needs to know of the site and the user's wishes.
#[derive(Debug)]
pub struct Setup {
    /// The directory.
    pub dir: DatabaseDir,
    /// The proposal of the directory.
    pub proposal: Proposal,
    /// The user's Python.
    pub python: PathBuf,
    /// Children side by side.
    pub processes: usize,
    /// Bounds on each variable.
    pub limits: Limits,
    /// Settings of Slurm, if there is Slurm and jobs are wanted.
    pub slurm: Option<SlurmSettings>,
}

/// Who is told about a request.
pub(super) enum Listener<'a> {
    Here(&'a mut dyn FnMut(&Event)),
    Elsewhere(Taken),
    Nobody,
}

impl Listener<'_> {
    pub(super) fn tell(&mut self, event: &Event) {
        match self {
            Listener::Here(display) => display(event),
            Listener::Elsewhere(taken) => taken.tell(event),
            Listener::Nobody => {}
        }
    }
}

/// A request under way.
pub(super) struct RequestRecord<'a> {
    pub(super) listener: Listener<'a>,
    /// Its id in the ledger, if it stands there.
    pub(super) recorded: Option<String>,
    /// Of an earlier owner: nobody waits for it here.
    pub(super) adopted: bool,
    /// Which of its tasks go before those of others.
    pub(super) urgency: Urgency,
    pub(super) common: Common,
    pub(super) summary: Summary,
    pub(super) since: Instant,
    /// Runs that are not finished, and the tasks of each that have not ended.
    pub(super) open: BTreeMap<(Proposal, Run), OpenRun>,
    /// What the user was told about its runs: the parts of one run have the same to say.
    pub(super) told: HashSet<String>,
    pub(super) finished: bool,
    /// Some of its runs were stopped before their end.
    pub(super) cut_short: bool,
}

impl RequestRecord<'_> {
    /// Tells a process that waits elsewhere that we were stopped before the end of its request. What stands in the ledger
    /// is taken up by whoever comes next; of anything else nothing is said: that process does the rest itself.
    fn tell_of_the_stop(&mut self, jobs_left: usize) {
        if let Listener::Elsewhere(taken) = &mut self.listener
            && self.recorded.is_some()
        {
            self.summary.interrupted = true;
            self.summary.jobs_left = jobs_left;
            taken.tell(&Event::Finished(self.summary.clone()));
        }
    }
}

#[derive(Default)]
pub(super) struct OpenRun {
    pub(super) tasks: usize,
    pub(super) started: bool,
    pub(super) problem: Option<String>,
}

/// The state of the owner's work.
pub struct Session<'a> {
    pub(super) setup: &'a Setup,
    pub(super) owner: Owner,
    pub(super) worker: LocalWorker,
    pub(super) worker_crashes: WorkerCrashes,
    pub(super) collector: Collector,
    /// Requests that are not planned yet, in the order in which they came.
    pub(super) incoming: VecDeque<Incoming<'a>>,
    /// How many descriptions were asked for.
    pub(super) descriptions: usize,
    pub(super) requests: Vec<RequestRecord<'a>>,
    pub(super) tasks: Vec<TaskRecord>,
    pub(super) by_id: HashMap<String, usize>,
    pub(super) by_run: HashMap<(Proposal, Run), Vec<usize>>,
    pub(super) running: HashSet<usize>,
    /// Tasks whose worker was lost, until what it stored of their runs is collected.
    pub(super) lost_with_worker: BTreeSet<usize>,
    /// Tasks that wait for a process here.
    pub(super) ready: Queue,
    /// Fragments given to the collector and not yet in the table, for each run.
    pub(super) uncollected: HashMap<(Proposal, Run), usize>,
    /// Tasks that wait for a place in the queue of Slurm.
    pub(super) ready_for_jobs: Queue,
    /// Slurm's settings; `None`: everything is computed here.
    pub(super) slurm: Option<SlurmSettings>,
    pub(super) jobs: Jobs,
    /// The ledger, once something has to be remembered.
    pub(super) memory: Option<Memory>,
    /// The ledger does not answer, and the user was told.
    pub(super) memory_silent: bool,
    /// What could not be collected of earlier commands' results, for the user.
    pub(super) left_behind: Vec<Notice>,
    /// What is to be cancelled, and is not yet.
    pub(super) cancellations: Vec<Cancellation>,
    /// Why the request of this process was not served to its end.
    pub(super) request_failed: Option<Failure>,
    /// Ids of tasks that the worker here is to stop.
    pub(super) to_cancel: Vec<String>,
    /// Tasks that the worker was told to end, by `amore cancel`: if it is lost meanwhile they are over.
    pub(super) told_to_end: HashSet<usize>,
    /// Orders whose intent is not in the ledger yet.
    pub(super) orders: Vec<Order>,
    pub(super) interrupted: bool,
    pub(super) warned_of_view: bool,
}

impl<'a> Session<'a> {
    /// Ready to take requests. The worker has been greeted.
    pub fn new(setup: &'a Setup, owner: Owner, worker: LocalWorker) -> Self {
        let collector = Collector::start(setup.dir.clone(), owner.table(), owner.ownership());
        Session {
            setup,
            owner,
            worker,
            worker_crashes: WorkerCrashes::default(),
            collector,
            incoming: VecDeque::new(),
            descriptions: 0,
            requests: Vec::new(),
            tasks: Vec::new(),
            by_id: HashMap::new(),
            by_run: HashMap::new(),
            running: HashSet::new(),
            lost_with_worker: BTreeSet::new(),
            ready: Queue::default(),
            uncollected: HashMap::new(),
            ready_for_jobs: Queue::default(),
            slurm: setup.slurm.clone(),
            jobs: Jobs::default(),
            memory: None,
            memory_silent: false,
            left_behind: Vec::new(),
            cancellations: Vec::new(),
            request_failed: None,
            to_cancel: Vec::new(),
            told_to_end: HashSet::new(),
            orders: Vec::new(),
            interrupted: false,
            warned_of_view: false,
        }
    }

    /// Serves one request of this process, and those of others that come in meanwhile. Without a request: what earlier
    /// owners have left, to its end.
    ///
    /// # Errors
    /// When the request cannot be served at all, or the ownership is lost.
    pub async fn run(
        mut self,
        request: Option<&UserRequest>,
        display: &'a mut dyn FnMut(&Event),
        signals: &mut Signals,
    ) -> Result<Summary, Failure> {
        let ended = match self.begin(request, display, signals).await {
            Ok(()) => self.work(signals).await,
            Err(failure) => Err(failure),
        };
        let written = if ended.is_ok() { self.remember().await } else { Ok(()) };
        let runs: BTreeSet<(Proposal, Run)> = self.by_run.keys().copied().collect();
        let left_in_slurm = self.jobs.under_way();
        let left_open = self.adopted_and_open();
        let request_failed = self.request_failed.take();
        let Session { setup, worker, collector, owner, mut requests, interrupted, jobs, memory, .. } = self;
        worker.stop().await;
        jobs.stop().await;
        if matches!(ended, Ok(true)) {
            collector.stop().await;
        } else {
            // What it does not finish stands in fragments, for the next command.
            tokio::select! {
                biased;
                () = signals.next() => {}
                () = collector.stop() => {}
                () = tokio::time::sleep(COLLECTOR_PATIENCE) => {}
            }
        }
        if matches!(ended, Ok(true)) {
            stale::remove(&setup.dir, &runs);
            // Variables that are gone from the context file, and now from all runs too.
            owner.drop_unused_variables().await?;
        }
        if let Some(memory) = memory {
            memory.release(&setup.dir).await;
        }
        owner.release().await;
        for request in requests.iter_mut().filter(|request| request.cut_short) {
            request.tell_of_the_stop(left_in_slurm);
        }
        hand_over::clean(&setup.dir, SystemTime::now());
        ended?;
        written?;
        if let Some(failure) = request_failed {
            return Err(failure);
        }
        let mut summary = own_summary(requests);
        summary.interrupted = interrupted;
        summary.jobs_left = left_in_slurm;
        summary.tasks_left = left_open;
        Ok(summary)
    }

    /// What comes before everything else: results that earlier owners could not collect, and their open requests.
    async fn begin(
        &mut self,
        request: Option<&UserRequest>,
        mut display: &'a mut dyn FnMut(&Event),
        signals: &mut Signals,
    ) -> Result<(), Failure> {
        for note in FragmentNote::scan(&self.setup.dir)? {
            self.collect(note);
        }
        if !self.settle(signals).await? {
            return Err(Failure::new("stopped while results of earlier commands were collected")
                .hint("what is not collected waits in extracted_data/ for the next command")
                .exit(Exit::Interrupted));
        }
        self.adopt(&mut display).await?;
        match request {
            Some(request) => self.take_in(request.clone(), Listener::Here(display)),
            None => self.show_adopted(display),
        }
    }

    /// Waits until the collector has nothing to do; `false` if told to stop before.
    async fn settle(&mut self, signals: &mut Signals) -> Result<bool, Failure> {
        self.collector.hurry();
        while !self.uncollected.is_empty() {
            tokio::select! {
                biased;
                () = signals.next() => return Ok(false),
                failure = self.owner.lost() => return Err(failure),
                collected = self.collector.next() => self.on_collected(collected?)?,
            }
        }
        Ok(true)
    }

    pub(super) fn collect(&mut self, note: FragmentNote) {
        *self.uncollected.entry((note.proposal, note.run)).or_default() += 1;
        self.collector.give(note);
    }

    /// Until every request is finished; `false` if told to stop before everything was collected.
    async fn work(&mut self, signals: &mut Signals) -> Result<bool, Failure> {
        let mut poll = interval(REQUEST_POLL);
        let mut clean = interval(CLEAN_EVERY);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut give_up_at: Option<tokio::time::Instant> = None;
        let mut told = self.accept_unless_told(signals).await?;
        loop {
            if told && !self.is_done() {
                if self.interrupted {
                    return Ok(false);
                }
                self.interrupt().await?;
                give_up_at = Some(tokio::time::Instant::now() + STOP_PATIENCE);
            }
            self.dispatch().await;
            self.remember().await?;
            if self.is_done() {
                break;
            }
            let stop_waiting = async {
                match give_up_at {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            told = false;
            tokio::select! {
                biased;
                () = signals.next() => told = true,
                failure = self.owner.lost() => return Err(failure),
                collected = self.collector.next() => self.on_collected(collected?)?,
                message = self.worker.next() => match message? {
                    Some(message) => self.on_worker(message)?,
                    None => self.on_worker_lost().await?,
                },
                Some(event) = self.jobs.next() => self.on_lane(event)?,
                _ = poll.tick() => {
                    self.refresh_settings().await?;
                    if !self.interrupted {
                        self.take_requests()?;
                    }
                }
                _ = clean.tick() => hand_over::clean(&self.setup.dir, SystemTime::now()),
                () = stop_waiting => break,
            }
            told = told || self.accept_unless_told(signals).await?;
        }
        self.settle(signals).await
    }

    /// Plans what can be planned, which may have to wait for the table; says whether a signal came before that. What is cut
    /// off has not begun.
    async fn accept_unless_told(&mut self, signals: &mut Signals) -> Result<bool, Failure> {
        tokio::select! {
            biased;
            () = signals.next() => Ok(true),
            accepted = self.accept_described() => accepted.map(|()| false),
        }
    }

    /// Gives the worker as much as it can use, and a little more so that it never waits for us.
    async fn dispatch(&mut self) {
        if self.interrupted {
            return;
        }
        self.dispatch_jobs();
        let mut room = (self.setup.processes * 2).saturating_sub(self.running.len());
        let mut messages: Vec<ToWorker> =
            self.to_cancel.drain(..).map(|id| ToWorker::Cancel { id }).collect();
        while room > 0 {
            let Some(position) = self.ready.pop(|_| true) else { break };
            let TaskState::Ready { attempt } = self.tasks[position].state else { continue };
            if self.command_is_under_way(position) {
                self.jobs.try_later(position);
                continue;
            }
            let wire = self.wire(position, attempt);
            self.advance(position, TaskMove::Dispatched);
            match wire {
                Some(wire) => {
                    messages.push(ToWorker::Run(Box::new(wire)));
                    room -= 1;
                }
                // Everything was stored before its worker was lost.
                None => self.end_task(position, None),
            }
        }
        if !messages.is_empty() {
            self.worker.send(&messages).await;
        }
    }

    pub(super) fn advance(&mut self, position: usize, wanted: TaskMove) {
        let task = &mut self.tasks[position];
        let from = task.state.clone();
        match task.state.next(wanted) {
            Ok(state) => {
                if matches!(state, TaskState::Running { .. }) {
                    self.running.insert(position);
                } else {
                    self.running.remove(&position);
                }
                task.state = state;
                // What Ctrl-C cuts short is not at its end: the next owner goes on with it.
                if task.recorded
                    && !self.interrupted
                    && let Some(memory) = &mut self.memory
                {
                    memory.moved(task, &from);
                }
            }
            Err(illegal) => tracing::warn!(task = task.id, %illegal, "ignored"),
        }
    }

    async fn interrupt(&mut self) -> Result<(), Failure> {
        self.interrupted = true;
        // Nothing was begun of these. Processes that wait elsewhere do it themselves when we are gone.
        let mut unplanned = std::mem::take(&mut self.incoming).into_iter();
        if unplanned.any(|incoming| matches!(incoming.listener, Listener::Here(_))) {
            return Err(
                Failure::new("stopped while the context file was being executed").exit(Exit::Interrupted)
            );
        }
        self.ready.clear();
        self.ready_for_jobs.clear();
        let mut messages = Vec::new();
        for position in 0..self.tasks.len() {
            match self.tasks[position].state {
                TaskState::Running { .. } if self.lost_with_worker.contains(&position) => {
                    self.cancel_task(position)
                }
                TaskState::Running { .. } => {
                    messages.push(ToWorker::Cancel { id: self.tasks[position].id.clone() })
                }
                // Jobs go on without us; the next command collects what they have stored.
                TaskState::Waiting { .. } | TaskState::Ready { .. } | TaskState::InJob { .. } => {
                    self.cancel_task(position)
                }
                TaskState::Ended { .. } => {}
            }
        }
        self.worker.send(&messages).await;
        Ok(())
    }
}

/// What became of the requests that this process waited for.
fn own_summary(requests: Vec<RequestRecord<'_>>) -> Summary {
    let mut own = requests.into_iter().filter(|request| matches!(request.listener, Listener::Here(_)));
    own.next().map(|request| request.summary).unwrap_or_default()
}
