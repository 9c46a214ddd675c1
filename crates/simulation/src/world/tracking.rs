//! The connection to Slurm: carries out the actions of a process's poller.

use std::{sync::Arc, time::Duration};

use amore_core::{Input, JobEvent, NewJob};
use amore_model::JobId;
use amore_slurm::{
    clusters::Clusters,
    exchange::{Action, Adoption, Input as PollerInput, Submission, WorkerMessage},
};
use amore_wire::task::FromWorker;

use super::{Happening, World, coordinator::dir, shell::Shell};
use crate::slurm::{Job, State};

/// So long after the last fault no reservation is left, and no job gets one.
const RESERVATIONS_ARE_GONE: Duration = Duration::from_secs(300);
/// Time until a command has started, in addition to the time until Slurm answers.
const STARTING: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(40));
/// The poller wants to be called every 40 ms. If nothing happens, it is called later, as on a slow host.
const LATE: (Duration, Duration) = (Duration::from_millis(0), Duration::from_millis(1500));

impl World {
    pub(super) fn submit(&mut self, number: u32, job: NewJob) {
        if !self.confirm(number) {
            return;
        }
        let NewJob { token, manifest: mut sheet, asked, urgency } = job;
        if self.processes.get(&number).is_some_and(|one| one.is_old) {
            for task in &mut sheet.tasks {
                task.token = None;
            }
        }
        if !self.ledger.has_intent(&token) {
            self.violate(
                "the intent is in the ledger before a job is submitted",
                format!("{token} is submitted, and the ledger does not know it"),
            );
        }
        for task in &sheet.tasks {
            self.history.plan(task.run, task.stamp);
            self.check_submission(number, &token, task);
        }
        self.story.tell(self.now, format!("amore {number}"), || {
            let steps = sheet.tasks.iter().flat_map(|task| &task.steps).map(|step| step.name.as_str());
            format!("submits {token}: {} for {}", asked.name, steps.collect::<Vec<_>>().join(", "))
        });
        self.note_under_way(number, &token);
        let manifest = serde_json::to_string(&sheet).unwrap_or_default();
        let directory = dir().path().to_owned();
        let submission = Submission { token, directory, manifest, asked, urgency };
        self.poll(number, PollerInput::Submit(Box::new(submission)));
    }

    pub(super) fn adopt(
        &mut self,
        number: u32,
        token: String,
        job: Option<JobId>,
        (name, log): (String, String),
        clusters: Clusters,
    ) {
        self.story.tell(self.now, format!("amore {number}"), || format!("adopts {token}, job {job:?}"));
        if let Some(owner) = self.owner_of(number) {
            owner.under_way.insert(token.clone());
        }
        let directory = dir().path().to_owned();
        let has_manifest = self.files.manifests.contains_key(&token);
        let adoption = Adoption { token, directory, job, name, log, clusters, has_manifest };
        self.poll(number, PollerInput::Adopt(adoption));
    }

    pub(super) fn forget(&mut self, number: u32, token: String) {
        self.no_longer_under_way(number, &token);
        self.poll(number, PollerInput::Forget { token });
    }

    pub(super) fn cancel(&mut self, number: u32, token: String) {
        self.story.tell(self.now, format!("amore {number}"), || format!("cancels {token}"));
        self.poll(number, PollerInput::Cancel { token });
    }

    fn no_longer_under_way(&mut self, number: u32, token: &str) {
        if let Some(owner) = self.owner_of(number) {
            owner.under_way.remove(token);
        }
    }

    fn note_under_way(&mut self, number: u32, token: &str) {
        let limit = self.scenario.concurrent_jobs;
        let Some(owner) = self.owner_of(number) else { return };
        owner.under_way.insert(token.to_owned());
        let under_way = owner.under_way.len();
        if under_way > limit {
            self.violate(
                "concurrent_jobs is kept",
                format!("{under_way} jobs are submitted, and concurrent_jobs is {limit}"),
            );
        }
    }

