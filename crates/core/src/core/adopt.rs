//! Resuming the open requests of earlier owners, from the ledger.

use std::collections::{BTreeMap, BTreeSet};

use amore_model::{
    JobId, Run,
    planted::{Fault, is_on},
};
use amore_slurm::clusters::Clusters;

use crate::{
    core::Core,
    effect::{Effect, Fragment},
    events::{Event, count},
    history::HistoryKind,
    input::{LeftOpen, OpenRequest, OpenTask},
    job_asked::name_and_log,
    journal::Phase,
    request::{Listener, Request, RequestNo},
    requests::RequestRecord,
    task::{TaskDefinition, TaskNo, TaskRecord},
    task_state::{Attempt, AttemptPlace, TaskMove, TaskState},
    tasks::RunKey,
};

impl Core {
    /// Resumes what earlier owners have left open.
    pub(super) fn on_ledger_loaded(&mut self, left: LeftOpen) {
        if !self.life.is_loading_ledger() {
            return;
        }
        self.ledger_access.opened();
        let LeftOpen { requests, unreadable } = left;
        let taken: usize = requests.iter().map(|request| request.tasks.len()).sum();
        let in_vain =
            requests.iter().flat_map(|request| &request.tasks).filter(|task| task.waits_in_vain.is_some());
        let in_vain = in_vain.count();
        for request in requests {
            self.adopt_request(request);
        }
        if !unreadable.is_empty() {
            let runs: BTreeSet<Run> = unreadable.iter().map(|(run, _)| *run).collect();
            let runs: Vec<String> = runs.iter().map(ToString::to_string).collect();
            let waiting = match in_vain {
                0 => String::new(),
                number => format!(", and {} that depend on them given up", count(number, "task")),
            };
            let message = format!(
                "{} of earlier commands cannot be read, because another version wrote the ledger: they are not computed{waiting}\n  hint: `amore reprocess {}` computes the runs again",
                count(unreadable.len(), "task"),
                runs.join(" ")
            );
            self.effects.push(Effect::Tell { listener: Listener::Here, event: Event::warning(message) });
        }
        if taken > 0 {
            let message = format!("resuming {} from earlier commands", count(taken, "task"));
            self.effects.push(Effect::Tell { listener: Listener::Here, event: Event::note(message) });
        }
        self.begin_work();
    }

    fn adopt_request(&mut self, request: OpenRequest) {
        let OpenRequest { id, detail, tasks, complete } = request;
        // One with tasks that cannot be read stays open for the version that can.
        let recorded = complete.then_some(id);
        let mut record = RequestRecord::adopted(detail.urgency, detail.common, self.now.steady, recorded);
        if let Request::Compute(compute) = detail.asked {
            record.for_trigger(compute.trigger.map(|trigger| trigger.id));
        }
        let number = self.requests.add(record);
        let first = self.tasks.next_number();
        let numbers: BTreeMap<String, TaskNo> = tasks
            .iter()
            .enumerate()
            .map(|(at, task)| (task.id.clone(), TaskNo(first.0 + at as u64)))
            .collect();
        let keys: BTreeSet<RunKey> = tasks.iter().map(|task| task.key).collect();
        let mut hopeless = Vec::new();
        for task in tasks {
            hopeless.extend(self.adopt_task(number, &numbers, task));
        }
        for (task, on) in hopeless {
            let problem =
                format!("it waits for the task {on}, which another version wrote and which cannot be read");
            self.note_history(task, HistoryKind::GivenUp, problem.clone());
            self.advance(task, TaskMove::Hopeless { problem });
            self.after_end(task);
        }
        for key in keys {
            self.release_dependents(key);
            self.close_run_if_done(number, key);
        }
        self.finish_if_done(number);
    }

