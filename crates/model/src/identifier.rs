//! Variable names as typed by users.

use unicode_normalization::UnicodeNormalization;

/// A name in Python's normal form for identifiers (NFKC): the keyboard's micro sign becomes a Greek letter.
pub fn identifier(typed: &str) -> String {
    if typed.is_ascii() { typed.to_owned() } else { typed.nfkc().collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_as_in_python() {
        assert_eq!(identifier("\u{b5}_energy"), "\u{3bc}_energy");
        assert_eq!(identifier("\u{fb01}t"), "fit");
        assert_eq!(identifier("xgm_*"), "xgm_*");
    }
}
