//! The transitions of a job: it starts, is told to end, ends, is requeued, and is forgotten.

use super::{
    cluster::{Cluster, Controller, Run, Timer},
    event::{Exit, Signal, SlurmEvent, Start, Why},
    job::{Afterwards, Ended, Execution, ExitCode, Hold, Job, Key, Reason, State},
};

impl Cluster {
    /// A waiting job starts on these nodes.
    pub fn start(&mut self, key: Key, nodes: Vec<String>) {
        let execution = self.execution();
        let now = self.now;
        let Some(job) = self.jobs.get_mut(&key) else { return };
        job.state = State::Running { execution };
        job.reason = Reason::None;
        job.started = Some(now);
        job.not_before = None;
        job.nodes.clone_from(&nodes);
        let fails = job.launch_fails;
        self.pending.remove(&key);
        self.busy.insert(key);
        self.occupy(key, true);
        let begun = self.is_reachable(&nodes);
        self.runs.insert(execution, Run { key, nodes, begun, orphan: false, unheard: None });
        self.account(key);
        if fails {
            return self.end(key, Ended::Failed, ExitCode::NOT_STARTED, Reason::LaunchFailure);
        }
        let Some(job) = self.jobs.get(&key) else { return };
        let until = job.limit().unwrap_or(now);
        let start = Start {
            cluster: self.name.clone(),
            execution,
            job: job.number,
            key,
            user: job.user.clone(),
            partition: job.asked.partition.clone(),
            nodes: job.nodes.clone(),
            directory: job.asked.directory.clone(),
            log: job.log(),
            script: job.asked.script.clone(),
            restarts: job.restarts,
            memory_mib: job.asked.memory_mib,
            until,
        };
        if begun {
            self.events.push(SlurmEvent::Started(Box::new(start)));
        }
        self.at(until.rounded_up(self.times.limit_step), Timer::Limit(execution));
    }

    /// Adds a job's resources to its nodes' usage, or subtracts them.
    fn occupy(&mut self, key: Key, begins: bool) {
        let Some(job) = self.jobs.get(&key) else { return };
        for node in self.nodes.iter_mut().filter(|node| job.nodes.contains(&node.spec.name)) {
            if begins {
                node.cpus_used += job.asked.cpus;
                node.memory_used += job.asked.memory_mib;
            } else {
                node.cpus_used = node.cpus_used.saturating_sub(job.asked.cpus);
                node.memory_used = node.memory_used.saturating_sub(job.asked.memory_mib);
            }
        }
    }

    /// The world reports how a script ended.
    pub fn on_script_ended(&mut self, execution: Execution, exit: Exit) {
        let Some(run) = self.runs.get_mut(&execution) else { return };
        let (key, orphan, nodes) = (run.key, run.orphan, run.nodes.clone());
        if !orphan && (self.controller != Controller::Up || !self.is_reachable(&nodes)) {
            if let Some(run) = self.runs.get_mut(&execution) {
                run.unheard = Some(exit);
            }
            return;
        }
        self.runs.remove(&execution);
        if orphan {
            return;
        }
        let (how, code, reason) = match exit {
            Exit::Code(0) => (Ended::Completed, ExitCode::default(), Reason::None),
            Exit::Code(code) => (Ended::Failed, ExitCode { code, signal: 0 }, Reason::NonZeroExitCode),
            Exit::Signal(signal) => (Ended::Failed, ExitCode { code: 0, signal }, Reason::LaunchFailure),
            Exit::OutOfMemory => (Ended::OutOfMemory, ExitCode { code: 0, signal: 125 }, Reason::OutOfMemory),
            Exit::NotStarted => (Ended::Failed, ExitCode::NOT_STARTED, Reason::LaunchFailure),
        };
        match self.jobs.get(&key).map(|job| &job.state) {
            Some(State::Completing { afterwards, .. }) => self.after_last_process(key, *afterwards),
            _ => self.end(key, how, code, reason),
        }
    }

    /// Tells the script of a running job to end.
    pub fn tell_to_end(&mut self, key: Key, afterwards: Afterwards, why: Why) {
        let Some(job) = self.jobs.get_mut(&key) else { return };
        let State::Running { execution } = job.state else { return };
        job.state = State::Completing { execution, afterwards };
        let nodes = job.nodes.clone();
        if self.is_reachable(&nodes) {
            self.events.push(SlurmEvent::Signalled { execution, signal: Signal::Terminate, why });
        }
        self.at(self.now + self.times.kill_wait, Timer::Kill(execution, why));
    }

    /// A script that was told to end has used up its time.
    pub fn kill(&mut self, execution: Execution, why: Why) {
        let Some(run) = self.runs.get(&execution) else { return };
        let (key, orphan) = (run.key, run.orphan);
        if orphan || !self.is_reachable(&run.nodes.clone()) {
            // An unreachable node ends it when it is back.
            return;
        }
        let Some(State::Completing { afterwards, .. }) = self.jobs.get(&key).map(|job| job.state.clone())
        else {
            return;
        };
        self.runs.remove(&execution);
        self.events.push(SlurmEvent::Signalled { execution, signal: Signal::Kill, why });
        self.after_last_process(key, afterwards);
    }

    fn after_last_process(&mut self, key: Key, afterwards: Afterwards) {
        match afterwards {
            Afterwards::Ends(how) => {
                let reason = if how == Ended::TimedOut { Reason::TimeLimit } else { Reason::None };
                self.end(key, how, ExitCode::TERMINATED, reason);
            }
            Afterwards::Requeued => self.requeue(key),
        }
    }

