//! What follows from the end of a task: others can start, its run is closed, its request is finished, and all of it is
//! forgotten.

use amore_model::planted::{Fault, is_on};

use crate::{
    activity::Activity,
    core::Core,
    events::Event,
    request::{Listener, RequestNo},
    requests::{ClosedRun, FinishedRequest, RequestRecord},
    task::TaskNo,
    task_state::{TaskMove, TaskState},
    tasks::RunKey,
};

impl Core {
    /// Tasks of a run that wait for others may start once those have ended and everything of the run is collected.
    pub(super) fn release_dependents(&mut self, key: RunKey) {
        let is_settled = self.uncollected.is_settled(key) || is_on(Fault::ReleasedBeforeCollected);
        if !is_settled || is_on(Fault::WaitNeverReleased) {
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
                self.enqueue(number);
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
                self.publish_run_finished(number, key, problem.clone());
                self.tell(number, Event::RunEnded { proposal, run, problem });
            }
            // The summary says that it was stopped.
            Some(ClosedRun::CutShort) => {}
            None => return,
        }
        self.uncollected.forget(key);
        self.mymdc.forget_run((number, key));
        let mut over = self.tasks.of_run(key, TaskState::is_ended);
        over.retain(|task| self.tasks.get(*task).is_some_and(|task| task.request == number));
        self.tasks.forget(over);
        self.finish_if_done(number);
    }

    pub(super) fn finish_if_done(&mut self, number: RequestNo) {
        let Some(request) = self.requests.get_mut(number) else { return };
        let Some(FinishedRequest::Ended(summary)) = request.finish(self.now.steady) else { return };
        let listener = request.listener();
        self.publish(|| Activity::RequestFinished { request: number.0, summary: summary.clone() });
        if listener == Listener::Here {
            self.ending.served(summary);
        } else {
            self.tell(number, Event::Finished(summary));
        }
        self.upkeep.request_ended();
        self.forget_request(number);
    }

    /// Forgets a request, and finishes it in the ledger.
    pub(super) fn forget_request(&mut self, number: RequestNo) {
        self.mymdc.forget_request(number);
        if let Some(id) = self.requests.forget(number).and_then(RequestRecord::into_recorded) {
            self.journal.finish_request(id);
        }
    }
}
