//! The core: hears what happens, and says what is to be done.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use amore_model::{AttemptRank, AttemptToken, PlanStamp};
use amore_slurm::{settings::SlurmSettings, site_facts::SiteFacts};
use amore_wire::task::ToWorker;

use crate::{
    cancel::Cancellation,
    command::PendingOutcome,
    effect::{Effect, Fragment},
    events::{Event, Summary},
    incoming::{Incoming, IncomingNo},
    input::{Answer, Input, Prepared},
    jobs::Jobs,
    journal::Journal,
    moment::Moment,
    queue::Queue,
    refusal::{Refusal, RefusalKind},
    request::{Listener, Request, RequestNo, Requests, refused},
    setup::Setup,
    task::TaskNo,
    task_state::WorkerNo,
    tasks::{RunKey, Tasks},
    uncollected::Uncollected,
    worker_crashes::WorkerCrashes,
};

/// How long running variables may take to be stopped after Ctrl-C.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// How far the core is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    /// [`Input::Started`] has not come.
    New,
    /// Results of earlier commands are being collected.
    CollectingLeftovers {
        /// There is a ledger, in which something may be open.
        ledger_exists: bool,
    },
    /// What earlier owners have left open is being read.
    LoadingLedger,
    /// Requests are served.
    Working,
    /// The user wants it to stop: running variables are waited for until then.
    Stopping {
        /// On the steady clock.
        until: Duration,
    },
}

/// Holds requests, tasks, attempts, queues and jobs of one directory, and decides what is done next.
///
/// No I/O, no clock, no randomness: the same inputs at the same moments give the same effects, in the same order.
#[derive(Debug)]
pub struct Core {
    pub(crate) setup: Setup,
    pub(crate) now: Moment,
    pub(crate) effects: Vec<Effect>,
    pub(crate) life: Life,
    /// What came before the core was ready for it.
    early: VecDeque<Input>,
    /// Requests that are not planned yet, in the order in which they came.
    pub(crate) incoming: VecDeque<Incoming>,
    next_incoming: u64,
    pub(crate) requests: Requests,
    pub(crate) tasks: Tasks,
    pub(crate) worker: WorkerNo,
    pub(crate) worker_crashes: WorkerCrashes,
    /// Tasks whose worker was lost, until what it stored of their runs is collected.
    pub(crate) lost_with_worker: BTreeSet<TaskNo>,
    /// Tasks that wait for a process here.
    pub(crate) ready: Queue,
    /// Tasks that wait for a place in the queue of Slurm.
    pub(crate) ready_for_jobs: Queue,
    pub(crate) uncollected: Uncollected,
    /// Slurm's settings; `None`: everything is computed here.
    pub(crate) slurm: Option<SlurmSettings>,
    /// What was last heard of partitions and nodes.
    pub(crate) site: Option<Arc<SiteFacts>>,
    pub(crate) jobs: Jobs,
    pub(crate) journal: Journal,
    pub(crate) ledger_is_open: bool,
    /// The ledger does not answer: when it is tried again.
    ledger_retry: Option<Duration>,
    /// What could not be collected of earlier commands' results, for the user.
    pub(crate) left_behind: Vec<String>,
    /// What is to be cancelled, and is not yet.
    pub(crate) cancellations: Vec<Cancellation>,
    /// Ids of tasks that the worker here is to stop.
    pub(crate) to_cancel: Vec<String>,
    /// Tasks that the worker here was told to stop, by `amore cancel`: if it is lost meanwhile they are over.
    pub(crate) told_to_end: BTreeSet<TaskNo>,
    /// Commands whose words are known, until they are executed.
    pub(crate) prepared: BTreeMap<TaskNo, Prepared>,
    /// Outcomes of commands that wait for the end of their log.
    pub(crate) outcomes: BTreeMap<TaskNo, PendingOutcome>,
    pub(crate) warned_of_view: bool,
    last_stamp: u64,
    tokens: u64,
    /// The request of this command is over.
    pub(crate) own_summary: Option<Summary>,
    /// Why the request of this command was not served to its end.
    pub(crate) own_failure: Option<Refusal>,
    /// Why nothing goes on at all.
    fatal: Option<Refusal>,
    /// The user was told to wait, and does not want to.
    abandoned: bool,
}

