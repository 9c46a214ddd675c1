//! Sends DAMNIT's update messages. Sending never waits: messages are queued, up to a limit, and given up after a while.
//! What is dropped is counted and logged. That loses nothing but time: receivers read the state from the database.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use rdkafka::{
    ClientContext,
    config::{FromClientConfigAndContext, RDKafkaLogLevel},
    error::KafkaError,
    producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer},
};

use crate::{
    connection::{Connection, ConnectionError},
    trouble::what_failed,
    updates::{self, Update},
};

/// How many messages wait for a broker that is away.
const QUEUE: usize = 10_000;
/// How long they wait.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often to log what was dropped.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// Sends messages of all databases of a service.
pub struct Publisher(ThreadedProducer<Outcome>);

impl std::fmt::Debug for Publisher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Publisher").field("dropped", &self.dropped()).finish_non_exhaustive()
    }
}

impl Publisher {
    /// Starts a publisher. The broker need not be there.
    ///
    /// # Errors
    /// The connection cannot be set up.
    pub fn start(connection: &Connection) -> Result<Self, ConnectionError> {
        let mut client = connection.client()?;
        client.set("queue.buffering.max.messages", QUEUE.to_string());
        client.set("message.timeout.ms", PATIENCE.as_millis().to_string());
        // Messages that are sent together go into one request.
        client.set("linger.ms", "5");
        Ok(Publisher(ThreadedProducer::from_config_and_context(&client, Outcome::default())?))
    }

    /// Queues a message about the database with this id, or drops it if too many wait.
    pub fn send(&self, db_id: &str, update: &Update) {
        let topic = updates::topic(db_id);
        let outcome = self.0.context();
        match serde_json::to_vec(update) {
            Ok(payload) => {
                // One key: all go into one partition, and come in the order in which they were sent.
                let record = BaseRecord::to(&topic).key(db_id).payload(&payload);
                if let Err((error, _)) = self.0.send(record) {
                    outcome.dropped(&error.to_string());
                }
            }
            Err(error) => tracing::error!(%error, "an update message cannot be written"),
        }
    }

    /// Counts a message that was dropped before it could be queued.
    pub fn count_dropped(&self, why: &str) {
        self.0.context().dropped(why);
    }

    /// How many messages were dropped so far.
    pub fn dropped(&self) -> u64 {
        self.0.context().dropped.load(Ordering::Relaxed)
    }

    /// How many messages a broker has accepted so far.
    pub fn sent(&self) -> u64 {
        self.0.context().sent.load(Ordering::Relaxed)
    }

    /// Waits until all messages are sent, but not longer than this.
    pub fn flush(&self, patience: Duration) {
        if let Err(error) = self.0.flush(patience) {
            tracing::debug!(%error, "update messages are left");
        }
    }
}

/// What becomes of messages.
#[derive(Default)]
struct Outcome {
    sent: AtomicU64,
    dropped: AtomicU64,
    logged: Mutex<Option<Instant>>,
    /// Why no broker could be used, since the last message that was accepted.
    reason: Mutex<Option<String>>,
}

impl Outcome {
    fn dropped(&self, why: &str) {
        let dropped = self.dropped.fetch_add(1, Ordering::Relaxed) + 1;
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.is_none_or(|last| last.elapsed() >= LOG_EVERY) {
            *logged = Some(Instant::now());
            tracing::warn!(dropped, why, "update messages for DAMNIT's interface are dropped");
        }
    }
}

impl ClientContext for Outcome {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(?level, facility, message, "librdkafka");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "publishing to Kafka");
        let what = what_failed(reason).to_owned();
        *self.reason.lock().unwrap_or_else(PoisonError::into_inner) = Some(what);
    }
}

impl ProducerContext for Outcome {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): Self::DeliveryOpaque) {
        match result {
            Ok(_) => {
                *self.reason.lock().unwrap_or_else(PoisonError::into_inner) = None;
                self.sent.fetch_add(1, Ordering::Relaxed);
            }
            Err((error, _)) => {
                let reason = self.reason.lock().unwrap_or_else(PoisonError::into_inner).clone();
                let why = reason.map_or_else(|| error.to_string(), |reason| format!("{error}: {reason}"));
                self.dropped(&why);
            }
        }
    }
}
