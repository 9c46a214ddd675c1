//! The rules, which are checked after each step, when a command ends, and when all faults are over.

use std::time::Duration;

use amore_core::{
    events::Event,
    request::{Compute, Request, Runs},
};
use amore_intake::ArrivedData;
use amore_model::Run;
use amore_slurm::{job_status::JobStatus, token::tokens_in};
use amore_wire::task::{Outcome, Task};

use super::{
    Happening, PROPOSAL, World,
    coordinator::request_of,
    files::{Call, Stored},
    process::{End, Role},
    scenario::{Act, Behaviour},
};
use crate::slurm::{Job, State};

/// How often a user checks whether everything has ended.
const LOOK: Duration = Duration::from_secs(5);
/// Results that have been stored for this long are known to the coordinator.
const KNOWN: Duration = Duration::from_secs(4);
/// A job that waits for longer than this must have been reported.
const TOLD: Duration = Duration::from_secs(90);
/// No task gets more jobs than this: one, 20 after faults of the site, and a few more for memory, time limits, and jobs that
/// were lost.
const MOST_JOBS: usize = 30;
/// Everything must have ended within this time after the last fault.
const PATIENCE: Duration = Duration::from_secs(3 * 3600);

impl World {
    /// Called when a process writes under this epoch.
    pub(super) fn check_still_owner(&mut self, number: u32, epoch: u64, what: &str) {
        self.check_is_latest(number, epoch, self.owner.epoch, what);
    }

    /// Called when a process writes under `epoch` while the latest owner has the epoch `latest`.
    pub(super) fn check_is_latest(&mut self, number: u32, epoch: u64, latest: u64, what: &str) {
        if epoch < latest {
            let now = latest;
            self.violate(
                "a deposed coordinator writes nothing",
                format!("process {number} of epoch {epoch} {what}, and the owner is of epoch {now}"),
            );
        }
    }

    /// Called when a command has ended by itself: its core must have forgotten everything that is finished.
    pub(super) fn check_forgotten(&mut self, number: u32, (tasks, requests): (usize, usize)) {
        let Some(owner) = self.owner_of(number) else { return };
        let left = owner.core.outcome().map(|summary| summary.tasks_left + summary.jobs_left).unwrap_or(1);
        if left == 0 && tasks + requests > 0 {
            self.violate(
                "what is finished is forgotten",
                format!("process {number} ends, and its core knows {tasks} tasks and {requests} requests"),
            );
        }
    }

    /// Called when a job is submitted: it must be neither a duplicate nor cancelled.
    pub(super) fn check_submission(&mut self, number: u32, token: &str, task: &Task) {
        let before = self.history.submitted(&task.id, task.attempt, token);
        let is_there = |job: &Job| {
            !job.state.is_over() && tokens_in(&job.asked.comment).iter().any(|of| before.contains(of))
        };
        let clusters = &self.slurm.site().clusters;
        let twice = clusters.iter().any(|cluster| self.slurm.jobs(&cluster.name).any(is_there));
        if twice {
            let words = format!(
                "{token} is submitted for attempt {} at {}: Slurm has a job of it",
                task.attempt, task.id
            );
            self.violate("no attempt is submitted twice", words);
        }
        self.check_need(token, task);
        if self.is_cancelled_by_root(&task.id) {
            let words = format!("{token} is submitted for {}, whose job root has cancelled", task.id);
            self.violate("what is cancelled is not computed", words);
        }
        if self.history.is_cancelled(task.run, task.stamp, number) {
            let words = format!("{token} is submitted for run {}, which was cancelled", task.run);
            self.violate("what is cancelled is not computed", words);
        }
    }

