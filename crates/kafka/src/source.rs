//! Receives messages. Their offsets are committed after they were stored, so that a message comes at least once.
//!
//! All partitions of the topics are read by this one consumer. It is no member of its group, which only keeps the offsets:
//! a service that serves is the only one with its databases, and two services with the same group would each get half of the
//! events. It also makes a restart quick: nobody waits until the broker believes that a killed member is gone.

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, ClientContext, Message, Offset, TopicPartitionList,
    config::{FromClientConfigAndContext, RDKafkaLogLevel},
    consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext},
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
    message::BorrowedMessage,
};

use crate::{
    connection::{Connection, ConnectionError},
    trouble::{Trouble, what_failed},
};

/// How many messages are stored together.
const BATCH: usize = 500;
/// How often to look whether to stop.
const POLL: Duration = Duration::from_millis(200);
/// How long to wait before messages that could not be stored are tried again.
const STORE_PAUSE: Duration = Duration::from_secs(1);
/// How long the broker may take to say which partitions there are.
const METADATA_PATIENCE: Duration = Duration::from_secs(2);
/// How often to look for new partitions.
const METADATA_POLL: Duration = Duration::from_secs(60);
/// The same, while some topic does not exist or the broker is away.
const METADATA_RETRY: Duration = Duration::from_secs(3);
/// How often to commit offsets although nothing has come: the broker forgets those that are old.
const COMMIT_AGAIN: Duration = Duration::from_secs(3600);

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// The topic.
    pub topic: String,
    /// The partition of the topic.
    pub partition: i32,
    /// The number of the message in the partition.
    pub offset: i64,
    /// When it was sent, in milliseconds since 1970, if the broker says so.
    pub timestamp: Option<i64>,
    /// Its content.
    pub payload: Vec<u8>,
}

impl Received {
    fn of(message: &BorrowedMessage<'_>) -> Self {
        Received {
            topic: message.topic().to_owned(),
            partition: message.partition(),
            offset: message.offset(),
            timestamp: message.timestamp().to_millis(),
            payload: message.payload().unwrap_or_default().to_vec(),
        }
    }

    /// Identifies the message. A topic that is deleted and made again counts its messages from 0 again; the time tells them
    /// from the earlier ones.
    pub fn id(&self) -> String {
        let Received { topic, partition, offset, .. } = self;
        match self.timestamp {
            Some(at) => format!("{topic}/{partition}/{offset}@{at}"),
            None => format!("{topic}/{partition}/{offset}"),
        }
    }
}

/// Receives messages on a thread of its own, until it is stopped or dropped.
#[derive(Debug)]
pub struct Source {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

/// A source cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The connection cannot be set up.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// The operating system refuses a thread.
    #[error("no thread can be started: {0}")]
    Thread(#[from] io::Error),
}

impl Source {
    /// Starts to receive messages of these topics, from the first one that the group has not committed; the first time, from
    /// the beginning. `store` gets them in batches, in order for each partition. If it fails, it gets the same again.
    ///
    /// # Errors
    /// The connection cannot be set up. The broker and the topics need not exist.
    pub fn start<F>(
        connection: &Connection,
        group: &str,
        topics: Vec<String>,
        store: F,
    ) -> Result<Self, SourceError>
    where
        F: FnMut(&[Received]) -> Result<(), String> + Send + 'static,
    {
        let mut client = connection.client()?;
        client
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "earliest")
            // How long a broker may wait for messages before it answers. Apache's answers at once when there is one; others look
            // at intervals that grow with this time.
            .set("fetch.wait.max.ms", "50")
            // A store that does not answer for hours must not end the consumer.
            .set("max.poll.interval.ms", "86400000")
            // What is received and not stored yet is held in memory: 8 MB at most.
            .set("queued.max.messages.kbytes", "8192");
        let trouble = Arc::new(Trouble::default());
        let consumer = BaseConsumer::from_config_and_context(&client, Context::new(&trouble))
            .map_err(ConnectionError::from)?;
        let stop = Arc::new(AtomicBool::new(false));
        let receiving = Receiving {
            client,
            consumer,
            topics,
            stop: Arc::clone(&stop),
            store,
            next: BTreeMap::new(),
            assigned: Vec::new(),
            look_at: Instant::now(),
            committed_at: Instant::now(),
            trouble,
            unexplained: None,
        };
        let thread = thread::Builder::new().name("kafka".to_owned()).spawn(move || receiving.run())?;
        Ok(Source { stop, thread })
    }

