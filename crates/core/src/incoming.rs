//! Requests that are not planned yet. The first one is prepared: its context file is read and described, its runs are found,
//! and the ledger is opened if it needs jobs. The next one finds a warm Python.

use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use amore_model::{Run, VariableSpec};
use amore_plan::{Checked, Dag};
use amore_wire::task::ContextSource;

use crate::{
    moment::Moment,
    planning::{Planned, ToPlan},
    problem_words,
    refusal::Refusal,
    request::{Compute, Listener},
};

/// While a context file is being executed, it is read again after this time and each time it has passed again: the file may
/// have been repaired, and the execution may hang.
const READ_AGAIN: Duration = Duration::from_secs(5);
/// The user is told what is waited for when the file has been read again so often.
const TOLD_AFTER: u32 = 2;

/// A request that is not planned. Numbers are not given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct IncomingNo(pub u64);

/// In the order in which they came. What is said about another request than the first changes nothing.
#[derive(Debug, Default)]
pub(crate) struct IncomingRequests {
    waiting: VecDeque<Incoming>,
    next: u64,
    descriptions: u64,
}

#[derive(Debug)]
struct Incoming {
    number: IncomingNo,
    compute: Compute,
    listener: Listener,
    /// Runs that were cancelled before they were planned.
    left_out: BTreeSet<Run>,
    stage: Stage,
}

/// How far the preparation of a request is.
#[derive(Debug)]
enum Stage {
    /// Others come before it.
    Waiting,
    /// The context file is being read.
    Reading,
    /// A worker executes the context file far enough to say what it declares.
    Describing(Describing),
    /// Its runs are being found.
    Surveying { context: ContextSource, dag: Box<Dag> },
    /// Its plan is being made.
    Planning,
    /// It needs jobs, so the ledger is being opened.
    OpeningLedger { planned: Box<Planned> },
}

/// An execution of the context file.
#[derive(Debug)]
struct Describing {
    description: Description,
    /// When it began.
    since: Moment,
    /// How often the file was read again since.
    looks: u32,
    told: bool,
}

/// What is due while the context file is being executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReadAgain {
    pub(crate) incoming: IncomingNo,
    /// For how long it has been executed, if this listener is to be told now.
    pub(crate) tell: Option<(Listener, Duration)>,
}

/// A context file that a worker is to describe.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Description {
    /// Names the question in the worker's messages.
    pub(crate) id: String,
    pub(crate) context: ContextSource,
}

/// The runs that are to be found.
#[derive(Debug)]
pub(crate) struct ToSurvey {
    pub(crate) incoming: IncomingNo,
    pub(crate) compute: Compute,
    pub(crate) variables: Vec<VariableSpec>,
}

impl IncomingRequests {
    pub(crate) fn add(&mut self, compute: Compute, listener: Listener) {
        let number = IncomingNo(self.next);
        self.next += 1;
        let stage = Stage::Waiting;
        self.waiting.push_back(Incoming { number, compute, listener, left_out: BTreeSet::new(), stage });
    }