    /// Checks that nothing is computed that has been stored for a while.
    fn check_need(&mut self, token: &str, task: &Task) {
        // A process that is stopped, or waits for the ledger, may have decided earlier.
        let waits = |(_, act): &(Duration, Act)| matches!(act, Act::LedgerAway(_) | Act::LedgerSlow(..));
        if self.history.is_disturbed(self.now) || self.scenario.acts.iter().any(waits) {
            return;
        }
        let collector = |(_, act): &(Duration, Act)| match act {
            Act::SlowCollector(by, _) => *by,
            _ => Duration::ZERO,
        };
        // Only the task's own run waits for results that are being collected.
        let known = KNOWN + self.scenario.acts.iter().map(collector).max().unwrap_or_default();
        let steps = task.steps.iter().filter(|step| !step.again && !step.transient);
        let key = (task.proposal, task.run);
        let mut stored =
            steps.filter(|step| self.files.is_stored(key, &step.name, task.stamp, self.now - known));
        if let Some(step) = stored.next() {
            let words = format!("{token} is to compute {} of run {}, which is stored", step.name, task.run);
            self.violate("nothing is computed twice without need", words);
        }
    }

    /// Whether root has cancelled an earlier job of a task, and the job ended because of that.
    fn is_cancelled_by_root(&self, task: &str) -> bool {
        let tokens = self.history.tokens_of(task);
        let is_it = |job: &Job| {
            job.state.word() == "CANCELLED"
                && tokens_in(&job.asked.comment).iter().any(|token| {
                    tokens.contains(&token.as_str()) && self.history.root_cancelled.contains(token)
                })
        };
        self.slurm.site().clusters.iter().any(|cluster| self.slurm.jobs(&cluster.name).any(is_it))
    }

    /// Called when a user was told that a run is done: the stored results must be from that request or a later one.
    pub(super) fn check_run_ended(&mut self, asker: u32, run: Run) {
        let Some(since) = self.history.planned.get(&asker).copied() else { return };
        let Some(file) = self.files.run_file((PROPOSAL, run)) else { return };
        // A variable may only be skipped if it skips itself, or if a dependency has no value.
        let has_value = |need: &String, of: &Stored| {
            file.get(need).is_some_and(|one| one.outcome == Outcome::Value && one.stamp == of.stamp)
        };
        let skipped = self.scenario.variables.iter().find(|variable| {
            let stored = file.get(&variable.spec.name);
            let is_skipped = |stored: &&Stored| matches!(stored.outcome, Outcome::Skipped { .. });
            variable.behaviour != Behaviour::Skip
                && stored
                    .filter(is_skipped)
                    .is_some_and(|stored| variable.needs.iter().all(|need| has_value(need, stored)))
        });
        if let Some(variable) = skipped {
            let words =
                format!("{} of run {run} was skipped, and all that it needs has values", variable.spec.name);
            return self.violate("in the end every value is right", words);
        }
        let old = file.iter().find(|(_, stored)| stored.call.is_some_and(|call| call <= since));
        if let Some((name, _)) = old {
            let words = format!(
                "process {asker} was told that run {run} is done, and {name} is of an earlier request"
            );
            self.violate("no value of an older plan stands for a newer one", words);
        }
    }

    /// A user must be told about waiting jobs: how many wait, or why.
    pub(super) fn check_waits_are_told(&mut self, number: u32) {
        let since = self.now - TOLD;
        let Some(process) = self.processes.get(&number) else { return };
        let (Some(owner), Some(_)) = (process.owner(), &process.request) else { return };
        if self.history.is_disturbed(self.now) || owner.closing || owner.core.outcome().is_err() {
            return;
        }
        let clusters = &self.slurm.site().clusters;
        let jobs = clusters.iter().flat_map(|cluster| self.slurm.jobs(&cluster.name));
        let waiting = jobs.filter(|job| {
            job.state == State::Pending
                && job.submitted < since
                && tokens_in(&job.asked.comment).iter().any(|token| owner.under_way.contains(token))
        });
        let first = waiting.map(|job| (job.number, job.submitted)).next();
        let Some((job, submitted)) = first else { return };
        let is_told = self.history.waiting_shown || self.history.wait_told.is_some_and(|at| at >= submitted);
        if !is_told {
            let words =
                format!("job {job} waits since {submitted}, and process {number} has not told anybody");
            self.violate("whoever waits is told why", words);
        }
    }

    /// What is reported about an attempt's job must be about that job, and not about another one with the same number.
    pub(super) fn check_is_of(&mut self, token: &str, seen: &JobStatus) {
        if !seen.tokens.is_empty() && !seen.is_of(token) {
            let words = format!("what Slurm says of the job of {:?} is told of {token}", seen.tokens);
            self.violate("nothing is told of another job", words);
        }
    }

