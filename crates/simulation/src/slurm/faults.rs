//! Faults of a cluster, and actions of administrators and other users.

use std::time::Duration;

use super::{
    cluster::{Cluster, Controller, Timer},
    event::{Signal, SlurmEvent, Why},
    job::{Afterwards, Ended, ExitCode, Hold, Job, Key, Reason, State},
    node::{Health, Reservation, Service, node_list},
    site::{Preempt, Site},
    trouble::NextSubmission,
};
use crate::Moment;

/// A fault or action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Affects the next submission; a second one affects the submission after it.
    NextSubmission(NextSubmission),
    /// Answers are delayed by this; zero: no delay. From `MessageTimeout` on, clients give up: requests are processed, but
    /// nobody gets the answer.
    SlowAnswers(Duration),
    /// The controller stops answering; submissions are accepted when it continues.
    ControllerHangs,
    /// The controller is shut down properly.
    ControllerStops,
    /// The controller is killed: it forgets what happened within this time before. Numbers of forgotten jobs are assigned
    /// again; jobs that started within it are held, because they would start a second time.
    ControllerKilled {
        /// How old its state on disk is.
        forgets: Duration,
    },
    /// The controller continues, after any of these.
    ControllerGoesOn,
    /// The controller loses a job.
    Forget {
        /// Its number.
        job: u64,
        /// Whether its node continues to execute it; otherwise the node ends it.
        goes_on: bool,
    },
    /// All jobs that have ended are forgotten, as after `MinJobAge`.
    Purge,
    /// A node is cut off from the network: its jobs continue.
    NodeCut(String),
    /// A node is switched off: its jobs end.
    NodeDies(String),
    /// A node that was cut off is reachable again, or a node that was switched off has started.
    NodeReturns(String),
    /// `State=DRAIN`: no new jobs start there.
    NodeDrained(String),
    /// `State=DOWN`: its jobs end, or go back to the queue.
    NodeDown(String),
    /// `State=RESUME`.
    NodeResumed(String),
    /// The next job of a node cannot be started: it is held, and the node is drained.
    PrologFails(String),
    /// A job is killed for its memory.
    OutOfMemory(u64),
    /// A job is preempted by another.
    Preempt(u64, Preempt),
    /// A job is held.
    Hold(u64, Hold),
    /// A held job is released.
    Release(u64),
    /// `scontrol requeue`, by a user who may do this.
    Requeue {
        /// Its number.
        job: u64,
        /// Whether it is first changed to allow this.
        allow: bool,
    },
    /// `scontrol update StartTime=now`.
    StartNow(u64),
    /// A user cancels a job: its owner, an administrator, or root (0).
    Cancel {
        /// Its number.
        job: u64,
        /// UID of the user.
        by: u32,
    },
    /// A partition goes down or up.
    PartitionUp(String, bool),
    /// Changes the time limit of a partition.
    PartitionMaxMinutes(String, u32),
    /// Creates a reservation.
    Reserve(Reservation),
    /// An administrator shortens or lengthens a reservation.
    ReservationEnds(String, Moment),
    /// An administrator deletes a reservation; Slurm refuses this while it has jobs.
    DeleteReservation(String),
}

/// Slurm's message about what it refused.
pub type NotDone = String;

