//! Variables whose work is a Slurm job of their own (`job=`): what their command is given, and where its outcome goes.
//!
//! The command is a task without steps. Its outcome is handed to the task that calls the function, and stands in the ledger
//! with it, in the transaction that ends the command's task.

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use amore_model::{Argument, Dependency, JobId, JobOutcome, Notice, Piece, Proposal, Run, pieces};
use amore_plan::{Pattern, PlannedJob};
use amore_results::{Answer, Scalar, StoredOutcome, answered, read_scalar};
use amore_wire::{
    ended::Ended,
    task::{Command, Task},
};

use super::{
    after_command::{AfterCommand, after_command},
    after_job::JobEnd,
    job_over::named,
    memory,
    session::Session,
    tasks::{Common, TaskRecord},
    tracker::{TaskMove, TaskState},
};
use crate::{database_dir::DatabaseDir, site};

/// Lines of the log that are told.
const TAIL_LINES: usize = 20;
/// As much of them as is told.
const TAIL_BYTES: u64 = 8 * 1024;

/// A command that is to be executed, or why it is not.
enum Prepared {
    Ready(Command),
    /// A value that the function needs is missing: called without an outcome, it says which.
    NotNow,
    /// It cannot be; class and message of the variable's error.
    Refused(&'static str, String),
}

/// Folders and files that a command is told of, by placeholder.
fn places(
    dir: &DatabaseDir,
    (proposal, run): (Proposal, Run),
    variable: &str,
) -> BTreeMap<&'static str, String> {
    let root = proposal_dir(dir, proposal);
    let text = |path: PathBuf| path.display().to_string();
    BTreeMap::from([
        ("run", run.to_string()),
        ("proposal", proposal.to_string()),
        ("raw_dir", text(root.join("raw").join(run.directory_name()))),
        ("proc_dir", text(root.join("proc").join(run.directory_name()))),
        ("proposal_dir", text(root)),
        ("run_file", text(dir.run_file(proposal, run))),
        ("directory", text(dir.job_directory(proposal, run, variable))),
    ])
}

/// The proposal's root: where its data are, else what the database directory is in.
fn proposal_dir(dir: &DatabaseDir, proposal: Proposal) -> PathBuf {
    site::find_proposal(proposal).unwrap_or_else(|_| {
        let usr = dir.path().ancestors().find(|folder| folder.ends_with("usr"));
        usr.and_then(Path::parent).unwrap_or(dir.path()).to_owned()
    })
}

fn prepare(common: &Common, task: &TaskRecord, job: &PlannedJob) -> Prepared {
    let key = (task.proposal, task.run);
    let answers = match answered(&common.dir.extracted_data(), key.0, key.1, task.stamp) {
        Ok(answers) => answers,
        Err(error) => {
            return Prepared::Refused("JobFailed", format!("its dependencies cannot be read: {error}"));
        }
    };
    let has_value =
        |name: &str| answers.get(name).is_some_and(|answer| answer.outcome == StoredOutcome::Value);
    for argument in &job.arguments {
        let missing = match argument.dependency() {
            Dependency::Variable(of) => {
                let pattern = Pattern::new(of);
                // Transient values are in no file; the function's task sees to them.
                let mut stored =
                    task.planned.given.iter().filter(|name| *name == of || pattern.matches(name)).peekable();
                stored.peek().is_some() && !stored.any(|name| has_value(name))
            }
            // Nothing gives values for these yet.
            Dependency::Parameter(_) | Dependency::Mymdc(_) => true,
            _ => false,
        };
        if missing && !argument.has_default {
            return Prepared::NotNow;
        }
    }
    let places = places(&common.dir, key, &job.variable);
    let mut known: HashMap<&str, String> = HashMap::new();
    let mut words = Vec::with_capacity(job.spec.command.len());
    for word in &job.spec.command {
        let Ok(found) = pieces(word) else {
            return Prepared::Refused(
                "ValueError",
                format!("the word {word:?} of the command cannot be read"),
            );
        };
        let mut text = String::new();
        for piece in found {
            match piece {
                Piece::Text(part) => text.push_str(part),
                Piece::Placeholder(name) => match places.get(name).or_else(|| known.get(name)) {
                    Some(value) => text.push_str(value),
                    None => match value(common, task, job, name, &answers, &places) {
                        Ok(value) => {
                            text.push_str(&value);
                            known.insert(name, value);
                        }
                        Err(why) => return Prepared::Refused("TypeError", why),
                    },
                },
            }
        }
        if text.contains('\0') {
            return Prepared::Refused(
                "ValueError",
                format!("an argument of the command would hold NUL: {text:?}"),
            );
        }
        words.push(text);
    }
    let environment = places
        .iter()
        .map(|(name, value)| (format!("AMORE_{}", name.to_uppercase()), value.clone()))
        .chain([("AMORE_VARIABLE".to_owned(), job.variable.clone())])
        .collect();
    let working_directory = common.context.path.parent().unwrap_or(common.dir.path()).to_owned();
    if let Some(program) = words.first_mut()
        && let Some(elsewhere) = beside_the_target(program, &working_directory, &common.context.folders)
    {
        *program = elsewhere;
    }
    Prepared::Ready(Command {
        variable: job.variable.clone(),
        words,
        environment,
        working_directory,
        own_directory: common.dir.job_directory(key.0, key.1, &job.variable),
    })
}

