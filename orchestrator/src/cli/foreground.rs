//! A command that coordinates in the foreground, or hands its request over to the process that already does.

use std::{
    process::ExitCode,
    time::{Duration, SystemTime},
};

use amore_core::request::{Compute, Request, Runs};
use amore_model::Notice;
use amore_run_table::RunTable;

use super::{
    failure::{Exit, Failure},
    open,
    progress::Display,
};
use crate::{
    coordinate::{
        abandoned::Asker,
        driver::Driver,
        events::{Event, Summary},
        hand_over::{HandedOver, hand_over, new_id},
        owner::{Owner, TakenOwner},
        setup::Setup,
    },
    database_dir::DatabaseDir,
    dispatch::{
        local::{AtOnce, LocalWorker},
        slurm::{Slurm, client::installed, site_file},
        worker_link::WorkerLink,
    },
    execution::Execution,
    signals::Signals,
};

/// How often to check whether the owner still exists.
const OWNER_POLL: Duration = Duration::from_secs(1);
/// How often a waiting process checks for events of the owner.
const NEWS_POLL: Duration = Duration::from_millis(150);

/// A command that coordinates in the foreground, if nobody else does.
#[derive(Debug)]
pub(super) struct Foreground {
    pub(super) dir: DatabaseDir,
    pub(super) slurm: Slurm,
    /// Number of parallel children.
    pub(super) processes: usize,
    /// Whether Slurm jobs are disabled.
    pub(super) direct: bool,
}

impl Foreground {
    /// Uses one process per core, and Slurm jobs if available.
    pub(super) fn new(dir: DatabaseDir, slurm: Slurm) -> Self {
        let processes = std::thread::available_parallelism().map_or(1, usize::from);
        Foreground { dir, slurm, processes, direct: false }
    }

    async fn setup(&self, table: &RunTable) -> Result<Setup, Failure> {
        let dir = &self.dir;
        let proposal = open::proposal(table, None).await?;
        Ok(Setup {
            dir: dir.clone(),
            proposal,
            execution: Execution::read(table).await?,
            processes: self.processes,
            slurm: self.slurm.clone(),
            // Whoever types a command is there to decide.
            takes_refused: false,
            sandbox: site_file::sandbox()?,
            watcher: None,
            slurm_settings: if self.direct || !installed() {
                None
            } else {
                Some(site_file::settings(&open::settings(table).await?, proposal, dir.path())?)
            },
        })
    }

    /// Whether another process already coordinates.
    pub(super) async fn is_owned(&self) -> Result<bool, Failure> {
        Ok(Owner::is_held(&self.dir).await?)
    }

    /// Serves the request, or, without one, finishes the work that earlier owners left.
    pub(super) async fn serve(
        &self,
        mut request: Option<&mut Request>,
        display: &Display,
    ) -> Result<Summary, Failure> {
        let dir = &self.dir;
        // Started first, because its Python takes longest.
        let worker = LocalWorker::start(AtOnce::UpTo(self.processes))?;
        worker.greet();
        let mut worker = Some(worker);
        let mut signals =
            Signals::new().map_err(|error| Failure::new(format!("cannot listen for signals: {error}")))?;
        let mut handed: Option<WithOwner> = None;
        loop {
            let begun = async {
                let table = open::for_writing(dir).await?;
                let setup = self.setup(&table).await?;
                Ok::<_, Failure>((setup, Owner::take(dir, table).await?))
            };
            let (setup, taken) = tokio::select! {
                biased;
                () = signals.next() => {
                    return Err(Failure::new("stopped before any work was started").exit(Exit::Interrupted));
                }
                begun = begun => begun?,
            };
            match taken {
                TakenOwner::Ours(owner) => {
                    drop(handed);
                    let worker = match worker.take() {
                        Some(worker) => worker,
                        None => {
                            let worker = LocalWorker::start(AtOnce::UpTo(self.processes))?;
                            worker.greet();
                            worker
                        }
                    };
                    let mut tell = |event: &Event| display.show(event);
                    let request = request.as_deref();
                    let worker = WorkerLink::Own { worker: Box::new(worker), processes: self.processes };
                    let driver = Driver::new(&setup, *owner, worker, &mut tell);
                    return Ok(driver.run(request, &mut signals).await?);
                }
                TakenOwner::Held { by } => {
                    if let Some(worker) = worker.take() {
                        worker.stop().await;
                    }
                    let Some(request) = request.as_deref_mut() else {
                        let message =
                            format!("{by} already coordinates this directory; waiting for it to finish");
                        display.show(&Event::Notice(Notice::info(message)));
                        owner_is_gone(dir, &mut signals).await?;
                        // Take over its remaining work.
                        continue;
                    };
                    let mut with_owner = match handed.take() {
                        // The owner was late, or its clock is behind. It still has the request, and must not get it twice.
                        Some(before) if before.owner == by => before,
                        earlier => {
                            drop(earlier);
                            display.show(&Event::Notice(Notice::info(format!(
                                "{by} already coordinates this directory; request handed over"
                            ))));
                            WithOwner { asked: hand_request_over(dir, request)?, owner: by }
                        }
                    };
                    match follow(dir, &mut with_owner, request, display, &mut signals).await? {
                        // The owner seems to be gone: take over, or ask its successor.
                        None => handed = Some(with_owner),
                        Some(summary) => return Ok(summary),
                    }
                }
            }
        }
    }
}

