//! Requests that are not planned yet. The first one is prepared: its context file is read and described, its runs are found,
//! and the ledger is opened if it needs jobs. The next one finds a warm Python.

use std::collections::{BTreeSet, VecDeque};

use amore_model::{Run, VariableSpec};
use amore_plan::{Checked, Dag};
use amore_wire::task::ContextSource;

use crate::{
    planning::{Planned, ToPlan},
    problem_words,
    refusal::Refusal,
    request::{Compute, Listener},
};

/// A request that is not planned. Numbers are not given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct IncomingNo(pub u64);

/// In the order in which they came. What is said about another request than the first changes nothing.
#[derive(Debug, Default)]
pub(crate) struct IncomingRequests {
    waiting: VecDeque<Incoming>,
    next: u64,
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
    Describing(Description),
    /// Its runs are being found.
    Surveying { context: ContextSource, dag: Box<Dag> },
    /// Its plan is being made.
    Planning,
    /// It needs jobs, so the ledger is being opened.
    OpeningLedger { planned: Box<Planned> },
}

/// A context file that a worker is to describe.
#[derive(Clone, Debug)]
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

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
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

    /// The context file is read. Gives what a worker is asked.
    pub(crate) fn context_read(
        &mut self,
        number: IncomingNo,
        context: ContextSource,
    ) -> Option<&Description> {
        let first = self.first(number)?;
        first.stage = Stage::Describing(Description { id: format!("describe-{}", number.0), context });
        self.being_described()
    }

    /// What a worker is being asked.
    pub(crate) fn being_described(&self) -> Option<&Description> {
        match &self.waiting.front()?.stage {
            Stage::Describing(description) => Some(description),
            _ => None,
        }
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
        let Stage::Describing(Description { context, .. }) =
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
        let id = incoming.context_read(first, context()).unwrap().id.clone();
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
        assert!(incoming.context_read(other, context()).is_none() && !incoming.is_first(other));
        let id = incoming.context_read(first, context()).unwrap().id.clone();
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
        let id = incoming.context_read(first, context()).unwrap().id.clone();
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
            let id = incoming.context_read(number, context()).unwrap().id.clone();
            incoming.described(&id, correct());
            left_out.push(incoming.surveyed(number).unwrap().left_out);
            incoming.take_first();
        }
        assert_eq!(left_out, [[Run(2)].into(), [Run(2), Run(7)].into(), BTreeSet::new()]);
        assert!(!incoming.leave_out(Run(2)));
    }
}
