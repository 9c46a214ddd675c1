//! Whether the process that handed over a request is still waiting for it.

use std::time::Duration;

use amore_model::lease::Holder;
use serde::{Deserialize, Serialize};

use super::owner::{process_token, this_process};

/// A waiting process on another host touches its files every minute. After an hour without that, it counts as gone.
const SILENT: Duration = Duration::from_secs(3600);
/// The previous version recorded neither the process nor that it is still waiting.
const UNKNOWN: Duration = Duration::from_secs(86_400);

/// The process that made a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asker {
    /// Its host.
    pub host: String,
    /// Its process ID.
    pub pid: u32,
    /// Identifies the boot, and the clock tick at which the process started.
    pub token: String,
}

impl Asker {
    /// This process.
    pub fn this_process() -> Self {
        let Holder { host, pid, token, .. } = this_process();
        Asker { host, pid, token }
    }

    /// Whether it is a process on this host that is gone.
    pub fn is_known_dead(&self) -> bool {
        self.host == Asker::this_process().host && process_token(self.pid).as_ref() != Some(&self.token)
    }
}

/// Whether no process waits for a request any more. `silent` is how long its files have not been touched.
pub fn is_abandoned(asker: Option<&Asker>, silent: Duration) -> bool {
    match asker {
        Some(asker) if asker.host == Asker::this_process().host => asker.is_known_dead(),
        Some(_) => silent > SILENT,
        None => silent > UNKNOWN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_living_process_of_this_host_waits_however_long() {
        let me = Asker::this_process();
        assert!(!is_abandoned(Some(&me), Duration::from_secs(1_000_000)));
        assert!(is_abandoned(Some(&Asker { token: "another".to_owned(), ..me }), Duration::ZERO));
    }

    #[test]
    fn one_of_another_host_is_gone_when_it_is_silent() {
        let there = Asker { host: "no-such-host".to_owned(), ..Asker::this_process() };
        assert!(!is_abandoned(Some(&there), Duration::from_secs(3000)));
        assert!(is_abandoned(Some(&there), Duration::from_secs(4000)));
        assert!(!is_abandoned(None, Duration::from_secs(4000)));
        assert!(is_abandoned(None, Duration::from_secs(90_000)));
    }
}
