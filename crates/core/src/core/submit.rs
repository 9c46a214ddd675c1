//! How a task gets into a Slurm job: the intent is written first.

use amore_model::planted::{Fault, is_on};
use amore_slurm::submission::JobOptions;
use amore_wire::{manifest::JobManifest, task::Task};

use crate::{
    core::Core,
    effect::{Effect, NewJob},
    job_asked::{Wanted, job_asked, log_mark},
    task::TaskNo,
    task_state::TaskMove,
};

impl Core {
    /// What the next job of a task asks for.
    pub(super) fn asked_for(&self, number: TaskNo, token: &str) -> Option<JobOptions> {
        let task = self.tasks.get(number)?;
        let wanted = Wanted {
            key: task.key(),
            resources: &task.planned.resources,
            urgency: self.requests.get(task.request)?.urgency(),
            retry: &task.retry,
            token,
        };
        let settings = self.slurm.settings_or_default();
        Some(job_asked(&self.setup.dir, &self.setup.job_environment, &settings, &wanted))
    }

    pub(super) fn submit(&mut self, number: TaskNo, mut wire: Task) {
        let named = self.ids.token(self.now);
        wire.token = Some(named.clone());
        let token = String::from(named);
        let mark = log_mark(&self.slurm.settings_or_default(), &token).map(str::to_owned);
        let Some(task) = self.tasks.get_mut(number) else { return };
        task.retry.begin_submission(task.stored(), mark);
        self.advance(number, TaskMove::Submit { token: token.clone() });
        let (Some(asked), Some(task)) = (self.asked_for(number, &token), self.tasks.get(number)) else {
            return;
        };
        let Some(request) = self.requests.get(task.request) else { return };
        let new_job = NewJob {
            urgency: request.urgency(),
            manifest: JobManifest {
                version: wire.version(),
                token: token.clone(),
                tasks: vec![wire],
                processes: 1,
                environment: self.setup.python_environment.clone(),
            },
            token: token.clone(),
            asked,
        };
        let write = self.journal.intent(task, &token, &new_job.asked, self.now.unix);
        self.slurm.has_job();
        self.jobs.start(token, number);
        self.submissions.submit_after(write, new_job);
    }

    /// Submits the jobs whose intent is in the ledger now.
    pub(super) fn release_submissions(&mut self) {
        let journal = &self.journal;
        for new_job in self
            .submissions
            .take_written(|write| journal.is_done(write) || is_on(Fault::SubmittedWithoutIntent))
        {
            self.effects.push(Effect::Submit(Box::new(new_job)));
        }
    }

    pub(super) fn read_settings_if_due(&mut self) {
        if self.slurm.settings_are_due(self.now.steady) {
            self.effects.push(Effect::ReadSettings);
        }
    }
}
