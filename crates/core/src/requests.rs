//! The requests that are planned: which of their runs are open, and what is counted for their summary.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use amore_model::Urgency;
use amore_wire::task::Outcome;

use crate::{
    events::{CANCELLED, Summary},
    request::{Listener, RequestNo},
    task::Common,
    tasks::RunKey,
};

/// A request that is planned.
#[derive(Debug)]
pub(crate) struct RequestRecord {
    listener: Listener,
    urgency: Urgency,
    /// What its tasks have in common; `None` for a request to cancel, which has no tasks.
    common: Option<Common>,
    /// When it was planned, on the steady clock.
    since: Duration,
    /// Its id in the ledger, if it is there and ends with this core.
    recorded: Option<String>,
    /// Of an earlier owner: nobody waits for it here.
    adopted: bool,
    /// The arrival of data that it is for.
    trigger: Option<String>,
    summary: Summary,
    open_runs: BTreeMap<RunKey, OpenRun>,
    /// What was reported about its runs: the tasks of one run report the same.
    reported: BTreeSet<String>,
    finished: bool,
    /// Some of its runs were stopped before their end.
    cut_short: bool,
}

/// A run that is not finished.
#[derive(Debug, Default)]
struct OpenRun {
    /// Tasks that have not ended.
    tasks: usize,
    started: bool,
    /// Why it cannot be processed.
    problem: Option<String>,
}

/// A run of which all tasks have ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ClosedRun {
    /// It is processed, or could not be.
    Ended { problem: Option<String> },
    /// It was stopped before its end.
    CutShort,
}

/// A request without open runs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum FinishedRequest {
    /// All of its runs are closed.
    Ended(Summary),
    /// It was stopped before its end.
    CutShort,
}

impl RequestRecord {
    /// Without tasks yet.
    pub(crate) fn new(listener: Listener, urgency: Urgency, common: Option<Common>, since: Duration) -> Self {
        RequestRecord {
            listener,
            urgency,
            common,
            since,
            recorded: None,
            adopted: false,
            trigger: None,
            summary: Summary::default(),
            open_runs: BTreeMap::new(),
            reported: BTreeSet::new(),
            finished: false,
            cut_short: false,
        }
    }

    /// Of an earlier owner. `recorded`: its id in the ledger, if it ends with this core.
    pub(crate) fn adopted(
        urgency: Urgency,
        common: Common,
        since: Duration,
        recorded: Option<String>,
    ) -> Self {
        let new = RequestRecord::new(Listener::Nobody, urgency, Some(common), since);
        RequestRecord { recorded, adopted: true, ..new }
    }

    pub(crate) fn listener(&self) -> Listener {
        self.listener
    }

    pub(crate) fn urgency(&self) -> Urgency {
        self.urgency
    }

    pub(crate) fn common(&self) -> Option<&Common> {
        self.common.as_ref()
    }

    /// What is counted so far.
    pub(crate) fn summary(&self) -> &Summary {
        &self.summary
    }

    pub(crate) fn is_adopted(&self) -> bool {
        self.adopted
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.finished
    }

    /// It is in the ledger under this id.
    pub(crate) fn record_as(&mut self, id: String) {
        self.recorded = Some(id);
    }

    /// The id that ends in the ledger with this request.
    pub(crate) fn into_recorded(self) -> Option<String> {
        self.recorded
    }

    /// It is for this arrival of data.
    pub(crate) fn for_trigger(&mut self, trigger: Option<String>) {
        self.trigger = trigger;
    }

    /// A command waits for this request of an earlier owner.
    pub(crate) fn wait_for(&mut self, listener: Listener) {
        self.adopted = false;
        self.listener = listener;
    }

    /// So many of its runs do not exist.
    pub(crate) fn set_missing(&mut self, runs: usize) {
        self.summary.runs_missing = runs;
    }

    /// A run has more tasks; one without any is processed already.
    pub(crate) fn add_tasks(&mut self, key: RunKey, tasks: usize) {
        if tasks == 0 {
            self.summary.runs += 1;
        } else {
            self.open_runs.entry(key).or_default().tasks += tasks;
        }
    }

    pub(crate) fn open_runs(&self) -> impl Iterator<Item = RunKey> {
        self.open_runs.keys().copied()
    }

    pub(crate) fn has_open(&self, key: RunKey) -> bool {
        self.open_runs.contains_key(&key)
    }

    /// Should this be reported? Only the first time.
    pub(crate) fn report(&mut self, about: String) -> bool {
        self.reported.insert(about)
    }

    /// A task of a run is being executed. Is it the first one?
    pub(crate) fn start_run(&mut self, key: RunKey) -> bool {
        let open = self.open_runs.get_mut(&key);
        open.is_some_and(|open| !std::mem::replace(&mut open.started, true))
    }

    /// A variable has ended.
    pub(crate) fn count(&mut self, outcome: &Outcome) {
        self.summary.count(outcome);
    }

    /// What was counted of a variable is not true any more.
    pub(crate) fn take_back(&mut self, outcome: &Outcome) {
        self.summary.take_back(outcome);
    }

