//! Whether the process that handed over a request still waits for it.

use std::time::Duration;

use amore_model::lease::Holder;
use serde::{Deserialize, Serialize};

use super::owner::{process_token, this_process};

/// A process of another host shows every minute that it waits; after an hour without that it is gone.
const SILENT: Duration = Duration::from_secs(3600);
/// The version before wrote neither who asks nor that it still waits.
const UNKNOWN: Duration = Duration::from_secs(86_400);

/// A process that asks for something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asker {
    /// Its host.
    pub host: String,
    /// Its number there.
    pub pid: u32,
    /// The boot and the clock tick at which it started.
    pub token: String,
}

impl Asker {
    /// This process.
    pub fn this_process() -> Self {
        let Holder { host, pid, token, .. } = this_process();
        Asker { host, pid, token }
    }

    /// Is it a process of this host that is gone?
    pub fn is_known_dead(&self) -> bool {
        self.host == Asker::this_process().host && process_token(self.pid).as_ref() != Some(&self.token)
    }
}

/// Does nobody wait for a request any more? `silent` is how long its files have not been touched.
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
