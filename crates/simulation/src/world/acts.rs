//! Applies the acts of a scenario to the world, and undoes them.

use std::{collections::BTreeSet, time::Duration};

use amore_core::{Input, request::Request, task_state::WorkerNo};
use amore_model::JobId;
use amore_slurm::token::tokens_in;

use super::{
    BEGIN, Happening, World,
    coordinator::request_of,
    process::{End, Role},
    scenario::{Act, CLUSTERS, JobFault, NODES, RESERVATION},
    service::{Message, event_id, subject},
    shell::USER,
};
use crate::slurm::{AccountingFault, Fault, Health, Limits, Reservation, State};

/// Reverts an act.
#[derive(Debug)]
pub(super) enum Undo {
    Resume(u32),
    ResumeService(u32),
    Slurm { cluster: usize, fault: Fault },
    Accounting(AccountingFault),
    Description,
    Limit,
}

/// Time between the end of all faults and the first look of a user.
const CALM: Duration = Duration::from_secs(5);
/// A worker's messages of this age have been read.
const HEARD: Duration = Duration::from_secs(4);
/// How long a job is held.
const HELD: Duration = Duration::from_secs(40);

impl World {
    /// Schedules all acts of the scenario.
    pub(super) fn schedule_acts(&mut self) {
        if self.scenario.service {
            self.start_service(0);
            self.start_service(1);
        }
        let mut last = Duration::ZERO;
        for index in 0..self.scenario.acts.len() {
            let at = self.scenario.acts[index].0;
            last = last.max(at + lasts(&self.scenario.acts[index].1));
            self.schedule(BEGIN + at, Happening::Act(index));
        }
        self.schedule(BEGIN + last + CALM, Happening::Calm);
    }

    fn undo_after(&mut self, after: Duration, undo: Undo) {
        self.schedule(self.now + after, Happening::Undo(undo));
    }

