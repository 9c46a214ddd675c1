//! What a message of the facility means for the processing of runs.

use amore_intake::{ArrivedData, Subject};
use amore_model::{Proposal, Run};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// An event that starts the processing of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventRule {
    /// The topic on which it is sent.
    pub topic: String,
    /// Its name: the value of `event` in the message.
    pub event: String,
    /// Which data have arrived.
    pub data: ArrivedData,
}

impl EventRule {
    fn new(topic: &str, event: &str, data: ArrivedData) -> Self {
        EventRule { topic: topic.to_owned(), event: event.to_owned(), data }
    }

    /// The events of EuXFEL's offline cluster: raw data were migrated, calibrated data were written.
    pub fn euxfel_offline() -> Vec<Self> {
        vec![
            EventRule::new("test.r2d2", "migration_complete", ArrivedData::Raw),
            EventRule::new("cal.offline-corrections", "run_corrections_complete", ArrivedData::Proc),
        ]
    }

    /// The events of EuXFEL's online cluster: the run was closed, its data were corrected online.
    pub fn euxfel_online() -> Vec<Self> {
        vec![
            EventRule::new("test.euxfel.hed.daq", "daq_run_complete", ArrivedData::Raw),
            EventRule::new("test.euxfel.hed.cal", "online_correction_complete", ArrivedData::Proc),
        ]
    }
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// Data of a run have arrived.
    Arrived(Subject),
    /// It is another event of the same topic.
    Other {
        /// Its name.
        event: String,
    },
}

/// A message is not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotUnderstood {
    /// It is empty.
    #[error("the message is empty")]
    Empty,
    /// It is not JSON.
    #[error("the message is not JSON: {0}")]
    NotJson(String),
    /// It is JSON, but not an object.
    #[error("the message is not a JSON object")]
    NotAnObject,
    /// It does not say which event it is.
    #[error("the message has no event name (\"event\")")]
    NoEvent,
    /// A number is missing, or is none.
    #[error("the event {event} has no valid \"{field}\": {found}")]
    Invalid {
        /// Name of the event.
        event: String,
        /// Which field.
        field: &'static str,
        /// What is there instead.
        found: String,
    },
}

/// The longest excerpt of a message in an error.
const EXCERPT: usize = 80;

/// Reads a message of this topic.
///
/// # Errors
/// It has not the form of an event, or one of these events has no proposal or no run.
pub fn read(rules: &[EventRule], topic: &str, payload: &[u8]) -> Result<Reading, NotUnderstood> {
    if payload.is_empty() {
        return Err(NotUnderstood::Empty);
    }
    let message: Value =
        serde_json::from_slice(payload).map_err(|error| NotUnderstood::NotJson(error.to_string()))?;
    let Value::Object(message) = message else { return Err(NotUnderstood::NotAnObject) };
    let Some(Value::String(event)) = message.get("event") else { return Err(NotUnderstood::NoEvent) };
    let Some(rule) = rules.iter().find(|rule| rule.topic == topic && rule.event == *event) else {
        return Ok(Reading::Other { event: event.clone() });
    };
    let number = |field: &'static str, first: u32| {
        let found = message.get(field);
        found.and_then(number).filter(|number| *number >= first).ok_or_else(|| NotUnderstood::Invalid {
            event: event.clone(),
            field,
            found: found.map_or_else(
                || "it is missing".to_owned(),
                |value| value.to_string().chars().take(EXCERPT).collect(),
            ),
        })
    };
    let (proposal, run) = (Proposal(number("proposal", 1)?), Run(number("run", 0)?));
    Ok(Reading::Arrived(Subject { proposal, run, data: rule.data }))
}

/// A number, which senders write as a number or as text.
fn number(value: &Value) -> Option<u32> {
    match value {
        Value::Number(number) => u32::try_from(number.as_u64()?).ok(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offline(topic: &str, payload: &str) -> Result<Reading, NotUnderstood> {
        read(&EventRule::euxfel_offline(), topic, payload.as_bytes())
    }

    fn arrived(data: ArrivedData) -> Result<Reading, NotUnderstood> {
        Ok(Reading::Arrived(Subject { proposal: Proposal(1234), run: Run(7), data }))
    }

    #[test]
    fn the_four_events_name_the_data() {
        let raw = r#"{"event": "migration_complete", "proposal": 1234, "run": 7, "path": "/gpfs"}"#;
        assert_eq!(offline("test.r2d2", raw), arrived(ArrivedData::Raw));
        let proc = r#"{"event": "run_corrections_complete", "proposal": "001234", "run": "7"}"#;
        assert_eq!(offline("cal.offline-corrections", proc), arrived(ArrivedData::Proc));
        let online = EventRule::euxfel_online();
        let raw = br#"{"event": "daq_run_complete", "proposal": 1234, "run": 7}"#;
        assert_eq!(read(&online, "test.euxfel.hed.daq", raw), arrived(ArrivedData::Raw));
        let proc = br#"{"event": "online_correction_complete", "proposal": 1234, "run": 7}"#;
        assert_eq!(read(&online, "test.euxfel.hed.cal", proc), arrived(ArrivedData::Proc));
    }

    #[test]
    fn other_events_of_a_topic_are_none_of_ours() {
        let other = r#"{"event": "migration_started", "proposal": 1234, "run": 7}"#;
        assert_eq!(offline("test.r2d2", other), Ok(Reading::Other { event: "migration_started".to_owned() }));
        let elsewhere = r#"{"event": "migration_complete", "proposal": 1234, "run": 7}"#;
        assert!(matches!(offline("cal.offline-corrections", elsewhere), Ok(Reading::Other { .. })));
    }

    #[test]
    fn there_is_a_run_0() {
        let zero = r#"{"event": "migration_complete", "proposal": 1234, "run": 0}"#;
        let subject = Subject { proposal: Proposal(1234), run: Run(0), data: ArrivedData::Raw };
        assert_eq!(offline("test.r2d2", zero), Ok(Reading::Arrived(subject)));
    }

    #[test]
    fn what_is_not_understood_has_a_reason() {
        for (payload, reason) in [
            ("", "the message is empty"),
            ("\u{0}garbage", "the message is not JSON"),
            ("[1]", "the message is not a JSON object"),
            (r#"{"proposal": 1234}"#, "the message has no event name"),
            (r#"{"event": 5}"#, "the message has no event name"),
            (r#"{"event": "migration_complete", "run": 7}"#, "no valid \"proposal\": it is missing"),
            (r#"{"event": "migration_complete", "proposal": 1234, "run": -7}"#, "no valid \"run\": -7"),
            (r#"{"event": "migration_complete", "proposal": 0, "run": 7}"#, "no valid \"proposal\": 0"),
            (r#"{"event": "migration_complete", "proposal": 1234, "run": 5000000000}"#, "no valid \"run\""),
            (r#"{"event": "migration_complete", "proposal": true, "run": 7}"#, "no valid \"proposal\": true"),
        ] {
            let error = offline("test.r2d2", payload).unwrap_err().to_string();
            assert!(error.contains(reason), "{payload}: {error}");
        }
        assert!(read(&EventRule::euxfel_offline(), "test.r2d2", b"\xff\xfe").is_err());
    }
}
