//! Names of variables as a user types them.

use unicode_normalization::UnicodeNormalization;

/// A name in the form that Python gives to names in source text (NFKC): the micro sign of the keyboard is a Greek letter there.
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