    /// Resumes a task. Returns it, with the task it waits for, if that one cannot be read.
    fn adopt_task(
        &mut self,
        request: RequestNo,
        numbers: &BTreeMap<String, TaskNo>,
        task: OpenTask,
    ) -> Option<(TaskNo, String)> {
        let OpenTask { id, key, phase, spec, facts, waits_for, waits_in_vain, results, fragments, attempt } =
            task;
        let state = match (phase, facts.token.clone()) {
            (Phase::Waiting, _) if waits_in_vain.is_some() => TaskState::Waiting { on: [].into() },
            // What it waited for and is not open any more has ended.
            (Phase::Waiting, _) => TaskState::new(waits_for.iter().filter_map(|id| numbers.get(id).copied())),
            (Phase::Submitting | Phase::Submitted, Some(token)) if !is_on(Fault::AdoptedAsNew) => {
                TaskState::InProgress(Attempt {
                    number: facts.attempt,
                    token,
                    place: AttemptPlace::Job { job: facts.job.clone() },
                })
            }
            // The worker that ran it here has ended with its owner.
            _ => TaskState::Ready { attempt: facts.attempt + u32::from(phase == Phase::Running) },
        };
        // They came after the directory was searched, perhaps from an attempt that was given up.
        for path in fragments {
            self.collect(Fragment { key, path });
        }
        let before = match phase {
            Phase::Running => Some(TaskState::InProgress(Attempt {
                number: facts.attempt,
                token: String::new(),
                place: AttemptPlace::Here { worker: self.worker.number() },
            })),
            Phase::Waiting if state.is_ready() => Some(TaskState::Waiting { on: [].into() }),
            _ => None,
        };
        let new = TaskDefinition {
            id,
            request,
            key,
            stamp: spec.stamp,
            planned: spec.planned,
            data: spec.data,
            forget: spec.forget,
        };
        let mut record = TaskRecord::new(new, state);
        record.results = results;
        record.retry = facts.retry;
        record.recorded = true;
        let number = self.tasks.add(record);
        if let Some(record) = self.requests.get_mut(request) {
            record.add_tasks(key, 1);
        }
        if let Some(before) = before {
            self.note_move(number, &before);
        }
        self.publish_state(number);
        let state = self.tasks.get(number)?.state().clone();
        if let Some(token) = state.job_token() {
            let (record, clusters) = attempt.unwrap_or_default();
            if !record.token.is_empty() {
                self.journal.adopt_attempt(record);
            }
            self.adopt_job(number, token.to_owned(), state.job().cloned(), clusters);
        }
        if let Some(on) = waits_in_vain {
            return Some((number, on));
        }
        if state.is_ready() {
            self.enqueue(number);
        }
        None
    }

    /// Tracks a job of an earlier owner.
    fn adopt_job(&mut self, number: TaskNo, token: String, job: Option<JobId>, clusters: Clusters) {
        let Some(task) = self.tasks.get(number) else { return };
        let cancelled = task.retry.cancelled;
        let (name, log) = name_and_log(&self.setup.dir, task.key(), task.retry.log_mark.as_deref());
        self.slurm.has_job();
        self.jobs.start(token.clone(), number);
        self.effects.push(Effect::Adopt { token: token.clone(), job, name, log, clusters });
        if cancelled {
            self.effects.push(Effect::Cancel { token });
        }
    }

    /// Shows what was resumed, for a command that only waits for it.
    pub(super) fn on_follow(&mut self) {
        let variables = self.tasks.iter().map(|(_, task)| task.planned.own_steps().count()).sum();
        let runs = self.requests.iter().map(|(_, request)| request.open_runs().count()).sum();
        let event = Event::Planned { runs, variables, missing: Vec::new() };
        self.effects.push(Effect::Tell { listener: Listener::Here, event });
        let mut listener = Listener::Here;
        for (_, request) in self.requests.iter_mut() {
            // Only one of them has the listener: events name their run.
            request.wait_for(std::mem::replace(&mut listener, Listener::Nobody));
        }
    }

    /// Tasks of earlier commands that have not ended: nobody here waits for them.
    pub(super) fn adopted_and_open(&self) -> usize {
        let is_adopted =
            |task: &TaskRecord| self.requests.get(task.request).is_some_and(RequestRecord::is_adopted);
        self.tasks.iter().filter(|(_, task)| !task.state().is_ended() && is_adopted(task)).count()
    }
}
