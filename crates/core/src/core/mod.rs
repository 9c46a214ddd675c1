//! The core: takes inputs, gives effects.

mod adopt;
mod begin;
mod cancel;
mod collect;
mod command;
mod dispatch;
mod finish;
mod incoming;
mod job_events;
mod job_over;
mod ledger;
mod local_work;
mod moves;
mod mymdc;
mod not_accepted;
mod publish;
mod stop;
mod submit;
mod tell;
mod upkeep;
mod worker;

use std::time::Duration;

use amore_model::planted::{Fault, is_on};

use crate::{
    cancellations::Cancellations,
    commands::Commands,
    effect::Effect,
    ending::Ending,
    events::{Event, Summary},
    ids::Ids,
    incoming::IncomingRequests,
    input::{Answer, Input},
    jobs::Jobs,
    journal::Journal,
    ledger_access::LedgerAccess,
    life::{AfterLeftovers, Life},
    local_worker::LocalWorker,
    moment::Moment,
    mymdc::Mymdc,
    ready_tasks::ReadyTasks,
    refusal::Refusal,
    request::{Listener, Request},
    requests::Requests,
    setup::Setup,
    slurm::Slurm,
    submissions::Submissions,
    table_notices::TableNotices,
    task::TaskNo,
    tasks::Tasks,
    uncollected::Uncollected,
    upkeep::Upkeep,
};

/// Holds requests, tasks, attempts, queues and jobs of one directory, and decides what is done next.
///
/// No I/O, no clock, no randomness: the same inputs at the same moments give the same effects, in the same order.
#[derive(Debug)]
pub struct Core {
    setup: Setup,
    now: Moment,
    effects: Vec<Effect>,
    life: Life,
    ending: Ending,
    ids: Ids,
    incoming: IncomingRequests,
    requests: Requests,
    tasks: Tasks,
    ready: ReadyTasks,
    worker: LocalWorker,
    uncollected: Uncollected,
    slurm: Slurm,
    submissions: Submissions,
    jobs: Jobs,
    journal: Journal,
    ledger_access: LedgerAccess,
    table_notices: TableNotices,
    cancellations: Cancellations,
    commands: Commands,
    upkeep: Upkeep,
    mymdc: Mymdc,
}

impl Core {
    /// Ready for [`Input::Started`]. The first worker has the number 0.
    pub fn new(setup: Setup) -> Self {
        let slurm = Slurm::new(setup.slurm.clone());
        let ids = Ids::new(setup.epoch, setup.process);
        Core {
            setup,
            now: Moment::default(),
            effects: Vec::new(),
            life: Life::default(),
            ending: Ending::default(),
            ids,
            incoming: IncomingRequests::default(),
            requests: Requests::default(),
            tasks: Tasks::default(),
            ready: ReadyTasks::default(),
            worker: LocalWorker::default(),
            uncollected: Uncollected::default(),
            slurm,
            submissions: Submissions::default(),
            jobs: Jobs::default(),
            journal: Journal::default(),
            ledger_access: LedgerAccess::default(),
            table_notices: TableNotices::default(),
            cancellations: Cancellations::default(),
            commands: Commands::default(),
            upkeep: Upkeep::default(),
            mymdc: Mymdc::default(),
        }
    }

