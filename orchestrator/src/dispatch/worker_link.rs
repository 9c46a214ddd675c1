//! The worker on this machine, as a coordinator uses it: its own, or one that it shares with others.

use amore_wire::task::{FromWorker, ToWorker};

use super::{
    local::{AtOnce, LocalWorker, WorkerError},
    shared::Client,
};

/// A worker.
#[derive(Debug)]
pub enum WorkerLink {
    /// This coordinator's alone, with so many processes.
    Own { worker: Box<LocalWorker>, processes: usize },
    /// One that the coordinators of a service share.
    Shared(Client),
}

impl WorkerLink {
    /// Sends messages. If the worker is dead, `next` shows it.
    pub fn send(&self, messages: Vec<ToWorker>) {
        match self {
            WorkerLink::Own { worker, .. } => worker.send(&messages),
            WorkerLink::Shared(client) => client.send(messages),
        }
    }

    /// The next message; `None` if the worker has died. Cancel-safe.
    ///
    /// # Errors
    /// The worker cannot be used.
    pub async fn next(&mut self) -> Result<Option<FromWorker>, WorkerError> {
        match self {
            WorkerLink::Own { worker, .. } => worker.next().await,
            WorkerLink::Shared(client) => Ok(client.next().await),
        }
    }

    /// Uses another worker, after this one has died.
    ///
    /// # Errors
    /// None can be started.
    pub fn replace(&mut self) -> Result<(), WorkerError> {
        if let WorkerLink::Own { worker, processes } = self {
            **worker = LocalWorker::start(AtOnce::UpTo(*processes))?;
            worker.greet();
        }
        Ok(())
    }

    /// Ends this coordinator's tasks, and its own worker with them.
    pub async fn stop(self) {
        if let WorkerLink::Own { worker, .. } = self {
            worker.stop().await;
        }
    }
}