    /// A task of a run has ended. The first problem is the run's, unless a user has cancelled something: who waits for the run
    /// must not ask for it again.
    pub(crate) fn task_ended(&mut self, key: RunKey, problem: Option<String>) {
        if let Some(open) = self.open_runs.get_mut(&key) {
            open.tasks = open.tasks.saturating_sub(1);
            if problem.as_deref() == Some(CANCELLED) {
                open.problem = None;
            }
            open.problem = open.problem.take().or(problem);
        }
    }

    /// Results of a run cannot be stored. `false`: it is not a run of this request, or closed.
    pub(crate) fn set_problem(&mut self, key: RunKey, problem: &str) -> bool {
        let Some(open) = self.open_runs.get_mut(&key) else { return false };
        open.problem.get_or_insert_with(|| problem.to_owned());
        true
    }

    /// Closes a run if all of its tasks have ended. After Ctrl-C, runs with a problem were cut short and have not failed.
    pub(crate) fn close_run(&mut self, key: RunKey, is_stopping: bool) -> Option<ClosedRun> {
        if self.open_runs.get(&key)?.tasks > 0 {
            return None;
        }
        let OpenRun { problem, .. } = self.open_runs.remove(&key)?;
        if is_stopping && problem.is_some() {
            self.cut_short = true;
            return Some(ClosedRun::CutShort);
        }
        self.summary.runs += 1;
        self.summary.runs_failed += usize::from(problem.is_some());
        Some(ClosedRun::Ended { problem })
    }

    /// Finishes the request if all of its runs are closed. `None`: they are not, or it was finished before.
    pub(crate) fn finish(&mut self, now: Duration) -> Option<FinishedRequest> {
        if !self.open_runs.is_empty() || self.finished {
            return None;
        }
        self.finished = true;
        self.summary.seconds = now.saturating_sub(self.since).as_secs_f64();
        Some(if self.cut_short {
            FinishedRequest::CutShort
        } else {
            FinishedRequest::Ended(self.summary.clone())
        })
    }

    /// The summary of a request that was cut short, and that the ledger keeps for the next owner.
    pub(crate) fn left_in_ledger(&self) -> Option<Summary> {
        let is_left = self.cut_short && self.recorded.is_some();
        is_left.then(|| Summary { interrupted: true, ..self.summary.clone() })
    }
}

/// The requests that are planned, by number.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    records: BTreeMap<RequestNo, RequestRecord>,
    next: u64,
    /// What became of arrivals of data whose request of an earlier owner ended while nobody waited for it.
    answered: BTreeMap<String, Summary>,
}

impl Requests {
    /// What became of an arrival of data, if its request has ended while nobody waited for it.
    pub(crate) fn answered(&self, trigger: &str) -> Option<&Summary> {
        self.answered.get(trigger)
    }

    /// A listener asks for work that is under way: it gets its events from now on, instead of the one that is returned. `None`:
    /// there is no such work.
    pub(crate) fn listen(&mut self, trigger: &str, listener: Listener) -> Option<Listener> {
        let same = |request: &&mut RequestRecord| request.trigger.as_deref() == Some(trigger);
        let request = self.records.values_mut().filter(|request| !request.finished).find(same)?;
        let before = request.listener;
        request.wait_for(listener);
        Some(before)
    }

    /// Adds a request, which gets the next number.
    pub(crate) fn add(&mut self, request: RequestRecord) -> RequestNo {
        let number = RequestNo(self.next);
        self.next += 1;
        self.records.insert(number, request);
        number
    }

    /// A request, unless it is forgotten.
    pub(crate) fn get(&self, number: RequestNo) -> Option<&RequestRecord> {
        self.records.get(&number)
    }

    pub(crate) fn get_mut(&mut self, number: RequestNo) -> Option<&mut RequestRecord> {
        self.records.get_mut(&number)
    }

    /// All of them, earliest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (RequestNo, &RequestRecord)> {
        self.records.iter().map(|(number, request)| (*number, request))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (RequestNo, &mut RequestRecord)> {
        self.records.iter_mut().map(|(number, request)| (*number, request))
    }

    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    /// Those that are not finished.
    pub(crate) fn unfinished(&self) -> impl Iterator<Item = (RequestNo, &RequestRecord)> {
        self.iter().filter(|(_, request)| !request.is_finished())
    }

    /// Those that have this run open.
    pub(crate) fn with_open(&self, key: RunKey) -> Vec<RequestNo> {
        self.iter().filter(|(_, request)| request.has_open(key)).map(|(number, _)| number).collect()
    }

    /// Everybody who waits for something.
    pub(crate) fn waiting_listeners(&self) -> BTreeSet<Listener> {
        self.unfinished().map(|(_, request)| request.listener()).collect()
    }

    /// The earliest request of this listener.
    pub(crate) fn of_listener(&self, listener: Listener) -> Option<&RequestRecord> {
        self.records.values().find(|request| request.listener == listener)
    }