impl Core {
    /// Ready for [`Input::Started`]. The first worker has the number 0.
    pub fn new(setup: Setup) -> Self {
        let slurm = setup.slurm.clone();
        Core {
            setup,
            now: Moment::default(),
            effects: Vec::new(),
            life: Life::New,
            early: VecDeque::new(),
            incoming: VecDeque::new(),
            next_incoming: 0,
            requests: Requests::default(),
            tasks: Tasks::default(),
            worker: WorkerNo(0),
            worker_crashes: WorkerCrashes::default(),
            lost_with_worker: BTreeSet::new(),
            ready: Queue::default(),
            ready_for_jobs: Queue::default(),
            uncollected: Uncollected::default(),
            slurm,
            site: None,
            jobs: Jobs::default(),
            journal: Journal::default(),
            ledger_is_open: false,
            ledger_retry: None,
            left_behind: Vec::new(),
            cancellations: Vec::new(),
            to_cancel: Vec::new(),
            told_to_end: BTreeSet::new(),
            prepared: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            warned_of_view: false,
            last_stamp: 0,
            tokens: 0,
            own_summary: None,
            own_failure: None,
            fatal: None,
            abandoned: false,
        }
    }

    /// Takes an input at this moment, and gives what is to be done, in order.
    pub fn on(&mut self, now: Moment, input: Input) -> Vec<Effect> {
        self.now = now;
        self.take(input);
        self.go_on();
        std::mem::take(&mut self.effects)
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Started { fragments, ledger_exists } => {
                self.life = Life::CollectingLeftovers { ledger_exists };
                fragments.into_iter().for_each(|fragment| self.collect(fragment));
                self.effects.push(Effect::HurryCollector);
            }
            early @ (Input::Request { .. } | Input::Follow) if !self.is_working() => {
                if !self.is_stopping() {
                    self.early.push_back(early);
                }
            }
            Input::Request { listener, request: Request::Compute(compute) } => {
                let number = IncomingNo(self.next_incoming);
                self.next_incoming += 1;
                self.incoming.push_back(Incoming::new(number, compute, listener));
            }
            Input::Request { listener, request: Request::Cancel(named) } => self.on_cancel(listener, &named),
            Input::Follow => self.show_adopted(),
            Input::ContextRead { incoming, context } => self.on_context_read(incoming, context),
            Input::Surveyed { incoming, survey } => self.on_surveyed(incoming, survey),
            Input::LedgerOpened { incoming, opened } => self.on_ledger_opened(incoming, opened),
            Input::LedgerLoaded(left) => self.on_ledger_loaded(*left),
            Input::LedgerWritten { done, silent } => self.on_ledger_written(done, silent),
            Input::Worker { worker, message } => self.on_local_worker(worker, message),
            Input::WorkerLost { worker } => self.on_worker_lost(worker),
            Input::Scanned { key, fragments } => self.on_scanned(key, fragments),
            Input::Collected(collected) => self.on_collected(collected),
            Input::Job(event) => self.on_job_event(event),
            Input::Site(facts) => self.site = Some(facts),
            Input::Settings(settings) => {
                if self.slurm.is_some() {
                    self.slurm = Some(settings);
                }
            }
            Input::Answer { task, answer } => self.on_answer(task, answer),
            Input::Stop => self.on_stop(),
            Input::Tick => {}
        }
    }

    /// Whatever follows by itself from what is known now.
    fn go_on(&mut self) {
        if self.fatal.is_some() {
            return;
        }
        self.begin_if_leftovers_are_collected();
        if self.is_working() {
            self.prepare_next();
            self.read_settings_if_due();
            self.dispatch_jobs();
            self.dispatch_here();
        }
        self.write_ledger();
        self.release_submissions();
    }

    /// Results of earlier commands are in the table before anything is planned.
    fn begin_if_leftovers_are_collected(&mut self) {
        let Life::CollectingLeftovers { ledger_exists } = self.life else { return };
        if !self.uncollected.is_empty() {
            return;
        }
        if ledger_exists {
            self.life = Life::LoadingLedger;
            self.effects.push(Effect::LoadLedger);
        } else {
            self.begin_work();
        }
    }

    pub(crate) fn begin_work(&mut self) {
        self.life = Life::Working;
        for input in std::mem::take(&mut self.early) {
            self.take(input);
        }
    }

    pub(crate) fn is_working(&self) -> bool {
        self.life == Life::Working
    }

    /// Was it told to stop?
    pub fn is_stopping(&self) -> bool {
        matches!(self.life, Life::Stopping { .. })
    }

    fn on_stop(&mut self) {
        match self.life {
            Life::New | Life::CollectingLeftovers { .. } | Life::LoadingLedger => self.end_at_once(
                Refusal::new("stopped while results of earlier commands were collected")
                    .hint("what is not collected waits in extracted_data/ for the next command")
                    .kind(RefusalKind::Interrupted),
            ),
            Life::Working => self.stop_work(),
            // Told twice: nothing is waited for any more.
            Life::Stopping { .. } => self.abandoned = true,
        }
    }

    fn stop_work(&mut self) {
        self.life = Life::Stopping { until: self.now.steady + STOP_PATIENCE };
        // Nothing was begun of these. Processes that wait elsewhere do it themselves when we are gone.
        let mut unplanned = std::mem::take(&mut self.incoming).into_iter();
        if unplanned.any(|incoming| incoming.listener == Listener::Here) {
            self.end_at_once(
                Refusal::new("stopped while the context file was being executed")
                    .kind(RefusalKind::Interrupted),
            );
            return;
        }
        self.ready.clear();
        self.ready_for_jobs.clear();
        let mut messages = Vec::new();
        let numbers: Vec<TaskNo> = self.tasks.iter().map(|(number, _)| number).collect();
        for number in numbers {
            let Some(task) = self.tasks.get(number) else { continue };
            if task.state().is_ended() {
                continue;
            }
            if task.state().is_here() && !self.lost_with_worker.contains(&number) {
                messages.push(ToWorker::Cancel { id: task.id.clone() });
            } else {
                // Jobs go on without us; the next command collects what they have stored.
                self.cancel_task(number);
            }
        }
        if !messages.is_empty() {
            self.effects.push(Effect::ToWorker(messages));
        }
        self.effects.push(Effect::HurryCollector);
    }

    /// Nothing goes on: the command ends with this.
    pub(crate) fn end_at_once(&mut self, refusal: Refusal) {
        self.fatal.get_or_insert(refusal);
    }

    /// Is there nothing more to do?
    pub fn has_ended(&self) -> bool {
        if self.fatal.is_some() || self.abandoned {
            return true;
        }
        let written = self.journal.is_written() || self.ledger_retry.is_some();
        match self.life {
            Life::New | Life::CollectingLeftovers { .. } | Life::LoadingLedger => false,
            Life::Working => self.is_done() && self.uncollected.is_empty() && written,
            Life::Stopping { until } => {
                (self.is_done() || self.now.steady >= until) && self.uncollected.is_empty() && written
            }
        }
    }

    /// Is everything done that somebody waits for?
    fn is_done(&self) -> bool {
        let unfinished = || self.requests.iter().filter(|(_, request)| !request.finished);
        self.incoming.is_empty()
            && unfinished().all(|(_, request)| request.adopted)
            && (self.tasks.running() == 0 || unfinished().next().is_none())
    }

    /// What became of the request of this command.
    ///
    /// # Errors
    /// It was not served, or not to its end.
    pub fn outcome(&self) -> Result<Summary, Refusal> {
        if let Some(refusal) = self.fatal.as_ref().or(self.own_failure.as_ref()) {
            return Err(refusal.clone());
        }
        let is_own =
            |(_, request): &(RequestNo, &crate::request::RequestRecord)| request.listener == Listener::Here;
        let open = || self.requests.iter().find(is_own).map(|(_, request)| request.summary.clone());
        let mut summary = self.own_summary.clone().or_else(open).unwrap_or_default();
        summary.interrupted = self.is_stopping();
        summary.jobs_left = self.jobs.under_way();
        summary.tasks_left = self.adopted_and_open();
        Ok(summary)
    }

    /// The last effects: processes elsewhere whose requests were stopped before their end are told. What stands in the
    /// ledger is taken up by whoever comes next; of anything else nothing is said: that process does the rest itself.
    pub fn close(&mut self) -> Vec<Effect> {
        let jobs_left = self.jobs.under_way();
        for (_, request) in self.requests.iter_mut() {
            if request.cut_short && request.recorded.is_some() {
                request.summary.interrupted = true;
                request.summary.jobs_left = jobs_left;
                let event = Event::Finished(request.summary.clone());
                self.effects.push(Effect::Tell { listener: request.listener, event });
            }
        }
        std::mem::take(&mut self.effects)
    }

    /// When the core wants to be called again, at the latest, on the steady clock.
    pub fn next_wakeup(&self) -> Option<Duration> {
        let own = match self.life {
            Life::Working => self.jobs.next_wakeup(),
            Life::Stopping { until } => Some(until),
            Life::New | Life::CollectingLeftovers { .. } | Life::LoadingLedger => None,
        };
        // What is due already is done; something else is waited for.
        [own, self.ledger_retry].into_iter().flatten().filter(|at| *at > self.now.steady).min()
    }

    /// Is everything in the table, and was everything waited for?
    pub fn is_settled(&self) -> bool {
        !self.abandoned && self.uncollected.is_empty()
    }

    /// How many tasks and requests the core knows: what is finished is forgotten.
    pub fn size(&self) -> (usize, usize) {
        (self.tasks.len(), self.requests.iter().count())
    }

    /// A stamp for a new plan: later than all before it.
    pub(crate) fn stamp(&mut self) -> PlanStamp {
        self.last_stamp = self.now.micros().max(self.last_stamp + 1);
        PlanStamp { epoch: self.setup.epoch, micros: self.last_stamp }
    }

    /// The token of the next attempt.
    pub(crate) fn token(&mut self) -> AttemptToken {
        self.tokens += 1;
        let rank = AttemptRank { epoch: self.setup.epoch, serial: self.tokens };
        AttemptToken::new(rank, self.now.micros(), self.setup.process)
    }

    fn on_ledger_written(&mut self, done: usize, silent: Option<String>) {
        self.journal.written(done);
        match silent {
            None => self.ledger_retry = None,
            Some(why) => {
                if self.ledger_retry.is_none() {
                    self.tell_all(&Event::note(format!(
                        "the ledger does not answer ({why}); jobs wait until it does"
                    )));
                }
                self.ledger_retry = Some(self.now.steady + LEDGER_RETRY);
            }
        }
    }

    /// A ledger that does not answer holds up jobs, not what is computed here.
    fn write_ledger(&mut self) {
        if !self.ledger_is_open || self.ledger_retry.is_some_and(|at| at > self.now.steady) {
            return;
        }
        let writes = self.journal.to_write();
        if !writes.is_empty() {
            self.effects.push(Effect::WriteLedger(writes));
        }
    }

    fn on_answer(&mut self, number: TaskNo, answer: Answer) {
        match answer {
            Answer::EarlierValues(names) => self.on_earlier_values(number, &names),
            Answer::LogTail(tail) => self.on_log_tail(number, tail),
            Answer::Command(prepared) => {
                let is_ready = self.tasks.get(number).is_some_and(|task| task.state().is_ready());
                if is_ready && !self.is_stopping() {
                    self.prepared.insert(number, prepared);
                    self.line_up(number);
                }
            }
        }
    }

    pub(crate) fn collect(&mut self, fragment: Fragment) {
        self.uncollected.given(fragment.key);
        self.effects.push(Effect::Collect(fragment));
    }

    /// Looks for fragments of a run, or of all, whoever made them, and collects them.
    pub(crate) fn scan(&mut self, key: Option<RunKey>) {
        self.uncollected.scan_started(key);
        self.effects.push(Effect::Scan { key });
    }

    pub(crate) fn tell(&mut self, request: RequestNo, event: Event) {
        if let Some(request) = self.requests.get(request) {
            self.effects.push(Effect::Tell { listener: request.listener, event });
        }
    }

    /// Tells everybody who waits for something, once.
    pub(crate) fn tell_all(&mut self, event: &Event) {
        let unfinished = self.requests.iter().filter(|(_, request)| !request.finished);
        let listeners: BTreeSet<Listener> = unfinished.map(|(_, request)| request.listener).collect();
        for listener in listeners {
            self.effects.push(Effect::Tell { listener, event: event.clone() });
        }
    }

    /// A request is not served. The command of this core ends with that; another process is told.
    pub(crate) fn refuse(&mut self, listener: Listener, refusal: Refusal) {
        match listener {
            Listener::Elsewhere(_) => self.effects.push(Effect::Tell { listener, event: refused(refusal) }),
            Listener::Here | Listener::Nobody => self.end_at_once(refusal),
        }
    }
}

/// How long a ledger that does not answer is left alone.
const LEDGER_RETRY: Duration = Duration::from_millis(500);
