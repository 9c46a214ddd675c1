//! Carries out the core's effects: messages at once, anything that may block in the background.

use amore_core::{Answer, Effect, Fragment, Input, NewJob, Question, TableNotice, task::TaskNo};

use super::{
    CoordinateError,
    driver::Driver,
    hand_over::{some_wait, take_requests},
    questions, survey,
};
use crate::{
    collect::{Collected, CollectedNotice, FragmentNote, stale},
    dispatch::{
        prepare_command,
        slurm::{
            site_facts, site_file,
            tracker::{JobToSubmit, Tracker},
        },
    },
};

impl Driver<'_> {
    /// Carries out one effect.
    ///
    /// # Errors
    /// An error after which the driver cannot continue.
    pub(super) async fn perform(&mut self, effect: Effect) -> Result<(), CoordinateError> {
        let dir = self.setup.dir.clone();
        match effect {
            Effect::Tell { listener, event } => self.tell(listener, event),
            Effect::Publish(activity) => {
                if let Some(watcher) = &self.setup.watcher {
                    watcher.tell(activity);
                }
            }
            Effect::ReadContext { incoming } => {
                let table = self.owner.table();
                self.beside(async move {
                    let context = questions::read_context(dir, &table).await?;
                    Ok(Input::ContextRead { incoming, context })
                });
            }
            Effect::Tidy => {
                let runs = std::mem::take(&mut self.runs);
                let variables = self.owner.unused_variables();
                self.beside(async move {
                    tokio::task::spawn_blocking(move || stale::remove(&dir, &runs)).await?;
                    match variables.drop_them().await {
                        Err(error) if error.is_loss() => return Err(error),
                        Err(error) => tracing::debug!(%error, "unused variables stay in the table's list"),
                        Ok(()) => {}
                    }
                    Ok(Input::Tick)
                });
            }
            Effect::AskSite => {
                if let Some(settings) = &self.setup.slurm_settings {
                    self.setup.slurm.ask_ahead(settings.on());
                }
            }
            Effect::Survey { incoming, compute, variables } => {
                self.owner.list(&variables);
                let wanted = survey::Wanted {
                    dir,
                    proposal: self.setup.proposal,
                    table: self.owner.table(),
                    ownership: self.owner.ownership(),
                    with_jobs: self.setup.slurm_settings.is_some(),
                    sandboxed: self.setup.sandbox.is_some(),
                    compute,
                    variables,
                };
                self.beside(async move {
                    let survey = match survey::survey(wanted).await {
                        Err(error) if error.is_loss() => return Err(error),
                        found => found.map(Box::new).map_err(CoordinateError::into_refusal),
                    };
                    Ok(Input::Surveyed { incoming, survey })
                });
            }
            Effect::OpenLedger { incoming } => self.ledger.open(incoming),
            Effect::LoadLedger => self.ledger.load(),
            Effect::WriteLedger(writes) => self.ledger.write(writes),
            Effect::ToWorker(messages) => self.worker.send(messages),
            Effect::ReplaceWorker(number) => {
                tracing::warn!("the worker ended unexpectedly; starting another");
                self.worker.replace()?;
                self.worker_number = number;
            }
            Effect::Collect(Fragment { key: (proposal, run), path }) => {
                self.collector.give(FragmentNote { proposal, run, path });
            }
            Effect::HurryCollector => self.collector.hurry(),
            Effect::Scan { key } => self.beside(async move {
                let fragments = questions::scan(&dir, key).await?;
                Ok(Input::Scanned { key, fragments })
            }),
            Effect::ReadSettings => {
                let (table, proposal) = (self.owner.table(), self.setup.proposal);
                self.beside(async move {
                    let settings = table.settings().await?;
                    let settings = settings.into_iter().collect();
                    // Invalid values are rejected when they are set. One that was written in another way is ignored.
                    let read = tokio::task::spawn_blocking(move || {
                        site_file::settings(&settings, proposal, dir.path())
                    });
                    Ok(read.await.ok().and_then(Result::ok).map_or(Input::Tick, Input::Settings))
                });
            }
            Effect::Submit(job) => {
                self.owner.confirm().await?;
                let NewJob { token, manifest, asked, urgency } = *job;
                let directory = dir.path().to_owned();
                self.tracker().submit(JobToSubmit { token, directory, manifest, asked, urgency });
            }
            Effect::Adopt { token, job, name, log, clusters } => {
                self.tracker().adopt(token, dir.path().to_owned(), job, (name, log), clusters);
            }
            Effect::Forget { token } => self.tracker().forget(token),
            Effect::Cancel { token } => self.tracker().cancel(token),
            Effect::Ask { task, question } => self.ask(task, question),
            Effect::AskMymdc { request, key, fields } => {
                let catalogue = self.catalogue.clone();
                self.beside(async move {
                    let values = catalogue.ask(key, fields).await;
                    Ok(Input::Mymdc { request, key, values })
                });
            }
            Effect::Log(message) => tracing::warn!("{message}"),
        }
        Ok(())
    }

    /// Runs something that may take long in the background. The core receives the result as an input.
    pub(super) fn beside(&self, work: impl Future<Output = Result<Input, CoordinateError>> + Send + 'static) {
        let answer = self.answer.clone();
        tokio::spawn(async move {
            // After the driver has ended, nobody needs the result.
            let _ = answer.send(work.await);
        });
    }

    fn tracker(&mut self) -> &Tracker {
        self.tracker.get_or_insert_with(|| Tracker::start(self.setup.slurm.clone()))
    }

    fn ask(&self, task: TaskNo, question: Question) {
        let dir = self.setup.dir.clone();
        self.beside(async move {
            let found = tokio::task::spawn_blocking(move || match question {
                Question::EarlierValues { key } => {
                    Answer::EarlierValues(questions::earlier_values(&dir, key))
                }
                Question::LogTail { path } => Answer::LogTail(questions::log_tail(&path)),
                Question::Command(spec) => Answer::Command(prepare_command::prepare(&dir, &spec)),
            });
            let answer = found.await?;
            Ok(Input::Answer { task, answer })
        });
    }

    /// Scans for requests of other processes in the background. Only one scan runs at a time.
    pub(super) fn look_for_requests(&mut self) {
        if self.core.is_stopping() || self.looking {
            return;
        }
        self.looking = true;
        let (dir, taken) = (self.setup.dir.clone(), self.taken.clone());
        let (table, ownership) = (self.owner.table(), self.owner.ownership());
        tokio::spawn(async move {
            let own = dir.clone();
            let some = tokio::task::spawn_blocking(move || some_wait(&own)).await.unwrap_or_default();
            // Requests for a successor are not for this process, which may not know yet that there is one.
            let found = if some && table.confirm(&ownership).await.is_ok() {
                tokio::task::spawn_blocking(move || take_requests(&dir)).await.unwrap_or_default()
            } else {
                Vec::new()
            };
            let _ = taken.send(found);
        });
    }

    /// Passes the site facts to the core, if they have changed.
    pub(super) async fn learn_of_site(&mut self) -> Result<(), CoordinateError> {
        let Some(settings) = &self.setup.slurm_settings else { return Ok(()) };
        let Some(facts) = site_facts::known_for(&self.setup.slurm, settings) else { return Ok(()) };
        if self.site.as_ref().is_some_and(|known| std::sync::Arc::ptr_eq(known, &facts)) {
            return Ok(());
        }
        self.site = Some(facts.clone());
        self.feed(Input::Site(facts)).await
    }
}

/// Converts collected results to the core's type.
pub(super) fn for_core(collected: Collected) -> amore_core::Collected {
    let Collected { proposal, run, fragments, stored, cells, notices, problem } = collected;
    let notice = |CollectedNotice { notice, about_view }| TableNotice { notice, about_view };
    let notices = notices.into_iter().map(notice).collect();
    amore_core::Collected { key: (proposal, run), fragments, stored, cells, notices, problem }
}