    /// Forgets a request.
    pub(crate) fn forget(&mut self, number: RequestNo) -> Option<RequestRecord> {
        let record = self.records.remove(&number)?;
        if record.listener == Listener::Nobody
            && let Some(trigger) = &record.trigger
        {
            self.answered.insert(trigger.clone(), record.summary.clone());
        }
        Some(record)
    }
}

#[cfg(test)]
mod tests {
    use amore_model::{Proposal, Run};

    use super::*;

    const KEY: RunKey = (Proposal(1), Run(7));
    const NOW: Duration = Duration::from_secs(10);

    fn request() -> RequestRecord {
        RequestRecord::new(Listener::Here, Urgency::Asked, None, NOW)
    }

    #[test]
    fn a_run_is_closed_when_its_last_task_has_ended_and_the_first_problem_is_its_own() {
        let mut request = request();
        request.add_tasks(KEY, 2);
        assert!(request.start_run(KEY) && !request.start_run(KEY));
        request.task_ended(KEY, Some("first".to_owned()));
        assert_eq!(request.close_run(KEY, false), None);
        assert!(request.set_problem(KEY, "later"));
        request.task_ended(KEY, Some("second".to_owned()));
        let problem = Some("first".to_owned());
        assert_eq!(request.close_run(KEY, false), Some(ClosedRun::Ended { problem }));
        assert_eq!(request.close_run(KEY, false), None, "it is closed");
        assert!(!request.set_problem(KEY, "too late") && !request.start_run(KEY));
        assert_eq!((request.summary().runs, request.summary().runs_failed), (1, 1));
    }

    #[test]
    fn a_request_is_finished_once_with_its_time_and_its_counts() {
        let mut request = request();
        request.set_missing(3);
        request.add_tasks((Proposal(1), Run(1)), 0);
        request.add_tasks(KEY, 1);
        assert_eq!(request.finish(NOW), None);
        request.count(&Outcome::Nothing);
        request.count(&Outcome::Value);
        request.take_back(&Outcome::Nothing);
        request.task_ended(KEY, None);
        request.close_run(KEY, true);
        let summary = Summary { runs: 2, runs_missing: 3, values: 1, seconds: 4.0, ..Summary::default() };
        assert_eq!(request.finish(NOW + Duration::from_secs(4)), Some(FinishedRequest::Ended(summary)));
        assert_eq!(request.finish(NOW), None);
    }

    #[test]
    fn a_run_that_was_cancelled_has_no_other_problem() {
        for problems in [[Some("broken"), Some(CANCELLED), None], [Some(CANCELLED), Some("broken"), None]] {
            let mut request = request();
            request.add_tasks(KEY, 3);
            problems.into_iter().for_each(|problem| request.task_ended(KEY, problem.map(str::to_owned)));
            let problem = Some(CANCELLED.to_owned());
            assert_eq!(request.close_run(KEY, false), Some(ClosedRun::Ended { problem: problem.clone() }));
            assert!(request.summary().is_cancelled(problem.as_deref()));
            assert!(!request.summary().is_cancelled(Some("broken")));
        }
    }

    #[test]
    fn what_a_stop_cuts_short_has_not_failed_and_may_be_left_in_the_ledger() {
        let mut request = request();
        request.add_tasks(KEY, 1);
        request.task_ended(KEY, Some(CANCELLED.to_owned()));
        assert_eq!(request.close_run(KEY, true), Some(ClosedRun::CutShort));
        assert_eq!(request.finish(NOW), Some(FinishedRequest::CutShort));
        assert_eq!(request.left_in_ledger(), None, "it does not stand there");
        request.record_as("1-2".to_owned());
        let summary = request.left_in_ledger().unwrap();
        assert_eq!((summary.runs, summary.runs_failed, summary.interrupted), (0, 0, true));
    }

    #[test]
    fn whoever_waits_is_known_once_and_nobody_after_the_end() {
        let mut requests = Requests::default();
        let numbers = [Listener::Here, Listener::Elsewhere(4), Listener::Here]
            .map(|listener| requests.add(RequestRecord::new(listener, Urgency::Asked, None, NOW)));
        assert!(numbers.is_sorted_by(|a, b| a < b));
        assert_eq!(requests.waiting_listeners(), [Listener::Here, Listener::Elsewhere(4)].into());
        requests.get_mut(numbers[1]).unwrap().finish(NOW);
        assert_eq!(requests.waiting_listeners(), [Listener::Here].into());
        assert!(requests.of_listener(Listener::Elsewhere(4)).is_some());
        assert!(requests.forget(numbers[1]).is_some());
        assert!(requests.get(numbers[1]).is_none() && requests.len() == 2);
        let next = requests.add(request());
        assert!(next > numbers[2], "numbers are not given twice");
    }

    #[test]
    fn the_same_thing_is_reported_once() {
        let mut request = request();
        let first = ["a", "a", "b"].map(|about| request.report(about.to_owned()));
        assert_eq!(first, [true, false, true]);
    }
}
