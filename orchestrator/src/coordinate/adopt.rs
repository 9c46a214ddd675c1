//! Going on where an earlier owner stopped: its open requests, from the ledger; and keeping the ledger.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    path::PathBuf,
    time::Instant,
};

use amore_ledger::{Phase, TaskRow};
use amore_model::{Notice, Run};
use amore_results::StoredOutcome;
use amore_run_table::SettingValue;
use amore_wire::task::Outcome;

use super::{
    events::{Event, Summary, count},
    ledger_place,
    memory::{Memory, RequestDetail, TaskFacts, TaskSpec},
    owner::this_process,
    session::{Listener, RequestRecord, Session},
    tasks::TaskRecord,
    tracker::{TaskMove, TaskResults, TaskState},
};
use crate::{
    collect::FragmentNote,
    dispatch::slurm::{clusters::Clusters, site_file},
    failure::Failure,
};

/// A task of the ledger that this version understands.
struct ReadableTask {
    row: TaskRow,
    spec: TaskSpec,
    facts: TaskFacts,
    /// A task that it waits for, directly or not, and that cannot be read.
    waits_in_vain: Option<String>,
}

/// The tasks of one request, sorted by whether they can be read.
struct Readable {
    tasks: Vec<ReadableTask>,
    /// The run and the id of each that cannot.
    unreadable: Vec<(Run, String)>,
}

impl Readable {
    fn of(rows: Vec<TaskRow>) -> Self {
        let mut tasks = Vec::new();
        let mut unreadable = Vec::new();
        for row in rows {
            let spec = serde_json::from_value::<TaskSpec>(row.spec.clone());
            let facts = serde_json::from_value::<TaskFacts>(row.facts.clone());
            match (spec, facts) {
                (Ok(spec), Ok(facts)) => tasks.push(ReadableTask { row, spec, facts, waits_in_vain: None }),
                (spec, facts) => {
                    let why = [spec.err(), facts.err()].into_iter().flatten().next();
                    tracing::warn!(task = row.id, ?why, "a task in the ledger cannot be read");
                    unreadable.push((row.run, row.id));
                }
            }
        }
        // Whoever waits for one of them waits in vain, and so on.
        let mut vain: BTreeMap<String, String> =
            unreadable.iter().map(|(_, id)| (id.clone(), id.clone())).collect();
        loop {
            let before = vain.len();
            for task in &mut tasks {
                if task.row.phase == Phase::Waiting
                    && task.waits_in_vain.is_none()
                    && let Some(on) = task.row.waits_for.iter().find_map(|id| vain.get(id)).cloned()
                {
                    vain.insert(task.row.id.clone(), on.clone());
                    task.waits_in_vain = Some(on);
                }
            }
            if vain.len() == before {
                return Readable { tasks, unreadable };
            }
        }
    }
}

impl<'a> Session<'a> {
    /// Takes up what earlier owners have left open.
    pub(super) async fn adopt(&mut self, display: &mut &'a mut dyn FnMut(&Event)) -> Result<(), Failure> {
        if !ledger_place::exists(&self.setup.dir) {
            return Ok(());
        }
        let memory = self.take_memory().await?;
        let (requests, rows) = memory.left_open().await?;
        let mut by_request: HashMap<String, Vec<TaskRow>> = HashMap::new();
        for row in rows {
            by_request.entry(row.request.clone()).or_default().push(row);
        }
        let mut taken = 0;
        let mut unreadable = Vec::new();
        let mut in_vain = 0;
        for row in requests {
            let id = row.request.id;
            let tasks = by_request.remove(&id).unwrap_or_default();
            let detail = match serde_json::from_value::<RequestDetail>(row.request.detail) {
                Ok(detail) => detail,
                Err(error) => {
                    tracing::warn!(id, %error, "a request in the ledger cannot be read");
                    unreadable.extend(tasks.iter().map(|task| (task.run, task.id.clone())));
                    continue;
                }
            };
            let Readable { tasks, unreadable: left } = Readable::of(tasks);
            taken += tasks.len();
            let complete = left.is_empty();
            in_vain += tasks.iter().filter(|task| task.waits_in_vain.is_some()).count();
            unreadable.extend(left);
            self.adopt_request(id, detail, tasks, complete).await?;
        }
        if !unreadable.is_empty() {
            let runs: BTreeSet<Run> = unreadable.iter().map(|(run, _)| *run).collect();
            let runs: Vec<String> = runs.iter().map(ToString::to_string).collect();
            let waiting = match in_vain {
                0 => String::new(),
                number => format!(", and {} that depend on them given up", count(number, "task")),
            };
            let message = format!(
                "{} of earlier commands cannot be read, because another version wrote the ledger: not computed{waiting}\n  hint: `amore reprocess {}` computes the runs again",
                count(unreadable.len(), "task"),
                runs.join(" ")
            );
            display(&Event::Notice(Notice::warning(message)));
        }
        if taken > 0 {
            let are = if taken == 1 { "is" } else { "are" };
            let message = format!("{} of earlier commands {are} taken up again", count(taken, "task"));
            display(&Event::Notice(Notice::note(message)));
        }
        Ok(())
    }

