//! A request begins: its tasks are created, and those that can start are queued.

use amore_plan::Place;

use crate::{
    activity::Activity,
    core::Core,
    events::Event,
    history::HistoryKind,
    journal::{self, NewRequest, RequestDetail},
    planning::{Planned, why_left_out, without_slurm},
    request::{Compute, Listener, Request, RequestNo},
    requests::RequestRecord,
    task::{Common, TaskNo, TaskRecord},
    task_state::TaskState,
};

impl Core {
    pub(super) fn begin_request(&mut self, listener: Listener, compute: Compute, planned: Planned) {
        let variables = planned.variables();
        let has_jobs = planned.has_tasks_in(Place::Cluster);
        let Planned { context, plans, missing, none_known, about_table } = planned;
        let urgency = compute.urgency(plans.len());
        let common = Common {
            dir: self.setup.dir.clone(),
            context,
            python: self.setup.python.clone(),
            mock: compute.mock,
            limits: self.setup.limits,
        };
        let mut record = RequestRecord::new(listener, urgency, Some(common), self.now.steady);
        record.set_missing(missing.len());
        let trigger = compute.trigger.as_ref().map(|trigger| trigger.id.clone());
        record.for_trigger(trigger.clone());
        let request = self.requests.add(record);
        self.publish(|| Activity::RequestPlanned {
            request: request.0,
            trigger,
            runs: plans.len(),
            variables,
            missing: missing.clone(),
        });
        if none_known {
            let words = "this database has no runs yet: give run numbers, for instance 1-10";
            self.tell(request, Event::note(words));
        }
        self.tell(request, Event::Planned { runs: plans.len(), variables, missing });
        for notice in about_table {
            self.tell_of_table(&[request], notice);
        }
        if let Some((_, plan)) = plans.first() {
            for text in &plan.unmatched {
                self.tell(request, Event::warning(format!("no variable has {text:?} in its title")));
            }
            for words in without_slurm(plan, &self.setup.why_no_slurm.clone()) {
                self.tell(request, Event::note(words));
            }
        }
        for words in why_left_out(&plans, compute.selects()) {
            self.tell(request, Event::note(words));
        }
        for words in self.table_notices.take_left_behind() {
            self.tell(request, Event::warning(words));
        }
        let mut numbers = Vec::new();
        for (key, plan) in &plans {
            let stamp = self.ids.stamp(self.now);
            let records = TaskRecord::of_plan(plan, request, *key, stamp, self.tasks.next_number());
            if let Some(record) = self.requests.get_mut(request) {
                record.add_tasks(*key, records.len());
            }
            if records.is_empty() {
                let (proposal, run) = *key;
                self.tell(request, Event::RunEnded { proposal, run, problem: None });
                self.publish_run_finished(request, *key, None);
                continue;
            }
            for task in records {
                numbers.push(self.tasks.add(task));
            }
        }
        if has_jobs {
            self.record_request(request, compute, &numbers);
        }
        for number in numbers {
            self.publish_state(number);
            if self.tasks.get(number).is_some_and(|task| task.state().is_ready()) {
                self.enqueue(number);
            }
        }
        self.finish_if_done(request);
    }

    /// A request with Slurm jobs outlives this process: it goes into the ledger.
    fn record_request(&mut self, number: RequestNo, compute: Compute, numbers: &[TaskNo]) {
        let id = self.ids.request(self.now);
        let Some(request) = self.requests.get_mut(number) else { return };
        let Some(common) = request.common().cloned() else { return };
        request.record_as(id.clone());
        let detail = RequestDetail { asked: Request::Compute(compute), urgency: request.urgency(), common };
        let mut tasks = Vec::with_capacity(numbers.len());
        for at in numbers {
            let Some(task) = self.tasks.get(*at) else { continue };
            let waits_for = match task.state() {
                TaskState::Waiting { on } => {
                    on.iter().filter_map(|other| Some(self.tasks.get(*other)?.id.clone())).collect()
                }
                _ => Vec::new(),
            };
            tasks.push(journal::new_task(task, waits_for));
        }
        self.journal.add_request(NewRequest { id, created: self.now.unix, detail, tasks });
        for at in numbers {
            let Some(task) = self.tasks.get_mut(*at) else { continue };
            task.recorded = true;
            let place = match task.planned.place {
                Place::Local => "here",
                Place::Cluster => "in a Slurm job",
            };
            let words = format!("planned {place}: {}", task.planned.names().join(", "));
            self.note_history(*at, HistoryKind::Planned, words);
        }
    }
}