    /// Tells it to stop. A batch that is being stored is finished.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Whether it has stopped.
    pub fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A partition of a topic.
type Partition = (String, i32);

struct Receiving<F> {
    /// How to make the consumer.
    client: ClientConfig,
    consumer: BaseConsumer<Context>,
    topics: Vec<String>,
    stop: Arc<AtomicBool>,
    store: F,
    /// Of each partition from which something came: the offset of the first message that is not stored.
    next: BTreeMap<Partition, i64>,
    assigned: Vec<Partition>,
    /// When to look for partitions.
    look_at: Instant,
    committed_at: Instant,
    trouble: Arc<Trouble>,
    /// An error that says little. The library may tell the reason at the next poll.
    unexplained: Option<KafkaError>,
}

impl<F: FnMut(&[Received]) -> Result<(), String>> Receiving<F> {
    fn run(mut self) {
        while !self.stops() {
            if Instant::now() >= self.look_at {
                self.look_for_partitions();
            }
            let batch = self.receive();
            if let Some(error) = self.unexplained.take() {
                self.trouble.note_unless_explained(&error.to_string());
            }
            if !batch.is_empty() {
                self.trouble.is_over();
                self.deliver(&batch);
            }
            let again = self.consumer.context().commit_failed.swap(false, Ordering::Relaxed)
                || self.committed_at.elapsed() >= COMMIT_AGAIN;
            if again {
                self.commit();
            }
        }
    }