    async fn adopt_request(
        &mut self,
        id: String,
        detail: RequestDetail,
        rows: Vec<ReadableTask>,
        complete: bool,
    ) -> Result<(), Failure> {
        let index = self.requests.len();
        self.requests.push(RequestRecord {
            listener: Listener::Nobody,
            // One with tasks that cannot be read stays open for the version that can.
            recorded: complete.then_some(id),
            adopted: true,
            urgency: detail.urgency,
            common: detail.common,
            summary: Summary::default(),
            since: Instant::now(),
            open: BTreeMap::new(),
            told: HashSet::new(),
            finished: false,
            cut_short: false,
        });
        let first = self.tasks.len();
        let positions: HashMap<String, usize> =
            rows.iter().enumerate().map(|(at, task)| (task.row.id.clone(), first + at)).collect();
        let mut hopeless = Vec::new();
        for ReadableTask { row, spec, facts, waits_in_vain } in rows {
            let state = match (row.phase, facts.token) {
                (Phase::Waiting, _) if waits_in_vain.is_some() => TaskState::Waiting { on: [].into() },
                // What it waited for and is not open any more has ended.
                (Phase::Waiting, _) => {
                    TaskState::new(row.waits_for.iter().filter_map(|id| positions.get(id).copied()))
                }
                (Phase::Submitting | Phase::Submitted, Some(token)) => {
                    TaskState::InJob { attempt: facts.attempt, token, job: facts.job }
                }
                // The worker that ran it here is gone with its owner.
                _ => TaskState::Ready { attempt: facts.attempt + u32::from(row.phase == Phase::Running) },
            };
            let position = self.tasks.len();
            let key = (row.proposal, row.run);
            let from = state.clone();
            let ready = matches!(state, TaskState::Ready { .. });
            let (results, fragments) = self.results_of(&row.id, key, &spec);
            // They came after the directory was looked through, perhaps from an attempt that nobody listens to.
            for path in fragments {
                self.collect(FragmentNote { proposal: key.0, run: key.1, path });
            }
            self.by_id.insert(row.id.clone(), position);
            self.by_run.entry(key).or_default().push(position);
            let open = self.requests[index].open.entry(key).or_default();
            open.tasks += 1;
            self.tasks.push(TaskRecord {
                id: row.id,
                request: index,
                proposal: row.proposal,
                run: row.run,
                stamp: spec.stamp,
                planned: spec.planned,
                data: spec.data,
                forget: spec.forget,
                state,
                results,
                journey: facts.journey,
                recorded: true,
            });
            let before = match row.phase {
                Phase::Running => Some(TaskState::Running { attempt: facts.attempt }),
                Phase::Waiting if ready => Some(TaskState::Waiting { on: [].into() }),
                _ => None,
            };
            if let (Some(before), Some(memory)) = (before, &mut self.memory) {
                memory.moved(&self.tasks[position], &before);
            }
            if let TaskState::InJob { token, job, .. } = from {
                let clusters = match &mut self.memory {
                    Some(memory) => memory.take_up(&token).await?,
                    None => Clusters::Ours,
                };
                self.follow_job(position, token, job, clusters);
            }
            if let Some(on) = waits_in_vain {
                hopeless.push((position, on));
            } else if ready {
                self.line_up(position);
            }
        }
        for (position, on) in hopeless {
            let problem =
                format!("it waits for the task {on}, which another version wrote and which cannot be read");
            self.story(position, "given up", problem.clone());
            self.advance(position, TaskMove::Hopeless(problem));
            self.note_end(position);
        }
        let keys: Vec<_> = self.requests[index].open.keys().copied().collect();
        for key in keys {
            self.release_dependents(key);
        }
        self.finish_if_done(index);
        Ok(())
    }

    /// What stands in the run's file, and in fragments, of a task; and those fragments.
    fn results_of(
        &self,
        id: &str,
        (proposal, run): (amore_model::Proposal, amore_model::Run),
        spec: &TaskSpec,
    ) -> (TaskResults, BTreeSet<PathBuf>) {
        let mut results = TaskResults::default();
        let mut fragments = BTreeSet::new();
        let folder = self.setup.dir.extracted_data();
        match amore_results::answered(&folder, proposal, run, spec.stamp) {
            Ok(answers) => {
                for (name, answer) in answers {
                    if answer.is_in_fragment() {
                        fragments.insert(answer.path.clone());
                    }
                    let (class, message) = answer.error.unwrap_or_default();
                    let outcome = match answer.outcome {
                        StoredOutcome::Value => Outcome::Value,
                        StoredOutcome::Nothing | StoredOutcome::Removed => Outcome::Nothing,
                        StoredOutcome::Error => Outcome::Error { class, message },
                        StoredOutcome::Skipped => Outcome::Skipped { message },
                    };
                    results.outcomes.insert(name.clone(), outcome);
                    results.collected.insert(name);
                }
            }
            Err(error) => {
                tracing::warn!(task = id, %error, "its results cannot be read; they are computed again")
            }
        }
        (results, fragments)
    }

