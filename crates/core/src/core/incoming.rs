//! From a request to its plan: what the core asks for in between, and what it does with the answers.

use amore_plan::{Checked, Place};
use amore_slurm::settings::SlurmSettings;
use amore_wire::task::{ContextSource, ToWorker};

use crate::{
    core::Core,
    effect::Effect,
    incoming::{Description, IncomingNo, ToSurvey},
    input::Survey,
    planning::{Planned, plan_all},
    refusal::Refusal,
};

/// May there be variables that want jobs, as far as the text shows? A guess, for what only saves time.
fn may_want_jobs(text: &str) -> bool {
    text.contains("cluster") || text.contains("SlurmJob")
}

impl Core {
    /// Starts the preparation of the first request, if nothing is being prepared.
    pub(super) fn prepare_next(&mut self) {
        if let Some(incoming) = self.incoming.start_next() {
            self.effects.push(Effect::ReadContext { incoming });
        }
    }

    pub(super) fn on_context_read(&mut self, number: IncomingNo, context: Result<ContextSource, Refusal>) {
        if !self.incoming.is_first(number) {
            return;
        }
        let context = match context {
            Ok(context) => context,
            Err(refusal) => return self.refuse_first(refusal),
        };
        let wants_jobs =
            |slurm: &SlurmSettings| slurm.noncluster_job().is_some() || may_want_jobs(&context.text);
        if self.slurm.settings().is_some_and(wants_jobs) {
            self.effects.push(Effect::AskSite);
        }
        let description = self.incoming.context_read(number, context).cloned();
        self.ask_to_describe(description);
    }

    fn ask_to_describe(&mut self, description: Option<Description>) {
        if let Some(Description { id, context }) = description {
            let python = self.setup.python.clone();
            self.effects.push(Effect::ToWorker(vec![ToWorker::Describe { id, context, python }]));
        }
    }

    /// The worker that was asked is dead: the next one is asked.
    pub(super) fn describe_again(&mut self) {
        self.ask_to_describe(self.incoming.being_described().cloned());
    }

    pub(super) fn on_described(&mut self, id: &str, described: Checked) {
        match self.incoming.described(id, described) {
            Some(Ok(ToSurvey { incoming, compute, variables })) => {
                self.effects.push(Effect::Survey { incoming, compute, variables });
            }
            Some(Err(refusal)) => self.refuse_first(refusal),
            None => {}
        }
    }

    /// No worker can describe the context file.
    pub(super) fn on_not_described(&mut self, id: &str, refusal: Refusal) {
        if self.incoming.is_described_as(id) {
            self.refuse_first(refusal);
        }
    }

    pub(super) fn on_surveyed(&mut self, number: IncomingNo, survey: Result<Box<Survey>, Refusal>) {
        let Some(to_plan) = self.incoming.surveyed(number) else { return };
        let planned =
            survey.and_then(|survey| plan_all(&self.setup, self.slurm.settings(), to_plan, *survey));
        match planned {
            Err(refusal) => self.refuse_first(refusal),
            Ok(planned) if planned.has_tasks_in(Place::Cluster) && !self.ledger_access.is_open() => {
                self.incoming.wait_for_ledger(number, planned);
                self.effects.push(Effect::OpenLedger { incoming: number });
            }
            Ok(planned) => self.begin_first(planned),
        }
    }

    pub(super) fn on_ledger_opened(&mut self, number: IncomingNo, opened: Result<(), Refusal>) {
        if opened.is_ok() {
            self.ledger_access.opened();
        }
        let Some(planned) = self.incoming.ledger_opened(number) else { return };
        match opened {
            // Without a ledger a second command would submit the same jobs: nothing is begun.
            Err(refusal) => self.refuse_first(refusal),
            Ok(()) => self.begin_first(planned),
        }
    }

    fn refuse_first(&mut self, refusal: Refusal) {
        if let Some((listener, _)) = self.incoming.take_first() {
            self.refuse(listener, refusal);
        }
    }

    fn begin_first(&mut self, planned: Planned) {
        if let Some((listener, compute)) = self.incoming.take_first() {
            self.begin_request(listener, compute, planned);
        }
    }
}
