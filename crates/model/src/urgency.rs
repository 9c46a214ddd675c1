//! Urgency of requests.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Urgency of a request, most urgent first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Urgency {
    /// A run that was just recorded: users at the instrument wait for it.
    Live,
    /// A user requested some runs and watches them.
    #[default]
    Asked,
    /// Very many runs, or all of them. No user waits for a particular one.
    Bulk,
}

impl Urgency {
    /// All variants, most urgent first.
    pub const ALL: [Urgency; 3] = [Urgency::Live, Urgency::Asked, Urgency::Bulk];

    /// The priority in the ledger: larger is more urgent, 0 is the default.
    pub fn priority(self) -> i32 {
        match self {
            Urgency::Live => 1,
            Urgency::Asked => 0,
            Urgency::Bulk => -1,
        }
    }

    /// From the ledger.
    pub fn of_priority(priority: i32) -> Self {
        match priority {
            1.. => Urgency::Live,
            0 => Urgency::Asked,
            _ => Urgency::Bulk,
        }
    }

    /// Its name.
    pub fn word(self) -> &'static str {
        match self {
            Urgency::Live => "live",
            Urgency::Asked => "asked",
            Urgency::Bulk => "bulk",
        }
    }
}

impl fmt::Display for Urgency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ledger_keeps_it() {
        for urgency in Urgency::ALL {
            assert_eq!(Urgency::of_priority(urgency.priority()), urgency);
            assert_eq!(serde_json::to_string(&urgency).unwrap(), format!("\"{urgency}\""));
        }
        // From before priorities existed.
        assert_eq!(Urgency::of_priority(0), Urgency::default());
        assert!(Urgency::Live < Urgency::Asked && Urgency::Asked < Urgency::Bulk);
    }
}
