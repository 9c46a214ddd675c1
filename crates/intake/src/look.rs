//! The files of a run on disk, and whether they are complete.

use serde::{Deserialize, Serialize};

/// What is on disk of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct FolderLook {
    /// Number of files.
    pub files: usize,
    /// When the newest one was changed, in seconds since 1970.
    pub newest: f64,
    /// Identifies the files: their names, sizes and times.
    pub digest: String,
    /// When the folder itself was changed, before the files were listed: a later change of it may be missing here.
    pub changed: f64,
    /// There is the file that marks complete data, if one is configured.
    pub has_marker: bool,
}

/// When data that nobody has said to be complete are taken to be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SettleRule {
    /// No file has changed for so many seconds.
    pub quiet_seconds: f64,
    /// There are at least so many files.
    pub min_files: usize,
    /// A file of this name says at once that the data are complete.
    pub marker: Option<String>,
}

impl Default for SettleRule {
    fn default() -> Self {
        SettleRule { quiet_seconds: 30.0, min_files: 1, marker: None }
    }
}

impl SettleRule {
    /// When to look at the files again; `None`: they are complete. `before`: what they were at the last look, and when.
    ///
    /// The clocks of this host and of the file server may differ. So files count as quiet only if they have stayed the same
    /// between two looks that lie so far apart, or if the newest one is older than twice that.
    pub fn look_again(&self, look: &FolderLook, before: Option<(&FolderLook, f64)>, now: f64) -> Option<f64> {
        if look.has_marker && look.files > 0 {
            return None;
        }
        let quiet = self.quiet_seconds.max(0.0);
        let is_old = now - look.newest >= 2.0 * quiet;
        let stayed_since = before.filter(|(before, _)| before.digest == look.digest).map(|(_, since)| since);
        let has_stayed = stayed_since.is_some_and(|since| now - since >= quiet);
        if look.files >= self.min_files.max(1) && (is_old || has_stayed) {
            return None;
        }
        Some(stayed_since.map_or(now + quiet, |since| since + quiet).max(now + 0.1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(digest: &str, newest: f64) -> FolderLook {
        FolderLook { files: 3, newest, digest: digest.to_owned(), changed: newest, has_marker: false }
    }

    #[test]
    fn files_that_stay_the_same_are_complete() {
        let rule = SettleRule { quiet_seconds: 10.0, ..SettleRule::default() };
        let (one, two) = (look("a", 100.0), look("b", 104.0));
        assert_eq!(rule.look_again(&one, None, 101.0), Some(111.0));
        assert_eq!(rule.look_again(&two, Some((&one, 101.0)), 111.0), Some(121.0), "it has grown");
        assert_eq!(rule.look_again(&two, Some((&two, 111.0)), 115.0), Some(121.0), "too early");
        assert_eq!(rule.look_again(&two, Some((&two, 111.0)), 121.0), None);
    }

    #[test]
    fn old_files_are_complete_at_once_and_a_clock_that_is_ahead_does_not_matter() {
        let rule = SettleRule { quiet_seconds: 10.0, ..SettleRule::default() };
        assert_eq!(rule.look_again(&look("a", 100.0), None, 120.0), None);
        let ahead = look("a", 9_999.0);
        assert_eq!(rule.look_again(&ahead, Some((&ahead, 100.0)), 110.0), None);
    }

    #[test]
    fn too_few_files_are_not_complete_unless_a_marker_says_so() {
        let rule = SettleRule { quiet_seconds: 10.0, min_files: 4, marker: Some("done".to_owned()) };
        let few = look("a", 100.0);
        assert!(rule.look_again(&few, Some((&few, 0.0)), 500.0).is_some());
        assert_eq!(rule.look_again(&FolderLook { has_marker: true, ..few }, None, 101.0), None);
        let nothing = FolderLook { files: 0, has_marker: true, ..look("", 0.0) };
        assert!(rule.look_again(&nothing, None, 500.0).is_some());
    }
}