    /// A listener asks for work that waits already: it gets its events, instead of the one that is returned. `None`: there is no
    /// such work.
    pub(crate) fn listen(&mut self, trigger: &str, listener: Listener) -> Option<Listener> {
        let same = |incoming: &&mut Incoming| {
            incoming.compute.trigger.as_ref().is_some_and(|other| other.id == trigger)
        };
        let incoming = self.waiting.iter_mut().find(same)?;
        Some(std::mem::replace(&mut incoming.listener, listener))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Starts the preparation of the first request, unless it has begun: its context file is to be read.
    pub(crate) fn start_next(&mut self) -> Option<IncomingNo> {
        let first = self.waiting.front_mut().filter(|first| matches!(first.stage, Stage::Waiting))?;
        first.stage = Stage::Reading;
        Some(first.number)
    }

    pub(crate) fn is_first(&self, number: IncomingNo) -> bool {
        self.waiting.front().is_some_and(|first| first.number == number)
    }

    fn first(&mut self, number: IncomingNo) -> Option<&mut Incoming> {
        self.waiting.front_mut().filter(|first| first.number == number)
    }

    /// The context file is read. Gives what a worker is asked; nothing if it is being executed as it is.
    pub(crate) fn context_read(
        &mut self,
        number: IncomingNo,
        context: ContextSource,
        now: Moment,
    ) -> Option<&Description> {
        let descriptions = self.descriptions + 1;
        let first = self.first(number)?;
        match &first.stage {
            Stage::Reading => {}
            Stage::Describing(running) if running.description.context != context => {}
            _ => return None,
        }
        let description = Description { id: format!("describe-{descriptions}"), context };
        first.stage = Stage::Describing(Describing { description, since: now, looks: 0, told: false });
        self.descriptions = descriptions;
        self.being_described()
    }

    fn describing(&self) -> Option<&Describing> {
        match &self.waiting.front()?.stage {
            Stage::Describing(describing) => Some(describing),
            _ => None,
        }
    }

    /// Since when the context file is being executed (Unix time).
    pub(crate) fn describing_since(&self) -> Option<f64> {
        Some(self.describing()?.since.unix)
    }

    /// When the file is to be read again.
    pub(crate) fn next_due(&self) -> Option<Duration> {
        let describing = self.describing()?;
        Some(describing.since.steady + READ_AGAIN * (describing.looks + 1))
    }

    /// Is it to be read again now?
    pub(crate) fn read_again(&mut self, now: Duration) -> Option<ReadAgain> {
        self.next_due().filter(|due| *due <= now)?;
        let first = self.waiting.front_mut()?;
        let Stage::Describing(describing) = &mut first.stage else { return None };
        let long = now.saturating_sub(describing.since.steady);
        describing.looks = u32::try_from(long.as_secs() / READ_AGAIN.as_secs()).unwrap_or(u32::MAX);
        describing.looks = describing.looks.max(1);
        let tell = (describing.looks >= TOLD_AFTER && !describing.told).then_some((first.listener, long));
        describing.told |= tell.is_some();
        Some(ReadAgain { incoming: first.number, tell })
    }

    /// What a worker is being asked.
    pub(crate) fn being_described(&self) -> Option<&Description> {
        Some(&self.describing()?.description)
    }

    pub(crate) fn is_described_as(&self, id: &str) -> bool {
        self.being_described().is_some_and(|description| description.id == id)
    }

    /// The context file is described. Gives what is to be found out next.
    ///
    /// # Errors
    /// The context file has errors: the first request cannot be served.
    pub(crate) fn described(&mut self, id: &str, described: Checked) -> Option<Result<ToSurvey, Refusal>> {
        if !self.is_described_as(id) {
            return None;
        }
        let first = self.waiting.front_mut()?;
        let Stage::Describing(Describing { description: Description { context, .. }, .. }) =
            std::mem::replace(&mut first.stage, Stage::Planning)
        else {
            return None;
        };
        let Some(dag) = described.dag else {
            return Some(Err(problem_words::refusal(&context.path, &described.problems)));
        };
        let (incoming, compute) = (first.number, first.compute.clone());
        let variables = dag.variables().to_vec();
        first.stage = Stage::Surveying { context, dag: Box::new(dag) };
        Some(Ok(ToSurvey { incoming, compute, variables }))
    }

    /// Its runs are found. Gives what its plan is made of.
    pub(crate) fn surveyed(&mut self, number: IncomingNo) -> Option<ToPlan> {
        let first = self.first(number)?;
        match std::mem::replace(&mut first.stage, Stage::Planning) {
            Stage::Surveying { context, dag } => Some(ToPlan {
                compute: first.compute.clone(),
                left_out: first.left_out.clone(),
                context,
                dag,
            }),
            other => {
                first.stage = other;
                None
            }
        }
    }

    /// Its plan waits for the ledger.
    pub(crate) fn wait_for_ledger(&mut self, number: IncomingNo, planned: Planned) {
        if let Some(first) = self.first(number) {
            first.stage = Stage::OpeningLedger { planned: Box::new(planned) };
        }
    }

    /// The ledger is open, or cannot be opened. Gives the plan that has waited for it.
    pub(crate) fn ledger_opened(&mut self, number: IncomingNo) -> Option<Planned> {
        let first = self.first(number)?;
        match std::mem::replace(&mut first.stage, Stage::Planning) {
            Stage::OpeningLedger { planned } => Some(*planned),
            other => {
                first.stage = other;
                None
            }
        }
    }

    /// Takes the first request out: its preparation is over.
    pub(crate) fn take_first(&mut self) -> Option<(Listener, Compute)> {
        let first = self.waiting.pop_front()?;
        Some((first.listener, first.compute))
    }

    /// Drops all of them. Gives their listeners.
    pub(crate) fn drop_all(&mut self) -> Vec<Listener> {
        self.waiting.drain(..).map(|incoming| incoming.listener).collect()
    }

    /// Takes a run out of all of them. Did any want it?
    pub(crate) fn leave_out(&mut self, run: Run) -> bool {
        let mut any = false;
        for incoming in self.waiting.iter_mut().filter(|incoming| incoming.compute.names_run(run)) {
            incoming.left_out.insert(run);
            any = true;
        }
        any
    }
}

#[cfg(test)]
mod tests {
    use amore_model::{Problem, ProblemKind};