impl Cluster {
    pub fn inject(&mut self, site: &Site, fault: Fault) -> Result<(), NotDone> {
        match fault {
            Fault::NextSubmission(next) => self.trouble.submissions.push_back(next),
            Fault::SlowAnswers(by) => self.trouble.slow = by,
            Fault::ControllerHangs => self.controller = Controller::Hung,
            Fault::ControllerStops => self.controller = Controller::Dead,
            Fault::ControllerKilled { forgets } => self.controller_killed(forgets),
            Fault::ControllerGoesOn => self.resume(site),
            Fault::Forget { job, goes_on } => {
                let key = self.key(job)?;
                self.lose(key, goes_on);
            }
            Fault::Purge => {
                let over = self.jobs.values().filter(|job| job.state.is_over());
                for key in over.map(|job| job.key).collect::<Vec<Key>>() {
                    self.forget(key);
                }
            }
            Fault::NodeCut(name) => self.node_gone(&name, Health::Cut(self.now))?,
            Fault::NodeDies(name) => self.node_gone(&name, Health::Dead(self.now))?,
            Fault::NodeReturns(name) => self.node_returns(&name)?,
            Fault::NodeDrained(name) => self.serve(&name, Service::Drained("maintenance".to_owned()))?,
            Fault::NodeDown(name) => {
                self.serve(&name, Service::Down("maintenance".to_owned()))?;
                self.lose_jobs_of(&name, true);
            }
            Fault::NodeResumed(name) => self.serve(&name, Service::In)?,
            Fault::PrologFails(name) => self.prolog_fails(&name)?,
            Fault::OutOfMemory(job) => {
                let key = self.key(job)?;
                self.kill_at_once(key)?;
                let code = ExitCode { code: 0, signal: 125 };
                self.end(key, Ended::OutOfMemory, code, Reason::OutOfMemory);
            }
            Fault::Preempt(job, how) => {
                let key = self.key(job)?;
                self.preempt(key, how);
            }
            Fault::Hold(job, hold) => {
                let key = self.key(job)?;
                self.hold(key, hold);
            }
            Fault::Release(job) => {
                let key = self.key(job)?;
                self.release(key);
            }
            Fault::Requeue { job, allow } => self.requeue_as_told(job, allow)?,
            Fault::StartNow(job) => {
                let key = self.key(job)?;
                if let Some(job) = self.jobs.get_mut(&key) {
                    job.not_before = None;
                }
                self.wake_scheduler();
            }
            Fault::Cancel { job, by } => self.cancel(job, by),
            Fault::PartitionUp(name, up) => {
                self.partition_mut(&name)?.up = up;
                self.wake_scheduler();
            }
            Fault::PartitionMaxMinutes(name, minutes) => {
                self.partition_mut(&name)?.max_minutes = minutes;
                self.wake_scheduler();
            }
            Fault::Reserve(reservation) => self.reserve(reservation)?,
            Fault::ReservationEnds(name, end) => self.end_of_reservation(&name, end)?,
            Fault::DeleteReservation(name) => self.delete_reservation(&name)?,
        }
        Ok(())
    }

    fn key(&self, number: u64) -> Result<Key, NotDone> {
        self.numbers.get(&number).copied().ok_or_else(|| format!("Invalid job id specified for job {number}"))
    }

    fn partition_mut(&mut self, name: &str) -> Result<&mut super::site::PartitionSpec, NotDone> {
        self.partitions
            .iter_mut()
            .find(|partition| partition.name == name)
            .ok_or_else(|| "Invalid partition name specified".to_owned())
    }

    /// All processes of a job end at once, without a message.
    fn kill_at_once(&mut self, key: Key) -> Result<(), NotDone> {
        let execution = self.jobs.get(&key).and_then(|job| job.state.execution());
        let execution = execution.ok_or_else(|| "Job/step already completing or completed".to_owned())?;
        self.runs.remove(&execution);
        self.events.push(SlurmEvent::Signalled { execution, signal: Signal::Kill, why: Why::Silent });
        Ok(())
    }

    /// The controller loses a job.
    fn lose(&mut self, key: Key, goes_on: bool) {
        if !goes_on {
            // Its node notices that the controller does not know it.
            let _ = self.kill_at_once(key);
        }
        self.forget(key);
        self.wake_scheduler();
    }

    fn controller_killed(&mut self, forgets: Duration) {
        let recent = |at: Moment, now: Moment| now - at < forgets;
        let now = self.now;
        self.controller = Controller::Dead;
        self.told.clear();
        let lost: Vec<&Job> = self.jobs.values().filter(|job| recent(job.submitted, now)).collect();
        if let Some(first) = lost.iter().map(|job| job.number).min() {
            self.next_number = self.next_number.min(first);
        }
        for key in lost.iter().map(|job| job.key).collect::<Vec<Key>>() {
            self.forget(key);
        }
        let twice: Vec<(Key, Vec<String>)> = self
            .jobs
            .values()
            .filter(|job| job.state.execution().is_some() && job.started.is_some_and(|at| recent(at, now)))
            .map(|job| (job.key, job.nodes.clone()))
            .collect();
        for (key, nodes) in twice {
            // It was started a second time, and its node reports that.
            self.requeue_held(key);
            for node in nodes {
                let _ = self.serve(&node, Service::Drained("Duplicate jobid".to_owned()));
            }
        }
    }

    /// Holds a job that could not be started. Its execution continues.
    fn requeue_held(&mut self, key: Key) {
        if let Some(execution) = self.jobs.get(&key).and_then(|job| job.state.execution()) {
            self.disown(execution);
        }
        self.requeue(key);
        if let Some(job) = self.jobs.get_mut(&key) {
            job.not_before = None;
        }
        self.hold(key, Hold::LaunchFailed);
    }