/// Where the context file is a link, its programs may lie beside the target.
fn beside_the_target(program: &str, working_directory: &Path, folders: &[PathBuf]) -> Option<String> {
    if !program.contains('/') || program.starts_with('/') || working_directory.join(program).exists() {
        return None;
    }
    let found = folders.iter().map(|folder| folder.join(program)).find(|path| path.exists())?;
    Some(found.display().to_string())
}

/// What a placeholder gets that names an argument.
fn value(
    common: &Common,
    task: &TaskRecord,
    job: &PlannedJob,
    placeholder: &str,
    answers: &BTreeMap<String, Answer>,
    places: &BTreeMap<&str, String>,
) -> Result<String, String> {
    let argument: Option<&Argument> = job.arguments.iter().find(|argument| argument.name == placeholder);
    let default = || {
        job.spec.defaults.get(placeholder).cloned().ok_or_else(|| {
            format!("the command asks for {{{placeholder}}}, which has no value, and no default that is a number or a text")
        })
    };
    match argument.map(Argument::dependency) {
        Some(Dependency::Variable(name)) => {
            let Some(answer) = answers.get(name).filter(|answer| answer.outcome == StoredOutcome::Value)
            else {
                return default();
            };
            let unreadable = |error| format!("the value of {name} cannot be read: {error}");
            let read = match read_scalar(&answer.path, name) {
                // A fragment that was collected meanwhile: the run's file has it.
                Err(_) if !answer.path.exists() => {
                    read_scalar(&common.dir.run_file(task.proposal, task.run), name).map_err(unreadable)?
                }
                other => other.map_err(unreadable)?,
            };
            match read {
                Scalar::Text(text) => Ok(text),
                Scalar::Nothing => default(),
                Scalar::Other(what) => Err(format!(
                    "the command asks for {{{placeholder}}}, but {name} is {what}, and an argument is one number or text\n\
                     have the command read it from {{run_file}}, or depend on a variable that returns what is needed"
                )),
            }
        }
        Some(Dependency::Meta("run_number")) => Ok(places["run"].clone()),
        Some(Dependency::Meta("proposal")) => Ok(places["proposal"].clone()),
        Some(Dependency::Meta(_)) => Ok(places["proposal_dir"].clone()),
        _ => default(),
    }
}

