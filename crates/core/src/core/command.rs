//! Variables whose work is a Slurm job of their own (`job=`): their command is a task without steps, and its outcome goes
//! to the task that calls the function.
//!
//! The outcome is in the ledger with that task, in the transaction that ends the command's task.

use std::path::PathBuf;

use amore_model::{JobId, JobOutcome, JobState};
use amore_slurm::job_end::JobEnd;
use amore_wire::{ended::Ended, mymdc::MymdcValues, task::Task};

use crate::{
    after_command::{AfterCommand, after_command},
    command::CommandSpec,
    commands::NextStep,
    core::Core,
    core::dispatch::Next,
    core::job_over::job_name,
    effect::{Effect, Question},
    events::Event,
    history::HistoryKind,
    input::Prepared,
    task::TaskNo,
    task_state::{TaskMove, TaskState},
};

/// How a command ended, if its worker has not reported it.
struct Unseen {
    state: JobState,
    reason: String,
    exit_code: Option<i32>,
    signal: Option<i32>,
    elapsed: f64,
}

impl Core {
    /// The next attempt at a command.
    pub(super) fn next_attempt_at_command(&mut self, number: TaskNo, attempt: u32) -> Next {
        let Some(task) = self.tasks.get(number) else { return Next::NothingLeft };
        let common = self.requests.get(task.request).and_then(|request| request.common());
        let (Some(job), Some(common)) = (&task.planned.job, common) else { return Next::NothingLeft };
        // A mock run has no data for it; its function reports that.
        if common.mock {
            return Next::NothingLeft;
        }
        match self.commands.take_prepared(number) {
            None => {
                let spec = CommandSpec {
                    key: task.key(),
                    stamp: task.stamp,
                    job: job.clone(),
                    given: task.planned.given.clone(),
                    mymdc: MymdcValues::new(),
                    context: common.context.clone(),
                };
                let Some(mymdc) = self.mymdc_values(number) else { return Next::Asked };
                let question = Question::Command(Box::new(CommandSpec { mymdc, ..spec }));
                self.effects.push(Effect::Ask { task: number, question });
                Next::Asked
            }
            Some(Prepared::Ready(command)) => {
                let log = common.dir.command_log(task.proposal, task.run, &command.variable);
                let wire = Task { command: Some(*command), log, ..task.wire_of(common, attempt) };
                Next::Execute(Box::new(wire))
            }
            Some(Prepared::NotNow) => {
                let words = "not executed: what it depends on has no value".to_owned();
                self.note_history(number, HistoryKind::Command, words);
                Next::NothingLeft
            }
            Some(Prepared::Refused { class, message }) => {
                self.deliver_error(number, class, message);
                Next::NothingLeft
            }
        }
    }

    /// Is the same command being executed for another request? They would share the directory.
    pub(super) fn command_is_under_way(&self, number: TaskNo) -> bool {
        let Some(task) = self.tasks.get(number) else { return false };
        let Some(job) = &task.planned.job else { return false };
        let in_progress = |state: &TaskState| matches!(state, TaskState::InProgress(_));
        self.tasks.of_run(task.key(), in_progress).into_iter().any(|other| {
            let other_job = self.tasks.get(other).and_then(|task| task.planned.job.as_ref());
            other != number && other_job.is_some_and(|other| other.variable == job.variable)
        })
    }

    /// The worker reports how the command of a task ended. The end of the task is its next message.
    pub(super) fn on_command_ended(&mut self, id: &str, outcome: JobOutcome) {
        let Some(number) = self.tasks.by_id(id) else { return };
        let Some(task) = self.tasks.get(number) else { return };
        if matches!(task.state(), TaskState::InProgress(_)) && !self.commands.waits_for_log(number) {
            let cluster = task.state().job().and_then(|job| job.cluster.clone());
            self.deliver_outcome(number, JobOutcome { cluster, ..outcome });
        }
    }

    /// The job of a command is over, and its worker has not reported how the command ended.
    pub(super) fn judge_command(&mut self, number: TaskNo, end: &JobEnd, job: Option<&JobId>) {
        let Some(task) = self.tasks.get_mut(number) else { return };
        let run = task.run;
        match after_command(end, &mut task.retry.tries) {
            AfterCommand::Again { leave_reservation } => {
                task.retry.leave_reservation |= leave_reservation;
                let words = format!("{} {end}; the command is submitted again", job_name(job));
                self.note_history(number, HistoryKind::JobOver, words.clone());
                self.tell_once(number, Event::note(format!("run {run}: {words}")));
                self.advance(number, TaskMove::JobOver);
                self.enqueue(number);
            }
            AfterCommand::Ended { state, reason, exit_code, signal } => {
                let began = task.retry.began;
                let elapsed = began.map_or(0.0, |began| (self.now.unix - began).max(0.0));
                let unseen = Unseen { state, reason, exit_code, signal, elapsed };
                self.deliver_with_log(number, unseen, job, NextStep::End);
            }
        }
    }

