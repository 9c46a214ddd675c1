//! The source and the publisher with the brokers that librdkafka simulates.

use std::{
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

use amore_kafka::{
    Connection, Publisher, Received, Source, Update,
    updates::{self, RunValuesUpdated},
};
use amore_model::{Proposal, Run};
use rdkafka::{
    ClientConfig, ClientContext,
    mocking::MockCluster,
    producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer},
};

const PATIENCE: Duration = Duration::from_secs(60);

fn connection<C: ClientContext>(cluster: &MockCluster<'_, C>) -> Connection {
    let brokers = cluster.bootstrap_servers().split(',').map(str::to_owned).collect();
    Connection { brokers, ..Connection::default() }
}

fn producer<C: ClientContext>(cluster: &MockCluster<'_, C>) -> ThreadedProducer<DefaultProducerContext> {
    ClientConfig::new().set("bootstrap.servers", cluster.bootstrap_servers()).create().unwrap()
}

fn send(producer: &ThreadedProducer<DefaultProducerContext>, topic: &str, partition: i32, payload: &str) {
    let record: BaseRecord<'_, (), str> = BaseRecord::to(topic).partition(partition).payload(payload);
    producer.send(record).map_err(|(error, _)| error).unwrap();
    producer.flush(PATIENCE).unwrap();
}

/// A source whose batches arrive in a channel. `refuse`: how many batches are not stored.
fn source(connection: &Connection, topics: &[&str], mut refuse: usize) -> (Source, Receiver<Vec<Received>>) {
    let (send, batches) = mpsc::channel();
    let topics = topics.iter().map(|topic| (*topic).to_owned()).collect();
    let source = Source::start(connection, "group", topics, move |batch: &[Received]| {
        send.send(batch.to_vec()).map_err(|error| error.to_string())?;
        if refuse > 0 {
            refuse -= 1;
            return Err("the store is away".to_owned());
        }
        Ok(())
    });
    (source.unwrap(), batches)
}

fn payloads(batches: &Receiver<Vec<Received>>, count: usize) -> Vec<String> {
    let mut found = Vec::new();
    while found.len() < count {
        let batch = batches.recv_timeout(PATIENCE).expect("messages come");
        found.extend(batch.into_iter().map(|message| String::from_utf8(message.payload).unwrap()));
    }
    found
}

fn end(source: Source) {
    source.stop();
    let until = Instant::now() + PATIENCE;
    while !source.has_ended() {
        assert!(Instant::now() < until, "the source does not end");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn messages_from_before_the_first_start_come_once_and_later_ones_after_a_restart() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("t", 2, 1).unwrap();
    let producer = producer(&cluster);
    send(&producer, "t", 0, "a");
    send(&producer, "t", 1, "b");
    let (first, batches) = source(&connection(&cluster), &["t"], 0);
    let mut found = payloads(&batches, 2);
    found.sort();
    assert_eq!(found, ["a", "b"]);
    send(&producer, "t", 0, "c");
    assert_eq!(payloads(&batches, 1), ["c"]);
    end(first);
    send(&producer, "t", 1, "d");
    let (again, batches) = source(&connection(&cluster), &["t"], 0);
    assert_eq!(payloads(&batches, 1), ["d"], "what was stored is not received again");
    end(again);
}

#[test]
fn what_is_not_stored_comes_again_and_is_not_committed() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("t", 1, 1).unwrap();
    let producer = producer(&cluster);
    send(&producer, "t", 0, "a");
    let (first, batches) = source(&connection(&cluster), &["t"], usize::MAX);
    assert_eq!(payloads(&batches, 2), ["a", "a"], "it is tried again");
    end(first);
    let (again, batches) = source(&connection(&cluster), &["t"], 1);
    assert_eq!(payloads(&batches, 2), ["a", "a"], "by the next process, too");
    send(&producer, "t", 0, "b");
    assert_eq!(payloads(&batches, 1), ["b"]);
    end(again);
}

#[test]
fn a_topic_that_appears_later_is_read_from_its_beginning() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("t", 1, 1).unwrap();
    let producer = producer(&cluster);
    let (receiving, batches) = source(&connection(&cluster), &["later", "t"], 0);
    send(&producer, "t", 0, "a");
    assert_eq!(payloads(&batches, 1), ["a"]);
    cluster.create_topic("later", 1, 1).unwrap();
    send(&producer, "later", 0, "b");
    assert_eq!(payloads(&batches, 1), ["b"]);
    send(&producer, "t", 0, "c");
    assert_eq!(payloads(&batches, 1), ["c"], "the other topic goes on where it was");
    end(receiving);
}

#[test]
fn a_broker_that_is_away_for_a_while_loses_nothing() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("t", 1, 1).unwrap();
    let producer = producer(&cluster);
    let (receiving, batches) = source(&connection(&cluster), &["t"], 0);
    send(&producer, "t", 0, "a");
    assert_eq!(payloads(&batches, 1), ["a"]);
    cluster.broker_down(1).unwrap();
    let record: BaseRecord<'_, (), str> = BaseRecord::to("t").partition(0).payload("b");
    producer.send(record).map_err(|(error, _)| error).unwrap();
    assert!(batches.recv_timeout(Duration::from_secs(1)).is_err());
    cluster.broker_up(1).unwrap();
    // The commit of the first message may have been lost: then it comes again.
    let mut found = payloads(&batches, 1);
    while found.last().is_some_and(|last| last == "a") {
        found.extend(payloads(&batches, 1));
    }
    assert_eq!(found.last().map(String::as_str), Some("b"));
    end(receiving);
}

fn update(run: u32) -> Update {
    Update::RunValuesUpdated(RunValuesUpdated::new(Proposal(1234), Run(run), ["a".to_owned()]))
}

#[test]
fn updates_are_published_on_the_topic_of_the_database() {
    let cluster = MockCluster::new(1).unwrap();
    let topic = updates::topic("abc");
    cluster.create_topic(&topic, 1, 1).unwrap();
    let publisher = Publisher::start(&connection(&cluster)).unwrap();
    publisher.send("abc", &update(7));
    publisher.flush(PATIENCE);
    assert_eq!((publisher.sent(), publisher.dropped()), (1, 0));
    let (receiving, batches) = source(&connection(&cluster), &[&topic], 0);
    assert_eq!(
        payloads(&batches, 1),
        [r#"{"msg_kind":"run_values_updated","data":{"run":7,"proposal":1234,"values":{"a":null}}}"#]
    );
    end(receiving);
}

#[test]
fn without_a_broker_nothing_waits_and_what_is_dropped_is_counted() {
    // Nobody listens there.
    let connection = Connection { brokers: vec!["127.0.0.1:9".to_owned()], ..Connection::default() };
    let publisher = Publisher::start(&connection).unwrap();
    for run in 0..10_050 {
        publisher.send("abc", &update(run));
    }
    assert_eq!((publisher.sent(), publisher.dropped()), (0, 50), "the queue is bounded");
}