/// A request that was handed over. Dropping it withdraws it, if the owner has not taken it yet, and removes its files:
/// however the command ends.
struct WithOwner {
    /// Description of the process that has it.
    owner: String,
    asked: HandedOver,
}

impl Drop for WithOwner {
    fn drop(&mut self) {
        self.asked.clean_up();
    }
}

/// Waits until nobody owns the directory.
async fn owner_is_gone(dir: &DatabaseDir, signals: &mut Signals) -> Result<(), Failure> {
    while Owner::is_held(dir).await? {
        tokio::select! {
            () = tokio::time::sleep(OWNER_POLL) => {}
            () = signals.next() => {
                let words = "stopped waiting: the process that owns this directory continues";
                return Err(Failure::new(words).exit(Exit::Interrupted));
            }
        }
    }
    Ok(())
}

/// The exit code of a command.
pub(super) fn exit_code(summary: &Summary) -> ExitCode {
    if summary.interrupted {
        Exit::Interrupted.into()
    } else if summary.runs == 0 && summary.runs_missing > 0 {
        Exit::Failed.into()
    } else if summary.runs_missing > 0 || summary.runs_failed > 0 {
        Exit::Partly.into()
    } else {
        ExitCode::SUCCESS
    }
}

fn hand_request_over(dir: &DatabaseDir, request: &Request) -> Result<HandedOver, Failure> {
    Ok(hand_over(dir, &new_id(SystemTime::now()), Asker::this_process(), request)?)
}

/// Shows the progress of a request that was handed over. `None` if the owner seems to have disappeared before the end;
/// `request` then contains the remaining runs.
async fn follow(
    dir: &DatabaseDir,
    WithOwner { owner, asked }: &mut WithOwner,
    request: &mut Request,
    display: &Display,
    signals: &mut Signals,
) -> Result<Option<Summary>, Failure> {
    let mut checks = 0u32;
    loop {
        let is_done = asked.is_done();
        for event in asked.news()? {
            match event {
                Event::Finished(summary) => return Ok(Some(summary)),
                Event::Refused { message, hint, exit } => {
                    let exit = if exit == Exit::ContextFile as u8 { Exit::ContextFile } else { Exit::Failed };
                    let failure = Failure::new(message).exit(exit);
                    return Err(match hint {
                        Some(hint) => failure.hint(hint),
                        None => failure,
                    });
                }
                Event::RunEnded { run, .. } => {
                    if let Request::Compute(Compute { runs: Runs::These(runs), .. }) = request {
                        runs.remove(&run);
                    }
                    display.show(&event);
                }
                other => display.show(&other),
            }
        }
        if is_done {
            return Err(Failure::new("the request has ended, but its outcome could not be read")
                .hint("`amore table` shows what was computed; both commands must have the same version"));
        }
        asked.show_alive(SystemTime::now());
        checks += 1;
        // About once a second: check that it still is the owner. Another one does not know the request.
        if checks.is_multiple_of(7) && Owner::held_by(dir).await?.as_deref() != Some(owner.as_str()) {
            return Ok(None);
        }
        tokio::select! {
            () = tokio::time::sleep(NEWS_POLL) => {}
            () = signals.next() => {
                let words = if asked.withdraw() {
                    "the request was withdrawn before it was started"
                } else {
                    "the process that owns this directory continues with the request"
                };
                return Err(Failure::new(format!("stopped waiting: {words}")).exit(Exit::Interrupted));
            }
        }
    }
}