    /// Passes an input to the poller, and carries out its actions.
    pub(super) fn poll(&mut self, number: u32, input: PollerInput<FromWorker>) {
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            let now = self.instant();
            let Some(owner) = self.owner_of(number) else { return };
            let actions = owner.poller.on(now, input);
            for action in actions {
                // Actions that take no time are answered before anything else.
                inputs.extend(self.act_for(number, action));
            }
        }
        self.end_if_closed(number);
    }

    fn act_for(&mut self, number: u32, action: Action<FromWorker>) -> Option<PollerInput<FromWorker>> {
        match action {
            Action::Run(command) => {
                let at = self.now + self.chance.between(STARTING.0, STARTING.1);
                self.schedule(at, Happening::Command { process: number, command: Box::new(command) });
                None
            }
            Action::WriteManifest { token, manifest, .. } => {
                let result = if self.trouble.disk_full_until > self.now {
                    Err("No space left on device".to_owned())
                } else {
                    self.files.manifests.insert(token.clone(), manifest);
                    Ok(())
                };
                Some(PollerInput::ManifestWritten { token, result })
            }
            Action::RemoveManifest { token, .. } => {
                self.files.manifests.remove(&token);
                None
            }
            Action::RemoveFiles { token, .. } => {
                self.files.remove_attempt(&token);
                if let Some(owner) = self.owner_of(number) {
                    owner.read.remove(&token);
                }
                None
            }
            Action::ReadWorkers { attempts } => {
                let mut heard = Vec::new();
                for (token, _) in attempts {
                    let from = self.owner_of(number).and_then(|owner| owner.read.get(&token).copied());
                    let from = from.unwrap_or(0);
                    let messages = self.files.reports(&token, from, self.now);
                    if let Some(owner) = self.owner_of(number) {
                        owner.read.insert(token.clone(), from + messages.len());
                    }
                    let messages = messages
                        .into_iter()
                        .map(|message| WorkerMessage { report: message.about_job(), message })
                        .collect();
                    heard.push((token, messages));
                }
                Some(PollerInput::WorkersHeard(heard))
            }
            Action::ReadLog { token, path } => {
                let tail = self.files.read_log(&path);
                Some(PollerInput::LogRead { token, tail })
            }
            Action::Emit(event) => {
                let input = Happening::JobEvent { process: number, event: Box::new(event) };
                self.schedule(self.now, input);
                None
            }
            Action::WakeAt(at) => {
                let late = self.chance.between(LATE.0, LATE.1);
                let at = self.moment(at) + late;
                self.schedule(at, Happening::PollerTimer { process: number });
                None
            }
        }
    }

    /// Executes a Slurm command now; its answer arrives when it has ended.
    pub(super) fn on_command(&mut self, number: u32, command: amore_slurm::exchange::Command) {
        let shell = Shell::new(&mut self.slurm, self.now);
        let words = if self.story.is_wanted() { format!("{command:?}") } else { String::new() };
        let (answer, took) = shell.perform(command);
        drop(shell);
        self.story.tell(self.now, format!("amore {number}"), || {
            shortened(&format!("runs {words} => {answer:?} after {took:?}"))
        });
        let input = PollerInput::Answered(answer);
        let at = self.now + took;
        self.schedule(at, Happening::ToPoller { process: number, input: Box::new(input) });
    }

    /// Passes a job event to the core.
    pub(super) fn on_job_event(&mut self, number: u32, event: JobEvent) {
        self.story.tell(self.now, format!("amore {number}"), || shortened(&format!("hears {event:?}")));
        match &event {
            JobEvent::Refused { token, .. }
            | JobEvent::NotFound { token, .. }
            | JobEvent::Cancelled { token, .. }
            | JobEvent::Ended { token, .. } => self.no_longer_under_way(number, token),
            JobEvent::Changed { token, seen } => self.check_is_of(token, seen),
            JobEvent::Accepted { token, .. } => self.check_accepted(token),
            JobEvent::NotCancelled { .. } | JobEvent::Worker { .. } | JobEvent::Notice(_) => {}
        }
        self.learn_of_site(number);
        self.feed(number, Input::Job(event));
    }

    fn learn_of_site(&mut self, number: u32) {
        if self.settings.on().chosen_by_slurm()
            || self.owner_of(number).is_none_or(|owner| owner.site.is_some())
        {
            return;
        }
        let facts = Shell::new(&mut self.slurm, self.now).facts(None);
        let Some(facts) = facts.map(Arc::new) else { return };
        if let Some(owner) = self.owner_of(number) {
            owner.site = Some(Arc::clone(&facts));
        }
        self.feed(number, Input::Site(facts));
    }

    /// Our jobs that have not ended, by cluster and number.
    /// Whether Slurm has a job that will end by itself. One whose reservation is gone stays in the queue until somebody
    /// cancels it.
    pub(super) fn some_job_may_end(&self) -> bool {
        let gone = self.calm.is_some_and(|at| self.now - at > RESERVATIONS_ARE_GONE);
        let is_left = |job: &Job| {
            let waits = job.state == State::Pending && !job.asked.reservations.is_empty();
            job.state == State::ReservationDeleted || gone && waits
        };
        self.slurm.site().clusters.iter().any(|cluster| {
            let mut jobs = self.slurm.jobs(&cluster.name);
            jobs.any(|job| !job.state.is_over() && !is_left(job))
        })
    }

    pub(super) fn our_jobs(&self) -> Vec<(String, u64)> {
        let mut found = Vec::new();
        for cluster in &self.slurm.site().clusters {
            let jobs = self.slurm.jobs(&cluster.name).filter(|job| !job.state.is_over());
            found.extend(jobs.map(|job| (cluster.name.clone(), job.number)));
        }
        found
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(400) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