    /// Takes an input at this moment, and gives what is to be done, in order.
    pub fn on(&mut self, now: Moment, input: Input) -> Vec<Effect> {
        self.now = now;
        self.take(input);
        self.proceed();
        std::mem::take(&mut self.effects)
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Started { fragments, ledger_exists } => {
                self.life.started(ledger_exists);
                fragments.into_iter().for_each(|fragment| self.collect(fragment));
                self.effects.push(Effect::HurryCollector);
            }
            Input::Serve => self.life.serve(),
            early @ (Input::Request { .. } | Input::Follow) if !self.life.is_working() => {
                self.life.keep_for_later(early);
            }
            Input::Request { listener, request: Request::Compute(compute) } => {
                self.on_compute(listener, compute);
            }
            Input::Request { listener, request: Request::Cancel(named) } => self.on_cancel(listener, &named),
            Input::Follow => self.on_follow(),
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
            Input::Site(facts) => self.slurm.set_site(facts),
            Input::Settings(settings) => self.slurm.set_settings(settings),
            Input::Answer { task, answer } => self.on_answer(task, answer),
            Input::Mymdc { request, key, values } => self.on_mymdc(request, key, values),
            Input::Stop => self.on_stop(),
            Input::Tick => {}
        }
    }

    /// Does what can be done now, after any input.
    fn proceed(&mut self) {
        if self.ending.has_failed() {
            return;
        }
        self.begin_if_leftovers_are_collected();
        if self.life.is_working() {
            self.prepare_next();
            self.watch_description();
            self.read_settings_if_due();
            self.dispatch_jobs();
            self.dispatch_here();
            self.search_for_announced();
            self.keep_up();
        }
        self.write_ledger();
        self.release_submissions();
    }

    /// Results of earlier commands are in the table before anything is planned.
    fn begin_if_leftovers_are_collected(&mut self) {
        if !self.uncollected.is_empty() {
            return;
        }
        match self.life.leftovers_are_collected() {
            Some(AfterLeftovers::LoadLedger) => self.effects.push(Effect::LoadLedger),
            Some(AfterLeftovers::Work(early)) => early.into_iter().for_each(|input| self.take(input)),
            None => {}
        }
    }

    fn begin_work(&mut self) {
        self.life.begin_work().into_iter().for_each(|input| self.take(input));
    }

    /// Does the user want it to stop?
    pub fn is_stopping(&self) -> bool {
        self.life.is_stopping()
    }

    /// Is there nothing more to do?
    pub fn has_ended(&self) -> bool {
        if self.ending.is_now() {
            return true;
        }
        let is_written = self.journal.is_written() || self.ledger_access.is_given_up(self.now.steady);
        let is_written =
            is_written || is_on(Fault::LedgerNotWaitedFor) && self.ledger_access.retry_at().is_some();
        let may_end = match self.life.stop_deadline() {
            Some(until) => self.is_done() || self.now.steady >= until,
            None => self.life.is_working() && !self.life.serves() && self.is_done(),
        };
        may_end && self.uncollected.is_empty() && is_written
    }

    /// Is everything done that a listener waits for?
    fn is_done(&self) -> bool {
        self.incoming.is_empty()
            && self.requests.unfinished().all(|(_, request)| request.is_adopted())
            && (self.tasks.running() == 0 || self.requests.unfinished().next().is_none())
    }

    /// What became of the request of this command.
    ///
    /// # Errors
    /// It was not served, or not to its end.
    pub fn outcome(&self) -> Result<Summary, Refusal> {
        let own = self.ending.result()?;
        let open = || self.requests.of_listener(Listener::Here).map(|request| request.summary().clone());
        let mut summary = own.or_else(open).unwrap_or_default();
        summary.interrupted = self.life.is_stopping();
        summary.jobs_left = self.jobs.len();
        summary.tasks_left = self.adopted_and_open();
        Ok(summary)
    }

    /// The last effects. Processes elsewhere whose requests were stopped before their end get a summary if the ledger has
    /// them: the next owner resumes those. Other requests get no event: their processes do the rest themselves.
    pub fn close(&mut self) -> Vec<Effect> {
        if !self.journal.is_written() && !self.ending.has_failed() {
            let words = "the ledger has not answered to the end: the next command starts from what it has";
            self.effects.push(Effect::Tell { listener: Listener::Here, event: Event::warning(words) });
        }
        let jobs_left = self.jobs.len();
        for (_, request) in self.requests.iter() {
            if let Some(summary) = request.left_in_ledger() {
                let event = Event::Finished(Summary { jobs_left, ..summary });
                self.effects.push(Effect::Tell { listener: request.listener(), event });
            }
        }
        std::mem::take(&mut self.effects)
    }

    /// When the core wants to be called again, at the latest, on the steady clock.
    pub fn next_wakeup(&self) -> Option<Duration> {
        let own = match self.life.stop_deadline() {
            None if self.life.is_working() => {
                let upkeep = self.life.serves().then(|| self.upkeep.next_scan());
                let description = self.incoming.next_due();
                let due = [
                    self.ready.next_due(),
                    self.slurm.next_poll(),
                    self.uncollected.next_due(),
                    upkeep,
                    description,
                ];
                due.into_iter().flatten().min()
            }
            deadline => deadline,
        };
        // Times that have passed are not waited for.
        [own, self.ledger_access.retry_at()].into_iter().flatten().filter(|at| *at > self.now.steady).min()
    }

    /// Are all results in the table, and was nothing abandoned?
    pub fn is_settled(&self) -> bool {
        !self.ending.is_abandoned() && self.uncollected.is_empty()
    }

    /// How many tasks and requests the core knows: what is finished is forgotten.
    pub fn size(&self) -> (usize, usize) {
        (self.tasks.len(), self.requests.len())
    }

    fn on_answer(&mut self, number: TaskNo, answer: Answer) {
        match answer {
            Answer::EarlierValues(names) => self.on_earlier_values(number, &names),
            Answer::LogTail(tail) => self.on_log_tail(number, tail),
            Answer::Command(prepared) => {
                let is_ready = self.tasks.get(number).is_some_and(|task| task.state().is_ready());
                if is_ready && !self.life.is_stopping() {
                    self.commands.set_prepared(number, prepared);
                    self.enqueue(number);
                }
            }
        }
    }
}
