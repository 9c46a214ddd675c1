//! How a directory has ended the request for an event.

use amore_core::events::{Event, Summary};
use amore_intake::DirectoryEnd;
use tokio::sync::mpsc::UnboundedReceiver;

/// How a user has cancelled a request.
const CANCELLED: &str = "cancelled by amore cancel";

/// Waits for the last event of a request.
pub(super) async fn end_of(mut told: UnboundedReceiver<Event>) -> DirectoryEnd {
    let mut problem = None;
    while let Some(event) = told.recv().await {
        match event {
            Event::RunEnded { problem: found, .. } => problem = found.or(problem),
            Event::Finished(summary) if summary.interrupted => return DirectoryEnd::Lost,
            Event::Finished(summary) if summary.runs == 0 && summary.runs_missing > 0 => {
                return DirectoryEnd::Refused { why: "the run has no data on disk".to_owned() };
            }
            Event::Finished(summary) if summary.is_cancelled(problem.as_deref()) => {
                return DirectoryEnd::Cancelled { words: CANCELLED.to_owned() };
            }
            Event::Finished(summary) if summary.runs_failed > 0 => {
                let why = problem.unwrap_or_else(|| "the run could not be processed".to_owned());
                return DirectoryEnd::Refused { why };
            }
            Event::Finished(summary) => return DirectoryEnd::Processed { words: words(&summary) },
            Event::Refused { message, .. } => return DirectoryEnd::Refused { why: message },
            _ => {}
        }
    }
    DirectoryEnd::Lost
}

fn words(summary: &Summary) -> String {
    let Summary { values, failed, skipped, .. } = summary;
    format!("{values} values, {failed} failed, {skipped} skipped")
}