    fn serve(&mut self, name: &str, service: Service) -> Result<(), NotDone> {
        let node = self.node_mut(name).ok_or_else(|| "Invalid node name specified".to_owned())?;
        node.service = service;
        self.wake_scheduler();
        Ok(())
    }

    fn node_gone(&mut self, name: &str, health: Health) -> Result<(), NotDone> {
        let (now, patience, delay) = (self.now, self.times.slurmd_timeout, self.times.node_down_delay);
        self.node_mut(name).ok_or_else(|| "Invalid node name specified".to_owned())?.health = health;
        if matches!(health, Health::Dead(_)) {
            let dead: Vec<_> = self
                .runs
                .iter()
                .filter(|(_, run)| run.nodes.iter().any(|node| node == name))
                .map(|(execution, run)| (*execution, run.orphan, run.unheard.is_some() || !run.begun))
                .collect();
            for (execution, orphan, ended) in dead {
                if !ended {
                    let (signal, why) = (Signal::Kill, Why::Silent);
                    self.events.push(SlurmEvent::Signalled { execution, signal, why });
                }
                if orphan {
                    self.runs.remove(&execution);
                } else if let Some(run) = self.runs.get_mut(&execution) {
                    // Nothing of it is left to end or to report.
                    run.unheard = None;
                }
            }
        }
        self.at(now + patience, Timer::Silent(name.to_owned(), now));
        self.at(now + patience + delay, Timer::GivenUp(name.to_owned(), now));
        Ok(())
    }

    fn silent_since(&self, name: &str) -> Option<Moment> {
        match self.nodes.iter().find(|node| node.spec.name == name)?.health {
            Health::Well => None,
            Health::Cut(since) | Health::Dead(since) => Some(since),
        }
    }

    /// The controller notices that a node does not answer.
    pub fn on_silent(&mut self, name: &str, since: Moment) {
        if self.silent_since(name) == Some(since)
            && let Some(node) = self.node_mut(name)
        {
            node.silent = true;
        }
    }

    /// The controller gives up a node.
    pub fn on_given_up(&mut self, name: &str, since: Moment) {
        if self.silent_since(name) != Some(since) {
            return;
        }
        let _ = self.serve(name, Service::Down("Not responding".to_owned()));
        self.lose_jobs_of(name, false);
    }

    /// Requeues or ends the jobs of a node that is down. Executions that can be reached are killed.
    fn lose_jobs_of(&mut self, name: &str, reachable: bool) {
        let of_node = |job: &&Job| job.nodes.iter().any(|node| node == name);
        let busy = self.busy.iter().filter_map(|key| self.jobs.get(key));
        let lost: Vec<Key> = busy.filter(of_node).map(|job| job.key).collect();
        self.lose_jobs(lost, reachable);
    }

    fn lose_jobs(&mut self, lost: Vec<Key>, reachable: bool) {
        for key in lost {
            let Some(job) = self.jobs.get(&key) else { continue };
            let state = job.state.clone();
            let requeue = job.asked.requeue;
            if let Some(execution) = state.execution() {
                if reachable && self.is_reachable(&job.nodes) {
                    self.runs.remove(&execution);
                    let (signal, why) = (Signal::Kill, Why::NodeFailure);
                    self.events.push(SlurmEvent::Signalled { execution, signal, why });
                } else {
                    self.disown(execution);
                }
            }
            match state {
                State::Completing { afterwards: Afterwards::Ends(how), .. } => {
                    self.end_without_run(key, how, ExitCode::TERMINATED, Reason::None);
                }
                _ if requeue => self.requeue(key),
                _ => {
                    let code = ExitCode { code: 1, signal: 0 };
                    self.end_without_run(key, Ended::NodeFailed, code, Reason::NodeDown);
                }
            }
        }
    }

    /// Ends a job whose execution may continue on an unreachable node.
    fn end_without_run(&mut self, key: Key, how: Ended, exit: ExitCode, reason: Reason) {
        let kept = self
            .jobs
            .get(&key)
            .and_then(|job| job.state.execution())
            .and_then(|execution| Some((execution, self.runs.get(&execution)?.clone())));
        self.end(key, how, exit, reason);
        if let Some((execution, run)) = kept {
            self.runs.insert(execution, run);
        }
    }

