//! Text in files that may not be UTF-8. Pure.

use std::fmt::Write;

/// Text with what is not UTF-8 as `\xb5`, as by Python's `decode(errors="backslashreplace")`: it can be seen, and is no other text.
pub(crate) fn escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            // Writing to a string cannot fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// Bytes of a fixed length without the zeros at their end, as numpy shows them.
pub(crate) fn without_padding(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    &bytes[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_text_are_seen() {
        assert_eq!(escaped("µm".as_bytes()), "µm");
        assert_eq!(escaped(b"5 \xb5m\xc3"), "5 \\xb5m\\xc3");
        assert_eq!(without_padding(b"a\0b\0\0"), b"a\0b");
        assert_eq!(without_padding(b"\0\0"), b"");
    }
}