    pub(super) fn do_act(&mut self, index: usize) {
        let Some((_, act)) = self.scenario.acts.get(index).cloned() else { return };
        self.story.tell(self.now, "world", || format!("{act:?}"));
        let now = self.now;
        match act {
            Act::Reprocess { host, runs } => {
                if !runs.is_empty() {
                    self.run_command(host, Some(request_of(runs)));
                }
            }
            Act::Follow => {
                self.run_command(0, None);
            }
            Act::CancelRun(run) => self.cancel_named(JobId::on(None, u64::from(run))),
            Act::CancelJob(nth) => {
                if let Some((cluster, number)) = self.nth_job(nth) {
                    let cluster = self.scenario.two_clusters.then_some(cluster);
                    self.cancel_named(JobId { cluster, number });
                }
            }
            Act::Interrupt(nth) => self.interrupt(nth),
            Act::Kill(nth) => {
                let Some(number) = self.nth_process(nth) else { return };
                match self.service_of(number) {
                    Some(service) => self.end_service(service, true),
                    None => self.end(number, End::Killed),
                }
            }
            Act::KillService(host) => {
                if let Some(service) = self.service_on(host) {
                    self.end_service(service, true);
                }
            }
            Act::RestartService(host) => {
                if let Some(service) = self.service_on(host) {
                    self.stop_service(service);
                }
            }
            Act::SuspendService(host, time) => {
                if let Some(service) = self.service_on(host) {
                    self.suspend_service(service);
                    self.undo_after(time, Undo::ResumeService(service));
                }
            }
            Act::Data { run, data, pieces, every } => {
                for piece in 0..pieces {
                    self.schedule(now + every * piece, Happening::Grow((run, data)));
                }
            }
            Act::Event { id, about, complete } => {
                let message = Message {
                    id: event_id(id),
                    subject: about.subject(),
                    complete,
                    forced: false,
                    only: BTreeSet::new(),
                };
                self.send(message);
            }
            Act::Trigger(run, data) => {
                let id = format!("trigger {}", self.scheduled);
                self.send(Message {
                    id,
                    subject: Some(subject((run, data))),
                    complete: true,
                    forced: true,
                    only: BTreeSet::new(),
                });
            }
            Act::Unlistable(time) => self.facility.unlistable_until = now + time,
            Act::OtherBroken(time) => self.facility.other_broken_until = now + time,
            Act::Suspend(nth, time) => {
                if let Some(number) = self.nth_process(nth)
                    && let Some(service) = self.service_of(number)
                {
                    self.suspend_service(service);
                    self.undo_after(time, Undo::ResumeService(service));
                } else if let Some(number) = self.nth_process(nth)
                    && let Some(process) = self.processes.get_mut(&number)
                    && process.suspended.is_none()
                {
                    process.suspended = Some(Vec::new());
                    self.history.suspend(number);
                    self.undo_after(time, Undo::Resume(number));
                }
            }
            Act::Edit => self.edits += 1,
            Act::WorkerDies(nth) => self.worker_dies(nth),
            Act::WorkerHangs(nth, time) => {
                if let Some(owner) = self.nth_process(nth).and_then(|number| self.owner_of(number)) {
                    owner.worker.hangs_until = now + time;
                }
            }
            Act::JobsHang(time) => self.trouble.jobs_hang_until = now + time,
            Act::SlowDescription(by) => {
                self.trouble.description = by;
                self.undo_after(by, Undo::Description);
            }
            Act::BrokenContext(time) => self.trouble.broken_until = now + time,
            Act::LateFiles(by, time) => {
                self.trouble.late = by;
                self.trouble.late_until = now + time;
            }
            Act::FullDisk(time) => self.trouble.disk_full_until = now + time,
            Act::SlowCollector(by, time) => {
                self.trouble.collector = by;
                self.trouble.collector_until = now + time;
            }
            Act::LedgerAway(time) => self.ledger.away_until = now + time,
            Act::LedgerSlow(by, time) => {
                self.trouble.ledger_slow = by;
                self.trouble.ledger_slow_until = now + time;
            }
            Act::LedgerAnswerLost => self.ledger.lose_answer = true,
            Act::ClockJumps(host, by) => {
                if let Some(clock) = self.clocks.get_mut(host) {
                    *clock += by;
                }
            }
            Act::Reserve(time) => {
                let reservation = Reservation {
                    name: RESERVATION.to_owned(),
                    nodes: vec!["n1".to_owned()],
                    users: vec![USER.to_owned()],
                    accounts: Vec::new(),
                    start: now,
                    end: now + time,
                };
                let _ = self.slurm.inject(now, CLUSTERS[0], Fault::Reserve(reservation));
            }
            Act::EndReservation => {
                let end = Fault::ReservationEnds(RESERVATION.to_owned(), now);
                let _ = self.slurm.inject(now, CLUSTERS[0], end);
            }
            Act::DeleteReservation => {
                let delete = Fault::DeleteReservation(RESERVATION.to_owned());
                let _ = self.slurm.inject(now, CLUSTERS[0], delete);
            }
            // Commands that start later have the new version.
            Act::Upgrade => {}
            Act::Slurm { cluster, fault, undone } => {
                let name = CLUSTERS.get(cluster).copied().unwrap_or_default();
                let _ = self.slurm.inject(now, name, fault);
                if let Some((after, fault)) = undone {
                    self.undo_after(after, Undo::Slurm { cluster, fault });
                }
            }
            Act::Job(nth, fault) => self.job_fault(nth, fault),
            Act::Accounting(fault, time) => {
                self.slurm.inject_into_accounting(now, fault);
                let back = match fault {
                    AccountingFault::Lags(_) => AccountingFault::CatchesUp,
                    _ => AccountingFault::Returns,
                };
                self.undo_after(time, Undo::Accounting(back));
            }
            Act::Limit(jobs, time) => {
                let limits = Limits { submitted: Some(jobs), ..Limits::default() };
                self.slurm.limit(USER, "physics", limits);
                self.undo_after(time, Undo::Limit);
            }
        }
    }