    use super::*;
    use crate::{describe, request::Runs};

    fn compute(runs: impl IntoIterator<Item = u32>) -> Compute {
        Compute {
            runs: Runs::These(runs.into_iter().map(Run).collect()),
            proposal: None,
            matches: Vec::new(),
            names: Vec::new(),
            mock: false,
            trigger: None,
        }
    }

    fn context() -> ContextSource {
        ContextSource {
            path: "/db/context.py".into(),
            folders: Vec::new(),
            directory: None,
            text: String::new(),
            sha256: String::new(),
        }
    }

    const START: Moment = Moment { steady: Duration::ZERO, unix: 100.0 };

    fn planned() -> Planned {
        Planned {
            context: context(),
            plans: Vec::new(),
            missing: Vec::new(),
            none_known: false,
            about_table: Vec::new(),
        }
    }

    fn correct() -> Checked {
        describe::complete(Vec::new(), Vec::new())
    }

    #[test]
    fn requests_are_prepared_one_after_the_other_step_by_step() {
        let mut incoming = IncomingRequests::default();
        incoming.add(compute([1]), Listener::Here);
        incoming.add(compute([2]), Listener::Elsewhere(5));
        let first = incoming.start_next().unwrap();
        assert_eq!(incoming.start_next(), None, "it is being prepared");
        let id = incoming.context_read(first, context(), START).unwrap().id.clone();
        let survey = incoming.described(&id, correct()).unwrap().unwrap();
        assert_eq!((survey.incoming, survey.compute), (first, compute([1])));
        assert_eq!(incoming.surveyed(first).unwrap().compute, compute([1]));
        incoming.wait_for_ledger(first, planned());
        assert!(incoming.ledger_opened(first).is_some());
        assert_eq!(incoming.take_first(), Some((Listener::Here, compute([1]))));
        assert!(incoming.start_next().is_some_and(|second| second > first));
        assert_eq!(incoming.drop_all(), [Listener::Elsewhere(5)]);
        assert!(incoming.is_empty());
    }

