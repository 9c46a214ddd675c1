//! Kafka, as the service uses it: events about runs come in ([`source`]), DAMNIT's update messages go out ([`publish`]).

mod publish;
mod settings;
mod source;

use std::{path::Path, time::Duration};

use amore_kafka::{Connection, Source, connection::ConnectionError, source::SourceError};
use tokio::time::{Instant, sleep};

pub use self::settings::KafkaSettings;
use self::{
    publish::Publishing,
    settings::{Listen, Plan, broker_of_environment},
};
use super::{event_stream::EventStream, inbox::Inbox};
use crate::{advice::Advice, coordinate::owner};

/// How often to look whether the source has stopped.
const STOP_POLL: Duration = Duration::from_millis(20);

/// Kafka cannot be used as it is configured.
#[derive(Debug, thiserror::Error)]
pub enum KafkaError {
    /// The connection cannot be set up.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// It cannot be started.
    #[error(transparent)]
    Source(#[from] SourceError),
}

impl Advice for KafkaError {
    fn hint(&self) -> Option<String> {
        match self {
            KafkaError::Connection(error) | KafkaError::Source(SourceError::Connection(error)) => {
                error.hint()
            }
            KafkaError::Source(SourceError::Thread(_)) => None,
        }
    }
}

/// What the service does with Kafka.
#[derive(Debug)]
pub struct Kafka {
    inbox: Inbox,
    events: EventStream,
    listening: Option<(Listen, Source)>,
    publishing: Option<(Connection, Publishing)>,
}

impl Kafka {
    /// Nothing yet. Events about runs go to the inbox, what happens comes from the stream.
    pub fn new(inbox: Inbox, events: EventStream) -> Self {
        Kafka { inbox, events, listening: None, publishing: None }
    }

    /// From now on, works as configured. What has not changed goes on.
    ///
    /// # Errors
    /// It cannot be used like that; then everything stays as it was.
    pub fn configure(&mut self, settings: &KafkaSettings, directory: &Path) -> Result<(), KafkaError> {
        let Plan { listen, publish } =
            settings.plan(directory, &owner::this_process().host, broker_of_environment().as_deref());
        let publishing = match publish {
            Some(connection) if !self.publishes_to(&connection) => {
                let publishing = Publishing::start(&connection, &self.events)?;
                Some(Some((connection, publishing)))
            }
            Some(_) => None,
            None => Some(None),
        };
        self.listen(listen)?;
        if let Some(publishing) = publishing {
            self.publishing = publishing;
        }
        Ok(())
    }

    /// Whether it does so already. Files with secrets may have changed.
    fn publishes_to(&self, wanted: &Connection) -> bool {
        self.publishing.as_ref().is_some_and(|(connection, _)| connection == wanted && !wanted.reads_files())
    }

    fn listen(&mut self, wanted: Option<Listen>) -> Result<(), KafkaError> {
        let Some(listen) = wanted else {
            self.listening = None;
            return Ok(());
        };
        let is_same = self.listening.as_ref().is_some_and(|(now, _)| *now == listen);
        if is_same && !listen.connection.reads_files() {
            return Ok(());
        }
        let source = source::start(&listen, self.inbox.clone())?;
        tracing::info!(
            brokers = listen.connection.brokers.join(","),
            group = listen.group,
            topics = listen.topics().join(","),
            "listening to Kafka"
        );
        // The one before ends by itself. What both receive is stored once.
        self.listening = Some((listen, source));
        Ok(())
    }

    /// Receives nothing more.
    pub fn stop_listening(&self) {
        if let Some((_, source)) = &self.listening {
            source.stop();
        }
    }

    /// Ends it, and sends what waits, but does not wait longer than this for a broker.
    pub async fn stop(self, patience: Duration) {
        let until = Instant::now() + patience;
        if let Some((_, publishing)) = self.publishing {
            publishing.stop(patience).await;
        }
        let Some((_, source)) = self.listening else { return };
        source.stop();
        while !source.has_ended() && Instant::now() < until {
            sleep(STOP_POLL).await;
        }
    }
}