    fn node_returns(&mut self, name: &str) -> Result<(), NotDone> {
        let cleanup = self.now + self.times.rejoin_cleanup;
        let node = self.node_mut(name).ok_or_else(|| "Invalid node name specified".to_owned())?;
        let was_dead = matches!(node.health, Health::Dead(_));
        node.health = Health::Well;
        node.silent = false;
        // ReturnToService=2; the wish of an administrator is kept.
        if node.service == Service::Down("Not responding".to_owned()) {
            node.service = Service::In;
        }
        if was_dead {
            // It registers without the jobs that it should have.
            self.lose_jobs_of(name, false);
            self.runs.retain(|_, run| !(run.orphan && run.nodes.iter().any(|node| node == name)));
        } else {
            // Jobs that should have started during the cut are unknown to the node.
            let here =
                self.runs.values().filter(|run| !run.begun && run.nodes.iter().any(|node| node == name));
            let never_begun: Vec<Key> = here.map(|run| run.key).collect();
            self.lose_jobs(never_begun, false);
            if self.controller == Controller::Up {
                self.hear_of_ends();
            }
            self.at(cleanup, Timer::CleanUp(name.to_owned()));
        }
        self.wake_scheduler();
        Ok(())
    }

    /// A node that is back ends executions that were given up, or that it could not be told to end.
    pub fn on_clean_up(&mut self, name: &str) {
        if self.silent_since(name).is_some() {
            return;
        }
        let here: Vec<_> = self
            .runs
            .iter()
            .filter(|(_, run)| run.nodes.iter().any(|node| node == name))
            .map(|(execution, run)| (*execution, run.key, run.orphan, run.unheard.is_some()))
            .collect();
        for (execution, key, orphan, ended) in here {
            let completing =
                matches!(self.jobs.get(&key).map(|job| &job.state), Some(State::Completing { .. }));
            if orphan {
                self.runs.remove(&execution);
                if !ended {
                    let (signal, why) = (Signal::Kill, Why::NodeFailure);
                    self.events.push(SlurmEvent::Signalled { execution, signal, why });
                }
            } else if completing {
                self.kill(execution, Why::Cancelled);
            }
        }
    }

    fn prolog_fails(&mut self, name: &str) -> Result<(), NotDone> {
        self.serve(name, Service::Drained("Prolog error".to_owned()))?;
        let begun: Option<Key> = self
            .busy
            .iter()
            .filter_map(|key| self.jobs.get(key))
            .filter(|job| job.nodes.iter().any(|node| node == name))
            .max_by_key(|job| (job.started, job.key))
            .map(|job| job.key);
        if let Some(key) = begun {
            self.kill_at_once(key)?;
            self.requeue_held(key);
        }
        Ok(())
    }

    fn requeue_as_told(&mut self, number: u64, allow: bool) -> Result<(), NotDone> {
        let key = self.key(number)?;
        let Some(job) = self.jobs.get_mut(&key) else { return Ok(()) };
        job.asked.requeue |= allow;
        if !job.asked.requeue {
            return Err(format!("Requested operation is presently disabled for job {number}"));
        }
        match job.state {
            State::Running { .. } => self.tell_to_end(key, Afterwards::Requeued, Why::Requeue),
            State::Over(_) => self.requeue(key),
            State::Pending | State::Completing { .. } | State::ReservationDeleted => {
                return Err(format!("Job is pending execution for job {number}"));
            }
        }
        Ok(())
    }

    fn reserve(&mut self, reservation: Reservation) -> Result<(), NotDone> {
        let overlaps = |other: &Reservation| {
            other.start < reservation.end
                && reservation.start < other.end
                && other.nodes.iter().any(|node| reservation.nodes.contains(node))
        };
        if self.reservations.values().any(overlaps) {
            return Err("Requested reservation overlaps with another reservation".to_owned());
        }
        let (name, start, end) = (reservation.name.clone(), reservation.start, reservation.end);
        self.reservations.insert(name.clone(), reservation);
        self.schedule_by(start.max(self.now));
        self.schedule_by(end.max(self.now));
        self.at(end + self.times.reservation_purge, Timer::ReservationOver(name));
        Ok(())
    }

    fn end_of_reservation(&mut self, name: &str, end: Moment) -> Result<(), NotDone> {
        let purge = end + self.times.reservation_purge;
        let one = self.reservations.get_mut(name).ok_or_else(|| format!("Reservation {name} not found"))?;
        one.end = end;
        self.schedule_by(end.max(self.now));
        self.at(purge.max(self.now), Timer::ReservationOver(name.to_owned()));
        Ok(())
    }

