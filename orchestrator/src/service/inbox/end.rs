//! How a directory has ended the request for an event.

use amore_core::events::{Event, Summary};
use amore_intake::DirectoryEnd;
use tokio::sync::mpsc::UnboundedReceiver;

/// How a user has cancelled a request.
const CANCELLED: &str = "cancelled by amore cancel";

/// Waits for the last event of a request. Until it is planned, what its user is told is what it waits for, for example a
/// context file whose execution does not end: `hindered` gets that, and `None` when the request goes on.
pub(super) async fn end_of(
    mut told: UnboundedReceiver<Event>,
    hindered: impl Fn(Option<String>),
) -> DirectoryEnd {
    let (mut problem, mut is_planned, mut waits) = (None, false, false);
    while let Some(event) = told.recv().await {
        match &event {
            Event::Notice(notice) if !is_planned => {
                waits = true;
                hindered(notice.message.lines().next().map(str::to_owned));
            }
            Event::Planned { .. } | Event::Finished(_) | Event::Refused { .. } => {
                is_planned = true;
                if std::mem::take(&mut waits) {
                    hindered(None);
                }
            }
            _ => {}
        }
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

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use tokio::sync::mpsc::unbounded_channel;

    use super::*;

    #[tokio::test]
    async fn what_is_told_before_the_plan_hinders_the_request_until_then() {
        let (send, told) = unbounded_channel();
        send.send(Event::note("the context file is still being executed\n  hint: wait")).unwrap();
        send.send(Event::Planned { runs: 1, variables: 1, missing: Vec::new() }).unwrap();
        send.send(Event::note("no variable matches")).unwrap();
        drop(send);
        let words = RefCell::new(Vec::new());
        let end = end_of(told, |why| words.borrow_mut().push(why)).await;
        assert_eq!(end, DirectoryEnd::Lost);
        let expected = [Some("the context file is still being executed".to_owned()), None];
        assert_eq!(*words.borrow(), expected);
    }
}