    #[test]
    fn an_answer_counts_once_and_for_its_own_request() {
        let mut incoming = IncomingRequests::default();
        incoming.add(compute([1]), Listener::Here);
        let first = incoming.start_next().unwrap();
        let other = IncomingNo(first.0 + 1);
        assert!(incoming.context_read(other, context(), START).is_none() && !incoming.is_first(other));
        let id = incoming.context_read(first, context(), START).unwrap().id.clone();
        assert!(incoming.surveyed(first).is_none() && incoming.ledger_opened(first).is_none());
        assert!(incoming.is_described_as(&id), "what came too early has changed nothing");
        assert!(incoming.described("describe-77", correct()).is_none());
        assert!(incoming.described(&id, correct()).is_some());
        assert!(incoming.described(&id, correct()).is_none());
        assert!(incoming.surveyed(other).is_none());
        assert!(incoming.surveyed(first).is_some());
        assert!(incoming.surveyed(first).is_none());
    }

    #[test]
    fn errors_of_the_context_file_refuse_the_request() {
        let mut incoming = IncomingRequests::default();
        incoming.add(compute([1]), Listener::Here);
        let first = incoming.start_next().unwrap();
        let id = incoming.context_read(first, context(), START).unwrap().id.clone();
        let problem = Problem::error(ProblemKind::MissingDependency, "foo is not there");
        let refusal = incoming.described(&id, describe::complete(Vec::new(), vec![problem])).unwrap();
        assert!(refusal.unwrap_err().message.contains("foo is not there"));
    }

    #[test]
    fn a_cancelled_run_is_left_out_of_all_that_want_it() {
        let mut incoming = IncomingRequests::default();
        incoming.add(compute([1, 2]), Listener::Here);
        incoming.add(Compute { runs: Runs::All, ..compute([]) }, Listener::Elsewhere(5));
        incoming.add(compute([3]), Listener::Elsewhere(6));
        assert!(incoming.leave_out(Run(2)) && incoming.leave_out(Run(7)));
        let mut left_out = Vec::new();
        while let Some(number) = incoming.start_next() {
            let id = incoming.context_read(number, context(), START).unwrap().id.clone();
            incoming.described(&id, correct());
            left_out.push(incoming.surveyed(number).unwrap().left_out);
            incoming.take_first();
        }
        assert_eq!(left_out, [[Run(2)].into(), [Run(2), Run(7)].into(), BTreeSet::new()]);
        assert!(!incoming.leave_out(Run(2)));
    }

    #[test]
    fn a_file_that_is_repaired_while_it_is_executed_is_executed_anew() {
        let seconds = Duration::from_secs;
        let mut incoming = IncomingRequests::default();
        incoming.add(compute([1]), Listener::Elsewhere(3));
        let first = incoming.start_next().unwrap();
        assert_eq!(incoming.next_due(), None);
        let hangs = incoming.context_read(first, context(), START).unwrap().id.clone();
        assert_eq!((incoming.next_due(), incoming.describing_since()), (Some(READ_AGAIN), Some(100.0)));
        assert_eq!(incoming.read_again(seconds(4)), None);
        assert_eq!(incoming.read_again(seconds(5)), Some(ReadAgain { incoming: first, tell: None }));
        // It is as it was.
        assert_eq!(incoming.context_read(first, context(), START), None);
        let told = Some((Listener::Elsewhere(3), seconds(12)));
        assert_eq!(incoming.read_again(seconds(12)), Some(ReadAgain { incoming: first, tell: told }));
        assert_eq!(incoming.next_due(), Some(seconds(15)));
        assert_eq!(incoming.read_again(seconds(15)), Some(ReadAgain { incoming: first, tell: None }));
        let repaired = ContextSource { text: "repaired".to_owned(), ..context() };
        let now = Moment { steady: seconds(16), unix: 116.0 };
        let next = incoming.context_read(first, repaired.clone(), now).unwrap().clone();
        assert!(next.id != hangs && next.context == repaired);
        assert!(incoming.described(&hangs, correct()).is_none(), "nobody waits for that one");
        assert!(incoming.described(&next.id, correct()).is_some());
        assert_eq!(incoming.next_due(), None);
    }
}
