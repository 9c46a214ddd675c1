//! Shell quoting, for display and copying. Amore never executes the result.

/// Quotes a text for a shell.
pub fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Quotes a text if a shell would interpret it otherwise.
pub fn quoted_if_needed(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_=./:,%+@".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) { text.to_owned() } else { quoted(text) }
}

/// A command on one line, with words quoted where necessary. Placeholders (`{run}`) are not quoted.
pub fn line(words: &[String]) -> String {
    let one = |word: &String| {
        let without = word.replace(['{', '}'], "");
        if !word.is_empty() && quoted_if_needed(&without) == without { word.clone() } else { quoted(word) }
    };
    words.iter().map(one).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_word_begins_is_seen() {
        let words = ["sh", "-c", "echo it's \"$1\"", "{run}", "--above={threshold}", ""].map(str::to_owned);
        assert_eq!(line(&words), r#"sh -c 'echo it'\''s "$1"' {run} --above={threshold} ''"#);
        assert_eq!(line(&["{}".to_owned()]), "'{}'");
    }
}