    /// Called when Slurm accepts a job. Without a fault that makes a job unknown, Slurm never has more jobs than allowed.
    /// And no task gets jobs without end.
    pub(super) fn check_accepted(&mut self, token: &str) {
        let jobs = self.history.accepted(token);
        if jobs > MOST_JOBS {
            let words = format!("{token} is job number {jobs} of its task");
            self.violate("retries are bounded", words);
        }
        let (in_slurm, limit) = (self.our_jobs().len(), self.scenario.concurrent_jobs);
        if in_slurm > limit && !self.scenario.may_lose_sight_of_jobs() {
            let words = format!("Slurm has {in_slurm} jobs, and concurrent_jobs is {limit}");
            self.violate("concurrent_jobs is kept", words);
        }
    }

    /// Called when a process takes the directory over from another one.
    pub(super) fn check_take_over(&mut self, number: u32, from: u32) {
        let Some(holder) = self.processes.get(&from).filter(|holder| holder.owner().is_some()) else {
            return;
        };
        let set = self.scenario.acts.iter().any(|(_, act)| matches!(act, Act::ClockJumps(..)));
        if holder.suspended.is_none() && !set && !self.history.was_suspended(from) {
            let words = format!("process {number} takes the directory from {from}, which is at work");
            self.violate("an owner that is at work is not deposed", words);
        }
    }

    pub(super) fn note_log(&mut self, message: &str) {
        if message.contains("has no move") {
            self.violate("no move of a task is illegal", message.to_owned());
        }
    }

    /// A user checks whether everything is done; first with `amore follow`, then by requesting everything once more.
    pub(super) fn last_look(&mut self) {
        if self.scenario.service && self.looks == 0 && !self.services_are_done() {
            if self.violation.is_none() {
                let at = self.now + self.pace(LOOK);
                self.schedule(at, Happening::LastLook);
            }
            return;
        }
        let busy = self.processes.values().any(|process| process.is_alive()) || self.some_job_may_end();
        let calm = self.calm.unwrap_or(self.now);
        if busy {
            if self.now - calm > PATIENCE {
                let words = self.open_in_words();
                self.violate("everything ends within bounded time", words);
                return;
            }
            self.schedule(self.now + LOOK, Happening::LastLook);
            return;
        }
        self.looks += 1;
        match self.looks {
            1 => {
                self.check_ends();
                if !self.scenario.has_faults_of_jobs()
                    && let Some(words) = self.unexpected_outcome()
                {
                    self.violate("no outcome is wrong without a fault that explains it", words);
                }
                self.run_command(0, None);
            }
            2 => {
                self.check_nothing_is_open();
                self.history.last_request = Some(Call(self.number_of_calls));
                self.run_command(0, Some(request_of(1..=self.scenario.runs)));
            }
            _ => {
                self.check_everything_is_there();
                self.over = true;
                return;
            }
        }
        self.schedule(self.now + LOOK, Happening::LastLook);
    }

    /// For each command that reported a run as done, the requested results must exist.
    fn check_ends(&mut self) {
        let mut wrong = Vec::new();
        for process in self.processes.values() {
            let (Role::Ended(End::Served(summary)), Some(Request::Compute(compute))) =
                (&process.role, &process.request)
            else {
                continue;
            };
            if summary.interrupted || process.interrupted {
                continue;
            }
            let Compute { runs: Runs::These(_), .. } = compute else { continue };
            for (_, event) in &process.told {
                let Event::RunEnded { run, problem: None, .. } = event else { continue };
                for name in self.missing_of(*run) {
                    wrong.push(format!(
                        "process {} was told that run {run} is done, and {name} has no result",
                        process.number
                    ));
                }
            }
        }
        if let Some(words) = wrong.into_iter().next() {
            self.violate("every wanted variable ends as a value, an explained error or as cancelled", words);
        }
    }