    fn stops(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Waits for a message, and takes those that are there already.
    fn receive(&mut self) -> Vec<Received> {
        let mut batch = Vec::new();
        let mut patience = POLL;
        let mut begin_anew = false;
        while batch.len() < BATCH {
            match self.consumer.poll(patience) {
                None => break,
                Some(Ok(message)) => batch.push(Received::of(&message)),
                Some(Err(error)) => {
                    if is_cut_off(&error) {
                        begin_anew = true;
                    } else {
                        // Partitions may have moved, or topics may be gone.
                        self.look_at = self.look_at.min(Instant::now() + METADATA_RETRY);
                    }
                    self.unexplained = Some(error);
                    break;
                }
            }
            patience = Duration::ZERO;
        }
        if begin_anew && !self.assigned.is_empty() {
            // What has come and is not stored comes again.
            batch.clear();
            self.begin_anew();
        }
        batch
    }

    /// Makes a new consumer, which begins with what the group has committed. The brokers may have come back without the topics
    /// that the one before knows, or with others of the same names: those count their messages from 0, and the group has
    /// committed none of them.
    fn begin_anew(&mut self) {
        match BaseConsumer::from_config_and_context(&self.client, Context::new(&self.trouble)) {
            Ok(consumer) => {
                self.consumer = consumer;
                self.next.clear();
                self.assigned.clear();
                self.look_at = Instant::now();
            }
            Err(error) => self.trouble.note(&error.to_string()),
        }
    }

    /// Has the messages stored, however long that takes, and commits them.
    fn deliver(&mut self, batch: &[Received]) {
        let mut logged: Option<String> = None;
        while let Err(why) = (self.store)(batch) {
            if self.stops() {
                return;
            }
            if logged.as_ref() != Some(&why) {
                tracing::warn!(messages = batch.len(), why, "events of Kafka cannot be stored; they wait");
                logged = Some(why);
            }
            thread::sleep(STORE_PAUSE);
        }
        for message in batch {
            self.next.insert((message.topic.clone(), message.partition), message.offset + 1);
        }
        self.commit();
    }

    fn commit(&mut self) {
        self.committed_at = Instant::now();
        let mut offsets = TopicPartitionList::new();
        for ((topic, partition), next) in &self.next {
            if let Err(error) = offsets.add_partition_offset(topic, *partition, Offset::Offset(*next)) {
                tracing::error!(%error, topic, partition, next, "an offset cannot be committed");
            }
        }
        if offsets.count() > 0
            && let Err(error) = self.consumer.commit(&offsets, CommitMode::Async)
        {
            tracing::debug!(%error, "offsets are not committed; trying again later");
        }
    }

    /// Reads from all partitions that there are: known ones go on, new ones begin where the group has ended.
    fn look_for_partitions(&mut self) {
        let mut found = Vec::new();
        let mut all_there = true;
        for topic in &self.topics {
            match self.partitions(topic) {
                Ok(partitions) if partitions.is_empty() => {
                    self.trouble.note(&format!("the topic {topic} does not exist"));
                    all_there = false;
                }
                Ok(partitions) => {
                    found.extend(partitions.into_iter().map(|partition| (topic.clone(), partition)));
                }
                Err(error) => {
                    self.unexplained = Some(error);
                    // What is known of this topic stays.
                    found.extend(self.assigned.iter().filter(|(other, _)| other == topic).cloned());
                    all_there = false;
                }
            }
        }
        // A partition that comes back may be another one.
        self.next.retain(|partition, _| found.contains(partition));
        if found != self.assigned {
            match self.assign(&found) {
                Ok(()) => {
                    tracing::info!(partitions = ?found, "receiving events from Kafka");
                    self.assigned = found;
                }
                Err(error) => {
                    self.trouble.note(&error.to_string());
                    all_there = false;
                }
            }
        }
        self.look_at = Instant::now() + if all_there { METADATA_POLL } else { METADATA_RETRY };
    }

    fn partitions(&self, topic: &str) -> KafkaResult<Vec<i32>> {
        let metadata = self.consumer.fetch_metadata(Some(topic), METADATA_PATIENCE)?;
        let of_it = metadata.topics().iter().filter(|found| found.name() == topic && found.error().is_none());
        let mut ids: Vec<i32> =
            of_it.flat_map(|found| found.partitions()).map(|partition| partition.id()).collect();
        ids.sort_unstable();
        Ok(ids)
    }

    fn assign(&self, partitions: &[Partition]) -> KafkaResult<()> {
        let mut list = TopicPartitionList::new();
        for partition in partitions {
            let from = self.next.get(partition).map_or(Offset::Stored, |next| Offset::Offset(*next));
            list.add_partition_offset(&partition.0, partition.1, from)?;
        }
        self.consumer.assign(&list)
    }
}

/// Whether a consumer has lost all brokers, or cannot go on.
fn is_cut_off(error: &KafkaError) -> bool {
    matches!(
        error,
        KafkaError::MessageConsumption(RDKafkaErrorCode::AllBrokersDown | RDKafkaErrorCode::PollExceeded)
            | KafkaError::MessageConsumptionFatal(_)
    )
}

struct Context {
    commit_failed: AtomicBool,
    trouble: Arc<Trouble>,
}

impl Context {
    fn new(trouble: &Arc<Trouble>) -> Self {
        Context { commit_failed: AtomicBool::new(false), trouble: Arc::clone(trouble) }
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(?level, facility, message, "librdkafka");
    }

    /// Only here the library says why no broker can be used: a wrong password or certificate, for example.
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "receiving from Kafka");
        // That they are all down follows from the reason of each.
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::AllBrokersDown) {
            self.trouble.explain(what_failed(reason));
        }
    }
}

impl ConsumerContext for Context {
    fn commit_callback(&self, result: KafkaResult<()>, _: &TopicPartitionList) {
        if let Err(error) = result {
            tracing::debug!(%error, "offsets are not committed; trying again");
            self.commit_failed.store(true, Ordering::Relaxed);
        }
    }
}