    /// A job has ended.
    pub fn end(&mut self, key: Key, how: Ended, exit: ExitCode, reason: Reason) {
        let Some(job) = self.jobs.get_mut(&key) else { return };
        if job.state.is_over() {
            return;
        }
        let had_nodes = job.state.execution().is_some();
        if let Some(execution) = job.state.execution() {
            self.runs.remove(&execution);
        }
        job.state = State::Over(how);
        job.exit = exit;
        job.reason = reason;
        job.ended = Some(self.now);
        let (number, ended) = (job.number, self.now);
        self.pending.remove(&key);
        self.busy.remove(&key);
        if had_nodes {
            self.occupy(key, false);
        }
        self.events.push(SlurmEvent::Ended { cluster: self.name.clone(), job: number, key, how });
        self.account(key);
        self.at((ended + self.times.min_job_age).rounded_up(self.times.purge_step), Timer::Purge(key));
        self.wake_scheduler();
    }

    /// A job goes back to the queue, and waits there for a while.
    pub fn requeue(&mut self, key: Key) {
        if self.jobs.get(&key).is_some_and(|job| job.state.execution().is_some()) {
            self.occupy(key, false);
        }
        let now = self.now;
        let again = now + self.times.requeue_wait;
        let Some(job) = self.jobs.get_mut(&key) else { return };
        if let Some(execution) = job.state.execution()
            && self.runs.get(&execution).is_some_and(|run| !run.orphan)
        {
            self.runs.remove(&execution);
        }
        job.state = State::Pending;
        job.reason = Reason::BeginTime;
        job.not_before = Some(again);
        job.nodes.clear();
        job.exit = ExitCode::default();
        job.submitted = now;
        job.started = None;
        job.ended = None;
        job.restarts += 1;
        self.busy.remove(&key);
        self.pending.insert(key);
        self.hold_without_reservation(key);
        self.account(key);
        self.schedule_by(again);
        self.wake_scheduler();
    }

    /// A job that goes back to the queue after its reservation was removed never starts, like those that waited then.
    fn hold_without_reservation(&mut self, key: Key) {
        let Some(job) = self.jobs.get_mut(&key) else { return };
        let is_gone = |name: &String| !self.reservations.contains_key(name);
        if let Some(name) = job.asked.reservations.first().cloned()
            && job.asked.reservations.iter().all(is_gone)
        {
            job.state = State::ReservationDeleted;
            job.reason = Reason::ReservationDeleted(name);
            self.pending.remove(&key);
        }
    }

    /// Cancels a waiting or running job.
    pub fn cancel(&mut self, number: u64, by: u32) {
        let Some(job) = self.numbered(number) else { return };
        let (key, how) = (job.key, Ended::Cancelled { by });
        match job.state {
            State::Pending | State::ReservationDeleted => {
                let reason = job.reason.clone();
                self.end(key, how, ExitCode::default(), reason);
            }
            State::Running { .. } => self.tell_to_end(key, Afterwards::Ends(how), Why::Cancelled),
            State::Completing { execution, .. } => {
                // A job that was going to be requeued is not.
                if let Some(job) = self.jobs.get_mut(&key) {
                    job.state = State::Completing { execution, afterwards: Afterwards::Ends(how) };
                }
            }
            State::Over(_) => {}
        }
    }

    /// Holds a waiting job.
    pub fn hold(&mut self, key: Key, hold: Hold) {
        let Some(job) = self.jobs.get_mut(&key) else { return };
        if job.state != State::Pending {
            return;
        }
        job.held = Some(hold);
        job.reason = held_reason(hold);
        self.account(key);
    }

    /// Releases a held job.
    pub fn release(&mut self, key: Key) {
        let Some(job) = self.jobs.get_mut(&key) else { return };
        if job.state == State::ReservationDeleted {
            job.state = State::Pending;
            self.pending.insert(key);
        } else if job.held.take().is_none() {
            return;
        }
        if let Some(job) = self.jobs.get_mut(&key) {
            job.reason = Reason::None;
        }
        self.account(key);
        self.wake_scheduler();
    }

    /// Checks whether a job has exceeded its time limit.
    pub fn on_limit(&mut self, execution: Execution) {
        let Some(run) = self.runs.get(&execution).filter(|run| !run.orphan) else { return };
        let key = run.key;
        let Some(limit) = self.jobs.get(&key).and_then(Job::limit) else { return };
        if limit > self.now {
            // The limit was extended in the meantime.
            self.at(limit.rounded_up(self.times.limit_step), Timer::Limit(execution));
            return;
        }
        self.tell_to_end(key, Afterwards::Ends(Ended::TimedOut), Why::TimeLimit);
    }

    /// Purges a job that ended long ago.
    pub fn purge(&mut self, key: Key) {
        if self.jobs.get(&key).is_some_and(|job| job.state.is_over()) {
            self.forget(key);
        }
    }

    /// The controller forgets a job. Its execution continues, and is no longer counted.
    pub fn forget(&mut self, key: Key) {
        if self.jobs.get(&key).is_some_and(|job| job.state.execution().is_some()) {
            self.occupy(key, false);
        }
        let Some(job) = self.jobs.remove(&key) else { return };
        if let Some(execution) = job.state.execution() {
            self.disown(execution);
        }
        if self.numbers.get(&job.number) == Some(&key) {
            self.numbers.remove(&job.number);
        }
        self.pending.remove(&key);
        self.busy.remove(&key);
    }
}

/// The reason in the queue for a held job.
pub(super) fn held_reason(hold: Hold) -> Reason {
    match hold {
        Hold::User => Reason::HeldByUser,
        Hold::Admin => Reason::HeldByAdmin,
        Hold::LaunchFailed => Reason::LaunchFailedHeld,
    }
}