    fn delete_reservation(&mut self, name: &str) -> Result<(), NotDone> {
        if !self.reservations.contains_key(name) {
            return Err(format!(
                "delete_reservation ReservationName={name}: Requested reservation is invalid"
            ));
        }
        let wanted = self
            .pending
            .iter()
            .chain(&self.busy)
            .filter_map(|key| self.jobs.get(key))
            .any(|job| job.asked.reservations.iter().any(|other| other == name));
        if wanted {
            return Err(format!(
                "delete_reservation ReservationName={name}: Requested reservation is in use"
            ));
        }
        self.reservations.remove(name);
        self.wake_scheduler();
        Ok(())
    }

    /// A reservation is removed some time after its end: its running jobs end, its waiting jobs never start.
    pub fn on_reservation_over(&mut self, name: &str) {
        let over = self.now;
        if self.reservations.get(name).is_none_or(|one| one.end + self.times.reservation_purge > over) {
            return;
        }
        self.reservations.remove(name);
        let of = |job: &&Job| job.asked.reservations.iter().any(|other| other == name);
        let busy: Vec<Key> =
            self.busy.iter().filter_map(|key| self.jobs.get(key)).filter(of).map(|job| job.key).collect();
        let pending: Vec<Key> =
            self.pending.iter().filter_map(|key| self.jobs.get(key)).filter(of).map(|job| job.key).collect();
        for key in busy {
            self.tell_to_end(key, Afterwards::Ends(Ended::TimedOut), Why::Cancelled);
        }
        for key in pending {
            let Some(job) = self.jobs.get_mut(&key) else { continue };
            job.asked.reservations.retain(|other| other != name);
            if !job.asked.reservations.is_empty() {
                continue;
            }
            job.state = State::ReservationDeleted;
            job.reason = Reason::ReservationDeleted(name.to_owned());
            self.pending.remove(&key);
            self.account(key);
        }
        self.wake_scheduler();
    }

    /// An inconsistency of the state, if there is one; tests check this after each step.
    pub fn contradiction(&self) -> Option<String> {
        for node in &self.nodes {
            let here = || {
                self.busy
                    .iter()
                    .filter_map(|key| self.jobs.get(key))
                    .filter(|job| job.nodes.contains(&node.spec.name))
            };
            let cpus: u32 = here().map(|job| job.asked.cpus).sum();
            let memory: u64 = here().map(|job| job.asked.memory_mib).sum();
            let name = &node.spec.name;
            if (cpus, memory) != (node.cpus_used, node.memory_used) {
                return Some(format!("{name} counts {} CPUs, its jobs have {cpus}", node.cpus_used));
            }
            if cpus > node.spec.cpus || memory > node.spec.memory_mib {
                return Some(format!("{name} has more jobs than it has place for"));
            }
        }
        for job in self.jobs.values() {
            let (key, number) = (job.key, job.number);
            let execution = job.state.execution();
            if execution.is_some() != self.busy.contains(&key) {
                return Some(format!(
                    "job {number} is {} and has nodes, or the other way round",
                    job.state.word()
                ));
            }
            if (job.state == State::Pending) != self.pending.contains(&key) {
                return Some(format!("job {number} is {} and stands in the queue, or not", job.state.word()));
            }
            if execution.is_some() && job.nodes.len() != job.asked.nodes as usize {
                return Some(format!(
                    "job {number} wanted {} nodes and has {:?}",
                    job.asked.nodes, job.nodes
                ));
            }
            let allowed = |name: &String| {
                !job.asked.exclude.contains(name)
                    && self
                        .partition(&job.asked.partition)
                        .is_some_and(|partition| partition.nodes.is_empty() || partition.nodes.contains(name))
            };
            if execution.is_some() && !job.nodes.iter().all(allowed) {
                return Some(format!(
                    "job {number} runs on {}",
                    node_list(job.nodes.iter().map(String::as_str))
                ));
            }
            if let Some(execution) = execution
                && self.runs.get(&execution).is_none_or(|run| run.key != key || run.orphan)
            {
                return Some(format!("job {number} runs, and nothing is executed"));
            }
            if job.state.is_over() != job.ended.is_some() {
                return Some(format!("job {number} is {}, and ended at {:?}", job.state.word(), job.ended));
            }
            let old = job
                .ended
                .is_some_and(|ended| self.now - ended > self.times.min_job_age + self.times.purge_step);
            if old && self.controller == Controller::Up {
                return Some(format!("job {number} should have been forgotten"));
            }
        }
        None
    }
}
