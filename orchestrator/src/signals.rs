//! Termination signals: Ctrl-C, a termination request, or a closed terminal.

use std::io;

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc::UnboundedReceiver,
};

/// What tells a command to end. Created once per command and passed on: a signal between two waits is received by the second.
#[derive(Debug)]
pub struct Signals(Source);

#[derive(Debug)]
enum Source {
    Process {
        interrupt: Signal,
        terminate: Signal,
        hangup: Signal,
    },
    /// A part of a process is told by another part.
    Told(UnboundedReceiver<()>),
}

impl Signals {
    /// Starts to receive those of the process.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn new() -> io::Result<Self> {
        Ok(Signals(Source::Process {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        }))
    }

    /// For a part of a service, which tells its parts to end.
    pub fn from_channel(told: UnboundedReceiver<()>) -> Self {
        Signals(Source::Told(told))
    }

    /// The next one that ends a service, for which a hangup has another meaning. Cancel-safe.
    pub async fn next_end(&mut self) {
        match &mut self.0 {
            Source::Process { interrupt, terminate, .. } => tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            },
            Source::Told(_) => self.next().await,
        }
    }

    /// The next one. Cancel-safe.
    pub async fn next(&mut self) {
        match &mut self.0 {
            Source::Process { interrupt, terminate, hangup } => tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
            },
            Source::Told(told) => {
                if told.recv().await.is_none() {
                    // Whoever could tell it is gone.
                    std::future::pending().await
                }
            }
        }
    }
}