    fn missing_of(&self, run: Run) -> Vec<String> {
        let file = self.files.run_file((PROPOSAL, run));
        let has = self.data_of(run);
        let is_there = |data| if data == ArrivedData::Raw { has.raw } else { has.proc };
        let stored = self.scenario.variables.iter();
        let stored = stored.filter(|one| !one.spec.transient && is_there(one.needs_data()));
        stored
            .map(|variable| variable.spec.name.clone())
            .filter(|name| file.is_none_or(|file| !file.contains_key(name)))
            .collect()
    }

    fn check_last_command(&mut self) {
        let Some(process) = self.processes.values().next_back() else { return };
        if let Role::Ended(End::Refused(why)) = &process.role {
            let words = format!("process {}, without a fault: {why}", process.number);
            self.violate("a command without a fault is served", words);
        }
    }

    /// After `amore follow`, no task may be open, and no files may be left.
    fn check_nothing_is_open(&mut self) {
        self.check_last_command();
        let open = self.ledger.open_tasks();
        if !open.is_empty() {
            let words = format!("amore follow has ended, and the ledger has {}", open.join(", "));
            self.violate("no task is stuck", words);
        }
        let left: Vec<String> = self.files.attempts_left().into_iter().map(str::to_owned).collect();
        if !left.is_empty() {
            self.violate("what is finished is forgotten", format!("files of {} are left", left.join(", ")));
        }
        if self.files.has_fragments() {
            // From an attempt that was given up, and late. The next command collects it.
            self.story.tell(self.now, "world", || "fragments are left".to_owned());
        }
    }

    /// After the last request, every variable of every run must have the expected result, computed from the values that are
    /// stored next to it.
    fn check_everything_is_there(&mut self) {
        self.check_last_command();
        let mut wrong = self.unexpected_outcome();
        for run in 1..=self.scenario.runs {
            let key = (PROPOSAL, Run(run));
            if let Some(name) = self.missing_of(Run(run)).into_iter().next() {
                wrong.get_or_insert(format!("{name} of run {run} has no result"));
            }
            let Some(file) = self.files.run_file(key) else { continue };
            for (name, stored) in file {
                if stored.call.is_some_and(|call| Some(call) <= self.history.last_request) {
                    wrong.get_or_insert(format!("{name} of run {run} is older than the last request"));
                }
                for (input, call) in &stored.inputs {
                    let beside = file.get(input);
                    if beside.is_some_and(|one| one.stamp == stored.stamp && one.call != Some(*call)) {
                        wrong.get_or_insert(format!(
                            "{name} of run {run} was made of a value of {input} that is not the stored one"
                        ));
                    }
                }
            }
        }
        if let Some(words) = wrong {
            self.violate("in the end every value is right", words);
        }
    }

    /// A stored result that is not what its variable is expected to give.
    pub(super) fn unexpected_outcome(&self) -> Option<String> {
        let expected = self.scenario.expected();
        (1..=self.scenario.runs).find_map(|run| {
            let file = self.files.run_file((PROPOSAL, Run(run)))?;
            let (name, stored) = file.iter().find(|(name, stored)| {
                expected.get(*name).is_some_and(|how| !self.scenario.may_end_as(name, &stored.outcome, *how))
            })?;
            Some(format!("{name} of run {run} is {:?}", stored.outcome))
        })
    }

    /// Describes what has not ended.
    pub(super) fn open_in_words(&self) -> String {
        let alive = self.processes.values().filter(|process| process.is_alive());
        let alive: Vec<String> = alive.map(|process| process.name()).collect();
        let state_of = |(cluster, number): &(String, u64)| {
            let state = self.slurm.job(cluster, *number).map_or("", |job| job.state.word());
            format!("{number} ({state})")
        };
        let jobs: Vec<String> = self.our_jobs().iter().map(state_of).collect();
        let tasks = self.ledger.open_tasks();
        let cancelled = if self.history.has_cancellations() { "; something was cancelled" } else { "" };
        format!(
            "processes: {}; jobs in Slurm: {}; open tasks: {}{cancelled}",
            few(&alive),
            few(&jobs),
            few(&tasks)
        )
    }
}

/// The first few of these, and how many more there are.
fn few<T: AsRef<str>>(all: &[T]) -> String {
    let shown: Vec<&str> = all.iter().take(4).map(AsRef::as_ref).collect();
    match all.len().saturating_sub(shown.len()) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
