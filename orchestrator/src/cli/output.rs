//! Output on standard output and standard error. On a terminal, control characters in the output or exceptions of users'
//! functions are escaped: they cannot clear, colour or retitle it. Files and pipes get the unmodified output.

use std::{
    borrow::Cow,
    io::{IsTerminal, Write},
};

use amore_model::Notice;
use serde::Serialize;

use super::failure::Failure;

/// Prints a line (or several); a closed pipe ends the program quietly, as `head` expects.
pub fn say(text: impl AsRef<str>) {
    let mut out = std::io::stdout().lock();
    let text = for_reader(text.as_ref(), out.is_terminal());
    let written = writeln!(out, "{}", text.trim_end_matches('\n')).and_then(|()| out.flush());
    match written {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        // A full disk: a partial table must not look complete.
        Err(error) => {
            tell(&Notice::error(format!("the output cannot be written: {error}")));
            std::process::exit(1);
        }
    }
}

/// Prints a line (or several) on standard error.
pub fn warn(text: impl AsRef<str>) {
    say_if_possible(std::io::stderr(), text.as_ref());
}

/// Prints a notice on standard error.
pub fn tell(notice: &Notice) {
    warn(notice.to_string());
}

/// Prints a line of a command that must continue even if nobody reads its output any more.
pub fn say_if_possible(mut to: impl Write + IsTerminal, text: &str) {
    // Results are stored and exit codes are returned in any case.
    let text = for_reader(text, to.is_terminal());
    let _ = writeln!(to, "{text}").and_then(|()| to.flush());
}

/// Prints a value as indented JSON.
///
/// # Errors
/// The value cannot be converted to JSON.
pub fn say_json<T: Serialize>(value: &T) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Failure::from_error(&error))?;
    say(text);
    Ok(())
}

fn for_reader(text: &str, is_terminal: bool) -> Cow<'_, str> {
    if is_terminal { as_text(text) } else { Cow::Borrowed(text) }
}

/// Escapes control characters (`\x1b`) and characters that change the writing direction, except for line ends and tabs.
pub fn as_text(text: &str) -> Cow<'_, str> {
    replace(text, |character| !matches!(character, '\n' | '\t') && is_order(character))
}

/// The final state of a line on a terminal: for a progress bar that was redrawn (`\r`), only the last part.
pub fn last_drawn(line: &str) -> &str {
    line.rsplit('\r').find(|part| !part.is_empty()).unwrap_or_default()
}

/// New output of a log, prepared for a terminal, and the number of bytes used: an incomplete character is left for the next
/// time. Progress bars keep moving (`\r`).
pub fn live(bytes: &[u8]) -> (String, usize) {
    let complete = match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        // Invalid bytes may end with the start of a valid character: up to three bytes.
        Err(_) => match bytes.utf8_chunks().last().map(|chunk| chunk.invalid()) {
            Some(invalid) if invalid.len() < 4 && bytes.ends_with(invalid) && is_begun(invalid) => {
                bytes.len() - invalid.len()
            }
            _ => bytes.len(),
        },
        Ok(_) => bytes.len(),
    };
    let text = String::from_utf8_lossy(&bytes[..complete]);
    let shown = replace(&text, |character| !matches!(character, '\n' | '\t' | '\r') && is_order(character));
    (shown.into_owned(), complete)
}

/// Whether these are the first bytes of a character.
fn is_begun(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}

fn is_order(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn replace(text: &str, is_replaced: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&is_replaced) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match character {
            other if !is_replaced(other) => shown.push(other),
            '\r' => shown.push_str("\\r"),
            other if u32::from(other) < 0x100 => shown.push_str(&format!("\\x{:02x}", u32::from(other))),
            other => shown.push_str(&format!("\\u{:04x}", u32::from(other))),
        }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_given_no_orders() {
        let hostile = "\u{1b}[2Jgone \u{1b}]0;title\u{7} \u{9b}31m a\u{202e}b\r\u{0}";
        assert_eq!(as_text(hostile), r"\x1b[2Jgone \x1b]0;title\x07 \x9b31m a\u202eb\r\x00");
        let harmless = "ü µ 日本\n\tline └ (a)";
        assert!(matches!(as_text(harmless), Cow::Borrowed(same) if same == harmless));
        assert_eq!(for_reader(hostile, false), hostile);
    }

    #[test]
    fn a_progress_bar_is_what_it_was_last() {
        assert_eq!(last_drawn("\r 10 %\r 50 %\r100 %"), "100 %");
        assert_eq!(last_drawn("100 %\r"), "100 %");
        assert_eq!(last_drawn("plain"), "plain");
        assert_eq!(last_drawn("\r\r"), "");
    }

    #[test]
    fn a_character_that_comes_in_two_pieces_is_shown_whole() {
        let euro = "€".as_bytes();
        assert_eq!(live(&[b"a", &euro[..2]].concat()), ("a".to_owned(), 1));
        assert_eq!(live(euro), ("€".to_owned(), 3));
        // Invalid bytes do not delay the text after them.
        assert_eq!(live(b"\xff\xfeab"), ("\u{fffd}\u{fffd}ab".to_owned(), 4));
        assert_eq!(live(&[b"\xffa", &euro[..1]].concat()), ("\u{fffd}a".to_owned(), 2));
        assert_eq!(live(b"\x1b[2J 5 %\r"), (r"\x1b[2J 5 %".to_owned() + "\r", 9));
    }
}
