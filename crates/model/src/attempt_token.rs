//! The token of an attempt: its name, which also shows which of two attempts started later.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Identifies one attempt of a task: in messages, in fragments, and in the files and the comment of its Slurm job. Any text
/// is a valid token, but only those of [`AttemptToken::new`] have a rank.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AttemptToken(String);

/// The order of the attempts of a task. It does not depend on a clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptRank {
    /// The epoch of the owner that started it.
    pub epoch: u64,
    /// How many attempts this owner had started by then, including this one.
    pub serial: u64,
}

impl AttemptToken {
    /// A token that no other attempt has. `micros` (Unix time) and `process` distinguish it from those of other
    /// directories, whose owner may have the same epoch.
    pub fn new(rank: AttemptRank, micros: u64, process: u32) -> Self {
        let AttemptRank { epoch, serial } = rank;
        AttemptToken(format!("{epoch:x}-{micros:x}-{process:x}-{serial:x}"))
    }

    /// The rank, if the token was made by [`AttemptToken::new`]. Earlier versions made tokens without one.
    pub fn rank(&self) -> Option<AttemptRank> {
        let groups: Vec<u64> =
            self.0.split('-').map(|group| u64::from_str_radix(group, 16).ok()).collect::<Option<_>>()?;
        let [epoch, _, _, serial] = groups[..] else { return None };
        Some(AttemptRank { epoch, serial })
    }

    /// The token as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for AttemptToken {
    fn from(text: String) -> Self {
        AttemptToken(text)
    }
}

impl From<AttemptToken> for String {
    fn from(token: AttemptToken) -> Self {
        token.0
    }
}

impl fmt::Display for AttemptToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_says_which_attempt_began_later() {
        let rank = |epoch, serial| AttemptRank { epoch, serial };
        for rank in [rank(1_800_000_000, 1), rank(0, 0), rank(u64::MAX, u64::MAX)] {
            let token = AttemptToken::new(rank, 1_800_000_000_123_456, 17);
            assert_eq!(token.rank(), Some(rank), "{token}");
        }
        // The owner's epoch is compared first, then its count.
        assert!(rank(8, 1) > rank(7, 900) && rank(7, 11) > rank(7, 9));
    }

    #[test]
    fn tokens_of_earlier_versions_have_no_rank() {
        for text in ["18c2-a3-1", "", "a-b-c-", "1-2-3-4-5", "1-2-3-x"] {
            assert_eq!(AttemptToken::from(text.to_owned()).rank(), None, "{text}");
        }
    }
}