impl Session<'_> {
    /// What a worker is given for the next attempt at a task; `None` when nothing is left to do.
    pub(super) fn wire(&mut self, position: usize, attempt: u32) -> Option<Task> {
        let task = &self.tasks[position];
        let common = &self.requests[task.request].common;
        let Some(job) = &task.planned.job else {
            let mut wire = task.to_wire(common, attempt)?;
            // The file says of these only that they have no value.
            for name in &task.planned.given {
                if let Some(how) = self.failure_of(position, name) {
                    wire.ended.entry(name.clone()).or_insert(how);
                }
            }
            return Some(wire);
        };
        // There are no data for it; its function says so.
        if common.mock {
            return None;
        }
        match prepare(common, task, job) {
            Prepared::Ready(command) => {
                let log = common.dir.command_log(task.proposal, task.run, &command.variable);
                Some(Task { command: Some(command), log, ..task.wire_of(common, attempt) })
            }
            Prepared::NotNow => {
                let words = "not executed: what it depends on has no value".to_owned();
                self.story(position, "command", words);
                None
            }
            Prepared::Refused(class, message) => {
                self.deliver_error(position, class, message);
                None
            }
        }
    }

    /// How a variable of another task failed, or why it was skipped.
    fn failure_of(&self, position: usize, name: &str) -> Option<Ended> {
        let task = &self.tasks[position];
        let of_run = self.by_run.get(&(task.proposal, task.run)).map(Vec::as_slice).unwrap_or_default();
        let outcome = of_run
            .iter()
            .map(|&other| &self.tasks[other])
            .filter(|other| other.request == task.request)
            .find_map(|other| other.results.outcomes.get(name))?;
        outcome.without_value().filter(|how| *how != Ended::Nothing)
    }

    /// Is the same command under way for another request? They would share the directory.
    pub(super) fn command_is_under_way(&self, position: usize) -> bool {
        let task = &self.tasks[position];
        let Some(job) = &task.planned.job else { return false };
        let same = |state: &TaskState| matches!(state, TaskState::Running { .. } | TaskState::InJob { .. });
        self.positions((task.proposal, task.run), same).into_iter().any(|other| {
            other != position
                && self.tasks[other].planned.job.as_ref().is_some_and(|other| other.variable == job.variable)
        })
    }

    /// The worker says how the command of a task ended. That the task has ended it says next.
    pub(super) fn on_command_ended(&mut self, id: &str, outcome: JobOutcome) {
        if let Some(&position) = self.by_id.get(id)
            && matches!(self.tasks[position].state, TaskState::Running { .. } | TaskState::InJob { .. })
        {
            let cluster = self.tasks[position].state.job().and_then(|job| job.cluster.clone());
            let outcome = JobOutcome { cluster, ..outcome };
            self.deliver(position, outcome);
        }
    }

    /// The job of a command is over, and its worker has not said how the command ended.
    pub(super) fn judge_command(&mut self, position: usize, end: &JobEnd, job: Option<&JobId>) {
        let task = &mut self.tasks[position];
        let run = task.run;
        match after_command(end, &mut task.journey.tries) {
            AfterCommand::Again { leave_reservation } => {
                task.journey.leave_reservation |= leave_reservation;
                let words = format!("{} {end}; the command is submitted again", named(job));
                self.story(position, "job over", words.clone());
                self.tell_once(position, Notice::note(format!("run {run}: {words}")));
                self.advance(position, TaskMove::JobOver);
                self.line_up(position);
            }
            AfterCommand::Ended { state, reason, exit_code, signal } => {
                let began = task.journey.began;
                let outcome = JobOutcome {
                    state,
                    reason,
                    exit_code,
                    signal,
                    elapsed: began.map_or(0.0, |began| (memory::now() - began).max(0.0)),
                    ..self.unseen_outcome(position, job)
                };
                self.deliver(position, outcome);
                self.end_task(position, None);
            }
        }
    }

    /// The user ends a command: that is its variable's error.
    pub(super) fn command_is_cancelled(&mut self, position: usize, job: Option<&JobId>) {
        if self.tasks[position].planned.job.is_some() {
            let outcome = JobOutcome {
                state: "CANCELLED".to_owned(),
                reason: "by amore cancel".to_owned(),
                ..self.unseen_outcome(position, job)
            };
            self.deliver(position, outcome);
        }
    }

    /// Does a task wait for a command among these? Then it tells its variable's error, and is not cancelled itself.
    pub(super) fn tells_of_a_command(&self, position: usize, cancelled: &[usize]) -> bool {
        match &self.tasks[position].state {
            TaskState::Waiting { on } => {
                on.iter().any(|other| self.tasks[*other].planned.job.is_some() && cancelled.contains(other))
            }
            _ => false,
        }
    }

    /// What can be said of a job whose worker says nothing.
    fn unseen_outcome(&self, position: usize, job: Option<&JobId>) -> JobOutcome {
        let task = &self.tasks[position];
        let dir = &self.setup.dir;
        let variable = task.planned.job.as_ref().map(|job| job.variable.as_str()).unwrap_or_default();
        let mark = task.journey.log_mark.as_deref();
        let log = match job {
            None => dir.command_log(task.proposal, task.run, variable),
            Some(job) => dir.slurm_log(task.proposal, task.run, job.number, mark),
        };
        JobOutcome {
            id: job.map(|job| job.number.to_string()),
            cluster: job.and_then(|job| job.cluster.clone()),
            state: "UNKNOWN".to_owned(),
            reason: String::new(),
            exit_code: None,
            signal: None,
            directory: dir.job_directory(task.proposal, task.run, variable),
            tail: tail(&log).unwrap_or_default(),
            log: Some(log).filter(|log| log.exists()),
            elapsed: 0.0,
        }
    }

    /// Hands the outcome of a command on; a failure is the error of its variable, unless it wants to see that itself.
    fn deliver(&mut self, position: usize, outcome: JobOutcome) {
        let Some(job) = &self.tasks[position].planned.job else { return };
        let how = (job.spec.check && !outcome.is_success()).then(|| Ended::Error {
            class: outcome.error_class().to_owned(),
            message: outcome.error_message(),
        });
        self.story(position, "command", outcome.to_string());
        self.hand_on(position, Some(outcome), how);
    }

    /// The command was not executed at all: its variable gets this error.
    pub(super) fn deliver_error(&mut self, position: usize, class: &str, message: String) {
        let first = message.lines().next().unwrap_or_default().to_owned();
        self.story(position, "command", format!("not executed: {first}"));
        self.hand_on(position, None, Some(Ended::Error { class: class.to_owned(), message }));
    }

    /// The command cannot be executed, and its task is over.
    pub(super) fn give_up_command(&mut self, position: usize, class: &str, message: &str) {
        self.deliver_error(position, class, message.to_owned());
        if matches!(self.tasks[position].state, TaskState::Ready { .. }) {
            self.advance(position, TaskMove::Dispatched);
        }
        self.end_task(position, None);
    }

    fn hand_on(&mut self, position: usize, outcome: Option<JobOutcome>, how: Option<Ended>) {
        let task = &self.tasks[position];
        let (request, key) = (task.request, (task.proposal, task.run));
        let Some(variable) = task.planned.job.as_ref().map(|job| job.variable.clone()) else { return };
        for other in self.positions(key, |state| matches!(state, TaskState::Waiting { .. })) {
            let task = &mut self.tasks[other];
            if task.request != request || task.planned.job.is_some() {
                continue;
            }
            if let Some(outcome) = &outcome {
                task.journey.outcomes.insert(variable.clone(), outcome.clone());
            }
            let calls_it = task.planned.steps.iter().any(|step| step.name == variable);
            if let Some(how) = how.as_ref().filter(|_| calls_it) {
                task.journey.give_up.insert(variable.clone(), how.clone());
            }
            // In one transaction with the end of the command's task.
            if task.recorded
                && !self.interrupted
                && let Some(memory) = &mut self.memory
            {
                let state = task.state.clone();
                memory.moved(task, &state);
            }
        }
    }
}

/// The last lines of a log.
fn tail(log: &Path) -> io::Result<String> {
    let mut file = File::open(log)?;
    let end = file.metadata()?.len();
    file.seek(SeekFrom::Start(end.saturating_sub(TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    Ok(lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n"))
}