    /// Shows what was taken up, for a command that asks for nothing else.
    pub(super) fn show_adopted(&mut self, display: &'a mut dyn FnMut(&Event)) -> Result<(), Failure> {
        let variables = self.tasks.iter().map(|task| task.planned.own_steps().count()).sum();
        let runs = self.requests.iter().map(|request| request.open.len()).sum();
        display(&Event::Planned { runs, variables, missing: Vec::new() });
        let mut display = Some(display);
        for request in &mut self.requests {
            request.adopted = false;
            // One of them speaks for all: events carry their run.
            if let Some(display) = display.take() {
                request.listener = Listener::Here(display);
            }
        }
        Ok(())
    }

    /// The ledger, taken if it is not yet.
    pub(super) async fn take_memory(&mut self) -> Result<&mut Memory, Failure> {
        if self.memory.is_none() {
            let table = self.owner.table();
            let settings = table.settings().await.map_err(|error| Failure::from_error(&error))?;
            let id = settings.into_iter().find_map(|(key, value)| match value {
                SettingValue::Text(id) if key == "db_id" => Some(id),
                _ => None,
            });
            let (begun, term) = (self.owner.term_begun(), self.owner.term());
            let id = id.unwrap_or_default();
            let taken = Memory::take(&self.setup.dir, this_process(), begun, term, &id).await?;
            self.owner.keep_ledger(taken.lease());
            self.memory = Some(taken);
        }
        self.memory.as_mut().ok_or_else(|| Failure::new("the ledger is not there"))
    }

    /// Writes what was noted, then submits the jobs whose intent stands now. A ledger that does not answer holds up
    /// jobs, not what is computed here.
    pub(super) async fn remember(&mut self) -> Result<(), Failure> {
        let Some(memory) = &mut self.memory else { return Ok(()) };
        if !memory.is_written() {
            match memory.write().await {
                Ok(()) => self.memory_silent = false,
                Err(error) if error.is_temporary() => {
                    if !std::mem::replace(&mut self.memory_silent, true) {
                        let message =
                            format!("the ledger does not answer ({error}); jobs wait until it does");
                        let event = Event::Notice(Notice::note(message));
                        self.requests.iter_mut().for_each(|request| request.listener.tell(&event));
                    }
                    return Ok(());
                }
                Err(error) => return Err(ledger_place::failed(&error)),
            }
        }
        for order in std::mem::take(&mut self.orders) {
            self.submit(order);
        }
        let Some(memory) = &mut self.memory else { return Ok(()) };
        // What Ctrl-C cut short is not done with.
        let done = |request: &&mut RequestRecord<'_>| request.finished && !self.interrupted;
        for request in self.requests.iter_mut().filter(done) {
            if let Some(id) = request.recorded.take()
                && let Err(error) = memory.finish_request(&id).await
            {
                if !error.is_temporary() {
                    return Err(ledger_place::failed(&error));
                }
                request.recorded = Some(id);
            }
        }
        Ok(())
    }

    /// Settings of Slurm may be changed while jobs wait: the throttle, the reservation.
    pub(super) async fn refresh_settings(&mut self) -> Result<(), Failure> {
        if self.slurm.is_none() || !self.jobs.settings_are_due() {
            return Ok(());
        }
        let settings = self.owner.table().settings().await.map_err(|error| Failure::from_error(&error))?;
        // A value that cannot be meant was refused when it was set; one that came by another way changes nothing.
        let settings = settings.into_iter().collect();
        if let Ok(settings) = site_file::settings(&settings, self.setup.proposal, self.setup.dir.path()) {
            self.slurm = Some(settings);
        }
        Ok(())
    }

    /// Tasks of earlier commands that have not ended: nobody here waits for them.
    pub(super) fn adopted_and_open(&self) -> usize {
        let adopted = |task: &&TaskRecord| self.requests[task.request].adopted;
        let open = |task: &&TaskRecord| !matches!(task.state, TaskState::Ended { .. });
        self.tasks.iter().filter(adopted).filter(open).count()
    }

    /// Is everything done that somebody waits for?
    pub(super) fn is_done(&self) -> bool {
        self.incoming.is_empty()
            && self.requests.iter().all(|request| request.finished || request.adopted)
            && (self.running.is_empty() || self.requests.iter().all(|request| request.finished))
    }
}
