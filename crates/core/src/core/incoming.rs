//! From a request to its plan: what the core asks for in between, and what it does with the answers.

use amore_plan::{Checked, Place};
use amore_slurm::settings::SlurmSettings;
use amore_wire::task::ToWorker;

use crate::{
    activity::Activity,
    core::Core,
    effect::Effect,
    events::Event,
    incoming::{Description, IncomingNo, ReadAgain, ToSurvey},
    input::{ContextRead, Survey},
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

    pub(super) fn on_context_read(&mut self, number: IncomingNo, context: Result<ContextRead, Refusal>) {
        if !self.incoming.is_first(number) {
            return;
        }
        let ContextRead { source: context, python, limits } = match context {
            Ok(context) => context,
            // It is being replaced, perhaps: what is executed was there.
            Err(_) if self.incoming.being_described().is_some() => return,
            Err(refusal) => return self.refuse_first(refusal),
        };
        self.setup.python = python;
        self.setup.limits = limits;
        let wants_jobs =
            |slurm: &SlurmSettings| slurm.noncluster_job().is_some() || may_want_jobs(&context.text);
        if self.slurm.settings().is_some_and(wants_jobs) {
            self.effects.push(Effect::AskSite);
        }
        let before = self.incoming.being_described().map(|description| description.id.clone());
        let description = self.incoming.context_read(number, context, self.now).cloned();
        if let (Some(id), Some(_)) = (before, &description) {
            self.effects.push(Effect::ToWorker(vec![ToWorker::Cancel { id }]));
        }
        self.ask_to_describe(description);
    }

    /// The context file is read again while it is executed: if it hangs, and somebody repairs it, nobody has to wait.
    pub(super) fn watch_description(&mut self) {
        let Some(ReadAgain { incoming, tell }) = self.incoming.read_again(self.now.steady) else { return };
        self.effects.push(Effect::ReadContext { incoming });
        if let Some((listener, long)) = tell {
            let event = Event::note(format!(
                "the context file is still being executed, after {} s, to learn which variables there are; nothing begins before\n  \
                 hint: move what is slow into variables; a changed file is noticed at once",
                long.as_secs()
            ));
            self.effects.push(Effect::Tell { listener, event });
        }
    }

    fn ask_to_describe(&mut self, description: Option<Description>) {
        if let Some(Description { id, context }) = description {
            let python = self.setup.python.clone();
            let (proposal, sandbox) = (Some(self.setup.proposal), self.setup.sandbox.clone());
            let asked = ToWorker::Describe { id, context, python, proposal, sandbox };
            self.effects.push(Effect::ToWorker(vec![asked]));
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
        let survey = survey.map(|mut survey| {
            let variables = std::mem::take(&mut survey.listed);
            if !variables.is_empty() {
                self.publish(|| Activity::VariablesChanged { variables });
            }
            survey
        });
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
        if let Some((listener, compute)) = self.incoming.take_first() {
            self.publish(|| Activity::RequestRefused {
                trigger: compute.trigger.map(|trigger| trigger.id),
                message: refusal.message.clone(),
                hint: refusal.hint.clone(),
            });
            self.refuse(listener, refusal);
        }
    }

    fn begin_first(&mut self, planned: Planned) {
        if let Some((listener, compute)) = self.incoming.take_first() {
            self.begin_request(listener, compute, planned);
        }
    }
}
