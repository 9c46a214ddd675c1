//! What the owner of a directory computes on its host, in words.

use amore_core::local_work::{LocalState, LocalWork};
use jiff::tz::TimeZone;

use super::local_time::in_zone;

/// What a task does, as in the ledger's phases.
pub fn phase(now: &LocalState) -> &'static str {
    match now {
        LocalState::Running { .. } => "running",
        LocalState::WaitsForProcess | LocalState::WaitsForOthers { .. } => "waiting",
    }
}

/// What a task does, or waits for.
pub fn words(now: &LocalState, zone: &TimeZone) -> String {
    match now {
        LocalState::Running { since } => format!("running since {}", in_zone(*since, zone)),
        LocalState::WaitsForProcess => "waiting for a free process".to_owned(),
        LocalState::WaitsForOthers { names } => format!("waiting for {}", names.join(", ")),
    }
}

/// What requests wait for that are not planned yet.
pub fn unplanned(work: &LocalWork, zone: &TimeZone) -> Option<String> {
    let requests = match work.unplanned {
        0 => return None,
        1 => "1 request is being planned".to_owned(),
        more => format!("{more} requests are being planned"),
    };
    Some(match work.reading_context_since {
        Some(since) => {
            format!("{requests}: the context file is being executed since {}", in_zone(since, zone))
        }
        None => requests,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_says_what_it_does() {
        let zone = TimeZone::UTC;
        let running = LocalState::Running { since: 0.0 };
        assert_eq!(words(&running, &zone), "running since 1970-01-01 00:00:00 UTC");
        assert_eq!(words(&LocalState::WaitsForProcess, &zone), "waiting for a free process");
        let others = LocalState::WaitsForOthers { names: vec!["a".to_owned(), "b".to_owned()] };
        assert_eq!((words(&others, &zone).as_str(), phase(&others)), ("waiting for a, b", "waiting"));
        let mut work = LocalWork { unplanned: 2, reading_context_since: Some(0.0), ..LocalWork::default() };
        let said = unplanned(&work, &zone).unwrap();
        assert!(said.starts_with("2 requests are being planned: the context file"), "{said}");
        work.unplanned = 0;
        assert_eq!(unplanned(&work, &zone), None);
    }
}
