//! What follows from the end of a task: others can start, its run is closed, its request is finished, and all of it is
//! forgotten.

use crate::{
    core::Core,
    effect::Fragment,
    events::Event,
    input::{Collected, TableNotice},
    request::{Listener, RequestNo},
    task::TaskNo,
    task_state::{TaskMove, TaskState},
    tasks::RunKey,
};

impl Core {
    /// Does what follows from a task's end.
    pub(crate) fn after_end(&mut self, number: TaskNo) {
        let Some(task) = self.tasks.get(number) else { return };
        let TaskState::Ended { problem } = task.state() else { return };
        let (request, key, problem) = (task.request, task.key(), problem.clone());
        self.told_to_end.remove(&number);
        self.prepared.remove(&number);
        self.outcomes.remove(&number);
        self.jobs.forget_task(number);
        if let Some(open) = self.requests.get_mut(request).and_then(|record| record.open.get_mut(&key)) {
            open.tasks = open.tasks.saturating_sub(1);
            open.problem = open.problem.take().or(problem);
        }
        self.release_dependents(key);
        self.close_run_if_done(request, key);
    }

    /// Tasks of a run that wait for others may start once those have ended and everything of the run is collected.
    pub(crate) fn release_dependents(&mut self, key: RunKey) {
        if !self.uncollected.is_settled(key) {
            return;
        }
        let ended = self.tasks.of_run(key, TaskState::is_ended);
        for number in self.tasks.of_run(key, TaskState::is_waiting) {
            for other in &ended {
                if self.waits_for(number, *other) {
                    self.advance(number, TaskMove::Collected(*other));
                }
            }
            if self.tasks.get(number).is_some_and(|task| task.state().is_ready()) {
                self.line_up(number);
            }
        }
    }

    fn waits_for(&self, number: TaskNo, other: TaskNo) -> bool {
        self.tasks
            .get(number)
            .is_some_and(|task| matches!(task.state(), TaskState::Waiting { on } if on.contains(&other)))
    }

    pub(crate) fn close_run_if_done(&mut self, number: RequestNo, key: RunKey) {
        if !self.uncollected.is_settled(key) {
            return;
        }
        let is_stopping = self.is_stopping();
        let Some(request) = self.requests.get_mut(number) else { return };
        if request.open.get(&key).is_none_or(|open| open.tasks > 0) {
            return;
        }
        let Some(open) = request.open.remove(&key) else { return };
        // After Ctrl-C the runs that were cut short have not failed; the summary says that it was stopped.
        if is_stopping && open.problem.is_some() {
            request.cut_short = true;
        } else {
            request.summary.runs += 1;
            request.summary.runs_failed += usize::from(open.problem.is_some());
            let (proposal, run) = key;
            self.tell(number, Event::RunEnded { proposal, run, problem: open.problem });
        }
        let mut over = self.tasks.of_run(key, TaskState::is_ended);
        over.retain(|task| self.tasks.get(*task).is_some_and(|task| task.request == number));
        self.tasks.forget(over);
        self.finish_if_done(number);
    }

    pub(crate) fn finish_if_done(&mut self, number: RequestNo) {
        let now = self.now.steady;
        let Some(request) = self.requests.get_mut(number) else { return };
        if !request.open.is_empty() || request.finished {
            return;
        }
        request.finished = true;
        request.summary.seconds = now.saturating_sub(request.since).as_secs_f64();
        if request.cut_short {
            return;
        }
        let (listener, summary) = (request.listener, request.summary.clone());
        if listener == Listener::Here {
            self.own_summary.get_or_insert(summary);
        } else {
            self.tell(number, Event::Finished(summary));
        }
        self.forget_request(number);
    }

    /// A request is done with.
    pub(crate) fn forget_request(&mut self, number: RequestNo) {
        if let Some(id) = self.requests.forget(number).and_then(|request| request.recorded) {
            self.journal.finish_request(id);
        }
    }

    pub(crate) fn on_scanned(&mut self, key: Option<RunKey>, fragments: Vec<Fragment>) {
        self.uncollected.scan_ended(key);
        let found = !fragments.is_empty();
        fragments.into_iter().for_each(|fragment| self.collect(fragment));
        if found {
            self.effects.push(crate::effect::Effect::HurryCollector);
        }
        match key {
            Some(key) => self.go_on_with(key),
            None => {
                let keys: std::collections::BTreeSet<RunKey> =
                    self.requests.iter().flat_map(|(_, request)| request.open.keys().copied()).collect();
                keys.into_iter().for_each(|key| self.go_on_with(key));
            }
        }
    }

    pub(crate) fn on_collected(&mut self, collected: Collected) {
        let Collected { key, fragments, stored, notices, problem } = collected;
        self.uncollected.collected(key, fragments);
        if let Some(problem) = problem {
            self.note_problem(key, &problem);
        }
        let unfinished: Vec<RequestNo> =
            self.requests.iter().filter(|(_, request)| !request.finished).map(|(number, _)| number).collect();
        for notice in notices {
            self.tell_of_table(&unfinished, notice);
        }
        for number in self.tasks.of_run(key, |state| !state.is_ended()) {
            let Some(task) = self.tasks.get_mut(number) else { continue };
            for (name, stamp) in &stored {
                if *stamp >= task.stamp {
                    task.results.collected.insert(name.clone());
                }
            }
        }
        self.go_on_with(key);
    }

    /// Results of a run could not be put into its file.
    fn note_problem(&mut self, key: RunKey, problem: &str) {
        let mut shown = false;
        for (_, request) in self.requests.iter_mut() {
            if let Some(open) = request.open.get_mut(&key) {
                open.problem.get_or_insert_with(|| problem.to_owned());
                shown = true;
            }
        }
        if !shown {
            // Left by an earlier command.
            self.left_behind.push(format!("run {}: {problem}", key.1));
        }
    }

    /// Tells of the table; once for all if it is about the view.
    pub(crate) fn tell_of_table(&mut self, requests: &[RequestNo], notice: TableNotice) {
        let TableNotice { notice, about_view } = notice;
        if about_view && self.warned_of_view {
            return;
        }
        self.warned_of_view |= about_view;
        let event = Event::Notice(notice);
        let listeners: std::collections::BTreeSet<Listener> =
            requests.iter().filter_map(|number| Some(self.requests.get(*number)?.listener)).collect();
        for listener in listeners {
            self.effects.push(crate::effect::Effect::Tell { listener, event: event.clone() });
        }
    }

    /// Everything of a run may be collected now: whatever waited for that goes on.
    fn go_on_with(&mut self, key: RunKey) {
        self.try_lost_tasks_again(key);
        self.judge_jobs();
        self.release_dependents(key);
        let open: Vec<RequestNo> = self
            .requests
            .iter()
            .filter(|(_, request)| request.open.contains_key(&key))
            .map(|(number, _)| number)
            .collect();
        for number in open {
            self.close_run_if_done(number, key);
        }
    }
}
