//! Requests that are not planned yet: their context file is read and described, their runs are found, one request after
//! the other.

use std::collections::BTreeSet;

use amore_model::Run;
use amore_plan::{Checked, Dag, Place};
use amore_wire::task::{ContextSource, ToWorker};

use crate::{
    core::Core,
    effect::Effect,
    input::Survey,
    planning::{self, Planned},
    refusal::Refusal,
    request::{Compute, Listener},
};

/// A request that is not planned. Numbers are not given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct IncomingNo(pub u64);

/// A request that is not planned yet.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) number: IncomingNo,
    pub(crate) compute: Compute,
    pub(crate) listener: Listener,
    /// Runs that were cancelled before they were planned.
    pub(crate) left_out: BTreeSet<Run>,
    stage: Stage,
}

/// How far its preparation is. Only the first request is prepared; the next one finds a warm Python.
#[derive(Debug)]
enum Stage {
    /// Others come before it.
    Waiting,
    /// The context file is being read.
    Reading,
    /// A worker executes the context file far enough to say what it declares.
    Describing { id: String, context: ContextSource },
    /// Its runs are being found.
    Surveying { context: ContextSource, dag: Box<Dag> },
    /// It needs jobs, so the ledger is being opened.
    OpeningLedger { planned: Box<Planned> },
}

impl Incoming {
    pub(crate) fn new(number: IncomingNo, compute: Compute, listener: Listener) -> Self {
        Incoming { number, compute, listener, left_out: BTreeSet::new(), stage: Stage::Waiting }
    }
}

/// May there be variables that want jobs, as far as the text shows? A guess, for what only saves time.
fn may_want_jobs(text: &str) -> bool {
    text.contains("cluster") || text.contains("SlurmJob")
}

impl Core {
    /// Starts the preparation of the first request, if nothing is being prepared.
    pub(crate) fn prepare_next(&mut self) {
        let Some(first) = self.incoming.front_mut() else { return };
        if matches!(first.stage, Stage::Waiting) {
            first.stage = Stage::Reading;
            let incoming = first.number;
            self.effects.push(Effect::ReadContext { incoming });
        }
    }

    /// The first request, if it is this one.
    fn first(&mut self, number: IncomingNo) -> Option<&mut Incoming> {
        self.incoming.front_mut().filter(|first| first.number == number)
    }

    pub(crate) fn on_context_read(&mut self, number: IncomingNo, context: Result<ContextSource, Refusal>) {
        if self.first(number).is_none() {
            return;
        }
        let context = match context {
            Ok(context) => context,
            Err(refusal) => return self.refuse_first(refusal),
        };
        let wants_jobs = |slurm: &amore_slurm::settings::SlurmSettings| {
            slurm.noncluster_job().is_some() || may_want_jobs(&context.text)
        };
        if self.slurm.as_ref().is_some_and(wants_jobs) {
            self.effects.push(Effect::AskSite);
        }
        let id = format!("describe-{}", number.0);
        self.ask_to_describe(&id, &context);
        if let Some(first) = self.first(number) {
            first.stage = Stage::Describing { id, context };
        }
    }

    fn ask_to_describe(&mut self, id: &str, context: &ContextSource) {
        let python = self.setup.python.clone();
        let message = ToWorker::Describe { id: id.to_owned(), context: context.clone(), python };
        self.effects.push(Effect::ToWorker(vec![message]));
    }

    /// Is this the description that is being made?
    pub(crate) fn is_described_as(&self, id: &str) -> bool {
        let first = self.incoming.front();
        first.is_some_and(|first| matches!(&first.stage, Stage::Describing { id: asked, .. } if asked == id))
    }

    /// The worker that was asked is dead: the next one is asked.
    pub(crate) fn describe_again(&mut self) {
        if let Some(Incoming { stage: Stage::Describing { id, context }, .. }) = self.incoming.front() {
            let (id, context) = (id.clone(), context.clone());
            self.ask_to_describe(&id, &context);
        }
    }

    pub(crate) fn on_described(&mut self, id: &str, described: Result<Checked, Refusal>) {
        if !self.is_described_as(id) {
            return;
        }
        let Some(first) = self.incoming.front_mut() else { return };
        let Stage::Describing { context, .. } = std::mem::replace(&mut first.stage, Stage::Reading) else {
            return;
        };
        let number = first.number;
        match described {
            Err(refusal) => self.refuse_first(refusal),
            Ok(Checked { dag: None, problems, .. }) => {
                let refusal = crate::problem_words::refusal(&context.path, &problems);
                self.refuse_first(refusal);
            }
            Ok(Checked { dag: Some(dag), .. }) => {
                let compute = first.compute.clone();
                let variables = dag.variables().to_vec();
                first.stage = Stage::Surveying { context, dag: Box::new(dag) };
                self.effects.push(Effect::Survey { incoming: number, compute, variables });
            }
        }
    }

    pub(crate) fn on_surveyed(&mut self, number: IncomingNo, survey: Result<Box<Survey>, Refusal>) {
        let Some(first) = self.first(number) else { return };
        let Stage::Surveying { context, dag } = std::mem::replace(&mut first.stage, Stage::Reading) else {
            return;
        };
        let (compute, left_out) = (first.compute.clone(), first.left_out.clone());
        let planned = survey.and_then(|survey| {
            let asked = planning::Asked { compute: &compute, left_out: &left_out };
            planning::plan_all(&self.setup, self.slurm.as_ref(), &asked, context, &dag, *survey)
        });
        let planned = match planned {
            Ok(planned) => planned,
            Err(refusal) => return self.refuse_first(refusal),
        };
        let has_jobs = planned.has_tasks_in(Place::Cluster);
        if has_jobs && !self.ledger_is_open {
            if let Some(first) = self.first(number) {
                first.stage = Stage::OpeningLedger { planned: Box::new(planned) };
            }
            self.effects.push(Effect::OpenLedger { incoming: number });
            return;
        }
        self.begin_first(planned);
    }

    pub(crate) fn on_ledger_opened(&mut self, number: IncomingNo, opened: Result<(), Refusal>) {
        self.ledger_is_open |= opened.is_ok();
        let Some(first) = self.first(number) else { return };
        let Stage::OpeningLedger { planned } = std::mem::replace(&mut first.stage, Stage::Reading) else {
            return;
        };
        match opened {
            // Without a ledger a second command would submit the same jobs: nothing is begun.
            Err(refusal) => self.refuse_first(refusal),
            Ok(()) => self.begin_first(*planned),
        }
    }

    /// The first request is not served.
    fn refuse_first(&mut self, refusal: Refusal) {
        if let Some(first) = self.incoming.pop_front() {
            self.refuse(first.listener, refusal);
        }
    }

    fn begin_first(&mut self, planned: Planned) {
        if let Some(first) = self.incoming.pop_front() {
            self.begin_request(first.listener, first.compute, planned);
        }
    }

    /// Takes a run out of the requests that are not planned yet; says whether any wanted it.
    pub(crate) fn leave_out(&mut self, run: Run) -> bool {
        let mut any = false;
        for incoming in self.incoming.iter_mut().filter(|incoming| incoming.compute.names_run(run)) {
            incoming.left_out.insert(run);
            any = true;
        }
        any
    }
}
