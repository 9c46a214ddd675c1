//! What follows from the end of a task: others can start, its run is closed, its request is finished, and all of it is
//! forgotten.

use crate::{
    core::Core,
    effect::Fragment,
    events::Event,
    input::{Collected, TableNotice},
    request::{Listener, RequestNo},
    requests::{ClosedRun, FinishedRequest, RequestRecord},
    task::TaskNo,
    task_state::{TaskMove, TaskState},
    tasks::RunKey,
};

impl Core {
    /// Does what follows from a task's end.
    pub(super) fn after_end(&mut self, number: TaskNo) {
        let Some(task) = self.tasks.get(number) else { return };
        let TaskState::Ended { problem } = task.state() else { return };
        let (request, key, problem) = (task.request, task.key(), problem.clone());
        self.worker.forget(number);
        self.commands.forget(number);
        self.submissions.forget(number);
        self.jobs.forget(number);
        if let Some(record) = self.requests.get_mut(request) {
            record.task_ended(key, problem);
        }
        self.release_dependents(key);
        self.close_run_if_done(request, key);
    }

    /// Tasks of a run that wait for others may start once those have ended and everything of the run is collected.
    pub(super) fn release_dependents(&mut self, key: RunKey) {
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

    pub(super) fn close_run_if_done(&mut self, number: RequestNo, key: RunKey) {
        if !self.uncollected.is_settled(key) {
            return;
        }
        let is_stopping = self.life.is_stopping();
        let Some(request) = self.requests.get_mut(number) else { return };
        match request.close_run(key, is_stopping) {
            Some(ClosedRun::Ended { problem }) => {
                let (proposal, run) = key;
                self.tell(number, Event::RunEnded { proposal, run, problem });
            }
            // The summary says that it was stopped.
            Some(ClosedRun::CutShort) => {}
            None => return,
        }
        let mut over = self.tasks.of_run(key, TaskState::is_ended);
        over.retain(|task| self.tasks.get(*task).is_some_and(|task| task.request == number));
        self.tasks.forget(over);
        self.finish_if_done(number);
    }

    pub(super) fn finish_if_done(&mut self, number: RequestNo) {
        let Some(request) = self.requests.get_mut(number) else { return };
        let Some(FinishedRequest::Ended(summary)) = request.finish(self.now.steady) else { return };
        if request.listener() == Listener::Here {
            self.ending.served(summary);
        } else {
            self.tell(number, Event::Finished(summary));
        }
        self.forget_request(number);
    }

    /// A request is done with.
    pub(super) fn forget_request(&mut self, number: RequestNo) {
        if let Some(id) = self.requests.forget(number).and_then(RequestRecord::into_recorded) {
            self.journal.finish_request(id);
        }
    }

    pub(super) fn on_scanned(&mut self, key: Option<RunKey>, fragments: Vec<Fragment>) {
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
                    self.requests.iter().flat_map(|(_, request)| request.open_runs()).collect();
                keys.into_iter().for_each(|key| self.go_on_with(key));
            }
        }
    }

    pub(super) fn on_collected(&mut self, collected: Collected) {
        let Collected { key, fragments, stored, notices, problem } = collected;
        self.uncollected.collected(key, fragments);
        if let Some(problem) = problem {
            self.note_problem(key, &problem);
        }
        let unfinished: Vec<RequestNo> = self.requests.unfinished().map(|(number, _)| number).collect();
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
            shown |= request.set_problem(key, problem);
        }
        if !shown {
            // Left by an earlier command.
            self.table_notices.left_behind(key.1, problem);
        }
    }

    /// Tells of the table; once for all if it is about the view.
    pub(super) fn tell_of_table(&mut self, requests: &[RequestNo], notice: TableNotice) {
        if !self.table_notices.is_news(&notice) {
            return;
        }
        let event = Event::Notice(notice.notice);
        let listeners: std::collections::BTreeSet<Listener> =
            requests.iter().filter_map(|number| Some(self.requests.get(*number)?.listener())).collect();
        for listener in listeners {
            self.effects.push(crate::effect::Effect::Tell { listener, event: event.clone() });
        }
    }

    /// Everything of a run may be collected now: whatever waited for that goes on.
    fn go_on_with(&mut self, key: RunKey) {
        self.try_lost_tasks_again(key);
        self.judge_jobs();
        self.release_dependents(key);
        for number in self.requests.with_open(key) {
            self.close_run_if_done(number, key);
        }
    }
}