    pub(super) fn undo(&mut self, undo: Undo) {
        match undo {
            Undo::Resume(number) => self.resume(number),
            Undo::ResumeService(number) => self.resume_service(number),
            Undo::Slurm { cluster, fault } => {
                self.story.tell(self.now, "world", || format!("{fault:?}"));
                let name = CLUSTERS.get(cluster).copied().unwrap_or_default();
                let _ = self.slurm.inject(self.now, name, fault);
            }
            Undo::Accounting(fault) => self.slurm.inject_into_accounting(self.now, fault),
            Undo::Description => self.trouble.description = Duration::ZERO,
            Undo::Limit => self.slurm.limit(USER, "physics", Limits::default()),
        }
    }

    pub(super) fn resume(&mut self, number: u32) {
        let Some(process) = self.processes.get_mut(&number) else { return };
        let Some(waiting) = process.suspended.take() else { return };
        self.history.resume(number, self.now);
        self.story.tell(self.now, format!("amore {number}"), || "goes on".to_owned());
        for happening in waiting {
            self.schedule(self.now, happening);
        }
    }

    fn nth_job(&self, nth: usize) -> Option<(String, u64)> {
        let jobs = self.our_jobs();
        jobs.get(nth.checked_rem(jobs.len())?).cloned()
    }

    fn cancel_named(&mut self, named: JobId) {
        self.history.cancel(&named);
        self.run_command(0, Some(Request::Cancel(named)));
    }

    fn interrupt(&mut self, nth: usize) {
        let Some(number) = self.nth_process(nth) else { return };
        if let Some(service) = self.service_of(number) {
            return self.stop_service(service);
        }
        let Some(process) = self.processes.get_mut(&number) else { return };
        process.interrupted = true;
        match &process.role {
            Role::Owner(_) => {
                let input = Happening::ToCore { process: number, input: Box::new(Input::Stop) };
                self.schedule(self.now, input);
            }
            Role::Waiting { request, .. } => {
                let request = *request;
                if self.files.requests.get(&request).is_some_and(|file| file.taken_by.is_none()) {
                    self.files.requests.remove(&request);
                }
                self.end(number, End::Refused("stopped waiting".to_owned()));
            }
            Role::Trying => self.end(number, End::Refused("stopped before any work was started".to_owned())),
            Role::Ended(_) => {}
        }
    }

    fn worker_dies(&mut self, nth: usize) {
        let owners: Vec<u32> =
            self.processes.values().filter(|one| one.owner().is_some()).map(|one| one.number).collect();
        let Some(number) = nth.checked_rem(owners.len()).and_then(|nth| owners.get(nth)).copied() else {
            return;
        };
        let now = self.now;
        let Some(owner) = self.owner_of(number) else { return };
        let dead = owner.worker_number;
        // What the worker started has no further effect, but its earlier messages are read first.
        owner.worker_number = WorkerNo(u32::MAX);
        let at = owner.worker.last_heard().max(now) + Duration::from_millis(1);
        let input = Box::new(Input::WorkerLost { worker: dead });
        self.schedule(at, Happening::ToCore { process: number, input });
    }

    fn job_fault(&mut self, nth: usize, fault: JobFault) {
        let Some((cluster, job)) = self.nth_job(nth) else { return };
        self.story.tell(self.now, format!("job {job}"), || format!("{fault:?}"));
        let fault = match fault {
            JobFault::OutOfMemory => Fault::OutOfMemory(job),
            JobFault::Preempted(how) => Fault::Preempt(job, how),
            JobFault::Held(hold) => {
                let at = CLUSTERS.iter().position(|name| *name == cluster).unwrap_or(0);
                self.undo_after(HELD, Undo::Slurm { cluster: at, fault: Fault::Release(job) });
                Fault::Hold(job, hold)
            }
            JobFault::Requeued => Fault::Requeue { job, allow: true },
            JobFault::CancelledByRoot => {
                self.note_root_cancels(&cluster, job);
                Fault::Cancel { job, by: 0 }
            }
            JobFault::Forgotten(goes_on) => Fault::Forget { job, goes_on },
        };
        let _ = self.slurm.inject(self.now, &cluster, fault);
    }