    /// The user cancels a command: its variable gets an error. `next` follows when the end of its log is known.
    pub(super) fn cancel_command(&mut self, number: TaskNo, job: Option<&JobId>, next: NextStep) {
        let unseen = Unseen {
            state: JobState::Cancelled,
            reason: "by amore cancel".to_owned(),
            exit_code: None,
            signal: None,
            elapsed: 0.0,
        };
        self.deliver_with_log(number, unseen, job, next);
    }

    /// Is this the task of a command?
    pub(super) fn is_command(&self, number: TaskNo) -> bool {
        self.tasks.get(number).is_some_and(|task| task.planned.job.is_some())
    }

    /// Does a task wait for a command among these? Then it stores the error of the variable, and is not cancelled itself.
    pub(super) fn reports_a_command(&self, number: TaskNo, cancelled: &[TaskNo]) -> bool {
        match self.tasks.get(number).map(|task| task.state()) {
            Some(TaskState::Waiting { on }) => {
                on.iter().any(|other| self.is_command(*other) && cancelled.contains(other))
            }
            _ => false,
        }
    }

    /// Delivers the outcome of a command that its worker has not reported, once the end of its log is known.
    fn deliver_with_log(&mut self, number: TaskNo, unseen: Unseen, job: Option<&JobId>, next: NextStep) {
        let Some(task) = self.tasks.get(number) else { return };
        let dir = &self.setup.dir;
        let variable = task.planned.job.as_ref().map(|job| job.variable.as_str()).unwrap_or_default();
        let mark = task.retry.log_mark.as_deref();
        let path: PathBuf = match job {
            None => dir.command_log(task.proposal, task.run, variable),
            Some(job) => dir.slurm_log(task.proposal, task.run, job.number, mark),
        };
        let outcome = JobOutcome {
            id: job.map(|job| job.number.to_string()),
            cluster: job.and_then(|job| job.cluster.clone()),
            state: unseen.state,
            reason: unseen.reason,
            exit_code: unseen.exit_code,
            signal: unseen.signal,
            directory: dir.job_directory(task.proposal, task.run, variable),
            tail: String::new(),
            log: Some(path.clone()),
            elapsed: unseen.elapsed,
        };
        self.commands.wait_for_log(number, outcome, next);
        self.effects.push(Effect::Ask { task: number, question: Question::LogTail { path } });
    }

    /// The end of the log of a command is known, or that there is none.
    pub(super) fn on_log_tail(&mut self, number: TaskNo, tail: Option<String>) {
        let Some((outcome, next)) = self.commands.log_read(number, tail) else { return };
        self.deliver_outcome(number, outcome);
        match next {
            NextStep::End => self.end_task(number, None),
            NextStep::Cancel => self.cancel_task(number),
            NextStep::StopHere => {
                if let Some(task) = self.tasks.get(number).filter(|task| task.state().is_here()) {
                    self.worker.stop(task.id.clone());
                }
            }
        }
    }

    /// Delivers the outcome of a command. A failure is the error of its variable, unless its function checks that itself.
    fn deliver_outcome(&mut self, number: TaskNo, outcome: JobOutcome) {
        let Some(job) = self.tasks.get(number).and_then(|task| task.planned.job.as_ref()) else { return };
        let how = (job.spec.check && !outcome.is_success()).then(|| Ended::Error {
            class: outcome.error_class().to_owned(),
            message: outcome.error_message(),
        });
        self.note_history(number, HistoryKind::Command, outcome.to_string());
        self.deliver_to_dependents(number, Some(outcome), how);
    }

    /// The command was not executed at all: its variable gets this error.
    fn deliver_error(&mut self, number: TaskNo, class: &str, message: String) {
        let first = message.lines().next().unwrap_or_default().to_owned();
        self.note_history(number, HistoryKind::Command, format!("not executed: {first}"));
        self.deliver_to_dependents(number, None, Some(Ended::Error { class: class.to_owned(), message }));
    }

    /// The command cannot be executed, and its task is over.
    pub(super) fn give_up_command(&mut self, number: TaskNo, class: &str, message: &str) {
        self.deliver_error(number, class, message.to_owned());
        if self.tasks.get(number).is_some_and(|task| task.state().is_ready()) {
            self.end_without_work(number);
        } else {
            self.end_task(number, None);
        }
    }

    fn deliver_to_dependents(&mut self, number: TaskNo, outcome: Option<JobOutcome>, how: Option<Ended>) {
        let Some(task) = self.tasks.get(number) else { return };
        let (request, key) = (task.request, task.key());
        let Some(variable) = task.planned.job.as_ref().map(|job| job.variable.clone()) else { return };
        for other in self.tasks.of_run(key, TaskState::is_waiting) {
            let Some(task) = self.tasks.get_mut(other) else { continue };
            if task.request != request || task.planned.job.is_some() {
                continue;
            }
            if let Some(outcome) = &outcome {
                task.retry.outcomes.insert(variable.clone(), outcome.clone());
            }
            let calls_it = task.planned.steps.iter().any(|step| step.name == variable);
            if let Some(how) = how.as_ref().filter(|_| calls_it) {
                task.retry.give_up.insert(variable.clone(), how.clone());
            }
            // In one transaction with the end of the command's task.
            let state = task.state().clone();
            self.note_move(other, &state);
        }
    }
}
