//! Every message as it is written, line by line: a change of a message is noticed here first. Messages of an earlier version
//! (`recorded/`) stay readable.
#![expect(clippy::disallowed_methods, reason = "a test reads recordings")]

mod samples;

use std::{collections::BTreeSet, fmt::Debug, fs, path::Path};

use amore_wire::{
    NEWEST_VERSION, OLDEST_VERSION, VERSION, VERSION_WITH_SANDBOX,
    ended::Ended,
    host::{FromChild, FromHost, ToChild, ToHost},
    is_understood,
    task::{AttemptId, FromWorker, ToWorker},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

fn lines<T: Serialize>(messages: &[T]) -> String {
    messages.iter().map(|message| serde_json::to_string(message).unwrap() + "\n").collect()
}

fn read<T: DeserializeOwned>(lines: &str) -> Vec<T> {
    lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|why| panic!("{why}: {line}")))
        .collect()
}

/// Pins the messages under this name, and compares them with those of the first version. `added`: fields that were added
/// to messages since then.
fn pin<T: Serialize + DeserializeOwned + PartialEq + Debug>(name: &str, messages: &[T], added: &[&str]) {
    let written = lines(messages);
    assert_eq!(read::<T>(&written), messages);
    insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!(name, written);
    });

    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/messages/recorded").join(format!("{name}.jsonl"));
    let recorded = fs::read_to_string(&path).unwrap();
    // Messages of the first version are read without adding anything.
    assert_eq!(read::<Value>(&lines(&read::<T>(&recorded))), read::<Value>(&recorded));
    // A reader of the first version finds all of its fields unchanged.
    let mut as_before: Vec<Value> = read(&written);
    for message in &mut as_before {
        added.iter().for_each(|field| remove(message, field));
    }
    assert_eq!(as_before, read::<Value>(&recorded));
}

/// Removes `field`, or `items.field` from each of a list of items.
fn remove(message: &mut Value, field: &str) {
    match field.split_once('.') {
        None => drop(message.as_object_mut().and_then(|fields| fields.remove(field))),
        Some((list, field)) => {
            let items = message.get_mut(list).and_then(Value::as_array_mut);
            items.into_iter().flatten().for_each(|item| remove(item, field));
        }
    }
}

/// Checks that there is a message of each kind.
macro_rules! complete {
    ($messages:expr, $kind:ident: $($variant:ident),+) => {{
        let messages = $messages.into_iter();
        let named = |message: &$kind| match message { $($kind::$variant { .. } => stringify!($variant)),+ };
        let found: BTreeSet<&str> = messages.map(named).collect();
        assert_eq!(found, BTreeSet::from([$(stringify!($variant)),+]));
    }};
}

#[test]
fn what_a_worker_is_told() {
    let messages = samples::to_worker();
    complete!(&messages, ToWorker: Hello, Describe, Run, Cancel, Drain);
    pin("to_worker", &messages, &["token", "urgency", "mymdc"]);
}

#[test]
fn what_a_worker_says() {
    let messages = samples::from_worker();
    complete!(&messages, FromWorker: Hello, Described, HostFailed, Notice, Placed, Alive, Started, VariableStarted,
        VariableEnded, CommandEnded, Fragment, TaskEnded);
    pin("from_worker", &messages, &["attempt", "token"]);
}

#[test]
fn the_manifest_of_a_job() {
    pin("manifest", &samples::manifests(), &["tasks.token", "tasks.urgency", "tasks.mymdc"]);
}

#[test]
fn what_a_host_is_told() {
    let messages = samples::to_host();
    let later = samples::later_to_host();
    complete!(messages.iter().chain(&later), ToHost: Fork, Preload, Signal);
    pin("to_host", &messages, &[]);
}

#[test]
fn what_a_host_says() {
    let messages = samples::from_host();
    complete!(&messages, FromHost: Ready, Unusable, Forked, Exited);
    pin("from_host", &messages, &[]);
}

#[test]
fn what_a_child_is_told() {
    let messages = samples::to_child();
    complete!(&messages, ToChild: Describe, Run, Taken, Free);
    pin("to_child", &messages, &["mymdc"]);
}

#[test]
fn what_a_child_says() {
    let messages = samples::from_child();
    complete!(&messages, FromChild: Described, Opened, CannotStart, Started, Value, Chunk, Kept, Nothing, Failed, Done);
    pin("from_child", &messages, &["skipped"]);
}

#[test]
fn a_skip_is_told_by_a_field_and_to_the_first_version_by_its_class() {
    let all = samples::ended();
    let written = lines(&all);
    assert_eq!(
        written.lines().collect::<Vec<_>>(),
        [
            r#"{"how":"nothing"}"#,
            r#"{"how":"error","class":"KeyError","message":"no beam"}"#,
            r#"{"how":"error","class":"Skip","message":"no beam","skipped":false}"#,
            r#"{"how":"error","class":"Skip","message":"no beam","skipped":true}"#,
        ]
    );
    assert_eq!(read::<Ended>(&written), all);
    let before = r#"{"how":"error","class":"Skip","message":"no beam"}"#;
    assert_eq!(read::<Ended>(before), [Ended::Skipped { message: "no beam".to_owned() }]);
}

#[test]
fn a_sandbox_is_requested_in_messages_that_the_first_version_refuses() {
    let messages = samples::sandboxed();
    let written = lines(&messages);
    assert_eq!(read::<ToWorker>(&written), messages);
    insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!("sandboxed", written + &lines(&samples::later_to_host()));
    });
    assert!(messages.iter().all(|message| message.version() == VERSION_WITH_SANDBOX));
    assert!(samples::to_worker().iter().all(|message| message.version() == VERSION));
}

#[test]
fn a_later_version_is_not_understood() {
    assert!(is_understood(OLDEST_VERSION) && is_understood(VERSION) && is_understood(NEWEST_VERSION));
    assert!(!is_understood(NEWEST_VERSION + 1) && !is_understood(OLDEST_VERSION - 1));
}

#[test]
fn fields_of_a_later_version_are_left_out() {
    let line = r#"{"ev":"started","id":"t","attempt":2,"of_a_later_version":{"a":1}}"#;
    let of = AttemptId { number: Some(2), ..AttemptId::without_attempts("t") };
    assert_eq!(read::<FromWorker>(line), [FromWorker::Started { of }]);
}