    fn note_root_cancels(&mut self, cluster: &str, number: u64) {
        let Some(job) = self.slurm.job(cluster, number) else { return };
        let tokens = tokens_in(&job.asked.comment);
        // A held job does not count: if Slurm could not start a job again, it is over for Amore, which cancels it and
        // submits another.
        let waits = job.state == State::Pending && job.held.is_none();
        // A job on an unreachable node continues, and may report another end.
        let is_cut = |name: &String| {
            self.slurm
                .nodes(cluster)
                .iter()
                .any(|node| node.spec.name == *name && node.health != Health::Well)
        };
        let goes_on = job.nodes.iter().any(is_cut);
        let heard = self.now - HEARD;
        let counts = |token: &String| {
            // If no message of the worker was read, the job counts as taken back by Slurm, which also cancels as root. If
            // the script has ended, but a hung controller does not know it yet, the worker may have reported why.
            !self.files.reports(token, 0, heard).is_empty()
                && !goes_on
                && (waits || self.scripts.values().any(|script| script.token == *token))
        };
        self.history.root_cancelled.extend(tokens.into_iter().filter(counts));
    }

    /// Ends all faults: everything that is still broken is repaired.
    pub(super) fn become_calm(&mut self) {
        self.story.tell(self.now, "world", || "all faults are over".to_owned());
        self.calm = Some(self.now);
        let suspended: Vec<u32> = self.processes.keys().copied().collect();
        suspended.into_iter().for_each(|number| self.resume(number));
        for host in [0, 1] {
            if let Some(service) = self.service_on(host) {
                self.resume_service(service);
            }
        }
        let names: Vec<String> = self.slurm.site().clusters.iter().map(|one| one.name.clone()).collect();
        for name in names {
            let mut repairs = vec![
                Fault::ControllerGoesOn,
                Fault::SlowAnswers(Duration::ZERO),
                Fault::PartitionUp("main".to_owned(), true),
            ];
            for node in 1..=NODES {
                repairs.push(Fault::NodeReturns(format!("n{node}")));
                repairs.push(Fault::NodeResumed(format!("n{node}")));
            }
            for fault in repairs {
                let _ = self.slurm.inject(self.now, &name, fault);
            }
        }
        self.slurm.inject_into_accounting(self.now, AccountingFault::Returns);
        self.slurm.inject_into_accounting(self.now, AccountingFault::CatchesUp);
        // An administrator who looks at the queue releases held jobs.
        for (cluster, job) in self.our_jobs() {
            if self.slurm.job(&cluster, job).is_none_or(|job| job.state != State::Pending) {
                continue;
            }
            let _ = self.slurm.inject(self.now, &cluster, Fault::Release(job));
        }
        self.schedule(self.now + CALM, Happening::LastLook);
    }
}

/// Duration of a fault.
fn lasts(act: &Act) -> Duration {
    match act {
        Act::Suspend(_, time)
        | Act::WorkerHangs(_, time)
        | Act::JobsHang(time)
        | Act::SlowDescription(time)
        | Act::BrokenContext(time)
        | Act::LateFiles(_, time)
        | Act::FullDisk(time)
        | Act::SlowCollector(_, time)
        | Act::LedgerAway(time)
        | Act::LedgerSlow(_, time)
        | Act::Reserve(time)
        | Act::Accounting(_, time)
        | Act::Limit(_, time)
        | Act::SuspendService(_, time)
        | Act::Unlistable(time)
        | Act::OtherBroken(time) => *time,
        Act::Data { pieces, every, .. } => *every * *pieces,
        Act::Slurm { undone: Some((time, _)), .. } => *time,
        Act::Job(..) => HELD,
        _ => Duration::ZERO,
    }
}
