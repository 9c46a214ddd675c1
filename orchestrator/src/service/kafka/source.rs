//! Events about runs, from Kafka into the inbox.

use std::collections::BTreeMap;

use amore_kafka::{EventRule, Reading, Received, Source, read, source::SourceError};
use amore_model::Proposal;
use tokio::runtime::Handle;

use super::settings::Listen;
use crate::service::inbox::{Inbox, Incoming, NotAccepted, Report};

/// The name of the source in the inbox.
const NAME: &str = "kafka";
/// The longest part of a message that is stored.
const LONGEST: usize = 4096;

/// Starts to receive events.
///
/// # Errors
/// The connection cannot be set up.
pub fn start(listen: &Listen, inbox: Inbox) -> Result<Source, SourceError> {
    let runtime = Handle::current();
    let events = listen.events.clone();
    Source::start(&listen.connection, &listen.group, listen.topics(), move |batch| {
        runtime.block_on(take(&inbox, &events, batch)).map_err(|error| error.to_string())
    })
}

/// Stores events. Those about proposals without a database here are left out: a topic may have years of them, and if such a
/// database is added later, its runs are found in their folders.
async fn take(inbox: &Inbox, events: &[EventRule], batch: &[Received]) -> Result<(), NotAccepted> {
    let mut incoming = Vec::new();
    let mut concerns: BTreeMap<Proposal, bool> = BTreeMap::new();
    let (mut others, mut left_out) = (0_usize, 0_usize);
    for message in batch {
        let subject = match read(events, &message.topic, &message.payload) {
            Ok(Reading::Arrived(subject)) => subject,
            Ok(Reading::Other { event }) => {
                tracing::trace!(event, topic = message.topic, "another event");
                others += 1;
                continue;
            }
            Err(why) => {
                incoming.push(Incoming::NotUnderstood {
                    source: NAME,
                    source_id: Some(message.id()),
                    payload: text(&message.payload),
                    why: why.to_string(),
                });
                continue;
            }
        };
        let concerned = match concerns.get(&subject.proposal) {
            Some(known) => *known,
            None => {
                let concerned = inbox.concerns(subject.proposal).await?;
                *concerns.entry(subject.proposal).or_insert(concerned)
            }
        };
        if !concerned {
            left_out += 1;
            continue;
        }
        incoming.push(Incoming::Report(Report {
            source: NAME,
            source_id: Some(message.id()),
            subject,
            is_complete: true,
            is_forced: false,
            payload: text(&message.payload),
        }));
    }
    tracing::debug!(
        accepted = incoming.len(),
        others,
        without_database = left_out,
        first = batch.first().map(Received::id),
        "messages of Kafka"
    );
    inbox.accept_all(incoming).await
}

/// A message as text that every store takes.
fn text(payload: &[u8]) -> String {
    let text = String::from_utf8_lossy(payload).replace('\0', "\u{fffd}");
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_become_text_that_can_be_stored() {
        assert_eq!(text(b"{\"a\": 1}"), "{\"a\": 1}");
        assert_eq!(text(b"\0\xff"), "\u{fffd}\u{fffd}");
        assert_eq!(text("ü".repeat(5000).as_bytes()).chars().count(), LONGEST + 1);
    }
}
